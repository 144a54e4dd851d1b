//! Routes files that are made to fill the memory or the screen: what it takes to refuse them grows no faster than they do.

use allocation_counter::measure;
use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::shipped::ROUTES_FILE;
use taskgate::config::sources::Sources;

/// Name and text, the long ones with about `size` bytes.
fn bombs(size: usize) -> Vec<(&'static str, String)> {
    let laughs = (1..12).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
        let before = level - 1;
        text + &format!("a{level}: &a{level} [*a{before}, *a{before}, *a{before}, *a{before}]\n")
    });
    vec![
        ("laughs", laughs),
        (
            "one long line",
            format!("version: 1\nproviders: {{{}}}", "a: yes, ".repeat(size / 8)),
        ),
        ("keys twice", format!("version: 1\n{}", "a: 1\n".repeat(size / 5))),
        (
            "a long key above many faults",
            format!("? \"{}\"\n: [{}]\n", "k".repeat(size / 2), "yes, ".repeat(size / 10)),
        ),
        (
            "long words",
            format!("version: 1\n{}", format!("{}: 1\n", "k".repeat(900)).repeat(size / 900)),
        ),
        ("deep", "[".repeat(size)),
        (
            "deep blocks",
            (0..size / 100).fold(String::new(), |text, level| text + &" ".repeat(level) + "a:\n"),
        ),
        ("anchors", "- &a x\n".repeat(size / 7)),
        ("comments", "# \n".repeat(size / 3)),
        ("quote without an end", format!("version: \"{}", "\\n".repeat(size / 2))),
        (
            "unknown providers",
            format!(
                "version: 1\nproviders:\n{}",
                (0..size / 40).fold(String::new(), |text, n| text
                    + &format!("  p{n}: {{ like: p{}, title: x }}\n", n + 1))
            ),
        ),
        (
            "paths of long keys",
            format!("{}[{}]", format!("{{{}: ", "k".repeat(900)).repeat(40), "yes, ".repeat(size / 10)),
        ),
        (
            "long expression",
            format!("version: 1\nproviders: {{ a: {{ endpoint: \"${{{}}}\" }} }}", "a+".repeat(size / 2)),
        ),
    ]
}

#[test]
fn no_routes_file_makes_work_that_outgrows_it() {
    let mut faults = Vec::new();
    for (name, text) in bombs(64 * 1024) {
        let length = text.len() as u64;
        let sources = Sources::memory([(ROUTES_FILE, text)]);
        let mut shown = 0;
        let work = measure(|| {
            let rejected = compile(&sources, ROUTES_FILE, &Environment::default()).unwrap_err();
            shown = rejected.faults.render(&rejected.files).len() as u64;
        });
        for (what, counted, most) in [
            ("bytes at once", work.bytes_max, A_LITTLE + 256 * length),
            ("bytes in all", work.bytes_total, A_LITTLE + 1_024 * length),
            ("allocations", work.count_total, A_LITTLE + 16 * length),
            ("bytes shown", shown, A_LITTLE),
        ] {
            if counted > most {
                faults.push(format!("{name}: {counted} {what} for {length} bytes"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// A hundred faults with their places; the tables that a file is compared with.
const A_LITTLE: u64 = 256 * 1024;
