#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use lucid_consensus::ledger::pool::Hold;
use lucid_consensus::ledger::table::Table as _;
use lucid_score::aggregate::{Aggregate, EchoMedian};
use lucid_score::credits::Earned;
use lucid_score::draw::ScoredWorker;
use lucid_score::worker_stats::Measured;
use lucid_types::amount::{Credits, MicroUsdt, Ppm};
use lucid_types::block::items_hash;
use lucid_types::bls::BlsSignature;
use lucid_types::certificate::{Certificate, CertificateError};
use lucid_types::genesis::Genesis;
use lucid_types::id::{BlockHash, Hash, StateRoot};
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::AccountKind;
use lucid_types::proof::{KeyProof, OtherLeaf, ProofStep};
use lucid_types::sync::DecidedError;
use lucid_types::time::{Height, UnixMillis};
use lucid_types::validator::{Validator, ValidatorSet};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vote::{Vote, VoteKind};
use proptest::prelude::*;

use super::document::{DocumentError, MAX_BYTES};
use super::*;
use crate::payout::testing::{self, address, node};

/// Scores of this epoch are final; the next one has none yet.
const EPOCH: Epoch = Epoch::new(7);
const HEIGHT: Height = Height::new(57);
/// Measured, and owed something.
const WORKER: u8 = 11;
/// Not measured, and owed nothing.
const IDLE: u8 = 12;
const STRANGER: u8 = 99;
const OWNER: u8 = 9;
/// Rows of others, so that paths have some steps.
const OTHERS: u8 = 40;

/// A network, and its state after a block.
struct World {
    spec: Arc<ChainSpec>,
    pool: PoolId,
    state: State,
    scores: EpochScores,
}

/// Validators 1 to 4 with these powers.
fn genesis(powers: [u64; 4]) -> Genesis {
    let base = testing::network().genesis().clone();
    let validator = |(seed, power): (u8, u64)| Validator { power, ..testing::validator(seed) };
    Genesis { name: "proofs".to_owned(), validators: (1..=4).zip(powers).map(validator).collect(), ..base }
}

fn id_of(n: u8) -> NodeId {
    NodeId::from_bytes(*Hash::derive("lucid test node", &[&[n]]).as_bytes())
}

/// The row of a worker whose first epoch it is, or a later one of these statistics.
fn measured(spec: &ChainSpec, stats: &mut WorkerStats, epoch: Epoch, worker: NodeId, n: u64) -> ScoreRow {
    let worker = ScoredWorker {
        node: worker,
        pool: testing::pool_id(spec),
        group: NetworkGroup::NONE,
        sharers: 1,
        quota: 2,
        echo_bytes: Some(LogScale::encode(262_144)),
        seats: Vec::new(),
        storage: Vec::new(),
    };
    let medians = Aggregate {
        reachable_ms: 1_900,
        success: Ppm::new(950_000),
        rtt_us: 700 + n,
        echo: (n == 0).then_some(EchoMedian { bytes: 262_144, kbit_s: 98_765 }),
        chunks: (n < 2).then_some(spec.genesis().policy.chunks_of_all(1)),
        group: Some(NetworkGroup::from_bytes([0, 0, 9, 8, 7, 6])),
    };
    let earned = Earned { relay: Credits::new(8), storage: Credits::new(n) };
    stats.add(&spec.genesis().policy, epoch, &Measured { worker: &worker, medians, earned, sharers: 2 })
}

fn row(kind: AccountKind, seed: u8, owed: u64) -> Account {
    Account {
        kind,
        node: node(seed),
        to: address(seed),
        owed: MicroUsdt::new(owed),
        requested: MicroUsdt::new(owed / 2),
        held: MicroUsdt::new(9),
        hold: if kind == AccountKind::Worker { Hold::Since(5) } else { Hold::No },
        correction: MicroUsdt::new(10),
    }
}

impl World {
    fn new(genesis: Genesis) -> Self {
        let spec = Arc::new(ChainSpec::new(genesis).unwrap());
        let (network, pool) = (*spec.id(), testing::pool_id(&spec));
        let mut stats = WorkerStats::default();
        measured(&spec, &mut stats, EPOCH.previous(), node(WORKER), 3);
        let mut rows = vec![measured(&spec, &mut stats, EPOCH, node(WORKER), 0)];
        let others = (0..OTHERS).map(|n| measured(&spec, &mut WorkerStats::default(), EPOCH, id_of(n), n.into()));
        rows.extend(others);
        rows.sort_by_key(|row| row.worker);
        let scores = EpochScores { epoch: EPOCH, rows };
        let root = scores.root();
        let state = State::genesis(&spec).changed(|rows| {
            (rows.head.height, rows.head.time) = (HEIGHT, UnixMillis::new(1_795_912_677_005));
            rows.put::<Workers>(&node(WORKER), stats);
            rows.put::<ScoreRoots>(&EPOCH.previous(), Hash::from_bytes([6; 32]));
            rows.put::<ScoreRoots>(&EPOCH, root);
            for (kind, seed, owed) in
                [(AccountKind::Worker, WORKER, 38_000_000), (AccountKind::Commission, OWNER, 2_000_000)]
            {
                rows.put::<Accounts>(
                    &(pool, AccountId::derive(&network, &pool, kind, &node(seed))),
                    row(kind, seed, owed),
                );
            }
            for n in 0..OTHERS {
                let id = AccountId::derive(&network, &pool, AccountKind::Worker, &id_of(n));
                rows.put::<Accounts>(&(pool, id), Account { node: id_of(n), ..row(AccountKind::Worker, n, 1) });
                rows.put::<Workers>(&id_of(n), WorkerStats::default());
            }
        });
        Self { spec, pool, state, scores }
    }

