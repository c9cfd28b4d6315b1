//! What was read of the vault, and when it is read again.

use std::time::Duration;

use lucid_types::amount::MicroUsdt;
use lucid_types::time::UnixMillis;

use super::posted::Paid;
use super::types::{HeadView, SolidView};
use crate::trc20::TokenFlags;
use crate::vault::VaultSnapshot;

/// How long a receipt makes older heads useless at most: a liar's receipt from the future must not stop a pusher.
const MAX_WAIT_FOR_HEAD: Duration = Duration::from_secs(60);

/// How old the head may get while something is left to do, although nothing on it asks for another look: what others did can be
/// in a block that a fork drops, and what a liar showed never was.
const MAX_HEAD_AGE: Duration = Duration::from_secs(60);

/// How far the payouts are on the solid view: what a successor waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Era, settlement, total.
    pub(super) root: (u32, u64, MicroUsdt),
    pub(super) paid_out: MicroUsdt,
}

impl Mark {
    pub(super) const fn of(snapshot: &VaultSnapshot) -> Self {
        Self { root: (snapshot.era, snapshot.settlement, snapshot.total), paid_out: snapshot.paid_out }
    }
}

/// Everything of the head that decides whether a batch is refused. While it stays the same, so does a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    snapshot: VaultSnapshot,
    token: TokenFlags,
    period: Option<u64>,
    /// A pause or closing that was announced takes effect, or one lapses.
    is_stopped: bool,
}

impl Fingerprint {
    pub(super) fn of(head: &HeadView) -> Self {
        let now_s = seconds(head.time);
        let snapshot = VaultSnapshot { paid: Paid::new(), ..head.snapshot.clone() };
        Self {
            period: now_s.checked_div(snapshot.period.into()),
            is_stopped: snapshot.is_paused(now_s) || snapshot.is_closed(now_s),
            token: head.token,
            snapshot,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Views {
    pub(super) solid: Option<SolidView>,
    pub(super) head: Option<HeadView>,
    /// When that was read.
    pub(super) head_read_at: UnixMillis,
    /// What accounts have had on the solid view, from all reads of it.
    pub(super) solid_paid: Paid,
    /// The furthest that the solid view ever was.
    pub(super) mark: Option<Mark>,
    pub(super) solid_at: UnixMillis,
    pub(super) head_at: UnixMillis,
    /// A head older than this block does not show what our own transactions did; and until when that counts.
    fresh_from: Option<(UnixMillis, UnixMillis)>,
}

impl Views {
    pub(super) fn head_time(&self) -> Option<UnixMillis> {
        self.head.as_ref().map(|head| head.time)
    }

    pub(super) fn solid_time(&self) -> Option<UnixMillis> {
        self.solid.as_ref().map(|solid| solid.time)
    }

    /// A block of this time changed the vault: nothing is planned on an older head.
    pub(super) fn needs_head_from(&mut self, block_time: UnixMillis, now: UnixMillis) {
        let from = self.fresh_from.map_or(block_time, |(from, _)| from.max(block_time));
        self.fresh_from = Some((from, now.after(MAX_WAIT_FOR_HEAD)));
        self.head_at = self.head_at.min(now);
    }

    /// Whether the head is missing, or was read long ago.
    pub(super) fn is_head_old(&self, now: UnixMillis) -> bool {
        self.head.is_none() || now >= self.head_read_at.after(MAX_HEAD_AGE)
    }

    /// The head, if it shows everything that is known to have happened.
    pub(super) fn fresh_head(&self, now: UnixMillis) -> Option<&HeadView> {
        let is_fresh = |head: &&HeadView| self.fresh_from.is_none_or(|(from, until)| head.time >= from || now >= until);
        self.head.as_ref().filter(is_fresh)
    }
}

/// TRON's contracts count time in whole seconds.
pub(super) const fn seconds(time: UnixMillis) -> u64 {
    time.get() / 1_000
}
