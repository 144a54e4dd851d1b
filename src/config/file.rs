//! The typed mirror of routes.yaml (`docs/routes.md`): what stands where, with places; templates stay [`Node`]s.
//!
//! **Shape**: [`Node`] tree -> `File { settings, credentials, faults, quotas, providers }`.
//!
//! **Invariants**: after a decode without faults every name, closed word, number and combination of keys is right; names that
//! refer to something else (settings, credentials, fault tables, quotas, schema files, `${…}`) are not looked up yet. After a decode
//! with faults the model holds what could be read: required places hold [`NodeValue::Refused`]
//! nodes, empty texts or defaults. It serves to find more faults and must not be compiled into a route table.

use crate::config::diagnostic::Diagnostics;
pub use crate::config::fields::Keys;
use crate::config::fields::{self, Fields, Item};
pub use crate::config::file_credentials::{
    APPLY_KEYS, Alternative, Apply, BASIC_KEYS, Credential, CredentialScheme, DATED_ACCESS_KEY_KEYS, HEADER_KEYS, LOGIN_KEYS, Login,
    NONE_KEYS, ONE_OF_KEYS, PASSTHROUGH_KEYS, SDK_HMAC_SHA256_KEYS, SESSION_KEYS, Session, TEST_KEYS, Test,
};
pub use crate::config::file_like::SITE_KEYS;
pub use crate::config::file_limits::{
    BREAKER_KEYS, Breaker, CALL_LIMITS_KEYS, CallLimits, Connection, LIMITS_KEYS, Limits, QUEUE_KEYS, QUOTA_KEYS, Queue, Quota,
};
pub use crate::config::file_provider::{
    ACTION_KEYS, Action, BATCH_KEYS, Batch, INTEGER_ID_KEYS, Id, PROVIDER_KEYS, Provider, STRING_ID_KEYS,
};
pub use crate::config::file_route::{
    ITEMS_KEYS, Items, OUTCOME_KEYS, OutcomeRule, REPLY_KEYS, REQUEST_KEYS, Reply, ReplyBody, Request, RequestBody, RuleKind, StatusPattern,
};
pub use crate::config::file_task::{
    JOB_KEYS, Job, LOOK_KEYS, Look, SETTLES_KEYS, Settles, TASK_KEYS, TASK_REPLY_KEYS, TIMES_KEYS, Task, Times,
};
pub use crate::config::file_tls::{CLIENT_CERT_KEYS, ClientCert, TLS_KEYS, Tls};
use crate::config::place::{Path, Place, Span, Spanned};
use crate::config::yaml::{Key, Node, NodeValue};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// The configuration values.
    pub settings: Vec<Setting>,
    /// How taskgate proves itself.
    pub credentials: Vec<Credential>,
    /// The tables that turn codes into reasons.
    pub faults: Vec<FaultTable>,
    /// The rates that several share.
    pub quotas: Vec<Quota>,
    /// The providers.
    pub providers: Vec<Provider>,
}

/// A configuration value out of a closed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, `NAME` of `settings.NAME`.
    pub name: Spanned<String>,
    /// Where it stands.
    pub place: Place,
    /// The values, each once.
    pub one_of: Vec<Spanned<String>>,
    /// One of them.
    pub default: Spanned<String>,
    /// The environment variable that overrides it.
    pub env: Option<Spanned<String>>,
}

/// A table that turns a vendor's answers into reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultTable {
    /// Its name.
    pub name: Spanned<String>,
    /// Where it stands.
    pub place: Place,
    /// Templates for the code; the first that is present counts.
    pub code: Vec<Node>,
    /// Templates for the message.
    pub message: Vec<Node>,
    /// Templates for the vendor's id of the exchange.
    pub request_id: Vec<Node>,
    /// Where a message ends: what follows one of these texts is not handed on.
    pub cut_after: Vec<Spanned<String>>,
    /// Rules before the codes.
    pub rules: Vec<FaultRule>,
    /// Code to reason.
    pub codes: Vec<(Key, Spanned<String>)>,
    /// Codes behind a prefix.
    pub families: Vec<Family>,
}

/// A rule of a fault table; it has a status, a condition or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    /// Where it stands.
    pub place: Place,
    /// The vendor's status; any when left out.
    pub status: Option<Spanned<StatusPattern>>,
    /// A CEL condition.
    pub when: Option<Spanned<String>>,
    /// The reason; one of [`Words::reasons`].
    pub reason: Spanned<String>,
}

/// Codes that several services share behind their own prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Where it stands.
    pub place: Place,
    /// The prefixes.
    pub prefixes: Vec<Spanned<String>>,
    /// The rest of the code to reason.
    pub codes: Vec<(Key, Spanned<String>)>,
}

/// The closed words that other parts of the program own.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// The reasons that a route may name.
    pub reasons: &'a [&'a str],
    /// The canonical states.
    pub states: &'a [&'a str],
}

