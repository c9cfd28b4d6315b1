//! The storage probe of an epoch, as part of [`super::core`]: what of it is to be sent when, and what it comes to. Pure.
//!
//! ```text
//!  held unknown --Ask::Held--> known --Ask::Deposit, one after the other--> all there
//!                                '---- at its random time: Ask::Challenge --> proved, or 0
//! ```
//!
//! What a worker holds is asked of it: a lie upwards fails the challenge, a lie downwards proves less. What is remembered beside, for a term, is
//! [`known`]'s.
//!
//! **Whose fault.** A challenge that was sent and not answered rightly and in time proves nothing, and so does one for which its worker could not be
//! reached. With nothing deposited, it is the worker's doing if it has refused or dropped what was offered. Else the validator abstains: it had no
//! time, no slots or no budget of its own, or this is the first epoch in which it has to do with the worker in the term, which may not have seen the block
//! yet that says so.
//!
//! **Busy.** A worker that is too busy is asked again after a pause, and after a longer one, to the end of the epoch. Only then it has failed.
//!
//! One request at a time goes to a worker for each term, so at most two are under way, as its protocol allows: if our mesh finds
//! more pending, the worker has left earlier ones unanswered. Of deposits it takes one at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use lucid_p2p::Protocol;
use lucid_types::id::NodeId;
use lucid_types::policy::Policy;
use lucid_types::storage::{ChunkRange, DepositId, StorageRefusal};
use lucid_types::time::UnixMillis;

use self::stock::{Challenge, Doing, Stock};
use super::budget::{CoreLimits, Gauges};
use super::counts::{ProbeCounts, StorageOutcome};
use super::draws::Draws;
use super::limits::{PING_TIMEOUT, ping_tail};
use super::schedule::Bounds;

pub(super) use self::known::KeptStock;
pub use self::stock::{Ask, StorageFault, StoredAt};

mod known;
mod stock;

/// Between two deposits with one worker: with two deposits under way that is as fast as its protocol lets a peer ask.
const PAUSE: Duration = Duration::from_millis(300);

/// How often a worker that is busy is asked again in an epoch. The first pause is a thirty-second of the epoch, and each of the next ones twice as long
/// as the one before: together they are the epoch.
const BUSY_RETRIES: u32 = 5;

/// Of the bytes of an epoch's deposits those in vain take one in so many at most.
const IN_VAIN_PART: u64 = 4;

/// A worker and the settlement in which the term begins for which chunks are deposited with it.
pub(super) type StockId = (NodeId, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Ask,
    Challenge,
}

/// The first is deposited with next: of which the worker holds the least part, by a random order.
type Turn = (u64, u64, StockId);

/// The storage probes of an epoch.
#[derive(Debug)]
pub(super) struct Storage {
    stocks: BTreeMap<StockId, Stock>,
    /// Of workers that are not drawn in this epoch, and whose terms go on.
    others: KeptStock,
    /// In the order of the assignment.
    challenged: Vec<StockId>,
    /// Challenges, and questions how much is held, by time.
    tasks: VecDeque<(UnixMillis, StockId, Task)>,
    /// They want a slot.
    questions: VecDeque<StockId>,
    wanting: BTreeSet<Turn>,
    /// Of those that were offered something in vain last. One slot is theirs, so that one failure does not keep a worker waiting for ever.
    in_vain: BTreeSet<Turn>,
    in_vain_under_way: usize,
    pausing: BTreeSet<(UnixMillis, StockId)>,
    bytes_left: u64,
    /// Those of them that those in vain may take.
    in_vain_bytes_left: u64,
    /// Of all chunks for a term one in so many is deposited again.
    again_part: u32,
    /// Turns among equals begin here.
    pivot: u64,
    range_bytes: u32,
    n_ranges: u32,
    end: UnixMillis,
    last_challenge: UnixMillis,
    /// When a worker that is busy is asked for the last time.
    last_retry: UnixMillis,
    last_deposit: UnixMillis,
    /// The first pause of a worker that is busy.
    busy_pause: Duration,
}

