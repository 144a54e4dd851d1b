//! The environment variables that a configuration may name.
//!
//! **Invariants**: [`Environment::from_process`] is the only place that reads the process environment. An empty variable
//! is an unset one. `Debug` shows names, never values: they are secrets.

use std::collections::BTreeMap;
use std::fmt;

/// Variables by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process. Those that are not Unicode are left out: no name or address is written so.
    #[must_use]
    pub fn from_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// These variables, overridden by others.
    ///
    /// ```
    /// use taskgate::config::environment::Environment;
    ///
    /// let base: Environment = [("A", "1"), ("B", "2")].into_iter().collect();
    /// let environment = base.with([("B", "")]);
    /// assert_eq!(environment.value("A"), Some("1"));
    /// assert_eq!(environment.value("B"), None);
    /// ```
    #[must_use]
    pub fn with<N: Into<String>, V: Into<String>>(mut self, overrides: impl IntoIterator<Item = (N, V)>) -> Self {
        self.variables
            .extend(overrides.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// The value of a variable; nothing when it is unset or empty.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Is a variable given, by its value or by a file with its value?
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.value(name).is_some() || self.value(&file_variable(name)).is_some()
    }

    /// The names of all variables, for "did you mean".
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }
}

/// The variable with the path of the file in which the value of another one stands: `PRIME_PASSWORD_FILE`.
pub(super) fn file_variable(name: &str) -> String {
    format!("{name}_FILE")
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self {
            variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