impl File {
    /// Reads the tree of routes.yaml; faults are collected and do not end the reading.
    pub fn decode(root: Node, words: Words<'_>, faults: &mut Diagnostics) -> Self {
        let place = Place {
            span: Span::new(root.span.file, root.span.start, root.span.start),
            path: Path::default(),
        };
        let mut fields = Fields::open(Item { place, node: root }, &FILE_KEYS, faults);
        version(fields.take("version"), faults);
        let mut decoder = Decoder { words, faults };
        let faults_table = fields.members("faults", decoder.faults);
        let settings = fields.members("settings", decoder.faults);
        let credentials = fields.members("credentials", decoder.faults);
        let quotas = fields.members("quotas", decoder.faults);
        let providers = fields.members("providers", decoder.faults);
        Self {
            settings: settings.into_iter().map(|(key, item)| decoder.setting(&key, item)).collect(),
            credentials: credentials.into_iter().map(|(key, item)| decoder.credential(&key, item)).collect(),
            faults: faults_table
                .into_iter()
                .map(|(key, item)| decoder.fault_table(&key, item))
                .collect(),
            quotas: quotas.into_iter().map(|(key, item)| decoder.quota(&key, item)).collect(),
            providers: decoder.providers(providers),
        }
    }

    /// The setting with this name.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name.value == name)
    }

    /// The credentials with this name.
    #[must_use]
    pub fn credential(&self, name: &str) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.name.value == name)
    }

    /// The fault table with this name.
    #[must_use]
    pub fn fault_table(&self, name: &str) -> Option<&FaultTable> {
        self.faults.iter().find(|table| table.name.value == name)
    }
}

/// What every part of the decoding needs: the words, and where faults go.
pub(crate) struct Decoder<'a> {
    /// The closed words.
    pub(crate) words: Words<'a>,
    /// The collector.
    pub(crate) faults: &'a mut Diagnostics,
}

impl Decoder<'_> {
    /// `api_version: { one_of: [...], default: ..., env: ... }`
    fn setting(&mut self, key: &Key, item: Item) -> Setting {
        let name = self.name(key, &item.place.path, SETTING_RULE);
        let mut fields = Fields::open(item, &SETTING_KEYS, self.faults);
        let one_of: Vec<_> = fields
            .items("one_of", self.faults)
            .into_iter()
            .filter_map(|item| fields::take_text(item, self.faults))
            .collect();
        let path = fields.place.path.key("one_of");
        for (index, word) in one_of.iter().enumerate() {
            if one_of.iter().take(index).any(|earlier| earlier.value == word.value) {
                self.faults.fault(word.span, &path, format!("`{}` stands there twice", word.value));
            }
        }
        let default = fields.required_text("default", self.faults);
        if !default.value.is_empty() && !one_of.is_empty() && !one_of.iter().any(|word| word.value == default.value) {
            let words: Vec<_> = one_of.iter().map(|word| word.value.as_str()).collect();
            fields::unknown_word(&default, &fields.place.path.key("default"), words.iter().copied(), self.faults);
        }
        let env = fields
            .text("env", self.faults)
            .filter(|env| self.is_variable(env, &fields.place.path));
        Setting {
            name,
            place: fields.place,
            one_of,
            default,
            env,
        }
    }

    /// Is it the name of an environment variable?
    fn is_variable(&mut self, env: &Spanned<String>, parent: &Path) -> bool {
        let holds = env.value.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            && !env.value.starts_with(|c: char| c.is_ascii_digit());
        if !holds {
            self.faults
                .fault(
                    env.span,
                    &parent.key("env"),
                    format!("`{}` is no name of an environment variable", env.value.escape_debug()),
                )
                .hint("it has capital letters, digits and `_`");
        }
        holds
    }

    /// `globex: { code: [...], message: [...], rules: [...], codes: {...}, families: [...] }`
    fn fault_table(&mut self, key: &Key, item: Item) -> FaultTable {
        let name = self.name(key, &item.place.path, NAME_RULE);
        let mut fields = Fields::open(item, &FAULTS_KEYS, self.faults);
        let mut templates = |key, decoder: &mut Self| {
            fields
                .take(key)
                .map(|item| fields::one_or_many(item, decoder.faults))
                .unwrap_or_default()
        };
        let (code, message) = (templates("code", self), templates("message", self));
        let request_id = templates("request_id", self);
        let cut_after = fields
            .items("cut_after", self.faults)
            .into_iter()
            .filter_map(|item| fields::take_text(item, self.faults))
            .collect();
        let rules = fields
            .items("rules", self.faults)
            .into_iter()
            .map(|item| self.fault_rule(item))
            .collect();
        let codes = self.codes(&mut fields);
        let families = fields
            .items("families", self.faults)
            .into_iter()
            .map(|item| self.family(item))
            .collect();
        if code.is_empty() && (!codes.is_empty()) {
            self.faults
                .fault(fields.place.span, &fields.place.path, "`codes` without `code`")
                .hint("`code` says where the code stands");
        }
        FaultTable {
            name,
            place: fields.place,
            code,
            message,
            request_id,
            cut_after,
            rules,
            codes,
            families,
        }
    }

    /// `{ status: 302, reason: VENDOR_AUTH }`
    fn fault_rule(&mut self, item: Item) -> FaultRule {
        let mut fields = Fields::open(item, &FAULT_RULE_KEYS, self.faults);
        let has_condition = fields.has("status") || fields.has("when");
        if !has_condition && !fields.is_unusable() {
            self.faults.fault(
                fields.place.span,
                &fields.place.path,
                "a rule without `status` and `when` matches everything",
            );
        }
        let status = self.status(&mut fields);
        let when = fields.text("when", self.faults);
        let reason = self
            .reason(&mut fields)
            .unwrap_or_else(|| Spanned::new(String::new(), fields.place.span));
        FaultRule {
            status,
            when,
            reason,
            place: fields.place,
        }
    }

    /// `{ prefixes: [APIGW.], codes: { "0308": VENDOR_RATE_LIMITED } }`
    fn family(&mut self, item: Item) -> Family {
        let mut fields = Fields::open(item, &FAMILY_KEYS, self.faults);
        let prefixes = fields
            .items("prefixes", self.faults)
            .into_iter()
            .filter_map(|item| fields::take_text(item, self.faults))
            .collect();
        let codes = self.codes(&mut fields);
        Family {
            place: fields.place,
            prefixes,
            codes,
        }
    }

    /// Codes and their reasons.
    fn codes(&mut self, fields: &mut Fields) -> Vec<(Key, Spanned<String>)> {
        let members = fields.members("codes", self.faults);
        members
            .into_iter()
            .filter_map(|(key, item)| fields::take_known(item, self.words.reasons, self.faults).map(|reason| (key, reason)))
            .collect()
    }

    /// The key `reason`.
    pub(crate) fn reason(&mut self, fields: &mut Fields) -> Option<Spanned<String>> {
        fields::take_known(fields.take("reason")?, self.words.reasons, self.faults)
    }

    /// Checks a name that the file's author chose.
    pub(crate) fn name(&mut self, key: &Key, path: &Path, rule: NameRule) -> Spanned<String> {
        let mut chars = key.text.chars();
        let starts = chars.next().is_some_and(|c| c.is_ascii_lowercase());
        if !starts || key.text.len() > MAX_NAME || !chars.all(rule.continues) {
            self.faults
                .fault(key.span, path, format!("`{}` is no {}", key.text.escape_debug(), rule.what))
                .hint(format!("it must match {}", rule.pattern));
        }
        Spanned::new(key.text.clone(), key.span)
    }
}

