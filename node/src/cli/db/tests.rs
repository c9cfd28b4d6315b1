//! Damage by seeds, on databases of a real chain with scores, settlements and everything else that a validator writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::build::{Pending, Turn, build};
use lucid_consensus::ledger::pool::PoolStatus;
use lucid_consensus::ledger::state::{Rows, State};
use lucid_consensus::ledger::table::{Draws, Policies, Table as _, Validators};
use lucid_consensus::replica::OwnReport;
use lucid_storage::{HistoryKind, HistoryRecord, OwnKind};
use lucid_tron_bridge::signer::Watermark as Signed;
use lucid_types::attestation::Capacity;
use lucid_types::certificate::Certificate;
use lucid_types::codec::encode;
use lucid_types::command::{Action, Command, Entry, Registration, ValidatorAction};
use lucid_types::id::{BlockHash, Hash, PoolId, StateRoot};
use lucid_types::log_scale::LogScale;
use lucid_types::pool::{JoinPolicy, NewPool, PoolTerms};
use lucid_types::report::{Observation, ReportCommitment, Reveal, ScoreReport};
use lucid_types::signed::MultiSigned;
use lucid_types::stamp::{Stamp, StampTarget};
use lucid_types::sync::CertifiedBlock;
use lucid_types::ticket::Ticket;
use lucid_types::time::{Epoch, UnixMillis};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vote::{Vote, VoteKind};

use super::repair::{Chain as Became, repair, workplace};
use super::*;
use crate::chain::persist::{put_block, put_boot, put_own};
use crate::chain::prune;
use crate::payout::testing::{self, OWNER, SIGNERS, WORKERS, address, network, node, node_key, pool_id, signing_key};

/// Blocks of a chain.
const BLOCKS: u64 = 45;
/// How many are pruned where some are.
const PRUNED: u64 = 25;
/// After this one everything is in tables; what comes later is in RocksDB's log.
const IN_TABLES: u64 = 35;

/// A chain of one validator, which has changed its key once, in a store.
struct Chain {
    spec: Arc<ChainSpec>,
    keys: Keyring,
    store: Store,
    state: State,
    pending: Pending,
    own: BTreeMap<Epoch, Reveal>,
    /// After each block.
    states: BTreeMap<Height, (BlockHash, StateRoot)>,
    /// What the store held at any time.
    contents: BTreeSet<Hash>,
}

impl Chain {
    fn new(db: &Path) -> Self {
        let spec = network();
        let store = Store::open(db, *spec.id()).unwrap();
        let state = State::genesis(&spec);
        let next_key = ValidatorKey::from_seed(&[99; 32]);
        let mut chain = Self {
            keys: Keyring::new(node(SIGNERS[0]), [signing_key(SIGNERS[0]), next_key.clone()]),
            store,
            state,
            spec,
            pending: Pending::default(),
            own: BTreeMap::new(),
            states: BTreeMap::new(),
            contents: BTreeSet::new(),
        };
        let keys = next_key.keys(&node(SIGNERS[0]));
        chain.give(SIGNERS[0], Action::Validator(ValidatorAction::RotateKey(keys)));
        chain.found_pool();
        chain
    }

    /// Three blocks, after which there is a pool with a worker in it.
    fn found_pool(&mut self) {
        let pool = testing::start().pools.remove(0);
        let id = pool_id(&self.spec);
        self.register(OWNER, None);
        self.grow();
        let terms = PoolTerms {
            budget: pool.budget,
            split: pool.split,
            commission: pool.commission,
            commission_address: pool.commission_address,
        };
        let new = NewPool { name: pool.name, terms, join: JoinPolicy::Open, max_members: 10, vault: pool.vault };
        self.give(OWNER, Action::CreatePool(new));
        self.grow();
        self.register(WORKERS[0], Some(id));
        self.give(SIGNERS[0], Action::Validator(ValidatorAction::ApprovePool(id)));
        self.grow();
        assert!(matches!(self.state.pool(&id).unwrap().status, PoolStatus::Active { .. }));
    }

