//! What must hold for any bytes at all, one function for each surface. `fuzz/` feeds them what a fuzzer makes up, `corpora` the files of
//! `fuzz/corpus`: both include this folder, so a finding is a file and its replay a test.
//!
//! **Shape**: `check(bytes)` returns, or panics where taskgate would break a promise. Inputs are texts that a person can read and write,
//! not the byte streams of `arbitrary`: a corpus file says what it is about.

use taskgate::model::error::GatewayError;

#[path = "../../it/answers.rs"]
mod answers;
mod body;
mod message;
mod path;
mod render;
mod reply;
mod routes;
mod shipped;
mod signature;
mod xml;

/// Returns where taskgate keeps its promises over these bytes, and panics where it does not.
pub(crate) type Check = fn(&[u8]);

/// Every check by the name of its fuzz target and of its folder in `fuzz/corpus`.
pub(crate) const ALL: [(&str, Check); 7] = [
    ("body", body::check),
    ("path", path::check),
    ("render", render::check),
    ("reply", reply::check),
    ("routes", routes::check),
    ("signature", signature::check),
    ("xml", xml::check),
];

/// The check of a fuzz target.
///
/// # Panics
/// There is none of that name.
pub(crate) fn named(name: &str) -> Check {
    let found = ALL.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, check)| *check)
        .unwrap_or_else(|| panic!("no check is called `{name}`"))
}

/// What the caller is told where the vendor answers as `data` says, in the words of the check `reply`.
pub(crate) fn tell(data: &[u8]) -> Option<answers::Told> {
    reply::read(data).map(|(ask, reply, wait)| reply::tell(ask, reply, wait))
}

/// An error as the caller gets it: with words, and not with everything that came in.
#[track_caller]
fn is_civil(error: &GatewayError) {
    assert!(
        !error.detail.is_empty() && error.detail.chars().count() <= MAX_DETAIL,
        "{}",
        error.detail
    );
    assert!(!error.detail.contains(char::is_control), "{:?}", error.detail);
    for violation in &error.violations {
        assert!(
            violation.pointer.chars().count() <= MAX_POINTER && violation.detail.chars().count() <= MAX_POINTER,
            "{violation:?}"
        );
    }
}

/// As in schemas/canonical/problem.json.
const MAX_DETAIL: usize = 8_192;
const MAX_POINTER: usize = 4_096;
