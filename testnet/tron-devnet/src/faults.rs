//! Faults that a test can switch on, to see whether a client survives them.
//!
//! They change what is answered, never what is in the chain; a fork, which does, is [`crate::chain::Chain::drop_blocks`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};

/// What goes wrong, and how often. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Plan {
    /// Broadcasts are carried out, and then never answered.
    pub(crate) broadcast_timeout: bool,
    /// Broadcasts are answered as accepted, and thrown away.
    pub(crate) broadcast_drop: bool,
    /// Broadcasts are refused as `SERVER_BUSY`.
    pub(crate) busy: bool,
    /// Every answer is late by this many milliseconds.
    pub(crate) delay_ms: u64,
    /// Receipts of contract calls say the opposite of what happened.
    pub(crate) lie_receipt: bool,
    /// Blocks asked for as "now" are this many blocks in the past.
    pub(crate) stale_head: u64,
    /// One digit of every hash and hexadecimal text in an answer is changed.
    pub(crate) mutate: bool,
    /// Answers are HTML pages with status 200.
    pub(crate) html: bool,
    /// Answers are refusals with this status, from 400 to 599 (429, 403, 503).
    #[serde(deserialize_with = "refusing")]
    pub(crate) status: Option<u16>,
    /// The faults above hit this many requests, and then end; without, they stay.
    pub(crate) requests: Option<u64>,
}

fn refusing<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    let status = Option::<u16>::deserialize(from)?;
    match status {
        Some(other) if !(400..600).contains(&other) => {
            Err(D::Error::invalid_value(Unexpected::Unsigned(other.into()), &"a status from 400 to 599"))
        }
        status => Ok(status),
    }
}

impl Plan {
    /// Whether anything goes wrong with this call, which may be one for the newest block.
    fn hits(&self, call: &str, is_for_newest: impl FnOnce() -> bool) -> bool {
        let broadcast = self.broadcast_timeout || self.broadcast_drop || self.busy;
        self.delay_ms > 0
            || self.mutate
            || self.html
            || self.status.is_some()
            || (broadcast && call.starts_with("broadcast"))
            || (self.lie_receipt && call.starts_with("gettransactioninfo"))
            || (self.stale_head > 0 && is_for_newest())
    }
}

/// The plan in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Plan>);

impl Faults {
    pub(crate) fn set(&self, plan: Plan) {
        *self.lock() = plan;
    }

    pub(crate) fn get(&self) -> Plan {
        self.lock().clone()
    }

    /// The plan for one request to `call`, which uses it up if it is hit. `is_for_newest` says whether the request is for
    /// the newest block.
    pub(crate) fn take(&self, call: &str, is_for_newest: impl FnOnce() -> bool) -> Plan {
        let mut plan = self.lock();
        if plan.requests == Some(0) || !plan.hits(call, is_for_newest) {
            return Plan::default();
        }
        let taken = plan.clone();
        if let Some(left) = &mut plan.requests {
            *left = left.saturating_sub(1);
            if *left == 0 {
                *plan = Plan::default();
            }
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_uses_up_only_what_can_hit_it() {
        let faults = Faults::default();
        faults.set(Plan { stale_head: 1, requests: Some(1), ..Plan::default() });
        assert_eq!(faults.take("getblock", || false), Plan::default());
        assert_eq!(faults.take("getblock", || true).stale_head, 1);
        assert_eq!(faults.take("getblock", || true), Plan::default(), "it is used up");
        faults.set(Plan { busy: true, requests: Some(1), ..Plan::default() });
        assert_eq!(faults.take("getblock", || true), Plan::default());
        assert!(faults.take("broadcasttransaction", || false).busy);
        faults.set(Plan { status: Some(429), requests: Some(1), ..Plan::default() });
        assert_eq!(faults.take("getblock", || false).status, Some(429));
    }
}
