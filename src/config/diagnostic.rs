//! Faults of configuration files: collected, sorted and shown with file, line, column, excerpt and hint.
//!
//! **Shape**:
//! ```text
//! error: routes.yaml:4:10: providers.acme: unknown key `titel`
//!   |
//! 4 |     titel: Acme
//!   |     ^^^^^
//!   |
//!   = hint: did you mean `title`?
//! ```
//!
//! **Invariants**: a collector that is not empty means that nothing may run. The order of the output depends on the files
//! alone, never on the order of the checks.

use std::collections::HashSet;
use std::fmt::Write as _;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use crate::config::files::FileSet;
use crate::config::place::{Path, Span};

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it is; nothing for a file that could not be read.
    pub span: Option<Span>,
    /// A text inside `span` that is the culprit: `idd` of `/v1/${idd}`. The excerpt points at its first occurrence.
    pub focus: Option<String>,
    /// The keys that lead there; empty for the whole file.
    pub path: Path,
    /// What is wrong: lowercase, without full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Other places that matter.
    pub notes: Vec<Note>,
    /// The excerpt may hold a secret: show the place only.
    pub secret: bool,
}

/// Another place that explains a fault, such as the first of two equal keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub span: Span,
    /// What is there.
    pub message: String,
}

impl Diagnostic {
    /// A fault at a place.
    #[must_use]
    pub fn new(span: Span, path: &Path, message: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            path: path.clone(),
            ..Self::without_place(message)
        }
    }

    /// A fault that has no place in a file that was read: the file itself is missing, say.
    #[must_use]
    pub fn without_place(message: impl Into<String>) -> Self {
        Self {
            span: None,
            focus: None,
            path: Path::default(),
            message: message.into(),
            hint: None,
            notes: Vec::new(),
            secret: false,
        }
    }

    /// Says what to do about it.
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what to do about it, where there is something to say: `fault.maybe_hint(did_you_mean(..))`.
    pub fn maybe_hint(&mut self, hint: Option<String>) -> &mut Self {
        if hint.is_some() {
            self.hint = hint;
        }
        self
    }

    /// Points at the first occurrence of `part` inside the span.
    pub fn focus(&mut self, part: impl Into<String>) -> &mut Self {
        self.focus = Some(part.into());
        self
    }

    /// Points at another place that matters.
    pub fn note(&mut self, span: Span, message: impl Into<String>) -> &mut Self {
        self.notes.push(Note {
            span,
            message: message.into(),
        });
        self
    }

    /// Shows no excerpt: the line may hold a secret.
    pub fn secret(&mut self) -> &mut Self {
        self.secret = true;
        self
    }
}

/// The collector of faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    faults: Vec<Diagnostic>,
    /// How many there were beyond those that are kept.
    more: usize,
}