    fn account(&self, kind: AccountKind, node: &NodeId) -> AccountId {
        AccountId::derive(self.spec.id(), &self.pool, kind, node)
    }

    fn header(&self) -> Header {
        Header {
            height: HEIGHT,
            parent: BlockHash::from_bytes([3; 32]),
            round: 1,
            proposer: testing::signing_key(2).id(),
            time: self.state.time(),
            randao: BlsSignature::from_bytes([5; 48]),
            items: items_hash(&[]),
            next_set: self.spec.first_validators().hash(),
            state_root: self.state.root(),
        }
    }

    /// The state's block with the votes of these validators.
    fn block(&self, voters: &[u8]) -> CertifiedHeader {
        certified(
            self.spec.id(),
            self.header(),
            &voters.iter().map(|seed| testing::signing_key(*seed)).collect::<Vec<_>>(),
        )
    }

    fn score(&self, epoch: Epoch, worker: NodeId) -> Proof {
        let after = (&self.state, self.block(&[1, 2, 4]));
        Proof::of_score(*self.spec.id(), after, (epoch, worker), Some(&self.scores)).unwrap()
    }

    fn owed(&self, account: AccountId) -> Proof {
        Proof::of_owed(*self.spec.id(), (&self.state, self.block(&[1, 2, 4])), (self.pool, account))
    }

    /// The change by a block before the state's to these validators.
    fn set_change(&self, voters: &[u8], after: &[u8]) -> SetChange {
        let members = after.iter().map(|seed| testing::validator(*seed)).collect();
        let set = ValidatorSet::new(members).unwrap();
        let height = Height::new(HEIGHT.get() - 10 + u64::from(after[0]));
        let header = Header { height, next_set: set.hash(), ..self.header() };
        let voters: Vec<_> = voters.iter().map(|seed| testing::signing_key(*seed)).collect();
        SetChange { block: certified(self.spec.id(), header, &voters), set }
    }

    /// A worker's statistics, certified by validators of whom the genesis knows none.
    fn stats_after_changes(&self) -> Proof {
        let changes = [
            self.set_change(&[1, 2, 3], &[3, 4, 5]),
            self.set_change(&[3, 4, 5], &[5, 6, 7]),
            // It is not in force yet.
            self.set_change(&[5, 6, 7], &[9, 10]),
        ];
        let proof = Proof::of_account(*self.spec.id(), (&self.state, self.block(&[5, 6, 7])), node(WORKER));
        proof.with_set_changes(changes)
    }

    fn stats(&self, node: NodeId) -> Proof {
        Proof::of_account(*self.spec.id(), (&self.state, self.block(&[1, 2, 4])), node)
    }

    /// A proof of each kind, and of each kind of absence.
    fn samples(&self) -> Vec<(&'static str, Proof)> {
        vec![
            ("score", self.score(EPOCH, node(WORKER))),
            ("score_absent", self.score(EPOCH, node(IDLE))),
            ("score_none", self.score(EPOCH.next(), node(WORKER))),
            ("owed", self.owed(self.account(AccountKind::Worker, &node(WORKER)))),
            ("owed_commission", self.owed(self.account(AccountKind::Commission, &node(OWNER)))),
            ("owed_absent", self.owed(self.account(AccountKind::Worker, &node(IDLE)))),
            ("account", self.stats(node(WORKER))),
            ("account_absent", self.stats(node(STRANGER))),
            ("account_after_changes", self.stats_after_changes()),
        ]
    }
}

fn certified(network: &NetworkId, header: Header, voters: &[ValidatorKey]) -> CertifiedHeader {
    let mut certificate = Certificate { height: header.height, round: 2, block: header.hash(), signatures: Vec::new() };
    for key in voters {
        let vote = key.sign_vote(network, certificate.vote()).into_inner();
        certificate.signatures.push((vote.signer, vote.signature));
    }
    certificate.signatures.sort();
    CertifiedHeader { header, certificate }
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::new(genesis([1; 4])));

