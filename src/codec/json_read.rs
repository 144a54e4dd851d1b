//! JSON without a fault, read in one pass: the usual case.
//!
//! **Shape**: `{"ids":[15,25]}` -> `Some(Object {"ids": Array [15, 25]})`; anything that [`super::json::decode`] refuses -> `None`.
//!
//! **Invariants**: what is read here is what the careful reader in `json.rs` reads, and what that one would refuse is not read here: it says
//! what is wrong and where. Limits hold on both ways.

use serde_json::{Map, Number, Value};

use super::Limits;
use super::number::check_token;

/// The value of a document, or `None` for the careful reader to say why there is none.
pub(super) fn read(text: &str, limits: &Limits) -> Option<Value> {
    let mut reader = Reader {
        text,
        at: 0,
        nodes: limits.max_nodes,
        depth: limits.depth(),
        limits,
    };
    let value = reader.value()?;
    reader.skip_space();
    (reader.at == text.len()).then_some(value)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// How many values may still come.
    nodes: usize,
    /// How many containers may still open.
    depth: usize,
    limits: &'t Limits,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes one byte behind white space.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        self.goes_on_with(byte).then_some(())
    }

    fn goes_on_with(&mut self, byte: u8) -> bool {
        let fits = self.peek() == Some(byte);
        self.at += usize::from(fits);
        fits
    }

    fn value(&mut self) -> Option<Value> {
        self.nodes = self.nodes.checked_sub(1)?;
        self.skip_space();
        match self.peek()? {
            b'"' => self.string().map(Value::String),
            b'{' => self.within(Self::object),
            b'[' => self.within(Self::array),
            b'-' | b'0'..=b'9' => self.number().map(Value::Number),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => None,
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }

    /// Reads a container from behind its bracket.
    fn within(&mut self, container: fn(&mut Self) -> Option<Value>) -> Option<Value> {
        self.depth = self.depth.checked_sub(1)?;
        self.at += 1;
        let value = container(self)?;
        self.depth += 1;
        Some(value)
    }

    fn array(&mut self) -> Option<Value> {
        let mut items = Vec::new();
        self.skip_space();
        if self.goes_on_with(b']') {
            return Some(Value::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_space();
            if !self.goes_on_with(b',') {
                return self.goes_on_with(b']').then_some(Value::Array(items));
            }
        }
    }

    fn object(&mut self) -> Option<Value> {
        let mut members = Map::new();
        self.skip_space();
        if self.goes_on_with(b'}') {
            return Some(Value::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            self.take(b':')?;
            let value = self.value()?;
            // A repeated name is refused, with its place.
            if members.insert(name, value).is_some() {
                return None;
            }
            self.skip_space();
            if !self.goes_on_with(b',') {
                return self.goes_on_with(b'}').then_some(Value::Object(members));
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        if !self.goes_on_with(b'"') {
            return None;
        }
        let start = self.at;
        self.at = special(self.text.as_bytes(), start)?;
        if self.goes_on_with(b'"') {
            return self.text.get(start..self.at - 1).map(str::to_owned);
        }
        // Escapes are the library's to read, control characters nobody's.
        while self.goes_on_with(b'\\') {
            self.at = special(self.text.as_bytes(), self.at + 1)?;
        }
        if !self.goes_on_with(b'"') {
            return None;
        }
        serde_json::from_str(self.text.get(start - 1..self.at)?).ok()
    }

    fn number(&mut self) -> Option<Number> {
        let rest = self.text.get(self.at..)?;
        let mut whole = 0_i64;
        let digits = rest.strip_prefix('-').unwrap_or(rest);
        let mut count = 0;
        for digit in digits.bytes().take(MAX_DIGITS).take_while(u8::is_ascii_digit) {
            whole = whole * 10 + i64::from(digit - b'0');
            count += 1;
        }
        let negative = digits.len() < rest.len();
        let ends = !matches!(digits.as_bytes().get(count), Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        let zero_leads = digits.starts_with('0');
        if ends && count > 0 && (!zero_leads || (count == 1 && !negative)) {
            self.at += usize::from(negative) + count;
            return Some(if negative { -whole } else { whole }.into());
        }
        // Decimals, large integers, and what is no number.
        let end = rest
            .bytes()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let token = rest.get(..end)?;
        check_token(token, self.limits.decimals).ok()?;
        self.at += end;
        serde_json::from_str(token).ok()
    }
}

/// The place of the next quote, backslash or control character.
fn special(bytes: &[u8], from: usize) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    let mut at = from;
    // Eight bytes at once: the lowest top bit that is left stands in the first byte that is one of them.
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        let zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c)) | control) & TOPS;
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter()
        .position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\'))
        .map(|place| at + place)
}

/// So many digits fit 64 bits whatever they are.
const MAX_DIGITS: usize = 18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_special_byte_is_found_wherever_it_stands() {
        for length in 0..20 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'\x7f'; length];
                    bytes[place] = byte;
                    let expected = matches!(byte, 0..=0x1f | b'"' | b'\\').then_some(place);
                    assert_eq!(special(&bytes, 0), expected, "{byte:#x} at {place} of {length}");
                }
            }
        }
        assert_eq!(special("é\u{80}ÿ\u{20}0123456\"".as_bytes(), 0), Some(14));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2048) })]

        #[test]
        fn one_special_byte_among_any(bytes in prop::collection::vec(any::<u8>(), 0..40), from in 0_usize..40) {
            let rest = bytes.get(from..);
            let expected = rest.and_then(|rest| rest.iter().position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\')));
            prop_assert_eq!(special(&bytes, from), expected.map(|place| from + place));
        }
    }
}