    /// Gives the command that registers an account by a stamp, into this pool if there is one.
    fn register(&mut self, seed: u8, pool: Option<PoolId>) {
        let (epoch, close) = self.state.newest_close().unwrap();
        let bits = self.state.stamp_bits(pool.as_ref(), epoch).unwrap();
        let target = StampTarget { network: *self.spec.id(), account: node(seed), pool, beacon: close.beacon };
        let mut stamps = (0..).map(|nonce| Stamp { epoch, nonce });
        let stamp = stamps.find(|stamp| stamp.bits(&target) >= u32::from(bits)).unwrap();
        let entry = match pool {
            Some(pool) => Entry::Pool { pool, ticket: Ticket::Stamp(stamp) },
            None => Entry::Network(stamp),
        };
        let registration = Registration {
            operator: node(seed),
            payout_address: address(seed),
            payout_key: None,
            gas_address: Some(address(seed + 100)),
            capacity: Capacity::default(),
            entry,
        };
        self.give(seed, Action::Register(registration));
    }

    /// Gives the next command of the account of this seed.
    fn give(&mut self, seed: u8, action: Action) {
        let (giver, network) = (node_key(seed), self.spec.id());
        let (account, nonce) = (giver.account(), self.state.nonce(&giver.account()).next);
        let until = self.state.time().after(Command::MAX_AHEAD);
        let signed = giver.sign_command(network, Command { account, nonce, until, action }).into_inner();
        let command = MultiSigned::collect(signed.record, [(signed.signer, signed.signature)]);
        let command = command.verify(network).unwrap();
        self.pending
            .commands
            .add(&self.spec, &self.state, command, self.state.time(), lucid_consensus::commands::Source::User)
            .unwrap();
    }

    /// The key with which the validator decides on the next block.
    fn key(&self) -> ValidatorKey {
        let set = self.state.validators(self.state.height().next()).unwrap();
        self.keys.of(set).unwrap().clone()
    }

    fn note(&mut self) {
        self.contents.insert(content(&self.store).unwrap());
    }

    /// Reports on every epoch that waits for reports, as measured well.
    fn report(&mut self) {
        let (spec, state) = (&self.spec, &self.state);
        for (epoch, _) in state.pending() {
            let key = self.keys.reporter(state, epoch).unwrap();
            if !self.own.contains_key(&epoch) {
                let draw = state.get::<Draws>(&epoch).unwrap();
                let seen = Observation {
                    pings_sent: 4,
                    pings_answered: 4,
                    rtt_us: LogScale::encode(700),
                    echo_kbit_s: Some(LogScale::encode(80_000)),
                    group: None,
                };
                let me = key.id();
                let assigned = draw.assignment(&me).unwrap();
                let assigned: Vec<_> = assigned.map(|(worker, _)| (worker.assigned(), Some(seen))).collect();
                let stored = vec![None; draw.storage_assignment(&me).unwrap().count()];
                let reveal = Reveal { report: ScoreReport::new(epoch, &assigned, &stored), salt: [7; 32] };
                let commitment = ReportCommitment { epoch, report: reveal.commitment(spec.id(), &node(SIGNERS[0])) };
                let commitment = key.sign_report_commitment(spec.id(), commitment);
                let signed = key.sign_report(spec.id(), reveal.clone());
                let own = OwnReport { commitment: (*commitment).clone(), reveal: signed.into_inner() };
                put_own(&self.store, &own).unwrap();
                self.pending.reports.add_commitment(spec, state, commitment);
                self.own.insert(epoch, reveal);
            }
            let reveal = key.sign_report(spec.id(), self.own[&epoch].clone());
            self.pending.reports.add_reveal(spec, state, reveal);
        }
    }

    fn grow(&mut self) {
        self.report();
        let key = &self.key();
        let end = self.spec.genesis().epoch_end(self.state.closed().next());
        let is_closing = self.state.pending().next().is_none();
        let now = if is_closing { end } else { self.state.next_time(&self.spec) };
        let (block, applied) = build(&self.spec, &self.state, &self.pending, Turn { key, round: 0, now }).unwrap();
        let (height, hash) = (block.header.height, block.hash());
        let vote = Vote { kind: VoteKind::Precommit, height, round: 0, block: Some(hash) };
        let vote = key.sign_vote(self.spec.id(), vote).into_inner();
        let signatures = vec![(vote.signer, vote.signature)];
        let certificate = Certificate { height, round: 0, block: hash, signatures };
        self.state = applied.state.clone();
        self.states.insert(height, (hash, self.state.root()));
        put_block(&self.store, &CertifiedBlock { block, certificate }, applied).unwrap();
        self.pending.reports.prune(&self.spec, &self.state);
        self.pending.commands.follow(&self.spec, &self.state, self.state.time());
        self.note();
    }

