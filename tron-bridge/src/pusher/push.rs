//! Batches of what is due under the root that the head shows.

use std::collections::BTreeSet;
use std::time::Duration;

use lucid_types::amount::MicroUsdt;
use lucid_types::payout_tree::{AccountId, OwedAccount};
use lucid_types::time::UnixMillis;

use super::alert::Alert;
use super::config::backoff;
use super::plan::{Bounds, Leaf, Range, ranges};
use super::types::{Effect, HeadView, Work};
use super::views::seconds;
use super::{Job, Pusher};
use crate::vault;

/// The longest time for which an account is left out that cannot be paid; the first is the slow interval.
const MAX_ASIDE: Duration = Duration::from_secs(60 * 60);

impl Pusher {
    /// Whether nothing new is begun for now.
    pub(super) fn is_held(&self, now: UnixMillis) -> bool {
        now < self.pace.pause_until() || now < self.blocks.hold_until()
    }

    /// Whether the token makes payments fail or takes from them: then nothing is posted or paid.
    pub(super) const fn is_token_bad(&self, head: &HeadView) -> bool {
        let flags = &head.token;
        flags.fee || flags.paused || flags.deprecated || flags.blacklisted
    }

    /// Whether the leader's turn is another's and ends soon. Until then an estimate leaves out the transfer of the push fee, and
    /// a batch that a later block includes would run out of energy. A turn that goes on for longer than a leader has is no
    /// reason to wait.
    fn ends_turn_of_another(&self, head: &HeadView) -> bool {
        let (vault, now_s) = (&head.snapshot, seconds(head.time));
        let left = vault.until.saturating_sub(now_s);
        let is_own = vault.leader == Some(self.config.gas_address);
        !is_own
            && vault.limits.push_fee > MicroUsdt::ZERO
            && (1..=self.config.timing.leader_timeout.as_secs()).contains(&left)
    }

    /// Accounts that some transaction is about to pay.
    pub(super) fn busy_accounts(&self) -> BTreeSet<AccountId> {
        self.jobs.values().flat_map(Job::accounts).copied().collect()
    }

    /// How many more transactions may be open now.
    pub(super) fn n_free(&self) -> usize {
        let n_open = self.jobs.values().filter(|job| job.included().is_none()).count();
        self.pace.window().saturating_sub(n_open)
    }

    /// Starts batches for what is due, as many as the pace allows.
    pub(super) fn push(&mut self, now: UnixMillis, out: &mut Vec<Effect>) {
        // A new root would make batches under the old one fail.
        if self.is_held(now) || self.blocks.is_push_blocked() || self.is_posting(true) {
            return;
        }
        let Some(head) = self.views.fresh_head(now) else { return };
        let now_s = seconds(head.time);
        let is_stopped = head.snapshot.is_paused(now_s)
            || head.snapshot.is_closed(now_s)
            || self.is_token_bad(head)
            || self.ends_turn_of_another(head);
        let is_loaded = self.posted.issued().is_some_and(|issued| Some(issued.root.root) == head.snapshot.root);
        let max_ranges = self.n_free();
        if is_stopped || !is_loaded || max_ranges == 0 {
            return;
        }
        let settlement = head.snapshot.settlement;
        let unpayable = self.set_unpayable_aside(now);
        let Some(head) = self.views.fresh_head(now) else { return };
        let bounds = self.bounds(head, max_ranges);
        let busy = self.busy_accounts();
        let kinds = self.in_order().map(|(index, leaf)| (index, self.kind(leaf, head, &busy)));
        let batches: Vec<_> =
            ranges(kinds, bounds).into_iter().filter_map(|range| self.batch(settlement, &range)).collect();
        for alert in unpayable {
            self.raise(alert, out);
        }
        for (work, data) in batches {
            self.open(now, work, data);
        }
    }

    /// The leaves with their indices, in the order in which they are paid. Everybody but the leader begins somewhere else, so
    /// that two who push at the same time seldom send the same batch.
    fn in_order(&self) -> impl Iterator<Item = (usize, &OwedAccount)> {
        self.in_order_of(self.posted.leaves())
    }

