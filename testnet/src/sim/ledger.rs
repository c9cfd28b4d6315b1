//! A small model of the ledger: owed totals, settlements with their roots and elections, and changes of the vault.
//!
//! Roots are made as `lucid_consensus::ledger::settle` makes them. Every state that was ever final is kept, because nodes and
//! signers learn of it at different times.

use std::collections::{BTreeMap, BTreeSet};

use lucid_tron_bridge::vault::VaultDomain;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{Hash, NetworkId, NodeId, PayoutAddress, PoolId};
use lucid_types::payout::{AccountKind, Requested, SettlementRoot, VaultLimits};
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutRoot, PayoutTree};
use lucid_types::vault::SignerSet;

use super::random::Random;
use super::violation::{Rule, Violation};

/// The pool that the runs are about.
pub(super) const POOL: PoolId = PoolId::from_bytes([2; 32]);
const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

/// An account of the pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) id: AccountId,
    pub(super) to: PayoutAddress,
    pub(super) owed: u64,
    requested: u64,
}

/// Who was elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elected {
    /// A node with a pusher.
    Node(usize),
    /// Somebody who does what it likes.
    Villain,
}

/// A change of the vault that owner and signers have decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Signers { nonce: u32, by: SignerSet, next: SignerSet },
    Limits { nonce: u32, by: SignerSet, next: VaultLimits },
}

/// What a final state says.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) newest: Option<SettlementRoot>,
    pub(super) signers: SignerSet,
    /// Changes that the vault has seen.
    pub(super) nonce: u32,
    pub(super) limits: VaultLimits,
    pub(super) order: Vec<Elected>,
    /// The newest change.
    pub(super) change: Option<Change>,
}

/// A root that was issued.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) root: SettlementRoot,
    pub(super) leaves: Vec<OwedAccount>,
    /// What was requested of them, with it.
    pub(super) requested: Requested,
    /// Number of the state that made it.
    pub(super) since: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    domain: VaultDomain,
    pub(super) threshold: u64,
    pub(super) accounts: Vec<Account>,
    budgets: u64,
    fees: u64,
    losses: u64,
    heads: Vec<Head>,
    /// Where each account was ever to be paid.
    recipients: BTreeSet<(AccountId, PayoutAddress)>,
    roots: BTreeMap<(u64, PayoutRoot), Issued>,
}

/// The `n`-th account.
pub(super) fn account_id(n: usize) -> AccountId {
    let n = u8::try_from(n).unwrap_or(u8::MAX);
    AccountId::derive(&NETWORK, &POOL, AccountKind::Worker, &NodeId::from_bytes([n; 32]))
}

/// The `n`-th address that an account had.
pub(super) fn recipient(account: usize, n: u64) -> PayoutAddress {
    let place = [u64::try_from(account).unwrap_or(u64::MAX).to_be_bytes(), n.to_be_bytes()];
    let hash = Hash::derive("lucid simulated recipient", &[place.as_flattened()]);
    PayoutAddress::from_hash20(lucid_tron_types::address::last_20(hash.as_bytes()))
}