impl Proof {
    fn block_mut(&mut self) -> &mut CertifiedHeader {
        match &mut self.statement {
            Statement::Score { proof, .. } => &mut proof.state.block,
            Statement::NoScores { proof, .. } | Statement::Owed { proof, .. } | Statement::Account { proof, .. } => {
                &mut proof.block
            }
        }
    }

    /// Its paths: in the state, and in the tree of scores.
    fn paths_mut(&mut self) -> Vec<&mut KeyProof> {
        match &mut self.statement {
            Statement::Score { proof, .. } => {
                let ScoreProof { state, path, .. } = proof;
                vec![&mut state.path, path]
            }
            Statement::NoScores { proof, .. } | Statement::Owed { proof, .. } | Statement::Account { proof, .. } => {
                vec![&mut proof.path]
            }
        }
    }
}

/// What `lucid proof verify` does with a text.
fn check(text: &[u8], spec: &ChainSpec) -> Result<Proved, String> {
    let told = |error: &dyn std::error::Error| {
        std::iter::successors(Some(error), |error| error.source())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ")
    };
    let proof = Proof::parse(text).map_err(|error| told(&error))?;
    proof.verify(spec).map_err(|error| told(&error))
}

/// Why a proof that was written as documents are proves nothing.
fn refusal(proof: &Proof) -> String {
    let text = proof.text();
    assert_eq!(&Proof::parse(text.as_bytes()).unwrap(), proof, "it is a document");
    check(text.as_bytes(), &WORLD.spec).unwrap_err()
}

#[test]
fn golden_documents() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/proof");
    let mut files = vec![("genesis.toml".to_owned(), toml::to_string(WORLD.spec.genesis()).unwrap())];
    files.extend(WORLD.samples().into_iter().map(|(name, proof)| (format!("{name}.json"), proof.text())));
    for (name, text) in &files {
        let file = folder.join(name);
        if std::env::var("LUCID_GOLDEN").is_ok_and(|value| value == "write") {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, text).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            *text == golden,
            "{name} differs from {}: the bytes of proofs are fixed. If the change is meant, run the test with LUCID_GOLDEN=write, \
             look at the difference, and say so in the changelog",
            file.display()
        );
    }
    let kept = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(kept, files.len(), "files that no sample makes");
}

#[test]
fn proofs_say_what_the_state_says() {
    let world = &*WORLD;
    let account = |kind, seed| Subject::Owed { pool: world.pool, account: world.account(kind, &node(seed)) };
    let asked = [
        Subject::Score { epoch: EPOCH, worker: node(WORKER) },
        Subject::Score { epoch: EPOCH, worker: node(IDLE) },
        Subject::Score { epoch: EPOCH.next(), worker: node(WORKER) },
        account(AccountKind::Worker, WORKER),
        account(AccountKind::Commission, OWNER),
        account(AccountKind::Worker, IDLE),
        Subject::Account { node: node(WORKER) },
        Subject::Account { node: node(STRANGER) },
    ];
    let samples = world.samples();
    // The last has validators of its own.
    for (i, (name, proof)) in samples.iter().enumerate().take(asked.len()) {
        let proved = check(proof.text().as_bytes(), &world.spec).unwrap();
        assert_eq!((proved.proof(), proved.header().height, proved.power()), (proof, HEIGHT, (3, 4)));
        let answered: Vec<_> = (0..asked.len()).filter(|j| proof.answers(&asked[*j])).collect();
        assert_eq!(answered, [i], "{name}");
    }
    assert!(samples[2].1.answers(&Subject::Score { epoch: EPOCH.next(), worker: node(STRANGER) }));
    let measured = world.scores.rows.iter().find(|row| row.worker == node(WORKER));
    let says = |i: usize| samples[i].1.clone().verify(&world.spec).unwrap().statement().clone();
    assert!(matches!(says(0), Statement::Score { row, .. } if row.as_ref() == measured));
    assert!(matches!(says(1), Statement::Score { row: None, .. }));
    assert!(matches!(says(2), Statement::NoScores { .. }));
    assert!(matches!(says(3), Statement::Owed { row: Some(row), .. } if row.owed == MicroUsdt::new(38_000_000)));
    assert!(matches!(says(4), Statement::Owed { row: Some(row), .. } if row.kind == AccountKind::Commission));
    assert!(matches!(says(5), Statement::Owed { row: None, .. }));
    assert!(matches!(says(6), Statement::Account { row: Some(row), .. } if row.measured() == EPOCH));
    assert!(matches!(says(7), Statement::Account { row: None, .. }));
}

/// Scores that are not those of the state prove nothing; nor do none, if it has some.
#[test]
fn scores_must_be_those_of_the_state() {
    let world = &*WORLD;
    let of = |epoch, scores| {
        Proof::of_score(*world.spec.id(), (&world.state, world.block(&[1, 2, 3])), (epoch, node(WORKER)), scores)
    };
    let cut = EpochScores { rows: world.scores.rows[1..].to_vec(), ..world.scores.clone() };
    assert_eq!(of(EPOCH, None), None);
    assert_eq!(of(EPOCH, Some(&cut)), None);
    assert_eq!(of(EPOCH.previous(), Some(&world.scores)), None);
    assert_eq!(of(EPOCH.next(), Some(&cut)), of(EPOCH.next(), None));
    assert!(of(EPOCH, Some(&world.scores)).is_some());
}

