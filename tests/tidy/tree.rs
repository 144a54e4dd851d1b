//! The tree as the rules see it: files with their texts, and Rust sources as tokens.
//!
//! **Shape**: `use crate::{model::call, path};` -> paths `crate::model::call` and `crate::path`, with lines.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A text file of the tree.
pub(crate) struct File {
    /// Path below the root, with `/`.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
}

/// A token of a Rust source; comments and documentation are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Close,
    Colons,
    Literal(String),
    Open,
    Other,
    Word(String),
}

/// A token and its line.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
}

/// A path in code, such as `std::fs::read`; a lone word is one as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// The folder of Cargo.toml.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of one file.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The UTF-8 files below a folder (`""` is all of the tree), sorted; build output and hidden folders other than our own left out.
pub(crate) fn files(folder: &str) -> Vec<File> {
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    paths.sort();
    paths
        .into_iter()
        .filter_map(|path| {
            let text = fs::read_to_string(&path).ok()?;
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            Some(File { path, text })
        })
        .collect()
}

/// The Rust sources below a folder.
pub(crate) fn sources(folder: &str) -> Vec<File> {
    let mut files = files(folder);
    files.retain(|file| file.path.ends_with(".rs"));
    files
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let kind = entry.file_type().unwrap();
        // In a linked work tree `.git` is a file, which says where on this machine the repository is.
        if kind.is_file() && name != ".git" {
            found.push(entry.path());
        } else if kind.is_dir() && name != "target" && (!name.starts_with('.') || OUR_HIDDEN_FOLDERS.contains(&name.as_str())) {
            walk(&entry.path(), found);
        }
    }
}

/// Which items of a source are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them.
    All,
    /// Those that are built into the program: nothing behind `#[cfg(test)]`.
    Built,
}

/// The tokens of a Rust text.
pub(crate) fn tokens(path: &str, text: &str, scope: Scope) -> Vec<Token> {
    let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut tokens = Vec::new();
    flatten(stream, scope, &mut tokens);
    tokens
}

/// The modules that a source declares behind `#[cfg(test)]` and that have files of their own.
pub(crate) fn test_modules(text: &str) -> Vec<&str> {
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim() == TEST_ATTRIBUTE {
            let name = lines.next().and_then(|line| line.trim().strip_prefix("mod ")?.strip_suffix(';'));
            found.extend(name);
        }
    }
    found
}

/// The sources below `src` that are built into the program: files of test modules are left out.
pub(crate) fn built_sources() -> Vec<File> {
    let mut sources = sources("src");
    let tests: Vec<String> = sources
        .iter()
        .flat_map(|file| {
            let folder = match file.path.strip_suffix("/mod.rs").or_else(|| file.path.strip_suffix("/lib.rs")) {
                Some(folder) => folder,
                None => file.path.trim_end_matches(".rs"),
            };
            test_modules(&file.text).into_iter().map(move |name| format!("{folder}/{name}.rs"))
        })
        .collect();
    sources.retain(|file| !tests.contains(&file.path));
    sources
}

/// The paths in code, groups of `use` taken apart.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut prefixes: Vec<Vec<String>> = vec![Vec::new()];
    let (mut current, mut line, mut joined): (Vec<String>, usize, bool) = (Vec::new(), 0, false);
    for token in tokens {
        match &token.kind {
            Kind::Colons => joined = true,
            Kind::Word(word) => {
                if !joined {
                    found.extend(finished(&mut current, line, prefixes.last().map_or(0, Vec::len)));
                    current = prefixes.last().cloned().unwrap_or_default();
                }
                current.push(word.clone());
                (line, joined) = (token.line, false);
            }
            Kind::Open if joined => {
                prefixes.push(std::mem::take(&mut current));
                joined = false;
            }
            Kind::Open => {
                found.extend(finished(&mut current, line, prefixes.last().map_or(0, Vec::len)));
                prefixes.push(Vec::new());
            }
            Kind::Close => {
                found.extend(finished(&mut current, line, prefixes.last().map_or(0, Vec::len)));
                prefixes.pop();
                joined = false;
            }
            Kind::Literal(_) | Kind::Other => {
                found.extend(finished(&mut current, line, prefixes.last().map_or(0, Vec::len)));
                joined = false;
            }
        }
    }
    found.extend(finished(&mut current, line, 0));
    found
}

