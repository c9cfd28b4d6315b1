//! The storage probe of an epoch, as part of [`super::core`]: what of it is to be sent when, and what it comes to. Pure.
//!
//! ```text
//!  held unknown --Ask::Held--> known --Ask::Deposit, one after the other--> all there
//!                                '---- at its random time: Ask::Challenge --> proved, or 0
//! ```
//!
//! What a worker holds is asked of it: a lie upwards fails the challenge, a lie downwards proves less. So nothing has to be remembered for
//! longer than an epoch, and what is remembered may be lost.
//!
//! **Whose fault.** A challenge that was sent and not answered rightly and in time proves nothing, and so does one for which its worker could not be
//! reached. With nothing deposited, it is the worker's doing if it has refused or dropped what was offered. Else the validator abstains: it had no
//! time, no slots or no budget of its own, or the worker has not seen the block yet that draws it.
//!
//! One request at a time goes to a worker for each term, so at most two are under way, as its protocol allows: if our mesh finds
//! more pending, the worker has left earlier ones unanswered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use lucid_p2p::Protocol;
use lucid_types::id::NodeId;
use lucid_types::policy::Policy;
use lucid_types::storage::{ChunkRange, DepositId, StorageRefusal};
use lucid_types::time::UnixMillis;

use super::budget::{CoreLimits, Gauges};
use super::counts::{ProbeCounts, StorageOutcome};
use super::draws::Draws;
use super::limits::{PING_TIMEOUT, ping_tail};
use super::schedule::Bounds;

/// Between two deposits with one worker: with two deposits under way that is as fast as its protocol lets a peer ask.
const PAUSE: Duration = Duration::from_millis(300);

/// A worker and the settlement in which the term begins for which chunks are deposited with it.
pub(super) type StockId = (NodeId, u64);

/// A worker of which this validator holds storage seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAt {
    /// The worker.
    pub worker: NodeId,
    /// How many of the committee's seats this validator holds.
    pub seats: u8,
    /// Chunks for each of them.
    pub quota: u16,
    /// The chunks.
    pub deposit: DepositId,
    /// Whether the term is under way, so that the report is about it. In the settlement before, chunks are deposited only.
    pub is_challenged: bool,
}

impl StoredAt {
    /// Chunks of all its seats.
    pub fn chunks(&self) -> u32 {
        u32::from(self.seats).saturating_mul(self.quota.into())
    }

    const fn id(&self) -> StockId {
        (self.worker, self.deposit.term)
    }
}

/// What is asked of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// How many chunks it holds.
    Held,
    /// These ranges.
    Challenge(Vec<ChunkRange>),
    /// To store the chunk of this place.
    Deposit(u32),
}

/// Why that was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageFault {
    /// It never left this node, by a limit of its own.
    Own,
    /// It never left this node: too many requests to the worker are unanswered.
    Unanswered,
    /// The worker could not be reached, or the connection ended.
    Unreachable,
    /// No answer in time.
    Late,
    /// The worker refused, for a reason of the protocol or for none.
    Refused(Option<StorageRefusal>),
    /// The answer is not one to this request.
    Wrong,
}

impl StorageFault {
    const fn outcome(self) -> StorageOutcome {
        match self {
            Self::Own => StorageOutcome::NotSent,
            Self::Unanswered | Self::Late => StorageOutcome::Late,
            Self::Unreachable => StorageOutcome::Unreachable,
            Self::Refused(_) => StorageOutcome::Refused,
            Self::Wrong => StorageOutcome::Wrong,
        }
    }
}

/// What one epoch leaves to the next of the chunks deposited with workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeptStock(BTreeMap<StockId, (DepositId, Known)>);

/// What is known of a deposit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    /// Chunks that are there.
    held: Option<u32>,
    /// What was offered last was not taken, or the worker could not be reached.
    is_in_vain: bool,
    /// It has left a request unanswered since it answered one.
    is_silent: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    Nothing,
    /// For a connection.
    Waiting,
    Asking,
    Challenging,
    Depositing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Ask,
    Challenge,
}

/// The challenge of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Challenge {
    /// None, or not yet.
    Ahead,
    /// Its time has come.
    Due,
    /// Chunks proved for each seat; `None` for an abstention.
    Over(Option<u16>),
}

