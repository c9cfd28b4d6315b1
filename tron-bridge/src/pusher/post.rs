//! Signatures over the newest root, and the transaction that posts it.

use lucid_types::id::NodeId;
use lucid_types::payout::{CosignReply, CosignRequest};
use lucid_types::time::UnixMillis;

use super::alert::{Alert, Key, SignerState};
use super::signing::{Answer, Signing};
use super::transaction::Job;
use super::types::{Assignment, Effect, HeadView, Report, Work};
use super::views::seconds;
use super::{Phase, Pusher, posted};
use crate::vault;

/// How the head's root compares with the ledger's newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posting {
    /// It is the same, with at least the total.
    Done,
    /// It is older: ours has to be posted.
    Needed,
    /// It is newer, or another one of the same settlement: ours would be refused.
    Ahead,
}

impl Posting {
    pub(super) fn of(assignment: &Assignment, head: &HeadView) -> Self {
        let (root, vault) = (&assignment.root, &head.snapshot);
        let is_less = vault.total < root.total || vault.fees < root.fees;
        match vault.settlement.cmp(&root.settlement) {
            std::cmp::Ordering::Less => Self::Needed,
            std::cmp::Ordering::Greater => Self::Ahead,
            std::cmp::Ordering::Equal if vault.root != Some(root.root) => Self::Ahead,
            std::cmp::Ordering::Equal if is_less && vault.total <= root.total && vault.fees <= root.fees => {
                Self::Needed
            }
            std::cmp::Ordering::Equal => Self::Done,
        }
    }
}

impl Pusher {
    /// Whether the newest root has to be posted, as far as is known.
    pub(super) fn needs_post(&self) -> bool {
        let Some(assignment) = &self.assignment else { return false };
        // The leader does not wait for the head: a new root is not posted yet, unless it has just been restarted.
        let is_likely = || assignment.rank == Some(0);
        self.views.head.as_ref().map_or_else(is_likely, |head| Posting::of(assignment, head) == Posting::Needed)
    }

    /// Whether a transaction that posts the newest root is under way; with `is_open`, one that no block includes yet.
    pub(super) fn is_posting(&self, is_open: bool) -> bool {
        let Some(Assignment { root: newest, .. }) = &self.assignment else { return false };
        let is_ours = |job: &&Job| match job.work {
            Work::Post { settlement, root, total, era } => {
                (settlement, root, total, era) == (newest.settlement, newest.root, newest.total, newest.era)
            }
            Work::Batch { .. } => false,
        };
        self.jobs.values().filter(is_ours).any(|job| !is_open || job.included().is_none())
    }

    /// Whether the vault takes no root of the ledger's signers, as far as the head shows: it is closed, or its signers are others.
    pub(super) fn is_post_refused(&self) -> bool {
        let differs = |(ledger, vault): (SignerState, SignerState)| !ledger.has_signers_of(&vault);
        self.is_closed() || self.signers_differ().is_some_and(differs)
    }

    fn is_closed(&self) -> bool {
        self.views.head.as_ref().is_some_and(|head| head.snapshot.is_closed(seconds(head.time)))
    }

    /// What ledger and vault say, if only one of them has some change of signers or limits.
    fn signers_differ(&self) -> Option<(SignerState, SignerState)> {
        let (assignment, head) = (self.assignment.as_ref()?, self.views.head.as_ref()?);
        let signers = &assignment.signers;
        let ledger = SignerState { era: signers.era, threshold: signers.threshold, nonce: assignment.nonce };
        let (era, threshold, nonce) = (head.snapshot.era, head.snapshot.threshold, head.snapshot.nonce);
        let vault = SignerState { era, threshold, nonce };
        (vault != ledger).then_some((ledger, vault))
    }

    pub(super) fn judge_posting(&mut self, out: &mut Vec<Effect>) {
        let is_active = self.phase == Phase::Active;
        let is_closed = is_active && self.is_closed();
        let differ = self.signers_differ().filter(|_| is_active && !is_closed);
        self.raise_if(Key::Closed, is_closed.then_some(Alert::Closed), out);
        self.raise_if(Key::SignersDiffer, differ.map(|(ledger, vault)| Alert::SignersDiffer { ledger, vault }), out);
        let (Some(assignment), Some(head)) = (&self.assignment, &self.views.head) else { return };
        let settlement = assignment.root.settlement;
        if Posting::of(assignment, head) == Posting::Done && self.reported.0 < settlement {
            self.reported.0 = settlement;
            out.push(Effect::Report(Report::Posted { settlement }));
        }
    }

