//! The built program, as people and their scripts meet it.

mod client;
mod explained;
mod lifecycle;
mod logging;
mod running;

use taskgate::config::shipped;
use taskgate::config::sources::Sources;

use super::config;
use super::program::{CONFIGURED, Folder, run};

#[test]
fn help_teaches_and_ends_well() {
    let help = run(&["--help"], &[]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    assert!(
        help.stdout.contains("curl -X POST http://127.0.0.1:8080/tasks/prime/15:stop"),
        "{}",
        help.stdout
    );
    for command in [
        "serve",
        "demo",
        "simulate",
        "check",
        "explain",
        "stop",
        "retry",
        "act",
        "batch",
        "status",
        "init",
        "completions",
        "man",
    ] {
        assert!(
            help.stdout.contains(&format!("\n  {command}")),
            "{command} is missing in {}",
            help.stdout
        );
        for arguments in [[command, "--help"], ["help", command], [command, "-h"]] {
            let help = run(&arguments, &[]);
            assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "{arguments:?}");
            assert!(help.stdout.contains(&format!("Usage: taskgate {command}")), "{}", help.stdout);
            assert!(help.stdout.lines().all(|line| line.chars().count() <= 100), "{}", help.stdout);
        }
    }
    for (command, part) in [
        ("serve", "TASKGATE_LISTEN"),
        ("serve", "TASKGATE_ADMIN_LISTEN"),
        ("serve", "HUAWEI_TOKEN"),
        ("serve", "--routes"),
        ("demo", "--fault"),
        ("simulate", "latency:"),
        ("simulate", "_simulator/state"),
        ("explain", "taskgate explain prime 15 stop"),
        ("check", "TASKGATE_ROUTES"),
    ] {
        let help = run(&[command, "--help"], &[]).stdout;
        assert!(help.contains(part), "{part} is missing in {help}");
    }
    let version = run(&["--version"], &[]);
    assert_eq!(version.stdout, format!("taskgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_was_not_meant_is_said_with_the_usage() {
    for (arguments, says) in [
        (&["serve", "--bogus"][..], "unexpected argument '--bogus'"),
        (&["serve", "--listen", "here"], "--listen <ADDRESS>"),
        (
            &["serve", "--deadline", "soon"],
            "expected a duration such as `250ms`, `10s`, `2m` or `24h`",
        ),
        (&["serve", "--max-in-flight", "0"], "expected a number from 1 to 1000000"),
        (&["serve", "--max-connections", "0"], "expected a number from 1 to 1000000"),
        (&["serve", "--workers", "0"], "expected a number from 1 to 1024"),
        (&["demo", "--workers", "all"], "expected a number from 1 to 1024"),
        (&["serve", "--idle-timeout", "0s"], "expected more than no time"),
        (&["serve", "--operation-lifetime", "0s"], "expected a time from `1s` to `720h`"),
        (&["demo", "--idempotency-retention", "721h"], "expected a time from `1s` to `720h`"),
        (&["serve", "--body-timeout", "soon"], "expected a duration"),
        (&["serve", "--log-format", "xml"], "expected `auto`, `json` or `text`"),
        (&["fly"], "unrecognized subcommand 'fly'"),
        (&["explain", "prime"], "<ID>"),
        (&["simulate", "--fault", "prime=sulk"], "unknown fault `sulk`"),
        (&["simulate", "--listen", "prime"], "expected VENDOR=ADDRESS"),
        (&["completions", "cmd"], "[possible values: bash"),
        (&[], "Usage: taskgate <COMMAND>"),
    ] {
        let ended = run(arguments, &[]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.contains(says), "{arguments:?}: {}", ended.stderr);
    }
    let ended = run(&["serve"], &[("TASKGATE_LISTEN", "here")]);
    assert_eq!(ended.code, Some(2));
}

/// Runs that end with 1, nothing on standard output, and this on standard error.
#[track_caller]
fn check_refused(arguments: &[&str], environment: &[(&str, &str)], says: &str) {
    let ended = run(arguments, environment);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(1), ""),
        "{arguments:?}: {}",
        ended.stderr
    );
    assert!(ended.stderr.contains(says), "{arguments:?}: {}", ended.stderr);
}

