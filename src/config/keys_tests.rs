//! The keys that the decoder takes are those that editors complete: `schemas/routes.schema.json`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::config::file::{self, Keys};

const SCHEMA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/routes.schema.json"));

#[track_caller]
fn check(pointer: &str, keys: &Keys) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let object = schema.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
    assert_eq!(object["additionalProperties"], Value::Bool(false), "{pointer}");
    let properties: BTreeSet<&str> = object["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(properties, keys.all().collect(), "{pointer}");
    let required: BTreeSet<&str> = object["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let shared = schema
        .pointer("/$defs/credential/required")
        .filter(|_| pointer.starts_with("/$defs/credential/"));
    let shared = shared.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    assert_eq!(
        required.into_iter().chain(shared).collect::<BTreeSet<_>>(),
        keys.required.iter().copied().collect(),
        "{pointer}"
    );
}

#[test]
fn decoder_and_editor_schema_agree() {
    check("", &file::FILE_KEYS);
    check("/$defs/setting", &file::SETTING_KEYS);
    check("/$defs/credentials/then", &file::ONE_OF_KEYS);
    check("/$defs/credential/oneOf/0", &file::NONE_KEYS);
    check("/$defs/credential/oneOf/1", &file::HEADER_KEYS);
    check("/$defs/credential/oneOf/2", &file::BASIC_KEYS);
    check("/$defs/credential/oneOf/3", &file::SESSION_KEYS);
    check("/$defs/credential/oneOf/4", &file::SDK_HMAC_SHA256_KEYS);
    check("/$defs/credential/oneOf/5", &file::DATED_ACCESS_KEY_KEYS);
    check("/$defs/credential/oneOf/6", &file::PASSTHROUGH_KEYS);
    check("/$defs/login", &file::LOGIN_KEYS);
    check("/$defs/answer_test", &file::TEST_KEYS);
    check("/$defs/apply", &file::APPLY_KEYS);
    check("/$defs/fault_table", &file::FAULTS_KEYS);
    check("/$defs/fault_rule", &file::FAULT_RULE_KEYS);
    check("/$defs/fault_table/properties/families/items", &file::FAMILY_KEYS);
    check("/$defs/provider", &file::PROVIDER_KEYS);
    check("/$defs/site", &file::SITE_KEYS);
    check("/$defs/limits", &file::LIMITS_KEYS);
    check("/$defs/call_limits", &file::CALL_LIMITS_KEYS);
    check("/$defs/queue", &file::QUEUE_KEYS);
    check("/$defs/breaker/then", &file::BREAKER_KEYS);
    check("/$defs/quota", &file::QUOTA_KEYS);
    check("/$defs/task", &file::TASK_KEYS);
    check("/$defs/task/properties/reply", &file::TASK_REPLY_KEYS);
    check("/$defs/times", &file::TIMES_KEYS);
    check("/$defs/action/properties/batch", &file::BATCH_KEYS);
    check("/$defs/look", &file::LOOK_KEYS);
    check("/$defs/settles", &file::SETTLES_KEYS);
    check("/$defs/job", &file::JOB_KEYS);
    check("/$defs/tls", &file::TLS_KEYS);
    check("/$defs/tls/properties/client_cert", &file::CLIENT_CERT_KEYS);
    check("/$defs/action", &file::ACTION_KEYS);
    check("/$defs/request", &file::REQUEST_KEYS);
    check("/$defs/reply", &file::REPLY_KEYS);
    check("/$defs/outcome_rule", &file::OUTCOME_KEYS);
    check("/$defs/items", &file::ITEMS_KEYS);
}

#[test]
fn the_keys_of_an_id_agree_with_the_editor_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let properties: BTreeSet<&str> = schema["$defs"]["id"]["properties"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(properties, file::STRING_ID_KEYS.all().chain(file::INTEGER_ID_KEYS.all()).collect());
}
