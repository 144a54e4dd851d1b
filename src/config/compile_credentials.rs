//! `credentials` of routes.yaml and the environment -> [`Credentials`]: picks the alternative, reads secrets, renders logins.
//!
//! **Shape**: `one_of: [keys, login, token]` with the variables of `login` set -> `Credentials::Session`; with none complete ->
//! the variables that the first one misses.
//!
//! **Invariants**: every alternative is checked, whether its variables are set or not. A fault never shows a value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::compile_request;
use super::deployment::{Literals, Reader};
use super::diagnostic::Diagnostics;
use super::file::{Alternative, Credential, CredentialScheme, Login, Request, Session, Test};
use super::names::Names;
use super::place::{Path, Place};
use super::placeholder::{Piece, pieces};
use super::template::{Position, TemplateCompiler};
use super::variables::Variables;
use super::yaml::{Node, NodeValue};
use crate::mapping::answer::AnswerTest;
use crate::mapping::expression::{Bindings, Expression, Step};
use crate::mapping::fault::StatusPattern;
use crate::mapping::request::causes;
use crate::model::call::UpstreamRequest;
use crate::route::Credentials;
use crate::route::credentials::{BasicPlan, DatedAccessKey, LoginPlan, LogoutPlan, SdkKey, SessionPlan};

/// What the environment makes of one of `credentials`.
#[derive(Clone, Debug)]
pub(super) struct CompiledCredential {
    /// The first complete alternative, or what the first one misses.
    pub(super) chosen: Result<Credentials, Vec<String>>,
    /// Where there are several: the variables that each needs.
    pub(super) alternatives: Vec<Vec<String>>,
}

/// Compiles one of `credentials`.
pub(super) fn credential(credential: &Credential, environment: &Variables<'_>, faults: &mut Diagnostics) -> CompiledCredential {
    let mut chosen = None;
    let mut first_missing = None;
    let mut alternatives = Vec::new();
    for alternative in &credential.alternatives {
        let mut compiler = CredentialCompiler {
            name: &credential.name.value,
            reader: Reader::new(environment, faults),
        };
        let compiled = compiler.scheme(alternative);
        let (missing, wanted) = compiler.reader.into_variables();
        alternatives.push(wanted);
        match compiled {
            Some(credentials) if missing.is_empty() => {
                chosen.get_or_insert(credentials);
            }
            _ => {
                first_missing.get_or_insert(missing);
            }
        }
    }
    if alternatives.len() < 2 {
        alternatives.clear();
    }
    CompiledCredential {
        chosen: chosen.ok_or_else(|| first_missing.unwrap_or_default()),
        alternatives,
    }
}

struct CredentialCompiler<'a> {
    name: &'a str,
    reader: Reader<'a>,
}