    fn grow_to(&mut self, height: u64) {
        while self.state.height() < Height::new(height) {
            self.grow();
        }
    }

    /// What a validator writes besides.
    fn write_others(&mut self) {
        let store = self.store.clone();
        put_boot(&store, 3).unwrap();
        let signed = encode(&Signed { sequence: 7, ..Signed::default() });
        store.put(OwnKind::Signature, pool_id(&self.spec).as_bytes(), &signed).unwrap();
        store.put(OwnKind::Counter, b"attestation", &9_u64.to_be_bytes()).unwrap();
        let cursor = 5_u64.to_be_bytes().to_vec();
        let cursor = HistoryRecord { kind: HistoryKind::Vault, key: vec![0], value: cursor, expires: None };
        store.write_history(&[cursor], &[]).unwrap();
        self.note();
    }

    /// Votes for the next height, and says so in the watermark.
    fn vote(&mut self, watermark: &Path) {
        let (key, height) = (self.key(), self.state.height().next());
        let mut wal = self.store.wal().unwrap();
        for round in 0..3 {
            let vote = Vote { kind: VoteKind::Prevote, height, round, block: None };
            let vote = key.sign_vote(self.spec.id(), vote).into_inner();
            wal.append(height, encode(&WalEntry::Vote(vote))).unwrap();
        }
        wal.sync().unwrap();
        let mut file = Watermark::open(watermark, *self.spec.id(), false).unwrap();
        file.signs(height, 3).unwrap();
        drop(wal);
        self.note();
    }

    /// Removes the oldest blocks as a node does.
    fn prune(&mut self) {
        let mut parent = None;
        let mut pruned = Vec::new();
        for number in 1..=PRUNED {
            let block = persist::decided(&self.store, Height::new(number)).unwrap().unwrap().block.header;
            let is_kept = parent.as_ref().is_none_or(|parent| prune::is_kept(&self.spec, parent, &block));
            pruned.push((Height::new(number), is_kept.then(|| encode(&block))));
            parent = Some(block);
        }
        assert!(pruned.iter().any(|(_, header)| header.is_none()), "not every block closes an epoch");
        self.store.prune_blocks(&pruned).unwrap();
        self.note();
    }
}

/// Everything that a store shows.
fn content(store: &Store) -> Result<Hash, lucid_storage::StorageError> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        hasher.update(&part.len().to_le_bytes());
        hasher.update(part);
    };
    add(format!("{:?} {:?}", store.head(), store.base()).as_bytes());
    for entry in store.block_entries() {
        let entry = entry?;
        add(&entry.height.get().to_le_bytes());
        add(&entry.block);
        add(&entry.certificate.unwrap_or_default());
    }
    add(b"headers");
    for entry in store.headers() {
        let (height, header) = entry?;
        add(&height.get().to_le_bytes());
        add(&header);
        add(&store.certificate(height)?.unwrap_or_default());
    }
    add(b"state");
    for row in store.state_rows() {
        let (key, value) = row?;
        add(&key);
        add(&value);
    }
    add(b"set changes");
    for entry in store.set_changes(Height::ZERO) {
        let (height, change) = entry?;
        add(&height.get().to_le_bytes());
        add(&change);
    }
    add(b"log");
    for entry in store.log_entries() {
        let (height, sequence, entry) = entry?;
        add(&[height.get().to_le_bytes(), sequence.to_le_bytes()].concat());
        add(&entry);
    }
    for kind in OwnKind::ALL {
        add(b"own");
        for record in store.own_all(kind, &[])? {
            add(&record.key);
            add(&record.value);
        }
    }
    for kind in HistoryKind::ALL {
        add(b"history");
        for record in store.history_entries(kind) {
            let record = record?;
            add(&record.key);
            add(&record.value);
            add(&record.expires.map_or(0, UnixMillis::get).to_le_bytes());
        }
    }
    Ok(Hash::from_bytes(*hasher.finalize().as_bytes()))
}

/// Entries of the log of the next height.
fn logged(store: &Store) -> Vec<Vec<u8>> {
    let next = store.head().map_or(Height::new(1), |head| head.height.next());
    store.wal().unwrap().entries(next).unwrap()
}