#[derive(Clone, Debug)]
struct Stock {
    at: StoredAt,
    known: Known,
    doing: Doing,
    challenge: Challenge,
    /// No deposits any more in this epoch.
    is_closed: bool,
}

impl Stock {
    /// Chunks that are there and count.
    fn held(&self) -> Option<u32> {
        self.known.held.map(|held| held.min(self.at.chunks()))
    }

    /// Whether a fault is the worker's.
    fn is_to_blame(&self, fault: StorageFault) -> bool {
        match fault {
            StorageFault::Own => false,
            StorageFault::Unanswered => self.known.is_silent,
            // It may not have seen the block yet. A challenge is not refused for that.
            StorageFault::Refused(Some(StorageRefusal::NotDrawn)) => self.doing == Doing::Challenging,
            _ => true,
        }
    }

    fn over(&mut self, proved: Option<u16>, outcome: StorageOutcome, counts: &mut ProbeCounts) {
        if matches!(self.challenge, Challenge::Over(_)) {
            return;
        }
        self.challenge = Challenge::Over(proved);
        counts.challenge(outcome);
    }

    /// A fault ends a challenge that was due.
    fn failed(&mut self, is_to_blame: bool, outcome: StorageOutcome, counts: &mut ProbeCounts) {
        let (proved, outcome) = if is_to_blame { (Some(0), outcome) } else { (None, StorageOutcome::NotSent) };
        self.over(proved, outcome, counts);
    }
}

