//! What `JsonFormat.merge` takes and refuses, with its words.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::super::message::Message;
use super::super::schema;
use super::read;

const OWNER: &str = "41a614f803b6fd780986a42c78ec9c7f77e6ded13c";

fn transfer(text: &str) -> Message {
    read(text, &schema::TRANSFER, false, false).unwrap()
}

fn refused(text: &str, visible: bool) -> String {
    read(text, &schema::TRANSFER, visible, false).unwrap_err().to_string()
}

#[test]
fn a_message_is_read_with_what_it_does_not_know() {
    let text = format!(
        r#"{{"owner_address": "{OWNER}", "new": {{"a": [1, "b", null], "c": {{"d": true}}}}, "amount": 7,
            "to_address": ["{OWNER}"], "note": "\u00e9\n"}}"#
    );
    let message = transfer(&text);
    assert_eq!(hex::encode(message.bytes("owner_address")), OWNER);
    assert_eq!(message.bytes("owner_address"), message.bytes("to_address"));
    assert_eq!(message.int("amount"), 7);
    assert_eq!(Message::decode(&schema::TRANSFER, &message.encode()), Ok(message));
}

#[test]
fn numbers_are_javas() {
    for (text, value) in [("0", 0), ("-5", -5), ("--5", 5), ("9223372036854775807", i64::MAX), ("null", 0)] {
        assert_eq!(transfer(&format!(r#"{{"amount": {text}}}"#)).int("amount"), value);
    }
    let unknown = r#"{"x": --170141183460469231731687303715884105728}"#;
    assert!(refused(unknown, false).contains("Number out of range"), "in a field that the message does not have");
    let class = "class org.tron.core.services.http.JsonFormat$ParseException : ";
    for (text, why) in [
        (r#""7""#, r#"For input string: ""7"""#),
        ("1.5", r#"For input string: "1.5""#),
        ("1e3", r#"For input string: "1e3""#),
        ("9223372036854775808", "Number out of range for 64-bit signed integer: 9223372036854775808"),
        (
            "--170141183460469231731687303715884105728",
            "Number out of range for 64-bit signed integer: --170141183460469231731687303715884105728",
        ),
        (
            "-340282366920938463463374607431768211456",
            "Number out of range for 64-bit signed integer: -340282366920938463463374607431768211456",
        ),
    ] {
        let said = refused(&format!(r#"{{"amount": {text}}}"#), false);
        assert_eq!(said, format!("{class}1:12: Couldn't parse integer: {why}"));
    }
}

#[test]
fn refusals_say_where() {
    let format = |at: &str| format!("class org.tron.core.services.http.JsonFormat$ParseException : {at}");
    assert_eq!(refused("", false), format("1:1: Expected \"{\"."));
    assert_eq!(refused("{\n  \"owner_address\": \"zz\"}", false), format("2:20: INVALID hex String"));
    assert_eq!(refused(r#"{"owner_address": 5}"#, false), format("1:19: Expected string."));
    assert_eq!(refused(r#"{"owner_address": {}}"#, false), format("1:19: Expected string."));
    assert_eq!(
        refused(r#"{"owner_address": "T0"}"#, true),
        format("1:19: INVALID base58 String, Illegal character 0 at 1")
    );
    assert_eq!(refused(r#"{"a-b": 1}"#, false), format("1:2: Expected identifier. --"));
    assert_eq!(refused(r#"{"a": {}}"#, false), format("1:8: Expected identifier. -}"));
    assert_eq!(refused(r#"{"a": 1.5}"#, false), format(r#"1:7: Couldn't parse integer: For input string: "1.5""#));
    assert_eq!(refused(r#"{"a": "\/"}"#, false), format(r"1:7: Invalid escape sequence: '\/'"));
    let wrong_checksum = r#"{"owner_address": "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u"}"#;
    assert_eq!(refused(wrong_checksum, true), "class java.lang.NullPointerException : null");
}

#[test]
fn enums_have_names_and_numbers() {
    let kind = |value: &str| {
        let text = format!(r#"{{"entrys": [{{"type": {value}}}]}}"#);
        read(&text, &schema::ABI, false, false).map(|abi| abi.messages("entrys").next().unwrap().int("type"))
    };
    assert_eq!(kind(r#""function""#), Ok(2));
    assert_eq!(kind(r#""Function""#), Ok(2));
    assert_eq!(kind("2"), Ok(2));
    let named = kind(r#""nothing""#).unwrap_err().message;
    assert!(
        named.ends_with("Enum type \"protocol.SmartContract.ABI.Entry.EntryType\" has no value named \"Nothing\".")
    );
    assert!(kind("9").unwrap_err().message.ends_with("has no value with number 9."));
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    let text = format!("{{\"a\": {}", "[".repeat(1_000_000));
    assert!(refused(&text, false).contains("too many levels"));
}