/// What leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    pub(super) worker: NodeId,
    pub(super) deposit: DepositId,
    pub(super) ask: Ask,
    pub(super) timeout: Duration,
}

impl Storage {
    pub(super) fn begin(
        policy: &Policy,
        limits: &CoreLimits,
        bounds: Bounds,
        stored: &[StoredAt],
        kept: &KeptStock,
        draws: &mut Draws,
    ) -> Self {
        let length = bounds.start.until(bounds.end);
        let tail = ping_tail(&policy.fixed());
        let mut storage = Self {
            stocks: BTreeMap::new(),
            others: kept.others(stored),
            challenged: stored.iter().filter(|it| it.is_challenged).map(StoredAt::id).collect(),
            tasks: VecDeque::new(),
            questions: VecDeque::new(),
            wanting: BTreeSet::new(),
            in_vain: BTreeSet::new(),
            in_vain_under_way: 0,
            pausing: BTreeSet::new(),
            bytes_left: policy.storage_epoch_bytes,
            in_vain_bytes_left: (policy.storage_epoch_bytes / IN_VAIN_PART).max(Policy::CHUNK_BYTES),
            again_part: limits.again_part,
            pivot: draws.below(u64::MAX),
            range_bytes: policy.storage_range_bytes,
            n_ranges: policy.storage_ranges,
            end: bounds.end,
            last_challenge: bounds.start.after(length.saturating_sub(tail)),
            last_retry: bounds.start.after(length.saturating_sub(tail + tail / 4)),
            last_deposit: bounds.start.after(length / 8 * 7),
            busy_pause: length / 32,
        };
        let mut random = |window: Duration| {
            let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
            bounds.start.after(Duration::from_millis(draws.below(millis)))
        };
        let mut tasks = Vec::new();
        for at in stored {
            let id = at.id();
            let kept = kept.of(at);
            let (is_new, mut known) = (kept.is_none(), kept.unwrap_or_default());
            if at.is_challenged {
                known.begin_term(at.chunks());
                // Asking what is held, too, may take so long.
                tasks.push((random(length.saturating_sub(tail * 2)), id, Task::Challenge));
            } else {
                known.wants(at.chunks());
            }
            if known.held.is_none() {
                tasks.push((random(length / 8), id, Task::Ask));
            }
            let (doing, challenge, busy) = (Doing::Nothing, Challenge::Ahead, Default::default());
            let stock = Stock { at: *at, known, doing, challenge, is_closed: false, is_new, busy };
            storage.stocks.insert(id, stock);
            storage.want(id);
        }
        tasks.sort_unstable();
        storage.tasks = tasks.into();
        storage
    }

