//! What the entries of a store hold: whether blocks, headers, certificates, the state, history, own records and the engine's log
//! are what the chain and this program make them. Checksums and files are `lucid_storage::verify`'s.
//!
//! Nothing is changed here. What is found comes with what a repair needs to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::ledger::state::{Rows, State, StateBuilder};
use lucid_consensus::ledger::table::{ScoreRoots, Table as _, Validators};
use lucid_storage::{BlockEntry, Expiring, Head, HistoryKind, HistoryRecord, OwnKind, StorageError, Store};
use lucid_types::block::{Block, Header};
use lucid_types::certificate::Certificate;
use lucid_types::codec::decode;
use lucid_types::id::{BlockHash, PublicKey};
use lucid_types::sync::{CertifiedBlock, CertifiedHeader};
use lucid_types::time::Height;
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_sets::{SET_DELAY, SetChange, ValidatorSets};

use super::progress::Progress;
use crate::chain::{persist, snapshot};
use crate::history::{epochs, ledger, metrics, reports, resources, scores, validations, vault};
use crate::payout::causes as told;
use crate::{caps, payout, peers};

/// Damages of one kind that are named one by one.
const MAX_NAMED: usize = 20;

const MEND_BLOCK: &str = "`lucid db repair` drops it and the blocks below; peers have them";
const MEND_SETS: &str = "`lucid db repair` makes it anew if the state or all blocks are here; else it removes the chain, and the next start \
                         fetches it from peers";
const MEND_HEADER: &str = "`lucid db repair` removes it";
const MEND_STATE: &str = "`lucid db repair` makes it anew from the blocks if all of them are here; else it removes the chain, and the next \
                          start fetches it from peers";
const MEND_HISTORY: &str =
    "`lucid db repair` removes them, and writes those that follow from blocks again if all blocks are here";
const MEND_OWN: &str = "`lucid db repair` removes them and says what follows from it";
const MEND_LOG: &str = "`lucid db repair` removes the log of the height; a validator stays silent there";
const MEND_FETCH: &str = "`lucid db repair` removes it; the next start begins to fetch anew";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The family, where it is known.
    pub(super) family: Option<&'static str>,
    /// The file, where it is known.
    pub(super) file: Option<String>,
    /// What is wrong.
    pub(super) what: String,
    /// What mends it.
    pub(super) remedy: &'static str,
}

/// Sound blocks of which each follows the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The lowest.
    pub(super) first: Height,
    /// The highest.
    pub(super) last: Height,
}

