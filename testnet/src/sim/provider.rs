//! Provider groups: what they answer about the chain, faults and lies included.

use lucid_tron_bridge::client::{Answer, BroadcastOutcome, Estimate, Revert};
use lucid_tron_bridge::pusher::{Estimated, Lookup, Outcome, Receipt};
use lucid_tron_bridge::transaction::Reference;
use lucid_tron_bridge::trc20::TokenFlags;
use lucid_tron_bridge::vault::{Skip, VaultRevert, VaultSnapshot};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{PayoutAddress, SolidBlockId, TxId};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;

use super::base::{TRX, USDT};
use super::random::Random;
use super::stats::Coverage;
use super::tron::{Tron, outcome};
use super::violation::Violation;

/// What a liar lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// Accounts have had everything.
    PaidMore,
    /// Accounts have had nothing.
    PaidLess,
    /// The vault's state.
    Vault,
    /// The newest blocks' times.
    Time,
    /// What a call would cost or do.
    Estimate,
    /// What became of transactions.
    Receipt,
    /// Whether a broadcast was passed on.
    Broadcast,
    /// Prices, and what the gas account has.
    Price,
}

impl Topic {
    pub(super) const ALL: [Self; 8] = [
        Self::PaidMore,
        Self::PaidLess,
        Self::Vault,
        Self::Time,
        Self::Estimate,
        Self::Receipt,
        Self::Broadcast,
        Self::Price,
    ];
}

/// A provider group.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// How often it gives no answer, in percent.
    pub(super) silent: u64,
    /// How often it answers from an older block, in percent, and how many blocks at most.
    pub(super) stale: u64,
    pub(super) most_behind: u64,
    /// How often it loses a transaction that it says it took, in percent.
    pub(super) drops: u64,
    /// How often it takes a transaction and does not say so, in percent.
    pub(super) mute: u64,
    /// How often it refuses a transaction as busy, in percent.
    pub(super) busy: u64,
    /// How often it lies, in percent, and about what.
    pub(super) lies: u64,
    pub(super) topics: Vec<Topic>,
    /// It always says that at the solidified block everything was paid, also when faults have ended.
    pub(super) is_stubborn: bool,
}

/// What is asked of a group with.
pub(super) struct Asking<'a> {
    pub(super) tron: &'a mut Tron,
    pub(super) random: &'a mut Random,
    pub(super) seen: &'a mut Coverage,
    /// Faults have not ended.
    pub(super) is_faulty: bool,
    /// The asker's account.
    pub(super) gas: PayoutAddress,
}

/// What changes slowly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) token: TokenFlags,
    pub(super) gas: Sun,
    pub(super) energy_price: Sun,
    pub(super) byte_price: Sun,
}

/// A view of the vault.
pub(super) struct Seen {
    pub(super) number: u64,
    pub(super) time: UnixMillis,
    pub(super) snapshot: VaultSnapshot,
}

impl Asking<'_> {
    /// Whether a fault happens that happens in so many of 100 cases.
    fn happens(&mut self, percent: u64, fault: &str) -> bool {
        let happens = self.is_faulty && self.random.percent(percent);
        if happens {
            self.seen.count("fault", fault);
        }
        happens
    }
}

impl Group {
    fn lies(&self, topic: Topic, asking: &mut Asking<'_>) -> bool {
        let lies = asking.is_faulty && self.topics.contains(&topic) && asking.random.percent(self.lies);
        if lies {
            asking.seen.count_variant("lie", &topic);
        }
        lies
    }

    fn is_silent(&self, asking: &mut Asking<'_>) -> bool {
        asking.happens(self.silent, "a provider gives no answer")
    }

    fn behind(&self, asking: &mut Asking<'_>) -> u64 {
        if asking.happens(self.stale, "a provider is behind") { asking.random.between(1, self.most_behind) } else { 0 }
    }

