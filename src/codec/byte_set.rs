//! Sets of bytes, and texts that hold no others.
//!
//! **Shape**: the set of `0-9` and `15` -> true; `1e5` -> false.

/// A set of bytes.
#[derive(Debug)]
pub struct ByteSet([bool; 256]);

impl ByteSet {
    /// Those that are true, by byte.
    #[must_use]
    pub const fn new(members: [bool; 256]) -> Self {
        Self(members)
    }

    /// Is the byte one of them?
    #[must_use]
    pub fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    /// Are all bytes of the text members? It is looked at to its end, whatever is found: most texts hold no others.
    #[must_use]
    pub fn has_all(&self, text: &str) -> bool {
        // As many at once as are worth a step of the loop.
        let (eights, rest) = text.as_bytes().as_chunks::<8>();
        let mut all = true;
        for &[a, b, c, d, e, f, g, h] in eights {
            all &= self.has(a) & self.has(b) & self.has(c) & self.has(d) & self.has(e) & self.has(f) & self.has(g) & self.has(h);
        }
        rest.iter().fold(all, |all, byte| all & self.has(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_that_is_no_member_is_found_wherever_it_stands() {
        let mut members = [true; 256];
        members[usize::from(b'x')] = false;
        let set = ByteSet::new(members);
        for length in 0..20 {
            assert!(set.has_all(&"a".repeat(length)));
            for place in 0..length {
                let text = format!("{}x{}", "a".repeat(place), "a".repeat(length - place - 1));
                assert!(!set.has_all(&text), "{text}");
            }
        }
    }
}
