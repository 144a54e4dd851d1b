//! The sessions of ZStack: a login makes one, a logout ends it, and after two hours it ends by itself.
//!
//! **Source.** The vendor's public server source (identity, session settings). Guess: a logout without a session is a success.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use http::StatusCode;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use uuid::Uuid;

use super::clock::later;
use super::cloud_signature::hex;
use super::vendor::VendorReply;
use super::zstack::ZSTACK_SESSION;
use super::zstack_documents::{business_error, date, reply, text};

/// The name of the account.
pub const ZSTACK_ACCOUNT: &str = "simulator";

/// The account's password; a login sends its SHA-512 in lower-case hexadecimal digits.
pub const ZSTACK_PASSWORD: &str = "simulator-zstack-password-that-opens-nothing";

/// Who is logged in.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    state: Mutex<State>,
}

/// The rules that a login finds.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) lifetime: Duration,
    pub(super) limit: usize,
    pub(super) zone: TimeZone,
}

#[derive(Debug, Default)]
struct State {
    issued: u64,
    logouts: u64,
    fixed_is_revoked: bool,
    ends: HashMap<String, Timestamp>,
}

impl Sessions {
    /// Logs in with the body of a login of an account, or of the login for everybody.
    pub(super) fn login(&self, body: &[u8], member: &str, now: Timestamp, rules: &Rules) -> VendorReply {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let field = |name: &str| body.get(member).and_then(|login| login.get(name)).and_then(Value::as_str);
        let name_field = if member == BY_ACCOUNT { "accountName" } else { "username" };
        let (Some(name), Some(password)) = (field(name_field), field("password")) else {
            let message = format!("the fields[{member}.{name_field}, {member}.password] are mandatory");
            return text(StatusCode::BAD_REQUEST, message);
        };
        let expected = hex(digest::digest(&digest::SHA512, ZSTACK_PASSWORD.as_bytes()).as_ref());
        if name != ZSTACK_ACCOUNT || password != expected {
            return business_error("ID.1000", "Login failed", "wrong account or password");
        }
        let mut state = self.lock();
        state.ends.retain(|_, end| now < *end);
        if state.ends.len() >= rules.limit {
            let details = format!("the number of sessions has reached the limit[{}]", rules.limit);
            return business_error("ID.1006", "Too many sessions", &details);
        }
        let session = Uuid::new_v4().simple().to_string();
        // Half of it is random still, and the other half gives it away in any log.
        let session = format!("{}{}", ZSTACK_SESSION.split_at(16).0, session.split_at(16).0);
        let end = later(now, rules.lifetime);
        state.ends.insert(session.clone(), end);
        state.issued += 1;
        let wall = |moment: Timestamp| date(moment.to_zoned(rules.zone.clone()).datetime());
        let inventory = json!({
            "uuid": session,
            "accountUuid": ACCOUNT_ID,
            "userUuid": ACCOUNT_ID,
            "expiredDate": wall(end),
            "createDate": wall(now),
        });
        reply(StatusCode::OK, &json!({"inventory": inventory}))
    }

    pub(super) fn is_valid(&self, session: &str, now: Timestamp) -> bool {
        let state = self.lock();
        if session == ZSTACK_SESSION {
            return !state.fixed_is_revoked;
        }
        state.ends.get(session).is_some_and(|end| now < *end)
    }

    /// Ends a session; the fixed one is spared, because somebody else may use it.
    pub(super) fn logout(&self, session: &str) {
        let mut state = self.lock();
        if state.ends.remove(session).is_some() {
            state.logouts += 1;
        }
    }

    pub(super) fn revoke(&self) {
        let mut state = self.lock();
        state.ends.clear();
        state.fixed_is_revoked = true;
    }

    pub(super) fn reset(&self) {
        *self.lock() = State::default();
    }

    /// What the control interface shows; no session is in it.
    pub(super) fn view(&self, now: Timestamp) -> Value {
        let state = self.lock();
        json!({
            "issued": state.issued,
            "alive": state.ends.values().filter(|end| now < **end).count(),
            "logouts": state.logouts,
        })
    }

    /// Nothing is left half changed under this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The member of the body that an account logs in with.
pub(super) const BY_ACCOUNT: &str = "logInByAccount";

/// The one for a login of any kind.
pub(super) const BY_ANYBODY: &str = "logIn";

const ACCOUNT_ID: &str = "36c27e8ff05c4780bf6d2fa65700f22e";
