//! The canonical body: JSON is taken exactly or refused, and what fits a route's schema always has a vendor request.

use serde_json::Value;
use taskgate::codec::tree::Tree;
use taskgate::codec::{Limits, json};
use taskgate::mapping::validate::validate;
use taskgate::model::call::TaskCall;
use taskgate::model::reason::Reason;

use super::{is_civil, shipped};

/// `data` is a body; every route reads it.
pub(super) fn check(data: &[u8]) {
    let Ok(value) = json::decode(data, &Limits::REQUEST) else { return };
    assert_eq!(
        serde_json::from_slice::<Value>(data).ok().as_ref(),
        Some(&value),
        "another reader reads something else"
    );
    assert_eq!(
        json::decode(&json::encode(&Tree::from(&value)), &Limits::REQUEST).as_ref(),
        Ok(&value),
        "not the same when it is written"
    );
    let Value::Object(body) = value else { return };
    for ask in shipped::asks().iter().filter(|ask| !ask.route.is_look()) {
        let call = TaskCall {
            body: body.clone(),
            ..ask.call.clone()
        };
        match validate(&call, &ask.provider, &ask.route, UUID) {
            Ok(values) => {
                for name in body.keys() {
                    assert!(values.body.contains_key(name), "`{name}` is gone");
                }
                if let Err(error) = ask.route.render(&values) {
                    let error = error.into_gateway_error();
                    assert_eq!(error.reason, Reason::UnrepresentableValue, "{error:?}");
                    is_civil(&error);
                }
            }
            Err(error) => {
                assert_eq!(error.reason, Reason::InvalidRequest, "{error:?}");
                assert!(!error.violations.is_empty(), "{error:?}");
                is_civil(&error);
            }
        }
    }
}

pub(super) const UUID: &str = "00000000000040008000000000000000";
