//! Providers that share endpoint, credentials, fault table and simulator with the provider of their vendor, over real sockets.

use serde_json::{Value, json};
use taskgate::simulate::{DBSS_ENCRYPTION_INSTANCE, DBSS_MAINTENANCE_INSTANCE, HSS_IMAGE_SCAN, ZSTACK_CDP_TASK, ZSTACK_STOPPED_TASK};

use super::answers::Told;
use super::rig::Rig;

/// A call of a sibling, and what it comes to.
struct Row {
    provider: &'static str,
    /// The simulator that plays it.
    vendor: &'static str,
    id: &'static str,
    action: &'static str,
    body: &'static str,
    /// What the vendor gets: method, path behind the project, body.
    sent: (&'static str, &'static str, Value),
    state: &'static str,
    /// What the same call comes to a second time: the word, and the vendor's status and code.
    second: (&'static str, &'static str, &'static str),
    /// How often the vendor has acted after both.
    effects: u64,
    /// An id that the vendor does not know, and what it comes to.
    unknown: (&'static str, (&'static str, &'static str, &'static str)),
}

impl Row {
    /// How often the vendor is looked at before it is asked to act.
    fn looks(&self) -> u64 {
        u64::from(self.action == "retry")
    }

    /// What of the path only the action itself has: a fault at a look is another story.
    fn path(&self) -> &str {
        self.sent.1.rsplit('/').nth(1).unwrap()
    }

    fn task(&self, id: &str) -> String {
        format!("{}/{id}:{}", self.provider, self.action)
    }
}

#[tokio::test]
async fn siblings_do_what_they_are_asked_for_once() {
    let rig = Rig::shipped().await;
    for row in rows() {
        let calls = rig.simulators.calls(row.vendor).unwrap();
        let told = rig.caller.act(&row.task(row.id), row.body).await;
        let document = told.json();
        assert_eq!(told.word(), "202 accepted", "{told:?}");
        assert_eq!(
            [&document["provider"], &document["id"], &document["action"], &document["state"]],
            [row.provider, row.id, row.action, row.state]
        );
        assert_eq!(
            rig.simulators.calls(row.vendor).unwrap(),
            calls + 1 + row.looks(),
            "{}",
            row.provider
        );
        assert_eq!(rig.simulators.effects(row.vendor, row.id).unwrap(), 1, "{}", row.provider);
        let seen = rig.simulators.seen(row.vendor).unwrap().pop().unwrap();
        let (method, path, body) = &row.sent;
        let sent = serde_json::from_slice(&seen.body).unwrap_or(Value::Null);
        assert_eq!((seen.method.as_str(), &sent), (*method, body), "{}", row.provider);
        assert!(seen.target.ends_with(path), "{}", seen.target);
    }
    rig.stop().await;
}

/// What a call comes to: the word, and what the vendor itself said.
#[track_caller]
fn check(told: &Told, expected: (&str, &str, &str)) {
    let found = (told.word(), told.text("/vendor/status"), told.text("/vendor/code"));
    assert_eq!((found.0.as_str(), found.1.as_str(), found.2.as_str()), expected, "{told:?}");
}

