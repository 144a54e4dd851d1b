//! Bad notation and the exact text of its faults; damaged and hostile texts.

use crate::config::diagnostic::Diagnostics;
use crate::config::files::FileSet;
use crate::config::tests::{GOOD, check, check_lines, condensed, read};
use crate::config::yaml;

/// Compares the headlines, hints and notes of the notation alone.
#[track_caller]
fn check_notation(text: &str, expected: &str) {
    let mut files = FileSet::default();
    let id = files.add("f", text);
    let mut faults = Diagnostics::default();
    yaml::parse(files.text(id), id, &mut faults);
    let found = condensed(&faults.render(&files));
    assert!(found == expected, "found:\n{found}\nexpected:\n{expected}\n");
}

#[test]
fn notation_that_readers_take_differently_is_refused() {
    check_notation(
        "x: &a 1\ny: *a",
        "error: f:1:4: anchor `&a`\n\
         = hint: anchors and aliases are not allowed: repeat the value\n\
         error: f:2:4: y: alias `*a`\n\
         = hint: anchors and aliases are not allowed: repeat the value",
    );
    check_notation(
        "x: *none",
        "error: f:1:4: x: alias `*none`\n\
         = hint: anchors and aliases are not allowed: repeat the value",
    );
    check_notation(
        "x: !!str 5",
        "error: f:1:4: x: tag `!!str`\n\
         = hint: tags are not allowed: text stands in quotes, numbers and booleans without",
    );
    check_notation(
        "x: ! 5",
        "error: f:1:4: x: tag `!`\n\
         = hint: tags are not allowed: text stands in quotes, numbers and booleans without",
    );
    check_notation(
        "x:\n  <<: { a: b }",
        "error: f:2:3: x: merge key `<<`\n\
         = hint: merge keys are not allowed: repeat the members",
    );
    check_notation(
        "x: [0x1F, 012, 1_000, 1.5, on, 99999999999999999999]",
        "error: f:1:5: x[0]: `0x1F` is a number to some readers of YAML and text to others\n\
         = hint: write it in quotes: \"0x1F\"\n\
         error: f:1:11: x[1]: `012` is octal, decimal or text, depending on the reader\n\
         = hint: write it in quotes: \"012\"\n\
         error: f:1:16: x[2]: `1_000` is a number to some readers of YAML and text to others\n\
         = hint: write it in quotes: \"1_000\"\n\
         error: f:1:23: x[3]: `1.5` is a number with a fraction or an exponent, which is not exact\n\
         = hint: write it in quotes: \"1.5\"\n\
         error: f:1:28: x[4]: `on` is a boolean or null to some readers of YAML and text to others\n\
         = hint: write it in quotes: \"on\"\n\
         error: f:1:32: x[5]: `99999999999999999999` is an integer that does not fit 64 bits\n\
         = hint: write it in quotes: \"99999999999999999999\"",
    );
    check_notation(
        "x: { [a]: b, null: c, ~: d, 1.5: e, ? {a: b} : c }",
        "error: f:1:6: x: a key must be text, found a list\n\
         = hint: write the key in quotes\n\
         error: f:1:14: x: a key must be text, found nothing\n\
         = hint: write the key in quotes\n\
         error: f:1:23: x: a key must be text, found nothing\n\
         = hint: write the key in quotes\n\
         error: f:1:29: x: `1.5` is a number with a fraction or an exponent, which is not exact\n\
         = hint: write it in quotes: \"1.5\"\n\
         error: f:1:39: x: a key must be text, found a mapping\n\
         = hint: write the key in quotes",
    );
    check_notation(
        "x: { 0: a, '0': b, true: c }",
        "error: f:1:12: x: duplicate key `0`\n\
         = note: f:1:6: the first is here",
    );
    check_notation(
        "x: { a: 1, a: { b: yes } }",
        "error: f:1:12: x: duplicate key `a`\n\
         = note: f:1:6: the first is here\n\
         error: f:1:20: x.a.b: `yes` is a boolean or null to some readers of YAML and text to others\n\
         = hint: write it in quotes: \"yes\"",
    );
    check_notation("x: ['yes', \"0x1F\", '1.5', 012a]\ny: |\n  yes\nz: >\n  1.5\n", "");
    check_notation(
        "version: 1\n---\nversion: 1\n",
        "error: f:2:1: a second document\n\
         = hint: one file holds one document: take out the `---`",
    );
    check_notation(
        "%YAML 1.2\n---\nversion: 1\n",
        "error: f:1:1: a directive\n\
         = hint: take out the line that starts with `%`",
    );
    check_notation("---\nversion: 1\n...\n", "");
    check_lines("", "error: routes.yaml:1:1: expected a mapping, found nothing");
    check_lines("- a\n", "error: routes.yaml:1:1: expected a mapping, found a list");
}

