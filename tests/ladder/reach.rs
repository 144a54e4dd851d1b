//! Names, addresses and connections that fail: the next one is tried, nothing blocks, and what is told is `not_done`.

use super::*;
use network::{End, Lookup, Script, VENDOR, answer};

const OTHER: &str = "192.0.2.2:80";
const SIX: &str = "[2001:db8::1]:80";

fn up() -> [Line; 1] {
    [Line::Up(Script::fine())]
}

#[tokio::test(start_paused = true)]
async fn refused_everywhere() {
    let rig = Rig::new([Line::Refused]);
    let error = rig.call("stop").await.unwrap_err();
    assert_eq!((error.reason, outcome(error.reason)), (Reason::VendorUnreachable, Outcome::NotDone));
    assert!(error.reason.facts().retryable);
    assert_eq!(error.detail, "no connection to the vendor could be made");
    // The first attempt and three more, with back-offs that are short.
    assert_eq!(rig.seen().attempts.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn refused_for_a_moment() {
    for refusals in 1..=3 {
        let mut lines = vec![Line::Refused; refusals];
        lines.extend(up());
        let rig = Rig::new(lines);
        assert_eq!(short(&rig.call("stop").await), "200");
        assert_eq!((rig.network.requests(), rig.seen().attempts.len()), (1, refusals + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn our_own_limits_are_not_tried_against() {
    // EMFILE
    let rig = Rig::new([Line::Errno(24)]);
    assert_eq!(short(&rig.call("stop").await), "OVERLOADED not_done");
    assert_eq!(rig.seen().attempts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_of_two_addresses_is_dead() {
    for dead in [Line::Refused, Line::Hole] {
        for (found, first, second) in [
            (&[VENDOR, OTHER][..], VENDOR, OTHER),
            (&[SIX, VENDOR][..], SIX, VENDOR),
            (&[VENDOR, SIX][..], VENDOR, SIX),
        ] {
            let network = Scripted::new([]);
            let found: &'static [&'static str] = found.to_vec().leak();
            network.looks_up([Lookup::Finds(found)]);
            network.at(first, [dead.clone()]);
            network.at(second, up());
            let limits = Limits {
                close: true,
                ..Limits::default()
            };
            let rig = Rig::over(network, &limits);
            let begun = Instant::now();
            assert_eq!(short(&rig.call("stop").await), "200", "{dead:?} {found:?}");
            assert!(begun.elapsed() <= Duration::from_millis(251), "{:?}", begun.elapsed());
            assert_eq!(rig.seen().attempts, [first, second].map(|text| text.parse().unwrap()));
            // The next connection goes where there is somebody, at once.
            let begun = Instant::now();
            assert_eq!(short(&rig.call("stop").await), "200");
            assert_eq!((begun.elapsed(), rig.seen().attempts.len()), (Duration::ZERO, 3));
            assert_eq!(rig.network.requests(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_address_answers() {
    let network = Scripted::new([Line::Hole]);
    network.looks_up([Lookup::Finds(&[VENDOR, SIX])]);
    network.at(SIX, [Line::Hole]);
    let rig = Rig::over(network, &Limits::default());
    let begun = Instant::now();
    let error = rig.call_within("stop", Duration::from_secs(4)).await.unwrap_err();
    assert_eq!((error.reason, outcome(error.reason)), (Reason::DeadlineExceeded, Outcome::NotDone));
    assert!(begun.elapsed() <= Duration::from_secs(4));
    // With time for one attempt only, its own limit ends it.
    let rig = Rig::new([Line::Hole]);
    let error = rig.call_within("stop", Duration::from_millis(3001)).await.unwrap_err();
    assert_eq!(
        (error.reason, &error.metadata["connect_timeout_ms"]),
        (Reason::VendorUnreachable, &3000.into())
    );
}

#[tokio::test(start_paused = true)]
async fn names_that_lead_nowhere() {
    for lookup in [Lookup::Fails, Lookup::Finds(&[]), Lookup::Never] {
        let network = Scripted::new([]);
        network.looks_up([lookup.clone()]);
        let rig = Rig::over(network, &Limits::default());
        let begun = Instant::now();
        let error = rig.call("stop").await.unwrap_err();
        assert_eq!(
            (error.reason, outcome(error.reason)),
            (Reason::VendorUnreachable, Outcome::NotDone),
            "{lookup:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(15), "{lookup:?}");
        assert!(!error.detail.contains("vendor.test"), "{}", error.detail);
        assert_eq!(rig.seen().attempts.len(), 0);
        // One look-up for all attempts, where it does not end.
        assert_eq!(
            rig.seen().lookups.len(),
            if matches!(lookup, Lookup::Never) { 1 } else { 4 },
            "{lookup:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_calls_wait_for_one_look_up() {
    let network = Scripted::new(up());
    network.looks_up([Lookup::Takes(Duration::from_secs(2), &[VENDOR])]);
    let limits = Limits {
        in_flight: 100,
        ..Limits::default()
    };
    let rig = Rig::over(network, &limits);
    // Those who give up do not end it.
    let hurried = rig.call_within("stop", Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(hurried.reason, Reason::DeadlineExceeded);
    let all = futures_util::future::join_all((0..100).map(|_| rig.call("stop"))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(rig.seen().lookups, ["vendor.test"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_addresses_serve_while_names_fail() {
    for later in [
        Lookup::Fails,
        Lookup::Never,
        Lookup::Finds(&[]),
        Lookup::Takes(Duration::from_secs(5), &[OTHER]),
    ] {
        let network = Scripted::new(up());
        network.looks_up([Lookup::Finds(&[VENDOR]), later.clone()]);
        let limits = Limits {
            close: true,
            ..Limits::default()
        };
        let rig = Rig::over(network, &limits);
        assert_eq!(short(&rig.call("stop").await), "200");
        assert_eq!(short(&rig.call("stop").await), "200");
        assert_eq!(rig.seen().lookups.len(), 1, "asked for once in a while");
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        assert_eq!(short(&rig.call("stop").await), "200", "{later:?}");
        assert!(begun.elapsed() <= Duration::from_secs(1), "{later:?}");
        assert_eq!((rig.seen().lookups.len(), rig.network.requests()), (2, 3));
        // But not for ever.
        if matches!(later, Lookup::Fails) {
            tokio::time::advance(Duration::from_secs(3600)).await;
            assert_eq!(short(&rig.call("stop").await), "VENDOR_UNREACHABLE not_done");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_moved_is_looked_up_again() {
    let network = Scripted::new([Line::Refused]);
    network.looks_up([Lookup::Finds(&[VENDOR]), Lookup::Finds(&[OTHER])]);
    network.at(OTHER, up());
    let rig = Rig::over(network, &Limits::default());
    assert_eq!(short(&rig.call("stop").await), "200");
    assert_eq!(rig.seen().lookups.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn connections_are_few_and_end() {
    let limits = Limits {
        in_flight: 4,
        ..Limits::default()
    };
    let slow = Script {
        drips: Some(Duration::from_millis(1)),
        ..Script::fine()
    };
    let rig = Rig::over(Scripted::new([Line::Up(slow)]), &limits);
    for _ in 0..3 {
        let all = futures_util::future::join_all((0..4).map(|_| rig.call("stop"))).await;
        assert!(all.iter().all(Result::is_ok));
    }
    assert_eq!((rig.seen().attempts.len(), rig.seen().open), (4, 4));
    // Idle ones end, and so does who watches them.
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert_eq!(rig.seen().open, 0);
    assert_eq!(tasks().await, 0);
    // The last one that came back goes first.
    assert!(rig.call("stop").await.is_ok());
    assert!(rig.call("stop").await.is_ok());
    assert_eq!(rig.seen().attempts.len(), 5);
    // Whatever is idle ends with the pool.
    let network = Arc::clone(&rig.network);
    drop(rig);
    assert_eq!((network.seen().open, tasks().await), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_calls_and_look_ups_that_were_given_up() {
    let network = Scripted::new([Line::Up(Script::silent())]);
    network.looks_up([Lookup::Finds(&[VENDOR]), Lookup::Never]);
    let rig = Rig::over(Arc::clone(&network), &Limits::default());
    let given_up = tokio::time::timeout(Duration::from_millis(10), rig.call("stop")).await;
    assert!(given_up.is_err() && network.requests() == 1);
    assert_eq!(network.seen().open, 0, "it is closed with its call");
    tokio::time::advance(Duration::from_secs(60)).await;
    let given_up = tokio::time::timeout(Duration::from_millis(10), rig.call("stop")).await;
    assert!(given_up.is_err() && network.seen().lookups.len() == 2);
    drop(rig);
    assert_eq!(tasks().await, 0);
}

#[tokio::test(start_paused = true)]
async fn told_to_close() {
    let says = [answer("200 OK", "connection: close\r\n", "{}"), answer("200 OK", "", "{}")];
    let polite = Script::says(says.clone());
    let closes = Script {
        end: End::ClosedAfter(0),
        ..Script::says([says[0].clone()])
    };
    let old = Script::says(["HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}"]);
    for script in [polite, closes, old] {
        let rig = Rig::new([Line::Up(script), Line::Up(Script::fine())]);
        assert_eq!(short(&rig.call("stop").await), "200");
        assert_eq!(rig.seen().open, 0);
        assert_eq!(short(&rig.call("stop").await), "200");
        assert_eq!((rig.network.requests(), rig.seen().attempts.len()), (2, 2));
    }
}

/// The tasks of the runtime that are alive, once all that is ready has run.
async fn tasks() -> usize {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