#[tokio::test]
async fn a_second_time_and_an_unknown_id_are_told_as_the_vendor_tells_it() {
    let rig = Rig::shipped().await;
    for row in rows() {
        let (id, unknown) = row.unknown;
        check(&rig.caller.act(&row.task(id), row.body).await, unknown);
        rig.caller.act(&row.task(row.id), row.body).await;
        check(&rig.caller.act(&row.task(row.id), row.body).await, row.second);
        assert_eq!(rig.simulators.effects(row.vendor, row.id).unwrap(), row.effects, "{}", row.provider);
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_breaks_on_the_way_is_told_as_for_any_provider() {
    let rig = Rig::unhindered().await;
    for row in rows() {
        for (fault, expected) in [
            ("reset", "502 VENDOR_CONNECTION_LOST"),
            ("html", "502 BAD_VENDOR_RESPONSE"),
            ("status:429,body=empty", "503 VENDOR_RATE_LIMITED"),
        ] {
            rig.simulators.reset();
            let at = if row.looks() > 0 {
                format!(",path={}", row.path())
            } else {
                String::new()
            };
            rig.simulators
                .set_fault(row.vendor, format!("{fault}{at}").parse().unwrap())
                .unwrap();
            let told = rig.caller.act(&row.task(row.id), row.body).await;
            assert_eq!(told.word(), expected, "{} {fault}", row.provider);
            assert_eq!(
                rig.simulators.calls(row.vendor).unwrap(),
                1 + row.looks(),
                "{} {fault}: nothing is sent twice",
                row.provider
            );
            let effects = rig.simulators.effects(row.vendor, row.id).unwrap();
            let outcome = told.text("/outcome");
            assert!(
                outcome == "unknown" || effects == 0,
                "{} {fault}: {outcome}, {effects} effects",
                row.provider
            );
        }
        rig.simulators.clear_fault(row.vendor).unwrap();
        rig.simulators.reset();
        assert_eq!(rig.caller.act(&row.task(row.id), row.body).await.word(), "202 accepted");
    }
    rig.stop().await;
}

const UUID: &str = "00000000-0000-0000-0000-000000000000";
const HEX: &str = "00000000000000000000000000000000";

fn rows() -> [Row; 5] {
    let failed = ("502 ACTION_FAILED", "400", "DBSS.10020131");
    let unknown = (UUID, ("404 TASK_NOT_FOUND", "400", "DBSS.10020021"));
    // Each call is a job of its own there, and a job succeeds for what is not there.
    let job = ("202 accepted", "202", "");
    [
        Row {
            provider: "dbss-encrypt",
            vendor: "dbss",
            id: DBSS_ENCRYPTION_INSTANCE,
            action: "stop",
            body: "",
            sent: ("POST", "/db-encrypt/2e18a717-93e3-452d-a16d-eddb58f291c7/stop", Value::Null),
            state: "stopping",
            second: failed,
            effects: 1,
            unknown,
        },
        Row {
            provider: "dbss-om",
            vendor: "dbss",
            id: DBSS_MAINTENANCE_INSTANCE,
            action: "stop",
            body: "",
            sent: ("POST", "/db-om/3f29b828-a4f4-4631-b27e-feec690a32d8/stop", Value::Null),
            state: "stopping",
            second: failed,
            effects: 1,
            unknown,
        },
        Row {
            provider: "hss-image",
            vendor: "hss",
            id: HSS_IMAGE_SCAN,
            action: "stop",
            body: "",
            sent: (
                "PUT",
                "/image/image-scan/tasks/c3c5fac1-6be8-4d4d-8a3f-4e1f2b8d7f21/stop",
                Value::Null,
            ),
            state: "stopping",
            second: ("409 TASK_STATE_CONFLICT", "400", "HSS.1006"),
            effects: 1,
            unknown: (UUID, ("404 TASK_NOT_FOUND", "400", "HSS.0011")),
        },
        Row {
            provider: "zstack",
            vendor: "zstack",
            id: ZSTACK_STOPPED_TASK,
            action: "retry",
            body: r#"{"parameters":{"bitmap_name":"again"}}"#,
            sent: (
                "POST",
                "/zstack/v1/cbt-task/enable/6dbad26b61d64a1ebd46ab75952e8c3c",
                json!({ "params": { "bitmapName": "again" } }),
            ),
            state: "pending",
            second: job,
            // The second job fails, since the task is on its way, and only a look at the job shows it.
            effects: 1,
            unknown: (HEX, ("404 TASK_NOT_FOUND", "200", "null")),
        },
        Row {
            provider: "zstack-cdp",
            vendor: "zstack",
            id: ZSTACK_CDP_TASK,
            action: "stop",
            body: r#"{"force":true}"#,
            sent: (
                "POST",
                "/zstack/v1/cdp-task/disable/7ecbe37c72e75b2fce57bc86a63f9d4d",
                json!({ "params": { "force": true } }),
            ),
            state: "stopping",
            second: job,
            // Stopping what has stopped succeeds there.
            effects: 2,
            unknown: (HEX, job),
        },
    ]
}
