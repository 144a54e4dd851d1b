//! Where a provider is called and as whom: the parts of routes.yaml that read environment variables.
//!
//! **Shape**: `endpoint: ${env.CFW_ENDPOINT}` with `CFW_ENDPOINT=https://…` -> `Connection`; without it -> `Err(["CFW_ENDPOINT"])`.
//!
//! **Invariants**: secrets live in sensitive header values from here on and in nothing that prints; a fault over a value of
//! the environment names the variable and never shows the value.

use std::borrow::Cow;

use http::uri::{Scheme, Uri};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::compile_credentials::{CompiledCredential, distinct};
use super::diagnostic::Diagnostics;
use super::file;
use super::place::Path;
use super::placeholder::{Piece, pieces};
use super::sources::Sources;
use super::variables::Variables;
use super::yaml::Node;
use crate::mapping::expression::{Expression, Step};
use crate::route::{Connection, Credentials, Endpoint};

/// What the environment makes of a provider.
pub(super) struct Deployment {
    /// Where and as whom, or the variables that are missing.
    pub(super) connection: Result<Connection, Vec<String>>,
    /// Where the credentials are one of several: the variables that each needs.
    pub(super) alternatives: Vec<Vec<String>>,
    /// Defaults for the caller's scope.
    pub(super) scope: Map<String, Value>,
}

impl Deployment {
    /// Reads endpoint, scope and credentials of a provider.
    pub(super) fn read(
        provider: &file::Provider,
        credential: Option<&CompiledCredential>,
        environment: &Variables<'_>,
        sources: &Sources,
        faults: &mut Diagnostics,
    ) -> Self {
        let mut reader = Reader::new(environment, faults);
        let path = &provider.place.path;
        let endpoint = reader.endpoint(&provider.endpoint, &path.key("endpoint"));
        let mut scope = Map::new();
        for (key, node) in &provider.scope {
            if let Some(value) = reader.text(node, &path.key("scope").key(&key.text), Literals::Allowed) {
                scope.insert(key.text.clone(), Value::from(value.expose_secret()));
            }
        }
        let trust = provider.tls.as_ref().map(|tls| reader.trust(tls, endpoint.as_ref(), sources));
        let trust = trust.unwrap_or_default();
        let (mut missing, _) = reader.into_variables();
        let credentials = match credential.map(|credential| &credential.chosen) {
            None => Some(Credentials::None),
            Some(Ok(credentials)) => Some(credentials.clone()),
            Some(Err(others)) => {
                missing.extend(others.iter().cloned());
                None
            }
        };
        let connection = match (endpoint, credentials) {
            (Some(endpoint), Some(credentials)) if missing.is_empty() => Ok(Connection {
                endpoint,
                credentials,
                trust,
            }),
            _ => Err(distinct(missing)),
        };
        let alternatives = credential
            .filter(|credential| credential.chosen.is_err())
            .map(|credential| credential.alternatives.clone())
            .unwrap_or_default();
        Self {
            connection,
            alternatives,
            scope,
        }
    }
}

/// May a value stand in the file itself?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Literals {
    /// Like an address.
    Allowed,
    /// A secret has no place in a file that is read, copied and reviewed.
    Refused,
}

