//! Reads along with HTTP/1.1: where each message begins and ends, and whether that is said as RFC 9112 wants it.
//!
//! The HTTP library is lenient where a second reader of the same bytes may understand them otherwise: it takes bare LFs, a
//! `Content-Length` beside a `Transfer-Encoding`, `gzip, chunked`, anything in a chunk extension, and it drops a `#` and what
//! follows from a target. Here all of that is a [`Fault`]; what is not refused has one meaning only.
//!
//! **Shape**: bytes as they arrive, in pieces of any size -> nothing, or the first fault and the place of it.
//!
//! **Invariants**
//! - Stricter than the library: what passes here and what the library takes has the same framing for both.
//! - The same bytes give the same verdict, however they are cut.
//! - A body is skipped, never kept; of a head at most one line is.
//!
//! **Source**: RFC 9112 sections 2.2, 3, 5, 6.1 to 6.3, 7.1; RFC 9110 section 5.

use memchr::memchr;

use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// The reader of one connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    place: Place,
    /// The line that has begun and not ended.
    line: Vec<u8>,
    head: Head,
    /// Messages that are there to their last byte.
    whole: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// A request line, after empty lines.
    #[default]
    Request,
    /// A header line, or the empty line behind them.
    Fields,
    /// So many bytes of a body of known length.
    Body(u64),
    /// The line with the size of a chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The end of line behind a chunk.
    ChunkEnd,
    /// A trailer line, or the empty line behind them.
    Trailers,
}

/// What the head says about the framing, as far as it has been read.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    is_1_1: bool,
    length: Option<u64>,
    is_chunked: bool,
}

/// Why the bytes are no HTTP/1.1 that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// So many of the bytes of the last piece may still be used; the message is not complete within them.
    pub(super) at: usize,
    /// In a body: its head was good, and may have been handed over.
    pub(super) in_body: bool,
    reason: Reason,
    detail: &'static str,
}

impl Fault {
    /// What the caller is told where nobody has answered yet.
    pub(super) fn to_error(self) -> GatewayError {
        GatewayError::new(self.reason, self.detail)
    }

    /// Nothing of the last piece may be used.
    pub(super) fn at_start(self) -> Self {
        Self { at: 0, ..self }
    }

    /// For the log.
    pub(super) fn detail(self) -> &'static str {
        self.detail
    }
}

/// Reason and detail; the place is added by who knows it.
type Verdict<T> = Result<T, (Reason, &'static str)>;

impl Framing {
    /// Reads on.
    ///
    /// # Errors
    /// The first fault; the reader is of no use after it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            if let Place::Body(left) | Place::Chunk(left) = self.place {
                rest = self.skip(left, rest);
                continue;
            }
            let in_body = matches!(self.place, Place::ChunkSize | Place::ChunkEnd | Place::Trailers);
            let Some(end) = memchr(b'\n', rest) else {
                self.line.extend_from_slice(rest);
                // Lines of a head are bounded by the library's buffer.
                if in_body && self.line.len() > MAX_BODY_LINE + 1 {
                    return Err(fault(at, true, LONG_LINE));
                }
                return Ok(());
            };
            let (line, behind) = rest.split_at(end + 1);
            let verdict = if self.line.is_empty() {
                self.line_ended(line)
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                let verdict = self.line_ended(&whole);
                whole.clear();
                self.line = whole;
                verdict
            };
            // Without its LF the line is not complete for the library either.
            verdict.map_err(|verdict| fault(at + end, in_body, verdict))?;
            rest = behind;
        }
        Ok(())
    }

    /// How many messages have arrived to their last byte.
    pub(super) fn whole_messages(&self) -> usize {
        self.whole
    }

    /// A head has begun and not ended.
    pub(super) fn is_in_head(&self) -> bool {
        self.place == Place::Fields || (self.place == Place::Request && !self.line.is_empty())
    }

    /// The last message has ended, and nothing of another one has come.
    pub(super) fn is_between(&self) -> bool {
        self.place == Place::Request && self.line.is_empty()
    }

    /// A request line has begun and not ended; whether it got beyond its method.
    pub(super) fn request_line(&self) -> Option<bool> {
        (self.place == Place::Request && !self.line.is_empty()).then(|| self.line.contains(&b' '))
    }

    fn skip<'a>(&mut self, left: u64, bytes: &'a [u8]) -> &'a [u8] {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - here as u64;
        self.place = match self.place {
            Place::Body(_) if left == 0 => self.is_whole(),
            Place::Body(_) => Place::Body(left),
            _ if left == 0 => Place::ChunkEnd,
            _ => Place::Chunk(left),
        };
        bytes.get(here..).unwrap_or_default()
    }

    fn is_whole(&mut self) -> Place {
        self.whole += 1;
        Place::Request
    }

    fn line_ended(&mut self, line: &[u8]) -> Verdict<()> {
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return malformed("a line ends with a bare LF");
        };
        self.place = match self.place {
            // RFC 9112 section 2.2: some clients send an empty line behind a body.
            Place::Request if line.is_empty() => Place::Request,
            Place::Request => {
                self.head = read_request_line(line)?;
                Place::Fields
            }
            Place::Fields if line.is_empty() => match self.head.body()? {
                Place::Request => self.is_whole(),
                body => body,
            },
            Place::Fields => {
                let (name, value) = read_field(line)?;
                self.head.note(name, value)?;
                Place::Fields
            }
            Place::ChunkSize | Place::ChunkEnd | Place::Trailers if line.len() > MAX_BODY_LINE => return Err(LONG_LINE),
            Place::ChunkSize => match read_chunk_size(line)? {
                0 => Place::Trailers,
                size => Place::Chunk(size),
            },
            Place::ChunkEnd if line.is_empty() => Place::ChunkSize,
            Place::ChunkEnd => return malformed("a chunk does not end where its size says"),
            Place::Trailers if line.is_empty() => self.is_whole(),
            Place::Trailers => {
                // They are not used for anything (RFC 9110 section 6.5.1), so it does not matter what they name.
                read_field(line)?;
                Place::Trailers
            }
            Place::Body(_) | Place::Chunk(_) => self.place,
        };
        Ok(())
    }
}