/// Whatever byte is another, missing or too many: no other text than the document itself holds.
#[test]
fn no_byte_can_be_changed() {
    let texts: Vec<_> = WORLD.samples().iter().map(|(_, proof)| proof.text().into_bytes()).collect();
    std::thread::scope(|scope| {
        for text in &texts {
            scope.spawn(|| {
                check(text, &WORLD.spec).unwrap();
                for at in 0..text.len() {
                    for bit in [0, 5, at % 8] {
                        let mut changed = text.clone();
                        changed[at] ^= 1 << bit;
                        assert!(check(&changed, &WORLD.spec).is_err(), "bit {bit} of byte {at}");
                    }
                    let mut shorter = text.clone();
                    let taken = shorter.remove(at);
                    assert!(check(&shorter, &WORLD.spec).is_err(), "without byte {at}");
                    let mut longer = text.clone();
                    longer.insert(at, if at % 2 == 0 { taken } else { b' ' });
                    assert!(check(&longer, &WORLD.spec).is_err(), "with a byte more at {at}");
                }
                assert!(check(&[text, &b"\n"[..]].concat(), &WORLD.spec).is_err());
            });
        }
    });
}

/// The key is what was asked for: a path that ends at another row proves every key absent that leads there.
#[test]
fn an_absence_holds_for_every_absent_key_on_its_path() {
    let text = WORLD.stats(node(STRANGER)).text();
    let id = node(STRANGER).to_string();
    let other = |last: char| text.replace(&id, &format!("{}{last}", &id[..id.len() - 1]));
    let said = |text: String| check(text.as_bytes(), &WORLD.spec).map(|proved| proved.statement().clone());
    let last = if id.ends_with('0') { '1' } else { '0' };
    let Statement::Account { node: named, row: None, .. } = said(other(last)).unwrap() else {
        unreachable!("nobody has this id");
    };
    assert_ne!(named, node(STRANGER));
    assert!(named.to_string().ends_with(last));
    // But for no key that is there, and none that leads elsewhere.
    for present in [node(WORKER), id_of(0)] {
        assert!(said(text.replace(&id, &present.to_string())).is_err(), "{present}");
    }
}

/// Every line in other forms of the same JSON, and with other values.
#[test]
fn no_line_can_be_changed() {
    for (name, proof) in WORLD.samples() {
        let text = proof.text();
        let lines: Vec<_> = text.lines().collect();
        for at in 0..lines.len() {
            // The document with other lines in place of this one.
            let refused = |what: &str, others: &[&str]| {
                let changed = [&lines[..at], others, &lines[at + 1..]].concat().join("\n") + "\n";
                if changed != text {
                    assert!(check(changed.as_bytes(), &WORLD.spec).is_err(), "{name}, line {at}: {what}: {changed}");
                }
            };
            let line = lines[at];
            refused("left out", &[]);
            refused("twice", &[line, line]);
            refused("a space after it", &[&format!("{line} ")]);
            refused("a carriage return after it", &[&format!("{line}\r")]);
            refused("no space before it", &[line.trim_start()]);
            refused("in upper case", &[&line.to_uppercase()]);
            refused("the next line before and after it", &[lines.get(at + 1).copied().unwrap_or_default(), line]);
            let Some((field, value)) = line.split_once(": ") else { continue };
            let comma = if value.ends_with(',') { "," } else { "" };
            for other in ["null", "0", "1", "-0", "1e3", "18446744073709551615", "true", "\"\"", "\"00\"", "{}", "[]"] {
                refused("another value", &[&format!("{field}: {other}{comma}")]);
            }
            let name = field.trim_start().trim_matches('"');
            refused("another field", &[&line.replacen(name, &format!("{name}s"), 1)]);
            let escaped = format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
            refused("an escape", &[&line.replacen(name, &escaped, 1)]);
            refused("a field more", &[&line.replacen(line.trim_start(), "\"more\": 1,", 1), line]);
        }
    }
}

