//! The rules of a session, under a clock that stands still.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::*;

/// A vendor's login that follows a script; the last line serves all that follow. Each login takes a second.
#[derive(Clone)]
struct Door {
    logins: Arc<AtomicUsize>,
    script: Arc<Vec<Line>>,
}

#[derive(Clone, Copy)]
enum Line {
    Lives(u64),
    Down,
    Bad,
}

const LOGIN_TAKES: Duration = Duration::from_secs(1);

fn door(script: &[Line]) -> (Session, Door) {
    let door = Door {
        logins: Arc::default(),
        script: Arc::new(script.to_vec()),
    };
    let inner = door.clone();
    let log_in: LogIn = Arc::new(move || {
        let at = inner.logins.fetch_add(1, Ordering::SeqCst);
        let line = *inner.script.get(at).or(inner.script.last()).unwrap();
        Box::pin(async move {
            tokio::time::sleep(LOGIN_TAKES).await;
            let error = |reason| GatewayError::new(reason, "as the script says");
            match line {
                Line::Lives(seconds) => Ok(Grant {
                    token: SecretString::from(format!("token-{at}")),
                    value: HeaderValue::from_str(&format!("token-{at}")).unwrap(),
                    life: Duration::from_secs(seconds),
                }),
                Line::Down => Err(Refusal::Failed(error(Reason::VendorUnavailable))),
                Line::Bad => Err(Refusal::Rejected(error(Reason::VendorAuth))),
            }
        })
    });
    (Session::new("cheese", Duration::from_secs(60), log_in, 0), door)
}

