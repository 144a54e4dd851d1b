//! The one cloud that three of the services and the identity service belong to: its project, its user, the tokens and keys that are valid.
//!
//! **Shape.** The identity service issues tokens here; the gateway in front of each service asks here whether a request may pass. A token is
//! the fixed one that was handed out beforehand, or one that was issued; a signature is one of two keys, a lasting and a temporary one.
//!
//! **Source.** The vendor's pages of token and AK/SK authentication. After more than five wrong signatures in a row a key is refused for
//! five minutes; a signature is good for 15 minutes. Guesses: a project that does not fit is unavailable, with a signature as with a token.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use uuid::Uuid;

use super::clock::{Clock, are_close, later};
use super::cloud_signature::{DATE_HEADER, Signed};
use super::vendor::VendorRequest;

/// The project that tokens and keys are good for.
pub const HUAWEI_PROJECT_ID: &str = "09bb24e6fe80d23d2fa2c010b53b418c";

/// The project's name, which a login may give in place of the id.
pub const HUAWEI_PROJECT_NAME: &str = "eu-de";

/// A token that is valid without a login.
pub const HUAWEI_TOKEN: &str = "simulator-token-that-opens-nothing";

/// The lasting access key.
pub const HUAWEI_ACCESS_KEY: &str = "SIMULATORACCESSKEY00";

/// Its secret.
pub const HUAWEI_SECRET_KEY: &str = "simulator-secret-key-that-opens-nothing";

/// The temporary access key, which is good only together with [`HUAWEI_SECURITY_TOKEN`].
pub const HUAWEI_TEMPORARY_ACCESS_KEY: &str = "SIMULATORTEMPORARY00";

/// Its secret.
pub const HUAWEI_TEMPORARY_SECRET_KEY: &str = "simulator-temporary-secret-that-opens-nothing";

/// The security token that goes with the temporary key.
pub const HUAWEI_SECURITY_TOKEN: &str = "simulator-security-token-that-opens-nothing";

/// Who is logged in, shared by the services of the cloud.
#[derive(Debug)]
pub(super) struct Cloud {
    pub(super) clock: Arc<Clock>,
    logins: Mutex<Logins>,
}

/// Why a request does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denial {
    /// The identity is not believed, and why.
    Identity(String),
    /// The token is not valid any more.
    Renew,
    /// The project is not that of the token or of the key.
    Project,
}

/// A token that was just issued.
#[derive(Debug, Clone)]
pub(super) struct Issued {
    pub(super) token: String,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

#[derive(Debug)]
struct Logins {
    issued: u64,
    fixed_token_is_revoked: bool,
    tokens: HashMap<String, Token>,
    keys: BTreeMap<&'static str, KeyRecord>,
}

#[derive(Debug, Clone)]
struct Token {
    expires_at: Timestamp,
    is_revoked: bool,
    has_project: bool,
}

#[derive(Debug, Default)]
struct KeyRecord {
    wrong_in_a_row: u32,
    locked_until: Option<Timestamp>,
}

impl Cloud {
    pub(super) fn new(clock: Arc<Clock>) -> Self {
        Self {
            clock,
            logins: Mutex::new(Logins::fresh()),
        }
    }

    /// Issues a token of so many bytes; older ones stay valid.
    pub(super) fn issue(&self, lifetime: Duration, bytes: u32, has_project: bool) -> Issued {
        let issued_at = self.clock.now();
        let expires_at = later(issued_at, lifetime);
        let token = token_text(usize::try_from(bytes).unwrap_or(MAX_TOKEN));
        let mut logins = self.lock();
        logins.issued += 1;
        if logins.tokens.len() >= MANY_TOKENS {
            logins.tokens.retain(|_, token| token.is_alive(issued_at));
        }
        logins.tokens.insert(
            token.clone(),
            Token {
                expires_at,
                is_revoked: false,
                has_project,
            },
        );
        Issued {
            token,
            issued_at,
            expires_at,
        }
    }

    /// Whether the request comes from somebody who may see `project`.
    ///
    /// # Errors
    /// The reason why not.
    pub(super) fn admit(&self, request: &VendorRequest, project: &str) -> Result<(), Denial> {
        let own = if request.headers.contains_key(TOKEN_HEADER) {
            self.check_token(request.header(TOKEN_HEADER).unwrap_or_default())?
        } else if let Some(signed) = Signed::of(request) {
            self.check_signature(request, &signed)?
        } else {
            return Err(Denial::Identity("x-auth-token not found".to_owned()));
        };
        if own && project == HUAWEI_PROJECT_ID {
            Ok(())
        } else {
            Err(Denial::Project)
        }
    }

    /// Whether the token, which is valid, is for the project.
    fn check_token(&self, text: &str) -> Result<bool, Denial> {
        let logins = self.lock();
        if text == HUAWEI_TOKEN {
            return if logins.fixed_token_is_revoked {
                Err(Denial::Renew)
            } else {
                Ok(true)
            };
        }
        match logins.tokens.get(text) {
            None => Err(Denial::Identity("decrypt token fail".to_owned())),
            Some(token) if token.is_revoked => Err(Denial::Renew),
            Some(token) if !token.is_alive(self.clock.now()) => {
                let expired = format!("token expires, expires_at: {}", micros(token.expires_at));
                Err(Denial::Identity(expired))
            }
            Some(token) => Ok(token.has_project),
        }
    }