#[test]
fn documents_that_are_none_say_why() {
    let text = WORLD.samples()[3].1.text();
    let (stranger, worker) = (node(STRANGER).to_string(), node(WORKER).to_string());
    let told = |text: &str, wanted: &str| {
        let error = check(text.as_bytes(), &WORLD.spec).unwrap_err();
        assert!(error.contains(wanted), "{error}\nwanted {wanted}");
    };
    told("", "it is no proof document: EOF while parsing");
    told("hello", "it is no proof document: expected value at line 1 column 1");
    told("{}", "missing field `format`");
    told(&"[".repeat(100_000), "it is no proof document: ");
    told(
        "{\"format\": \"lucid/proof/2\", \"more\": [1]}",
        "its format is \"lucid/proof/2\", and this version of lucid reads",
    );
    told(&text.replace("\"owed\"", "\"lent\""), "unknown variant `lent`");
    told(&text.replace("\"owed\"", "\"account\""), "unknown field `pool`");
    told(&text.replace("\"claim\"", "\"claims\""), "unknown field `claims`");
    told(&text.replace("38000000", "38000001"), "`claim` does not follow from the rest");
    told(&text.replacen(&worker, &stranger, 1), "`claim` does not follow");
    told(&text.replace("\"key\": \"03", "\"key\": \"04"), "`state.key` does not follow");
    told(&text.replace("\"value\": \"", "\"value\": \"0x"), "`state.value` is no hex");
    told(&text.replace("\"value\": \"00", "\"value\": \"07"), "the bytes in `state.value` are no row of this kind");
    told(&text.replace("    \"round\": 2", "    \"round\":  2"), "line ");
    told(&text.replace("\"height\": 57", "\"height\": 58"), "`certificate.block_hash` does not follow");
    told(&format!(" {text}"), "line 1 is not as a proof is written");
    told(&format!("{text}\n"), "line ");
    told(text.trim_end(), "line ");
    told(&text.replace("  \"scores\": null,\n", ""), "line ");
    let none = WORLD.samples()[2].1.text();
    let scores = none
        .replace("\"scores\": null", "\"scores\": {\"key\": \"\", \"value\": null, \"steps\": [], \"other\": null}");
    told(&scores, "`scores` does not follow");
    let long = text.replace("\"scores\"", &format!("{}\"scores\"", " ".repeat(MAX_BYTES)));
    assert!(matches!(Proof::parse(long.as_bytes()), Err(DocumentError::TooLong)));
    assert!(check(b"\xff\xfe{}", &WORLD.spec).unwrap_err().contains("it is no proof document"));
}

/// The longest paths and the largest certificate fit a document.
#[test]
fn the_longest_document_has_room() {
    let mut proof = WORLD.score(EPOCH, node(WORKER));
    let step = ProofStep { bit: u16::MAX, sibling: Hash::from_bytes([0xff; 32]) };
    let other = OtherLeaf { key: vec![0xff; lucid_types::proof::MAX_KEY_BYTES], value: Hash::from_bytes([0xff; 32]) };
    for path in proof.paths_mut() {
        *path = KeyProof { steps: vec![step; KeyProof::MAX_STEPS], other: Some(other.clone()) };
    }
    let vote = proof.block().certificate.signatures[0];
    proof.block_mut().certificate.signatures = vec![vote; ValidatorSet::MAX_MEMBERS];
    let text = proof.text();
    assert!(2 * text.len() < MAX_BYTES + text.len(), "{}", text.len());
    assert_eq!(Proof::parse(text.as_bytes()).unwrap(), proof);
}

#[test]
fn forged_certificates_are_refused() {
    let world = &*WORLD;
    let of = |block: CertifiedHeader| {
        Proof::of_owed(
            *world.spec.id(),
            (&world.state, block),
            (world.pool, world.account(AccountKind::Worker, &node(WORKER))),
        )
    };
    let told = |block, wanted: &str| {
        let error = refusal(&of(block));
        assert!(error.starts_with("the block is not certified by the validators of this network"), "{error}");
        assert!(error.contains(wanted), "{error}\nwanted {wanted}");
    };
    // All is well with three of four, and with all.
    for voters in [&[1, 2, 3][..], &[1, 2, 3, 4]] {
        of(world.block(voters)).verify(&world.spec).unwrap();
    }
    told(world.block(&[]), "power 0 of 4");
    told(world.block(&[2, 3]), "power 2 of 4 is not more than two thirds");
    told(world.block(&[2, 3, 3]), "the signers are not in ascending order");
    let mut unsorted = world.block(&[1, 2, 3]);
    unsorted.certificate.signatures.reverse();
    told(unsorted, "the signers are not in ascending order");
    told(world.block(&[1, 2, STRANGER]), "is no validator of this height");
    told(world.block(&[1, 2, 3, STRANGER]), "is no validator of this height");

    let network = *world.spec.id();
    let keys = [1, 2, 3].map(testing::signing_key);
    let other_network = NetworkId::from_bytes([1; 32]);
    told(certified(&other_network, world.header(), &keys), "the signature of ");
    // Votes of the first step, for another round, for another block, or for nil.
    let vote = world.block(&[1]).certificate.vote();
    for other in [
        Vote { kind: VoteKind::Prevote, ..vote },
        Vote { round: 1, ..vote },
        Vote { height: HEIGHT.next(), ..vote },
        Vote { block: None, ..vote },
        Vote { block: Some(BlockHash::from_bytes([9; 32])), ..vote },
    ] {
        let mut block = world.block(&[1, 2, 3]);
        block.certificate.signatures = keys
            .iter()
            .map(|key| key.sign_vote(&network, other).into_inner())
            .map(|it| (it.signer, it.signature))
            .collect();
        block.certificate.signatures.sort();
        told(block, "the signature of ");
    }
    // One that is wrong makes all worth nothing, however many are right.
    let mut four = world.block(&[1, 2, 3, 4]);
    four.certificate.signatures[2].1 = four.certificate.signatures[1].1;
    told(four, "the signature of ");
    // The votes are for another header: whatever field is changed.
    let changes: [fn(&mut Header); 9] = [
        |h| h.height = h.height.next(),
        |h| h.parent = BlockHash::from_bytes([0; 32]),
        |h| h.round += 1,
        |h| h.proposer = testing::signing_key(1).id(),
        |h| h.time = UnixMillis::new(h.time.get() + 1),
        |h| h.randao = BlsSignature::from_bytes([6; 48]),
        |h| h.items = Hash::from_bytes([0; 32]),
        |h| h.next_set = Hash::from_bytes([0; 32]),
        |h| h.state_root = StateRoot::from_bytes([0; 32]),
    ];
    for change in changes {
        let mut block = world.block(&[1, 2, 3]);
        change(&mut block.header);
        (block.certificate.height, block.certificate.block) = (block.header.height, block.header.hash());
        told(block, "the signature of ");
    }
    // What no text can say, since both are written once.
    let mut block = world.block(&[1, 2, 3]);
    block.certificate.height = HEIGHT.next();
    let error = of(block).verify(&world.spec).unwrap_err();
    assert!(matches!(error, ProofError::Row(RowProofError::Block(DecidedError::OtherBlock))), "{error}");
}