impl CredentialCompiler<'_> {
    /// `None` after a fault, or where a variable is missing.
    fn scheme(&mut self, alternative: &Alternative) -> Option<Credentials> {
        let Place { path, .. } = &alternative.place;
        match &alternative.scheme {
            CredentialScheme::None => Some(Credentials::None),
            CredentialScheme::Passthrough { header } => Some(Credentials::Passthrough(header.value.clone())),
            CredentialScheme::Header { header, value } => {
                let value = self.reader.text(value, &path.key("value"), Literals::Refused)?;
                let value = self.header_value(value.expose_secret(), &alternative.place)?;
                Some(Credentials::Header(header.value.clone(), value))
            }
            CredentialScheme::Basic {
                username,
                password,
                limited,
            } => {
                let limited = limited.as_ref().map(|test| self.test(test));
                let value = self.basic(username, password, &alternative.place)?;
                Some(Credentials::Basic(Arc::new(BasicPlan {
                    name: self.name.to_owned(),
                    value,
                    limited: limited.transpose_test()?,
                })))
            }
            CredentialScheme::SdkHmacSha256 {
                access_key,
                secret_key,
                security_token,
                headers,
            } => {
                let id = self.reader.text(access_key, &path.key("access_key"), Literals::Refused);
                let secret = self.reader.text(secret_key, &path.key("secret_key"), Literals::Refused);
                let token = security_token
                    .as_ref()
                    .and_then(|token| self.reader.text(token, &path.key("security_token"), Literals::Refused))
                    .map(|token| self.header_value(token.expose_secret(), &alternative.place));
                let headers: Vec<_> = headers
                    .iter()
                    .filter_map(|(name, node)| {
                        let path = path.key("headers").key(name.value.as_str());
                        let text = self.reader.text(node, &path, Literals::Allowed)?;
                        let mut value = self.header_value(text.expose_secret(), &alternative.place)?;
                        // A project's id is no secret, and `explain` is of use with it.
                        value.set_sensitive(false);
                        Some((name.value.clone(), value))
                    })
                    .collect();
                Some(Credentials::SdkHmacSha256(Arc::new(SdkKey {
                    access_key: self.plain(id?, &path.key("access_key"), &alternative.place)?,
                    secret_key: secret?,
                    security_token: match token {
                        Some(token) => Some(token?),
                        None => None,
                    },
                    headers,
                })))
            }
            CredentialScheme::DatedAccessKey { id, secret, zone, strip } => {
                let id = self.reader.text(id, &path.key("access_key_id"), Literals::Refused);
                let secret = self.reader.text(secret, &path.key("access_key_secret"), Literals::Refused);
                let zone_text = self.reader.text(zone, &path.key("time_zone"), Literals::Allowed)?;
                let zone_name = zone_text.expose_secret().to_owned();
                let Ok(zone) = jiff::tz::TimeZone::get(&zone_name) else {
                    self.reader
                        .faults
                        .fault(zone.span, &path.key("time_zone"), "the value is no time zone")
                        .hint("a name of the IANA database: `Europe/Berlin`, `Asia/Shanghai`, `UTC`");
                    return None;
                };
                Some(Credentials::DatedAccessKey(Arc::new(DatedAccessKey {
                    id: self.plain(id?, &path.key("access_key_id"), &alternative.place)?,
                    secret: secret?,
                    zone,
                    zone_name,
                    strip: strip.as_ref().map(|strip| strip.value.clone()).unwrap_or_default(),
                })))
            }
            CredentialScheme::Session(session) => self.session(session, path),
        }
    }

    fn basic(&mut self, username: &Node, password: &Node, place: &Place) -> Option<HeaderValue> {
        let username = self.reader.text(username, &place.path.key("username"), Literals::Refused);
        let password = self.reader.text(password, &place.path.key("password"), Literals::Refused);
        let (username, password) = (username?, password?);
        if username.expose_secret().contains(':') {
            // RFC 7617 section 2: the first colon ends the user name.
            let message = "a user name of HTTP Basic holds no `:`";
            self.reader.faults.fault(place.span, &place.path.key("username"), message);
            return None;
        }
        let pair = SecretString::from(format!("{}:{}", username.expose_secret(), password.expose_secret()));
        self.header_value(&format!("Basic {}", BASE64_STANDARD.encode(pair.expose_secret())), place)
    }

    fn session(&mut self, session: &Session, path: &Path) -> Option<Credentials> {
        let endpoint = self.reader.endpoint(&session.endpoint, &path.key("endpoint"));
        let login = session.login.as_ref().map(|login| self.login(login));
        let token = Names::default().with("token", Some(json!({ "type": "string" })), true);
        let value = session.apply.as_ref().and_then(|apply| {
            let mut compiler = TemplateCompiler::new(self.reader.faults, true);
            let value = compiler.compile(&apply.value, &apply.place.path.key("value"), &token, Position::Scalar)?;
            if !compiler.used.contains(&vec!["token".to_owned()]) {
                let message = "the value does not use the token";
                compiler
                    .faults
                    .fault(apply.value.span, &apply.place.path.key("value"), message)
                    .hint("such as `\"${token}\"` or `\"Bearer ${token}\"`");
                return None;
            }
            Some((apply.header.value.clone(), value))
        });
        let expired = session.expired.as_ref().map(|test| self.test(test)).transpose_test();
        let rejected = session.rejected.as_ref().map(|test| self.test(test)).transpose_test();
        let logout = session.logout.as_ref().map(|request| {
            let mut compiler = TemplateCompiler::new(self.reader.faults, true);
            compile_request::request(&mut compiler, request, &token)
        });
        let (header, value) = value?;
        Some(Credentials::Session(Arc::new(SessionPlan {
            name: self.name.to_owned(),
            endpoint: endpoint?,
            login: login??,
            header,
            value,
            expired: expired?,
            rejected: rejected?.unwrap_or_else(|| AnswerTest {
                status: StatusPattern {
                    ranges: REJECTED.map(|status| (status, status)).to_vec(),
                },
                when: None,
            }),
            remember: session.remember.map_or(DEFAULT_REMEMBER, |remember| remember.value),
            logout: match logout {
                Some(request) => Some(LogoutPlan { request: request? }),
                None => None,
            },
        })))
    }

    fn login(&mut self, login: &Login) -> Option<LoginPlan> {
        let request = login.request.as_ref().and_then(|request| self.login_request(request));
        let path = &login.place.path;
        let names = answer_names();
        let mut compiler = TemplateCompiler::new(self.reader.faults, false);
        compiler.absence_allowed = true;
        let token = compiler.compile(&login.token, &path.key("token"), &names, Position::Scalar);
        let mut placeholder = |node: &Option<Node>, key: &str| match node {
            Some(node) => compiler.placeholder(node, &path.key(key), &names).map(Some),
            None => Some(None),
        };
        let (issued_at, expires_at, expires_in) = (
            placeholder(&login.issued_at, "issued_at"),
            placeholder(&login.expires_at, "expires_at"),
            placeholder(&login.expires_in, "expires_in"),
        );
        Some(LoginPlan {
            status: login.status.as_ref().map_or_else(success, |status| status.value.clone()),
            token: token?,
            issued_at: issued_at?,
            expires_at: expires_at?,
            expires_in: expires_in?,
            lifetime: login.lifetime.map_or(DEFAULT_LIFETIME, |lifetime| lifetime.value),
            request: request?,
        })
    }

    /// The login request depends on the environment only, so it is rendered here, where a fault has a place.
    fn login_request(&mut self, request: &Request) -> Option<UpstreamRequest> {
        let mut variables = BTreeMap::new();
        let parts = [&request.path].into_iter().chain(request.query.iter().map(|(_, node)| node));
        let parts = parts.chain(request.headers.iter().map(|(_, node)| node));
        parts
            .chain(request.body.template())
            .for_each(|node| collect_variables(node, &mut variables));
        let properties: Map<String, Value> = variables.keys().map(|name| (name.clone(), json!({ "type": "string" }))).collect();
        let required: Vec<&String> = variables.iter().filter(|(_, required)| **required).map(|(name, _)| name).collect();
        let schema = json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
        let template = {
            let mut compiler = TemplateCompiler::new(self.reader.faults, true);
            compile_request::request(&mut compiler, request, &Names::default().with("env", Some(schema), true))?
        };
        // Every one is asked, so that all that are missing are told.
        let complete = required.iter().filter(|name| !self.reader.is_set(name)).count() == 0;
        if !complete {
            return None;
        }
        let values: Map<String, Value> = variables
            .keys()
            .filter_map(|name| Some((name.clone(), Value::from(self.reader.environment.secret(name)?))))
            .collect();
        let values = Value::Object(values);
        match template.render(&Bindings::new().with("env", &values)) {
            Ok(request) => Some(request),
            Err(error) => {
                let message = format!("the login cannot be made of these variables: {}", causes(&error));
                self.reader.faults.fault(request.place.span, &request.place.path, message).secret();
                None
            }
        }
    }

    fn test(&mut self, test: &Test) -> Option<AnswerTest> {
        let when = match &test.when {
            Some(when) => {
                let mut compiler = TemplateCompiler::new(self.reader.faults, false);
                Some(compiler.condition(&when.value, when.span, &test.place.path.key("when"), &answer_names())?)
            }
            None => None,
        };
        let status = test.status.as_ref().map_or_else(StatusPattern::any, |status| status.value.clone());
        Some(AnswerTest { status, when })
    }

    /// An access key's id stands in the middle of a header.
    fn plain(&mut self, text: SecretString, path: &Path, place: &Place) -> Option<String> {
        let text = text.expose_secret();
        if text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
            return Some(text.to_owned());
        }
        self.reader
            .faults
            .fault(place.span, path, "the value holds characters that an access key does not have")
            .hint("a line break at the end of the variable, perhaps?");
        None
    }

    fn header_value(&mut self, text: &str, place: &Place) -> Option<HeaderValue> {
        match HeaderValue::from_str(text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                Some(value)
            }
            Err(_) => {
                let message = "the value holds characters that a header cannot carry";
                self.reader
                    .faults
                    .fault(place.span, &place.path, message)
                    .hint("a line break at the end of the variable, perhaps?");
                None
            }
        }
    }
}