#[test]
fn a_syntax_error_ends_the_reading() {
    check(
        "version: 1\nproviders:\n\tacme: {}\n",
        r#"error: routes.yaml:3:2: providers: a tab where YAML wants spaces
  |
3 |     acme: {}
  |     ^
  |
  = hint: indent with spaces

1 error
"#,
    );
    check_lines(
        "version: 1\nproviders: { acme: { title: 'x }\n",
        "error: routes.yaml:2:29: providers.acme.title: the text is not closed\n\
         = hint: add the closing quote",
    );
    check_lines(
        "version: 1\nproviders: [a, b\n",
        "error: routes.yaml:2:12: providers[1]: a bracket is not closed\n\
         = hint: add the closing `]` or `}`",
    );
    check_lines(
        "version: 1\nproviders: a: b\n",
        "error: routes.yaml:2:13: a `:` where no value may stand\n\
         = hint: text that holds `: ` must be in quotes; members of one mapping start in one column",
    );
    check_lines(
        "version: 1\n providers: {}\n",
        "error: routes.yaml:2:11: a `:` where no value may stand\n\
         = hint: text that holds `: ` must be in quotes; members of one mapping start in one column",
    );
    check_lines(
        "version: 1\nx: \"\\q\"\n",
        "error: routes.yaml:2:4: x: an unknown escape\n\
         = hint: use single quotes when a backslash means itself",
    );
    check_lines(
        "version: 1\nx: }\n",
        "error: routes.yaml:2:4: x: a closing bracket without its opening one",
    );
    check_lines(
        "version: 1\nx: @a\n",
        "error: routes.yaml:2:4: x: a character that cannot stand here\n\
         = hint: text that starts with `@` or a backtick must be in quotes",
    );
    check_lines(
        "version: 1\nx: {a: b}}\n",
        "error: routes.yaml:2:10: a closing bracket without its opening one",
    );
    check_lines(
        "version: 1\nx\n",
        "error: routes.yaml:2:1: expected a key of the mapping\n\
         = hint: members of one mapping start in one column and have a `:`",
    );
}

#[test]
fn bombs_end_at_once() {
    let mut bomb = "a0: &a0 [x, x]\n".to_owned();
    for level in 1..40 {
        bomb.push_str(&format!(
            "a{level}: &a{level} [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}]\n",
            level - 1
        ));
    }
    let (_, faults, files) = read(&bomb);
    let rendered = faults.render(&files);
    assert!(
        rendered.ends_with("errors, the first 100 are shown\n"),
        "{}",
        &rendered[rendered.len() - 100..]
    );
    check_lines(
        &"[".repeat(200),
        "error: routes.yaml:1:200: a bracket is not closed\n\
         = hint: add the closing `]` or `}`",
    );
    check_lines(
        &"- ".repeat(200),
        "error: routes.yaml:1:129: [0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested more than 64 levels deep",
    );
    check_lines(&"[".repeat(100_000), "error: routes.yaml:1:256: nested too deeply");
    check_lines(
        &format!("[{}]", "a, ".repeat(200_000)),
        "error: routes.yaml:1:299999: [99999]: more than 100000 values",
    );
    check_lines(
        &"x".repeat((1 << 20) + 1),
        "error: routes.yaml:1:1: the file is larger than 1048576 bytes",
    );
}

#[test]
fn line_ends_marks_and_wide_characters_do_not_move_the_place() {
    check(
        "\u{feff}version: 2\r\nproviders: {}\r\n# é\r\nsettings: { \"日本語\": 5 }\r\n",
        r#"error: routes.yaml:1:10: version: expected the version 1, found the number 2
  |
1 | version: 2
  |          ^

error: routes.yaml:2:1: providers: an empty mapping
  |
2 | providers: {}
  | ^^^^^^^^^
  |
  = hint: fill it or take the key out

error: routes.yaml:4:13: settings["日本語"]: `日本語` is no name of a setting
  |
4 | settings: { "日本語": 5 }
  |             ^^^^^^^^
  |
  = hint: it must match ^[a-z][a-z0-9_]{0,31}$

error: routes.yaml:4:20: settings["日本語"]: expected a mapping, found the number 5
  |
4 | settings: { "日本語": 5 }
  |                       ^

4 errors
"#,
    );
}

#[test]
fn no_damage_panics() {
    let render = |text: &str| {
        let (_, faults, files) = read(text);
        assert_eq!(faults.render(&files).is_empty(), faults.is_empty());
    };
    for (at, _) in GOOD.char_indices() {
        render(&GOOD[..at]);
        for damage in ["\t", "}", "[", "'", ": ", "\n", "é", "\u{0}"] {
            if at % 7 == 0 {
                render(&format!("{}{damage}{}", &GOOD[..at], &GOOD[at..]));
            }
        }
    }
}