/// More than two thirds of the power, not of the validators.
#[test]
fn power_counts_and_not_heads() {
    let world = World::new(genesis([5, 1, 1, 1]));
    let verify = |voters: &[u8]| {
        Proof::of_account(*world.spec.id(), (&world.state, world.block(voters)), node(WORKER)).verify(&world.spec)
    };
    assert_eq!(verify(&[1, 2]).unwrap().power(), (6, 8));
    for (voters, signed) in [(&[2, 3, 4][..], 3), (&[1], 5)] {
        let error = verify(voters).unwrap_err();
        let expected = CertificateError::NotEnoughPower { signed, total: 8 };
        let ProofError::Row(RowProofError::Block(DecidedError::Certificate(found))) = error else { panic!("{error}") };
        assert_eq!(found, expected);
    }
}

/// The validators of an older set, of whom the genesis knows nothing any more, certify nothing.
#[test]
fn other_validators_certify_nothing() {
    let world = &*WORLD;
    let older: Vec<_> = (5..=8).map(testing::signing_key).collect();
    let block = certified(world.spec.id(), world.header(), &older);
    let error = refusal(&Proof::of_account(*world.spec.id(), (&world.state, block), node(WORKER)));
    assert!(error.contains("is no validator of this height"), "{error}");
}

/// Each change is certified by the validators before it, and no other counts.
#[test]
fn changes_of_the_validators_must_follow_from_the_genesis() {
    let world = &*WORLD;
    let proof = world.stats_after_changes();
    assert_eq!(proof.set_changes.len(), 2);
    assert_eq!(proof.clone().verify(&world.spec).unwrap().power(), (3, 3));
    let with = |change: &dyn Fn(&mut Vec<SetChange>)| {
        let mut proof = proof.clone();
        change(&mut proof.set_changes);
        refusal(&proof)
    };
    let follow = "do not lead to those of the block";
    assert!(with(&|changes| drop(changes.remove(0))).contains(follow));
    assert!(with(&|changes| changes.swap(0, 1)).contains(follow));
    assert!(with(&|changes| changes[0] = world.set_change(&[1, 2], &[3, 4, 5])).contains(follow));
    assert!(with(&|changes| changes[0].set = changes[1].set.clone()).contains(follow));
    assert!(with(&|changes| drop(changes.pop())).contains("is no validator of this height"));
    let late = world.set_change(&[5, 6, 7], &[9, 10]);
    assert!(with(&|changes| changes.push(late.clone())).contains("says nothing of it"));
}

#[test]
fn a_proof_is_of_one_network() {
    let world = &*WORLD;
    let other = World::new(Genesis { name: "another".to_owned(), ..genesis([1; 4]) });
    for (_, proof) in world.samples() {
        let error = check(proof.text().as_bytes(), &other.spec).unwrap_err();
        assert!(
            error.contains(&world.spec.id().to_string()) && error.contains(&other.spec.id().to_string()),
            "{error}"
        );
        // Its name alone does not make it the other's.
        let renamed = Proof { network: *other.spec.id(), ..proof };
        let error = check(renamed.text().as_bytes(), &other.spec).unwrap_err();
        assert!(
            error.contains("do not lead to those of the block")
                || error.contains("the signature of ")
                || error.contains("not of this account"),
            "{error}"
        );
    }
}