impl Ledger {
    pub(super) fn new(
        domain: VaultDomain,
        n_accounts: usize,
        threshold: u64,
        signers: SignerSet,
        limits: VaultLimits,
    ) -> Self {
        let account = |n| Account { id: account_id(n), to: recipient(n, 0), owed: 0, requested: 0 };
        let order = Vec::new();
        Self {
            domain,
            threshold,
            accounts: (0..n_accounts).map(account).collect(),
            budgets: 0,
            fees: 0,
            losses: 0,
            heads: vec![Head { newest: None, signers, nonce: 0, limits, order, change: None }],
            recipients: BTreeSet::new(),
            roots: BTreeMap::new(),
        }
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    /// Number of the newest state.
    pub(super) fn newest(&self) -> usize {
        self.heads.len().saturating_sub(1)
    }

    /// A state by its number.
    #[expect(clippy::indexing_slicing, reason = "there is always the first")]
    pub(super) fn head(&self, number: usize) -> &Head {
        &self.heads[number.min(self.newest())]
    }

    pub(super) fn current(&self) -> &Head {
        self.head(self.newest())
    }

    /// What an account was ever owed; `None` if there is no such account.
    pub(super) fn owed(&self, id: &AccountId) -> Option<u64> {
        self.accounts.iter().find(|account| account.id == *id).map(|account| account.owed)
    }

    /// Whether a root ever named this address for the account.
    pub(super) fn has_named(&self, id: AccountId, to: PayoutAddress) -> bool {
        self.recipients.contains(&(id, to))
    }

    /// A root that was issued.
    pub(super) fn issued(&self, settlement: u64, root: &PayoutRoot) -> Option<&Issued> {
        self.roots.get(&(settlement, *root))
    }

    /// Every root that was issued, oldest settlement first.
    pub(super) fn all_issued(&self) -> impl Iterator<Item = &Issued> {
        self.roots.values()
    }

    /// The newest root with its leaves.
    pub(super) fn newest_issued(&self) -> Option<&Issued> {
        let newest = self.current().newest?;
        self.issued(newest.settlement, &newest.root)
    }

    /// The newest root's accounts that are due although so much was paid.
    pub(super) fn due(&self, paid: impl Fn(&AccountId) -> u64) -> Vec<AccountId> {
        let requested = self.newest_issued().into_iter().flat_map(|issued| &issued.requested);
        requested.filter(|(id, requested)| paid(id) < requested.get()).map(|(id, _)| *id).collect()
    }

    // ---- changing --------------------------------------------------------------------------------------------------

    /// A settlement: accounts earn, a leader is elected, and a root is made unless nobody earned anything.
    pub(super) fn settle(
        &mut self,
        random: &mut Random,
        order: Vec<Elected>,
        leader: Option<PayoutAddress>,
        until: u64,
    ) -> Result<(), Violation> {
        let unit = self.threshold.max(super::base::USDT);
        let mut earned = 0;
        for account in &mut self.accounts {
            let part = match random.below(10) {
                0..=2 => 0,
                3..=4 => random.below(unit / 2),
                5..=8 => random.below(3 * unit),
                _ => random.below(12 * unit),
            };
            account.owed += part;
            earned += part;
        }
        let mut head = self.current().clone();
        head.order = order;
        if earned > 0 {
            let (mut first, mut rest, threshold) = (Vec::new(), Vec::new(), self.threshold);
            for account in &mut self.accounts {
                let leaf = OwedAccount { id: account.id, to: account.to, owed: MicroUsdt::new(account.owed) };
                let times = |total: u64| total.checked_div(threshold).unwrap_or(total);
                if times(account.owed) > times(account.requested) {
                    account.requested = account.owed;
                    first.push(leaf);
                } else if account.owed > 0 {
                    rest.push(leaf);
                }
            }
            self.fees += u64::try_from(first.len()).unwrap_or(u64::MAX) * head.limits.push_fee.get();
            first.sort_by_key(|leaf| leaf.id);
            rest.sort_by_key(|leaf| leaf.id);
            let leaves = [first, rest].concat();
            self.recipients.extend(leaves.iter().map(|leaf| (leaf.id, leaf.to)));
            let tree = PayoutTree::new(&leaves).map_err(|e| Rule::Setup.broken(e.to_string()))?;
            let owed: u64 = self.accounts.iter().map(|account| account.owed).sum();
            // What was held back or not earned stays with the pool.
            self.budgets = self.budgets.max(owed + self.fees + random.below(unit));
            let root = SettlementRoot {
                pool: POOL,
                settlement: head.newest.map_or(0, |newest| newest.settlement) + 1,
                vault: self.domain.vault,
                era: head.signers.era,
                root: tree.root(),
                total: MicroUsdt::new(owed + self.fees + self.losses),
                fees: MicroUsdt::new(self.fees),
                promised: MicroUsdt::new(self.budgets + self.losses),
                leader,
                until: if leader.is_some() { until } else { 0 },
            };
            let requested = self.accounts.iter().filter(|account| account.requested > 0);
            let requested = requested.map(|account| (account.id, MicroUsdt::new(account.requested))).collect();
            self.roots
                .insert((root.settlement, root.root), Issued { root, leaves, requested, since: self.heads.len() });
            head.newest = Some(root);
        }
        self.heads.push(head);
        Ok(())
    }

    /// An account is paid elsewhere from the next root on.
    pub(super) fn change_address(&mut self, account: usize, to: PayoutAddress) {
        if let Some(account) = self.accounts.get_mut(account) {
            account.to = to;
        }
    }

    /// The newest root is issued again with a higher total.
    pub(super) fn book_losses(&mut self, amount: u64) {
        self.losses += amount;
        let mut head = self.current().clone();
        if let Some(newest) = &mut head.newest {
            newest.total = MicroUsdt::new(newest.total.get() + amount);
            newest.promised = MicroUsdt::new(newest.promised.get() + amount);
        }
        self.reissue(head);
    }

    /// Other signers, for whom the newest root is issued again.
    pub(super) fn rotate(&mut self, next: SignerSet) {
        let mut head = self.current().clone();
        let by = std::mem::replace(&mut head.signers, next.clone());
        head.change = Some(Change::Signers { nonce: head.nonce, by, next });
        head.nonce += 1;
        if let Some(newest) = &mut head.newest {
            newest.era = head.signers.era;
        }
        self.reissue(head);
    }

    pub(super) fn set_limits(&mut self, next: VaultLimits) {
        let mut head = self.current().clone();
        head.change = Some(Change::Limits { nonce: head.nonce, by: head.signers.clone(), next });
        (head.nonce, head.limits) = (head.nonce + 1, next);
        self.heads.push(head);
    }

    /// Fees that were ever allowed, and losses that were booked.
    pub(super) const fn allowance(&self) -> (u64, u64) {
        (self.fees, self.losses)
    }

    fn reissue(&mut self, head: Head) {
        if let Some(newest) = head.newest
            && let Some(issued) = self.roots.get_mut(&(newest.settlement, newest.root))
        {
            issued.root = newest;
        }
        self.heads.push(head);
    }
}
