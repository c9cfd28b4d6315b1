//! Which peer fetches which blocks: a pure function of time, of who is connected, and of what has come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lucid_types::id::PublicKey;
use lucid_types::time::{Height, UnixMillis};

/// Downloads at a time, each from another peer.
const SLOTS: usize = 4;
/// Heights of one download.
const RANGE: u64 = 64;
/// Bytes of blocks that are here before their turn; beyond them only what comes next is fetched.
const MAX_READY_BYTES: usize = 32 << 20;
/// Blocks that are with the driver and not stored yet, and their bytes; one is always allowed.
const MAX_IN_DRIVER: usize = 64;
const MAX_IN_DRIVER_BYTES: usize = 32 << 20;
/// What comes next is fetched from one more peer when those that fetch it have not brought it in this time, and the time that what they
/// did bring takes at this rate.
const PATIENCE: Duration = Duration::from_secs(2);
const BYTES_PER_MS: u64 = 256;
/// Blocks that the driver was given and has not stored in this time, it never will.
const STORING: Duration = Duration::from_secs(30);
/// For how long a peer is not asked that has nothing, gave no answer or was overtaken, or lied. While there is nobody else, those that
/// did not lie are asked all the same, after a pause: they answer a number of questions a second, of which others have need.
const NOTHING: Duration = Duration::from_secs(2);
const SILENT: Duration = Duration::from_secs(30);
const LIED: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(500);

/// A connected peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) key: PublicKey,
    pub(super) is_validator: bool,
}

/// One peer's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Download {
    pub(super) peer: PublicKey,
    /// The first height that has not come.
    pub(super) next: Height,
    /// The last height of its range.
    pub(super) to: Height,
    /// What has come of the frame of [`Self::next`].
    pub(super) buffer: Vec<u8>,
}

/// A download to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) id: u64,
    pub(super) download: Download,
}

/// The checked blocks of a page, from [`Download::next`] on, with their lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page<B> {
    pub(super) blocks: Vec<(B, usize)>,
    /// The page's own length: its last block may not be whole.
    pub(super) bytes: usize,
}

/// Why a peer did not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// It does not have the blocks.
    #[error("it does not have them")]
    Nothing,
    /// It gave no answer.
    #[error("no answer: {0}")]
    Silent(String),
    /// Its answer was wrong.
    #[error("its answer was wrong: {0}")]
    Lie(&'static str),
}

#[derive(Debug)]
struct Running {
    peer: Peer,
    range: u64,
    since: UnixMillis,
    /// What it has brought.
    bytes: u64,
}

impl Running {
    fn is_late(&self, now: UnixMillis) -> bool {
        now > self.since.after(PATIENCE).after(Duration::from_millis(self.bytes / BYTES_PER_MS))
    }
}

/// Since when and until when a peer is not asked, and whether it lied.
#[derive(Clone, Copy, Debug)]
struct Shunned {
    since: UnixMillis,
    until: UnixMillis,
    is_liar: bool,
}

/// The plan. `B` is a checked block.
#[derive(Debug)]
pub(super) struct Plan<B> {
    /// The newest stored block, and since when.
    head: Height,
    head_since: UnixMillis,
    /// The last height that is wanted.
    target: Height,
    /// The last height that the driver was given.
    given: Height,
    /// What the driver was given and has not stored, with lengths.
    in_driver: BTreeMap<Height, usize>,
    ready: BTreeMap<Height, (B, usize)>,
    ready_bytes: usize,
    running: BTreeMap<u64, Running>,
    shunned: BTreeMap<PublicKey, Shunned>,
    next_id: u64,
}

const fn range_of(height: Height) -> u64 {
    height.get() / RANGE
}