/// A part that may be left out and may have a fault: nothing is `Some(None)`, a fault is `None`.
trait TransposeTest {
    fn transpose_test(self) -> Option<Option<AnswerTest>>;
}

impl TransposeTest for Option<Option<AnswerTest>> {
    fn transpose_test(self) -> Option<Option<AnswerTest>> {
        match self {
            None => Some(None),
            Some(None) => None,
            Some(test) => Some(test),
        }
    }
}

/// What templates and conditions over an answer may use.
fn answer_names() -> Names {
    Names::default()
        .with("status", Some(json!({ "type": "integer" })), true)
        .with("headers", None, true)
        .with("body", None, true)
        .with("text", Some(json!({ "type": "string" })), true)
}

/// Every `env.NAME` below a node, and whether it has to be set.
fn collect_variables(node: &Node, found: &mut BTreeMap<String, bool>) {
    match &node.value {
        NodeValue::Text(text) => {
            for piece in pieces(text).unwrap_or_default() {
                if let Piece::Placeholder { source, optional } = piece {
                    note_variables(&source, optional, found);
                }
            }
        }
        NodeValue::Map(members) => {
            for (key, member) in members {
                match member.as_text() {
                    Some(condition) if key.text == "when" => note_variables(condition, false, found),
                    _ => collect_variables(member, found),
                }
            }
        }
        NodeValue::List(items) => items.iter().for_each(|item| collect_variables(item, found)),
        NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::Null | NodeValue::Refused => {}
    }
}

