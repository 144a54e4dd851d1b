//! What a token holds, as bytes: a JSON array without names, filled up to a length class.
//!
//! **Shape**: `["prime","15","stop",null,{"scope":{}},200,1763737200,86400]` and blanks up to a multiple of [`CLASS`] bytes.
//!
//! **Invariants**: what is encoded is decoded to the same operation, the members that do not travel aside. The version of the token
//! is the version of this array.

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Accepted, CARRIED, Operation};

/// The array that is decoded.
type Payload = (String, String, String, Option<String>, Map<String, Value>, u16, i64, u32);

/// Of a canonical request what travels.
struct Carried<'a>(&'a Map<String, Value>);

impl Serialize for Carried<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(CARRIED.iter().filter_map(|name| Some((name, self.0.get(*name)?))))
    }
}

/// The bytes of an operation, a multiple of [`CLASS`]; nothing where its times are no times of an operation.
pub(super) fn encode(operation: Accepted<'_>) -> Option<Vec<u8>> {
    let lifetime = operation.expires_at.duration_since(operation.accepted_at);
    let array = (
        operation.provider,
        operation.id,
        operation.action,
        operation.job,
        Carried(operation.body),
        operation.vendor_status,
        operation.accepted_at.as_second(),
        u32::try_from(lifetime.as_secs()).ok()?,
    );
    // Room for the head, the nonce and the tag of most tokens as well.
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, &array).ok()?;
    // White space behind a document means nothing, and hides how long the document is.
    bytes.resize(bytes.len().next_multiple_of(CLASS), b' ');
    Some(bytes)
}

/// The operation of these bytes; nothing where they are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Operation> {
    let (provider, id, action, job, body, vendor_status, accepted, lifetime): Payload = serde_json::from_slice(bytes).ok()?;
    let accepted_at = Timestamp::from_second(accepted).ok()?;
    let expires_at = accepted_at.checked_add(SignedDuration::from_secs(lifetime.into())).ok()?;
    Some(Operation {
        provider,
        id,
        action,
        job,
        body,
        vendor_status,
        accepted_at,
        expires_at,
    })
}

/// Everyday operations of all providers have two or three of it, so lengths tell next to nothing of ids.
const CLASS: usize = 96;
const USUAL_BYTES: usize = 320;