impl Run {
    /// Whether a height is in it.
    pub(super) fn contains(&self, height: Height) -> bool {
        (self.first..=self.last).contains(&height)
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// How many blocks were checked.
    pub(super) blocks: u64,
    /// Kept headers.
    pub(super) headers: u64,
    /// Changes of the validators.
    pub(super) set_changes: u64,
    /// Rows of the state.
    pub(super) rows: u64,
    /// History records.
    pub(super) history: u64,
    /// Own records.
    pub(super) own: u64,
    /// Entries of the engine's log.
    pub(super) log: u64,
}

/// What a store holds.
#[derive(Default)]
pub(super) struct Content {
    /// What is wrong with it; empty if it is sound.
    pub(super) findings: Vec<Finding>,
    /// What could not be read, which `lucid_storage::verify` has told too, where it could.
    pub(super) unreadable: Vec<Finding>,
    /// How much was looked at.
    pub(super) counts: Counts,
    /// The sound blocks.
    pub(super) runs: Vec<Run>,
    /// The state of the rows, and the block whose header has its root; none if there is none.
    pub(super) state: Option<(State, Head)>,
    /// The validators, as far as the changes from the genesis on are sound or could be made anew.
    pub(super) sets: Option<ValidatorSets>,
    /// Changes of the validators that were made anew from the state.
    pub(super) restored_changes: Vec<SetChange>,
    /// Heights of changes of the validators that are not sound.
    pub(super) bad_changes: Vec<Height>,
    /// The height from which on nobody knows who the validators are, because a change is lost.
    pub(super) unknown_from: Option<Height>,
    /// Heights of kept headers that are not sound.
    pub(super) bad_headers: Vec<Height>,
    /// Records that are not sound.
    pub(super) bad_history: Vec<(HistoryKind, Vec<u8>)>,
    /// Sound records that would not be found when they expire.
    pub(super) unindexed: Vec<Expiring>,
    /// Records that are not sound.
    pub(super) bad_own: Vec<(OwnKind, Vec<u8>)>,
    /// Heights whose log is not sound.
    pub(super) bad_logs: Vec<Height>,
    /// Entries of the log of the height after the head.
    pub(super) logged: u64,
    /// Peers whose records are not sound.
    pub(super) bad_peers: Vec<PublicKey>,
}

/// Looks at everything; at signatures only if it is `thorough`.
pub(super) fn look(store: &Store, spec: &ChainSpec, thorough: bool, progress: &mut Progress) -> Content {
    let mut look = Look { store, spec, thorough, progress, found: Content::default(), named: BTreeMap::new() };
    look.set_changes();
    look.blocks();
    look.headers();
    look.head();
    look.state();
    look.sets_of_state();
    look.history();
    look.own();
    look.log();
    look.others();
    look.progress.end();
    look.found
}

struct Look<'a> {
    store: &'a Store,
    spec: &'a ChainSpec,
    thorough: bool,
    progress: &'a mut Progress,
    found: Content,
    /// How many findings each family has.
    named: BTreeMap<&'static str, usize>,
}

