//! The table of counts: read, written, and held against the baseline.
//!
//! **Shape**: `# rustc 1.95.0, ldd 2.36`, then `cfw/stop/ok path<TAB>4014` per line, in the order in which they were counted.

use std::fmt::Write as _;

/// Names with their instructions.
pub(crate) type Counts = Vec<(String, u64)>;

/// Percent of growth that fails: above what a compiler makes of code that nobody touched when something else in the file moves.
const MOST: f64 = 3.0;

/// What was counted, and with what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// Compiler and libc: others give other counts.
    pub(crate) toolchain: String,
    /// In the order in which they were counted.
    pub(crate) counts: Counts,
}

impl Table {
    /// The text of the baseline; a line that is none is left out and so is missing in the comparison.
    pub(crate) fn read(text: &str) -> Self {
        let mut table = Self::default();
        for line in text.lines() {
            if let Some(toolchain) = line.strip_prefix("# with ") {
                toolchain.clone_into(&mut table.toolchain);
            } else if let Some((name, count)) = line.split_once('\t')
                && let Ok(count) = count.parse()
            {
                table.counts.push((name.to_owned(), count));
            }
        }
        table
    }

    /// The text of a baseline.
    pub(crate) fn written(&self) -> String {
        let mut text = format!("# Instructions, written by `scripts/counts --update`\n# with {}\n", self.toolchain);
        for (name, count) in &self.counts {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}\t{count}");
        }
        text
    }

    /// These counts, and of `known` those that were not counted because they do not contain `wanted`.
    pub(crate) fn over(&self, known: Self, wanted: &str) -> Self {
        let mut counts = known.counts;
        counts.retain(|(name, _)| !name.contains(wanted) || self.of(name).is_some());
        for (name, count) in &self.counts {
            match counts.iter_mut().find(|(known, _)| known == name) {
                Some(known) => known.1 = *count,
                None => counts.push((name.clone(), *count)),
            }
        }
        // Where all was counted, in its order.
        let counts = if wanted.is_empty() { self.counts.clone() } else { counts };
        Self {
            toolchain: self.toolchain.clone(),
            counts,
        }
    }

    /// For people, and what is wrong with it. `all` were counted, not only some.
    pub(crate) fn beside(&self, known: &Self, all: bool) -> (String, Vec<String>) {
        let (mut text, mut faults, mut fallen) = (String::new(), Vec::new(), Vec::new());
        let _ = writeln!(text, "{:<44} {:>10} {:>10}", "instructions", "baseline", "now");
        for (name, now) in &self.counts {
            let Some(before) = known.of(name) else {
                let _ = writeln!(text, "{name:<44} {:>10} {now:>10}", "-");
                faults.push(format!("`{name}` is not in the baseline"));
                continue;
            };
            let growth = growth(before, *now);
            let _ = writeln!(text, "{name:<44} {before:>10} {now:>10} {growth:>+7.1}%");
            if growth > MOST {
                faults.push(format!("`{name}` grew by {growth:.1} %"));
            } else if growth < -MOST {
                fallen.push(name.as_str());
            }
        }
        for (name, _) in known.counts.iter().filter(|(name, _)| all && self.of(name).is_none()) {
            faults.push(format!("`{name}` is in the baseline and was not counted"));
        }
        if !fallen.is_empty() {
            let _ = writeln!(
                text,
                "\n{} fell by more than {MOST} %: `scripts/counts --update` keeps what was won.",
                fallen.len()
            );
        }
        if known.toolchain != self.toolchain {
            let (known, own) = (&known.toolchain, &self.toolchain);
            let _ = writeln!(
                text,
                "\nThe baseline is of {known}, this is {own}: growth is shown, and fails nothing."
            );
            faults.retain(|fault| !fault.contains(" grew by "));
        }
        (text, faults)
    }

    fn of(&self, name: &str) -> Option<u64> {
        self.counts.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    }
}

#[expect(clippy::cast_precision_loss, reason = "instructions of one request")]
fn growth(before: u64, now: u64) -> f64 {
    100.0 * (now as f64 / before as f64 - 1.0)
}
