//! What the views tell an operator.

use lucid_types::amount::MicroUsdt;
use lucid_types::payout_tree::OwedAccount;

use super::alert::{Alert, Key};
use super::types::{Effect, HeadView};
use super::views::seconds;
use super::{Phase, Pusher};

impl Pusher {
    pub(super) fn judge_head(&mut self, out: &mut Vec<Effect>) {
        let Some(head) = &self.views.head else { return };
        // A head that comes late concerns nobody whose turn is over.
        let is_active = self.phase == Phase::Active;
        let token = (is_active && self.is_token_bad(head)).then_some(Alert::Token(head.token));
        let paused = paused(head).filter(|_| is_active);
        self.raise_if(Key::Token, token, out);
        self.raise_if(Key::Paused, paused, out);
        self.judge_posting(out);
        self.judge_root(out);
    }

    pub(super) fn judge_solid(&mut self, out: &mut Vec<Effect>) {
        self.judge_root(out);
        let Some(solid) = &self.views.solid else { return };
        let is_shown = self.posted.issued().is_some_and(|issued| Some(issued.root.root) == solid.snapshot.root);
        // What the view was not asked about may have been paid meanwhile, out of the very sums that it shows.
        let is_whole = self.due_accounts().all(|leaf| solid.snapshot.paid.contains_key(&leaf.id));
        if !is_shown || !is_whole {
            return;
        }
        let due = self.due();
        let (left, cap, funds) = (solid.snapshot.left_of_total(), solid.snapshot.limits.cap, solid.snapshot.funds);
        let left_of_cap = solid.snapshot.left_of_cap(seconds(solid.time));
        self.raise_if(Key::OverTotal, (due > left).then_some(Alert::OverTotal { due, left }), out);
        let over_cap = Alert::OverCap { due, left: left_of_cap, cap };
        self.raise_if(Key::OverCap, (due > left_of_cap).then_some(over_cap), out);
        self.raise_if(Key::Uncovered, (due > funds).then_some(Alert::Uncovered { due, funds }), out);
    }

    /// What is due under the posted root on the solid view.
    pub(super) fn due(&self) -> MicroUsdt {
        let lacks = |leaf: &OwedAccount| leaf.owed.saturating_sub(self.paid_on_solid(leaf).unwrap_or_default());
        self.due_accounts().map(lacks).fold(MicroUsdt::ZERO, MicroUsdt::saturating_add)
    }

    fn due_accounts(&self) -> impl Iterator<Item = &OwedAccount> {
        let is_lacking =
            |leaf: &&OwedAccount| self.paid_on_solid(leaf).is_some_and(|paid| self.posted.is_due(&leaf.id, paid));
        self.posted.leaves().iter().filter(is_lacking)
    }

    fn paid_on_solid(&self, leaf: &OwedAccount) -> Option<MicroUsdt> {
        self.views.solid_paid.get(&leaf.id).copied()
    }
}

fn paused(head: &HeadView) -> Option<Alert> {
    let (vault, now_s) = (&head.snapshot, seconds(head.time));
    let is_owners = vault.owner_pause_from != 0 && now_s >= vault.owner_pause_from;
    let until = Some(vault.signer_pause_until).filter(|until| !is_owners && *until != u64::MAX);
    vault.is_paused(now_s).then_some(Alert::Paused { until })
}
