//! JSON without a fault, read in one pass: the usual case.
//!
//! **Shape**: `{"ids":[15,25]}` -> `Some(Object {"ids": Array [15, 25]})`; anything that [`super::json::decode`] refuses -> `None`.
//!
//! **Invariants**: what is read here is what the careful reader in `json.rs` reads, and what that one would refuse is not read here: it says
//! what is wrong and where. Limits hold on both ways.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::Limits;
use super::number::check_token;
use crate::json_text::special;

/// What is made of a document while it is read.
pub(super) trait Build<'t> {
    /// A value that was read.
    type Value;
    /// The items of a list so far.
    type Items;
    /// The members of an object so far.
    type Members;
    /// The name of a member that is read next.
    type Name;

    fn null(&mut self) -> Self::Value;
    fn bool(&mut self, flag: bool) -> Self::Value;
    fn number(&mut self, number: Number) -> Self::Value;
    fn text(&mut self, text: Cow<'t, str>) -> Self::Value;
    fn items(&mut self) -> Self::Items;
    fn item(&mut self, items: &mut Self::Items, item: Self::Value);
    fn list(&mut self, items: Self::Items) -> Self::Value;
    fn members(&mut self) -> Self::Members;
    /// Nothing where a document with this name is not built.
    fn name(&mut self, members: &mut Self::Members, name: Cow<'t, str>) -> Option<Self::Name>;
    /// Nothing where the name is there already.
    fn member(&mut self, members: &mut Self::Members, name: Self::Name, member: Self::Value) -> Option<()>;
    fn object(&mut self, members: Self::Members) -> Self::Value;
}

/// The value of a document, or `None` for the careful reader to say why there is none.
pub(super) fn read(text: &str, limits: &Limits) -> Option<Value> {
    read_into(Whole, text, limits).map(|(value, _)| value)
}

/// The same, built in another way.
pub(super) fn read_into<'t, B: Build<'t>>(build: B, text: &'t str, limits: &Limits) -> Option<(B::Value, B)> {
    let mut reader = Reader {
        text,
        at: 0,
        nodes: limits.max_nodes,
        depth: limits.depth(),
        limits,
        build,
    };
    let value = reader.value()?;
    reader.skip_space();
    (reader.at == text.len()).then_some((value, reader.build))
}

/// Builds the value itself.
struct Whole;

impl<'t> Build<'t> for Whole {
    type Value = Value;
    type Items = Vec<Value>;
    type Members = Map<String, Value>;
    type Name = String;

    fn null(&mut self) -> Value {
        Value::Null
    }

    fn bool(&mut self, flag: bool) -> Value {
        Value::Bool(flag)
    }

    fn number(&mut self, number: Number) -> Value {
        Value::Number(number)
    }

    fn text(&mut self, text: Cow<'t, str>) -> Value {
        Value::String(text.into_owned())
    }

    fn items(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn item(&mut self, items: &mut Vec<Value>, item: Value) {
        items.push(item);
    }

    fn list(&mut self, items: Vec<Value>) -> Value {
        Value::Array(items)
    }

    fn members(&mut self) -> Map<String, Value> {
        Map::new()
    }

    fn name(&mut self, _: &mut Map<String, Value>, name: Cow<'t, str>) -> Option<String> {
        Some(name.into_owned())
    }

    fn member(&mut self, members: &mut Map<String, Value>, name: String, member: Value) -> Option<()> {
        members.insert(name, member).is_none().then_some(())
    }

    fn object(&mut self, members: Map<String, Value>) -> Value {
        Value::Object(members)
    }
}

struct Reader<'t, 'l, B> {
    text: &'t str,
    at: usize,
    /// How many values may still come.
    nodes: usize,
    /// How many containers may still open.
    depth: usize,
    limits: &'l Limits,
    build: B,
}

impl<'t, B: Build<'t>> Reader<'t, '_, B> {
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

    fn value(&mut self) -> Option<B::Value> {
        self.nodes = self.nodes.checked_sub(1)?;
        self.skip_space();
        match self.peek()? {
            b'"' => {
                let text = self.string()?;
                Some(self.build.text(text))
            }
            b'{' => self.within(Self::object),
            b'[' => self.within(Self::array),
            b'-' | b'0'..=b'9' => {
                let number = self.number()?;
                Some(self.build.number(number))
            }
            b't' => self.word("true").map(|()| self.build.bool(true)),
            b'f' => self.word("false").map(|()| self.build.bool(false)),
            b'n' => self.word("null").map(|()| self.build.null()),
            _ => None,
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
        })
    }

    /// Reads a container from behind its bracket.
    fn within(&mut self, container: fn(&mut Self) -> Option<B::Value>) -> Option<B::Value> {
        self.depth = self.depth.checked_sub(1)?;
        self.at += 1;
        let value = container(self)?;
        self.depth += 1;
        Some(value)
    }

    fn array(&mut self) -> Option<B::Value> {
        let mut items = self.build.items();
        self.skip_space();
        if self.goes_on_with(b']') {
            return Some(self.build.list(items));
        }
        loop {
            let item = self.value()?;
            self.build.item(&mut items, item);
            self.skip_space();
            if !self.goes_on_with(b',') {
                return self.goes_on_with(b']').then(|| self.build.list(items));
            }
        }
    }

    fn object(&mut self) -> Option<B::Value> {
        let mut members = self.build.members();
        self.skip_space();
        if self.goes_on_with(b'}') {
            return Some(self.build.object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            let name = self.build.name(&mut members, name)?;
            self.take(b':')?;
            let value = self.value()?;
            // A repeated name is refused, with its place.
            self.build.member(&mut members, name, value)?;
            self.skip_space();
            if !self.goes_on_with(b',') {
                return self.goes_on_with(b'}').then(|| self.build.object(members));
            }
        }
    }

    fn string(&mut self) -> Option<Cow<'t, str>> {
        if !self.goes_on_with(b'"') {
            return None;
        }
        let start = self.at;
        self.at = special(self.text.as_bytes(), start)?;
        if self.goes_on_with(b'"') {
            return self.text.get(start..self.at - 1).map(Cow::Borrowed);
        }
        // Escapes are the library's to read, control characters nobody's.
        while self.goes_on_with(b'\\') {
            self.at = special(self.text.as_bytes(), self.at + 1)?;
        }
        if !self.goes_on_with(b'"') {
            return None;
        }
        serde_json::from_str(self.text.get(start - 1..self.at)?).ok().map(Cow::Owned)
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

/// So many digits fit 64 bits whatever they are.
const MAX_DIGITS: usize = 18;
