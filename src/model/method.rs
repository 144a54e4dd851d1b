//! The methods of HTTP that there are, whether a path takes them or not.

use http::Method;

/// Is it a method of RFC 9110 section 9 or RFC 5789, or `QUERY`, for which the library has no constant? Of a known one a path says what it takes in its place (405), of another one
/// nobody knows what it means (501).
#[must_use]
pub fn is_known(method: &Method) -> bool {
    KNOWN.contains(&method.as_str())
}

const KNOWN: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];