impl Look<'_> {
    fn name(&mut self, family: &'static str, what: String, remedy: &'static str) {
        let named = self.named.entry(family).or_default();
        *named = named.saturating_add(1);
        if *named <= MAX_NAMED {
            self.found.findings.push(Finding { family: Some(family), file: None, what, remedy });
        } else if *named == MAX_NAMED.saturating_add(1) {
            let what = "there are more of this kind".to_owned();
            self.found.findings.push(Finding { family: Some(family), file: None, what, remedy });
        }
    }

    fn unread(&mut self, family: &'static str, error: &StorageError, remedy: &'static str) {
        let finding = Finding { family: Some(family), file: None, what: told(error), remedy };
        self.found.unreadable.push(finding);
    }

    /// Follows the validators from the genesis on. A change that is damaged or missing is made anew if the state remembers it.
    fn set_changes(&mut self) {
        let (mut stored, mut sets) = (BTreeMap::new(), self.spec.first_sets());
        for entry in self.store.set_changes(Height::ZERO) {
            match entry {
                Ok((height, bytes)) => drop(stored.insert(height, decode::<SetChange>(&bytes).ok())),
                Err(error) => {
                    self.unread("set-changes", &error, MEND_SETS);
                    break;
                }
            }
        }
        let remembered = self.remembered_sets();
        let heights: BTreeSet<_> = stored.keys().chain(remembered.keys()).copied().collect();
        for height in heights {
            self.found.counts.set_changes = self.found.counts.set_changes.saturating_add(1);
            let found = stored.get(&height).cloned();
            let change = found.clone().flatten().filter(|change| change.block.header.height == height);
            if change.is_some_and(|change| sets.follow(self.spec.id(), change).is_ok()) {
                continue;
            }
            let again = || {
                let (set, block) = (remembered.get(&height)?.clone(), persist::header(self.store, height).ok()??);
                Some(SetChange { block, set })
            };
            match again() {
                Some(again) if sets.follow(self.spec.id(), again.clone()).is_ok() => {
                    self.found.restored_changes.push(again);
                }
                _ if found.is_none() => continue,
                _ => {
                    self.found.bad_changes.push(height);
                    self.found.unknown_from.get_or_insert(height.plus(SET_DELAY));
                }
            }
            let is_there = if found.is_some() { "damaged, or does not follow from those before" } else { "missing" };
            let what = format!("the change of the validators by block {height} is {is_there}");
            self.name("set-changes", what, MEND_SETS);
        }
        self.found.sets = Some(sets);
    }

    /// The validators in the rows of the state, by the blocks that have changed them, whatever else is in these rows.
    fn remembered_sets(&self) -> BTreeMap<Height, ValidatorSet> {
        let rows = self.store.state_rows().map_while(Result::ok);
        let of_table = rows.filter(|(key, _)| key.first() == Some(&Validators::TAG));
        let set = |(key, value): (Box<[u8]>, Box<[u8]>)| {
            let from = Validators::parse_key(&key)?.get().checked_sub(SET_DELAY)?;
            Some((Height::new(from), decode(&value).ok()?))
        };
        of_table.filter_map(set).collect()
    }

    /// Whether the stored changes lead to the validators in the state.
    fn sets_of_state(&mut self) {
        let (Some((state, _)), Some(sets)) = (&self.found.state, &self.found.sets) else { return };
        let differs = |(from, set): (Height, &Arc<ValidatorSet>)| {
            sets.at(from).is_none_or(|found| found.hash() != set.hash()).then_some(from)
        };
        let lost = state.sets().iter().find_map(differs);
        if let Some(from) = lost {
            self.found.unknown_from.get_or_insert(from);
            let what = format!(
                "the changes of the validators do not lead to those in the state, which decide from block {from} on"
            );
            self.name("set-changes", what, MEND_SETS);
        }
    }

    /// The validators of a height, if certificates are to be verified and they are known.
    fn validators(&self, height: Height) -> Option<&ValidatorSet> {
        let is_known = self.thorough && self.found.unknown_from.is_none_or(|from| height < from);
        let sets = self.found.sets.as_ref().filter(|_| is_known)?;
        sets.at(height).map(|set| &**set)
    }

    fn blocks(&mut self) {
        let store = self.store;
        let mut before: Option<Header> = None;
        let total = store.head().map_or(0, |head| head.height.next().get().saturating_sub(store.base().get()));
        let mut next = store.base();
        for entry in store.block_entries() {
            match entry {
                Ok(entry) => {
                    next = entry.height.next();
                    self.block(entry, &mut before, total);
                }
                Err(error) => {
                    self.unread("blocks", &error, MEND_BLOCK);
                    break;
                }
            }
        }
        // What lies behind what cannot be read is found by its height.
        let head = store.head().map_or(Height::ZERO, |head| head.height);
        while next <= head && !self.found.unreadable.is_empty() {
            if let (Ok(Some(block)), Ok(certificate)) = (store.block(next), store.certificate(next)) {
                self.block(BlockEntry { height: next, block, certificate }, &mut before, total);
            }
            next = next.next();
        }
    }

    fn block(&mut self, entry: BlockEntry, before: &mut Option<Header>, total: u64) {
        let height = entry.height;
        self.found.counts.blocks = self.found.counts.blocks.saturating_add(1);
        self.progress.at("blocks", self.found.counts.blocks, total);
        let header = match certified(self.spec, &entry, self.validators(height)) {
            Ok(header) => header,
            Err(what) => {
                self.name("blocks", format!("block {height}: {what}"), MEND_BLOCK);
                *before = None;
                return;
            }
        };
        let parent = self.parent(height, before.take());
        let follows = parent.is_none_or(|parent| parent == header.parent);
        if !follows {
            self.name("blocks", format!("block {height} does not follow the one before"), MEND_BLOCK);
        }
        match self.found.runs.last_mut() {
            Some(run) if follows && run.last.next() == height => run.last = height,
            _ => self.found.runs.push(Run { first: height, last: height }),
        }
        *before = Some(header);
    }

    /// The hash of the block below a height, if it is known.
    fn parent(&self, height: Height, before: Option<Header>) -> Option<BlockHash> {
        if height == Height::new(1) {
            return Some(State::genesis(self.spec).block());
        }
        let before = before.filter(|before| before.height.next() == height);
        // Of the block that a snapshot came with, the header is kept.
        let kept = || decode::<Header>(&self.store.header_of(height.previous()).ok()??).ok();
        before.or_else(kept).map(|before| before.hash())
    }

    fn headers(&mut self) {
        for entry in self.store.headers() {
            let (height, bytes) = match entry {
                Ok(entry) => entry,
                Err(error) => return self.unread("headers", &error, MEND_HEADER),
            };
            self.found.counts.headers = self.found.counts.headers.saturating_add(1);
            self.progress.at("headers", self.found.counts.headers, 0);
            if let Err(what) = self.header(height, &bytes) {
                self.name("headers", format!("header {height}: {what}"), MEND_HEADER);
                self.found.bad_headers.push(height);
            }
        }
    }

    fn header(&self, height: Height, bytes: &[u8]) -> Result<(), String> {
        let header = decode::<Header>(bytes).map_err(|error| error.to_string())?;
        if header.height != height {
            return Err(format!("it is that of block {}", header.height));
        }
        let bytes = self.store.certificate(height).map_err(|error| told(&error))?;
        let certificate = certificate(bytes.as_deref())?;
        let Some(set) = self.validators(height) else {
            let is_its = certificate.height == height && certificate.block == header.hash();
            return if is_its { Ok(()) } else { Err("the certificate is for another block".to_owned()) };
        };
        let certified = CertifiedHeader { header, certificate };
        certified.verify(self.spec.id(), set).map(drop).map_err(|error| error.to_string())
    }

    /// Whether the block at a height, or the header kept of it, is sound.
    fn is_certified(&self, height: Height) -> bool {
        self.found.runs.iter().any(|run| run.contains(height))
            || (self.store.header_of(height).is_ok_and(|header| header.is_some())
                && !self.found.bad_headers.contains(&height))
    }

    /// The hash and header of a sound block.
    fn certified(&self, height: Height) -> Option<Header> {
        if !self.is_certified(height) {
            return None;
        }
        persist::header(self.store, height).ok().flatten().map(|block| block.header)
    }

    fn head(&mut self) {
        let Some(head) = self.store.head() else { return };
        match self.certified(head.height) {
            Some(header) if header.hash() == head.block_hash => {}
            Some(_) => self.name("meta", format!("the head is another block than block {}", head.height), MEND_STATE),
            None => {
                self.name("meta", format!("there is no sound block or header of the head {}", head.height), MEND_STATE);
            }
        }
    }

    fn state(&mut self) {
        let head = self.store.head();
        let hash = head.map_or(BlockHash::from_bytes([0; 32]), |head| head.block_hash);
        let mut builder = StateBuilder::default();
        for row in self.store.state_rows() {
            let (key, value) = match row {
                Ok(row) => row,
                Err(error) => return self.unread("state", &error, MEND_STATE),
            };
            if let Err(error) = builder.push(&key, &value) {
                return self.name("state", told(&error), MEND_STATE);
            }
            self.found.counts.rows = self.found.counts.rows.saturating_add(1);
            self.progress.at("rows of the state", self.found.counts.rows, 0);
        }
        if self.found.counts.rows == 0 && head.is_none() {
            return;
        }
        let state = match builder.finish(hash) {
            Ok(state) => state,
            Err(error) => return self.name("state", told(&error), MEND_STATE),
        };
        let (height, root) = (state.height(), state.root());
        let Some(header) = self.certified(height).filter(|header| header.state_root == root) else {
            let what = format!("its root {root} is not that in the header of block {height}");
            return self.name("state", what, MEND_STATE);
        };
        let found = Head { height, block_hash: header.hash() };
        if let Some(head) = head
            && head != found
        {
            let what = format!("it is the one after block {height}, and the head is block {}", head.height);
            self.name("state", what, MEND_STATE);
        }
        self.found.state = Some((state.after(found.block_hash), found));
    }

    fn history(&mut self) {
        for kind in HistoryKind::ALL {
            let name = kind_name(kind);
            let (mut bad, mut unindexed) = (Bad::default(), Bad::default());
            for record in self.store.history_entries(kind) {
                let record = match record {
                    Ok(record) => record,
                    Err(error) => return self.unread("history", &error, MEND_HISTORY),
                };
                self.found.counts.history = self.found.counts.history.saturating_add(1);
                self.progress.at("history records", self.found.counts.history, 0);
                if !self.is_sound(&record) {
                    bad.add(&record.key);
                    self.found.bad_history.push((kind, record.key));
                } else if !self.store.is_indexed(&record).unwrap_or(false) {
                    unindexed.add(&record.key);
                    let HistoryRecord { key, expires, .. } = record;
                    self.found.unindexed.extend(expires.map(|expires| Expiring { kind, key, expires }));
                }
            }
            if let Some(which) = bad.told() {
                let what = match kind {
                    HistoryKind::Score => {
                        format!("{which} of {name} do not decode or have another root than the state says")
                    }
                    _ => format!("{which} of {name} do not decode"),
                };
                self.name("history", what, MEND_HISTORY);
            }
            if let Some(which) = unindexed.told() {
                let what = format!("{which} of {name} are missing in the order of expiry");
                self.name("expiry", what, "`lucid db repair` adds them");
            }
        }
    }

    fn is_sound(&self, record: &HistoryRecord) -> bool {
        match record.kind {
            HistoryKind::Payout => ledger::is_sound(record),
            HistoryKind::Vault => vault::is_sound(record),
            HistoryKind::Epoch => epochs::is_sound(record),
            HistoryKind::Metric => metrics::is_sound(record),
            HistoryKind::Report => reports::is_sound(record),
            HistoryKind::Resource => resources::is_sound(record),
            HistoryKind::Validation => validations::is_sound(record),
            HistoryKind::Score => {
                let Some(scores) = scores::parse(record) else { return false };
                // Without a state there is nothing to compare with.
                let Some((state, _)) = &self.found.state else { return true };
                state.get::<ScoreRoots>(&scores.epoch) == Some(&scores.root())
            }
        }
    }

    fn own(&mut self) {
        for kind in OwnKind::ALL {
            let records = match self.store.own_all(kind, &[]) {
                Ok(records) => records,
                Err(error) => return self.unread("own", &error, MEND_OWN),
            };
            let (name, mut bad) = (own_name(kind), Bad::default());
            for record in records {
                self.found.counts.own = self.found.counts.own.saturating_add(1);
                let is_sound = match kind {
                    OwnKind::Report | OwnKind::Counter | OwnKind::Command => persist::is_sound(kind, &record),
                    OwnKind::Signature => payout::watermark::is_sound(&record),
                    OwnKind::Transaction => payout::push::work::is_sound(&record),
                    OwnKind::Maintenance => caps::is_sound(&record),
                };
                if !is_sound {
                    bad.add(&record.key);
                    self.found.bad_own.push((kind, record.key));
                }
            }
            if let Some(which) = bad.told() {
                self.name("own", format!("{which} of {name} do not decode"), MEND_OWN);
            }
        }
    }

    fn log(&mut self) {
        let head = self.store.head().map_or(Height::ZERO, |head| head.height);
        let (mut at, mut next) = (Height::ZERO, 0);
        for entry in self.store.log_entries() {
            let (height, sequence, bytes) = match entry {
                Ok(entry) => entry,
                Err(error) => return self.unread("wal", &error, MEND_LOG),
            };
            self.found.counts.log = self.found.counts.log.saturating_add(1);
            if height != at {
                (at, next) = (height, 0);
            }
            let what = if height <= head {
                Some(format!("entries of block {height}, which is decided, are left"))
            } else if sequence != next {
                Some(format!("entries of block {height} before {sequence} are missing"))
            } else {
                decode::<WalEntry>(&bytes).err().map(|error| format!("entry {sequence} of block {height}: {error}"))
            };
            next = sequence.saturating_add(1);
            if height == head.next() {
                self.found.logged = self.found.logged.saturating_add(1);
            }
            let Some(what) = what else { continue };
            if self.found.bad_logs.last() != Some(&height) {
                self.name("wal", what, MEND_LOG);
                self.found.bad_logs.push(height);
            }
        }
        if self.found.bad_logs.contains(&head.next()) {
            self.found.logged = 0;
        }
    }

    fn others(&mut self) {
        match self.store.restore_progress() {
            Ok(Some(progress)) if !snapshot::is_sound(&progress) => {
                self.name("meta", "what was noted of a snapshot under way does not decode".to_owned(), MEND_FETCH);
            }
            Ok(_) => {}
            Err(error) => self.unread("meta", &error, MEND_FETCH),
        }
        match self.store.peers() {
            Ok(found) => {
                let bad = found.into_iter().filter(|(_, bytes)| !peers::is_sound(bytes)).map(|(peer, _)| peer);
                self.found.bad_peers = bad.collect();
            }
            Err(error) => self.unread("peers", &error, "`lucid db repair` removes them; they are found again"),
        }
        if !self.found.bad_peers.is_empty() {
            let what = format!("{} of them do not decode", self.found.bad_peers.len());
            self.name("peers", what, "`lucid db repair` removes them; they are found again");
        }
    }
}

