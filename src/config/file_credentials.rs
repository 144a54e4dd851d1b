//! The typed mirror of `credentials`: the schemes, and which of several is used.
//!
//! **Shape**: `globex: { scheme: header, header: X-Auth-Token, value: "${env.GLOBEX_TOKEN}" }` -> [`Credential`] with one
//! alternative; `globex: { one_of: [{ scheme: … }, …] }` -> as many as the list has.

use std::time::Duration;

use http::header::HeaderName;

use crate::config::fields::{self, Fields, Item, Keys};
use crate::config::file::{Decoder, NAME_RULE};
use crate::config::file_route::{Request, SecretHeaders, StatusPattern};
use crate::config::place::{Path, Place, Spanned};
use crate::config::yaml::{Key, Node, NodeValue};

/// How taskgate proves itself to a vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its name.
    pub name: Spanned<String>,
    /// Where it stands.
    pub place: Place,
    /// The first whose variables are all set is used; one unless the file says `one_of`.
    pub alternatives: Vec<Alternative>,
}

/// One way to prove oneself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// Where it stands.
    pub place: Place,
    /// How.
    pub scheme: CredentialScheme,
}

/// The schemes. The nodes are templates over `env`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialScheme {
    /// `Authorization: Basic …`
    Basic {
        /// The user.
        username: Node,
        /// The password.
        password: Node,
        /// What says that too many calls are under way.
        limited: Option<Test>,
    },
    /// A dated signature over method and path (the scheme `zstack-access-key`).
    DatedAccessKey {
        /// The public half of the key.
        id: Node,
        /// The secret half.
        secret: Node,
        /// The zone of the vendor's server.
        zone: Node,
        /// What is cut from the front of the path before it is signed.
        strip: Option<Spanned<String>>,
    },
    /// A header with a fixed value.
    Header {
        /// Its name.
        header: Spanned<HeaderName>,
        /// Its value.
        value: Node,
    },
    /// Nothing; also what a faulty block becomes.
    None,
    /// The caller's own header.
    Passthrough {
        /// Its name.
        header: Spanned<HeaderName>,
    },
    /// A signature over the whole request.
    SdkHmacSha256 {
        /// The public half of the key.
        access_key: Node,
        /// The secret half.
        secret_key: Node,
        /// What a temporary key comes with.
        security_token: Option<Node>,
        /// Headers that are added and signed.
        headers: Vec<(Spanned<HeaderName>, Node)>,
    },
    /// A token that a login gives.
    Session(Box<Session>),
}

impl CredentialScheme {
    /// The header that the file names for the secret.
    #[must_use]
    pub fn as_header(&self) -> Option<&Spanned<HeaderName>> {
        match self {
            Self::Header { header, .. } | Self::Passthrough { header } => Some(header),
            Self::Session(session) => session.apply.as_ref().map(|apply| &apply.header),
            Self::Basic { .. } | Self::DatedAccessKey { .. } | Self::None | Self::SdkHmacSha256 { .. } => None,
        }
    }
}

/// The scheme `session`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Template over `env`.
    pub endpoint: Node,
    /// The login; nothing only after a fault.
    pub login: Option<Login>,
    /// How the token is used; nothing only after a fault.
    pub apply: Option<Apply>,
    /// What says that the session has ended.
    pub expired: Option<Test>,
    /// What says that the secret is bad.
    pub rejected: Option<Test>,
    /// For how long a bad secret is not tried again.
    pub remember: Option<Spanned<Duration>>,
    /// Ends the session.
    pub logout: Option<Request>,
}

/// The key `login`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Where it stands.
    pub place: Place,
    /// What is sent, over `env`; nothing only after a fault.
    pub request: Option<Request>,
    /// The statuses of a success.
    pub status: Option<Spanned<StatusPattern>>,
    /// The token, over the answer.
    pub token: Node,
    /// When it was issued.
    pub issued_at: Option<Node>,
    /// When it ends.
    pub expires_at: Option<Node>,
    /// How many seconds it lives.
    pub expires_in: Option<Node>,
    /// How long it lives when the answer does not say, and at most.
    pub lifetime: Option<Spanned<Duration>>,
}

/// The key `apply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apply {
    /// Where it stands.
    pub place: Place,
    /// The header.
    pub header: Spanned<HeaderName>,
    /// Its value, over `token`.
    pub value: Node,
}

/// Which answers are meant: it has a status, a condition or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Where it stands.
    pub place: Place,
    /// The vendor's status; any when left out.
    pub status: Option<Spanned<StatusPattern>>,
    /// A CEL condition.
    pub when: Option<Spanned<String>>,
}

/// The words of `scheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Basic,
    DatedAccessKey,
    Header,
    None,
    Passthrough,
    SdkHmacSha256,
    Session,
}

impl Scheme {
    fn keys(self) -> &'static Keys {
        match self {
            Self::Basic => &BASIC_KEYS,
            Self::DatedAccessKey => &DATED_ACCESS_KEY_KEYS,
            Self::Header => &HEADER_KEYS,
            Self::None => &NONE_KEYS,
            Self::Passthrough => &PASSTHROUGH_KEYS,
            Self::SdkHmacSha256 => &SDK_HMAC_SHA256_KEYS,
            Self::Session => &SESSION_KEYS,
        }
    }
}