impl Diagnostics {
    /// Adds a fault at a place and returns it, so that a hint can be added: `faults.fault(span, &path, "…").hint("…")`.
    pub fn fault(&mut self, span: Span, path: &Path, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Diagnostic::new(span, path, message))
    }

    /// Adds a fault and returns it.
    pub fn push(&mut self, fault: Diagnostic) -> &mut Diagnostic {
        if self.faults.len() >= MAX_KEPT {
            self.faults.pop();
            self.more += 1;
        }
        self.faults.push(fault);
        self.faults.last_mut().expect("it was pushed a line above")
    }

    /// Adds all faults of another collector.
    pub fn extend(&mut self, other: Self) {
        for fault in other.faults {
            self.push(fault);
        }
        self.more += other.more;
    }

    /// Is there no fault?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// How many faults there are, before [`Self::sorted`] drops repetitions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.faults.len() + self.more
    }

    /// The faults in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.faults.iter()
    }

    /// The faults by file and place, each once. Those without a place come first.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut seen = HashSet::new();
        let mut faults: Vec<_> = self
            .faults
            .iter()
            // A site shares lines with the provider that it is like: the same fault at the same place is said once.
            .filter(|fault| seen.insert((fault.span, fault.span.is_none().then_some(&fault.path), &fault.message)))
            .collect();
        faults.sort_by_key(|fault| fault.span);
        faults
    }

    /// `value` when there is no fault.
    ///
    /// # Errors
    ///
    /// The faults, when there are some.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// All faults as text for people, without colours, and their number in the last line. Empty without faults.
    #[must_use]
    pub fn render(&self, files: &FileSet) -> String {
        self.render_with(files, &Renderer::plain())
    }

    /// As [`Self::render`], with colours for a terminal.
    #[must_use]
    pub fn render_coloured(&self, files: &FileSet) -> String {
        self.render_with(files, &Renderer::styled())
    }

    /// All faults with this renderer.
    fn render_with(&self, files: &FileSet, renderer: &Renderer) -> String {
        let faults = self.sorted();
        let mut text = String::new();
        for fault in faults.iter().take(MAX_SHOWN) {
            text.push_str(renderer.render(&[to_group(fault, files)]).trim_end());
            text.push_str("\n\n");
        }
        match faults.len() + self.more {
            0 => {}
            1 => text.push_str("1 error\n"),
            count if count > MAX_SHOWN => {
                let _infallible = writeln!(text, "{count} errors, the first {MAX_SHOWN} are shown");
            }
            count => {
                let _infallible = writeln!(text, "{count} errors");
            }
        }
        text
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The best of `candidates` for a mistyped `word`, as a hint.
///
/// ```
/// use taskgate::config::diagnostic::did_you_mean;
///
/// assert_eq!(did_you_mean("titel", ["title", "endpoint"]).as_deref(), Some("did you mean `title`?"));
/// assert_eq!(did_you_mean("frobnicate", ["title", "endpoint"]), None);
/// ```
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// The candidate that is most like `word`, where one is near enough.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_GUESSED {
        return None;
    }
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| *candidate != word && candidate.len() <= MAX_GUESSED)
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| is_near(*distance, lower.chars().count(), candidate.chars().count()))
        .min()
        .map(|(_, candidate)| candidate)
}

/// A third of the letters may differ, one at least; but two words without a common letter are not near.
fn is_near(distance: usize, word: usize, candidate: usize) -> bool {
    distance <= (word.max(candidate) / 3).max(1) && distance < word.min(candidate)
}

/// One fault in the words of the renderer.
fn to_group<'a>(fault: &'a Diagnostic, files: &'a FileSet) -> Group<'a> {
    let span = fault
        .span
        .map(|span| fault.focus.as_deref().map_or(span, |part| files.narrow(span, part)));
    let mut group = Group::with_title(Level::ERROR.primary_title(headline(fault, span, files)));
    if let Some(span) = span.filter(|_| !fault.secret) {
        group = group.element(excerpt(span, files));
    }
    for note in &fault.notes {
        let at = files.position(note.span);
        group = group.element(Level::NOTE.message(format!(
            "{}:{}:{}: {}",
            files.name(note.span.file),
            at.line,
            at.column,
            note.message
        )));
    }
    if let Some(hint) = &fault.hint {
        group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
    }
    group
}

/// `routes.yaml:31:14: providers.acme: unknown key` without the leading `error:`.
fn headline(fault: &Diagnostic, span: Option<Span>, files: &FileSet) -> String {
    let mut line = String::new();
    if let Some(span) = span {
        let at = files.position(span);
        let _infallible = write!(line, "{}:{}:{}: ", files.name(span.file), at.line, at.column);
    }
    if !fault.path.as_str().is_empty() {
        let _infallible = write!(line, "{}: ", fault.path);
    }
    line.push_str(&fault.message);
    line
}

/// The line of `span` with carets below. One line says where to look; a block of twenty does not.
fn excerpt(span: Span, files: &FileSet) -> Snippet<'_, Annotation<'_>> {
    let text = files.text(span.file);
    let start = span.start.min(text.len());
    let line_start = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let line = text.get(line_start..).unwrap_or_default();
    let line = line.split('\n').next().unwrap_or_default().trim_end_matches('\r');
    let from = (start - line_start).min(line.len());
    let to = (span.end.saturating_sub(line_start)).clamp(from, line.len());
    Snippet::source(line)
        .line_start(files.position(span).line)
        .annotation(AnnotationKind::Primary.span(from..to))
}

/// Ten times what is shown, so that the first by place are among them, and little enough for any memory.
const MAX_KEPT: usize = 1_000;
/// Nobody reads more; a broken generator can make a hundred thousand.
const MAX_SHOWN: usize = 100;
/// Names are short; comparing long texts letter by letter takes quadratic time.
const MAX_GUESSED: usize = 64;
