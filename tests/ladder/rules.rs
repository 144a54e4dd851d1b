//! What goes out again after the vendor has heard it, how often, and what is told then.

use super::*;
use network::{Script, answer};

/// One connection that says all this.
fn says(answers: &[(&str, &str, &str)]) -> Rig {
    let answers = answers.iter().map(|(status, headers, body)| answer(status, headers, body));
    Rig::new([Line::Up(Script::says(answers))])
}

const FINE: (&str, &str, &str) = ("200 OK", "", "{}");

#[tokio::test(start_paused = true)]
async fn silence_is_not_asked_twice() {
    let dripping = Script {
        drips: Some(Duration::from_secs(1)),
        ..Script::fine()
    };
    let dripping_body = Script {
        drips: Some(Duration::from_millis(50)),
        ..Script::says([answer("200 OK", "", &"x".repeat(1000))])
    };
    for (what, script) in [("silent", Script::silent()), ("dripping", dripping), ("body", dripping_body)] {
        for action in ["stop", "safe", "safeAndLimited", "look"] {
            let rig = Rig::new([Line::Up(script.clone()), Line::Up(Script::fine())]);
            let begun = Instant::now();
            assert_eq!(short(&rig.call(action).await), "VENDOR_TIMEOUT unknown", "{what}, {action}");
            // The whole time counts, not the time between two bytes.
            assert_eq!(begun.elapsed(), Duration::from_secs(10), "{what}");
            assert_eq!((rig.network.requests(), rig.seen().open), (1, 0), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_vendor_in_trouble_is_asked_again_by_safe_routes_only() {
    for (status, repeats) in [
        ("500 Internal Server Error", false),
        ("501 Not Implemented", false),
        ("502 Bad Gateway", true),
        ("503 Service Unavailable", true),
        ("504 Gateway Timeout", true),
        ("429 Too Many Requests", false),
        ("404 Not Found", false),
        ("401 Unauthorized", false),
    ] {
        for (action, may) in [
            ("stop", false),
            ("limited", false),
            ("safe", true),
            ("look", true),
            ("sameKey", true),
        ] {
            // The limited route knows a wait of its own.
            if action == "limited" && status.starts_with("429") {
                continue;
            }
            let rig = says(&[(status, "", "<html>"), FINE]);
            let result = rig.call(action).await;
            let again = repeats && may;
            assert_eq!(short(&result), if again { "200" } else { &status[..3] }, "{action}, {status}");
            assert_eq!(rig.network.requests(), if again { 2 } else { 1 }, "{action}, {status}");
        }
    }
    // A vendor's own word decides over its status: one that has 503 for everything means something else.
    let rig = says(&[("503 Service Unavailable", "", r#"{"code":"MINE"}"#), FINE]);
    assert_eq!((short(&rig.call("safe").await).as_str(), rig.network.requests()), ("503", 1));
}

#[tokio::test(start_paused = true)]
async fn trouble_that_stays() {
    let rig = says(&[("503 Service Unavailable", "", r#"{"code":"BUSY"}"#); 9]);
    assert_eq!(short(&rig.call("safe").await), "503");
    assert_eq!(rig.network.requests(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_same_key_goes_with_the_same_call() {
    let rig = says(&[("502 Bad Gateway", "", "<html>"), FINE, FINE]);
    let (status, _, document) = rig.told("sameKey").await;
    assert_eq!((status, document["outcome"].as_str()), (200, Some("done")));
    rig.told("sameKey").await;
    let keys: Vec<_> = rig
        .seen()
        .requests
        .iter()
        .map(|(_, request)| request.lines().find_map(|line| line.strip_prefix("x-key: ")).unwrap().to_owned())
        .collect();
    assert_eq!((keys.len(), keys[0] == keys[1], keys[1] == keys[2]), (3, true, false));
}

/// `Retry-After` as vendors write it, and what the caller is told.
const LIMITS: [(&str, &str); 8] = [
    ("retry-after: 2\r\n", "2"),
    ("retry-after: 0\r\n", "0"),
    // Not more than five minutes.
    ("retry-after: 3600\r\n", "300"),
    ("retry-after: 99999999999999999999999\r\n", "10"),
    (
        "date: Sat, 21 Nov 2026 01:00:00 GMT\r\nretry-after: Sat, 21 Nov 2026 01:00:07 GMT\r\n",
        "7",
    ),
    (
        "date: Sat, 21 Nov 2026 01:00:00 GMT\r\nretry-after: Sat, 21 Nov 2020 01:00:07 GMT\r\n",
        "0",
    ),
    ("retry-after: soon\r\n", "10"),
    ("", "10"),
];

#[tokio::test(start_paused = true)]
async fn who_is_refused_for_limits_is_told_when() {
    for (headers, after) in LIMITS {
        for (status, body) in [("429 Too Many Requests", "{}"), ("400 Bad Request", r#"{"code":"SLOW_DOWN"}"#)] {
            for action in ["stop", "safe"] {
                let rig = says(&[(status, headers, body), FINE]);
                let (told, retry_after, document) = rig.told(action).await;
                assert_eq!((told, retry_after.as_deref()), (503, Some(after)), "{headers}: {document}");
                assert_eq!(
                    (document["reason"].as_str(), document["outcome"].as_str()),
                    (Some("VENDOR_RATE_LIMITED"), Some("not_done"))
                );
                assert_eq!(rig.network.requests(), 1, "{action}: {headers}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_is_limited_before_acting_waits_once() {
    for (headers, after) in LIMITS {
        let after = Duration::from_secs(after.parse().unwrap());
        for (status, body) in [
            ("429 Too Many Requests", "{}"),
            ("400 Bad Request", r#"{"code":"SLOW_DOWN"}"#),
            ("503 Service Unavailable", "<html>"),
        ] {
            let has_date = headers.contains("retry-after") && !headers.contains("soon") && !headers.contains("999");
            if status.starts_with("503") && !has_date {
                continue;
            }
            let rig = says(&[(status, headers, body), FINE]);
            let begun = Instant::now();
            let result = rig.call("limited").await;
            let waits = after < Duration::from_secs(30);
            assert_eq!(short(&result), if waits { "200" } else { &status[..3] }, "{status}: {headers}");
            assert_eq!(rig.network.requests(), if waits { 2 } else { 1 });
            let waited = begun.elapsed();
            let most = after + Duration::from_millis(51);
            assert!(!waits || (waited >= after && waited <= most), "{headers}: {waited:?}");
            assert!(waits || waited.is_zero(), "what does not fit the deadline is told at once");
        }
    }
    // The second refusal is told.
    let slow = ("429 Too Many Requests", "retry-after: 2\r\n", "{}");
    let rig = says(&[slow, slow, FINE]);
    let (told, after, _) = rig.told("limited").await;
    assert_eq!((told, after.as_deref(), rig.network.requests()), (503, Some("2"), 2));
    // Without time for it, the first.
    let rig = says(&[slow, FINE]);
    assert_eq!(short(&rig.call_within("limited", Duration::from_secs(2)).await), "429");
    assert_eq!(rig.network.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_proves_nothing_about_the_first() {
    let lost = Script {
        gives: 5,
        ..Script::fine()
    };
    let gone = Script::says([answer("404 Not Found", "", r#"{"code":"GONE"}"#)]);
    // The first answer was lost: that the second finds nothing may be what the first has done.
    let rig = Rig::new([Line::Up(lost.clone()), Line::Up(gone.clone())]);
    let (told, _, document) = rig.told("safe").await;
    assert_eq!(
        (told, document["reason"].as_str(), document["outcome"].as_str()),
        (502, Some("VENDOR_CONNECTION_LOST"), Some("unknown"))
    );
    // And so it may be where the vendor said that it was in trouble.
    let trouble = Script::says([
        answer("502 Bad Gateway", "", "<html>"),
        answer("404 Not Found", "", r#"{"code":"GONE"}"#),
    ]);
    let (told, _, document) = Rig::new([Line::Up(trouble)]).told("safe").await;
    assert_eq!(
        (told, document["reason"].as_str(), document["outcome"].as_str()),
        (502, Some("VENDOR_ERROR"), Some("unknown"))
    );
    assert_eq!(document["vendor"]["status"], 502);
    // Nobody is there any more: the first is as open as before.
    let rig = Rig::new([Line::Up(lost.clone()), Line::Refused]);
    assert_eq!(short(&rig.call("safe").await), "VENDOR_CONNECTION_LOST unknown");
    assert!(rig.seen().attempts.len() > 2);
    let trouble = Script {
        gives: answer("502 Bad Gateway", "", "<html>").len(),
        ..Script::says([answer("502 Bad Gateway", "", "<html>")])
    };
    let rig = Rig::new([Line::Up(trouble), Line::Refused]);
    assert_eq!(short(&rig.call("safe").await), "502");
    // A success is one, and without a repetition a refusal is one.
    let (told, _, _) = Rig::new([Line::Up(lost), Line::Up(Script::fine())]).told("safe").await;
    assert_eq!(told, 200);
    let (told, _, document) = Rig::new([Line::Up(gone)]).told("safe").await;
    assert_eq!((told, document["outcome"].as_str()), (404, Some("not_done")));
}

#[tokio::test(start_paused = true)]
async fn trouble_at_full_load_is_not_made_worse() {
    let recorder = recorder().unwrap();
    let _local = metrics::set_default_local_recorder(&recorder);
    // Every fifth answer is an error, then every one.
    for (every, calls) in [(5, 800), (1, 800)] {
        let statuses = ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"];
        let answers = (0..10_000).map(|at| match at % every {
            0 => answer(statuses[at % 3], "", "<html>"),
            _ => answer("200 OK", "", "{}"),
        });
        let script = Script {
            drips: None,
            ..Script::says(answers)
        };
        // The breaker would leave the vendor alone long before the budget is used up.
        let limits = Limits {
            breaker: None,
            ..Limits::default()
        };
        let rig = Rig::over(Scripted::new([Line::Up(script)]), &limits);
        let begun = Instant::now();
        for _ in 0..calls / 16 {
            futures_util::future::join_all((0..16).map(|_| rig.call("safe"))).await;
        }
        let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
        let extra = rig.network.requests() - calls;
        assert!(extra <= calls / 5 + 4 + seconds, "{extra} of {calls} in {seconds} s");
        assert!(extra > 0);
    }
    assert!(
        recorder
            .handle()
            .render()
            .contains("taskgate_vendor_retries_withheld_total{provider=\"acme\",why=\"unavailable\"}")
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_after_the_deadline() {
    for time in [0, 1, 20, 60, 200] {
        let rig = Rig::new([Line::Refused]);
        let begun = Instant::now();
        let result = rig.call_within("stop", Duration::from_millis(time)).await;
        assert_eq!(result.map_err(|error| outcome(error.reason)).unwrap_err(), Outcome::NotDone);
        assert!(begun.elapsed() <= Duration::from_millis(time));
    }
}