impl Decoder<'_> {
    /// One of `credentials`.
    pub(crate) fn credential(&mut self, key: &Key, item: Item) -> Credential {
        let name = self.name(key, &item.place.path, NAME_RULE);
        let place = item.place.clone();
        let alternatives = if item.node.member("one_of").is_some() {
            let mut fields = Fields::open(item, &ONE_OF_KEYS, self.faults);
            fields
                .items("one_of", self.faults)
                .into_iter()
                .map(|item| self.alternative(item))
                .collect()
        } else {
            vec![self.alternative(item)]
        };
        Credential { name, place, alternatives }
    }

    /// `{ scheme: header, header: X-Auth-Token, value: "${env.GLOBEX_TOKEN}" }`
    fn alternative(&mut self, item: Item) -> Alternative {
        let word = item.node.member("scheme").and_then(Node::as_text);
        let known = word.and_then(|word| SCHEMES.iter().find(|(name, _)| *name == word));
        let Some((_, scheme)) = known else {
            return self.without_scheme(item);
        };
        let mut fields = Fields::open(item, scheme.keys(), self.faults);
        fields.take("scheme");
        let scheme = match scheme {
            Scheme::Basic => CredentialScheme::Basic {
                username: fields.required_node("username"),
                password: fields.required_node("password"),
                limited: fields.take("limited").map(|item| self.test(item)),
            },
            Scheme::DatedAccessKey => CredentialScheme::DatedAccessKey {
                id: fields.required_node("access_key_id"),
                secret: fields.required_node("access_key_secret"),
                zone: fields.required_node("time_zone"),
                strip: self.strip(&mut fields),
            },
            Scheme::Header => {
                let value = fields.required_node("value");
                match self.header_key(&mut fields) {
                    Some(header) => CredentialScheme::Header { header, value },
                    None => CredentialScheme::None,
                }
            }
            Scheme::None => CredentialScheme::None,
            Scheme::Passthrough => match self.header_key(&mut fields) {
                Some(header) => CredentialScheme::Passthrough { header },
                None => CredentialScheme::None,
            },
            Scheme::SdkHmacSha256 => CredentialScheme::SdkHmacSha256 {
                access_key: fields.required_node("access_key"),
                secret_key: fields.required_node("secret_key"),
                security_token: fields.node("security_token"),
                headers: self.headers(&mut fields, SecretHeaders::Refused),
            },
            Scheme::Session => CredentialScheme::Session(Box::new(self.session(&mut fields))),
        };
        Alternative {
            place: fields.place,
            scheme,
        }
    }

    /// Without a known scheme no key can be called missing or unknown; only the scheme itself is said.
    fn without_scheme(&mut self, item: Item) -> Alternative {
        let place = item.place.clone();
        if let NodeValue::Map(entries) = &item.node.value {
            match entries.iter().find(|(key, _)| key.text == "scheme") {
                Some((key, node)) => {
                    let item = Item::member(&place.path, key, node.clone());
                    fields::take_word(item, &SCHEMES, self.faults);
                }
                None => {
                    self.faults
                        .fault(place.span, &place.path, "missing key `scheme`")
                        .hint("a `scheme`, or `one_of` with a list of them");
                }
            }
        } else {
            fields::wrong_type(&item.node, &place.path, "a mapping", self.faults);
        }
        Alternative {
            place,
            scheme: CredentialScheme::None,
        }
    }

    fn header_key(&mut self, fields: &mut Fields) -> Option<Spanned<HeaderName>> {
        let path = fields.place.path.key("header");
        let text = fields.text("header", self.faults)?;
        fields::parse_header(&text.value, text.span, &path, self.faults)
    }

    fn strip(&mut self, fields: &mut Fields) -> Option<Spanned<String>> {
        let strip = fields.text("strip", self.faults)?;
        if !strip.value.starts_with('/') || strip.value.ends_with('/') {
            self.faults
                .fault(
                    strip.span,
                    &fields.place.path.key("strip"),
                    "a prefix of a path starts with `/` and does not end with one",
                )
                .hint("such as `/base`");
            return None;
        }
        Some(strip)
    }

    fn session(&mut self, fields: &mut Fields) -> Session {
        Session {
            endpoint: fields.required_node("endpoint"),
            login: fields.take("login").map(|item| self.login(item)),
            apply: fields.take("apply").and_then(|item| self.apply(item)),
            expired: fields.take("expired").map(|item| self.test(item)),
            rejected: fields.take("rejected").map(|item| self.test(item)),
            remember: fields.duration("remember", MAX_REMEMBER, self.faults),
            logout: fields.take("logout").map(|item| self.request_with(item, SecretHeaders::Allowed)),
        }
    }

    fn login(&mut self, item: Item) -> Login {
        let mut fields = Fields::open(item, &LOGIN_KEYS, self.faults);
        let request = fields.take("request").map(|item| {
            self.no_literal_secrets(&item.place.path, &item.node);
            self.request_with(item, SecretHeaders::Allowed)
        });
        Login {
            request,
            status: self.status(&mut fields),
            token: fields.required_node("token"),
            issued_at: fields.node("issued_at"),
            expires_at: fields.node("expires_at"),
            expires_in: fields.node("expires_in"),
            lifetime: fields.duration("lifetime", MAX_LIFETIME, self.faults),
            place: fields.place,
        }
    }

    /// A text without a placeholder under a name like `password` or `client_secret`.
    fn no_literal_secrets(&mut self, path: &Path, node: &Node) {
        for (key, member) in node.as_map().unwrap_or_default() {
            let path = path.key(&key.text);
            let name = key.text.to_ascii_lowercase();
            let is_literal = member.as_text().is_some_and(|text| !text.contains("${"));
            if is_literal && SECRET_WORDS.iter().any(|word| name.contains(word)) {
                self.faults
                    .fault(member.span, &path, "a secret does not stand in this file")
                    .hint("take it from the environment: `\"${env.NAME}\"`")
                    .secret();
            }
            self.no_literal_secrets(&path, member);
        }
    }

    fn apply(&mut self, item: Item) -> Option<Apply> {
        let mut fields = Fields::open(item, &APPLY_KEYS, self.faults);
        Some(Apply {
            value: fields.required_node("value"),
            header: self.header_key(&mut fields)?,
            place: fields.place,
        })
    }

    fn test(&mut self, item: Item) -> Test {
        let mut fields = Fields::open(item, &TEST_KEYS, self.faults);
        if !fields.has("status") && !fields.has("when") && !fields.is_unusable() {
            self.faults.fault(
                fields.place.span,
                &fields.place.path,
                "without `status` and `when` every answer is meant",
            );
        }
        Test {
            status: self.status(&mut fields),
            when: fields.text("when", self.faults),
            place: fields.place,
        }
    }
}

