//! `stop`, `retry`, `act`, `status` and `batch` against a demo that runs, as people and their scripts use them.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::program::{Ended, Folder, Running, run};

const DEMO: [&str; 5] = ["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

/// A demo, and where it is.
async fn demo(more: &[&str]) -> (Running, String) {
    let mut demo = Running::start(&[&DEMO[..], more].concat(), &[]);
    let url = format!("http://{}", demo.address("listening on ").await);
    (demo, url)
}

#[track_caller]
fn client(url: &str, arguments: &[&str]) -> Ended {
    run(arguments, &[("TASKGATE_URL", url)])
}

#[track_caller]
fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{} {}", ended.stdout, ended.stderr))
}

#[tokio::test]
async fn exit_codes_say_what_is_known() {
    let (demo, url) = demo(&["--fault", "cfw=cut"]).await;
    // Taken, under way.
    let taken = client(&url, &["stop", "prime", "15", "--reason", "INC-4711"]);
    assert_eq!(taken.code, Some(3), "{}", taken.stderr);
    assert!(taken.stdout.contains(" accepted\n"), "{}", taken.stdout);
    // Followed to its end.
    let done = client(&url, &["stop", "prime", "25", "--wait"]);
    assert_eq!(done.code, Some(0), "{}", done.stdout);
    assert!(done.stdout.contains("stopped"), "{}", done.stdout);
    // Not done.
    let gone = client(&url, &["stop", "prime", "99", "-o", "json"]);
    assert_eq!((gone.code, &json_of(&gone)["reason"]), (Some(4), &json!("TASK_NOT_FOUND")));
    let unknown_action = client(&url, &["act", "halt", "prime", "25"]);
    assert_eq!(unknown_action.code, Some(4));
    assert!(unknown_action.stdout.contains("UNKNOWN_ACTION"), "{}", unknown_action.stdout);
    // Nobody knows.
    let lost = client(
        &url,
        &[
            "stop",
            "cfw",
            taskgate::simulate::CFW_TASK,
            "--scope",
            &format!("instance={}", taskgate::simulate::CFW_FIREWALL),
        ],
    );
    assert_eq!(lost.code, Some(5), "{}", lost.stdout);
    demo.terminate().await;
}

#[tokio::test]
async fn a_task_is_shown() {
    let (demo, url) = demo(&[]).await;
    let shown = client(&url, &["status", "prime", "15", "--output", "json"]);
    assert_eq!((shown.code, &json_of(&shown)["state"]), (Some(0), &json!("running")));
    let scoped = client(
        &url,
        &[
            "status",
            "cfw",
            taskgate::simulate::CFW_TASK,
            "--scope",
            &format!("instance={}", taskgate::simulate::CFW_FIREWALL),
        ],
    );
    assert_eq!(scoped.code, Some(0), "{}", scoped.stdout);
    let gone = client(&url, &["status", "prime", "99"]);
    assert_eq!(gone.code, Some(4), "{}", gone.stdout);
    let which = client(&url, &["status", "prime"]);
    assert_eq!(
        (which.code, which.stderr.as_str()),
        (Some(1), "error: which task? taskgate status <PROVIDER> <ID>\n")
    );
    demo.terminate().await;
}

#[tokio::test]
async fn an_accepted_action_is_asked_for_by_its_operation() {
    let (demo, url) = demo(&[]).await;
    let zstack = taskgate::simulate::ZSTACK_TASK;
    let preview = client(&url, &["stop", "zstack", zstack, "--validate-only"]);
    assert_eq!(
        (preview.code, &json_of(&preview)["validate_only"]),
        (Some(0), &json!(true)),
        "{}",
        preview.stderr
    );
    let call = ["act", "stop", "zstack", zstack, "--idempotency-key", "INC-4711", "--output", "json"];
    let [first, again] = [client(&url, &call), client(&url, &call)].map(|ended| (ended.code, json_of(&ended)));
    assert_eq!((first.0, &first.1["outcome"]), (Some(3), &json!("accepted")));
    assert_eq!(first, again, "one call, said twice");
    let operation = first.1["operation"].as_str().unwrap();
    let ended = client(&url, &["status", operation, "-o", "json"]);
    assert_eq!(
        (ended.code, &json_of(&ended)["state"]),
        (Some(0), &json!("stopped")),
        "{}",
        ended.stderr
    );
    let gone = client(&url, &["status", "operations/AAAA"]);
    assert!(
        gone.code == Some(4) && gone.stdout.contains("OPERATION_NOT_FOUND"),
        "{}",
        gone.stdout
    );
    demo.terminate().await;
}

