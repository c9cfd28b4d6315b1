//! What the blocks in force say that happened to the money, by their events; and what must be so after each of them.
//!
//! When a fork drops a block, its part is taken back.

use std::collections::BTreeMap;

use lucid_tron_bridge::client::Log;
use lucid_tron_bridge::vault::{Skip, VaultEvent, VaultSnapshot};
use lucid_tron_types::keccak256;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout_tree::{AccountId, PayoutRoot};

use super::violation::{Rule, Violation};

/// A root that a block posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Posted {
    pub(super) settlement: u64,
    pub(super) root: PayoutRoot,
    pub(super) total: MicroUsdt,
    pub(super) fees: MicroUsdt,
}

/// What a block did.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockFacts {
    paid: Vec<(AccountId, PayoutAddress, u64)>,
    push_fees: u64,
    /// What recipients should hold after it, the token's fee taken off.
    received: Vec<(PayoutAddress, u64)>,
    /// What came into the vault.
    deposited: u64,
    /// Number of the cap's period.
    window: u64,
    pub(super) posted: Vec<Posted>,
    /// Why items got nothing.
    pub(super) skipped: Vec<Skip>,
    /// What senders of transactions paid for them.
    burnt: Vec<(PayoutAddress, u64)>,
}

/// Sums over the blocks in force.
#[derive(Clone, Debug)]
pub(super) struct Books {
    vault: PayoutAddress,
    token: PayoutAddress,
    /// Gets the token's fee.
    issuer: PayoutAddress,
    period: u64,
    paid: BTreeMap<AccountId, u64>,
    push_fees: u64,
    pub(super) received: BTreeMap<PayoutAddress, u64>,
    deposited: u64,
    spent: BTreeMap<u64, u64>,
    burnt: BTreeMap<PayoutAddress, u64>,
    /// The highest cap of each period in which anything left.
    caps: BTreeMap<u64, u64>,
    /// The total of the root in force.
    total: u64,
    /// A block in which more left than the totals allowed that were in force in it.
    over_total: Option<String>,
}

impl Books {
    pub(super) const fn new(vault: PayoutAddress, token: PayoutAddress, issuer: PayoutAddress, period: u32) -> Self {
        Self {
            vault,
            token,
            issuer,
            period: period as u64,
            paid: BTreeMap::new(),
            push_fees: 0,
            received: BTreeMap::new(),
            deposited: 0,
            spent: BTreeMap::new(),
            burnt: BTreeMap::new(),
            caps: BTreeMap::new(),
            total: 0,
            over_total: None,
        }
    }

    /// What a block of this time did, by the fees and logs of its transactions.
    pub(super) fn read(
        &self,
        time_ms: u64,
        transactions: impl Iterator<Item = (Option<PayoutAddress>, u64, Vec<Log>)>,
    ) -> BlockFacts {
        let window = (time_ms / 1_000).checked_div(self.period).unwrap_or_default();
        let mut facts = BlockFacts { window, ..BlockFacts::default() };
        for (sender, fee, logs) in transactions {
            facts.burnt.extend(sender.map(|sender| (sender, fee)));
            // The token tells of its fee before the transfer that it was taken from.
            let mut token_fee = 0;
            for log in &logs {
                if log.address == self.token {
                    let Some((from, to, amount)) = transfer(log) else { continue };
                    if to == self.vault {
                        facts.deposited += amount;
                    } else if from == self.vault && to == self.issuer {
                        token_fee = amount;
                    }
                } else if log.address == self.vault {
                    facts.note(VaultEvent::decode(log), &mut token_fee);
                }
            }
        }
        facts
    }

    /// A block was added.
    pub(super) fn add(&mut self, facts: &BlockFacts, vault: &VaultSnapshot) {
        for (id, _, amount) in &facts.paid {
            *self.paid.entry(*id).or_default() += amount;
        }
        for (to, amount) in &facts.received {
            *self.received.entry(*to).or_default() += amount;
        }
        for (sender, fee) in &facts.burnt {
            *self.burnt.entry(*sender).or_default() += fee;
        }
        self.push_fees += facts.push_fees;
        self.deposited += facts.deposited;
        *self.spent.entry(facts.window).or_default() += facts.spent();
        let highest = self.caps.entry(facts.window).or_default();
        *highest = vault.limits.cap.get().max(*highest);
        let totals = facts.posted.iter().map(|posted| posted.total.get());
        let total = totals.chain([self.total, vault.total.get()]).max().unwrap_or_default();
        let paid_out = self.paid.values().sum::<u64>();
        if facts.spent() > 0 && paid_out + self.push_fees > total {
            self.over_total = Some(format!("{paid_out} and {} of {total}", self.push_fees));
        }
        self.total = vault.total.get();
    }

