//! The scheme `zstack-access-key`: a signature over method, date and path.
//!
//! **Shape**: `PUT /base/v1/x` + key -> `Date: Sat, 21 Nov 2026 08:51:56 Asia/Shanghai`, `Authorization: ZStack <id>:<signature>`.
//!
//! **Invariants**: the date is the wall clock of the vendor's server, whatever our own zone is: the server compares the digits.
//! The path is signed without its context path, unescaped and without the query.
//!
//! **Source**: the vendor's Java SDK, run on the vectors in `tests/fixtures/vectors`; its server's source.

use http::header::{AUTHORIZATION, DATE, HeaderName, HeaderValue};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret;

use crate::crypto;
use crate::model::call::UpstreamRequest;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::route::Endpoint;
use crate::route::credentials::DatedAccessKey;

/// Signs the request for this moment: the headers to add.
///
/// # Errors
/// `MAPPING_FAILED` where a part of the key cannot stand in a header, which the compiler excludes.
pub(super) fn sign(
    request: &UpstreamRequest,
    endpoint: &Endpoint,
    key: &DatedAccessKey,
    now: Timestamp,
) -> Result<Vec<(HeaderName, HeaderValue)>, GatewayError> {
    let date = date(now, key);
    let text = format!("{}\n{date}\n{}", request.method, signed_path(&request.target, endpoint, &key.strip));
    let signature = crypto::hmac_sha1_base64(key.secret.expose_secret().as_bytes(), text.as_bytes());
    let header = |text: String| {
        HeaderValue::from_str(&text).map_err(|_| GatewayError::new(Reason::MappingFailed, "the request cannot be signed; nothing was sent"))
    };
    let mut authorization = header(format!("{WORD} {}:{signature}", key.id))?;
    authorization.set_sensitive(true);
    Ok(vec![(DATE, header(date)?), (AUTHORIZATION, authorization)])
}

fn date(now: Timestamp, key: &DatedAccessKey) -> String {
    let local = now.to_zoned(key.zone.clone());
    format!("{} {}", local.strftime("%a, %d %b %Y %H:%M:%S"), key.zone_name)
}

fn signed_path(target: &str, endpoint: &Endpoint, strip: &str) -> String {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let whole = format!("{}{path}", endpoint.prefix);
    let decoded = percent_decode_str(&whole).decode_utf8_lossy();
    match decoded.strip_prefix(strip) {
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        _ => decoded.into_owned(),
    }
}

/// The word of the scheme in the header.
const WORD: &str = "ZStack";

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, Method};
    use jiff::tz::TimeZone;
    use serde_json::Value;

    fn key(id: &str, secret: &str, zone: &str, strip: &str) -> DatedAccessKey {
        DatedAccessKey {
            id: id.to_owned(),
            secret: secret.to_owned().into(),
            zone: TimeZone::get(zone).unwrap(),
            zone_name: zone.to_owned(),
            strip: strip.to_owned(),
        }
    }

    fn request(method: &str, target: &str) -> UpstreamRequest {
        UpstreamRequest {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    fn endpoint(prefix: &str) -> Endpoint {
        Endpoint {
            scheme: http::uri::Scheme::HTTP,
            authority: "h:8080".parse().unwrap(),
            prefix: prefix.to_owned(),
        }
    }

    #[test]
    fn every_vector_of_the_vendors_sdk() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vectors");
        let mut checked = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let vector: Value = serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
            let Some(id) = vector.get("access_key_id").and_then(Value::as_str) else {
                continue;
            };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let input = &vector["input"];
            let zone = text(&input["client_zone"]);
            let (target, signed) = (
                text(&input["request_target_on_the_wire"]),
                text(&input["path_without_context_path_unescaped"]),
            );
            let context = target.strip_suffix(&signed).unwrap();
            let key = key(id, &text(&vector["access_key_secret"]), &zone, context);
            // The moment behind the wall clock of the vector.
            let date = text(&input["date_header"]);
            let wall = date.strip_suffix(&format!(" {zone}")).unwrap();
            let wall = jiff::civil::DateTime::strptime("%a, %d %b %Y %H:%M:%S", wall).unwrap();
            let now = wall.to_zoned(key.zone.clone()).unwrap().timestamp();
            let request = request(&text(&input["method"]), &target);
            let added = sign(&request, &endpoint(""), &key, now).unwrap();
            assert_eq!(added[0], (DATE, HeaderValue::from_str(&date).unwrap()));
            assert_eq!(added[1].1.to_str().unwrap(), text(&vector["authorization"]), "{}", vector["name"]);
            assert!(!format!("{added:?}{key:?}").contains("sk0example"));
            checked += 1;
        }
        assert_eq!(checked, 3);
    }

    #[test]
    fn paths_are_signed_unescaped_and_without_their_context() {
        for (prefix, target, expected) in [
            ("", "/base/v1/a", "/v1/a"),
            ("", "/base/v1/a?q=1", "/v1/a"),
            ("", "/base/v1/a%20b", "/v1/a b"),
            ("", "/basex/v1", "/basex/v1"),
            ("", "/v1/base/a", "/v1/base/a"),
            ("/base", "/v1/a", "/v1/a"),
        ] {
            assert_eq!(signed_path(target, &endpoint(prefix), "/base"), expected, "{prefix} {target}");
        }
    }

    #[test]
    fn the_date_is_the_servers_wall_clock() {
        let now = "2026-07-05T22:03:04Z".parse().unwrap();
        for (zone, expected) in [
            ("UTC", "Sun, 05 Jul 2026 22:03:04 UTC"),
            ("Asia/Shanghai", "Mon, 06 Jul 2026 06:03:04 Asia/Shanghai"),
            ("Europe/Berlin", "Mon, 06 Jul 2026 00:03:04 Europe/Berlin"),
        ] {
            assert_eq!(date(now, &key("a", "s", zone, "/base")), expected);
        }
    }
}