    /// As above, of the leaves of another root.
    pub(super) fn in_order_of<'a>(
        &self,
        leaves: &'a [OwedAccount],
    ) -> impl Iterator<Item = (usize, &'a OwedAccount)> + use<'a> {
        let is_leader = self.assignment.as_ref().is_some_and(|assignment| assignment.rank == Some(0));
        let part = if is_leader { 0 } else { usize::from(self.own_byte() % 15).saturating_add(1) };
        let from = leaves.len().saturating_mul(part) / 16;
        leaves.iter().enumerate().skip(from).chain(leaves.iter().enumerate().take(from))
    }

    fn kind(&self, leaf: &OwedAccount, head: &HeadView, busy: &BTreeSet<AccountId>) -> Leaf {
        let (on_head, on_solid) = (head.snapshot.paid.get(&leaf.id), self.views.solid_paid.get(&leaf.id));
        let Some(paid) = on_head.max(on_solid).copied() else { return Leaf::Apart };
        let is_free = !busy.contains(&leaf.id) && !self.aside.contains_key(&leaf.id);
        if leaf.owed <= paid {
            return Leaf::Settled;
        }
        let is_known = on_head.is_some() && on_solid.is_some();
        if is_free && is_known && self.posted.is_due(&leaf.id, paid) {
            return Leaf::Due(leaf.owed.saturating_sub(paid));
        }
        Leaf::Apart
    }

    /// What the next batches must keep within: what the vault can pay, less what is under way and the head does not show yet.
    fn bounds(&self, head: &HeadView, max_ranges: usize) -> Bounds {
        let snapshot = &head.snapshot;
        let push_fee = snapshot.limits.push_fee;
        let unseen = |job: &&Job| job.included().is_none_or(|receipt| receipt.block_time > head.time);
        let (mut n_unseen, mut unseen_amount) = (0_u64, MicroUsdt::ZERO);
        for job in self.jobs.values().filter(unseen) {
            n_unseen = n_unseen.saturating_add(u64::try_from(job.accounts().len()).unwrap_or(u64::MAX));
            unseen_amount = unseen_amount.saturating_add(job.amount());
        }
        let allowance = snapshot.fees.saturating_sub(snapshot.fees_paid);
        let unseen_fees = MicroUsdt::new(push_fee.get().saturating_mul(n_unseen)).min(allowance);
        let left = snapshot.left_of_total().min(snapshot.left_of_cap(seconds(head.time))).min(snapshot.funds);
        let room = left.saturating_sub(unseen_amount).saturating_sub(unseen_fees);
        let fees = allowance.saturating_sub(unseen_fees);
        // A part is worth a transaction if it could be a payout of its own, or if it is all that a period lets out: with a cap
        // below the threshold nobody would ever be paid.
        let least_part = (n_unseen == 0).then(|| self.config.threshold.min(snapshot.limits.cap).max(MicroUsdt::new(1)));
        Bounds { max_items: self.max_items, max_ranges, room, push_fee, fees, least_part }
    }

    fn batch(&self, settlement: u64, range: &Range) -> Option<(Work, Vec<u8>)> {
        let leaves = self.posted.leaves();
        let items = leaves.get(range.start..range.start.checked_add(range.n)?)?;
        let accounts = range.due.iter().filter_map(|index| Some(leaves.get(*index)?.id)).collect();
        let start = u64::try_from(range.start).ok()?;
        let data = vault::pay_range(settlement, start, items, &self.posted.proof(range.start, range.n)?);
        Some((Work::Batch { settlement, start, accounts, amount: range.amount }, data))
    }

    /// Sets accounts aside whose recipient the vault never pays.
    fn set_unpayable_aside(&mut self, now: UnixMillis) -> Vec<Alert> {
        let Some(head) = &self.views.head else { return Vec::new() };
        let (token, vault) = (head.snapshot.token, self.config.domain.vault);
        let is_bad = |leaf: &&OwedAccount| leaf.to == token || leaf.to == vault || leaf.to.hash20() == [0; 20];
        let is_new = |leaf: &&OwedAccount| {
            let paid = self.views.solid_paid.get(&leaf.id);
            let is_due = paid.is_some_and(|paid| self.posted.is_due(&leaf.id, *paid));
            is_due && !self.aside.contains_key(&leaf.id)
        };
        let bad: Vec<_> = self.posted.leaves().iter().filter(is_bad).filter(is_new).copied().collect();
        let problem = "its recipient is the zero address, the vault or the token";
        bad.into_iter().map(|leaf| self.set_aside(now, &leaf, problem.into())).collect()
    }

    pub(super) fn set_aside(&mut self, now: UnixMillis, leaf: &OwedAccount, problem: String) -> Alert {
        let n = self.n_aside.entry(leaf.id).or_default();
        self.aside.insert(leaf.id, now.after(backoff(self.config.timing.slow, MAX_ASIDE, *n)));
        *n = n.saturating_add(1);
        Alert::SetAside { account: leaf.id, to: leaf.to, problem }
    }
}