/// A home with a closed database.
struct Original {
    folder: tempfile::TempDir,
    spec: Arc<ChainSpec>,
    head: Head,
    log: Vec<Vec<u8>>,
    states: BTreeMap<Height, (BlockHash, StateRoot)>,
    contents: BTreeSet<Hash>,
}

impl Original {
    fn new(is_pruned: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut chain = Chain::new(&folder.path().join("db"));
        chain.grow_to(IN_TABLES);
        chain.write_others();
        if is_pruned {
            chain.prune();
        }
        chain.store.compact(|_, _, _| {}).unwrap();
        chain.grow_to(BLOCKS);
        chain.vote(&folder.path().join("validator-watermark"));
        let rows = |record| crate::history::scores::parse(&record).unwrap().rows.len();
        let scores = chain.store.history_entries(HistoryKind::Score).filter_map(Result::ok).map(rows);
        let scores = scores.filter(|rows| *rows > 0).count();
        let payouts = chain.store.history_entries(HistoryKind::Payout).count();
        assert!(scores >= 5 && payouts >= 5, "{scores} records of scores, {payouts} of payouts");
        assert!(chain.state.accounts(&pool_id(&chain.spec)).next().is_some(), "nothing is owed");
        assert_eq!(chain.store.set_changes(Height::ZERO).count(), 1, "the validator has changed its key");
        let (head, log) = (chain.store.head().unwrap(), logged(&chain.store));
        assert_eq!((head.height.get(), log.len()), (BLOCKS, 3));
        let Chain { spec, states, contents, .. } = chain;
        Self { folder, spec, head, log, states, contents }
    }

    /// A copy of the home.
    fn copy(&self) -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("db")).unwrap();
        let from = self.folder.path();
        for file in fs::read_dir(from.join("db")).unwrap() {
            let name = file.unwrap().file_name();
            fs::copy(from.join("db").join(&name), folder.path().join("db").join(&name)).unwrap();
        }
        fs::copy(from.join("validator-watermark"), folder.path().join("validator-watermark")).unwrap();
        let spec = ChainSpec::new(self.spec.genesis().clone()).unwrap();
        let place = Place { home: Home::new(folder.path()), spec, is_validator: true, is_signer: false };
        (folder, place)
    }
}

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(1);
        let hash = blake3::hash(&self.0.to_le_bytes());
        let number = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap());
        usize::try_from(number % u64::try_from(end).unwrap()).unwrap()
    }
}

/// Damages a file; what was done.
fn damage(db: &Path, random: &mut Random) -> String {
    let is_data = |name: &str| {
        let ends = [".sst", ".log"].iter().any(|end| name.ends_with(end));
        ends || name == "CURRENT" || name == "lucid.files" || name.starts_with("MANIFEST")
    };
    let names = fs::read_dir(db).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "lucid.lock").collect();
    names.sort();
    // RocksDB's own log and its options hold nothing of ours: seldom.
    if random.below(16) > 0 {
        names.retain(|name| is_data(name));
    }
    let name = names[random.below(names.len())].clone();
    let path = db.join(&name);
    let mut bytes = fs::read(&path).unwrap();
    let what = random.below(if bytes.is_empty() { 1 } else { 8 });
    if what == 0 {
        fs::remove_file(&path).unwrap();
        return format!("{name} removed");
    }
    let at = random.below(bytes.len());
    if what < 3 {
        fs::write(&path, &bytes[..at]).unwrap();
        return format!("{name} cut after {at} of {} bytes", bytes.len());
    }
    bytes[at] ^= u8::try_from(random.below(255) + 1).unwrap();
    fs::write(&path, &bytes).unwrap();
    format!("{name} changed at {at} of {} bytes", bytes.len())
}

/// The bytes of all files but the lock's.
fn files(db: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(db).unwrap().map(|file| file.unwrap());
    let named = files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()));
    named.filter(|(name, _)| name != "lucid.lock").collect()
}

/// What became of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Unnoticed,
    Kept,
    Shortened,
    Replayed,
    Removed,
    Empty,
}

