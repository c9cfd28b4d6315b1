//! Whose turn it is, and what is read.

use lucid_types::amount::MicroUsdt;
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;

use super::alert::Key;
use super::types::{Assignment, Effect, HeadView, IssuedRoot, Report, SolidView, View};
use super::views::{Fingerprint, Mark};
use super::{Pusher, Work};

/// Accounts in one read of the head: what one constant call of the vault answers for.
const MAX_HEAD_ACCOUNTS: usize = 500;

/// Waits of different lengths for those that were not elected, in leader time-outs.
const N_STRANGER_WAITS: u32 = 16;

/// What a pusher is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing: there is no root, or everything due is paid.
    Idle,
    /// Others come first.
    Waiting {
        /// When its turn comes unless they get on with it.
        until: UnixMillis,
    },
    /// It gets roots posted and accounts paid.
    Active,
}

impl Pusher {
    pub(super) fn on_root(&mut self, now: UnixMillis, assignment: Assignment) {
        if assignment.root.vault != self.config.domain.vault {
            return;
        }
        let is_new = self.assignment.as_ref().is_none_or(|old| old.root != assignment.root);
        let is_signing_for = |old: &Assignment| old.root == assignment.root && old.signers == assignment.signers;
        if !self.assignment.as_ref().is_some_and(is_signing_for) {
            self.signing = None;
            self.alerts.clear(|key| matches!(key, Key::Signer(_) | Key::SignaturesRefused));
        }
        self.assignment = Some(assignment);
        if is_new {
            self.progress_at = now;
            self.max_items = self.config.max_items.max(1);
            self.n_aside.clear();
            self.pace.resume();
            self.blocks.clear();
            self.posted.recheck(now);
            self.views.solid_paid.clear();
            self.views.solid_at = now;
            self.views.head_at = now;
            self.stir(now);
        }
    }

    pub(super) fn on_solid(&mut self, now: UnixMillis, view: Option<Box<SolidView>>, out: &mut Vec<Effect>) {
        let Some(view) = view else { return };
        let mark = Mark::of(&view.snapshot);
        let own = self.count_own(view.time);
        match &mut self.views.mark {
            None => self.views.mark = Some(mark),
            Some(last) => {
                let more = mark.paid_out.saturating_sub(last.paid_out);
                let is_posted_by_others = mark.root > last.root && !own.has_posted;
                if is_posted_by_others || more > own.paid {
                    self.progress_at = now;
                }
                last.root = last.root.max(mark.root);
                last.paid_out = last.paid_out.max(mark.paid_out);
            }
        }
        self.views.solid_paid.extend(view.snapshot.paid.iter().map(|(account, paid)| (*account, *paid)));
        self.views.solid = Some(*view);
        self.judge_solid(out);
        let is_unknown = |head: &HeadView| self.candidates().any(|account| !head.snapshot.paid.contains_key(&account));
        if self.views.head.as_ref().is_none_or(is_unknown) {
            self.views.head_at = self.views.head_at.min(now.after(self.config.timing.head_every / 4));
        }
    }

    pub(super) fn on_head(&mut self, now: UnixMillis, view: Option<Box<HeadView>>, out: &mut Vec<Effect>) {
        let Some(view) = view else { return };
        let is_changed = self.views.head.as_ref().is_none_or(|head| Fingerprint::of(head) != Fingerprint::of(&view));
        if is_changed {
            self.stir(now);
        }
        let shown = view.snapshot.root.map(|root| (view.snapshot.settlement, root));
        let is_loaded = self.posted.want(shown, now);
        self.blocks.lift(&Fingerprint::of(&view));
        self.views.head = Some(*view);
        self.views.head_read_at = now;
        self.judge_head(out);
        if is_loaded {
            self.views.solid_at = self.views.solid_at.min(now);
            self.judge_solid(out);
        }
    }

    pub(super) fn set_phase(&mut self, now: UnixMillis, out: &mut Vec<Effect>) {
        let was_active = self.phase == Phase::Active;
        self.phase = match self.turn_at() {
            None => Phase::Idle,
            Some(_) if self.is_finished() => {
                self.report_finished(out);
                Phase::Idle
            }
            Some(until) if now < until => Phase::Waiting { until },
            Some(_) => Phase::Active,
        };
        if self.phase == Phase::Active && !was_active {
            // Nothing is begun on an old head.
            self.views.head = None;
            self.views.solid_at = now;
            self.views.head_at = now;
            self.stir(now);
        }
        // What comes late may tell of something once more.
        if self.phase != Phase::Active && (was_active || self.jobs.is_empty()) {
            self.alerts.clear(|key| !key.is_of_solid_view());
        }
    }

    /// Differs between most nodes.
    pub(super) fn own_byte(&self) -> u8 {
        self.config.gas_address.as_bytes().last().copied().unwrap_or_default()
    }

    /// When this node's turn comes.
    fn turn_at(&self) -> Option<UnixMillis> {
        let Assignment { rank, n_elected, .. } = self.assignment.as_ref()?;
        // Those who were not elected do not all begin at the same moment.
        let after_all = n_elected.max(&1).saturating_add(u32::from(self.own_byte()) % N_STRANGER_WAITS);
        let n_waits = rank.unwrap_or(after_all);
        Some(self.progress_at.after(self.config.timing.leader_timeout.saturating_mul(n_waits)))
    }