#[test]
fn what_cannot_be_done_is_said_and_nothing_listens() {
    let local = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let serve = |more: &[&'static str]| [&["serve"], &local[..], more].concat();
    check_refused(
        &serve(&["--routes", "nowhere/routes.yaml"]),
        &[],
        "there is no routes file nowhere/routes.yaml",
    );
    check_refused(
        &serve(&[]),
        &[("TASKGATE_OPERATION_KEYS", "bWFkZS11cC1rZXkt")],
        "TASKGATE_OPERATION_KEYS: key 1 has 12 bytes and should have 32",
    );
    check_refused(
        &serve(&[]),
        &[("TASKGATE_ROUTES", "nowhere.yaml")],
        "there is no routes file nowhere.yaml",
    );
    check_refused(
        &["serve", "--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"],
        &[],
        "--listen 0.0.0.0:0 would let everybody",
    );
    check_refused(
        &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "[::]:0"],
        &[],
        "say --allow-unauthenticated",
    );
    check_refused(
        &["demo", "--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"],
        &[],
        "--allow-unauthenticated",
    );
    check_refused(&serve(&["--via", "two words"]), &CONFIGURED, "the client of `cfw` cannot be set up");
    check_refused(
        &serve(&["--log", "taskgate=shout"]),
        &[],
        "log filter `taskgate=shout` cannot be read",
    );
    check_refused(
        &serve(&[]),
        &[("PRIME_ENDPOINT", "hunter2")],
        "providers.prime.endpoint: the value is not an endpoint",
    );
    check_refused(
        &serve(&[]),
        &[("DBSS_API", "hunter2")],
        "the environment variable DBSS_API has a value that the setting does not know",
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for command in ["serve", "demo"] {
        for [listen, admin] in [[address.as_str(), "127.0.0.1:0"], ["127.0.0.1:0", &address]] {
            let arguments = [command, "--listen", listen, "--admin-listen", admin];
            check_refused(
                &arguments,
                &[],
                &format!("error: the gateway does not start: cannot listen on {address}: Address already in use"),
            );
        }
    }
    check_refused(
        &["simulate", "prime", "--listen", &format!("prime={address}")],
        &[],
        "the simulators do not start: Address already in use",
    );
    check_refused(
        &["simulate", "--listen", "prime=0.0.0.0:0"],
        &[],
        "simulators listen on loopback only",
    );
    check_refused(
        &["simulate", "nobody"],
        &[],
        "no simulator is called `nobody`, there are cfw, dbss, hss, iam, prime, zstack",
    );
    check_refused(
        &["check", "no/such/case"],
        &[],
        "there is no case whose path contains `no/such/case`",
    );
}

/// The acceptance test of the compiler: eight slips, eight places, and nothing listens.
#[test]
fn eight_faults_are_told_at_once_and_nothing_listens() {
    let folder = Folder::with(&config::sources(&config::eight_faults()));
    let routes = folder.path("routes.yaml");
    for arguments in [
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--routes",
            &routes,
        ][..],
        &["check", "--routes", &routes],
        &["explain", "--routes", &routes, "acme", "1", "stop"],
        &["simulate", "--routes", &routes],
    ] {
        let ended = run(arguments, &[]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{arguments:?}");
        assert_eq!(
            config::headlines(&ended.stderr, &routes),
            config::EIGHT_HEADLINES,
            "{arguments:?}: {}",
            ended.stderr
        );
        assert!(ended.stderr.ends_with("\n8 errors\n"), "{}", ended.stderr);
    }
}

#[test]
fn check_plays_all_cases_or_some() {
    let all = run(&["check"], &[]);
    assert_eq!((all.code, all.stderr.as_str()), (Some(0), ""));
    assert!(all.stdout.ends_with(" cases passed, 0 failed\n"), "{}", all.stdout);
    let some = run(&["check", "--verbose", "prime/stop/o"], &[]);
    assert_eq!(some.code, Some(0));
    let lines: Vec<_> = some.stdout.lines().collect();
    assert!(
        lines.len() >= 3
            && lines[..lines.len() - 1]
                .iter()
                .all(|line| line.starts_with("ok   cases/prime/stop/o")),
        "{lines:?}"
    );
    let sixth = run(
        &[
            "check",
            "--routes",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sixth/routes.yaml"),
        ],
        &[],
    );
    assert_eq!(sixth.code, Some(0), "{}", sixth.stderr);
}

#[test]
fn check_names_cases_that_fail_are_missing_or_of_nobody() {
    let folder = Folder::with(&Sources::memory(config::complete()));
    let routes = folder.path("routes.yaml");
    assert_eq!(run(&["check", "--routes", &routes], &[]).code, Some(0));

    let broken = config::OK_CASE.replace("outcome: accepted", "outcome: done");
    folder.write("cases/acme/stop/ok.yaml", &broken);
    let ended = run(&["check", "--routes", &routes], &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
    assert!(
        ended.stdout.contains("FAIL cases/acme/stop/ok.yaml (stops a job)\n"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains(r#"answer.outcome: expected "done", found "accepted""#),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.ends_with("; 3 cases passed, 1 failed\n"), "{}", ended.stdout);

    folder.write("cases/acme/retry/ok.yaml", config::OK_CASE);
    folder.write("cases/acme/stop/odd.yaml", "title: odd\ncalls: {}\n");
    let ended = run(&["check", "--routes", &routes], &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    for says in [
        "cases/acme/retry/ok.yaml: no provider `acme` offers `retry`",
        "this is no case: unknown field `calls`",
    ] {
        assert!(ended.stderr.contains(says), "{says}: {}", ended.stderr);
    }
}

#[test]
fn init_writes_what_check_accepts_and_overwrites_nothing() {
    let folder = Folder::new();
    let gate = folder.path("new/gate");
    let ended = run(&["init", &gate], &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    let routes = folder.path("new/gate/routes.yaml");
    assert!(
        ended.stdout.contains(&format!("taskgate check --routes {routes}")),
        "{}",
        ended.stdout
    );
    let written = Sources::folder(&gate);
    let shipped = shipped::sources();
    assert_eq!(written.list(""), shipped.list(""));
    for path in shipped.list("") {
        assert_eq!(written.read(&path).unwrap(), shipped.read(&path).unwrap(), "{path}");
    }
    let checked = run(&["check", "--routes", &routes], &[]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let again = run(&["init", &gate], &[]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(1), ""));
    assert!(
        again.stderr.contains("routes.yaml is there already; nothing was written"),
        "{}",
        again.stderr
    );
}

#[test]
fn completions_are_scripts() {
    for (shell, says) in [
        ("bash", "complete "),
        ("zsh", "#compdef taskgate"),
        ("fish", "complete -c taskgate"),
        ("elvish", "taskgate"),
    ] {
        let ended = run(&["completions", shell], &[]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout.contains(says), "{shell}: {}", ended.stdout);
    }
}
