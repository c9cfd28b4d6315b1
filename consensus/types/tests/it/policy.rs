//! Which parameters of a policy a change may touch.

use lucid_types::codec::{Wire, encode};
use lucid_types::policy::{FixedPolicy, Policy};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A policy's parameters by their keys; those of the weights by `weights.` and theirs.
fn parameters(policy: &Policy) -> Vec<(String, Value)> {
    let Value::Object(all) = serde_json::to_value(policy).unwrap() else { unreachable!() };
    let flat = |(key, value)| match value {
        Value::Object(weights) => weights.into_iter().map(|(name, value)| (format!("{key}.{name}"), value)).collect(),
        value => vec![(key, value)],
    };
    all.into_iter().flat_map(flat).collect()
}

/// The policy with another value of one parameter.
fn with(policy: &Policy, key: &str, value: Value) -> Result<Policy, serde_json::Error> {
    let mut all = serde_json::to_value(policy).unwrap();
    let (table, key): (&mut Map<_, _>, _) = match key.split_once('.') {
        Some((table, key)) => (all[table].as_object_mut().unwrap(), key),
        None => (all.as_object_mut().unwrap(), key),
    };
    table.insert(key.into(), value);
    serde_json::from_value(all)
}

fn is_fixed(key: &str) -> bool {
    FixedPolicy::KEYS.contains(&key)
}

#[test]
fn each_parameter_either_is_fixed_and_refused_by_name_or_can_change() {
    let policy = Policy::default();
    let (mut fixed, mut hashes) = (0, vec![policy.hash()]);
    for (key, value) in parameters(&policy) {
        let other = match value {
            Value::Bool(is) => json!(!is),
            Value::Null => json!(7),
            number => json!(number.as_u64().unwrap() + 1),
        };
        let other = with(&policy, &key, other).unwrap();
        assert_eq!(policy.fixed_difference(&other), is_fixed(&key).then_some(key.as_str()));
        assert_eq!(other.fixed_difference(&policy), is_fixed(&key).then_some(key.as_str()));
        fixed += usize::from(is_fixed(&key));
        hashes.push(other.hash());
    }
    assert_eq!(fixed, FixedPolicy::KEYS.len(), "every fixed key is a policy's");
    assert_eq!(policy.fixed_difference(&policy), None);
    // Of several it is the first.
    let two = with(&with(&policy, "seats", json!(4)).unwrap(), "epoch_ms", json!(5_000)).unwrap();
    assert_eq!(policy.fixed_difference(&two), Some("epoch_ms"));
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), parameters(&policy).len() + 1, "each parameter counts in the hash");
}

#[test]
fn the_greatest_policy_fits() {
    let longest = Policy { last_settlement: Some(u64::MAX), ..Policy::default() };
    assert!(encode(&longest).len() <= Policy::MAX_BYTES, "{} bytes", encode(&longest).len());
}

/// Other bounds that a parameter stands in.
fn named_with(key: &str) -> &'static [&'static str] {
    match key {
        "echo_min_bytes" => &["echo_max_bytes"],
        "echo_max_bytes" => &["echo_epoch_bytes", "credits of a bucket"],
        "echo_bytes_per_credit" | "storage_credits_per_gib" | "storage_credits_per_chunk" => &["credits of a bucket"],
        "storage_max_bytes" => &["credits of a bucket", "storage_max_bytes / (seats * 2^20)"],
        "max_scored" => &["max_scored * (93 + 6 * seats)"],
        key if key.starts_with("weights.") => &["weights sum to"],
        _ => &[],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever one parameter that can change becomes, the check passes or names it.
    #[test]
    fn a_change_is_possible_or_what_is_wrong_is_named(
        at in any::<prop::sample::Index>(),
        value in prop_oneof![any::<u32>().prop_map(u64::from), any::<u64>(), (0u32..40).prop_map(|bits| 1 << bits), 0u64..5],
        is_public in any::<bool>(),
    ) {
        let local = Policy::local(std::time::Duration::from_secs(5), 2, None);
        let policy = if is_public { Policy::default() } else { local };
        let changeable: Vec<_> = parameters(&policy).into_iter().filter(|(key, _)| !is_fixed(key)).collect();
        let (key, before) = &changeable[at.index(changeable.len())];
        let value = if before.is_boolean() { json!(value % 2 == 0) } else { json!(value) };
        // A value that its type does not hold is no policy.
        if let Ok(next) = with(&policy, key, value) {
            prop_assert_eq!(policy.fixed_difference(&next), None);
            if let Err(error) = next.check() {
                let told = error.to_string();
                let is_named = told.contains(key.as_str()) || named_with(key).iter().any(|name| told.contains(name));
                prop_assert!(is_named, "{key}: {told}");
            }
        }
    }
}
