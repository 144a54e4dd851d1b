//! The variables as one compilation sees them: those of the environment, and those that stand in files (`NAME_FILE`).
//!
//! **Shape**: `PRIME_PASSWORD_FILE=/run/secrets/prime` -> `value("PRIME_PASSWORD")` is what stands in the file, without the line
//! ends at its end.
//!
//! **Invariants**: only files of variables that the routes ask for are read, each once. A fault names variable and file and
//! never shows what stands in it. What [`Variables::hash_into`] gives out holds no secret.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret as _, SecretString};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::environment::{Environment, file_variable};
use super::sources::{ReadError, Sources};
use crate::crypto::sha256_hex;

/// Variables, and what has been asked of them.
pub(super) struct Variables<'a> {
    environment: &'a Environment,
    sources: &'a Sources,
    asked: RefCell<Asked>,
}

#[derive(Default)]
struct Asked {
    /// What stood in the files, by the name of the variable that it is the value of; nothing where that is a fault.
    files: BTreeMap<String, Option<SecretString>>,
    faults: Diagnostics,
    names: BTreeSet<String>,
    secret: BTreeSet<String>,
    /// Digests of files whose content is for everybody, such as certificates.
    public: Vec<String>,
}

impl<'a> Variables<'a> {
    /// The variables of this environment; a relative path of a file is one beside `sources`.
    pub(super) fn new(environment: &'a Environment, sources: &'a Sources) -> Self {
        Self {
            environment,
            sources,
            asked: RefCell::default(),
        }
    }

    /// The value of a variable; nothing when neither it nor its file is given, or the file has a fault, which is noted.
    pub(super) fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut asked = self.asked.borrow_mut();
        asked.names.insert(name.to_owned());
        let direct = self.environment.value(name);
        let variable = file_variable(name);
        let Some(path) = self.environment.value(&variable) else {
            return direct.map(Cow::Borrowed);
        };
        if let Some(known) = asked.files.get(name) {
            return known.as_ref().map(|secret| Cow::Owned(secret.expose_secret().to_owned()));
        }
        let found = match direct {
            Some(_) => {
                let mut fault = Diagnostic::without_place(format!("{name} and {variable} are both set"));
                fault.hint("leave one of them out: the value stands in the variable or in the file");
                Err(Box::new(fault))
            }
            None => self.read(name, &variable, path),
        };
        let found = found.map_err(|fault| asked.faults.push(*fault)).ok();
        let value = found.as_ref().map(|secret| Cow::Owned(secret.expose_secret().to_owned()));
        asked.files.insert(name.to_owned(), found);
        value
    }

    /// As [`Self::value`], for one that nobody may guess from the hash.
    pub(super) fn secret(&self, name: &str) -> Option<Cow<'a, str>> {
        self.asked.borrow_mut().secret.insert(name.to_owned());
        self.value(name)
    }

    /// Notes the bytes of a file that is part of the configuration and no secret.
    pub(super) fn note_public(&self, bytes: &[u8]) {
        self.asked.borrow_mut().public.push(sha256_hex(bytes));
    }

    fn read(&self, name: &str, variable: &str, path: &str) -> Result<SecretString, Box<Diagnostic>> {
        let fault = |what: &str, hint: &str| {
            // Somebody may have put the secret itself where its path belongs.
            let shown = if ["/", "./", "../"].iter().any(|start| path.starts_with(start)) && path.len() <= MAX_SHOWN_PATH {
                format!("`{}`", path.escape_debug())
            } else {
                "the file (its path is shown where it begins with `/` or `./`)".to_owned()
            };
            let mut fault = Diagnostic::without_place(format!("{variable}: {shown}: {what}"));
            fault.hint(hint);
            Box::new(fault)
        };
        let bytes = self.sources.read_beside(path).map_err(|error| match &error {
            ReadError::Missing => fault("there is no such file", &format!("the value of {name} is to stand in it")),
            ReadError::Io(cause) => fault(&format!("it cannot be read: {}", cause.kind()), "may this user read it?"),
            ReadError::Escapes | ReadError::NotUtf8 | ReadError::TooLarge => fault(&error.to_string(), VALUE_ONLY),
        })?;
        if bytes.len() > MAX_VALUE_BYTES {
            return Err(fault(&format!("it is larger than {MAX_VALUE_BYTES} bytes"), VALUE_ONLY));
        }
        let text = String::from_utf8(bytes).map_err(|_| fault("it is not valid UTF-8", VALUE_ONLY))?;
        match text.trim_end_matches(['\n', '\r']) {
            "" => Err(fault("it is empty", VALUE_ONLY)),
            value => Ok(SecretString::from(value)),
        }
    }

    /// Puts the faults of all files that were asked for to the others.
    pub(super) fn tell(&self, faults: &mut Diagnostics) {
        let asked = self.asked.borrow();
        faults.extend(asked.faults.clone());
        for name in asked.files.keys().filter(|name| asked.names.contains(&file_variable(name))) {
            let variable = file_variable(name);
            faults
                .push(Diagnostic::without_place(format!(
                    "{variable} would be the file of {name}, but the routes use it as a variable of its own"
                )))
                .hint("set the variable itself, or rename one of the two in the routes");
        }
    }

    /// What the routes have asked for, as far as it may be known: names, whether they are set, and the values of those that are
    /// no secret.
    pub(super) fn hash_into(&self, text: &mut String) {
        let asked = self.asked.borrow();
        for name in &asked.names {
            let value = match asked.files.get(name) {
                Some(file) => file.as_ref().map(|secret| secret.expose_secret()),
                None => self.environment.value(name),
            };
            let known = match value {
                None => "unset".to_owned(),
                Some(_) if asked.secret.contains(name) => "secret".to_owned(),
                Some(value) => sha256_hex(value.as_bytes()),
            };
            text.push_str(&format!("{name}={known}\n"));
        }
        for digest in &asked.public {
            text.push_str(&format!("file={digest}\n"));
        }
    }
}

