//! The network's policy: which is in force, which is to come, and how two differ.

use std::collections::BTreeMap;

use lucid_types::id::Hash;
use lucid_types::policy::{FixedPolicy, Policy};
use lucid_types::time::Epoch;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The policy of an epoch. `GET /api/v1/policy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// The epoch that was asked for, or the open one.
    pub epoch: Epoch,
    /// The first epoch in which the policy is in force.
    pub from: Epoch,
    /// By what a change names it.
    pub hash: Hash,
    /// The policy.
    pub policy: Policy,
    /// Those that are decided and come into force after the epoch, in their order.
    pub next: Vec<NextPolicyView>,
    /// That of the genesis.
    pub genesis: Policy,
}

/// A policy that comes into force later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextPolicyView {
    /// The first epoch in which it is in force.
    pub from: Epoch,
    /// By what a change names it.
    pub hash: Hash,
    /// The policy.
    pub policy: Policy,
}

impl PolicyView {
    /// The newest policy, from which a change starts.
    pub fn newest(&self) -> &Policy {
        self.next.last().map_or(&self.policy, |next| &next.policy)
    }
}

/// A parameter that two policies have with different values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceView {
    /// Its key; of a weight `weights.` and its name.
    pub key: String,
    /// Its value in the first.
    pub from: Value,
    /// Its value in the second.
    pub to: Value,
}

/// The parameters of a policy by their keys.
fn parameters(policy: &Policy) -> BTreeMap<String, Value> {
    let Ok(Value::Object(all)) = serde_json::to_value(policy) else { return BTreeMap::new() };
    let flat = |(key, value)| match value {
        Value::Object(parts) => parts.into_iter().map(|(name, value)| (format!("{key}.{name}"), value)).collect(),
        value => vec![(key, value)],
    };
    all.into_iter().flat_map(flat).collect()
}

/// The keys of the parameters that a change may touch.
fn changeable() -> Vec<String> {
    let all = parameters(&Policy::default()).into_keys();
    all.filter(|key| !FixedPolicy::KEYS.contains(&key.as_str())).collect()
}

/// Where the second policy differs from the first, by key.
pub(crate) fn differences(from: &Policy, to: &Policy) -> Vec<DifferenceView> {
    let others = parameters(to);
    let difference = |(key, from): (String, Value)| {
        let to = others.get(&key).cloned().unwrap_or(Value::Null);
        (from != to).then_some(DifferenceView { key, from, to })
    };
    parameters(from).into_iter().filter_map(difference).collect()
}

/// The policy with another value of a parameter.
///
/// # Errors
/// There is no such parameter, no change may touch it, or it takes no such value.
pub(crate) fn with(policy: &Policy, key: &str, value: &str) -> Result<Policy, String> {
    let known = parameters(policy);
    if FixedPolicy::KEYS.contains(&key) {
        return Err(format!("{key} is the genesis' for ever; what can change: {}", changeable().join(", ")));
    }
    let Some(before) = known.get(key) else {
        return Err(format!("a policy has no {key}; what can change: {}", changeable().join(", ")));
    };
    let parsed = match before {
        Value::Bool(_) => value.parse().ok().map(Value::Bool),
        _ => value.replace('_', "").parse::<u64>().ok().map(Value::from),
    };
    let kind = if before.is_boolean() { "true or false" } else { "a whole number" };
    let parsed = parsed.ok_or_else(|| format!("{key} = {value:?}: it is {kind}, {before} so far"))?;
    let mut all = serde_json::to_value(policy).map_err(|error| error.to_string())?;
    let place = match key.split_once('.') {
        Some((table, key)) => all.get_mut(table).and_then(|table| table.get_mut(key)),
        None => all.get_mut(key),
    };
    *place.ok_or_else(|| format!("a policy has no {key}"))? = parsed;
    serde_json::from_value(all).map_err(|error| format!("{key} = {value:?}: {error}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_set_by_their_keys_and_differences_named() {
        let policy = Policy::default();
        let next = with(&policy, "stamp_bits", "26").unwrap();
        let next = with(&next, "one_per_network", "false").unwrap();
        let next = with(&next, "weights.trust", "60_000").unwrap();
        assert_eq!((next.stamp_bits, next.one_per_network, next.weights.trust.get()), (26, false, 60_000));
        let found: Vec<_> = differences(&policy, &next).into_iter().map(|it| (it.key, it.from, it.to)).collect();
        let expected = [
            ("one_per_network", Value::Bool(true), Value::Bool(false)),
            ("stamp_bits", 24.into(), 26.into()),
            ("weights.trust", 50_000.into(), 60_000.into()),
        ];
        assert_eq!(found, expected.map(|(key, from, to)| (key.to_owned(), from, to)));
        assert_eq!(differences(&policy, &policy), []);
    }

    #[test]
    fn what_cannot_be_set_is_named_with_what_can() {
        let policy = Policy::default();
        let told = |key, value| with(&policy, key, value).unwrap_err();
        assert!(
            told("epoch_ms", "5000").starts_with("epoch_ms is the genesis' for ever; what can change: echo_bytes_")
        );
        assert!(told("last_settlement", "5").contains("for ever"));
        for unknown in ["stamp", "weights", "weights.luck", "stamp_bits.x"] {
            let told = told(unknown, "5");
            assert!(told.starts_with(&format!("a policy has no {unknown}; what can change: ")), "{told}");
            assert!(told.contains("stamp_bits, ") && told.contains("weights.trust") && !told.contains("epoch_ms"));
        }
        assert_eq!(told("pings", "many"), "pings = \"many\": it is a whole number, 12 so far");
        assert_eq!(told("one_per_network", "1"), "one_per_network = \"1\": it is true or false, true so far");
        assert!(told("stamp_bits", "300").starts_with("stamp_bits = \"300\": "));
        assert_eq!(changeable().len() + FixedPolicy::KEYS.len(), parameters(&policy).len());
    }
}