    /// The vault at the newest solidified block.
    pub(super) fn solid(&self, asking: &mut Asking<'_>, ids: &[AccountId]) -> Option<Seen> {
        if self.is_silent(asking) {
            return None;
        }
        let behind = self.behind(asking);
        // Staleness of the solidified view adds to its lag.
        let lag = if behind == 0 { 0 } else { behind + super::base::SOLID_LAG };
        let block = asking.tron.solid(lag);
        let (number, time, mut snapshot) = (block.reference.number, block.reference.time, block.state.snapshot(ids));
        if self.is_stubborn || self.lies(Topic::PaidMore, asking) {
            snapshot.paid.values_mut().for_each(|paid| *paid = MicroUsdt::new(1 << 50));
        }
        self.distort(asking, &mut snapshot);
        let time = self.distorted_time(asking, time);
        Some(Seen { number, time, snapshot })
    }

    /// The vault at the newest block. What is queued shows unless the group is behind.
    pub(super) fn head(&self, asking: &mut Asking<'_>, ids: &[AccountId]) -> Result<Option<Seen>, Violation> {
        if self.is_silent(asking) {
            return Ok(None);
        }
        let behind = self.behind(asking);
        let reference = asking.tron.before_head(behind).reference;
        let mut snapshot = match behind {
            0 => asking.tron.pending_state()?.snapshot(ids),
            _ => asking.tron.before_head(behind).state.snapshot(ids),
        };
        if self.lies(Topic::PaidMore, asking) {
            snapshot.paid.values_mut().for_each(|paid| *paid = MicroUsdt::new(1 << 50));
        }
        self.distort(asking, &mut snapshot);
        let time = self.distorted_time(asking, reference.time);
        Ok(Some(Seen { number: reference.number, time, snapshot }))
    }

    fn distort(&self, asking: &mut Asking<'_>, snapshot: &mut VaultSnapshot) {
        if self.lies(Topic::PaidLess, asking) {
            snapshot.paid.values_mut().for_each(|paid| *paid = MicroUsdt::ZERO);
        }
        if !self.lies(Topic::Vault, asking) {
            return;
        }
        match asking.random.below(9) {
            0 => snapshot.signer_pause_until = u64::MAX,
            1 => snapshot.funds = MicroUsdt::ZERO,
            2 => snapshot.settlement = snapshot.settlement.saturating_sub(1),
            3 => snapshot.settlement += 1,
            4 => snapshot.root = None,
            5 => snapshot.era += 1,
            6 => snapshot.total = MicroUsdt::ZERO,
            7 => snapshot.close_from = 1,
            _ => snapshot.paid_out = MicroUsdt::new(1 << 60),
        }
    }

    fn distorted_time(&self, asking: &mut Asking<'_>, time: UnixMillis) -> UnixMillis {
        if !self.lies(Topic::Time, asking) {
            return time;
        }
        let off = asking.random.below(3_600_000);
        let (later, earlier) = (time.get().saturating_add(off), time.get().saturating_sub(off));
        UnixMillis::new(if asking.random.percent(50) { later } else { earlier })
    }

    /// The block that a transaction refers to.
    pub(super) fn reference(&self, asking: &mut Asking<'_>) -> Option<Reference> {
        if self.is_silent(asking) {
            return None;
        }
        let behind = self.behind(asking);
        let mut reference = asking.tron.before_head(behind).reference;
        reference.time = self.distorted_time(asking, reference.time);
        if self.lies(Topic::Vault, asking) {
            reference.id = SolidBlockId::from_bytes([9; 32]);
        }
        Some(reference)
    }

