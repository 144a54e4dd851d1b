//! Tokens and keys: what goes round, what is refused, and what tells nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::*;

/// Keys of a configuration; each letter is another key.
fn keys(letters: &str) -> OperationKeys {
    let each: Vec<String> = letters.chars().map(written).collect();
    OperationKeys::parse(&SecretString::from(each.join(","))).unwrap()
}

impl OperationKeys {
    /// The token of an operation that is accepted now.
    fn sealed(&self, operation: Accepted<'_>) -> Result<String, TooLong> {
        self.seal("", operation, operation.accepted_at)
    }
}

fn written(letter: char) -> String {
    let key = format!("made-up-key-that-opens-nothing-{letter}");
    assert_eq!(key.len(), KEY_BYTES);
    BASE64_STANDARD.encode(key)
}

fn now() -> Timestamp {
    "2026-11-21T15:00:00Z".parse().unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn operation() -> Operation {
    let (accepted_at, expires_at) = Operation::times(now(), DEFAULT_LIFETIME);
    Operation {
        provider: "acme".to_owned(),
        id: "15".to_owned(),
        action: "stop".to_owned(),
        job: Some("f3b1".to_owned()),
        body: object(json!({ "scope": { "instance": "i-1" }, "force": true, "parameters": { "tags": ["a"] } })),
        vendor_status: 202,
        accepted_at,
        expires_at,
    }
}

prop_compose! {
    fn operations()(
        texts in prop::array::uniform3("\\PC{0,64}"),
        job in proptest::option::of("\\PC{0,64}"),
        scope in prop::collection::btree_map("[a-z_]{1,12}", "\\PC{0,24}", 0..5),
        vendor_status in 100_u16..600,
        accepted in 0_i64..4_000_000_000,
        lifetime in 0_u32..=u32::MAX,
    ) -> Operation {
        let accepted_at = Timestamp::from_second(accepted).unwrap();
        let [provider, id, action] = texts;
        Operation {
            provider, id, action, job, vendor_status, accepted_at,
            body: object(json!({ "scope": scope })),
            expires_at: accepted_at + SignedDuration::from_secs(lifetime.into()),
        }
    }
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened_by_every_instance_with_the_key(operation in operations()) {
        let token = keys("a").sealed(operation.accepted());
        prop_assume!(token.is_ok());
        let token = token.unwrap();
        prop_assert!(token.len() <= MAX_TOKEN_CHARS);
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        let early = operation.accepted_at - SignedDuration::from_secs(1);
        prop_assert_eq!(keys("a").open(&token, early), Ok(operation).filter_expired(early));
    }

    #[test]
    fn no_other_text_opens_anything(text in "\\PC{0,200}|[A-Za-z0-9_-]{0,400}") {
        prop_assert_eq!(keys("ab").open(&text, now()), Err(OpenError::Unknown));
    }
}

trait FilterExpired {
    fn filter_expired(self, now: Timestamp) -> Self;
}

impl FilterExpired for Result<Operation, OpenError> {
    fn filter_expired(self, now: Timestamp) -> Self {
        self.and_then(|operation| match now < operation.expires_at {
            true => Ok(operation),
            false => Err(OpenError::Expired),
        })
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let keys = keys("ab");
    let token = keys.sealed(operation().accepted()).unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    assert_eq!(keys.open(&token, now()), Ok(operation()));
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let forged = URL_SAFE_NO_PAD.encode(forged);
        assert_eq!(keys.open(&forged, now()), Err(OpenError::Unknown), "bit {bit}");
    }
    for length in 0..bytes.len() {
        let cut = URL_SAFE_NO_PAD.encode(&bytes[..length]);
        assert_eq!(keys.open(&cut, now()), Err(OpenError::Unknown), "{length} bytes");
    }
    // Neither another way to write the same bytes, nor anything behind them.
    for other in [
        format!("{token}="),
        format!("{token}A"),
        format!(" {token}"),
        token.replacen('A', "%41", 1) + "!",
    ] {
        assert_eq!(keys.open(&other, now()), Err(OpenError::Unknown), "{other}");
    }
}

#[test]
fn the_last_character_has_one_way_to_be_written() {
    // With lengths that leave bits over, a lenient decoder would take several last characters for the same bytes.
    let keys = keys("a");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for length in 1..4 {
        let operation = Operation {
            id: "x".repeat(length * 40),
            ..operation()
        };
        let token = keys.sealed(operation.accepted()).unwrap();
        let (front, last) = token.split_at(token.len() - 1);
        let good: Vec<char> = alphabet
            .chars()
            .filter(|other| keys.open(&format!("{front}{other}"), now()).is_ok())
            .collect();
        assert_eq!(good, last.chars().collect::<Vec<_>>());
    }
}

#[test]
fn another_key_opens_nothing_and_rotation_keeps_what_is_out() {
    let token = keys("a").sealed(operation().accepted()).unwrap();
    for (letters, opens) in [("a", true), ("b", false), ("ba", true), ("ab", true), ("bc", false), ("cba", true)] {
        assert_eq!(keys(letters).open(&token, now()).is_ok(), opens, "{letters}");
    }
    // The first seals: an instance that does not know the new key yet opens nothing of it.
    let rotated = keys("ba").sealed(operation().accepted()).unwrap();
    assert_eq!(keys("a").open(&rotated, now()), Err(OpenError::Unknown));
    assert_eq!(keys("b").open(&rotated, now()), Ok(operation()));
    // Nobody else has a random one.
    let alone = OperationKeys::random().unwrap();
    let token = alone.sealed(operation().accepted()).unwrap();
    assert_eq!(alone.open(&token, now()), Ok(operation()));
    assert_eq!(OperationKeys::random().unwrap().open(&token, now()), Err(OpenError::Unknown));
}

#[test]
fn a_token_ends_with_its_time() {
    let keys = keys("a");
    let token = keys.sealed(operation().accepted()).unwrap();
    let end = operation().expires_at;
    assert_eq!(end.duration_since(operation().accepted_at), DEFAULT_LIFETIME);
    for (at, expected) in [
        (end - SignedDuration::from_nanos(1), Ok(operation())),
        (end, Err(OpenError::Expired)),
        (end + SignedDuration::from_hours(1), Err(OpenError::Expired)),
    ] {
        assert_eq!(keys.open(&token, at), expected, "{at}");
    }
    // A forged one is unknown, expired or not: who has no key learns nothing of times.
    let mut forged = URL_SAFE_NO_PAD.decode(&token).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    let forged = URL_SAFE_NO_PAD.encode(forged);
    assert_eq!(keys.open(&forged, end), Err(OpenError::Unknown));
    let (expired, unknown) = (OpenError::Expired.into_gateway_error(), OpenError::Unknown.into_gateway_error());
    assert_eq!(
        (expired.reason, unknown.reason),
        (Reason::OperationNotFound, Reason::OperationNotFound)
    );
    assert!(unknown.metadata.is_empty());
}

#[test]
fn a_token_tells_nothing() {
    let keys = keys("a");
    let (one, same) = (
        keys.sealed(operation().accepted()).unwrap(),
        keys.sealed(operation().accepted()).unwrap(),
    );
    // The version and the id of the key are all that two of them share.
    let [one_bytes, same_bytes] = [&one, &same].map(|token| URL_SAFE_NO_PAD.decode(token).unwrap());
    assert_eq!(one_bytes[..5], same_bytes[..5]);
    let alike = one_bytes[5..].iter().zip(&same_bytes[5..]).filter(|(a, b)| a == b).count();
    assert!(alike < 16, "{alike} bytes behind the key id are the same");
    for readable in ["acme", "stop", "f3b1", "i-1", "made-up-key"] {
        assert!(!String::from_utf8_lossy(&one_bytes).contains(readable), "{readable}");
    }
    // Tasks with longer ids have tokens of the same length.
    let other = Operation {
        id: "1234567".to_owned(),
        ..operation()
    };
    assert_eq!(keys.sealed(other.accepted()).unwrap().len(), one.len());
    assert!(!format!("{keys:?}").contains("made-up-key"));
}

#[test]
fn reasons_and_unknown_members_do_not_travel() {
    let keys = keys("a");
    let said = Operation {
        body: object(json!({ "scope": {}, "reason": "INC-4711", "token": "that-opens-nothing" })),
        ..operation()
    };
    let opened = keys.open(&keys.sealed(said.accepted()).unwrap(), now()).unwrap();
    assert_eq!(opened.body, object(json!({ "scope": {} })));
}

#[test]
fn what_does_not_fit_has_no_token() {
    let keys = keys("a");
    let with = |chars: usize| Operation {
        body: object(json!({ "parameters": { "text": "x".repeat(chars) } })),
        ..operation()
    };
    let longest = (0..4096)
        .take_while(|chars| keys.sealed(with(*chars).accepted()).is_ok())
        .last()
        .unwrap();
    assert!(longest > 1000, "{longest}");
    assert!(keys.sealed(with(longest).accepted()).unwrap().len() <= MAX_TOKEN_CHARS);
    assert_eq!(keys.sealed(with(longest + 1).accepted()), Err(TooLong));
    let endless = Operation {
        expires_at: Timestamp::MAX,
        ..operation()
    };
    assert_eq!(keys.sealed(endless.accepted()), Err(TooLong));
}

#[test]
fn keys_that_are_wrong_are_named_by_their_place() {
    let good = written('a');
    let unpadded = good.trim_end_matches('=').to_owned();
    let url_safe = URL_SAFE_NO_PAD.encode([0xfb, 0xff].repeat(16));
    let cases = [
        (String::new(), Err(KeysError::WrongLength { place: 1, bytes: 0 })),
        (good.clone(), Ok(())),
        (unpadded.clone(), Ok(())),
        (url_safe, Ok(())),
        (format!(" {good} ,\n{}", written('b')), Ok(())),
        (format!("{good},"), Err(KeysError::WrongLength { place: 2, bytes: 0 })),
        (format!("{good},{unpadded}"), Err(KeysError::Repeated { place: 2 })),
        (format!("{good},not base64"), Err(KeysError::NotBase64 { place: 2 })),
        (BASE64_STANDARD.encode([7; 31]), Err(KeysError::WrongLength { place: 1, bytes: 31 })),
        (BASE64_STANDARD.encode([0; 32]), Err(KeysError::Weak { place: 1 })),
    ];
    for (text, expected) in cases {
        let parsed = OperationKeys::parse(&SecretString::from(text.clone()));
        assert_eq!(parsed.as_ref().map(drop).map_err(|error| *error), expected, "{text}");
        if let Err(error) = parsed {
            assert!(!error.to_string().contains("bWFkZS"), "{error}");
        }
    }
}
