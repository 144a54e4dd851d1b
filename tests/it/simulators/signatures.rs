//! Signed requests: those that pass, those that do not and what they are told, and the key that is locked for a while.

use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use taskgate::simulate::{
    CFW_FIREWALL, HUAWEI_ACCESS_KEY, HUAWEI_PROJECT_ID, HUAWEI_SECRET_KEY, HUAWEI_SECURITY_TOKEN, HUAWEI_TEMPORARY_ACCESS_KEY,
    HUAWEI_TEMPORARY_SECRET_KEY, Simulators, ZSTACK_ACCESS_KEY_ID, ZSTACK_ACCESS_KEY_SECRET, ZSTACK_TASK,
};

use super::client::{ask, simulators};

/// One request to the list of captures, signed or nearly so.
#[derive(Clone)]
struct Attempt {
    key: &'static str,
    secret: &'static str,
    date: String,
    project: Option<&'static str>,
    security_token: Option<&'static str>,
    signs_the_date: bool,
}

impl Attempt {
    fn right() -> Self {
        Self {
            key: HUAWEI_ACCESS_KEY,
            secret: HUAWEI_SECRET_KEY,
            date: Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string(),
            project: Some(HUAWEI_PROJECT_ID),
            security_token: None,
            signs_the_date: true,
        }
    }

    fn wrong() -> Self {
        Self {
            secret: "another",
            ..Self::right()
        }
    }

    fn headers(&self, path: &str, query: &str) -> String {
        let mut headers = vec![("host", "vendor.test")];
        headers.extend(self.project.map(|project| ("x-project-id", project)));
        if self.signs_the_date {
            headers.push(("x-sdk-date", &self.date));
        }
        headers.extend(self.security_token.map(|token| ("x-security-token", token)));
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let body = hex(digest::digest(&digest::SHA256, b"").as_ref());
        let canonical = format!("GET\n{path}/\n{query}\n{lines}\n{names}\n{body}");
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("SDK-HMAC-SHA256\n{}\n{hash}", self.date);
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
        let mut sent: String = headers
            .iter()
            .filter(|(name, _)| *name != "host" && *name != "x-sdk-date")
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        sent.push_str(&format!("X-Sdk-Date: {}\r\n", self.date));
        sent.push_str(&format!(
            "Authorization: SDK-HMAC-SHA256 Access={}, SignedHeaders={names}, Signature={signature}\r\n",
            self.key
        ));
        sent
    }

    /// The status, and what was said beside the usual words.
    async fn send(&self, simulators: &Simulators) -> String {
        let path = format!("/v1/{HUAWEI_PROJECT_ID}/capture-task");
        let query = format!("fw_instance_id={CFW_FIREWALL}&limit=10&offset=0");
        let target = format!("{path}?{query}");
        let reply = ask(simulators, "cfw", ("GET", &target, &self.headers(&path, &query), "")).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let text = body.get("error_msg").and_then(Value::as_str).unwrap_or_default();
        let text = text.trim_start_matches("Incorrect IAM authentication information: ");
        format!("{} {text}", reply.status).trim_end().to_owned()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn check(found: &str, expected: &str) {
    assert!(found.starts_with(expected), "expected {expected}, found {found}");
}

#[tokio::test]
async fn a_signature_passes_with_its_project_and_its_token() {
    let simulators = simulators().await;
    let right = Attempt::right();
    let temporary = Attempt {
        key: HUAWEI_TEMPORARY_ACCESS_KEY,
        secret: HUAWEI_TEMPORARY_SECRET_KEY,
        ..right.clone()
    };
    let old = (Timestamp::now() - jiff::SignedDuration::from_mins(16))
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string();
    let expired = "401 calc aksk signature fail:signature expired, signature time:";
    for (attempt, expected) in [
        (right.clone(), "200".to_owned()),
        (
            Attempt {
                project: None,
                ..right.clone()
            },
            "403 The project is unavailable".to_owned(),
        ),
        (
            Attempt {
                project: Some("other"),
                ..right.clone()
            },
            "403 The project is unavailable".to_owned(),
        ),
        (
            Attempt {
                key: "AK1",
                ..right.clone()
            },
            "401 ak AK1 not exist".to_owned(),
        ),
        (
            Attempt {
                date: old.clone(),
                ..right.clone()
            },
            format!("{expired}{old},server time:2"),
        ),
        (
            Attempt {
                date: "now".into(),
                ..right.clone()
            },
            format!("{expired}now,server time:2"),
        ),
        (
            Attempt {
                signs_the_date: false,
                ..right.clone()
            },
            expired.to_owned(),
        ),
        (temporary.clone(), "401 Get secretKey failed".to_owned()),
        (
            Attempt {
                security_token: Some("x"),
                ..right
            },
            "401 Get secretKey failed".to_owned(),
        ),
        (
            Attempt {
                security_token: Some(HUAWEI_SECURITY_TOKEN),
                ..temporary
            },
            "200".to_owned(),
        ),
        (
            Attempt::wrong(),
            format!("401 verify aksk signature fail, canonicalRequest:GET|/v1/{HUAWEI_PROJECT_ID}/capture-task/|fw_instance_id="),
        ),
    ] {
        check(&attempt.send(&simulators).await, &expected);
    }
    simulators.shutdown().await;
}

#[tokio::test]
async fn six_wrong_signatures_lock_the_key_for_five_minutes() {
    let simulators = simulators().await;
    let send = |attempt: Attempt| {
        let simulators = &simulators;
        async move { attempt.send(simulators).await }
    };
    // A right one in between starts the count again.
    for _ in 0..5 {
        check(&send(Attempt::wrong()).await, "401 verify aksk");
    }
    check(&send(Attempt::right()).await, "200");
    for _ in 0..6 {
        check(&send(Attempt::wrong()).await, "401 verify aksk");
    }
    check(&send(Attempt::right()).await, "401 AK access failed to reach the limit, forbidden");
    let logins = simulators.logins("dbss").unwrap();
    let key = logins.pointer(&format!("/access_keys/{HUAWEI_ACCESS_KEY}")).unwrap();
    assert_eq!(key.get("wrong_in_a_row"), Some(&json!(6)));
    let left = key.get("locked_for_seconds").unwrap().as_i64().unwrap();
    assert!((200..=300).contains(&left), "{left}");
    // Five minutes later: the clock of the simulators is ahead, by less than what is tolerated.
    simulators.advance(Duration::from_secs(300));
    check(&send(Attempt::right()).await, "200");
    // A reset unlocks as well.
    for _ in 0..6 {
        send(Attempt::wrong()).await;
    }
    check(&send(Attempt::right()).await, "401 AK access");
    let reset = ask(&simulators, "hss", ("POST", "/_simulator/reset", "", "")).await;
    assert_eq!(reset.status, 204);
    check(&send(Attempt::right()).await, "200");
    simulators.shutdown().await;
}

/// The headers of a request that is signed with the access key of the management node.
fn access_key(method: &str, path: &str, date: &str, id: &str, secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, format!("{method}\n{date}\n{path}").as_bytes()));
    format!("Date: {date}\r\nAuthorization: ZStack {id}:{signature}\r\n")
}