fn run(original: &Original, seed: u64) -> Outcome {
    let (_folder, place) = original.copy();
    let db = place.home.db_dir();
    let did = damage(&db, &mut Random(seed << 16));
    let before = files(&db);
    let (found, _) = place.find(&db, true, &mut Progress::new()).unwrap();
    assert_eq!(files(&db), before, "seed {seed}, {did}: a check changes nothing");
    if found.findings.is_empty() {
        let shown = content(&place.read().unwrap()).unwrap();
        assert!(original.contents.contains(&shown), "seed {seed}, {did}: unnoticed, and what is shown never was");
        return Outcome::Unnoticed;
    }
    let target = workplace(&place.home).unwrap();
    let repaired = repair(&db, &target, &place.spec, &mut Progress::new());
    let repaired = repaired.unwrap_or_else(|error| panic!("seed {seed}, {did}: {error:#}\n{}", found.to_text()));
    assert_eq!(files(&db), before, "seed {seed}, {did}: the damaged store stays as it is");
    set_aside(&db, &aside(&db, "damaged")).unwrap();
    set_aside(&target, &db).unwrap();

    let (found, _) = place.find(&db, true, &mut Progress::new()).unwrap();
    assert_eq!(found.to_text(), "", "seed {seed}, {did}");
    let store = Store::open(&db, *place.spec.id()).unwrap();
    let restored = persist::restore(&place.spec, &store, &store.wal().unwrap(), UnixMillis::ZERO).unwrap();
    let state = &restored.replica.state;
    if let Some(head) = store.head() {
        let was = original.states[&head.height];
        assert_eq!((head.block_hash, state.root()), was, "seed {seed}, {did}: another chain");
    }
    // Whatever is missing of what was signed keeps the validator silent.
    let log = logged(&store);
    let mark = place.need_mark().unwrap().unwrap();
    let silence = place.silence(Some(mark), store.head(), length(log.len())).through;
    if silence == Height::ZERO {
        assert_eq!(
            (store.head(), &log),
            (Some(original.head), &original.log),
            "seed {seed}, {did}: it would sign again"
        );
    } else {
        assert_eq!(silence.get(), BLOCKS + 1);
    }
    match repaired.chain {
        Became::Kept if store.head() == Some(original.head) => Outcome::Kept,
        Became::Kept => Outcome::Shortened,
        Became::Replayed(_) => Outcome::Replayed,
        Became::Removed => Outcome::Removed,
        Became::Empty => Outcome::Empty,
    }
}

#[test]
fn damage_is_named_and_a_repair_leads_to_a_sound_store() {
    let seeds = std::env::var("LUCID_DAMAGE_SEEDS").ok().map_or(40, |text| text.parse::<u64>().unwrap());
    let begun = std::time::Instant::now();
    let originals = [Original::new(false), Original::new(true)];
    let mut tally = BTreeMap::<_, [u64; 2]>::new();
    for seed in 0..seeds {
        let which = usize::try_from(seed % 2).unwrap();
        tally.entry(run(&originals[which], seed)).or_default()[which] += 1;
    }
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    for (outcome, [archive, pruned]) in &tally {
        println!("{outcome:?}: {archive} of an archive, {pruned} of a pruned store");
    }
    println!("{seeds} seeds in {minutes:.1} minutes");
    let of = |outcome| tally.get(&outcome).copied().unwrap_or_default().iter().sum::<u64>();
    assert!(of(Outcome::Kept) + of(Outcome::Shortened) > 0 && of(Outcome::Unnoticed) < seeds / 2, "{tally:?}");
}

/// A store with content that no checksum finds wrong.
fn with(change: impl FnOnce(&Store, &Original)) -> (tempfile::TempDir, Place, Original) {
    let original = Original::new(false);
    let (folder, place) = original.copy();
    let store = Store::open(&place.home.db_dir(), *place.spec.id()).unwrap();
    change(&store, &original);
    drop(store);
    (folder, place, original)
}

/// What a check names, and what a repair makes of it.
fn mended(place: &Place) -> (String, repair::Repaired) {
    let db = place.home.db_dir();
    let (found, _) = place.find(&db, true, &mut Progress::new()).unwrap();
    let target = workplace(&place.home).unwrap();
    let repaired = repair(&db, &target, &place.spec, &mut Progress::new()).unwrap();
    (found.to_text(), repaired)
}

