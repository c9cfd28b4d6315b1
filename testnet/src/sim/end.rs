//! What must be so after every block, and how a run ends: everything due is paid, everybody can claim the rest, and pushers rest.

use lucid_tron_bridge::client::Revert;
use lucid_tron_bridge::pusher::Phase;
use lucid_tron_bridge::vault::{Skip, VaultRevert};
use lucid_types::payout::SettlementRoot;
use lucid_types::payout_tree::{AccountId, OwedAccount};

use super::actors::claim;
use super::base::N_SIGNERS;
use super::ledger::account_id;
use super::node::Node;
use super::plan::Survivors;
use super::theft::{THIEF, Theft};
use super::violation::{Rule, Violation};
use super::world::World;

/// How long everything due may take to be paid once faults have ended.
const PAY_MS: u64 = 2 * 60 * 60 * 1_000;
/// How long pushers may take to come to rest then.
const REST_MS: u64 = 6 * 60 * 60 * 1_000;
/// When workers claim if no pusher is left.
const CLAIM_AFTER_MS: u64 = 30_000;
/// Without any fault, how long everything due may take.
const CALM_PAY_MS: u64 = 150_000;
/// When those are settled whose provider lied.
const LAST_SETTLEMENT_MS: u64 = 60_000;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Faulty,
    /// Since then there are no faults.
    Paying(u64),
    /// Since then everything is paid.
    Resting(u64),
}

impl World {
    /// Whether everything is as it must be after a block.
    pub(super) fn check(&mut self) -> Result<(), Violation> {
        let block = self.tron.head();
        let has_theft = self.theft.is_some();
        let vault = self.tron.base.domain.vault;
        let thief = account_id(THIEF);
        let owed = |id: &AccountId| if *id == thief && has_theft { None } else { self.ledger.owed(id).or(Some(0)) };
        let everybody = block.state.snapshot(&block.state.paid.keys().copied().collect::<Vec<_>>());
        self.tron.books.check(&everybody, owed, self.plan.defect.is_some())?;
        for (to, held) in &self.tron.books.received {
            let balance = self.tron.token_balance(to);
            // Deposits are no payments; the vault's own balance is checked with its sums.
            if balance != *held && *to != vault {
                return Err(Rule::Balance.broken(format!("{to} holds {balance}, was paid {held}")));
            }
        }
        for (id, to) in self.tron.take_payments() {
            let is_thief = has_theft && id == thief;
            if !is_thief && !self.ledger.has_named(id, to) {
                return Err(Rule::Recipient.broken(format!("{id} was paid at {to}, which the ledger never named")));
            }
        }
        for posted in self.tron.take_posted() {
            let issued = self.ledger.issued(posted.settlement, &posted.root);
            if issued.is_none_or(|issued| posted.total > issued.root.total || posted.fees > issued.root.fees)
                && !has_theft
            {
                return Err(Rule::Root.broken(format!("{posted:?} was never issued")));
            }
        }
        for (n, node) in self.nodes.iter().enumerate() {
            let burnt = self.tron.books.burnt(&node.config.gas_address).saturating_sub(node.burnt_before);
            self.stats.most_burnt_sun = self.stats.most_burnt_sun.max(burnt);
            // A budget is kept by what receipts say.
            let cost = |tx_id| self.tron.info(tx_id, 0).map_or(0, |info| info.fee.get());
            let hidden: u64 = node.told_fees.iter().map(|(tx_id, told)| cost(tx_id).saturating_sub(*told)).sum();
            if burnt.saturating_sub(hidden) > node.config.max_per_day.get() {
                let max = node.config.max_per_day;
                return Err(Rule::Fees.broken(format!("node {n} has spent {burnt} of {max} sun in a day")));
            }
        }
        Ok(())
    }