#[tokio::test]
async fn a_batch_is_told_task_by_task() {
    let (demo, url) = demo(&[]).await;
    let folder = Folder::new();
    folder.write("ids", "15\n99\n# not today: 7\n25\n");
    // Each size is a number of requests; the table is the same.
    for (size, ended, counts) in [
        ("1", "accepted  stopping", "0 done, 2 accepted, 1 not_done, 0 unknown"),
        ("100", "done      stopped", "2 done, 0 accepted, 1 not_done, 0 unknown"),
    ] {
        let told = client(&url, &["batch", "stop", "prime", "-f", &folder.path("ids"), "--size", size]);
        let rows: Vec<&str> = told.stdout.lines().map(str::trim).collect();
        assert_eq!(told.code, Some(4), "{}", told.stderr);
        let [_, first, second, third, "", last] = rows.as_slice() else {
            panic!("{rows:?}")
        };
        assert!(first.starts_with(&format!("prime/15  {ended}")), "{first}");
        assert!(
            second.starts_with("prime/99  not_done") && second.contains("TASK_NOT_FOUND"),
            "{second}"
        );
        assert!(third.starts_with(&format!("prime/25  {ended}")), "{third}");
        assert_eq!(last, &counts);
    }
    let task = format!("dbss/{}", taskgate::simulate::DBSS_INSTANCE);
    folder.write("tasks", &format!("{task}\ntasks/prime/15\n"));
    let across = client(&url, &["batch", "stop", "-f", &folder.path("tasks"), "--wait", "-o", "json"]);
    let document = json_of(&across);
    assert_eq!((across.code, &document["summary"]["done"]), (Some(0), &json!(2)), "{document}");
    assert_eq!(document["results"][0]["task"], format!("tasks/{task}"), "{document}");
    demo.terminate().await;
}

#[tokio::test]
async fn what_the_vendor_says_of_an_accepted_action_is_told() {
    let accepted = r#"{"task":"tasks/x/1","outcome":"accepted","operation":"operations/AAAA"}"#;
    let failed = r#"{"reason":"ACTION_FAILED","outcome":"not_done","vendor":{"status":200}}"#;
    let busy = r#"{"reason":"OVERLOADED","outcome":"not_done"}"#;
    for (asked, code, word) in [(failed, 4, "ACTION_FAILED"), (busy, 3, "accepted")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let gateway = tokio::spawn(async move {
            let mut lines = Vec::new();
            for body in [accepted, asked] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                let read = stream.read(&mut head).await.unwrap();
                lines.push(String::from_utf8_lossy(&head[..read]).lines().next().unwrap().to_owned());
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
            lines
        });
        let ended = tokio::task::spawn_blocking(move || client(&url, &["stop", "x", "1", "--wait=30s"]))
            .await
            .unwrap();
        assert_eq!(ended.code, Some(code), "{}", ended.stdout);
        assert!(ended.stdout.contains(word), "{}", ended.stdout);
        let lines = gateway.await.unwrap();
        assert_eq!(lines, ["POST /tasks/x/1:stop HTTP/1.1", "GET /operations/AAAA HTTP/1.1"]);
    }
}