impl Head {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Verdict<()> {
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return malformed("`Content-Length` stands there twice");
            }
            self.length = Some(read_length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return malformed("the only transfer coding that is taken is `chunked`, once");
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    /// What follows the head.
    fn body(self) -> Verdict<Place> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => malformed("`Content-Length` and `Transfer-Encoding` exclude each other"),
            (true, None) if !self.is_1_1 => malformed("HTTP/1.0 has no `Transfer-Encoding`"),
            (true, None) => Ok(Place::ChunkSize),
            (false, None | Some(0)) => Ok(Place::Request),
            (false, Some(length)) => Ok(Place::Body(length)),
        }
    }
}

fn read_request_line(line: &[u8]) -> Verdict<Head> {
    match plain_request_line(line) {
        Some(head) => Ok(head),
        None => read_any_request_line(line),
    }
}

/// What nearly every request line is: read in one go, and nothing where the other reader has to say more.
fn plain_request_line(line: &[u8]) -> Option<Head> {
    let line = line.strip_suffix(b" HTTP/1.1")?;
    let (method, target) = line.split_at(length_of(TOKEN, line));
    let target = target
        .strip_prefix(b" ")
        .filter(|target| !target.is_empty() && !method.is_empty())?;
    // No target may hold a blank, so there is no fourth part.
    (length_of(TARGET, target) == target.len()).then_some(Head {
        is_1_1: true,
        ..Head::default()
    })
}

fn read_any_request_line(line: &[u8]) -> Verdict<Head> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return malformed("a request line is method, target and version with one space between them");
    };
    if method.is_empty() || target.is_empty() || !method.iter().copied().all(is_token) {
        return malformed("a request line is method, target and version with one space between them");
    }
    let is_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return malformed("what is spoken here is HTTP/1.1, HTTP/1.0 and HTTP/2"),
    };
    // The library refuses these at the first byte, so both say the same of them.
    if target.iter().any(u8::is_ascii_control) {
        return malformed("the request line holds a control character");
    }
    if !target.iter().copied().all(is_target) {
        return Err((Reason::InvalidTarget, "the request target holds a byte that no target may hold"));
    }
    Ok(Head { is_1_1, ..Head::default() })
}

/// Name and value of a header line.
fn read_field(line: &[u8]) -> Verdict<(&[u8], &[u8])> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return malformed("a header line is folded");
    }
    // No name may hold a colon, so the first one stands where a good name ends.
    let (name, value) = line.split_at(length_of(TOKEN, line));
    let Some(value) = value.strip_prefix(b":").filter(|_| !name.is_empty()) else {
        return malformed(match memchr(b':', line) {
            None => "a header line has no colon",
            Some(_) => "a header name holds a byte that no name may hold",
        });
    };
    let value = trim_end(trim_start(value));
    if !is_all_text(value) {
        return malformed("a header value holds a control character");
    }
    Ok((name, value))
}