/// A token of an identity service has up to 32 KiB.
const MAX_VALUE_BYTES: usize = 64 * 1024;
/// The longest path that Linux takes is 4096 bytes; nobody reads that.
const MAX_SHOWN_PATH: usize = 512;
const VALUE_ONLY: &str = "the value stands in it and nothing else; line ends at its end are left out";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], variables: &[(&str, &str)], expected: Result<Option<&str>, &str>) {
        let sources = Sources::memory(files.iter().copied());
        let environment: Environment = variables.iter().copied().collect();
        let variables = Variables::new(&environment, &sources);
        let value = variables.value("KEY");
        assert_eq!(value, variables.value("KEY"), "each is read once");
        let mut faults = Diagnostics::default();
        variables.tell(&mut faults);
        match expected {
            Ok(expected) => {
                assert!(faults.is_empty(), "{faults:?}");
                assert_eq!(value.as_deref(), expected);
            }
            Err(says) => {
                assert_eq!((value, faults.len()), (None, 1));
                let text = faults.render(&super::super::files::FileSet::default());
                assert!(text.contains(says), "{text}");
                assert!(!text.contains("s3cret"), "{text}");
            }
        }
    }

    #[test]
    fn a_value_stands_in_the_variable_or_in_its_file() {
        let file = |text| [("k/key", text)];
        let named = [("KEY_FILE", "k/key")];
        check(&[], &[], Ok(None));
        check(&[], &[("KEY", "s3cret")], Ok(Some("s3cret")));
        check(&file("s3cret"), &named, Ok(Some("s3cret")));
        check(&file("s3cret\n"), &named, Ok(Some("s3cret")));
        check(&file("s3cret\r\n\n"), &named, Ok(Some("s3cret")));
        check(&file("  s3cret "), &named, Ok(Some("  s3cret ")));
        // An empty variable is an unset one, on both sides.
        check(&file("s3cret"), &[("KEY", ""), ("KEY_FILE", "k/key")], Ok(Some("s3cret")));
        check(&[], &[("KEY", "s3cret"), ("KEY_FILE", "")], Ok(Some("s3cret")));
        // Files of variables that nobody asks for are not looked at.
        check(&[], &[("OTHER_FILE", "/nowhere")], Ok(None));
    }

    #[test]
    fn faults_name_variable_and_file_and_no_content() {
        let at = |path| [("KEY_FILE", path)];
        let large = "s3cret".repeat(MAX_VALUE_BYTES);
        check(
            &[("./k", "s3cret")],
            &[("KEY", "s3cret"), ("KEY_FILE", "./k")],
            Err("error: KEY and KEY_FILE are both set"),
        );
        check(
            &[],
            &at("/nowhere/key"),
            Err("error: KEY_FILE: `/nowhere/key`: there is no such file"),
        );
        check(&[], &at("/"), Err("KEY_FILE: `/`: there is no such file"));
        check(&[("./k", "\n")], &at("./k"), Err("KEY_FILE: `./k`: it is empty"));
        check(
            &[("./k", &large)],
            &at("./k"),
            Err("KEY_FILE: `./k`: it is larger than 65536 bytes"),
        );
        // The secret itself, where its path belongs.
        check(&[], &at("s3cret"), Err("KEY_FILE: the file (its path is shown where"));
    }

    #[test]
    fn the_hash_knows_no_secret() {
        let hash = |key: &str, address: &str, ca: &[u8]| {
            let sources = Sources::memory([("k", key)]);
            let environment: Environment = [("KEY_FILE", "k"), ("ADDRESS", address)].into_iter().collect();
            let variables = Variables::new(&environment, &sources);
            assert!(variables.secret("KEY").is_some() && variables.value("ADDRESS").is_some());
            // Also asked for where it would be no secret.
            assert!(variables.value("KEY").is_some() && variables.value("UNSET").is_none());
            variables.note_public(ca);
            let mut text = String::new();
            variables.hash_into(&mut text);
            text
        };
        let text = hash("one", "a", b"ca");
        assert_eq!(text, hash("another", "a", b"ca"));
        assert_ne!(text, hash("one", "b", b"ca"));
        assert_ne!(text, hash("one", "a", b"cb"));
        assert!(text.contains("KEY=secret\nUNSET=unset\n"), "{text}");
    }

    #[test]
    fn a_name_is_one_thing() {
        let sources = Sources::memory([("k", "s3cret")]);
        let environment: Environment = [("CA_FILE", "k")].into_iter().collect();
        for (asked, faulty) in [(&["CA_FILE"][..], false), (&["CA_FILE", "CA"], true), (&["CA", "CA_FILE"], true)] {
            let variables = Variables::new(&environment, &sources);
            asked.iter().for_each(|name| drop(variables.value(name)));
            let mut faults = Diagnostics::default();
            variables.tell(&mut faults);
            assert_eq!(faults.is_empty(), !faulty, "{asked:?}: {faults:?}");
        }
    }
}