/// Right paths and rows, each of something else than is said.
#[test]
fn parts_of_proofs_make_no_others() {
    let world = &*WORLD;
    let told = |proof: &Proof, wanted: &str| {
        let error = refusal(proof);
        assert!(error.contains(wanted), "{error}\nwanted {wanted}");
    };
    let path = "the path does not lead from the state root to the row";
    let scores = "the path does not lead from the root of the epoch's scores to the worker's row";

    // What a row says, changed by as little as it can be.
    let mut proof = world.owed(world.account(AccountKind::Worker, &node(WORKER)));
    if let Statement::Owed { row: Some(row), .. } = &mut proof.statement {
        row.owed = row.owed.saturating_add(MicroUsdt::new(1));
    }
    told(&proof, path);
    let mut proof = world.score(EPOCH, node(WORKER));
    if let Statement::Score { row: Some(row), .. } = &mut proof.statement {
        row.score = Ppm::new(row.score.get() + 1);
    }
    told(&proof, scores);
    let mut proof = world.stats(node(WORKER));
    if let Statement::Account { row: Some(row), .. } = &mut proof.statement {
        row.kbit_s.0 += 1;
    }
    told(&proof, path);

    // There is a row, and it is said that there is none: with its own path, and with that of an absent key.
    let absent = world.owed(world.account(AccountKind::Worker, &node(IDLE)));
    let mut proof = world.owed(world.account(AccountKind::Worker, &node(WORKER)));
    let leaf = OtherLeaf {
        key: Accounts::key(&(world.pool, world.account(AccountKind::Worker, &node(WORKER)))),
        value: Hash::from_bytes([0; 32]),
    };
    if let Statement::Owed { row, proof, .. } = &mut proof.statement {
        *row = None;
        proof.path.other = None;
    }
    told(&proof, "the leaf at which the lookup ends is missing");
    proof.paths_mut()[0].other = Some(leaf);
    told(&proof, "the leaf at which the lookup ends has the key itself");
    *proof.paths_mut()[0] = absent.clone().paths_mut()[0].clone();
    told(&proof, path);
    // There is none, and it is said that there is one.
    let mut proof = absent;
    if let Statement::Owed { row: found, .. } = &mut proof.statement {
        *found = Some(row(AccountKind::Worker, IDLE, 1));
    }
    told(&proof, "a proof of a value has no other leaf");
    proof.paths_mut()[0].other = None;
    told(&proof, path);

    // The proof of another key: of another account, worker, epoch, or table.
    let (worker, other) =
        (world.account(AccountKind::Worker, &node(WORKER)), world.account(AccountKind::Worker, &id_of(3)));
    let mut proof = world.owed(other);
    if let Statement::Owed { account, .. } = &mut proof.statement {
        *account = worker;
    }
    told(&proof, "the row is not of this account");
    if let Statement::Owed { row: found, .. } = &mut proof.statement {
        *found = world.state.account(&world.pool, &worker).cloned();
    }
    told(&proof, path);
    let mut proof = world.stats(id_of(3));
    if let Statement::Account { node: of, .. } = &mut proof.statement {
        *of = id_of(4);
    }
    told(&proof, path);
    let mut proof = world.score(EPOCH, id_of(3));
    if let Statement::Score { worker, .. } = &mut proof.statement {
        *worker = id_of(4);
    }
    told(&proof, "the row is not of this worker");
    if let Statement::Score { row: Some(row), .. } = &mut proof.statement {
        row.worker = id_of(4);
    }
    told(&proof, scores);
    for said in [EPOCH.previous(), EPOCH.next()] {
        let mut proof = world.score(EPOCH, node(WORKER));
        if let Statement::Score { epoch, .. } = &mut proof.statement {
            *epoch = said;
        }
        told(&proof, path);
    }

    // An epoch with scores is said to have none, and one without to have those of another.
    let (some, none) = (world.score(EPOCH, node(WORKER)), world.score(EPOCH.next(), node(WORKER)));
    let (Statement::Score { proof: some, row, .. }, Statement::NoScores { proof: none, .. }) =
        (some.statement, none.statement)
    else {
        unreachable!("one epoch has scores, and the next has none")
    };
    let of = |statement| Proof::new(*world.spec.id(), statement);
    told(
        &of(Statement::NoScores { epoch: EPOCH, proof: some.state.clone() }),
        "the leaf at which the lookup ends is missing",
    );
    told(&of(Statement::NoScores { epoch: EPOCH, proof: none.clone() }), path);
    let proof = ScoreProof { state: none, ..some };
    told(
        &of(Statement::Score { epoch: EPOCH.next(), worker: node(WORKER), row, proof }),
        "a proof of a value has no other leaf",
    );
    // Scores that the state does not have, in a tree of their own.
    let mut rows = world.scores.rows.clone();
    let at = rows.iter().position(|row| row.worker == node(WORKER)).unwrap();
    rows[at].score = Ppm::ONE;
    let forged = EpochScores { epoch: EPOCH, rows };
    let mut proof = world.score(EPOCH, node(WORKER));
    if let Statement::Score { proof, row, .. } = &mut proof.statement {
        (proof.root, proof.path) = (forged.root(), forged.prove(&node(WORKER)));
        *row = Some(forged.rows[at]);
    }
    told(&proof, path);

    // Another final state's block: right certificate, right path, and they do not belong together.
    let later =
        World { state: world.state.changed(|rows| rows.head.height = HEIGHT.next()), ..World::new(genesis([1; 4])) };
    for (_, mut proof) in world.samples() {
        let is_of_genesis = proof.set_changes.is_empty();
        *proof.block_mut() = later.block(if is_of_genesis { &[1, 2, 3] } else { &[5, 6, 7] });
        told(&proof, path);
    }
}

