//! Inputs that look like an HTTP message: a first line, headers, an empty line, a body.
//!
//! **Shape**: `prime/stop 200\nContent-Type: application/xml\n\n<r/>` -> `("prime/stop 200", {content-type: …}, "<r/>")`.

use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) struct Message<'d> {
    pub(super) first: &'d str,
    pub(super) headers: HeaderMap,
    pub(super) body: &'d [u8],
}

impl<'d> Message<'d> {
    /// Nothing where the head is no text; a line that is no header is passed over, of equal names the last counts.
    pub(super) fn read(data: &'d [u8]) -> Option<Self> {
        let end = data.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = match end {
            Some(end) => (data.get(..end)?, data.get(end + 2..)?),
            None => (data, &[][..]),
        };
        let mut lines = std::str::from_utf8(head).ok()?.split('\n');
        let first = lines.next()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .filter_map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes()).ok()?;
                Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
            })
            .take(MAX_HEADERS);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name, value);
        }
        Some(Self { first, headers: map, body })
    }
}

/// The client takes no more from a vendor.
const MAX_HEADERS: usize = 64;