#[tokio::test]
async fn whom_nobody_answers_is_told_so() {
    // Nobody listens at the port of a listener that is gone.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ended = client(&nobody, &["stop", "prime", "15"]);
    assert_eq!(ended.code, Some(4));
    assert!(
        ended.stdout.contains("taskgate cannot be reached; nothing was sent"),
        "{}",
        ended.stdout
    );
    // A server that is something else.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stranger = format!("http://{}", listener.local_addr().unwrap());
    let answers = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // The head is there when its first byte is: it is short.
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let page = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
        stream.write_all(page.as_bytes()).await.unwrap();
        // Until the other side has read it and gone.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    let ended = tokio::task::spawn_blocking(move || client(&stranger, &["stop", "prime", "15"]))
        .await
        .unwrap();
    assert_eq!(ended.code, Some(5), "{}", ended.stdout);
    assert!(ended.stdout.contains("does not speak as taskgate does"), "{}", ended.stdout);
    answers.await.unwrap();
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_is_sent() {
    let folder = Folder::new();
    folder.write("twice", "15\n15\n");
    folder.write("none", "# nothing\n");
    folder.write("one", "15\n");
    for (arguments, says) in [
        (
            &["stop", "prime", "15", "--url", "ftp://x"][..],
            "--url ftp://x: it must start with `http://`",
        ),
        (&["stop", "prime", "15", "--data", "[]"], "--data is a JSON object"),
        (&["stop", "prime", "15", "-H", "nonsense"], "--header is `Name: value`"),
        (
            &["stop", "prime", "15", "-H", "Content-Length: 7"],
            "the request cannot be sent: reserved header content-length",
        ),
        (
            &["batch", "stop", "prime", "-f", &folder.path("one"), "-H", "Connection: close"],
            "the request cannot be sent: reserved header connection",
        ),
        (&["stop", "prime", "15", "--ca-file", "/nowhere"], "/nowhere cannot be read"),
        (&["batch", "stop", "prime", "-f", "/nowhere"], "/nowhere cannot be read"),
        (
            &["batch", "stop", "prime", "-f", &folder.path("twice")],
            "line 2 names the same task as line 1",
        ),
        (&["batch", "stop", "prime", "-f", &folder.path("none")], "there is no id in it"),
        (&["batch", "stop", "-f", &folder.path("twice")], "line 1: expected PROVIDER/ID"),
    ] {
        let ended = run(arguments, &[]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(ended.stderr.contains(says), "{arguments:?}: {}", ended.stderr);
    }
    for (arguments, says) in [
        (&["stop", "prime"][..], "<ID>"),
        (&["stop", "prime", "15", "--scope", "x"], "expected NAME=VALUE"),
        (&["stop", "prime", "15", "--wait=soon"], "expected a duration"),
        (&["stop", "prime", "15", "--idempotency-key", "a\"b"], "printable ASCII"),
        (&["stop", "prime", "15", "-o", "xml"], "possible values: table, json"),
        (&["batch", "stop", "prime"], "--file <FILE>"),
        (&["batch", "stop", "prime", "-f", "x", "--wait=61s"], "expected 60 s at most"),
        (&["batch", "stop", "prime", "-f", "x", "--size", "0"], "0 is not in 1..=1000"),
    ] {
        let ended = run(arguments, &[]);
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(ended.stderr.contains(says), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn manual_pages_are_made() {
    let first = run(&["man"], &[]);
    assert_eq!(first.code, Some(0));
    assert!(first.stdout.contains(".TH taskgate 1"), "{}", first.stdout);
    let folder = Folder::new();
    let written = run(&["man", "--out", &folder.path("man1")], &[]);
    assert_eq!((written.code, written.stderr.as_str()), (Some(0), ""));
    for page in ["taskgate.1", "taskgate-serve.1", "taskgate-stop.1", "taskgate-batch.1"] {
        let text = std::fs::read_to_string(folder.path(&format!("man1/{page}"))).unwrap();
        assert!(text.contains("TASKGATE_") || page == "taskgate.1", "{page}");
    }
}
