//! Another configuration while the gateway runs, and its end: signals, files and what operators see of them.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use taskgate::config::sources::Sources;
use taskgate::simulate::{SimulatorOptions, Simulators};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::caller::{Caller, split_answers};
use super::super::config;
use super::super::program::{Folder, Running, SECRETS};
use super::super::rig::shipped_with;

/// With one worker whatever the machine has; the other tests have as many as there are processors.
const SERVE: [&str; 7] = [
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
    "--workers",
    "1",
];
const APPLIED: &str = r#""message":"another configuration runs""#;
const REFUSED: &str = r#""message":"another configuration has faults; the one before goes on""#;

/// The small provider of the tests of routes.
fn acme() -> Folder {
    Folder::with(&config::sources(config::ROUTES))
}

/// A gateway with these routes, and those who call it and look at it.
async fn serve(folder: &Folder, more: &[&str], environment: &[(&str, &str)]) -> (Running, Caller, Caller) {
    let routes = folder.path("routes.yaml");
    let mut gateway = Running::start(&[&SERVE[..], &["--routes", &routes], more].concat(), environment);
    let caller = Caller::new(gateway.address("listening on ").await);
    let admin = Caller::new(gateway.address("admin on ").await);
    (gateway, caller, admin)
}

async fn config_of(admin: &Caller) -> String {
    let ready = admin.get("/readyz").await;
    assert_eq!(ready.status, 200);
    ready.text("/config")
}

async fn metric(admin: &Caller, name: &str) -> String {
    let metrics = String::from_utf8(admin.get("/metrics").await.body.to_vec()).unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or("absent").to_owned()
}

