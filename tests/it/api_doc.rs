//! The calls that docs/api.md and docs/batch.md show are made, in their order, of a gateway as `taskgate demo` runs it, and answered as they stand there.
//! `UPDATE=1 cargo test --test it api_doc` writes the answers anew.
//!
//! **Shape**: a block `sh` whose last command is `curl`, and behind it a block `http` with the answer: its status line, those of its headers that
//! the page names, and its body, whose lines are joined. A command that ends with `&` goes on while the next is made. `$gate` is the gateway,
//! `$operation` the last one that an answer named. Faults are those of the page's `taskgate demo`.
//!
//! **Invariants**: what is new each time ([`NEW_EACH_TIME`]) stands as `…` on both sides, and nothing else does.

use std::io::Read as _;
use std::iter::Peekable;
use std::ops::Range;
use std::str::Chars;

use flate2::read::GzDecoder;
use http::StatusCode;
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::simulate::{FaultRule, SimulatorOptions, Simulators};

use super::answers::{Seen, Told};
use super::caller::Caller;
use super::rig::{compiled, start_gateway};

/// What stands before texts that no two runs have in common, and what belongs to such a text.
const NEW_EACH_TIME: [(&str, Belongs); 6] = [
    ("\"request_id\":\"", |c| c != '"'),
    ("x-request-id: ", |c| c != '\n'),
    ("operations/", |c| c.is_ascii_alphanumeric() || "-_".contains(c)),
    ("127.0.0.1:", |c| c.is_ascii_digit()),
    (";t=", |c| c.is_ascii_digit()),
    ("\"last_answered_at\":\"", |c| c != '"'),
];

type Belongs = fn(char) -> bool;

#[tokio::test]
async fn the_calls_of_the_page_about_the_interface_are_answered_as_it_shows() {
    replay("docs/api.md").await;
}

#[tokio::test]
async fn the_calls_of_the_page_about_batches_are_answered_as_it_shows() {
    replay("docs/batch.md").await;
}

