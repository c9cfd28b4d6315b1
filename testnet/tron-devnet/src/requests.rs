//! Who asked for what, and how often: so that a test can hold a program to what it may ask of a provider.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;

/// Most clients and calls of them that are told apart: a client names both.
const MAX_NAMES: usize = 4_096;
/// Most bytes of a client's name.
const MAX_CLIENT: usize = 64;
/// Stands for clients and calls beyond that, and for calls that there are not.
const OTHER: &str = "other";

/// Requests since the network was started.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    clients: BTreeMap<String, Client>,
    n_names: usize,
}

/// What a client asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Client {
    /// Requests in the second with most of them.
    busiest_second: u64,
    calls: BTreeMap<String, u64>,
    /// The second of the last request, and requests in it.
    #[serde(skip)]
    second: (u64, u64),
}

impl Requests {
    /// Counts a request; without a call, one for something that there is not. `now` is in milliseconds.
    pub(crate) fn count(&self, client: &str, call: Option<&str>, now: u64) {
        let mut counted = self.0.lock();
        let Counted { clients, n_names } = &mut *counted;
        let client = client.get(..MAX_CLIENT).unwrap_or(client);
        let client = known(clients, client, n_names);
        let Client { busiest_second, calls, second } = clients.entry(client).or_default();
        let call = known(calls, call.unwrap_or(OTHER), n_names);
        let n = calls.entry(call).or_default();
        *n = n.saturating_add(1);
        let (last, in_it) = *second;
        let in_it = if last == now / 1_000 { in_it } else { 0 };
        *second = (now / 1_000, in_it.saturating_add(1));
        *busiest_second = second.1.max(*busiest_second);
    }

    /// All clients by their names.
    pub(crate) fn get(&self) -> BTreeMap<String, Client> {
        self.0.lock().clients.clone()
    }
}

/// The name under which something is counted.
fn known<T>(map: &BTreeMap<String, T>, name: &str, n_names: &mut usize) -> String {
    if map.contains_key(name) || name == OTHER {
        return name.to_owned();
    }
    if *n_names >= MAX_NAMES {
        return OTHER.to_owned();
    }
    *n_names = n_names.saturating_add(1);
    name.to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_client_and_call() {
        let requests = Requests::default();
        for (client, call, now) in
            [("a", Some("x"), 1_000), ("a", Some("x"), 1_999), ("a", Some("y"), 2_000), ("b", None, 2_000)]
        {
            requests.count(client, call, now);
        }
        let counted = requests.get();
        assert_eq!(counted["a"].calls, BTreeMap::from([("x".to_owned(), 2), ("y".to_owned(), 1)]));
        assert_eq!((counted["a"].busiest_second, counted["b"].busiest_second), (2, 1));
        assert_eq!(counted["b"].calls, BTreeMap::from([(OTHER.to_owned(), 1)]));
    }

    #[test]
    fn names_do_not_grow_for_ever_and_nothing_is_lost() {
        let requests = Requests::default();
        for n in 0..10_000_u64 {
            requests.count(&format!("{n}{}", "x".repeat(100)), Some(&format!("call {n}")), n);
        }
        let counted = requests.get();
        assert!(counted.len() <= MAX_NAMES);
        assert!(counted.keys().all(|name| name.len() <= MAX_CLIENT));
        assert_eq!(counted.values().flat_map(|client| client.calls.values()).sum::<u64>(), 10_000);
        assert!(counted.get(OTHER).unwrap().calls[OTHER] > 5_000);
    }
}