/// The path that was read, where it is more than the prefix that its group gave it.
fn finished(current: &mut Vec<String>, line: usize, prefix: usize) -> Option<Found> {
    let segments = std::mem::take(current);
    (segments.len() > prefix).then_some(Found { segments, line })
}

fn flatten(stream: TokenStream, scope: Scope, found: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        let mut push = |kind| found.push(Token { kind, line });
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if matches!(trees.peek(), Some(TokenTree::Punct(inner)) if inner.as_char() == '!') {
                    trees.next();
                }
                match trees.peek().map(attribute) {
                    Some(Attribute::Documentation) => drop(trees.next()),
                    Some(Attribute::Test) if scope == Scope::Built => {
                        // The item that follows ends with a semicolon or with its braces.
                        for tree in trees.by_ref() {
                            match tree {
                                TokenTree::Punct(punct) if punct.as_char() == ';' => break,
                                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
                                _ => {}
                            }
                        }
                    }
                    _ => push(Kind::Other),
                }
            }
            TokenTree::Punct(first) if first.as_char() == ':' && first.spacing() == Spacing::Joint => {
                match trees.next_if(|next| matches!(next, TokenTree::Punct(second) if second.as_char() == ':')) {
                    Some(_) => push(Kind::Colons),
                    None => push(Kind::Other),
                }
            }
            TokenTree::Punct(_) => push(Kind::Other),
            TokenTree::Ident(word) => push(Kind::Word(word.to_string())),
            TokenTree::Literal(literal) => push(Kind::Literal(literal.to_string())),
            TokenTree::Group(group) => {
                let line = group.span_close().end().line;
                push(Kind::Open);
                flatten(group.stream(), scope, found);
                found.push(Token { kind: Kind::Close, line });
            }
        }
    }
}

enum Attribute {
    Documentation,
    Other,
    Test,
}

fn attribute(tree: &TokenTree) -> Attribute {
    match tree.to_string().replace(' ', "").as_str() {
        text if text.starts_with("[doc=") => Attribute::Documentation,
        "[cfg(test)]" => Attribute::Test,
        _ => Attribute::Other,
    }
}

const TEST_ATTRIBUTE: &str = "#[cfg(test)]";
const OUR_HIDDEN_FOLDERS: [&str; 2] = [".ci", ".config"];

#[test]
fn comments_and_tests_are_no_code() {
    let text = "//! tokio::a\n/// tokio::b\nfn f() { let x = \"tokio::c\"; } // tokio::d\n#[cfg(test)]\nmod tests { use tokio::e; }\n";
    let words = |scope| {
        let tokens = tokens("sample", text, scope);
        tokens.iter().filter(|token| token.kind == Kind::Word("tokio".to_owned())).count()
    };
    assert_eq!((words(Scope::Built), words(Scope::All)), (0, 1));
}

#[test]
fn groups_are_taken_apart() {
    let text = "use crate::{model::call, path as p, layer::{a, b::c}};\nfn f() -> ::std::io::Result<()> { std::fs::read(\"x\") }";
    let paths: Vec<String> = paths(&tokens("sample", text, Scope::All))
        .into_iter()
        .map(|found| found.segments.join("::"))
        .collect();
    for expected in [
        "crate::model::call",
        "crate::path",
        "crate::layer::a",
        "crate::layer::b::c",
        "std::io::Result",
        "std::fs::read",
    ] {
        assert!(paths.iter().any(|path| path == expected), "no {expected} in {paths:?}");
    }
    assert!(!paths.iter().any(|path| path == "crate" || path == "crate::layer"), "{paths:?}");
}