    /// Faults have ended.
    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.stage = Stage::Paying(self.now);
        self.note(format_args!("faults end"));
        self.mend_once()?;
        for n in 0..self.nodes.len() {
            let lives = match self.plan.survivors {
                Survivors::All => true,
                Survivors::One(survivor) => n == survivor,
                Survivors::Nobody => false,
            };
            if lives {
                self.restart(n)?;
            } else {
                self.crash(n, 0);
                self.nodes.iter_mut().skip(n).take(1).for_each(|node| node.is_gone = true);
            }
        }
        if self.plan.is_misled() {
            self.schedule_settlement(LAST_SETTLEMENT_MS);
        }
        for signer in 0..N_SIGNERS {
            self.treasury.set_up(signer, true);
            self.treasury.repair(signer, &self.ledger);
        }
        self.publish();
        Ok(())
    }

    /// Whether the run is over. A run that does not come to its end is a violation.
    pub(super) fn is_over(&mut self) -> Result<bool, Violation> {
        match self.stage {
            Stage::Faulty => Ok(false),
            Stage::Paying(since) => {
                let open = self.open();
                let took = self.now - since;
                let is_robbed = matches!(self.theft, Some(Theft::Under(_) | Theft::Stopped));
                if open.is_empty() && self.is_newest_posted() && self.n_to_settle == 0 && !is_robbed {
                    self.note(format_args!("everything due is paid"));
                    self.stats.slowest_end_ms = self.stats.slowest_end_ms.max(took);
                    self.stats.claimed += u64::from(took > PAY_MS);
                    self.stage = Stage::Resting(self.now);
                    return Ok(false);
                }
                let patience = if self.plan.is_calm() { CALM_PAY_MS } else { PAY_MS };
                // Nobody can push any more, or nobody today: then the workers claim.
                let is_out_of_budget = |node: &Node| node.is_gone || node.is_out_of_budget;
                self.is_spent |= took > patience && self.nodes.iter().all(is_out_of_budget);
                let is_spent = self.is_spent;
                if (self.is_unattended() && took > CLAIM_AFTER_MS) || is_spent {
                    self.claim_for_all(&open)?;
                }
                if took > if is_spent { patience + PAY_MS } else { patience } {
                    return Err(self.unpaid(&open));
                }
                Ok(false)
            }
            Stage::Resting(since) => {
                let is_at_rest = |node: &Node| {
                    let is_idle = node.pusher.phase() == Phase::Idle && node.pusher.next_wake().is_none();
                    // Who is told that accounts are not paid, or cannot pay them, goes on looking.
                    let looks_on = !self.plan.unpayable.is_empty() && node.pusher.n_transactions() == 0;
                    ((is_idle || looks_on) && node.disk.stored.is_empty()) || node.is_gone
                };
                if self.nodes.iter().all(is_at_rest) {
                    self.check_is_quiet()?;
                    self.check_is_paid()?;
                    self.check_claims()?;
                    return Ok(true);
                }
                if self.now - since > REST_MS {
                    let states: Vec<_> = self.nodes.iter().map(|node| self.state_of(node)).collect();
                    return Err(Rule::Rest.broken(states.join("; ")));
                }
                Ok(false)
            }
        }
    }

    /// Accounts that are due and not paid at the newest solidified block.
    fn open(&self) -> Vec<AccountId> {
        let solid = self.tron.solid(0);
        let mut open = self.ledger.due(|id| solid.state.paid.get(id).map_or(0, |paid| paid.get()));
        let unpayable: Vec<_> = self.plan.unpayable.iter().map(|n| account_id(*n)).collect();
        open.retain(|id| !unpayable.contains(id));
        open
    }

    /// By the vault's events, whatever it says of itself.
    fn check_is_paid(&self) -> Result<(), Violation> {
        let due = self.ledger.due(|id| self.tron.books.paid(id));
        let is_payable = |id: &&AccountId| !self.plan.unpayable.iter().any(|n| account_id(*n) == **id);
        match due.iter().find(is_payable) {
            Some(id) => Err(Rule::Liveness.broken(format!("the vault says that it paid {id}, and has not"))),
            None => Ok(()),
        }
    }

    fn is_unattended(&self) -> bool {
        self.plan.survivors == Survivors::Nobody
    }

    /// The solidified vault has the newest root. Without a root there is nothing to post.
    fn is_newest_posted(&self) -> bool {
        let vault = self.tron.solid(0).state.vault();
        let is_it = |newest: SettlementRoot| {
            (vault.era, vault.settlement, vault.root) == (newest.era, newest.settlement, Some(newest.root))
                && vault.total >= newest.total
        };
        self.ledger.current().newest.is_none_or(is_it)
    }

    fn unpaid(&self, open: &[AccountId]) -> Violation {
        let states: Vec<_> = self.nodes.iter().map(|node| self.state_of(node)).collect();
        let vault = self.tron.head().state.vault();
        let newest = self.ledger.current().newest.map(|newest| (newest.era, newest.settlement, newest.total.get()));
        let shown = (vault.era, vault.settlement, vault.total.get());
        let problem = format!("{} accounts are due and not paid, the first {:?}", open.len(), open.first());
        Rule::Liveness.broken(format!("{problem}; vault {shown:?}, ledger {newest:?}; {}", states.join("; ")))
    }

    fn state_of(&self, node: &Node) -> String {
        let alerts: Vec<_> = node.pusher.alerts().iter().map(ToString::to_string).collect();
        let (phase, wake) = (node.pusher.phase(), node.wake.map(|at| at.saturating_sub(self.now)));
        format!("{phase:?}, wakes in {wake:?} ms, {} transactions, {alerts:?}", node.pusher.n_transactions())
    }

    /// Whatever an account is still owed under the newest root, its worker can claim.
    fn check_claims(&self) -> Result<(), Violation> {
        let Some(issued) = self.ledger.newest_issued() else { return Ok(()) };
        let paid = &self.tron.head().state.paid;
        let unpayable: Vec<_> = self.plan.unpayable.iter().map(|n| account_id(*n)).collect();
        let lacks = |leaf: &OwedAccount| paid.get(&leaf.id).is_none_or(|paid| leaf.owed > *paid);
        let lacking = issued.leaves.iter().enumerate().filter(|(_, leaf)| lacks(leaf) && !unpayable.contains(&leaf.id));
        for (index, leaf) in lacking {
            let Some(data) = claim(issued, index) else { continue };
            let revert = self.tron.estimate(&leaf.to, &data, false).revert;
            let is_capped = |revert: &Revert| revert.of_vault() == Some(VaultRevert::NothingPaid(Skip::OverCap));
            if let Some(revert) = revert.filter(|revert| !is_capped(revert)) {
                return Err(Rule::Claim.broken(format!("{} cannot claim: {revert}", leaf.id)));
            }
        }
        Ok(())
    }
}
