//! What was sent: whatever breaks at whatever byte, a vendor gets one whole request at most unless the route says otherwise, and
//! `not_done` is told only where it got none.

use super::*;
use network::{End, Script, answer};

/// What a call sends, and what it is answered with.
async fn sample() -> (usize, String) {
    let rig = Rig::new([Line::Up(Script::fine())]);
    rig.call("stop").await.unwrap();
    let seen = rig.seen();
    (seen.bytes[0], answer("200 OK", "", "{}"))
}

/// The invariants of every call by a route that may not be repeated, after it ended in `result`.
#[track_caller]
fn check(what: &str, rig: &Rig, before: usize, result: &Result<Exchange, GatewayError>) {
    let seen = rig.seen();
    let got = seen.requests.len() - before;
    assert!(got <= 1, "{what}: sent {got} times: {result:?}");
    match result {
        Ok(_) => assert_eq!(got, 1, "{what}"),
        Err(error) if outcome(error.reason) == Outcome::NotDone => assert_eq!(got, 0, "{what}: {error:?}"),
        Err(_) => {}
    }
    if got == 1 {
        assert!(
            result
                .as_ref()
                .map_or_else(|error| outcome(error.reason) == Outcome::Unknown, |_| true),
            "{what}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn broken_at_every_byte() {
    let (request, answer) = sample().await;
    for kept in [false, true] {
        // What the connection lets through before the call that breaks: nothing, or one exchange.
        let (taken, given) = if kept { (request, answer.len()) } else { (0, 0) };
        let script = |takes: usize, gives: usize| Script {
            takes: taken.saturating_add(takes),
            gives: given.saturating_add(gives),
            ..Script::fine()
        };
        let cuts = (0..=request)
            .map(|at| (format!("write {at}"), script(at, usize::MAX), at))
            .chain((0..=answer.len()).map(|at| (format!("read {at}"), script(usize::MAX, at), request)));
        for (what, script, sent) in cuts {
            let rig = Rig::new([Line::Up(script), Line::Up(Script::fine())]);
            if kept {
                assert_eq!(short(&rig.call("stop").await), "200");
            }
            let before = rig.network.requests();
            let result = rig.call("stop").await;
            let what = format!("kept: {kept}, {what}");
            check(&what, &rig, before, &result);
            let is_whole = what.ends_with(&format!("read {}", answer.len())) || what.ends_with(&format!("write {request}"));
            // An answer of no byte, on a connection that breaks before it is written to, is no attempt at all.
            let nothing_left = sent == 0 || what.ends_with("read 0");
            match (is_whole, nothing_left) {
                (true, _) => assert_eq!(short(&result), "200", "{what}"),
                (_, true) => assert_eq!((short(&result).as_str(), rig.seen().attempts.len()), ("200", 2), "{what}"),
                (_, false) => {
                    assert_eq!(short(&result), "VENDOR_CONNECTION_LOST unknown", "{what}");
                    assert_eq!(rig.seen().attempts.len(), 1, "{what}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_safe_route_goes_again_and_no_other() {
    let (request, answer) = sample().await;
    for action in ["stop", "limited", "look", "safe", "sameKey"] {
        for gives in 1..answer.len() {
            let script = Script { gives, ..Script::fine() };
            let rig = Rig::new([Line::Up(script), Line::Up(Script::fine())]);
            let result = rig.call(action).await;
            let repeats = !matches!(action, "stop" | "limited");
            let expected = if repeats { "200" } else { "VENDOR_CONNECTION_LOST unknown" };
            assert_eq!(short(&result), expected, "{action}, {gives}");
            assert_eq!(rig.network.requests(), if repeats { 2 } else { 1 }, "{action}, {gives}");
        }
    }
    assert!(request > 0);
}

#[tokio::test(start_paused = true)]
async fn closed_by_the_vendor_while_it_was_kept() {
    // The end is seen when it is lent, just before something is written, or just after.
    let (mut stale, mut lent) = (0, 0);
    for readings in 0..8 {
        let closing = Script {
            end: End::ClosedAfter(readings),
            ..Script::says([answer("200 OK", "", "{}")])
        };
        let recorder = recorder().unwrap();
        let _local = metrics::set_default_local_recorder(&recorder);
        let rig = Rig::new([Line::Up(closing), Line::Up(Script::fine())]);
        assert_eq!(short(&rig.call("stop").await), "200");
        let was_kept = rig.seen().open == 1;
        let result = rig.call("stop").await;
        check(&readings.to_string(), &rig, 1, &result);
        let (seen, retried) = (rig.seen(), recorder.handle().render().contains(r#"why="stale""#));
        // Nothing was written on the old one, or the call is open.
        let reused = seen.requests.iter().filter(|(connection, _)| *connection == 0).count() == 2;
        assert_eq!(result.is_err(), reused, "{readings}: {result:?}");
        assert!(!(retried && reused), "{readings}");
        stale += usize::from(retried);
        lent += usize::from(was_kept && !reused && !retried);
    }
    assert!(lent > 0, "some end was seen when it was lent: that is no attempt");
    assert!(stale > 0, "some end was seen in between");
}

#[tokio::test(start_paused = true)]
async fn a_dead_kept_connection_costs_nothing() {
    let (request, _) = sample().await;
    let recorder = recorder().unwrap();
    let _local = metrics::set_default_local_recorder(&recorder);
    // Refuses the first byte of the second request.
    let dead = Script {
        takes: request,
        ..Script::fine()
    };
    let rig = Rig::new([Line::Up(dead)]);
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(short(&rig.call("stop").await), "200");
        assert_eq!(begun.elapsed(), Duration::ZERO, "at once");
    }
    assert_eq!(rig.network.requests(), 20);
    let text = recorder.handle().render();
    assert!(
        text.contains(r#"taskgate_vendor_retries_total{provider="acme",why="stale"} 19"#),
        "{text}"
    );
    assert!(!text.contains("withheld_total{"), "the budget is for others");
}

#[tokio::test(start_paused = true)]
async fn when_one_is_dead_the_older_ones_are_closed() {
    let (request, _) = sample().await;
    let slow = Script {
        takes: request,
        drips: Some(Duration::from_millis(1)),
        ..Script::fine()
    };
    let mut lines = vec![Line::Up(slow); 4];
    lines.push(Line::Up(Script::fine()));
    let rig = Rig::new(lines);
    let all = futures_util::future::join_all((0..4).map(|_| rig.call("stop"))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(rig.seen().open, 4);
    assert_eq!(short(&rig.call("stop").await), "200");
    assert_eq!((rig.seen().open, rig.seen().attempts.len(), rig.network.requests()), (1, 5, 5));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asked_for_is_given_to_nobody() {
    let evil = answer("200 OK", "", "evil");
    let good = answer("200 OK", "", "good");
    let behind = Script::says([format!("{good}{evil}"), evil.clone()]);
    let half = Script::says([format!("{good}HT"), evil.clone()]);
    let longer = Script::says([format!("{good}\r\n"), evil]);
    for script in [behind, half, longer] {
        let rig = Rig::new([Line::Up(script), Line::Up(Script::says([good.clone()]))]);
        for _ in 0..2 {
            let exchange = rig.call("stop").await.unwrap();
            assert_eq!(exchange.reply.body, "good");
        }
        assert_eq!((rig.network.requests(), rig.seen().attempts.len()), (2, 2));
    }
    // Before anything was asked.
    let greeting = Script {
        greeting: "220 smtp.vendor.test\r\n".to_owned(),
        ..Script::fine()
    };
    let rig = Rig::new([Line::Up(greeting)]);
    assert_eq!(short(&rig.call("stop").await), "VENDOR_UNREACHABLE not_done");
    assert_eq!(rig.network.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_not_asked_again_and_its_connection_is_not_kept() {
    let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}");
    let nonsense = [
        "SSH-2.0-OpenSSH_9.7\r\n".to_owned(),
        ok("content-length: 2\r\ncontent-length: 3\r\n\r\n{} "),
        ok("content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        ok("x: y\rz\r\n\r\n"),
        ok("transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
        ok("content-length: 9000000\r\n\r\n"),
        ok(&format!("x: {}\r\n\r\n", "x".repeat(200_000))),
        ok(&format!("{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(10_000))),
        "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".to_owned(),
        "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000),
        format!("{}{}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), answer("200 OK", "", "{}")),
    ];
    for text in nonsense {
        for action in ["stop", "safe"] {
            let rig = Rig::new([Line::Up(Script::says([text.clone()])), Line::Up(Script::fine())]);
            let start = &text[..text.len().min(60)];
            assert_eq!(short(&rig.call(action).await), "BAD_VENDOR_RESPONSE unknown", "{start}");
            assert_eq!((rig.network.requests(), rig.seen().open), (1, 0), "{start}");
            assert_eq!(short(&rig.call(action).await), "200");
            assert_eq!(rig.seen().attempts.len(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_lead_nowhere() {
    for place in ["http://169.254.169.254/", "file:///etc/passwd", "//elsewhere.test/", "/elsewhere"] {
        for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
            for action in ["stop", "safe"] {
                let rig = Rig::new([Line::Up(Script::says([answer(status, &format!("location: {place}\r\n"), "")]))]);
                let (told, _, document) = rig.told(action).await;
                assert_eq!((told, document["outcome"].as_str()), (502, Some("unknown")), "{document}");
                let seen = rig.seen();
                assert_eq!((seen.requests.len(), seen.attempts.len(), seen.lookups.len()), (1, 1, 1));
                assert!(!document.to_string().contains(place));
            }
        }
    }
}
