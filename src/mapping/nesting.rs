//! How deep an expression is, told from its text: the parser below CEL descends into it, and so does everything that walks what it made.
//!
//! **Shape**: `body.items.filter(i, i.id == id)` fits; a hundred brackets in one another do not.
//!
//! **Invariants**: never too low an estimate. What may be part of a text or not, depending on the parser's mood, counts.

/// Can the expression be parsed and evaluated on any thread's stack?
pub(super) fn fits(source: &str) -> bool {
    let mut scan = Scan {
        rest: source,
        levels: vec![0],
        cost: 0,
    };
    source.len() <= MAX_BYTES && scan.run().is_some()
}

struct Scan<'s> {
    rest: &'s str,
    /// What stands in a row at each bracket that is open, outermost first.
    levels: Vec<usize>,
    /// The open brackets and what stands in a row at them.
    cost: usize,
}

impl Scan<'_> {
    /// Nothing where it is too deep or a text has no end.
    fn run(&mut self) -> Option<()> {
        let mut before = ' ';
        while let Some(c) = self.rest.chars().next() {
            let at = self.rest;
            self.rest = at.get(c.len_utf8()..)?;
            match c {
                '"' | '\'' => self.text(c, before)?,
                '/' if self.rest.starts_with('/') => self.rest = self.rest.find('\n').map_or("", |end| self.rest.get(end..).unwrap_or("")),
                '(' | '[' | '{' => {
                    self.levels.push(0);
                    self.add(BRACKET)?;
                }
                ')' | ']' | '}' if self.levels.len() > 1 => {
                    let row = self.levels.pop()?;
                    self.cost -= BRACKET + row;
                    self.link(if c == ')' { OPERATOR } else { STEP })?;
                }
                '=' if matches!(before, '=' | '<' | '>') => {}
                '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' => self.link(OPERATOR)?,
                'i' if is_border(before) && self.rest.starts_with('n') && is_border(self.rest.chars().nth(1).unwrap_or(' ')) => {
                    self.link(OPERATOR)?
                }
                '.' => self.link(STEP)?,
                // What stands beside these is put together evenly, or one after the other.
                '&' | '|' | '?' | ':' | ',' => {
                    let row = self.levels.last_mut()?;
                    self.cost -= *row;
                    *row = 0;
                }
                _ => {}
            }
            before = c;
        }
        Some(())
    }

    /// One more in the row of the innermost bracket.
    fn link(&mut self, cost: usize) -> Option<()> {
        *self.levels.last_mut()? += cost;
        self.add(cost)
    }

    fn add(&mut self, cost: usize) -> Option<()> {
        self.cost += cost;
        (self.cost <= LIMIT).then_some(())
    }

    /// Passes over a text, its opening quote read.
    fn text(&mut self, quote: char, before: char) -> Option<()> {
        let mark = quote.to_string().repeat(3);
        let (mark, lines) = match self.rest.get(..2) {
            Some(two) if mark.starts_with(two) => {
                self.rest = self.rest.get(2..)?;
                (mark, true)
            }
            _ => (quote.to_string(), false),
        };
        let raw = matches!(before, 'r' | 'R');
        let mut inside = self.rest;
        let end = loop {
            let next = inside.find(['\\', '\n', quote])?;
            inside = inside.get(next..)?;
            let skipped = match inside.chars().next()? {
                '\\' if !raw => 1 + inside.chars().nth(1)?.len_utf8(),
                '\n' if !lines => return None,
                c if c == quote && inside.starts_with(&mark) => break self.rest.len() - inside.len(),
                _ => 1,
            };
            inside = inside.get(skipped..)?;
        };
        let (content, _) = self.rest.split_at_checked(end)?;
        // With an escape that it does not know the parser takes what follows for code.
        if content.contains('\\') {
            let hidden = content.matches(['(', '[', '{']).count();
            self.link(hidden * BRACKET)?;
        }
        self.rest = inside.get(mark.len()..)?;
        Some(())
    }
}

fn is_border(c: char) -> bool {
    !c.is_alphanumeric() && c != '_'
}

// In a debug build the parser needs some 190 KiB of stack for each bracket, 38 KiB for each operator in a row and 1.6 KiB for each name of
// a chain; threads have 2 MiB. Measured by parsing ever deeper expressions until the process ended.

/// What a bracket costs.
const BRACKET: usize = 120;
/// What an operator or a call in a row costs.
const OPERATOR: usize = 24;
/// What a name or an index in a row costs.
const STEP: usize = 1;
/// Eight brackets, forty operators in a row, or some of each: the shipped routes have three and four.
const LIMIT: usize = 960;
/// The shipped routes need 320.
const MAX_BYTES: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::super::expression::Expression;
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: bool) {
        assert_eq!(fits(source), expected, "{source:.120}");
        if expected {
            // What fits does not end the process, whether it is an expression or not.
            let _ = Expression::parse(source).map(|expression| expression.uses());
        }
    }

    #[test]
    fn brackets_and_operators_are_limited() {
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("{1:", "}"),
            ("size(", ")"),
            ("!(", ")"),
            ("a.filter(b,", ")"),
        ] {
            let deep = |levels| format!("{}a{}", open.repeat(levels), close.repeat(levels));
            check(&deep(7), true);
            check(&deep(9), false);
            check(&deep(1_000), false);
        }
        for (link, fits) in [
            ("+a", 40),
            ("==a", 40),
            ("<=a", 40),
            (" in a", 40),
            ("-a", 40),
            ("*a", 40),
            ("%a", 40),
            (".b()", 34),
        ] {
            check(&format!("a{}", link.repeat(fits)), true);
            check(&format!("a{}", link.repeat(41)), false);
        }
        check(&format!("a{}", ".b".repeat(900)), true);
        check(&format!("a{}", ".b".repeat(1_000)), false);
        check(&" ".repeat(MAX_BYTES + 1), false);
    }

    #[test]
    fn what_is_side_by_side_is_not_deep() {
        check(&"a == 1 || ".repeat(200), true);
        check(&format!("[{}]", "(a), ".repeat(200)), true);
        check(&format!("{}1", "a ? 1 : ".repeat(200)), true);
        check(&format!("{}a", "!".repeat(500)), true);
        check("index.inner == 'in' && inn in [1]", true);
    }

    #[test]
    fn texts_and_comments_hide_nothing() {
        let deep = "(".repeat(20);
        check(&format!("'{deep}'"), true);
        check(&format!("r'{deep}'"), true);
        check(&format!("'''{deep}\n'''"), true);
        check(&format!("// {deep}\n1"), true);
        // A bracket in a text closes nothing.
        check(&"(')'+".repeat(20), false);
        check(&"(r'\\'+')'+".repeat(20), false);
        check(&format!("{}\n{deep}", "// )".repeat(3)), false);
        // An unknown escape ends the text for the parser; a text without an end is none.
        check(&format!("'\\q{deep}'"), false);
        for open in ["'", "\"", "'''", "'\\'", "'a\n'", "'\\"] {
            check(&format!("{open}{deep}"), false);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_fits_ends_the_process(source in "[a(){}\\[\\]'\"\\\\r/.+=!?:&|, \n]{0,60}") {
            let _ = Expression::parse(&source);
        }
    }
}