    /// Whether the signature, which is right, comes with the project.
    fn check_signature(&self, request: &VendorRequest, signed: &Signed<'_>) -> Result<bool, Denial> {
        let deny = |text: String| Err(Denial::Identity(text));
        let key = signed.access_key;
        let Some((key, secret, security_token)) = KEYS.into_iter().find(|(known, _, _)| *known == key) else {
            return deny(format!("ak {key} not exist"));
        };
        let now = self.clock.now();
        let mut logins = self.lock();
        let record = logins.keys.entry(key).or_default();
        match record.locked_until {
            Some(until) if now < until => return deny("AK access failed to reach the limit, forbidden".to_owned()),
            Some(_) => *record = KeyRecord::default(),
            None => {}
        }
        let date = request.header(DATE_HEADER).unwrap_or_default();
        let signed_at = moment(date).filter(|_| signed.covers(DATE_HEADER));
        if !signed_at.is_some_and(|at| are_close(at, now, CLOCK_TOLERANCE)) {
            let server = now.strftime(DATE_FORM);
            return deny(format!(
                "calc aksk signature fail:signature expired, signature time:{date},server time:{server}"
            ));
        }
        let canonical = signed.canonical(request);
        if !signed.is_right(request, &canonical, secret) {
            record.wrong_in_a_row += 1;
            if record.wrong_in_a_row > WRONG_SIGNATURES {
                record.locked_until = Some(later(now, LOCK));
            }
            let canonical = canonical.replace('\n', "|");
            return deny(format!("verify aksk signature fail, canonicalRequest:{canonical}"));
        }
        record.wrong_in_a_row = 0;
        // Guess: a temporary key without its token, or the lasting one with a token, is a key that cannot be looked up.
        if request.header("x-security-token") != security_token {
            return deny("Get secretKey failed".to_owned());
        }
        Ok(request.header("x-project-id") == Some(HUAWEI_PROJECT_ID))
    }

    /// Ends every token at once, the fixed one as well.
    pub(super) fn revoke(&self) {
        let mut logins = self.lock();
        logins.fixed_token_is_revoked = true;
        for token in logins.tokens.values_mut() {
            token.is_revoked = true;
        }
    }

    /// Nobody is logged in any more, no key is locked, and the fixed token is valid again.
    pub(super) fn reset(&self) {
        *self.lock() = Logins::fresh();
    }

    /// Unlocks every key.
    pub(super) fn unlock(&self) {
        self.lock().keys.clear();
    }

    /// What the control interface shows; no token is in it.
    pub(super) fn view(&self) -> Value {
        let now = self.clock.now();
        let logins = self.lock();
        let keys: BTreeMap<&str, Value> = logins
            .keys
            .iter()
            .map(|(key, record)| {
                let locked = record.locked_until.filter(|until| now < *until);
                let locked_s = locked.map(|until| until.duration_since(now).as_secs());
                (
                    *key,
                    json!({"wrong_in_a_row": record.wrong_in_a_row, "locked_for_seconds": locked_s}),
                )
            })
            .collect();
        json!({
            "issued": logins.issued,
            "alive": logins.tokens.values().filter(|token| token.is_alive(now)).count(),
            "access_keys": keys,
        })
    }

    /// Nothing is left half changed under this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Logins> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logins {
    fn fresh() -> Self {
        Self {
            issued: 0,
            fixed_token_is_revoked: false,
            tokens: HashMap::new(),
            keys: BTreeMap::new(),
        }
    }
}

impl Token {
    fn is_alive(&self, now: Timestamp) -> bool {
        !self.is_revoked && now < self.expires_at
    }
}

/// A moment with microseconds, as the identity service writes it.
pub(super) fn micros(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// `20191115T033655Z`.
fn moment(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime(DATE_FORM, text).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Random letters in the look of a real token, which is signed ASN.1 in a variant of base64. Its beginning gives it away in any log.
fn token_text(bytes: usize) -> String {
    let wanted = bytes.clamp(MIN_TOKEN, MAX_TOKEN);
    let mut text = "MIIF-that-opens-nothing-".to_owned();
    while text.len() < wanted {
        let random = Uuid::new_v4();
        text.push_str(STANDARD.encode(random.as_bytes()).trim_end_matches('='));
    }
    text.truncate(wanted);
    text.replace('/', "-")
}

/// Access key, secret, and the security token that must come with it.
const KEYS: [(&str, &str, Option<&str>); 2] = [
    (HUAWEI_ACCESS_KEY, HUAWEI_SECRET_KEY, None),
    (
        HUAWEI_TEMPORARY_ACCESS_KEY,
        HUAWEI_TEMPORARY_SECRET_KEY,
        Some(HUAWEI_SECURITY_TOKEN),
    ),
];

const TOKEN_HEADER: &str = "x-auth-token";
const DATE_FORM: &str = "%Y%m%dT%H%M%SZ";
const CLOCK_TOLERANCE: Duration = Duration::from_secs(15 * 60);
const WRONG_SIGNATURES: u32 = 5;
const LOCK: Duration = Duration::from_secs(5 * 60);

/// As many tokens as are kept before dead ones are forgotten.
const MANY_TOKENS: usize = 1000;

/// A shorter one could be issued twice.
const MIN_TOKEN: usize = 64;

/// The longest that one of the services takes.
const MAX_TOKEN: usize = 32_768;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_as_long_as_wanted_and_differ() {
        for (wanted, expected) in [(0, MIN_TOKEN), (5000, 5000), (1_000_000, MAX_TOKEN)] {
            assert_eq!(token_text(wanted).len(), expected);
        }
        assert_ne!(token_text(64), token_text(64));
    }

    #[test]
    fn moments_are_read_and_written_as_the_vendor_does() {
        let moment = moment("20191115T033655Z").unwrap();
        assert_eq!(micros(moment), "2019-11-15T03:36:55.000000Z");
        assert_eq!(moment.strftime(DATE_FORM).to_string(), "20191115T033655Z");
        for text in ["", "20191115T033655", "2019-11-15T03:36:55Z", "20191315T033655Z"] {
            assert_eq!(super::moment(text), None, "{text}");
        }
    }
}