#[test]
fn content_that_checksums_do_not_notice_is_named_and_mended() {
    // The negative control.
    let (_folder, place, original) = with(|_, _| {});
    let (told, repaired) = mended(&place);
    assert_eq!((told.as_str(), repaired.chain, repaired.head), ("", Became::Kept, Some(original.head)));

    // A row of the state is missing: all blocks are here, so it is made anew.
    let (_folder, place, original) = with(|store, _| {
        let rows = store.state_rows().map(|row| row.unwrap()).map(|(key, value)| (key.into_vec(), value.into_vec()));
        let mut rows: Vec<_> = rows.collect();
        // Without validators or a policy rows are no state at all.
        let is_vital = |tag: u8| [Validators::TAG, Policies::TAG].contains(&tag);
        let last = rows.iter().rposition(|(key, _)| !is_vital(key[0])).unwrap();
        rows.remove(last);
        store.replace_state(rows.into_iter()).unwrap();
    });
    let (told, repaired) = mended(&place);
    assert!(told.contains("state: its root"), "{told}");
    assert_eq!((repaired.chain, repaired.head), (Became::Replayed(Height::ZERO), Some(original.head)));

    // A block that is another one's bytes: the base moves above it.
    let (_folder, place, original) = with(|store, _| {
        let entry = store.block_entries().nth(9).unwrap().unwrap();
        store.replace_block(Height::new(12), &entry.block).unwrap();
    });
    let (told, repaired) = mended(&place);
    assert!(told.contains("block 12: it is block 10"), "{told}");
    assert_eq!((repaired.chain, repaired.head), (Became::Kept, Some(original.head)));
    assert_eq!((repaired.base, repaired.removed_blocks), (Height::new(13), 12));

    // Scores that the state's root does not have, an own record and a log entry that do not decode.
    let (_folder, place, original) = with(|store, _| {
        let mut record = store.history_entries(HistoryKind::Score).last().unwrap().unwrap();
        let mut scores = crate::history::scores::parse(&record).unwrap();
        scores.rows.pop().unwrap();
        record.value = encode(&scores);
        store.write_history(&[record], &[]).unwrap();
        store.put(OwnKind::Signature, &[1; 32], b"other bytes").unwrap();
        let mut wal = store.wal().unwrap();
        wal.append(Height::new(BLOCKS + 1), vec![200]).unwrap();
        wal.sync().unwrap();
    });
    let (told, repaired) = mended(&place);
    for words in
        ["of scores do not decode or have another root", "of the treasury signer do not decode", "wal: entry 3"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!((repaired.chain, repaired.head), (Became::Replayed(Height::ZERO), Some(original.head)));
    assert_eq!((repaired.removed_own.as_slice(), repaired.logged), (&[OwnKind::Signature][..], 0));
    let mark = place.need_mark().unwrap();
    assert_eq!(place.silence(mark, repaired.head, repaired.logged).through.get(), BLOCKS + 1);
    assert!(repaired.to_text().contains("a treasury signer that runs in this node"), "{}", repaired.to_text());
}

#[test]
fn damaged_changes_of_the_validators_are_named_and_mended() {
    let change = |store: &Store| store.set_changes(Height::ZERO).next().unwrap().unwrap();
    let of_original = |original: &Original| {
        let db = original.folder.path().join("db");
        change(&Store::open(&db, *original.spec.id()).unwrap())
    };
    type Damage = fn(&mut Vec<u8>);
    let damages: [(Damage, &str); 3] = [
        (|bytes| bytes.truncate(bytes.len() / 2), "is damaged, or does not follow from those before"),
        // Of the set's last key, so that it is another set than the one in the header.
        (|bytes| *bytes.last_mut().unwrap() ^= 1, "is damaged, or does not follow from those before"),
        (Vec::clear, "is missing"),
    ];
    for (damage, told) in damages {
        let (_folder, place, original) = with(|store, _| {
            let (height, mut bytes) = change(store);
            damage(&mut bytes);
            let (put, removed) =
                if bytes.is_empty() { (vec![], vec![height]) } else { (vec![(height, bytes)], vec![]) };
            store.mend_set_changes(&put, &removed).unwrap();
        });
        let (height, was) = of_original(&original);
        let (found, repaired) = mended(&place);
        assert!(found.contains(&format!("the change of the validators by block {height} {told}")), "{found}");
        assert_eq!((repaired.chain, repaired.head), (Became::Kept, Some(original.head)));
        let made_again = change(&Store::open(&place.home.repaired_db_dir(), *place.spec.id()).unwrap());
        assert_eq!(made_again, (height, was), "the state remembers it");
    }
}

#[test]
fn a_snapshot_that_is_being_fetched_is_no_damage() {
    let network = crate::chain::fixture::Network::new();
    let snapshot = network.snapshot(40, 1_500);
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    let spec = ChainSpec::new(network.spec().genesis().clone()).unwrap();
    let place = Place { home, spec, is_validator: false, is_signer: false };
    let db = place.home.db_dir();
    for (is_noted_well, told) in [(true, ""), (false, "meta: what was noted of a snapshot under way does not decode")] {
        let store = Store::open(&db, *place.spec.id()).unwrap();
        crate::chain::fixture::stage(&store, &snapshot);
        if !is_noted_well {
            store.put_restored(&[], b"other bytes").unwrap();
        }
        let n_rows = store.restored_rows().count();
        drop(store);
        let (found, _) = place.find(&db, true, &mut Progress::new()).unwrap();
        let found = found.to_text();
        assert_eq!(found.is_empty(), is_noted_well, "{found}");
        assert!(found.contains(told), "{found}");
        if is_noted_well {
            place.repair(true, true).unwrap();
            assert_eq!(place.read().unwrap().restored_rows().count(), n_rows, "a repair leaves it");
        }
    }
}

/// A node does not begin anew between two renames.
#[test]
fn a_store_that_did_not_get_its_name_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    home.check_db().unwrap();
    for made in [home.repaired_db_dir(), home.restored_db_dir()] {
        fs::create_dir(&made).unwrap();
        let told = home.check_db().unwrap_err().to_string();
        assert!(told.contains(&made.display().to_string()) && told.contains("lucid db check"), "{told}");
        fs::create_dir(home.db_dir()).unwrap();
        home.check_db().unwrap();
        fs::remove_dir(home.db_dir()).unwrap();
        fs::remove_dir(made).unwrap();
    }
}