fn read_length(value: &[u8]) -> Verdict<u64> {
    let digits = std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()).filter(|length| *length <= MAX_LENGTH) {
        Some(length) => Ok(length),
        None => malformed("`Content-Length` is no number of bytes"),
    }
}

/// `5`, or `5;name;name=value;name="quoted"`.
fn read_chunk_size(line: &[u8]) -> Verdict<u64> {
    const BAD: &str = "a chunk size is 1 to 16 hexadecimal digits, with well-formed extensions or none";
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extensions) = line.split_at(digits);
    let size = std::str::from_utf8(size).ok().filter(|size| size.len() <= 16);
    let Some(size) = size.and_then(|size| u64::from_str_radix(size, 16).ok()) else {
        return malformed(BAD);
    };
    if !are_extensions(extensions) {
        return malformed(BAD);
    }
    Ok(size)
}

/// RFC 9112 section 7.1.1: `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`.
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(after) = trim_start(rest).strip_prefix(b";") else {
            return false;
        };
        let Some(after) = skip_token(trim_start(after)) else { return false };
        rest = match trim_start(after).strip_prefix(b"=").map(trim_start) {
            None => after,
            Some(value) => match value.strip_prefix(b"\"").map_or_else(|| skip_token(value), skip_quoted) {
                Some(behind) => behind,
                None => return false,
            },
        };
    }
    true
}

fn skip_token(bytes: &[u8]) -> Option<&[u8]> {
    let length = length_of(TOKEN, bytes);
    bytes.get(length..).filter(|_| length > 0)
}

/// What stands behind the closing quotation mark.
fn skip_quoted(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => return bytes.get(at + 1..),
            b'\\' => {
                bytes.get(at + 1).filter(|byte| is_text(**byte))?;
                at += 2;
            }
            byte if is_text(*byte) => at += 1,
            _ => return None,
        }
    }
}

/// Without the blanks of RFC 9110 section 5.6.3 before it.
fn trim_start(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    bytes.get(blanks..).unwrap_or_default()
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    bytes.get(..bytes.len() - blanks).unwrap_or_default()
}

/// As [`is_text`] of each byte, eight at a time where nothing is special.
fn is_all_text(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    words
        .iter()
        .all(|word| is_plain(u64::from_le_bytes(*word)) || word.iter().all(|byte| is_text(*byte)))
        && rest.iter().all(|byte| is_text(*byte))
}

/// Is none of these eight bytes below a blank or a DEL? May say no of some that are not: then they are looked at one by one.
fn is_plain(word: u64) -> bool {
    const EACH: u64 = u64::MAX / 0xff;
    const TOP: u64 = EACH * 0x80;
    // Without their top bits the bytes do not reach into one another.
    let low = word & !TOP;
    // The top bit of each sum says: at least a blank.
    let printable = low + EACH * (0x80 - 0x20);
    // The top bit of each sum says: a DEL.
    let delete = low + EACH;
    (printable & !delete & !word & TOP) == TOP
}

/// How many bytes at the start are of this class, eight at a time.
fn length_of(class: u8, bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let whole = words
        .iter()
        .take_while(|word| word.iter().fold(class, |all, byte| all & CLASSES[usize::from(*byte)]) != 0);
    let sure = 8 * whole.count();
    let rest = bytes.get(sure..).unwrap_or_default();
    sure + rest.iter().take_while(|byte| CLASSES[usize::from(**byte)] & class != 0).count()
}

fn is_text(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TEXT != 0
}

fn is_token(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TOKEN != 0
}

fn is_target(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TARGET != 0
}

/// What a byte may be part of. Every byte of every head is looked up here.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends before")]
        let it = byte as u8;
        let text = matches!(it, b'\t' | b' '..=b'~' | 0x80..);
        let token = it.is_ascii_alphanumeric()
            || matches!(
                it,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        let target = it.is_ascii_graphic() && !matches!(it, b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
        classes[byte] = (text as u8 * TEXT) | (token as u8 * TOKEN) | (target as u8 * TARGET);
        byte += 1;
    }
    classes
};
/// `field-vchar`, blanks and `obs-text` of RFC 9110 section 5.5.
const TEXT: u8 = 1;
/// `tchar` of RFC 9110 section 5.6.2.
const TOKEN: u8 = 2;
/// The characters of RFC 3986 without `#`: a fragment is no part of a target.
const TARGET: u8 = 4;

fn malformed<T>(detail: &'static str) -> Verdict<T> {
    Err((Reason::MalformedHttp, detail))
}