    /// Whether everything due under the newest root is paid on the solid view, and nothing is under way.
    fn is_finished(&self) -> bool {
        let (Some(assignment), Some(solid)) = (&self.assignment, &self.views.solid) else { return false };
        let (root, vault) = (&assignment.root, &solid.snapshot);
        let is_posted = (vault.settlement, vault.root, vault.era) == (root.settlement, Some(root.root), root.era)
            && vault.total >= root.total
            && vault.fees >= root.fees;
        let is_loaded = self.posted.issued().is_some_and(|issued| issued.root.root == root.root);
        is_posted && is_loaded && self.jobs.is_empty() && self.solid_accounts().is_empty()
    }

    fn report_finished(&mut self, out: &mut Vec<Effect>) {
        let settlement = self.assignment.as_ref().map_or(0, |assignment| assignment.root.settlement);
        if self.reported.1 < settlement {
            self.reported.1 = settlement;
            out.push(Effect::Report(Report::Finished { settlement }));
        }
    }

    /// The root under which the next batches are: the posted one, or the one that a transaction is about to post. As long as that
    /// one lacks signatures, what is due under the posted one is paid.
    fn next_issued(&self) -> Option<&IssuedRoot> {
        let ahead = self.posted.issued_ahead().filter(|_| self.is_posting(false));
        ahead.or_else(|| self.posted.issued())
    }

    /// Accounts of the posted root, or of the one that is being posted, that are due on the solid view, or of which it is not
    /// known.
    fn solid_accounts(&self) -> Vec<AccountId> {
        let Some(issued) = self.next_issued() else { return Vec::new() };
        let is_open = |id: &AccountId| {
            let paid = self.views.solid_paid.get(id);
            issued.is_due(id, paid.copied().unwrap_or_default())
        };
        issued.leaves.iter().map(|leaf| leaf.id).filter(is_open).collect()
    }

    /// Accounts that may go into the next batches, under the posted root or the one that is being posted: due on the solid view,
    /// in no batch, and not set aside.
    fn candidates(&self) -> impl Iterator<Item = AccountId> {
        let busy = self.busy_accounts();
        let issued = self.next_issued();
        let is_due_on_solid = move |id: &AccountId| {
            let paid = self.views.solid_paid.get(id);
            issued.zip(paid).is_some_and(|(issued, paid)| issued.is_due(id, *paid))
        };
        let is_free = move |id: &AccountId| !busy.contains(id) && !self.aside.contains_key(id);
        let leaves = self.in_order_of(issued.map_or(&[], |issued| &issued.leaves));
        leaves.map(|(_, leaf)| leaf.id).filter(is_due_on_solid).filter(is_free).take(MAX_HEAD_ACCOUNTS)
    }

    pub(super) fn read(&mut self, now: UnixMillis, out: &mut Vec<Effect>) {
        let has_jobs = !self.jobs.is_empty();
        let timing = self.config.timing;
        let is_busy = has_jobs || now < self.busy_until;
        let every = |short| if is_busy { short } else { timing.slow.max(short) };
        // The solid view tells what becomes of what a block includes; the head is for what has to be decided.
        let has_open = self.jobs.values().any(|job| job.included().is_none());
        let (reads_solid, reads_head) = match self.phase {
            Phase::Idle => (has_jobs, has_open),
            Phase::Waiting { .. } => (true, has_open),
            Phase::Active => (true, self.needs_head(now)),
        };
        if reads_solid && now >= self.views.solid_at {
            let is_interested = has_jobs || self.phase == Phase::Active;
            self.views.solid_at = now.after(every(timing.solid_every));
            let accounts = if is_interested { self.solid_accounts() } else { Vec::new() };
            out.push(Effect::ReadVault { view: View::Solid, accounts });
        }
        if reads_head && now >= self.views.head_at {
            self.views.head_at = now.after(every(timing.head_every));
            let n_accounts = self.n_free().max(1).saturating_mul(self.max_items);
            let accounts = self.candidates().take(n_accounts).collect();
            out.push(Effect::ReadVault { view: View::Head, accounts });
        }
    }

    /// Whether there is something to decide by the head, or it shows too little to tell, or something other than what it showed.
    /// A head that shows the root of the era before has it to be posted again once the owner has carried out the change of
    /// signers.
    fn needs_head(&self, now: UnixMillis) -> bool {
        let is_unknown = self.views.is_head_old(now) || self.posted.issued().is_none();
        // A fork may have undone what it showed.
        let is_behind = self.views.head_time() < self.views.solid_time();
        let is_posting = || self.needs_post() || self.is_post_refused();
        // What is not sent yet may be refused because the head is another now.
        let has_unsent = || self.jobs.values().any(|job| job.sending().is_none());
        let has_room = || self.n_free() > 0 && self.candidates().next().is_some();
        is_unknown || is_behind || is_posting() || has_unsent() || has_room()
    }

    /// What our own transactions did that the solid view now shows.
    fn count_own(&mut self, solid: UnixMillis) -> Own {
        let mut own = Own::default();
        for job in self.jobs.values_mut() {
            let (amount, is_post) = (job.amount(), matches!(job.work, Work::Post { .. }));
            let Some(sending) = job.sending_mut() else { continue };
            let is_shown = sending.included.as_ref().is_some_and(|(receipt, _)| receipt.block_time <= solid);
            if is_shown && !sending.is_counted {
                sending.is_counted = true;
                own.paid = own.paid.saturating_add(amount);
                own.has_posted |= is_post;
            }
        }
        own
    }
}

#[derive(Default)]
struct Own {
    paid: MicroUsdt,
    has_posted: bool,
}
