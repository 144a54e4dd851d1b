//! What a token holds, as bytes: a JSON array without names, filled up to a length class.
//!
//! **Shape**: `["prime","15","stop",null,{"scope":{}},200,1763737200,86400]` and blanks up to a multiple of [`CLASS`] bytes.
//!
//! **Invariants**: what is encoded is decoded to the same operation, the members that do not travel aside. The version of the token
//! is the version of this array.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{Accepted, CARRIED, Operation};
use crate::json_text::{number, object, option, text, value};

/// The array that is decoded.
type Payload = (String, String, String, Option<String>, Map<String, Value>, u16, i64, u32);

/// Appends an operation, a multiple of [`CLASS`] bytes; nothing where its times are no times of an operation.
pub(super) fn append(array: &mut String, operation: Accepted<'_>) -> Option<()> {
    let lifetime = operation.expires_at.duration_since(operation.accepted_at);
    let lifetime = u32::try_from(lifetime.as_secs()).ok()?;
    let begin = array.len();
    array.push('[');
    for word in [operation.provider, operation.id, operation.action] {
        text(array, word);
        array.push(',');
    }
    option(array, operation.job);
    array.push(',');
    let carried = CARRIED.iter().filter_map(|name| Some((*name, operation.body.get(*name)?)));
    object(array, carried, value);
    array.push(',');
    number(array, operation.vendor_status);
    array.push(',');
    number(array, operation.accepted_at.as_second());
    array.push(',');
    number(array, lifetime);
    array.push(']');
    // White space behind a document means nothing, and hides how long the document is.
    let length = array.len() - begin;
    array.push_str(BLANKS.get(..length.next_multiple_of(CLASS) - length)?);
    Some(())
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
const BLANKS: &str = match str::from_utf8(&[b' '; CLASS]) {
    Ok(blanks) => blanks,
    Err(_) => "",
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn the_array_is_the_one_that_the_library_writes(
            (provider, id, action) in any::<(String, String, String)>(),
            job in any::<Option<String>>(),
            (scope, parameters, force) in any::<(Option<String>, Vec<i32>, bool)>(),
            (vendor_status, accepted, lifetime) in (any::<u16>(), 0_i64..4_000_000_000, any::<u32>()),
        ) {
            let accepted_at = Timestamp::from_second(accepted).unwrap();
            let mut body = json!({ "force": force, "parameters": parameters, "reason": "does not travel" });
            if let Some(scope) = scope {
                body["scope"] = json!({ "instance": scope });
            }
            let mut written = "front".to_owned();
            append(&mut written, Accepted {
                provider: &provider, id: &id, action: &action, job: job.as_deref(), body: body.as_object().unwrap(), vendor_status, accepted_at,
                expires_at: accepted_at + SignedDuration::from_secs(lifetime.into()),
            }).unwrap();
            let written = written.strip_prefix("front").unwrap();
            prop_assert_eq!(written.len() % CLASS, 0);
            body.as_object_mut().unwrap().remove("reason");
            let expected = json!([provider, id, action, job, body, vendor_status, accepted, lifetime]).to_string();
            prop_assert_eq!(written.trim_end_matches(' '), expected);
        }
    }
}