/// Whatever step of a path is changed.
#[test]
fn paths_are_bound_step_by_step() {
    for (name, proof) in WORLD.samples() {
        let steps: Vec<_> = proof.clone().paths_mut().iter().map(|path| path.steps.clone()).collect();
        for (which, steps) in steps.iter().enumerate() {
            assert!(steps.len() >= 2, "{name}: {steps:?}");
            let refused = |change: &dyn Fn(&mut KeyProof)| {
                let mut changed = proof.clone();
                change(changed.paths_mut()[which]);
                assert_ne!(changed, proof);
                refusal(&changed);
            };
            for (at, step) in steps.iter().enumerate() {
                refused(&|path| path.steps.retain(|it| it != step));
                refused(&|path| path.steps.insert(at, path.steps[at]));
                refused(&|path| path.steps[at].bit ^= 1);
                refused(&|path| path.steps[at].sibling = Hash::from_bytes([7; 32]));
                refused(&|path| {
                    let last = path.steps.len() - 1;
                    path.steps.swap(at, if at == 0 { last } else { 0 });
                });
                refused(&|path| path.steps.truncate(at));
            }
            refused(&|path| path.steps.push(ProofStep { bit: 500, sibling: Hash::from_bytes([7; 32]) }));
            refused(&|path| path.steps.clear());
            refused(&|path| {
                path.other = match path.other.take() {
                    Some(_) => None,
                    None => Some(OtherLeaf { key: vec![1], value: Hash::from_bytes([7; 32]) }),
                };
            });
            if proof.clone().paths_mut()[which].other.is_some() {
                for change in [
                    |leaf: &mut OtherLeaf| leaf.value = Hash::from_bytes([7; 32]),
                    |leaf: &mut OtherLeaf| leaf.key[1] ^= 1,
                    |leaf: &mut OtherLeaf| leaf.key.truncate(leaf.key.len() - 1),
                    |leaf: &mut OtherLeaf| leaf.key.extend([0; 600]),
                ] {
                    refused(&|path| path.other.iter_mut().for_each(change));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Of any state, every key has a proof that holds and says what the state says, and the text of it reads back.
    #[test]
    fn every_key_of_any_state_is_proved(
        owed in prop::collection::btree_map(any::<u8>(), any::<u64>(), 0..60),
        asked in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let world = &*WORLD;
        let id = |n: &u8| world.account(AccountKind::Worker, &id_of(*n));
        let state = State::genesis(&world.spec).changed(|rows| {
            rows.head.height = HEIGHT;
            for (n, owed) in &owed {
                let account = Account { node: id_of(*n), ..row(AccountKind::Worker, *n, *owed) };
                rows.put::<Accounts>(&(world.pool, id(n)), account);
            }
        });
        let header = Header { state_root: state.root(), ..world.header() };
        let block = certified(world.spec.id(), header, &[1, 2, 3].map(testing::signing_key));
        for n in asked {
            let proof = Proof::of_owed(*world.spec.id(), (&state, block.clone()), (world.pool, id(&n)));
            let text = proof.text();
            let proved = check(text.as_bytes(), &world.spec).unwrap();
            let Statement::Owed { row, .. } = proved.statement() else { panic!("{:?}", proved.statement()) };
            prop_assert_eq!(row.as_ref().map(|row| row.owed.get()), owed.get(&n).copied());
            prop_assert_eq!(proved.proof().text(), text);
        }
    }

    /// Bytes that are no document are refused, whatever they are.
    #[test]
    fn anything_else_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Proof::parse(&bytes).is_err());
    }
}

/// The figures of the book: how long proofs are.
#[test]
fn lengths() {
    for (name, proof) in WORLD.samples() {
        let path: usize = proof.clone().paths_mut().iter().map(|path| encode(*path).len()).sum();
        // A change of three validators takes 3 kB more.
        let limit = 8_000 + 4_000 * proof.set_changes.len();
        assert!(proof.text().len() < limit && path < 1_024, "{name}: {} {path}", proof.text().len());
    }
}