#[tokio::test]
async fn what_is_refused_at_the_start_is_refused_while_it_runs_and_changes_nothing() {
    let folder = acme();
    let (mut gateway, caller, admin) = serve(&folder, &["--watch", "off"], &[]).await;
    let first = config_of(&admin).await;
    assert_eq!(metric(&admin, &format!(r#"taskgate_config_info{{hash="{first}"}}"#)).await, "1");
    let bombs = format!(
        "version: 1\nx: &a [x]\n{}",
        (0..9).map(|n| format!("y{n}: [*a, *a]\n")).collect::<String>()
    );
    let with = |from: &str, to: &str| {
        assert!(config::ROUTES.contains(from));
        config::ROUTES.replace(from, to)
    };
    let broken = [
        String::new(),
        "\u{0}\u{1}".to_owned(),
        "# ".repeat(5 << 20),
        bombs,
        with("title: ACME jobs", "titel: ACME jobs"),
        with("title: ACME jobs", "title: ACME jobs\n    title: twice"),
        with("/jobs/${id}/stop", "/jobs/${idd}/stop"),
        with("schemas/stop.reply.json", "schemas/nowhere.json"),
        with("key ${env.ACME_KEY}", SECRETS[0]),
    ];
    for (number, text) in (1..).zip(&broken) {
        folder.write("routes.yaml", text);
        gateway.signal("HUP");
        gateway.logged(REFUSED, number).await;
        assert_eq!(config_of(&admin).await, first);
        assert_eq!(
            metric(&admin, r#"taskgate_config_reloads_total{result="rejected"}"#).await,
            number.to_string()
        );
        assert_eq!(metric(&admin, "taskgate_config_last_reload_successful").await, "0");
        assert_eq!(caller.act("acme/7:stop", "").await.word(), "503 PROVIDER_NOT_CONFIGURED");
    }
    std::fs::remove_file(folder.path("routes.yaml")).unwrap();
    gateway.signal("HUP");
    gateway.logged(REFUSED, broken.len() + 1).await;
    let status = admin.get("/status").await.json();
    assert_eq!(
        (&status["config"], &status["reload"]["result"]),
        (&json!(first), &json!("rejected"))
    );

    folder.write("routes.yaml", config::ROUTES);
    gateway.signal("HUP");
    gateway.logged(r#""message":"the configuration is the same as before""#, 1).await;
    assert_eq!(metric(&admin, "taskgate_config_last_reload_successful").await, "1");
    folder.write(
        "routes.yaml",
        &with("  acme:\n    title: ACME jobs", "  other:\n    title: Other jobs"),
    );
    gateway.signal("HUP");
    gateway.logged(APPLIED, 1).await;
    let second = config_of(&admin).await;
    assert_ne!(first, second);
    assert_eq!(metric(&admin, &format!(r#"taskgate_config_info{{hash="{first}"}}"#)).await, "0");
    assert_eq!(caller.act("acme/7:stop", "").await.word(), "404 UNKNOWN_PROVIDER");
    assert_eq!(caller.act("other/7:stop", "").await.word(), "503 PROVIDER_NOT_CONFIGURED");

    // Another instance says by its hash whether it runs the same.
    folder.write("routes.yaml", config::ROUTES);
    let (twin, _, twins_admin) = serve(&folder, &["--watch", "off"], &[]).await;
    assert_eq!(config_of(&twins_admin).await, first);
    let (third, _, thirds_admin) = serve(&folder, &["--watch", "off"], &[("ACME_ENDPOINT", "http://acme.invalid")]).await;
    assert!(![first, second].contains(&config_of(&thirds_admin).await));
    for program in [gateway, twin, third] {
        program.terminate().await;
    }
}

#[tokio::test]
async fn secrets_in_files_are_taken_up_when_they_rotate() {
    let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
    let variables = simulators.environment();
    let folder = Folder::new();
    // As Kubernetes mounts them: a link to a link, of which the second is replaced.
    folder.write("one/password", "an-old-password\n");
    folder.write("two/password", &format!("{}\n", variables["PRIME_PASSWORD"]));
    symlink("one", folder.path("..data")).unwrap();
    symlink("..data/password", folder.path("password")).unwrap();
    let file = folder.path("password");
    let environment: Vec<(&str, &str)> = variables
        .iter()
        .filter(|(name, _)| *name != "PRIME_PASSWORD")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain([("PRIME_PASSWORD_FILE", file.as_str())])
        .collect();
    let mut gateway = Running::start(&[&SERVE[..], &["--watch", "20ms"]].concat(), &environment);
    let caller = Caller::new(gateway.address("listening on ").await);
    let admin = Caller::new(gateway.address("admin on ").await);
    let hash = config_of(&admin).await;
    assert_eq!(caller.act("prime/15:stop", "").await.word(), "502 VENDOR_AUTH");

    symlink("two", folder.path("..next")).unwrap();
    std::fs::rename(folder.path("..next"), folder.path("..data")).unwrap();
    gateway.logged(APPLIED, 1).await;
    assert_eq!(caller.act("prime/15:stop", "").await.word(), "202 accepted");
    assert_eq!(config_of(&admin).await, hash, "nobody can try passwords against the hash");

    // A file that is not there, or is being written, changes nothing.
    std::fs::remove_file(folder.path("..data")).unwrap();
    gateway.logged(REFUSED, 1).await;
    gateway
        .logged(&format!("PRIME_PASSWORD_FILE: `{file}`: there is no such file"), 1)
        .await;
    assert_eq!(caller.act("prime/25:stop", "").await.word(), "202 accepted");
    let ended = gateway.terminate().await;
    let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let applied = lines.iter().find(|line| line["message"] == "another configuration runs").unwrap();
    assert_eq!((&applied["why"], &applied["changed"]), (&json!("change"), &json!("prime")));
    for secret in ["an-old-password", variables["PRIME_PASSWORD"].as_str()] {
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
    }
    simulators.shutdown().await;
}

#[tokio::test]
async fn reloads_under_load_are_noticed_by_no_call() {
    let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
    let variables = simulators.environment();
    let environment: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let folder = Folder::with(&shipped_with(&[]));
    let routes = Sources::folder(folder.path("")).read("routes.yaml").unwrap();
    let (mut gateway, caller, admin) = serve(&folder, &["--watch", "off", "--log", "taskgate::cli=info"], &environment).await;
    let calls = async {
        let mut answers = Vec::new();
        for _ in 0..300 {
            answers.push(caller.act("dbss/ffffffffffffffffffffffffffffffff:stop", "").await.word());
        }
        answers
    };
    let reloads = async {
        for number in 1..=5 {
            folder.write("routes.yaml", &format!("{routes}# {number}\n"));
            gateway.signal("HUP");
            gateway.logged(APPLIED, number).await;
        }
    };
    let (answers, ()) = tokio::join!(calls, reloads);
    answers.iter().for_each(|answer| assert_eq!(answer, &answers[0]));
    assert!(!answers[0].starts_with('5'), "{}", answers[0]);
    assert_eq!(metric(&admin, r#"taskgate_config_reloads_total{result="applied"}"#).await, "5");
    assert_eq!(metric(&admin, "taskgate_in_flight_requests").await, "0");
    gateway.terminate().await;
    simulators.shutdown().await;
}

#[tokio::test]
async fn who_leaves_says_so_and_serves_on() {
    let folder = acme();
    let (gateway, caller, admin) = serve(&folder, &[], &[("TASKGATE_DRAIN_DELAY", "1000s")]).await;
    let kept = caller.act("acme/7:stop", "").await;
    assert_eq!(kept.headers.get("connection"), None);
    gateway.signal("TERM");
    while admin.get("/readyz").await.status == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(admin.get("/livez").await.status, 200);
    // On the connection that was kept, and on a new one.
    for caller in [&caller, &Caller::new(caller.address())] {
        let told = caller.act("acme/7:stop", "").await;
        assert_eq!(
            (told.word().as_str(), told.headers["connection"].to_str().unwrap()),
            ("503 PROVIDER_NOT_CONFIGURED", "close")
        );
    }
    // A second signal does not wait, and the exit code says that it was one.
    gateway.signal("INT");
    assert_eq!(gateway.end().await.code, Some(130));
}

#[tokio::test]
async fn somebody_at_the_keyboard_does_not_wait_and_a_silent_connection_holds_nobody() {
    let folder = acme();
    let (gateway, caller, admin) = serve(&folder, &[], &[("TASKGATE_DRAIN_DELAY", "1000s"), ("TASKGATE_DRAIN", "1000s")]).await;
    let mut silent = TcpStream::connect(caller.address()).await.unwrap();
    let mut idle = TcpStream::connect(caller.address()).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 404");
    drop((caller, admin));
    gateway.signal("INT");
    assert_eq!(gateway.end().await.code, Some(0));
    let mut rest = Vec::new();
    assert_eq!(silent.read_to_end(&mut rest).await.unwrap_or(0), 0);
    let _ = idle.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn a_vendor_that_hangs_holds_the_end_no_longer_than_the_drain() {
    let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
    simulators.set_fault("prime", "hang".parse().unwrap()).unwrap();
    let variables = simulators.environment();
    let environment: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut gateway = Running::start(&[&SERVE[..], &["--drain", "50ms", "--deadline", "1000s"]].concat(), &environment);
    let address = gateway.address("listening on ").await;
    let call = tokio::spawn(super::super::caller::converse(
        address,
        b"POST /tasks/prime/15:stop HTTP/1.1\r\nhost: a\r\n\r\n",
    ));
    while simulators.calls("prime").unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let ended = gateway.terminate().await;
    assert!(ended.stderr.contains("the time to finish is over"), "{}", ended.stderr);
    assert!(split_answers(&call.await.unwrap()).is_empty());
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_secret_file_with_a_fault_stops_the_start() {
    let folder = Folder::new();
    folder.write("key", SECRETS[0]);
    let (key, nowhere) = (folder.path("key"), folder.path("nowhere"));
    for (environment, says) in [
        (
            &[("PRIME_PASSWORD_FILE", nowhere.as_str())][..],
            format!("PRIME_PASSWORD_FILE: `{nowhere}`: there is no such file"),
        ),
        (
            &[("PRIME_PASSWORD_FILE", key.as_str()), ("PRIME_PASSWORD", SECRETS[1])],
            "PRIME_PASSWORD and PRIME_PASSWORD_FILE are both set".to_owned(),
        ),
        (
            &[("HUAWEI_TOKEN_FILE", SECRETS[0])],
            "HUAWEI_TOKEN_FILE: the file (its path is shown".to_owned(),
        ),
    ] {
        super::check_refused(&SERVE, environment, &says);
        super::check_refused(&["explain", "prime", "15", "stop"], environment, &says);
    }
    let explained = super::run(&["explain", "prime", "15", "stop"], &[("PRIME_PASSWORD_FILE", key.as_str())]);
    assert_eq!(explained.code, Some(0), "{}", explained.stderr);
}