/// The first is deposited with next: those that take chunks, of which it holds the least part, by a random order.
type Turn = (bool, u64, u64, StockId);

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
    pausing: BTreeSet<(UnixMillis, StockId)>,
    bytes_left: u64,
    /// Turns among equals begin here.
    pivot: u64,
    range_bytes: u32,
    n_ranges: u32,
    end: UnixMillis,
    last_challenge: UnixMillis,
    last_deposit: UnixMillis,
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
        bounds: Bounds,
        stored: &[StoredAt],
        kept: &KeptStock,
        draws: &mut Draws,
    ) -> Self {
        let length = bounds.start.until(bounds.end);
        let tail = ping_tail(&policy.fixed());
        let ids: BTreeSet<_> = stored.iter().map(StoredAt::id).collect();
        let oldest = stored.iter().map(|it| it.deposit.term).min().unwrap_or(0);
        let others = kept.0.iter().filter(|(id, _)| id.1 >= oldest && !ids.contains(*id));
        let mut storage = Self {
            stocks: BTreeMap::new(),
            others: KeptStock(others.map(|(id, known)| (*id, *known)).collect()),
            challenged: stored.iter().filter(|it| it.is_challenged).map(StoredAt::id).collect(),
            tasks: VecDeque::new(),
            questions: VecDeque::new(),
            wanting: BTreeSet::new(),
            pausing: BTreeSet::new(),
            bytes_left: policy.storage_epoch_bytes,
            pivot: draws.below(u64::MAX),
            range_bytes: policy.storage_range_bytes,
            n_ranges: policy.storage_ranges,
            end: bounds.end,
            last_challenge: bounds.start.after(length.saturating_sub(tail)),
            last_deposit: bounds.start.after(length / 8 * 7),
        };
        let mut random = |window: Duration| {
            let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
            bounds.start.after(Duration::from_millis(draws.below(millis)))
        };
        let mut tasks = Vec::new();
        for at in stored {
            let id = at.id();
            // Of another secret nothing is known.
            let known = kept.0.get(&id).filter(|(deposit, _)| *deposit == at.deposit).map(|(_, known)| *known);
            let known = known.unwrap_or_default();
            if at.is_challenged {
                // Asking what is held, too, may take so long.
                tasks.push((random(length.saturating_sub(tail * 2)), id, Task::Challenge));
            }
            if known.held.is_none() {
                tasks.push((random(length / 8), id, Task::Ask));
            }
            let stock = Stock { at: *at, known, doing: Doing::Nothing, challenge: Challenge::Ahead, is_closed: false };
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
            self.want(id);
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
            && let Some((_, _, _, id)) = self.wanting.pop_first()
        {
            let Some(stock) = self.stocks.get_mut(&id).filter(|it| it.doing == Doing::Nothing && !it.is_closed) else {
                continue;
            };
            let Some(held) = stock.held().filter(|held| *held < stock.at.chunks()) else { continue };
            stock.doing = Doing::Depositing;
            gauges.deposits += 1;
            self.bytes_left -= Policy::CHUNK_BYTES;
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
                self.bytes_left = self.bytes_left.saturating_add(Policy::CHUNK_BYTES);
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
        stock.known.is_in_vain |= is_tried;
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
            Ok(_) | Err(StorageFault::Refused(_) | StorageFault::Wrong) => stock.known.is_silent = false,
            Err(_) => {}
        }
        // A chunk more than there were, or it is not the answer.
        let expected = stock.held().map_or(0, |held| held.saturating_add(1));
        let outcome = match (doing, outcome) {
            (Doing::Depositing, Ok(chunks)) if chunks != expected => Err(StorageFault::Wrong),
            (_, outcome) => outcome,
        };
        // It says itself how many are there.
        let told = match outcome {
            Err(StorageFault::Refused(Some(StorageRefusal::OutOfOrder { next }))) => Some(next),
            Err(StorageFault::Refused(Some(StorageRefusal::Damaged { index }))) => Some(index),
            _ => None,
        };
        stock.doing = doing;
        let is_to_blame = outcome.is_err_and(|fault| stock.is_to_blame(fault));
        stock.doing = Doing::Nothing;
        match (doing, outcome) {
            (Doing::Asking, Ok(chunks)) => stock.known.held = Some(chunks),
            (Doing::Challenging, Ok(_)) => {
                let proved = stock.held().unwrap_or(0) / u32::from(stock.at.seats.max(1));
                let proved = u16::try_from(proved).unwrap_or(u16::MAX).min(stock.at.quota);
                stock.over(Some(proved), StorageOutcome::Done, counts);
            }
            (Doing::Depositing, Ok(chunks)) => {
                stock.known = Known { held: Some(chunks), ..Known::default() };
                counts.deposit(StorageOutcome::Done);
                self.pausing.insert((now.after(PAUSE), id));
            }
            (Doing::Asking, Err(fault)) => {
                stock.is_closed = true;
                stock.known.is_in_vain |= fault == StorageFault::Unreachable;
                if stock.challenge == Challenge::Due {
                    stock.failed(is_to_blame, fault.outcome(), counts);
                }
            }
            (Doing::Challenging, Err(fault)) => {
                stock.known.held = told;
                stock.is_closed |= told.is_none();
                stock.failed(is_to_blame, fault.outcome(), counts);
            }
            (Doing::Depositing, Err(fault)) => {
                if matches!(fault, StorageFault::Own | StorageFault::Unanswered) {
                    self.bytes_left = self.bytes_left.saturating_add(Policy::CHUNK_BYTES);
                }
                // After a refusal that says how many are there it has done what it should.
                stock.known.is_in_vain |= is_to_blame && told.is_none();
                // If nothing came back, it may be there or not.
                let is_known = matches!(fault, StorageFault::Refused(_) | StorageFault::Own | StorageFault::Unanswered);
                stock.known.held = told.or(stock.known.held.filter(|_| is_known));
                stock.is_closed = true;
                counts.deposit(fault.outcome());
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
                stock.known = Known { held: None, is_in_vain: true, is_silent: true };
            }
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
        kept.0.extend(self.stocks.values().map(|it| (it.at.id(), (it.at.deposit, it.known))));
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
            stock.over(None, StorageOutcome::NotSent, counts);
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
        if held < u32::from(stock.at.seats) {
            stock.failed(stock.known.is_in_vain, StorageOutcome::Refused, counts);
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
            Doing::Depositing => gauges.deposits = gauges.deposits.saturating_sub(1),
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
        let all = stock.at.chunks();
        let Some(held) = stock.held().filter(|held| *held < all) else { return };
        let share = u64::from(held) * 1_000_000 / u64::from(all.max(1));
        let place = id.0.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        self.wanting.insert((stock.known.is_in_vain, share, place.wrapping_sub(self.pivot), id));
    }

    fn waiting(&self, worker: &NodeId) -> Vec<StockId> {
        let of_worker = self.stocks.range((*worker, 0)..=(*worker, u64::MAX));
        of_worker.filter(|(_, it)| it.doing == Doing::Waiting).map(|(id, _)| *id).collect()
    }
}

fn below(draws: &mut Draws, bound: u64) -> u32 {
    u32::try_from(draws.below(bound)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