    /// When [`Self::send`] is to be called at the latest.
    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        let task = self.tasks.front().map(|(at, ..)| *at);
        let pause = self.pausing.first().map(|(at, _)| *at);
        [task, pause].into_iter().flatten().min()
    }

    /// What leaves now.
    pub(super) fn send(
        &mut self,
        now: UnixMillis,
        has_peers: bool,
        limits: &CoreLimits,
        gauges: &mut Gauges,
        draws: &mut Draws,
        counts: &mut ProbeCounts,
    ) -> Vec<Leaving> {
        while let Some((_, id, task)) = self.tasks.pop_front_if(|(at, ..)| *at <= now) {
            let Some(stock) = self.stocks.get_mut(&id) else { continue };
            if task == Task::Challenge {
                stock.challenge = Challenge::Due;
            }
            self.questions.push_back(id);
        }
        while let Some((at, id)) = self.pausing.first().copied().filter(|(at, _)| *at <= now) {
            self.pausing.remove(&(at, id));
            if self.stocks.get(&id).is_some_and(|it| it.doing == Doing::Nothing) {
                self.go_on(id);
            }
        }
        let mut leaving = Vec::new();
        while gauges.questions < limits.questions
            && let Some(id) = self.questions.pop_front()
        {
            if let Some(ask) = self.question(now, has_peers, id, draws, counts) {
                gauges.questions += 1;
                leaving.extend(self.leave(now, id, ask));
            }
        }
        while has_peers
            && now <= self.last_deposit
            && gauges.deposits < limits.deposits
            && self.bytes_left >= Policy::CHUNK_BYTES
            && let Some(id) = self.next_turn(limits.deposits)
        {
            // It takes one at a time, for whichever term.
            if self.of_worker(&id.0).any(|(_, it)| it.doing == Doing::Depositing) {
                self.pausing.insert((now.after(PAUSE), id));
                continue;
            }
            let Some(stock) = self.stocks.get_mut(&id).filter(|it| it.doing == Doing::Nothing && !it.is_closed) else {
                continue;
            };
            let Some(held) = stock.held().filter(|held| *held < stock.at.chunks()) else { continue };
            stock.doing = Doing::Depositing;
            gauges.deposits += 1;
            self.bytes_left -= Policy::CHUNK_BYTES;
            if stock.known.is_in_vain {
                self.in_vain_under_way += 1;
                self.in_vain_bytes_left = self.in_vain_bytes_left.saturating_sub(Policy::CHUNK_BYTES);
            }
            leaving.extend(self.leave(now, id, Ask::Deposit(held)));
        }
        leaving
    }

    /// There was no connection: it waits for one. False if nothing was under way.
    pub(super) fn not_connected(&mut self, id: StockId, gauges: &mut Gauges) -> bool {
        let is_landed = self.land(id, gauges);
        if let Some((doing, stock)) = is_landed.zip(self.stocks.get_mut(&id)) {
            stock.doing = Doing::Waiting;
            if doing == Doing::Depositing {
                let is_in_vain = stock.known.is_in_vain;
                self.unsent(is_in_vain);
            }
        }
        is_landed.is_some()
    }

    /// Whether its challenge is due, for which its worker is dialled though it could not be reached a moment ago.
    pub(super) fn is_due(&self, id: &StockId) -> bool {
        self.stocks.get(id).is_some_and(|it| it.challenge == Challenge::Due)
    }

    /// Whether a challenge would have less time than others, if its worker were dialled now.
    pub(super) fn is_late(&self, now: UnixMillis) -> bool {
        now > self.last_challenge
    }

    /// There is a connection to a worker.
    pub(super) fn connected(&mut self, worker: &NodeId) {
        for id in self.waiting(worker) {
            self.go_on(id);
        }
    }

    /// There is none: it could not be reached, or it was not tried.
    pub(super) fn unconnected(&mut self, worker: &NodeId, is_tried: bool, counts: &mut ProbeCounts) {
        for id in self.waiting(worker) {
            self.unreachable(id, is_tried, counts);
        }
    }

    /// The same of what waits for one term.
    pub(super) fn unreachable(&mut self, id: StockId, is_tried: bool, counts: &mut ProbeCounts) {
        let Some(stock) = self.stocks.get_mut(&id).filter(|it| it.doing == Doing::Waiting) else { return };
        stock.doing = Doing::Nothing;
        if is_tried {
            stock.known.failed();
        }
        stock.is_closed = true;
        if stock.challenge == Challenge::Due {
            stock.failed(is_tried, StorageOutcome::Unreachable, counts);
        }
    }

    /// What has left has ended: with the number of chunks that are there, unless it was a challenge.
    pub(super) fn ended(
        &mut self,
        now: UnixMillis,
        id: StockId,
        outcome: Result<u32, StorageFault>,
        gauges: &mut Gauges,
        counts: &mut ProbeCounts,
    ) {
        let Some(doing) = self.land(id, gauges) else { return };
        let Some(stock) = self.stocks.get_mut(&id) else { return };
        match outcome {
            Err(StorageFault::Late) => stock.known.is_silent = true,
            Ok(_) | Err(StorageFault::Busy | StorageFault::Refused(_) | StorageFault::Wrong) => {
                stock.known.is_silent = false;
            }
            Err(_) => {}
        }
        let (place, all) = (stock.held().unwrap_or(0), stock.at.chunks());
        let outcome = match (doing, outcome) {
            // A chunk more than there were, or it is not the answer.
            (Doing::Depositing, Ok(chunks)) if chunks != place.saturating_add(1) => Err(StorageFault::Wrong),
            // It was the next one.
            (Doing::Depositing, Err(StorageFault::Refused(Some(StorageRefusal::OutOfOrder { next }))))
                if next == place =>
            {
                Err(StorageFault::Wrong)
            }
            (_, outcome) => outcome,
        };
        let was_sent = !matches!(outcome, Err(StorageFault::Own | StorageFault::Unanswered));
        if doing == Doing::Depositing && was_sent {
            stock.known.offered(place);
        }
        // It says itself how many are there.
        let told = match outcome {
            Err(StorageFault::Refused(Some(StorageRefusal::OutOfOrder { next }))) => Some(next),
            Err(StorageFault::Refused(Some(StorageRefusal::Damaged { index }))) => Some(index),
            _ => None,
        };
        stock.doing = doing;
        let is_to_blame = outcome.is_err_and(|fault| stock.is_to_blame(fault));
        stock.doing = Doing::Nothing;
        let was_in_vain = stock.known.is_in_vain;
        let busy = if doing == Doing::Depositing { &mut stock.busy.1 } else { &mut stock.busy.0 };
        busy.is_last = outcome == Err(StorageFault::Busy);
        if busy.is_last && busy.n < BUSY_RETRIES && now < self.last_retry {
            let pause = self.busy_pause * (1 << busy.n);
            busy.n += 1;
            self.pausing.insert((now.after(pause).min(self.last_retry), id));
            if doing == Doing::Depositing {
                counts.deposit(StorageOutcome::Refused);
            }
            return;
        }
        match (doing, outcome) {
            (Doing::Asking, Ok(chunks)) => stock.known.holds(chunks, all),
            (Doing::Challenging, Ok(_)) => {
                let proved = place / u32::from(stock.at.seats.max(1));
                let proved = u16::try_from(proved).unwrap_or(u16::MAX).min(stock.at.quota);
                stock.over(Some(proved), StorageOutcome::Done, counts);
            }
            (Doing::Depositing, Ok(chunks)) => {
                stock.known.took(chunks, all);
                counts.deposit(StorageOutcome::Done);
                self.pausing.insert((now.after(PAUSE), id));
            }
            (Doing::Asking, Err(fault)) => {
                stock.is_closed = true;
                if is_to_blame {
                    stock.known.failed();
                }
                if stock.challenge == Challenge::Due {
                    stock.failed(is_to_blame, fault.outcome(), counts);
                }
            }
            (Doing::Challenging, Err(fault)) => {
                stock.known.held = told.or(stock.known.held.filter(|_| fault == StorageFault::Busy));
                stock.is_closed |= told.is_none();
                stock.failed(is_to_blame, fault.outcome(), counts);
            }
            (Doing::Depositing, Err(fault)) => {
                // After a refusal that says how many are there it has done what it should.
                if is_to_blame && told.is_none() {
                    stock.known.failed();
                }
                // If nothing came back, it may be there or not.
                let is_known = !was_sent || matches!(fault, StorageFault::Busy | StorageFault::Refused(_));
                stock.known.held = stock.known.held.filter(|_| is_known);
                if let Some(told) = told {
                    stock.known.holds(told, all);
                }
                stock.is_closed = true;
                counts.deposit(fault.outcome());
                if !was_sent {
                    self.unsent(was_in_vain);
                }
            }
            (Doing::Nothing | Doing::Waiting, _) => {}
        }
        self.go_on(id);
    }

    /// Chunks proved for each seat by each worker that is challenged, in the order of the assignment, and what is known of all. What has not
    /// come back by now has failed, and what has not left was not sent.
    pub(super) fn finish(
        mut self,
        is_dialling: impl Fn(&NodeId) -> bool,
        counts: &mut ProbeCounts,
    ) -> (Vec<Option<u16>>, KeptStock) {
        let is_challenged: BTreeSet<_> = self.challenged.iter().copied().collect();
        for (id, stock) in &mut self.stocks {
            if stock.doing == Doing::Depositing {
                counts.deposit(StorageOutcome::Late);
                stock.known.offered(stock.held().unwrap_or(0));
                stock.known.held = None;
                stock.known.failed();
            }
            // To the end of the epoch it was too busy.
            let (questions, deposits) = stock.busy;
            if deposits.is_last || (questions.is_last && stock.known.held.is_none()) {
                stock.known.failed();
            }
            stock.known.end_epoch();
            // What was under way keeps the challenge waiting, or is it.
            let is_under_way = !matches!(stock.doing, Doing::Nothing | Doing::Waiting);
            stock.known.is_silent |= is_under_way;
            if !is_challenged.contains(id) {
                continue;
            }
            match (stock.challenge, stock.doing) {
                (Challenge::Over(_), _) => {}
                (Challenge::Due, Doing::Waiting) => {
                    stock.failed(is_dialling(&id.0), StorageOutcome::Unreachable, counts);
                }
                (Challenge::Due, _) if is_under_way => stock.failed(true, StorageOutcome::Late, counts),
                (Challenge::Due, _) if questions.is_last => stock.failed(true, StorageOutcome::Refused, counts),
                _ => stock.over(None, StorageOutcome::NotSent, counts),
            }
            if stock.doing == Doing::Challenging {
                stock.known.held = None;
            }
        }
        let proved = |id: &StockId| match self.stocks.get(id).map(|it| it.challenge) {
            Some(Challenge::Over(proved)) => proved,
            _ => None,
        };
        let proved = self.challenged.iter().map(proved).collect();
        let mut kept = self.others;
        kept.extend(self.stocks.values().map(|it| (it.at, it.known)));
        (proved, kept)
    }

    /// What is asked of a worker now, if anything is.
    fn question(
        &mut self,
        now: UnixMillis,
        has_peers: bool,
        id: StockId,
        draws: &mut Draws,
        counts: &mut ProbeCounts,
    ) -> Option<Ask> {
        let (n_ranges, is_late) = (self.n_ranges, self.is_late(now));
        let last_offset = Policy::CHUNK_BYTES.saturating_sub(self.range_bytes.into());
        let stock = self.stocks.get_mut(&id).filter(|it| it.doing == Doing::Nothing)?;
        let is_due = stock.challenge == Challenge::Due;
        // A validator without peers has learnt nothing of workers. What our own slots kept for so long would have less time than others.
        if is_due && (!has_peers || is_late) {
            stock.failed(has_peers && stock.busy.0.is_last, StorageOutcome::Refused, counts);
            return None;
        }
        let Some(held) = stock.held() else {
            let is_wanted = has_peers && (is_due || !stock.is_closed);
            stock.doing = if is_wanted { Doing::Asking } else { Doing::Nothing };
            return is_wanted.then_some(Ask::Held);
        };
        if !is_due {
            self.want(id);
            return None;
        }
        let seats = stock.at.seats.into();
        if held < seats {
            stock.failed(stock.known.is_to_blame(seats), StorageOutcome::Refused, counts);
            self.want(id);
            return None;
        }
        stock.doing = Doing::Challenging;
        let range = |_| ChunkRange { index: below(draws, held.into()), offset: below(draws, last_offset + 1) };
        Some(Ask::Challenge((0..n_ranges).map(range).collect()))
    }

    fn leave(&self, now: UnixMillis, id: StockId, ask: Ask) -> Option<Leaving> {
        let at = self.stocks.get(&id)?.at;
        let most = match ask {
            Ask::Held | Ask::Challenge(_) => PING_TIMEOUT,
            Ask::Deposit(_) => Protocol::Storage.limits().timeout,
        };
        Some(Leaving { worker: at.worker, deposit: at.deposit, ask, timeout: most.min(now.until(self.end)) })
    }

    /// Gives the slot back of what was under way; `None` if nothing was.
    fn land(&mut self, id: StockId, gauges: &mut Gauges) -> Option<Doing> {
        let stock = self.stocks.get_mut(&id)?;
        let doing = stock.doing;
        match doing {
            Doing::Nothing | Doing::Waiting => return None,
            Doing::Asking | Doing::Challenging => gauges.questions = gauges.questions.saturating_sub(1),
            Doing::Depositing => {
                gauges.deposits = gauges.deposits.saturating_sub(1);
                self.in_vain_under_way = self.in_vain_under_way.saturating_sub(stock.known.is_in_vain.into());
            }
        }
        stock.doing = Doing::Nothing;
        Some(doing)
    }

    /// Goes on with a challenge that is due, or with what is not known, or else with deposits.
    fn go_on(&mut self, id: StockId) {
        let Some(stock) = self.stocks.get_mut(&id) else { return };
        stock.doing = Doing::Nothing;
        if stock.challenge == Challenge::Due || (stock.known.held.is_none() && !stock.is_closed) {
            self.questions.push_back(id);
        } else if !self.pausing.iter().any(|(_, pausing)| *pausing == id) {
            self.want(id);
        }
    }

    /// Waits for its turn to be deposited with, if it may.
    fn want(&mut self, id: StockId) {
        let Some(stock) = self.stocks.get(&id).filter(|it| !it.is_closed && it.doing == Doing::Nothing) else { return };
        let (all, known) = (stock.at.chunks(), stock.known);
        let Some(held) = stock.held().filter(|held| *held < all) else { return };
        if !known.may_offer(held, all, self.again_part) {
            return;
        }
        let share = u64::from(held) * 1_000_000 / u64::from(all.max(1));
        let place = id.0.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let place = place.wrapping_sub(self.pivot);
        // Those in vain have their turns by chance alone: one that holds nothing would always be before others.
        let _is_new = if known.is_in_vain {
            self.in_vain.insert((0, place, id))
        } else {
            self.wanting.insert((share, place, id))
        };
    }

    /// Who is deposited with next, if there are so many slots.
    fn next_turn(&mut self, slots: usize) -> Option<StockId> {
        let has_bytes = self.in_vain_bytes_left >= Policy::CHUNK_BYTES;
        let is_theirs = self.wanting.is_empty() || (slots > 1 && self.in_vain_under_way == 0);
        let turn = if has_bytes && is_theirs { self.in_vain.pop_first() } else { None };
        turn.or_else(|| self.wanting.pop_first()).map(|(.., id)| id)
    }

    /// A chunk has not left after all.
    fn unsent(&mut self, is_in_vain: bool) {
        self.bytes_left = self.bytes_left.saturating_add(Policy::CHUNK_BYTES);
        if is_in_vain {
            self.in_vain_bytes_left = self.in_vain_bytes_left.saturating_add(Policy::CHUNK_BYTES);
        }
    }

    fn of_worker(&self, worker: &NodeId) -> impl Iterator<Item = (&StockId, &Stock)> {
        self.stocks.range((*worker, 0)..=(*worker, u64::MAX))
    }

    fn waiting(&self, worker: &NodeId) -> Vec<StockId> {
        self.of_worker(worker).filter(|(_, it)| it.doing == Doing::Waiting).map(|(id, _)| *id).collect()
    }
}

fn below(draws: &mut Draws, bound: u64) -> u32 {
    u32::try_from(draws.below(bound)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
