//! Patterns that only say which characters a text may have, and how many: without an automaton.
//!
//! **Shape**: `^[0-9a-f-]{36}$` -> an alphabet of 17 characters, 36 of them.
//!
//! **Invariants**: what is read here means what it means to the library; anything that could mean something else there is not read.
//!
//! **Source**: ECMA-262 patterns as JSON Schema uses them.

use crate::codec::byte_set::ByteSet;

/// Which characters a text may have, and how many.
#[derive(Debug)]
pub(super) struct Alphabet {
    /// By byte; those above ASCII are all the same.
    allowed: ByteSet,
    /// None above ASCII: as many bytes as characters.
    is_ascii: bool,
    least: usize,
    most: usize,
}

impl Alphabet {
    /// Of `^[…]+$`, `^[…]*$`, `^[…]{3}$` or `^[…]{3,5}$` over plain characters, ranges of them and `\uFFFF` of ASCII; nothing of any other pattern.
    pub(super) fn of(pattern: &str) -> Option<Self> {
        let (class, count) = pattern.strip_prefix("^[")?.strip_suffix('$')?.split_once(']')?;
        let (least, most) = match count {
            "" => (1, 1),
            "+" => (1, usize::MAX),
            "*" => (0, usize::MAX),
            count => {
                let count = count.strip_prefix('{')?.strip_suffix('}')?;
                let (least, most) = count.split_once(',').unwrap_or((count, count));
                (least.parse().ok()?, most.parse().ok()?)
            }
        };
        let (class, negated) = class.strip_prefix('^').map_or((class, false), |class| (class, true));
        let mut allowed = [negated; 256];
        let mut rest = class;
        while !rest.is_empty() {
            let (first, after) = character(rest)?;
            let (last, after) = match after.strip_prefix('-').filter(|after| !after.is_empty()) {
                Some(after) => character(after)?,
                None => (first, after),
            };
            // A hyphen is one of the characters at the front and at the end; whatever it is elsewhere is not read.
            let is_edge = rest.len() == class.len() || after.is_empty();
            if first > last || (first == b'-' && (first != last || !is_edge)) || (last == b'-' && first != last) {
                return None;
            }
            allowed.get_mut(usize::from(first)..=usize::from(last))?.fill(!negated);
            rest = after;
        }
        (!class.is_empty() && least <= most).then_some(Self {
            is_ascii: !allowed.iter().skip(1 << 7).any(|is_allowed| *is_allowed),
            allowed: ByteSet::new(allowed),
            least,
            most,
        })
    }

    /// Is it all of these characters, and as many?
    pub(super) fn spells(&self, text: &str) -> bool {
        let fits = if self.is_ascii {
            (self.least..=self.most).contains(&text.len())
        } else {
            has_chars(text, self.least, self.most)
        };
        fits && self.allowed.has_all(text)
    }
}

/// Has the text so many characters? They are counted only where the bytes do not tell.
pub(super) fn has_chars(text: &str, least: usize, most: usize) -> bool {
    if text.len() <= most && text.len().div_ceil(MAX_CHAR_BYTES) >= least {
        return true;
    }
    (least..=most).contains(&text.chars().count())
}

/// The first character of a class, and what follows it.
fn character(class: &str) -> Option<(u8, &str)> {
    if let Some(escape) = class.strip_prefix("\\u") {
        let (digits, after) = escape.split_at_checked(4)?;
        let code = digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(digits)?;
        let code = u8::from_str_radix(code, 16).ok().filter(u8::is_ascii)?;
        return Some((code, after));
    }
    let first = class.bytes().next()?;
    // Nothing that has a meaning of its own in any dialect of classes.
    let plain = first.is_ascii_alphanumeric() || matches!(first, b' ' | b'_' | b'.' | b':' | b'/' | b',' | b'@' | b'-');
    plain.then(|| (first, class.split_at(1).1))
}

/// Of one character in UTF-8.
const MAX_CHAR_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_classes_are_read() {
        for pattern in [
            "^[0-9a-f-]{36}$",
            "^[-a]+$",
            "^[^\\u0000-\\u001F\\u007F]*$",
            "^[a.b]{2,3}$",
            "^[x]$",
            "^[a-c-]$",
        ] {
            assert!(Alphabet::of(pattern).is_some(), "{pattern}");
        }
        for pattern in [
            "[a]",
            "^[a]",
            "[a]$",
            "^a$",
            "^[]$",
            "^[^]$",
            "^[a-]]$",
            "^[a]b$",
            "^[a]+b[c]$",
            "^[a]+?$",
            "^[a]{2,}$",
            "^[a]{3,2}$",
            "^[z-a]$",
            "^[a--b]$",
            "^[a-z-9]$",
            "^[!--]$",
            "^[\\d]$",
            "^[\\s\\S]*$",
            "^[a&&b]$",
            "^[a~~b]$",
            "^[[a]]$",
            "^[é]$",
            "^[\\u00e9]$",
            "^[\\u00]$",
            "",
        ] {
            assert!(Alphabet::of(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn characters_are_counted_and_not_bytes() {
        let (three, any) = (Alphabet::of("^[^a]{3}$").unwrap(), Alphabet::of("^[^a]{0,2}$").unwrap());
        assert!(three.spells("éé\n") && three.spells("日本語") && three.spells("bcd"));
        assert!(!three.spells("éé") && !three.spells("bcde") && !three.spells("bca"));
        assert!(any.spells("") && any.spells("日本") && !any.spells("bcd"));
    }
}