#[test]
fn a_validator_without_its_watermark_gets_no_other_store() {
    let original = Original::new(true);
    let (_folder, place) = original.copy();
    fs::remove_file(place.home.watermark_file()).unwrap();
    let told = place.need_mark().unwrap_err().to_string();
    assert!(told.contains("validator-watermark is missing") && told.contains("docs/src/validator.md"), "{told}");
    let (found, _) = place.find(&place.home.db_dir(), false, &mut Progress::new()).unwrap();
    assert!(found.to_text().contains("validator-watermark: is missing"), "{}", found.to_text());
    let backup = place.open().unwrap().backup(&place.backups()).unwrap();
    let arguments = RestoreArgs { backup: backup.path, yes: true, replace: true, json: Json { json: false } };
    let told = place.restore(&arguments).unwrap_err().to_string();
    assert!(told.contains("validator-watermark is missing"), "{told}");
    assert_eq!(place.read().unwrap().head(), Some(original.head), "the store stays");
}

#[test]
fn a_restored_backup_keeps_a_validator_silent() {
    let original = Original::new(false);
    let (_folder, place) = original.copy();
    let backup = place.open().unwrap().backup(&place.backups()).unwrap();
    // It goes on and signs.
    let mark = Watermark::open(&place.home.watermark_file(), *place.spec.id(), true);
    mark.unwrap().signs(Height::new(BLOCKS + 9), 2).unwrap();
    let name = PathBuf::from(backup.path.file_name().unwrap());
    let arguments = |yes, replace| RestoreArgs { backup: name.clone(), yes, replace, json: Json { json: true } };
    let told = place.restore(&arguments(true, false)).unwrap_err().to_string();
    assert!(told.contains("with --replace"), "{told}");
    place.restore(&arguments(false, true)).unwrap();
    assert!(
        !fs::read_dir(place.home.root())
            .unwrap()
            .any(|file| { file.unwrap().file_name().to_string_lossy().starts_with("db.replaced") })
    );
    place.restore(&arguments(true, true)).unwrap();
    let store = place.read().unwrap();
    assert_eq!(store.head(), Some(original.head));
    let silence = place.silence(place.need_mark().unwrap(), store.head(), 3);
    assert_eq!(silence.through.get(), BLOCKS + 9);
    assert!(silence.to_text().contains(&format!("silent until block {} is decided", BLOCKS + 9)));
    drop(store);
    place.check(true, false, true).unwrap();
    let kept = fs::read_dir(place.home.root()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(kept.filter(|name| name.starts_with("db.replaced-")).count(), 1);
}
