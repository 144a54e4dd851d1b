//! Path and query of a request target: what is read is one plain segment and is read the same when it is written again.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use taskgate::model::reason::Reason;
use taskgate::{path, query};

use super::{is_civil, shipped};

/// `data` is a target, `/tasks/prime/15:stop?a=b`.
pub(super) fn check(data: &[u8]) {
    let Ok(target) = std::str::from_utf8(data) else { return };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match path::parse(path) {
        Ok(found) => {
            let id = found.id.as_str();
            assert!(!matches!(id, "" | "." | "..") && id.chars().count() <= 256, "{found:?}");
            assert!(!id.contains(['/', '\\']) && !id.contains(char::is_control), "{found:?}");
            assert!(
                !found.provider.is_empty() && !found.provider.contains(['/', '%', '?', '#']) || found.provider.contains('%'),
                "{found:?}"
            );
            assert!(
                found
                    .action
                    .as_deref()
                    .is_none_or(|action| !action.is_empty() && !action.contains([':', '/'])),
                "{found:?}"
            );
            let verb = found.action.as_ref().map(|action| format!(":{action}")).unwrap_or_default();
            let again = format!("/tasks/{}/{}{verb}", found.provider, encode(id));
            assert_eq!(path::parse(&again).ok(), Some(found), "{again}");
        }
        Err(error) => {
            assert!(
                matches!(error.reason, Reason::InvalidTarget | Reason::InvalidTaskId | Reason::UnknownPath),
                "{error:?}"
            );
            is_civil(&error);
        }
    }
    match query::parse(query) {
        Ok(pairs) => {
            let again: Vec<String> = pairs
                .iter()
                .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
                .collect();
            assert_eq!(query::parse(&again.join("&")).ok().as_ref(), Some(&pairs));
            for ask in shipped::asks().iter().filter(|ask| ask.route.is_look()) {
                match query::to_body(&pairs, &ask.route.schema.document) {
                    Ok(body) => assert!(body.keys().all(|name| name == "scope"), "{body:?}"),
                    Err(error) => is_civil(&error),
                }
            }
        }
        Err(error) => {
            assert_eq!(error.reason, Reason::InvalidQuery);
            is_civil(&error);
        }
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