#[tokio::test]
async fn an_access_key_signs_the_servers_time_on_the_wall() {
    let simulators = simulators().await;
    let date = |zone: &str, name: &str| {
        let moment = Timestamp::now().to_zoned(TimeZone::get(zone).unwrap());
        format!("{} {name}", moment.strftime("%a, %d %b %Y %H:%M:%S"))
    };
    let path = format!("/v1/cbt-task/{ZSTACK_TASK}");
    let target = format!("/zstack{path}?x=1");
    let (id, secret) = (ZSTACK_ACCESS_KEY_ID, ZSTACK_ACCESS_KEY_SECRET);
    let right = date("Asia/Shanghai", "Asia/Shanghai");
    let yesterday = right.split_at(3);
    let wrong_day = format!("{}{}", if yesterday.0 == "Mon" { "Tue" } else { "Mon" }, yesterday.1);
    for (headers, expected) in [
        (access_key("GET", &path, &right, id, secret), "200 {\"inventories\""),
        // The name of the zone is not read, the digits are.
        (access_key("GET", &path, &date("Asia/Shanghai", "CST"), id, secret), "200 "),
        (
            access_key("GET", &path, &date("UTC", "Asia/Shanghai"), id, secret),
            "403 requestTimeTooSkewed",
        ),
        (access_key("GET", &path, &wrong_day, id, secret), "400 invalid header 'Date'"),
        (access_key("GET", &path, "", id, secret), "400 invalid header 'Date'"),
        (
            access_key("GET", &path, &right, id, "another"),
            "503 {\"error\":{\"code\":\"ID.1001\"",
        ),
        (
            access_key("GET", &path, &right, "another", secret),
            "503 {\"error\":{\"code\":\"ID.1001\"",
        ),
        (
            access_key("GET", &target, &right, id, secret),
            "503 {\"error\":{\"code\":\"ID.1001\"",
        ),
        (
            access_key("POST", &path, &right, id, secret),
            "503 {\"error\":{\"code\":\"ID.1001\"",
        ),
    ] {
        check(&ask(&simulators, "zstack", ("GET", &target, &headers, "")).await.line(), expected);
    }
    simulators.set("zstack", "time_zone", "UTC").unwrap();
    assert_eq!(
        simulators.signature_environment().get("ZSTACK_TIME_ZONE").map(String::as_str),
        Some("UTC")
    );
    let headers = access_key("GET", &path, &date("UTC", "GMT"), id, secret);
    check(&ask(&simulators, "zstack", ("GET", &target, &headers, "")).await.line(), "200 ");
    let stop = format!("/v1/cbt-task/disable/{ZSTACK_TASK}");
    let headers = access_key("POST", &stop, &date("UTC", "GMT"), id, secret);
    check(
        &ask(&simulators, "zstack", ("POST", &format!("/zstack{stop}"), &headers, "{}"))
            .await
            .line(),
        "202 ",
    );
    simulators.shutdown().await;
}