    /// A block was dropped.
    pub(super) fn take_back(&mut self, facts: &BlockFacts) {
        for (id, _, amount) in &facts.paid {
            *self.paid.entry(*id).or_default() -= amount;
        }
        for (to, amount) in &facts.received {
            *self.received.entry(*to).or_default() -= amount;
        }
        for (sender, fee) in &facts.burnt {
            *self.burnt.entry(*sender).or_default() -= fee;
        }
        self.push_fees -= facts.push_fees;
        self.deposited -= facts.deposited;
        *self.spent.entry(facts.window).or_default() -= facts.spent();
    }

    /// What an account has had by the events.
    pub(super) fn paid(&self, id: &AccountId) -> u64 {
        self.paid.get(id).copied().unwrap_or_default()
    }

    /// Sun that an account paid for its transactions.
    pub(super) fn burnt(&self, sender: &PayoutAddress) -> u64 {
        self.burnt.get(sender).copied().unwrap_or_default()
    }

    /// Whether the vault's state is what its events say, and nobody had more than `owed` says; `None`: an account that thieves
    /// made up. Of a vault that is broken on purpose only harm is told, not what it says
    /// of itself.
    pub(super) fn check(
        &self,
        vault: &VaultSnapshot,
        owed: impl Fn(&AccountId) -> Option<u64>,
        is_broken: bool,
    ) -> Result<(), Violation> {
        for (id, paid_of) in &vault.paid {
            let paid = self.paid(id);
            if paid != paid_of.get() && !is_broken {
                return Err(Rule::Paid.broken(format!("{id}: Paid events say {paid}, paidOf says {paid_of}")));
            }
            if let Some(owed) = owed(id).filter(|owed| paid > *owed) {
                return Err(Rule::Owed.broken(format!("{id} was paid {paid} of {owed}")));
            }
        }
        let (paid_out, funds) = (self.paid.values().sum::<u64>(), vault.funds.get());
        if (vault.paid_out.get(), vault.fees_paid.get()) != (paid_out, self.push_fees) && !is_broken {
            let (says, fees) = (vault.paid_out, vault.fees_paid);
            let events = format!("events {paid_out} and {}", self.push_fees);
            return Err(Rule::Conservation.broken(format!("the vault says it paid {says} and {fees}, its {events}")));
        }
        if funds + paid_out + self.push_fees != self.deposited {
            let sums = format!("holds {funds}, paid {paid_out}, fees {}", self.push_fees);
            return Err(Rule::Conservation.broken(format!("{} came into the vault, it {sums}", self.deposited)));
        }
        if let Some(detail) = &self.over_total {
            return Err(Rule::Total.broken(detail.as_str()));
        }
        for (window, spent) in &self.spent {
            let cap = self.caps.get(window).copied().unwrap_or_default();
            if *spent > cap {
                return Err(Rule::Cap.broken(format!("{spent} left in period {window}, the cap was {cap}")));
            }
        }
        Ok(())
    }
}

impl BlockFacts {
    fn note(&mut self, event: Option<VaultEvent>, token_fee: &mut u64) {
        match event {
            Some(VaultEvent::Paid { id, to, amount, .. }) => {
                self.paid.push((id, to, amount.get()));
                self.received.push((to, amount.get().saturating_sub(std::mem::take(token_fee))));
            }
            Some(VaultEvent::FeePaid { to, amount }) => {
                self.push_fees += amount.get();
                self.received.push((to, amount.get().saturating_sub(std::mem::take(token_fee))));
            }
            Some(VaultEvent::RootPosted { settlement, root, total, fees, .. }) => {
                self.posted.push(Posted { settlement, root, total, fees });
            }
            Some(VaultEvent::Skipped { reason, .. }) => self.skipped.push(reason),
            _ => {}
        }
    }

    /// Who was paid, and where.
    pub(super) fn payments(&self) -> impl Iterator<Item = (AccountId, PayoutAddress)> {
        self.paid.iter().map(|(id, to, _)| (*id, *to))
    }

    fn spent(&self) -> u64 {
        self.paid.iter().map(|(_, _, amount)| amount).sum::<u64>() + self.push_fees
    }
}

/// From, to and amount of a token's `Transfer`.
fn transfer(log: &Log) -> Option<(PayoutAddress, PayoutAddress, u64)> {
    let [topic, from, to] = log.topics.as_slice() else { return None };
    if *topic != keccak256(b"Transfer(address,address,uint256)") {
        return None;
    }
    let address = lucid_tron_bridge::address::from_word;
    let amount = lucid_tron_types::abi::first_word(&log.data).and_then(|word| lucid_tron_types::abi::to_u64(&word))?;
    Some((address(from)?, address(to)?, amount))
}