/// The header of a block that is sound by itself, or what is wrong with it. With these validators the signatures are verified, too.
fn certified(spec: &ChainSpec, entry: &BlockEntry, validators: Option<&ValidatorSet>) -> Result<Header, String> {
    let block = decode::<Block>(&entry.block).map_err(|error| error.to_string())?;
    if block.header.height != entry.height {
        return Err(format!("it is block {}", block.header.height));
    }
    let certificate = certificate(entry.certificate.as_deref())?;
    if let Some(set) = validators {
        let decided = CertifiedBlock { block, certificate };
        let verified = decided.verify(spec.id(), set).map_err(|error| error.to_string())?;
        return Ok(verified.into_inner().block.header);
    }
    if certificate.height != entry.height || certificate.block != block.hash() {
        return Err("the certificate is for another block".to_owned());
    }
    if block.is_whole() { Ok(block.header) } else { Err("the header names other items".to_owned()) }
}

fn certificate(bytes: Option<&[u8]>) -> Result<Certificate, String> {
    let bytes = bytes.ok_or_else(|| "its certificate is missing".to_owned())?;
    decode(bytes).map_err(|error| format!("its certificate: {error}"))
}

/// Records that are not sound.
#[derive(Default)]
struct Bad {
    count: u64,
    first: Option<String>,
}

impl Bad {
    fn add(&mut self, key: &[u8]) {
        self.count = self.count.saturating_add(1);
        self.first.get_or_insert_with(|| hex::encode(key));
    }

    fn told(self) -> Option<String> {
        self.first.map(|first| format!("{} records (the first has key {first})", self.count))
    }
}

const fn kind_name(kind: HistoryKind) -> &'static str {
    match kind {
        HistoryKind::Payout => "payouts",
        HistoryKind::Score => "scores",
        HistoryKind::Vault => "vaults",
        HistoryKind::Epoch => "epochs",
        HistoryKind::Metric => "metrics",
        HistoryKind::Report => "reports",
        HistoryKind::Resource => "resources",
        HistoryKind::Validation => "validations",
    }
}

/// What the records of a kind are, for people.
pub(super) const fn own_name(kind: OwnKind) -> &'static str {
    match kind {
        OwnKind::Report => "score reports",
        OwnKind::Signature => "the treasury signer",
        OwnKind::Transaction => "transactions",
        OwnKind::Counter => "counters",
        OwnKind::Command => "commands",
        OwnKind::Maintenance => "maintenance",
    }
}