fn note_variables(source: &str, optional: bool, found: &mut BTreeMap<String, bool>) {
    // What is no expression is reported where it is compiled.
    let Ok(expression) = Expression::parse(source) else { return };
    for used in expression.uses() {
        if let ("env", [Step::Member(name)]) = (used.reference.root.as_str(), used.reference.steps.as_slice()) {
            *found.entry(name.clone()).or_default() |= !optional && !used.guarded;
        }
    }
}

fn success() -> StatusPattern {
    StatusPattern { ranges: vec![(200, 299)] }
}

/// The callers' headers that any of the credentials hands on.
pub(super) fn passthrough<'a>(all: impl Iterator<Item = &'a CompiledCredential>) -> std::collections::HashSet<http::HeaderName> {
    all.filter_map(|credential| match &credential.chosen {
        Ok(Credentials::Passthrough(name)) => Some(name.clone()),
        _ => None,
    })
    .collect()
}

/// What a login answers to a bad secret, unless the file says otherwise.
const REJECTED: [u16; 3] = [400, 401, 403];
/// Short enough that a mended password works soon, long enough that a wrong one does not lock the account.
const DEFAULT_REMEMBER: Duration = Duration::from_secs(60);
/// An hour is the usual life of a token of OAuth2; a token that ends earlier is found out at the vendor's answer.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// The variables that are named, without repetition and in order.
pub(super) fn distinct(names: Vec<String>) -> Vec<String> {
    names.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}