    /// Asks for signatures while they are needed.
    pub(super) fn sign(&mut self, now: UnixMillis, out: &mut Vec<Effect>) {
        let is_needed = self.needs_post() && !self.is_post_refused() && !self.blocks.is_post_blocked();
        let Some(assignment) = self.assignment.as_ref().filter(|_| is_needed) else {
            self.signing = None;
            return;
        };
        let Assignment { root, signers, .. } = assignment;
        let signing = self.signing.get_or_insert_with(|| Signing::new(&self.config.domain, root, signers, now));
        let request = signing.request;
        let ask = signing.ask(now, &self.config.timing);
        out.extend(ask.into_iter().map(|signer| Effect::RequestSignature { request, signer }));
    }

    pub(super) fn on_signature(
        &mut self,
        now: UnixMillis,
        request: &CosignRequest,
        signer: &NodeId,
        reply: Option<CosignReply>,
        out: &mut Vec<Effect>,
    ) {
        let Some(signing) = self.signing.as_mut().filter(|signing| signing.request == *request) else { return };
        let answer = signing.answer(now, &self.config.timing, signer, reply);
        if answer == Answer::Ignored {
            return;
        }
        let (have, needed, problems) = (signing.have(), signing.needed(), signing.problems());
        let settlement = self.assignment.as_ref().map_or(0, |assignment| assignment.root.settlement);
        out.push(Effect::Report(Report::Signatures { settlement, have, needed, problems }));
        match answer {
            Answer::Wrong(problem) => self.raise(Alert::Signer { signer: *signer, problem }, out),
            _ => self.alerts.clear(|key| *key == Key::Signer(*signer)),
        }
    }

    /// Posts the newest root once there are enough signatures.
    pub(super) fn post(&mut self, now: UnixMillis) {
        let Some(head) = self.views.fresh_head(now) else { return };
        let is_stopped = self.is_token_bad(head) || self.blocks.is_post_blocked() || self.is_held(now);
        if !self.needs_post() || self.is_post_refused() || is_stopped || self.is_posting(false) {
            return;
        }
        let Some(root) = self.assignment.as_ref().map(|assignment| assignment.root) else { return };
        let Some(signatures) = self.signing.as_ref().and_then(Signing::signatures) else { return };
        let work = Work::Post { settlement: root.settlement, root: root.root, total: root.total, era: root.era };
        self.open(now, work, vault::post_root(&root, &signatures));
    }

    /// Starts a transaction with its estimate.
    pub(super) fn open(&mut self, now: UnixMillis, work: Work, data: Vec<u8>) {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        self.jobs.insert(id, Job::new(id, work, data, now));
        self.stir(now);
    }

    /// The root that the head shows, and the ledger's newest.
    pub(super) fn judge_root(&mut self, out: &mut Vec<Effect>) {
        let alert = self.foreign_root();
        self.raise_if(Key::ForeignRoot, alert, out);
    }

    /// A root that the ledger does not know. One of a later settlement than the ledger's is told when it is solid: this node
    /// may lag behind.
    fn foreign_root(&self) -> Option<Alert> {
        let newest = &self.assignment.as_ref()?.root;
        let of = |snapshot: &vault::VaultSnapshot, allowed| {
            let (settlement, total) = (snapshot.settlement, snapshot.total);
            Some(Alert::ForeignRoot { settlement, root: snapshot.root?, total, allowed })
        };
        let solid = self.views.solid.as_ref().map(|solid| &solid.snapshot).filter(|solid| solid.era == newest.era);
        if let Some(solid) = solid {
            let is_same = (solid.settlement, solid.root) == (newest.settlement, Some(newest.root));
            if solid.settlement > newest.settlement || (solid.settlement == newest.settlement && !is_same) {
                return of(solid, None);
            }
            if is_same && solid.total > newest.total {
                return of(solid, Some(newest.total));
            }
        }
        let head = &self.views.head.as_ref()?.snapshot;
        let shown: posted::RootKey = (head.settlement, head.root?);
        if head.settlement > newest.settlement || self.posted.settlement() != Some(shown.0) {
            return None;
        }
        let is_newest = shown == (newest.settlement, newest.root);
        match self.posted.checked() {
            None if self.posted.is_foreign() && !is_newest => of(head, None),
            Some(issued) if head.settlement < newest.settlement && head.total > issued.root.total => {
                of(head, Some(issued.root.total))
            }
            _ => None,
        }
    }
}
