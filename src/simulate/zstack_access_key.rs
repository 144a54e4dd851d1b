//! The signature with which ZStack takes an access key in place of a session.
//!
//! Method, date and path are signed, each on a line. The date has to be near the server's clock on the wall: the zone in its text is not
//! read, so that a right moment in another zone is hours off.
//!
//! **Source.** The vendor's SDKs; the server's side is closed. Guess: an unknown key and a wrong signature are answered like an invalid
//! session, at once.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use jiff::civil::DateTime;
use percent_encoding::percent_decode_str;

use super::vendor::VendorRequest;
use super::zstack_documents::{Refusal, invalid_session, refuse};

/// The id of the access key.
pub const ZSTACK_ACCESS_KEY_ID: &str = "simulator-access-key";

/// Its secret.
pub const ZSTACK_ACCESS_KEY_SECRET: &str = "simulator-access-key-secret-that-opens-nothing";

/// Checks what follows `ZStack ` in the `Authorization` header; `now` is the server's time on the wall.
///
/// # Errors
/// The server's answer to a request that does not pass.
pub(super) fn check(request: &VendorRequest, credentials: &str, now: DateTime) -> Result<(), Refusal> {
    let date = request.header("date").unwrap_or_default();
    let Some(moment) = moment(date) else {
        return Err(refuse(StatusCode::BAD_REQUEST, format!("invalid header 'Date'[{date}]")));
    };
    if now.duration_since(moment).unsigned_abs() > TOLERANCE {
        return Err(refuse(StatusCode::FORBIDDEN, "requestTimeTooSkewed"));
    }
    let path = percent_decode_str(request.path()).decode_utf8_lossy();
    let path = path.strip_prefix("/zstack").unwrap_or(&path);
    let text = format!("{}\n{date}\n{path}", request.method);
    match credentials.split_once(':') {
        Some((ZSTACK_ACCESS_KEY_ID, signature)) if signature == sign(&text, ZSTACK_ACCESS_KEY_SECRET) => Ok(()),
        Some((id, _)) => Err(Box::new(invalid_session(id))),
        None => Err(Box::new(invalid_session(credentials))),
    }
}

fn sign(text: &str, secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

/// Strict as the server is: the weekday must be right and every digit there. The zone must be there and is not read.
fn moment(date: &str) -> Option<DateTime> {
    let (wall, zone) = date.rsplit_once(' ')?;
    let moment = DateTime::strptime(DATE_FORM, wall).ok()?;
    (!zone.is_empty() && moment.strftime(DATE_FORM).to_string() == wall).then_some(moment)
}

const DATE_FORM: &str = "%a, %d %b %Y %H:%M:%S";
const TOLERANCE: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_the_sdk_has_the_signature_of_the_sdk() {
        let text = "POST\nSat, 21 Nov 2026 08:51:49 Asia/Shanghai\n/v1/cbt-task/disable/5ca9c15a50c53f0dac359a64841d7b2b";
        assert_eq!(sign(text, "sk0example"), "wXrLizBtv8cVa/cTCoy0kY2SPns=");
    }

    #[test]
    fn dates_are_read_strictly_and_without_their_zone() {
        let expected = jiff::civil::date(2026, 11, 21).at(8, 51, 49, 0);
        for zone in ["Asia/Shanghai", "CST", "nonsense"] {
            assert_eq!(moment(&format!("Sat, 21 Nov 2026 08:51:49 {zone}")), Some(expected));
        }
        for date in [
            "",
            "Sat, 21 Nov 2026 08:51:49",
            "Fri, 21 Nov 2026 08:51:49 CST",
            "Sun, 1 Nov 2026 08:51:49 CST",
            "2026-11-21T08:51:49 Z",
        ] {
            assert_eq!(moment(date), None, "{date}");
        }
    }
}