/// Puts variables into texts, and notes which ones there are.
pub(super) struct Reader<'a> {
    /// The variables.
    pub(super) environment: &'a Variables<'a>,
    /// Where faults go.
    pub(super) faults: &'a mut Diagnostics,
    wanted: Vec<String>,
    pub(super) missing: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Reads with these variables.
    pub(super) fn new(environment: &'a Variables<'a>, faults: &'a mut Diagnostics) -> Self {
        Self {
            environment,
            faults,
            wanted: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// The variables that are not set, and all that have to be.
    pub(super) fn into_variables(self) -> (Vec<String>, Vec<String>) {
        (distinct(self.missing), distinct(self.wanted))
    }

    /// Is a variable that has to be set there? Notes it either way.
    pub(super) fn is_set(&mut self, name: &str) -> bool {
        let set = self.environment.secret(name).is_some();
        self.wanted.push(name.to_owned());
        if !set {
            self.missing.push(name.to_owned());
        }
        set
    }

    /// The text with its variables put in; `None` where one is missing or the text has a fault.
    pub(super) fn text(&mut self, node: &Node, path: &Path, literals: Literals) -> Option<SecretString> {
        if node.is_refused() {
            return None;
        }
        let Some(text) = node.as_text() else {
            self.faults
                .fault(node.span, path, format!("expected a text, found {}", node.describe()));
            return None;
        };
        let pieces = match pieces(text) {
            Ok(pieces) => pieces,
            Err(error) => {
                self.faults.fault(node.span, path, error.to_string()).secret();
                return None;
            }
        };
        let has_variable = pieces.iter().any(|piece| matches!(piece, Piece::Placeholder { .. }));
        if literals == Literals::Refused && !has_variable {
            self.faults
                .fault(node.span, path, "a secret does not stand in this file")
                .hint("take it from the environment: `\"${env.NAME}\"`")
                .secret();
            return None;
        }
        let mut value = String::new();
        let mut complete = true;
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => value.push_str(&literal),
                Piece::Placeholder { source, optional } => match self.variable(&source, node, path) {
                    None => complete = false,
                    Some(name) => match self.look_up(&name, literals) {
                        Some(found) => {
                            value.push_str(&found);
                            if !optional {
                                self.wanted.push(name);
                            }
                        }
                        None if optional => return None,
                        None => {
                            complete = false;
                            self.wanted.push(name.clone());
                            self.missing.push(name);
                        }
                    },
                },
            }
        }
        complete.then(|| SecretString::from(value))
    }

    /// What may stand in the file is no secret either when it stands in a variable.
    fn look_up(&self, name: &str, literals: Literals) -> Option<Cow<'a, str>> {
        match literals {
            Literals::Allowed => self.environment.value(name),
            Literals::Refused => self.environment.secret(name),
        }
    }

    /// The name behind `env.NAME`.
    fn variable(&mut self, source: &str, node: &Node, path: &Path) -> Option<String> {
        if let Ok(Expression::Reference(reference)) = Expression::parse(source)
            && reference.root == "env"
            && let [Step::Member(name)] = reference.steps.as_slice()
        {
            return Some(name.clone());
        }
        self.faults
            .fault(node.span, path, format!("unknown reference `{source}`"))
            .focus(source)
            .hint("only `env.NAME` can stand here");
        None
    }

    /// An endpoint: `http(s)://host`, optional port and path prefix.
    pub(super) fn endpoint(&mut self, node: &Node, path: &Path) -> Option<Endpoint> {
        let text = self.text(node, path, Literals::Allowed)?;
        match parse_endpoint(text.expose_secret()) {
            Ok(endpoint) => Some(endpoint),
            Err(why) => {
                let fault = self.faults.fault(node.span, path, format!("the value is not an endpoint: {why}"));
                fault.hint("such as `https://vendor.example.com` or `http://10.1.2.3:8080`");
                if node.as_text().is_some_and(|text| text.contains('@')) {
                    // `https://user:password@host` written into the file: its excerpt would show the password.
                    fault.secret();
                }
                None
            }
        }
    }
}

/// Reads `http(s)://host`, optional port and path prefix.
///
/// # Errors
/// What is wrong with it.
pub fn parse_endpoint(text: &str) -> Result<Endpoint, &'static str> {
    let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| "it is no URL")?;
    let parts = uri.into_parts();
    let scheme = match parts.scheme {
        Some(scheme) if scheme == Scheme::HTTP || scheme == Scheme::HTTPS => scheme,
        _ => return Err("it must start with `http://` or `https://`"),
    };
    let authority = parts.authority.ok_or("it has no host")?;
    if authority.as_str().contains('@') {
        return Err("user and password belong under `credentials`");
    }
    let prefix = match parts.path_and_query {
        Some(path) if path.query().is_some() => return Err("it must not have a query"),
        Some(path) => path.path().trim_end_matches('/').to_owned(),
        None => String::new(),
    };
    Ok(Endpoint { scheme, authority, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (text, expected) in [
            ("https://vendor.example.com", Some(("https", "vendor.example.com", ""))),
            ("http://127.0.0.1:8080/", Some(("http", "127.0.0.1:8080", ""))),
            ("https://h/base/path/", Some(("https", "h", "/base/path"))),
            ("http://[::1]:80", Some(("http", "[::1]:80", ""))),
            ("ftp://h", None),
            ("h:80", None),
            ("https://u:p@h", None),
            ("https://h?x=1", None),
            ("", None),
        ] {
            let endpoint = parse_endpoint(text).ok();
            let found = endpoint
                .as_ref()
                .map(|e| (e.scheme.as_str(), e.authority.as_str(), e.prefix.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