fn fault(at: usize, in_body: bool, (reason, detail): (Reason, &'static str)) -> Fault {
    Fault {
        at,
        in_body,
        reason,
        detail,
    }
}

const LONG_LINE: (Reason, &str) = (Reason::MalformedHttp, "a chunk size or trailer line is too long");

/// No client sends chunk extensions; the library bounds those of a whole body at 16 KiB.
const MAX_BODY_LINE: usize = 4096;
/// Far above every limit of a body, and below where the library has numbers with a meaning of their own.
const MAX_LENGTH: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a conversation, whole and cut at every byte: nothing, or what is wrong.
    #[track_caller]
    fn verdict(bytes: &[u8]) -> Option<(Reason, bool)> {
        let whole = Framing::default().feed(bytes).err();
        let mut by_bytes = Framing::default();
        let first = bytes.chunks(1).find_map(|byte| by_bytes.feed(byte).err());
        let simple = |fault: Option<Fault>| fault.map(|fault| (fault.reason, fault.detail, fault.in_body));
        assert_eq!(simple(whole), simple(first), "{}", String::from_utf8_lossy(bytes));
        simple(whole).map(|(reason, _, in_body)| (reason, in_body))
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Option<Reason>) {
        assert_eq!(
            verdict(bytes),
            expected.map(|reason| (reason, false)),
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }

    #[test]
    fn good_messages_follow_one_another() {
        let mut framing = Framing::default();
        for message in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "\r\n\r\nPOST /a?b=c%20 HTTP/1.0\r\nContent-Length: 0005 \r\n\r\nhello",
            "POST http://[::1]:80/x HTTP/1.1\r\nTransfer-Encoding:\tChunked\r\n\r\n6\r\nhel\nlo\r\na;b ; c=d;e=\"f;\\\"g\"\r\n0123456789\r\n0\r\nHost: x\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nx:\r\ny: é\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        ] {
            assert_eq!(framing.feed(message.as_bytes()), Ok(()), "{message}");
            assert_eq!((framing.place, framing.is_in_head()), (Place::Request, false), "{message}");
            assert_eq!(verdict(message.as_bytes()), None);
        }
        for (part, in_head, request_line, whole) in [
            ("GE", true, Some(false), 5),
            ("T /", true, Some(true), 5),
            (" HTTP/1.1\r\n", true, None, 5),
            ("content-length: 3\r\n\r\n", false, None, 5),
            ("ab", false, None, 5),
            ("c", false, None, 6),
        ] {
            framing.feed(part.as_bytes()).unwrap();
            let found = (framing.is_in_head(), framing.request_line(), framing.whole_messages());
            assert_eq!(found, (in_head, request_line, whole), "{part}");
        }
    }

    #[test]
    fn request_lines() {
        for line in [
            "nonsense",
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / x HTTP/1.1",
            " / HTTP/1.1",
            "GET  HTTP/1.1",
            "G(T / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET / HTTP/1.2",
            "GET / HTTP/9.9",
            "GET / HTTP/2.0",
            "GET / http/1.1",
            "GET / HTTP/1.1\r",
            "GET /\0 HTTP/1.1",
            "GET /\u{7f} HTTP/1.1",
            "GET /a\tb HTTP/1.1",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2",
        ] {
            check(format!("{line}\r\n").as_bytes(), Some(Reason::MalformedHttp));
        }
        for target in ["/a#b", "/\"", "/<", "/>", "/\\", "/^", "/`", "/{a}", "/a|b", "/\u{e9}"] {
            check(format!("GET {target} HTTP/1.1\r\n").as_bytes(), Some(Reason::InvalidTarget));
        }
    }

    #[test]
    fn header_lines_and_lengths() {
        for fields in [
            "a: b\n",
            "a: b\r\r\n",
            "a: b\rc\r\n",
            "a: \0\r\n",
            "a: \u{7f}\r\n",
            "a: b\r\n c\r\n",
            " a: b\r\n",
            "a : b\r\n",
            "a\r\n",
            ": b\r\n",
            "a b: c\r\n",
            "a(: b\r\n",
            "\n",
            "content-length: 1\r\ncontent-length: 1\r\n",
            "content-length: 1\r\nContent-Length: 2\r\n",
            "content-length: 1, 1\r\n",
            "content-length: +5\r\n",
            "content-length: -1\r\n",
            "content-length: 0x5\r\n",
            "content-length: 5 5\r\n",
            "content-length:\r\n",
            "content-length: 18446744073709551616\r\n",
            "content-length: 18446744073709551615\r\n",
            "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: ,chunked\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding: chunked;a=b\r\n",
            "transfer-encoding: identity\r\n",
            "transfer-encoding:\r\n",
            "transfer-encoding: \u{b}chunked\r\n",
            "transfer-encoding: \u{c}chunked\r\n",
        ] {
            check(format!("POST / HTTP/1.1\r\n{fields}").as_bytes(), Some(Reason::MalformedHttp));
        }
        check(
            b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
            Some(Reason::MalformedHttp),
        );
    }

    #[test]
    fn chunks() {
        let long = format!("5;{}\r\n", "a".repeat(5000));
        for chunks in [
            "+5\r\n",
            "5 \r\n",
            "5\t\r\n",
            "0x5\r\n",
            "5;\r\n",
            "5; \r\n",
            "5;=b\r\n",
            "5;a=\r\n",
            "5;a=\"b\r\n",
            "5;a\0\r\n",
            "5;a=\"\0\"\r\n",
            "5;a b\r\n",
            "5;a=b c\r\n",
            "5\n",
            ";a\r\n",
            "\r\n",
            "12345678901234567\r\n",
            "-1\r\n",
            "g\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n",
            "5\r\nhello5\r\n",
            "0\r\n\n",
            "0\r\na\r\n\r\n",
            "0\r\na: b\n",
            "0\r\n x\r\n",
            &long,
        ] {
            let bytes = format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
            assert_eq!(verdict(bytes.as_bytes()), Some((Reason::MalformedHttp, true)), "{chunks:?}");
        }
        // A line that does not end is left early.
        let mut framing = Framing::default();
        framing.feed(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;").unwrap();
        let fault = [b'a'; 512];
        assert!((0..9).any(|_| framing.feed(&fault).is_err()));
    }

    /// Eight at a time or one by one: every byte at every place says the same.
    #[test]
    fn text_is_text_at_every_place() {
        for byte in 0..=u8::MAX {
            for length in 1..20 {
                for at in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    assert_eq!(is_all_text(&bytes), is_text(byte), "{byte} at {at} of {length}");
                    bytes.fill(byte);
                    assert_eq!(is_all_text(&bytes), is_text(byte), "{length} times {byte}");
                }
            }
        }
    }

    /// As for texts: every byte at every place ends a name or a target, or does not.
    #[test]
    fn names_and_targets_end_where_they_do() {
        for (class, is_it) in [(TOKEN, is_token as fn(u8) -> bool), (TARGET, is_target)] {
            for byte in 0..=u8::MAX {
                for length in 1..20 {
                    for at in 0..length {
                        let mut bytes = vec![b'a'; length];
                        bytes[at] = byte;
                        let expected = if is_it(byte) { length } else { at };
                        assert_eq!(length_of(class, &bytes), expected, "{byte} at {at} of {length}");
                    }
                }
            }
        }
    }

    /// What is read in one go is what the other reader takes as well, and alike.
    #[test]
    fn the_two_readers_of_request_lines_agree() {
        let good = b"POST /a?b=c%20 HTTP/1.1";
        let mut plain = 0;
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut line = *good;
                line[at] = byte;
                let any = read_any_request_line(&line).map(|head| head.is_1_1);
                if let Some(head) = plain_request_line(&line) {
                    assert_eq!(any, Ok(head.is_1_1), "{}", String::from_utf8_lossy(&line));
                    plain += 1;
                } else {
                    assert_ne!(any, Ok(true), "{}", String::from_utf8_lossy(&line));
                }
            }
        }
        assert!(plain > good.len());
        for line in [" HTTP/1.1", "a HTTP/1.1", "a  HTTP/1.1", " a HTTP/1.1", "a b c HTTP/1.1", ""] {
            assert!(plain_request_line(line.as_bytes()).is_none(), "{line}");
        }
    }

    #[test]
    fn what_may_still_be_used_is_never_a_whole_message() {
        let first = "GET / HTTP/1.1\r\n\r\n";
        for (second, good) in [
            ("GET /#\r\n", 7),
            ("GET /a HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 65),
        ] {
            let bytes = format!("{first}{second}");
            let fault = Framing::default().feed(bytes.as_bytes()).unwrap_err();
            assert_eq!(fault.at, first.len() + good, "{second}");
            let usable = &bytes.as_bytes()[..fault.at];
            assert!(usable.starts_with(first.as_bytes()) && !usable[first.len()..].ends_with(b"\r\n\r\n"));
        }
    }
}