const SCHEMES: [(&str, Scheme); 7] = [
    ("none", Scheme::None),
    ("header", Scheme::Header),
    ("basic", Scheme::Basic),
    ("session", Scheme::Session),
    ("sdk-hmac-sha256", Scheme::SdkHmacSha256),
    ("zstack-access-key", Scheme::DatedAccessKey),
    ("passthrough", Scheme::Passthrough),
];
/// Names under which only secrets stand.
const SECRET_WORDS: [&str; 2] = ["password", "secret"];
/// A day: a password that was mended is tried before that.
const MAX_REMEMBER: Duration = Duration::from_secs(24 * 3600);
/// Thirty days: the longest that a vendor gives a session is a year, and none needs it.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// One of `credentials` with several alternatives.
pub const ONE_OF_KEYS: Keys = Keys {
    what: "credentials with alternatives",
    required: &["one_of"],
    optional: &[],
};
/// One of `credentials` with the scheme `none`.
pub const NONE_KEYS: Keys = Keys {
    what: "the scheme `none`",
    required: &["scheme"],
    optional: &[],
};
/// One of `credentials` with the scheme `header`.
pub const HEADER_KEYS: Keys = Keys {
    what: "the scheme `header`",
    required: &["scheme", "header", "value"],
    optional: &[],
};
/// One of `credentials` with the scheme `basic`.
pub const BASIC_KEYS: Keys = Keys {
    what: "the scheme `basic`",
    required: &["scheme", "username", "password"],
    optional: &["limited"],
};
/// One of `credentials` with the scheme `session`.
pub const SESSION_KEYS: Keys = Keys {
    what: "the scheme `session`",
    required: &["scheme", "endpoint", "login", "apply"],
    optional: &["expired", "rejected", "remember", "logout"],
};
/// The `login` of a session.
pub const LOGIN_KEYS: Keys = Keys {
    what: "a login",
    required: &["request", "token"],
    optional: &["status", "issued_at", "expires_at", "expires_in", "lifetime"],
};
/// The `apply` of a session.
pub const APPLY_KEYS: Keys = Keys {
    what: "`apply`",
    required: &["header", "value"],
    optional: &[],
};
/// `expired`, `rejected` and `limited`.
pub const TEST_KEYS: Keys = Keys {
    what: "a test of an answer",
    required: &[],
    optional: &["status", "when"],
};
/// One of `credentials` with the scheme `sdk-hmac-sha256`.
pub const SDK_HMAC_SHA256_KEYS: Keys = Keys {
    what: "the scheme `sdk-hmac-sha256`",
    required: &["scheme", "access_key", "secret_key"],
    optional: &["security_token", "headers"],
};
/// One of `credentials` with the scheme `zstack-access-key`.
pub const DATED_ACCESS_KEY_KEYS: Keys = Keys {
    what: "the scheme `zstack-access-key`",
    required: &["scheme", "access_key_id", "access_key_secret", "time_zone"],
    optional: &["strip"],
};
/// One of `credentials` with the scheme `passthrough`.
pub const PASSTHROUGH_KEYS: Keys = Keys {
    what: "the scheme `passthrough`",
    required: &["scheme", "header"],
    optional: &[],
};