    pub(super) fn conditions(&self, asking: &mut Asking<'_>) -> Option<Conditions> {
        if self.is_silent(asking) {
            return None;
        }
        // The token's flags are read at the solidified block.
        let token = asking.tron.solid(0).state.token;
        let gas = asking.tron.gas(&asking.gas);
        let (energy_price, byte_price) = (asking.tron.energy_price(), asking.tron.byte_price());
        let mut conditions = Conditions { token, gas, energy_price, byte_price };
        if self.lies(Topic::Price, asking) {
            match asking.random.below(4) {
                0 => conditions.gas = Sun::ZERO,
                1 => conditions.gas = Sun::new(u64::MAX),
                2 => conditions.energy_price = Sun::new(energy_price.get() / 3),
                _ => conditions.energy_price = Sun::new(energy_price.get() * 5),
            }
        }
        if self.lies(Topic::Vault, asking) {
            conditions.token.paused = !conditions.token.paused;
        }
        Some(conditions)
    }

    /// What a call would do at the head.
    pub(super) fn estimate(&self, asking: &mut Asking<'_>, data: &[u8]) -> Option<Estimated> {
        if self.is_silent(asking) {
            return None;
        }
        let is_late = self.behind(asking) > 0;
        let estimate = asking.tron.estimate(&asking.gas, data, is_late);
        if self.lies(Topic::Estimate, asking) {
            return Some(match asking.random.below(7) {
                0 => Estimated::Energy(estimate.energy / 2),
                1 => Estimated::Energy(estimate.energy.saturating_mul(3)),
                2 => Estimated::OutOfEnergy,
                3 => Estimated::Reverted(VaultRevert::IsPaused),
                4 => Estimated::Reverted(VaultRevert::NothingPaid(Skip::AlreadyPaid)),
                5 => Estimated::Reverted(VaultRevert::BadSignatures),
                _ => Estimate {
                    energy: 0,
                    penalty: 0,
                    revert: Some(Revert { data: Vec::new(), message: "nonsense".into() }),
                }
                .into(),
            });
        }
        Some(estimate.into())
    }

    /// What becomes of a transaction, and what the group says.
    pub(super) fn broadcast(&self, asking: &mut Asking<'_>, tx_id: TxId, bytes: &[u8]) -> Option<BroadcastOutcome> {
        if self.is_silent(asking) {
            return None;
        }
        if self.lies(Topic::Broadcast, asking) {
            return Some(match asking.random.below(4) {
                0 | 1 => BroadcastOutcome::Accepted,
                2 => outcome("TAPOS_ERROR", "Tapos check error.".into()),
                _ => outcome("SIGERROR", "Validate signature error".into()),
            });
        }
        if asking.happens(self.busy, "a provider is busy") {
            return Some(BroadcastOutcome::Retry(Answer { code: "SERVER_BUSY".into(), message: String::new() }));
        }
        if asking.happens(self.drops, "a transaction is dropped") {
            return Some(BroadcastOutcome::Accepted);
        }
        let answer = asking.tron.submit(asking.gas, "a pusher", tx_id, bytes);
        let is_mute = asking.happens(self.mute, "a transaction is accepted, then the request times out");
        (!is_mute).then_some(answer)
    }

    /// What became of a transaction.
    pub(super) fn receipt(&self, asking: &mut Asking<'_>, tx_id: &TxId) -> Lookup {
        if self.is_silent(asking) {
            return Lookup::Unavailable;
        }
        let behind = self.behind(asking);
        let found = asking.tron.info(tx_id, behind);
        if self.lies(Topic::Receipt, asking) {
            let head = asking.tron.head().reference.time;
            let later = UnixMillis::new(head.get() + asking.random.below(1_000 * USDT));
            let (block_time, outcome) = match asking.random.below(5) {
                0 | 1 => return Lookup::NotIncluded,
                2 => (head, Outcome::Success),
                3 => (head, Outcome::Reverted(VaultRevert::BadProof)),
                _ => (later, Outcome::Success),
            };
            return Lookup::Included(Receipt { block_time, fee: Sun::new(asking.random.below(20 * TRX)), outcome });
        }
        found.map_or(Lookup::NotIncluded, |info| Lookup::Included(Receipt::from(&info)))
    }
}