async fn replay(page: &str) {
    let path = format!("{}/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut demo = Demo::start(&faults(&text)).await;
    let (mut renewed, mut from, mut differences) = (String::new(), 0, Vec::new());
    for exchange in exchanges(&text) {
        let told = demo.answer(exchange.commands).await;
        let shown = &text[exchange.answer.clone()];
        let said = told.as_shown_by(shown);
        renewed.push_str(&text[from..exchange.answer.start]);
        from = exchange.answer.end;
        if joined(shown) == joined(&said) {
            renewed.push_str(shown);
        } else {
            differences.push(format!("{}\nis shown with\n{shown}\nand answered with\n{said}", exchange.commands));
            renewed.push_str(&said);
        }
    }
    demo.stop().await;
    assert!(from > 0, "{page} shows no call");
    renewed.push_str(&text[from..]);
    match std::env::var_os("UPDATE") {
        Some(_) if renewed != text => std::fs::write(&path, renewed).unwrap(),
        Some(_) => {}
        None => assert!(
            differences.is_empty(),
            "{page}: UPDATE=1 rewrites it\n\n{}",
            differences.join("\n\n")
        ),
    }
}

/// What `taskgate demo` runs, and whom it has told.
struct Demo {
    simulators: Simulators,
    gateway: taskgate::gateway::RunningGateway,
    caller: Caller,
    /// The last that an answer named.
    operation: String,
}

impl Demo {
    async fn start(faults: &[FaultRule]) -> Self {
        let options = SimulatorOptions::default().settling_at_once();
        let options = faults.iter().cloned().fold(options, SimulatorOptions::fault);
        let simulators = Simulators::start(options).await.unwrap();
        let environment: Environment = simulators.environment().into_iter().collect();
        let sources = shipped::sources();
        let gateway = start_gateway(&compiled(&sources, &environment).with_examples(&sources)).await;
        Self {
            caller: Caller::new(gateway.address()),
            simulators,
            gateway,
            operation: String::new(),
        }
    }

    /// The answer to the last of these commands.
    async fn answer(&mut self, commands: &str) -> Answer {
        let commands = commands.replace("\\\n", " ");
        let mut commands = commands.lines().map(|line| Call::parse(line, &self.operation)).peekable();
        while let Some(call) = commands.next() {
            if commands.peek().is_some() {
                assert!(call.goes_on, "nobody sees what this answers: {call:?}");
                self.begin(call).await;
                continue;
            }
            let mut told = call.make(&self.caller).await;
            if told.header("content-encoding") == Some("gzip") {
                let mut plain = Vec::new();
                GzDecoder::new(told.body.as_ref()).read_to_end(&mut plain).unwrap();
                told.body = plain.into();
            }
            if ["/tasks", "/operations"].iter().any(|root| call.target.starts_with(root)) {
                told.check(Seen::OnTheWire);
                self.operation = match told.text("/operation") {
                    named if named.starts_with("operations/") => named,
                    _ => std::mem::take(&mut self.operation),
                };
            }
            return Answer {
                told,
                own_id: call.header("x-request-id").map(str::to_owned),
            };
        }
        panic!("a block without a command")
    }

    /// Makes a call whose answer nobody waits for; it is under way when its vendor has heard of it.
    async fn begin(&self, call: Call) {
        let vendor = call.target.split('/').nth(2).unwrap().to_owned();
        let before = self.simulators.calls(&vendor).unwrap();
        let caller = self.caller.clone();
        tokio::spawn(async move { call.make(&caller).await });
        while self.simulators.calls(&vendor).unwrap() == before {
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) {
        drop(self.caller);
        // First the vendors: calls under way to one that hangs end with its connection.
        self.simulators.shutdown().await;
        self.gateway.stop().await;
    }
}

/// A `curl` command.
#[derive(Debug)]
struct Call {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    goes_on: bool,
}

impl Call {
    fn parse(command: &str, operation: &str) -> Self {
        let mut words = words(command).into_iter();
        assert_eq!(words.next().as_deref(), Some("curl"), "{command}");
        let mut call = Self {
            method: "GET",
            target: String::new(),
            headers: vec![("accept".to_owned(), "*/*".to_owned())],
            body: String::new(),
            goes_on: false,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "-X" => {
                    assert_eq!(words.next().as_deref(), Some("POST"), "{command}");
                    call.method = "POST";
                }
                "-H" => {
                    let header = words.next().unwrap();
                    let (name, value) = header.split_once(": ").unwrap();
                    let name = name.to_ascii_lowercase();
                    call.headers.retain(|(known, _)| *known != name);
                    call.headers.push((name, value.to_owned()));
                }
                "-d" => call.body = words.next().unwrap(),
                "--compressed" => call.headers.push(("accept-encoding".to_owned(), "gzip".to_owned())),
                "&" => call.goes_on = true,
                url => {
                    let target = url.strip_prefix("$gate").unwrap_or_else(|| panic!("{command}: what is `{url}`?"));
                    call.target = target.replace("$operation", operation);
                }
            }
        }
        call
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    async fn make(&self, caller: &Caller) -> Told {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        caller.send(self.method, &self.target, &headers, &self.body).await
    }
}

/// The words of a command as a shell reads it, as far as the pages need one.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = command.chars().peekable();
    while rest.peek().is_some() {
        match rest.peek() {
            Some(' ') => _ = rest.next(),
            _ => words.push(word(&mut rest)),
        }
    }
    words
}

fn word(rest: &mut Peekable<Chars<'_>>) -> String {
    let (mut word, mut quote) = (String::new(), None);
    while let Some(c) = rest.next_if(|c| quote.is_some() || *c != ' ') {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => word.push(c),
        }
    }
    assert_eq!(quote, None, "a quote does not end: {word}");
    word
}

/// An answer, and the id that its caller gave it.
struct Answer {
    told: Told,
    own_id: Option<String>,
}

impl Answer {
    /// As a page shows it that names these headers.
    fn as_shown_by(&self, shown: &str) -> String {
        let status = StatusCode::from_u16(self.told.status).unwrap();
        let mut text = format!("HTTP/1.1 {} {}\n", status.as_str(), status.canonical_reason().unwrap());
        for line in shown.lines().skip(1).take_while(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap();
            if let Some(value) = self.told.header(name) {
                text.push_str(&format!("{name}: {value}\n"));
            }
        }
        let body = String::from_utf8(self.told.body.to_vec()).unwrap();
        if !body.is_empty() {
            text.push_str(&format!("\n{}\n", wrapped(&self.without_what_is_new(body.trim_end()))));
        }
        self.without_what_is_new(&text)
    }

    fn without_what_is_new(&self, text: &str) -> String {
        NEW_EACH_TIME.iter().fold(text.to_owned(), |text, (before, belongs)| {
            let mut parts = text.split(before);
            let mut masked = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                masked.push_str(before);
                let rest = part.trim_start_matches(belongs);
                let new = &part[..part.len() - rest.len()];
                masked.push_str(if new.is_empty() || self.own_id.as_deref() == Some(new) {
                    new
                } else {
                    "…"
                });
                masked.push_str(rest);
            }
            masked
        })
    }
}

