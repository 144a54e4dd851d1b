//! The keys of operations, from the environment: `TASKGATE_OPERATION_KEYS`, or the file that `TASKGATE_OPERATION_KEYS_FILE` names.
//!
//! **Shape**: `qT3…=,Zm9…=` -> [`OperationKeys`] that seal with the first and open with both; nothing where none are given.
//!
//! **Invariants**: a fault names variable and place, never what stands there. The hash of the configuration knows whether there are
//! keys and not which.

use std::sync::Arc;

use secrecy::SecretString;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::variables::Variables;
use crate::operation::OperationKeys;

/// The keys, where there are any; what is wrong with them is a fault.
pub(super) fn operation_keys(variables: &Variables<'_>, faults: &mut Diagnostics) -> Option<Arc<OperationKeys>> {
    let written = SecretString::from(variables.secret(OPERATION_KEYS)?.into_owned());
    match OperationKeys::parse(&written) {
        Ok(keys) => Some(Arc::new(keys)),
        Err(error) => {
            faults
                .push(Diagnostic::without_place(format!("{OPERATION_KEYS}: {error}")))
                .hint("keys are 32 bytes in base64, separated by commas: `openssl rand -base64 32` makes one");
            None
        }
    }
}

/// The variable.
const OPERATION_KEYS: &str = "TASKGATE_OPERATION_KEYS";

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;
    use crate::config::environment::Environment;
    use crate::config::files::FileSet;
    use crate::config::sources::Sources;

    #[track_caller]
    fn check(files: &[(&str, &str)], variables: &[(&str, &str)], expected: Result<bool, &str>) {
        let sources = Sources::memory(files.iter().copied());
        let environment: Environment = variables.iter().copied().collect();
        let variables = Variables::new(&environment, &sources);
        let mut faults = Diagnostics::default();
        let keys = operation_keys(&variables, &mut faults);
        variables.tell(&mut faults);
        let text = faults.render(&FileSet::default());
        assert!(!text.contains("bWFkZS11cC1rZXkt"), "{text}");
        match expected {
            Ok(given) => assert_eq!((keys.is_some(), text.as_str()), (given, "")),
            Err(says) => {
                assert!(keys.is_none());
                assert!(text.contains(says), "{text}");
            }
        }
    }

    #[test]
    fn keys_stand_in_the_variable_or_in_its_file() {
        let key = BASE64_STANDARD.encode("made-up-key-that-opens-nothing-1");
        let two = format!("{key},{}", BASE64_STANDARD.encode("made-up-key-that-opens-nothing-2"));
        let short = BASE64_STANDARD.encode("made-up-key-that-opens-nothing");
        check(&[], &[], Ok(false));
        check(&[], &[("TASKGATE_OPERATION_KEYS", "")], Ok(false));
        check(&[], &[("TASKGATE_OPERATION_KEYS", &key)], Ok(true));
        check(&[], &[("TASKGATE_OPERATION_KEYS", &two)], Ok(true));
        check(
            &[("./k", &format!("{two}\n"))],
            &[("TASKGATE_OPERATION_KEYS_FILE", "./k")],
            Ok(true),
        );
        check(
            &[],
            &[("TASKGATE_OPERATION_KEYS", &short)],
            Err("TASKGATE_OPERATION_KEYS: key 1 has 30 bytes and should have 32"),
        );
        check(
            &[],
            &[("TASKGATE_OPERATION_KEYS", &format!("{two},{key}"))],
            Err("key 3 stands there twice"),
        );
        check(
            &[("./k", "bWFkZS11cC1rZXkt!")],
            &[("TASKGATE_OPERATION_KEYS_FILE", "./k")],
            Err("key 1 is not base64"),
        );
        check(&[], &[("TASKGATE_OPERATION_KEYS_FILE", "/nowhere/k")], Err("there is no such file"));
    }
}