impl Door {
    fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

async fn serial(session: &Session) -> Result<u64, Reason> {
    session.token(soon()).await.map(|token| token.serial).map_err(|error| error.reason)
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_wait_for_one_login() {
    let (session, door) = door(&[Line::Lives(3600)]);
    let all = (0..1000).map(|_| serial(&session));
    assert!(join_all(all).await.iter().all(|serial| *serial == Ok(1)));
    assert_eq!(door.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_share_one_failure() {
    let (session, door) = door(&[Line::Down, Line::Lives(3600)]);
    let all = join_all((0..1000).map(|_| serial(&session))).await;
    assert!(all.iter().all(|result| *result == Err(Reason::VendorUnavailable)));
    // Those who come at once do not try again, and are told when to.
    let error = session.token(soon()).await.unwrap_err();
    assert!(error.retry_after.is_some_and(|after| after <= FIRST_PAUSE), "{error:?}");
    assert_eq!(door.logins(), 1);
    pass(1).await;
    assert_eq!(serial(&session).await, Ok(1));
    assert_eq!(door.logins(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_are_told_expired_cause_one_login() {
    let (session, door) = door(&[Line::Lives(3600)]);
    assert_eq!(serial(&session).await, Ok(1));
    let renewed = join_all((0..1000).map(|_| session.renewed(1, soon()))).await;
    assert!(renewed.into_iter().all(|token| token.unwrap().unwrap().serial == 2));
    // Who finds out later uses the new one.
    assert_eq!(session.renewed(1, soon()).await.unwrap().unwrap().serial, 2);
    assert_eq!(door.logins(), 2);
}

#[tokio::test(start_paused = true)]
async fn renewal_is_in_the_background_from_80_percent_on() {
    let (session, door) = door(&[Line::Lives(1000)]);
    assert_eq!(serial(&session).await, Ok(1));
    pass(790).await;
    assert_eq!(serial(&session).await, Ok(1));
    pass(0).await;
    assert_eq!(door.logins(), 1, "not before");
    pass(70).await;
    let begun = Instant::now();
    assert_eq!(serial(&session).await, Ok(1), "the old one serves meanwhile");
    assert_eq!(serial(&session).await, Ok(1));
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits");
    pass(2).await;
    assert_eq!(serial(&session).await, Ok(2));
    assert_eq!(door.logins(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_old_token_serves_to_its_end_while_the_identity_service_is_down() {
    let (session, door) = door(&[Line::Lives(1000), Line::Down]);
    assert_eq!(serial(&session).await, Ok(1));
    pass(900).await;
    for _ in 0..90 {
        assert_eq!(serial(&session).await, Ok(1));
        pass(1).await;
    }
    let tries = door.logins();
    assert!((5..40).contains(&tries), "with pauses that grow: {tries}");
    pass(20).await;
    assert_eq!(serial(&session).await, Err(Reason::VendorUnavailable));
}

#[tokio::test(start_paused = true)]
async fn a_bad_secret_is_remembered() {
    let (session, door) = door(&[Line::Bad, Line::Lives(3600)]);
    for _ in 0..10 {
        assert_eq!(serial(&session).await, Err(Reason::VendorAuth));
    }
    pass(50).await;
    assert_eq!(serial(&session).await, Err(Reason::VendorAuth));
    assert_eq!(door.logins(), 1);
    pass(11).await;
    assert_eq!(serial(&session).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_bad_secret_does_not_take_a_good_token_away() {
    let (session, door) = door(&[Line::Lives(1000), Line::Bad]);
    assert_eq!(serial(&session).await, Ok(1));
    pass(900).await;
    assert_eq!(serial(&session).await, Ok(1));
    pass(2).await;
    assert_eq!(serial(&session).await, Ok(1));
    assert_eq!(door.logins(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_did_not_help_is_not_repeated_for_a_while() {
    let (session, door) = door(&[Line::Lives(3600)]);
    assert_eq!(serial(&session).await, Ok(1));
    let fresh = session.renewed(1, soon()).await.unwrap().unwrap();
    session.did_not_help(fresh.serial);
    assert!(session.renewed(fresh.serial, soon()).await.unwrap().is_none());
    assert_eq!(door.logins(), 2);
    pass(61).await;
    assert_eq!(session.renewed(fresh.serial, soon()).await.unwrap().unwrap().serial, 3);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_gives_up_does_not_end_the_login() {
    let (session, door) = door(&[Line::Lives(3600)]);
    let hurried = session.token(Instant::now() + Duration::from_millis(500)).await;
    assert_eq!(hurried.unwrap_err().reason, Reason::DeadlineExceeded);
    drop(tokio::time::timeout(Duration::from_millis(100), session.token(soon())).await);
    pass(1).await;
    assert_eq!(serial(&session).await, Ok(1));
    assert_eq!(door.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_gives_its_last_token_and_begins_no_login() {
    let (session, door) = door(&[Line::Lives(3600)]);
    let (waiting, last) = tokio::join!(serial(&session), session.close(soon()));
    assert_eq!(last.unwrap().serial, 1, "the login in flight is waited for: its session exists");
    assert_eq!(waiting, Ok(1));
    assert_eq!(serial(&session).await, Err(Reason::VendorUnavailable));
    assert_eq!(door.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_breaks_is_begun_anew() {
    let logins = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&logins);
    let log_in: LogIn = Arc::new(move || {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            assert!(!first, "the first one breaks");
            Ok(Grant {
                token: SecretString::from("t"),
                value: HeaderValue::from_static("t"),
                life: Duration::from_secs(60),
            })
        })
    });
    let session = Session::new("cheese", Duration::from_secs(60), log_in, 0);
    assert_eq!(serial(&session).await, Err(Reason::VendorUnavailable));
    assert_eq!(serial(&session).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn nothing_prints_a_token() {
    let (session, _) = door(&[Line::Lives(3600)]);
    let token = session.token(soon()).await.unwrap();
    assert!(!format!("{session:?} {token:?}").contains("token-"));
}

#[test]
fn logins_are_counted() {
    let recorder = metrics::recorder().unwrap();
    let recorded = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    ::metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let (session, _) = door(&[Line::Down, Line::Bad, Line::Lives(3600)]);
            for _ in 0..3 {
                let _told = serial(&session).await;
                pass(100).await;
            }
        });
    });
    let text = recorded.render();
    for result in ["failed", "rejected", "ok"] {
        let line = format!(r#"taskgate_logins_total{{credential="cheese",result="{result}"}} 1"#);
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}