/// A document in lines that fit on a page: they end where a member ends, what is short stays whole, and list items that are objects begin
/// a line.
fn wrapped(document: &str) -> String {
    let (mut text, mut line, mut line_depth) = (String::new(), String::new(), 0);
    for piece in pieces(document) {
        let end_of_line = !line.is_empty() && line_depth + line.chars().count() + piece.text.chars().count() > WIDTH;
        if piece.begins_line || end_of_line {
            text.push_str(&format!("{}{line}\n", " ".repeat(line_depth)));
            line.clear();
        }
        if line.is_empty() {
            line_depth = piece.depth;
        }
        line.push_str(piece.text);
    }
    text + &format!("{}{line}", " ".repeat(line_depth))
}

/// What stays on one line.
struct Piece<'d> {
    text: &'d str,
    /// In how many lists and objects it stands.
    depth: usize,
    begins_line: bool,
}

fn pieces(document: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut start, mut depth, mut begins_line) = (Vec::new(), 0, 0, false);
    // Where what is open has begun; what is short and open, nothing breaks.
    let mut open: Vec<bool> = Vec::new();
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in document.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => open.push(length(&document[at..]) < SHORT),
            '}' | ']' if !quoted => _ = open.pop(),
            _ => {}
        }
        let rest = &document[at + c.len_utf8()..];
        let before_item = !quoted && rest.starts_with('{') && (c == '[' || c == ',');
        if !open.contains(&true) && (before_item || (!quoted && c == ',')) {
            let text = &document[start..document.len() - rest.len()];
            pieces.push(Piece { text, depth, begins_line });
            (start, depth, begins_line) = (document.len() - rest.len(), open.len(), before_item);
        }
    }
    let text = &document[start..];
    pieces.push(Piece { text, depth, begins_line });
    pieces
}

/// The characters of the list or object that begins here.
fn length(document: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (count, c) in document.chars().enumerate() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return count + 1;
        }
    }
    document.len()
}

/// The text without what wrapping adds to it.
fn joined(shown: &str) -> String {
    let (head, body) = shown.split_once("\n\n").unwrap_or((shown.trim_end(), ""));
    let body: String = body.lines().map(str::trim_start).collect();
    format!("{head}\n\n{body}")
}

/// A call of a page.
struct Exchange<'p> {
    commands: &'p str,
    /// Where the answer stands.
    answer: Range<usize>,
}

/// The blocks with commands, each with the answer behind it.
fn exchanges(page: &str) -> Vec<Exchange<'_>> {
    let mut exchanges = Vec::new();
    for (start, _) in page.match_indices("```http\n") {
        let answer = start + "```http\n".len();
        let length = page[answer..].find("```").unwrap();
        let before = page[..start].trim_end().strip_suffix("\n```").unwrap_or_else(|| {
            panic!("no command stands before the answer {}", &page[answer..answer + length]);
        });
        let (_, commands) = before.rsplit_once("```sh\n").unwrap();
        exchanges.push(Exchange {
            commands,
            answer: answer..answer + length,
        });
    }
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let calls = blocks.filter(|block| block.starts_with("curl ")).count();
    assert_eq!(calls, exchanges.len(), "each call has its answer");
    exchanges
}

/// The faults of the demo that the page begins with.
fn faults(page: &str) -> Vec<FaultRule> {
    let command = page.lines().find(|line| line.starts_with("taskgate demo"));
    let named = command.into_iter().flat_map(|command| command.split(" --fault ").skip(1));
    named.map(|fault| fault.trim().parse().unwrap()).collect()
}

const WIDTH: usize = 150;
const SHORT: usize = 100;

#[test]
fn what_is_wrapped_is_joined_to_the_same() {
    let [a, c, d] = ["a".repeat(100), "c".repeat(100), "d".repeat(100)];
    let long = format!(r#"{{"a":"{a}","b":[{{"c":"x, {{\"y{c}"}},{{"c":[1,2]}}],"d":"{d}","e":{{"f":1,"g":"{a}"}}}}"#);
    let shown = wrapped(&long);
    let begins: Vec<&str> = shown.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(begins, ["{\"a\"", "  {\"c\"", "  {\"c\"", "  \"g\""], "{shown}");
    assert_eq!(
        joined(&format!("HTTP/1.1 200 OK\n\n{shown}\n")),
        format!("HTTP/1.1 200 OK\n\n{long}")
    );
    assert_eq!(
        words("curl -H 'a: b c' \"$gate/x?y\" &"),
        ["curl", "-H", "a: b c", "$gate/x?y", "&"]
    );
}