impl<B> Plan<B> {
    pub(super) const fn new(now: UnixMillis, head: Height) -> Self {
        Self {
            head,
            head_since: now,
            target: head,
            given: head,
            in_driver: BTreeMap::new(),
            ready: BTreeMap::new(),
            ready_bytes: 0,
            running: BTreeMap::new(),
            shunned: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Follows the newest block and the newest certificate.
    pub(super) fn follow(&mut self, now: UnixMillis, head: Height, target: Height) {
        if head > self.head || self.given <= head {
            (self.head, self.head_since) = (head, now);
        } else if self.head_since.after(STORING) <= now {
            (self.given, self.head_since) = (head, now);
            self.in_driver.clear();
        }
        self.in_driver = self.in_driver.split_off(&head.next());
        self.target = self.target.max(target);
        self.given = self.given.max(head);
        let later = self.ready.split_off(&self.given.next());
        self.ready = later;
        self.ready_bytes = self.ready.values().map(|(_, bytes)| bytes).sum();
        let complete: BTreeSet<_> =
            self.running.values().map(|it| it.range).filter(|range| self.missing(*range).is_none()).collect();
        self.running.retain(|_, it| !complete.contains(&it.range));
    }

    /// The next block for the driver, if it is here and the driver has room.
    pub(super) fn next_ready(&mut self) -> Option<B> {
        let next = self.given.next();
        let in_driver: usize = self.in_driver.values().sum();
        if self.in_driver.len() >= MAX_IN_DRIVER || in_driver >= MAX_IN_DRIVER_BYTES {
            return None;
        }
        let (block, bytes) = self.ready.remove(&next)?;
        self.in_driver.insert(next, bytes);
        self.ready_bytes = self.ready_bytes.saturating_sub(bytes);
        self.given = next;
        Some(block)
    }

    pub(super) fn is_running(&self, id: u64) -> bool {
        self.running.contains_key(&id)
    }

    /// The first height of a range that is wanted and neither here nor with the driver.
    fn missing(&self, range: u64) -> Option<Height> {
        let first = Height::new(range.saturating_mul(RANGE)).max(self.given.next());
        let last = self.last_of(range);
        (first.get()..=last.get()).map(Height::new).find(|height| !self.ready.contains_key(height))
    }

    fn last_of(&self, range: u64) -> Height {
        Height::new(range.saturating_mul(RANGE).saturating_add(RANGE - 1)).min(self.target)
    }

    /// Gives idle peers something to do. `peers` in the order of preference.
    pub(super) fn assign(&mut self, now: UnixMillis, peers: &[Peer]) -> Vec<Ask> {
        self.shunned.retain(|_, shunned| shunned.until > now);
        self.running.retain(|_, it| peers.iter().any(|peer| peer.key == it.peer.key));
        let mut asks = Vec::new();
        while let Some((range, from)) = self.next_range(now) {
            let Some(peer) = self.choose(now, peers) else { break };
            let id = self.next_id;
            self.next_id += 1;
            let download = Download { peer: peer.key, next: from, to: self.last_of(range), buffer: Vec::new() };
            self.running.insert(id, Running { peer, range, since: now, bytes: 0 });
            asks.push(Ask { id, download });
        }
        asks
    }

    /// The range that lacks a download most: the first that has none; or the first of all, if whoever fetches it takes long.
    fn next_range(&mut self, now: UnixMillis) -> Option<(u64, Height)> {
        if self.given >= self.target {
            return None;
        }
        if self.running.len() >= SLOTS {
            self.free_a_slot(now);
        }
        if self.running.len() >= SLOTS {
            return None;
        }
        let first = range_of(self.given.next());
        let last = range_of(self.target).min(first.saturating_add(2 * u64::try_from(SLOTS).unwrap_or(u64::MAX)));
        let of = |range: u64| self.running.values().filter(move |it| it.range == range);
        let is_late = |range: u64| of(range).all(|it| it.is_late(now));
        let has_room = |range: u64| self.has_room(range);
        let missing = |range: u64| Some((range, self.missing(range)?));
        let open = (first..=last).filter(|range| of(*range).next().is_none() && has_room(*range)).find_map(missing);
        let needed_first = || (first..=last).find_map(missing).filter(|(range, _)| is_late(*range));
        open.or_else(needed_first)
    }

    /// Whether more of a range may be kept.
    fn has_room(&self, range: u64) -> bool {
        let next = self.given.next();
        self.ready_bytes < MAX_READY_BYTES || (range == range_of(next) && !self.ready.contains_key(&next))
    }

    /// When what comes next is late and all slots are taken, the oldest download that is late gives its slot to another peer.
    fn free_a_slot(&mut self, now: UnixMillis) {
        let first = range_of(self.given.next());
        let mut of_first = self.running.values().filter(|it| it.range == first);
        if !of_first.all(|it| it.is_late(now)) {
            return;
        }
        let late = self.running.iter().filter(|(_, it)| it.is_late(now)).min_by_key(|(_, it)| it.since);
        if let Some((id, peer)) = late.map(|(id, it)| (*id, it.peer.key)) {
            self.running.remove(&id);
            self.shun(now, peer, SILENT, false);
        }
    }

    /// An idle peer. One of those at work should be no validator, where one is known: validators could agree to hide blocks.
    fn choose(&self, now: UnixMillis, peers: &[Peer]) -> Option<Peer> {
        let is_idle = |peer: &&Peer| self.running.values().all(|it| it.peer.key != peer.key);
        let has_outsider = self.running.values().any(|it| !it.peer.is_validator);
        let wants_outsider = !self.running.is_empty() && !has_outsider;
        let fresh = |peer: &&Peer| !self.shunned.contains_key(&peer.key);
        let idle = || peers.iter().filter(is_idle);
        let preferred = idle().filter(fresh).find(|peer| peer.is_validator != wants_outsider);
        let other = || idle().find(fresh);
        // Better than nobody, but not beside others.
        let forgiven = || {
            let shunned = idle().filter_map(|peer| Some((self.shunned.get(&peer.key)?, peer)));
            let honest = shunned.filter(|(shunned, _)| !shunned.is_liar && self.running.is_empty());
            let honest = honest.filter(|(shunned, _)| shunned.since.after(PAUSE) <= now);
            honest.min_by_key(|(shunned, _)| shunned.until).map(|(_, peer)| peer)
        };
        preferred.or_else(other).or_else(forgiven).copied()
    }

    /// Takes what a download's page has brought; the download, if it goes on.
    pub(super) fn ended(
        &mut self,
        now: UnixMillis,
        id: u64,
        mut download: Download,
        outcome: Result<Page<B>, Fault>,
    ) -> Option<Download> {
        let page = match outcome {
            Ok(page) => page,
            Err(fault) => {
                self.running.remove(&id);
                let (time, is_liar) = match fault {
                    Fault::Nothing => (NOTHING, false),
                    Fault::Silent(_) => (SILENT, false),
                    Fault::Lie(_) => (LIED, true),
                };
                self.shun(now, download.peer, time, is_liar);
                return None;
            }
        };
        for (block, bytes) in page.blocks {
            let height = download.next;
            download.next = height.next();
            if height > self.given && !self.ready.contains_key(&height) {
                self.ready_bytes = self.ready_bytes.saturating_add(bytes);
                self.ready.insert(height, (block, bytes));
            }
        }
        let running = self.running.get_mut(&id)?;
        running.bytes = running.bytes.saturating_add(u64::try_from(page.bytes).unwrap_or(u64::MAX));
        let (range, peer) = (running.range, running.peer);
        if self.missing(range).is_some() && download.next <= download.to && self.has_room(range) {
            return Some(download);
        }
        self.running.remove(&id);
        if self.missing(range).is_none() {
            // Whoever is still at it was overtaken; one that has had its time was too slow.
            let overtaken: Vec<_> = self.running.extract_if(.., |_, it| it.range == range && it.peer != peer).collect();
            for (_, slow) in overtaken.into_iter().filter(|(_, it)| it.is_late(now)) {
                self.shun(now, slow.peer.key, SILENT, false);
            }
        }
        None
    }

    /// Gives up a download whose task has failed.
    pub(super) fn abandon(&mut self, id: u64) {
        self.running.remove(&id);
    }

    fn shun(&mut self, since: UnixMillis, peer: PublicKey, time: Duration, is_liar: bool) {
        let until = since.after(time);
        let known = self.shunned.entry(peer).or_insert(Shunned { since, until, is_liar });
        *known = Shunned { since, until: known.until.max(until), is_liar: known.is_liar || is_liar };
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