/// How a kind of name is written.
#[derive(Clone, Copy)]
pub(crate) struct NameRule {
    what: &'static str,
    pattern: &'static str,
    continues: fn(char) -> bool,
}

/// Only version 1 is known.
fn version(item: Option<Item>, faults: &mut Diagnostics) {
    let Some(Item { place, node }) = item else { return };
    match node.value {
        NodeValue::Int(1) | NodeValue::Refused => {}
        NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null | NodeValue::Text(_) => {
            faults.fault(node.span, &place.path, format!("expected the version 1, found {}", node.describe()));
        }
    }
}

/// Names of settings: they stand in expressions, where `-` is a minus.
const SETTING_RULE: NameRule = NameRule {
    what: "name of a setting",
    pattern: "^[a-z][a-z0-9_]{0,31}$",
    continues: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_',
};
/// Names of credentials, fault tables and quotas.
pub(crate) const NAME_RULE: NameRule = NameRule {
    what: "name",
    pattern: "^[a-z][a-z0-9_-]{0,31}$",
    continues: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'),
};
/// Names of providers: they stand in the path.
pub(crate) const PROVIDER_RULE: NameRule = NameRule {
    what: "provider name",
    pattern: "^[a-z][a-z0-9-]{0,31}$",
    continues: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
};
/// Verbs (AIP-136): camel case.
pub(crate) const VERB_RULE: NameRule = NameRule {
    what: "verb",
    pattern: "^[a-z][a-zA-Z]{0,31}$",
    continues: |c| c.is_ascii_alphabetic(),
};
/// Names stand in paths, logs and metric labels.
const MAX_NAME: usize = 32;

/// The top level.
pub const FILE_KEYS: Keys = Keys {
    what: "the file",
    required: &["version", "providers"],
    optional: &["settings", "credentials", "faults", "quotas"],
};
/// One of `settings`.
pub const SETTING_KEYS: Keys = Keys {
    what: "a setting",
    required: &["one_of", "default"],
    optional: &["env"],
};
/// One of `faults`.
pub const FAULTS_KEYS: Keys = Keys {
    what: "a fault table",
    required: &[],
    optional: &["code", "message", "request_id", "cut_after", "rules", "codes", "families"],
};
/// One of the `rules` of a fault table.
pub const FAULT_RULE_KEYS: Keys = Keys {
    what: "a rule",
    required: &["reason"],
    optional: &["status", "when"],
};
/// One of the `families` of a fault table.
pub const FAMILY_KEYS: Keys = Keys {
    what: "a family",
    required: &["prefixes", "codes"],
    optional: &[],
};
