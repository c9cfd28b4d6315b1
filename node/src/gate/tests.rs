//! Every kind of message, every way to be wrong: exactly the right verdict and reason, and the good one passes.

use lucid_consensus::ledger::registry::Nonce;
use lucid_consensus::ledger::state::{PendingEpoch, Rows, State};
use lucid_consensus::ledger::table::{Draws, NodeKeys, Nodes, Nonces, PendingEpochs};
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::block::{Block, Header, items_hash};
use lucid_types::codec::{VARIANT_WINDOW, Wire, encode};
use lucid_types::command::{Action, Command as Order, Entry, NodeAction, Registration};
use lucid_types::id::{BlockHash, NetworkId, PayoutAddress, PoolId, StateRoot};
use lucid_types::key::NodeKey;
use lucid_types::log_scale::LogScale;
use lucid_types::message::CompactProposal;
use lucid_types::payout::VaultLimits;
use lucid_types::pool::PoolAction;
use lucid_types::report::{AssignedWorker, Observation, ScoreReport};
use lucid_types::signed::{MultiSigned, Signature};
use lucid_types::sync::{PolkaCertificate, RebroadcastItem};
use lucid_types::ticket::{Invite, Ticket};
use lucid_types::time::UnixMillis;
use lucid_types::validator::{Proposers, Validator};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vault::{SignerSet, TreasurySigner};
use lucid_types::vote::{Proposal, Vote, VoteKind, Wake};

use super::*;
use crate::payout::testing;
use crate::payout::testing::start::Start;

/// The newest block. It has closed the epoch of the next number, in which the clock still is.
const NEWEST: u64 = 10;
const NEXT: u64 = NEWEST + 1;
/// The clock.
const NOW: u64 = 1_000_000 + NEWEST * 2_000 + 500;
const WORKER: u8 = testing::WORKERS[0];
const STRANGER: u8 = 99;
const OWNER: u8 = 21;

struct Still(UnixMillis);

impl Clock for Still {
    fn now(&self) -> UnixMillis {
        self.0
    }
}

struct Fixture {
    gate: NodeGate,
    head: watch::Sender<Head>,
    network: NetworkId,
}

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn signing_key(seed: u8) -> ValidatorKey {
    testing::signing_key(seed)
}

fn validators() -> Vec<Validator> {
    (1..=4).map(testing::validator).collect()
}

/// Validators 1 to 4 and a pool with a worker, epochs of two seconds.
fn start() -> Start {
    let mut start = testing::start();
    start.genesis.validators = validators();
    start.workers.truncate(1);
    start.pools[0].owner = key(OWNER).account();
    start
}

fn network() -> ChainSpec {
    ChainSpec::new(start().genesis).unwrap()
}

/// The beacon is still the first.
fn proposers_of(network: &ChainSpec, height: Height) -> Proposers<'_> {
    network.first_validators().proposers(State::genesis(network).head().beacon, height)
}

fn pool() -> PoolId {
    testing::pool_id(&network())
}

fn fixture() -> Fixture {
    let now = UnixMillis::new(NOW);
    let network = Arc::new(network());
    let id = *network.id();
    let table = AttestationTable::new(&network.fixed());
    let first = start().state(&network);
    let (epoch, closed_in) = (Epoch::new(NEXT), Height::new(NEWEST));
    let draw = first.open().unwrap().clone();
    let state = first.changed(|rows| {
        (rows.head.height, rows.head.closed) = (closed_in, epoch);
        rows.put::<Draws>(&epoch, draw.clone());
        rows.put::<Draws>(&epoch.next(), draw);
        rows.put::<PendingEpochs>(&epoch, PendingEpoch { closed_in });
    });
    let (head, seen) = watch::channel(testing::head(state));
    let gate = NodeGate::new(network, Arc::new(Still(now)), Arc::new(table), seen);
    Fixture { gate, head, network: id }
}

impl Fixture {
    /// The verdict in words; nothing follows "accept".
    fn admit(&self, topic: Topic, bytes: &[u8]) -> String {
        match self.gate.admit(key(STRANGER).public_key(), topic, bytes) {
            Admission::Accept(_) => "accept".to_owned(),
            Admission::Ignore(reason) => format!("ignore {reason}"),
            Admission::Reject(reason) => format!("reject {reason}"),
        }
    }

    #[track_caller]
    fn expect(&self, kind: Kind, bytes: &[u8], verdict: &str) {
        assert_eq!(self.admit(kind.topic(), bytes), verdict, "{kind:?}");
    }
}

/// Everything that is gossiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Attestation,
    Commitment,
    Reveal,
    Proposal,
    Vote,
    RebroadcastItem,
    Certificate,
    Command,
}

use Kind::{
    Attestation, Certificate as Proof, Command, Commitment as Commitments, RebroadcastItem as Repeated,
    Reveal as Reveals,
};

const KINDS: [Kind; 8] = [Attestation, Commitments, Reveals, Kind::Proposal, Kind::Vote, Repeated, Proof, Command];

/// What a message is made of.
#[derive(Clone, Copy)]
struct Recipe {
    network: NetworkId,
    signer: u8,
    height: u64,
    sequence: u64,
}

fn vote(height: u64) -> Vote {
    Vote {
        kind: VoteKind::Precommit,
        height: Height::new(height),
        round: 0,
        block: Some(BlockHash::from_bytes([7; 32])),
    }
}

fn commitment(recipe: &Recipe) -> Signed<ReportCommitment> {
    let record = ReportCommitment { epoch: Epoch::new(recipe.height), report: Hash::from_bytes([3; 32]) };
    signing_key(recipe.signer).sign_report_commitment(&recipe.network, record).into_inner()
}

fn attestation(recipe: &Recipe) -> ResourceAttestation {
    ResourceAttestation {
        epoch: Epoch::new(recipe.height),
        sequence: recipe.sequence,
        time: UnixMillis::new(5),
        uptime_s: 1,
        cpu: Ppm::ZERO,
        memory: Ppm::ZERO,
        disk: Ppm::ZERO,
        network_rx_bytes_s: 0,
        network_tx_bytes_s: 0,
        sessions: 0,
        capacity: Capacity::default(),
        allocation: Ppm::ZERO,
    }
}

fn rebroadcast(recipe: &Recipe, item: RebroadcastItem) -> Vec<u8> {
    let message = Rebroadcast { sequence: recipe.sequence, item };
    encode(&*signing_key(recipe.signer).sign_rebroadcast(&recipe.network, message))
}

/// A proposal of a block that its signer built in this round.
fn compact(recipe: &Recipe, round: u32) -> CompactProposal {
    let header = Header {
        height: Height::new(recipe.height),
        parent: BlockHash::from_bytes([1; 32]),
        round,
        proposer: signing_key(recipe.signer).id(),
        time: UnixMillis::new(5),
        items: items_hash(&[]),
        randao: signing_key(recipe.signer).bls_key().sign_randao(&recipe.network, Height::new(recipe.height)),
        next_set: Hash::from_bytes([2; 32]),
        state_root: StateRoot::from_bytes([4; 32]),
    };
    let block =
        Block { header, commitments: vec![commitment(recipe)], reveals: vec![], commands: vec![], evidence: vec![] }
            .sealed();
    let proposal = Proposal { height: block.header.height, round, block: block.hash(), pol_round: None };
    CompactProposal::new(signing_key(recipe.signer).sign_proposal(&recipe.network, proposal).into_inner(), &block)
}

fn propose(compact: CompactProposal) -> Vec<u8> {
    encode(&ConsensusMessage::Proposal(Box::new(compact)))
}

/// The first round in which it is the signer's turn.
fn turn(recipe: &Recipe) -> u32 {
    let signer = signing_key(recipe.signer).id();
    let network = network();
    let proposers = proposers_of(&network, Height::new(recipe.height));
    (0..4).find(|round| proposers.of(*round).keys.id == signer).unwrap_or(0)
}

fn certificate(recipe: &Recipe, signers: impl IntoIterator<Item = u8>) -> Certificate {
    let record = vote(recipe.height);
    let sign = |seed: u8| signing_key(seed).sign_vote(&recipe.network, record).into_inner();
    let mut signatures: Vec<_> = signers.into_iter().map(sign).map(|vote| (vote.signer, vote.signature)).collect();
    signatures.sort();
    Certificate { height: record.height, round: 0, block: BlockHash::from_bytes([7; 32]), signatures }
}

/// A command of the pool's owner, signed by these.
fn command(
    network: &NetworkId,
    nonce: u64,
    action: PoolAction,
    signers: impl IntoIterator<Item = u8>,
) -> SignedCommand {
    signed_command(network, order(nonce, UnixMillis::new(NOW + 3_600_000), action), signers)
}

fn order(nonce: u64, until: UnixMillis, action: PoolAction) -> Order {
    Order { account: key(OWNER).account(), nonce, until, action: Action::Pool { pool: pool(), action } }
}

fn signed_command(network: &NetworkId, record: Order, signers: impl IntoIterator<Item = u8>) -> SignedCommand {
    let sign = |seed: u8| {
        let signed = key(seed).sign_command(network, record.clone()).into_inner();
        (signed.signer, signed.signature)
    };
    MultiSigned::collect(record.clone(), signers.into_iter().map(sign))
}

impl Kind {
    const fn topic(self) -> Topic {
        match self {
            Attestation => Topic::Attestations(0),
            Commitments => Topic::Commitments,
            Reveals => Topic::Reveals,
            Self::Proposal | Self::Vote => Topic::Consensus,
            Repeated => Topic::Rebroadcasts,
            Proof => Topic::Certificates,
            Command => Topic::Commands,
        }
    }

    /// As it should be, but for what the recipe says.
    fn make(self, recipe: &Recipe) -> Vec<u8> {
        let (node, signer, network) = (key(recipe.signer), signing_key(recipe.signer), &recipe.network);
        match self {
            Attestation => encode(&*node.sign_attestation(network, attestation(recipe))),
            Commitments => encode(&commitment(recipe)),
            Reveals => {
                let measured = Observation { pings_sent: 1, ..Observation::default() };
                let assigned = [(AssignedWorker::default(), Some(measured))];
                let report = ScoreReport::new(Epoch::new(recipe.height), &assigned, &[]);
                let reveal = Reveal { report, salt: [5; 32] };
                encode(&*signer.sign_report(network, reveal))
            }
            Self::Proposal => propose(compact(recipe, turn(recipe))),
            Self::Vote => encode(&ConsensusMessage::Vote(signer.sign_vote(network, vote(recipe.height)).into_inner())),
            Repeated => {
                let inner = signer.sign_vote(network, vote(recipe.height)).into_inner();
                rebroadcast(recipe, RebroadcastItem::Vote(inner))
            }
            Proof => encode(&certificate(recipe, [recipe.signer, 2, 3])),
            Command => encode(&command(network, recipe.sequence, PoolAction::Suspend(true), [recipe.signer])),
        }
    }

    fn good(self, fixture: &Fixture) -> Recipe {
        let signer = match self {
            Attestation => WORKER,
            Command => OWNER,
            _ => 1,
        };
        Recipe { network: fixture.network, signer, height: NEXT, sequence: 1 }
    }
}

#[test]
fn what_is_right_passes() {
    for kind in KINDS {
        let fixture = fixture();
        fixture.expect(kind, &kind.make(&kind.good(&fixture)), "accept");
    }
}

#[test]
fn garbage_is_malformed_whatever_its_topic() {
    let fixture = fixture();
    for kind in KINDS {
        let good = kind.make(&kind.good(&fixture));
        let trailing = [good.as_slice(), &[0]].concat();
        for bytes in [&[], &good[..good.len() - 1], &trailing] {
            fixture.expect(kind, bytes, "reject malformed");
        }
        // Where the kind of something is expected, a later version's may stand: nobody is to blame for it.
        for bytes in [&[0xff; 8][..], &good[1..], &[0xff; 4096]] {
            let verdict = fixture.admit(kind.topic(), bytes);
            assert!(["reject malformed", "ignore unknown-kind"].contains(&verdict.as_str()), "{kind:?}: {verdict}");
        }
        let noise = vec![0xff; good.len()];
        let verdict = match kind {
            // Nothing but numbers, so any bytes of their length are one.
            Attestation | Commitments => "ignore future",
            Kind::Proposal | Kind::Vote | Repeated | Command | Reveals | Proof => "reject malformed",
        };
        fixture.expect(kind, &noise, verdict);
        fixture.expect(kind, &good, "accept");
    }
}

/// A mesh may hold nodes of two versions: what the later one has added is of no use to the earlier one, and no offence either.
#[test]
fn a_later_versions_kind_is_ignored_and_noise_is_rejected() {
    let fixture = fixture();
    let known = 3;
    let of_kind = |kind: u32| [&kind.to_le_bytes()[..], &[7; 200]].concat();
    let window = u32::try_from(VARIANT_WINDOW).unwrap();
    for (kind, verdict) in [
        (known, "ignore unknown-kind"),
        (known + window - 1, "ignore unknown-kind"),
        (known + window, "reject malformed"),
        (u32::MAX, "reject malformed"),
    ] {
        assert_eq!(fixture.admit(Topic::Consensus, &of_kind(kind)), verdict, "{kind}");
    }
}

#[test]
fn what_is_longer_than_its_kind_is_malformed() {
    let fixture = fixture();
    let recipe = Reveals.good(&fixture);
    let far = LogScale::encode(1);
    let seen = Observation { pings_answered: 1, echo_kbit_s: Some(far), ..Observation::default() };
    let many = vec![
        (AssignedWorker { has_echo: true, ..AssignedWorker::default() }, Some(seen));
        3 * ScoreReport::MAX_WORKERS
    ];
    let report = ScoreReport::new(Epoch::new(NEXT), &many, &[]);
    let long = encode(&*signing_key(1).sign_report(&fixture.network, Reveal { report, salt: [5; 32] }));
    assert!(long.len() > Signed::<Reveal>::MAX_BYTES);
    fixture.expect(Reveals, &long, "reject malformed");

    let signer = TreasurySigner { node: key(1).account(), key_address: PayoutAddress::from_hash20([1; 20]) };
    let next = SignerSet { era: 2, threshold: 1, members: vec![signer; 100] };
    let many = PoolAction::Signers { nonce: 0, next };
    let long = encode(&command(&fixture.network, 1, many, [OWNER, 1, 2]));
    assert!(long.len() > SignedCommand::MAX_BYTES);
    fixture.expect(Command, &long, "reject malformed");

    let mut long = certificate(&Proof.good(&fixture), [1, 2, 3]);
    long.signatures = vec![long.signatures[0]; Certificate::MAX_BYTES / 96 + 1];
    fixture.expect(Proof, &encode(&long), "reject malformed");

    let polka = PolkaCertificate {
        height: Height::new(NEXT),
        round: 0,
        block: BlockHash::from_bytes([7; 32]),
        signatures: vec![(signing_key(1).id(), Signature::from_bytes([0; 64])); Rebroadcast::MAX_BYTES / 96 + 1],
    };
    fixture.expect(Repeated, &rebroadcast(&recipe, RebroadcastItem::Polka(polka)), "reject malformed");
}

#[test]
fn signatures_of_another_network_prove_nothing() {
    let fixture = fixture();
    for kind in KINDS {
        let foreign = Recipe { network: NetworkId::from_bytes([8; 32]), ..kind.good(&fixture) };
        let verdict = if kind == Proof { "reject certificate" } else { "reject signature" };
        fixture.expect(kind, &kind.make(&foreign), verdict);
        // It has not taken the place of the good one.
        fixture.expect(kind, &kind.make(&kind.good(&fixture)), "accept");
    }
}

#[test]
fn a_changed_bit_of_a_signature_is_seen() {
    let fixture = fixture();
    for kind in KINDS {
        let mut bytes = kind.make(&kind.good(&fixture));
        let last = bytes.len() - 1;
        if kind == Kind::Proposal {
            let recipe = kind.good(&fixture);
            let mut compact = compact(&recipe, turn(&recipe));
            compact.proposal.signature = Signature::from_bytes([1; 64]);
            bytes = propose(compact);
        } else {
            bytes[last] ^= 1;
        }
        let verdict = if kind == Proof { "reject certificate" } else { "reject signature" };
        fixture.expect(kind, &bytes, verdict);
        fixture.expect(kind, &kind.make(&kind.good(&fixture)), "accept");
    }
}

/// The key of a worker that was heard is kept ready: what it has not signed is seen all the same.
#[test]
fn a_key_that_is_known_proves_no_more_than_another() {
    let fixture = fixture();
    let recipe = Attestation.good(&fixture);
    fixture.expect(Attestation, &Attestation.make(&recipe), "accept");
    let next = Recipe { sequence: recipe.sequence + 1, ..recipe };
    let mut changed = Attestation.make(&next);
    *changed.last_mut().unwrap() ^= 1;
    fixture.expect(Attestation, &changed, "reject signature");
    let foreign = Recipe { network: NetworkId::from_bytes([8; 32]), ..next };
    fixture.expect(Attestation, &Attestation.make(&foreign), "reject signature");
    fixture.expect(Attestation, &Attestation.make(&next), "accept");
}

#[test]
fn strangers_are_not_heard() {
    let fixture = fixture();
    for kind in KINDS {
        // A worker speaks for no validator, and a validator that is no worker attests nothing.
        for signer in [STRANGER, if kind == Attestation { 1 } else { WORKER }] {
            let verdict = match kind {
                Proof => "reject certificate",
                Command => "ignore authority",
                // Who is not known yet may be known elsewhere.
                _ => "ignore unknown-signer",
            };
            fixture.expect(kind, &kind.make(&Recipe { signer, ..kind.good(&fixture) }), verdict);
        }
    }
}

#[test]
fn only_the_proposer_of_a_round_proposes_in_it() {
    let network = network();
    let proposers = proposers_of(&network, Height::new(NEXT));
    for round in 0..8 {
        for seed in 1..=4 {
            let fixture = fixture();
            let recipe = Recipe { signer: seed, ..Kind::Proposal.good(&fixture) };
            let verdict = fixture.admit(Topic::Consensus, &propose(compact(&recipe, round)));
            let is_turn = proposers.of(round).keys.id == signing_key(seed).id();
            assert_eq!(verdict, if is_turn { "accept" } else { "reject proposer" }, "round {round}, validator {seed}");
        }
    }
}

#[test]
fn only_epochs_and_heights_that_matter_now_pass() {
    // The clock is in epoch `NEXT`; one more is allowed for a clock that is ahead. Reports are wanted of the pending epoch, and
    // commitments of the next, which a peer may have closed; rounds of the next two heights, rebroadcasts of the next, and
    // certificates of all that are to come.
    for (kind, oldest, newest) in [
        (Attestation, 0, NEXT + 1),
        (Commitments, NEXT, NEXT + 1),
        (Reveals, NEXT, NEXT),
        (Kind::Proposal, NEXT, NEXT + 1),
        (Kind::Vote, NEXT, NEXT + 1),
        (Repeated, NEXT, NEXT),
        (Proof, NEXT, u64::MAX),
    ] {
        let at = |height: u64| {
            let fixture = fixture();
            fixture.admit(kind.topic(), &kind.make(&Recipe { height, ..kind.good(&fixture) }))
        };
        assert_eq!(at(oldest), "accept", "{kind:?}");
        assert_eq!(at(newest), "accept", "{kind:?}");
        for future in [1, 1_000, u64::MAX].into_iter().filter_map(|more| newest.checked_add(more)) {
            assert_eq!(at(future), "ignore future", "{kind:?}");
        }
        if oldest > 0 {
            for stale in [oldest - 1, 1, 0] {
                assert_eq!(at(stale), "ignore stale", "{kind:?}");
            }
        }
    }
}

#[test]
fn the_window_moves_with_the_chain() {
    let fixture = fixture();
    let [old, new] = [NEXT, NEXT + 1].map(|height| Recipe { height, ..Kind::Vote.good(&fixture) });
    fixture.expect(Kind::Vote, &Kind::Vote.make(&old), "accept");
    fixture.expect(Proof, &Proof.make(&old), "accept");
    fixture.head.send_modify(|head| head.state = head.state.changed(|rows| rows.head.height = Height::new(NEXT)));
    let late = Recipe { signer: 2, ..old };
    fixture.expect(Kind::Vote, &Kind::Vote.make(&late), "ignore stale");
    fixture.expect(Proof, &Proof.make(&old), "ignore stale");
    fixture.expect(Kind::Vote, &Kind::Vote.make(&new), "accept");
    fixture.expect(Proof, &Proof.make(&new), "accept");
    assert_eq!(fixture.gate.seen(|seen| seen.certified.len()), 1, "what is decided is forgotten");
}

#[test]
fn what_came_before_is_not_taken_again() {
    let fixture = fixture();
    for (kind, again) in [
        (Attestation, "ignore stale"),
        (Commitments, "ignore duplicate"),
        (Reveals, "ignore duplicate"),
        (Repeated, "ignore duplicate"),
        (Proof, "ignore duplicate"),
        (Command, "ignore duplicate"),
        (Kind::Proposal, "ignore duplicate"),
        (Kind::Vote, "ignore duplicate"),
    ] {
        let bytes = kind.make(&kind.good(&fixture));
        fixture.expect(kind, &bytes, "accept");
        fixture.expect(kind, &bytes, again);
    }
    // Another commitment for the epoch, a certificate with other signers: the first stands.
    let recipe = Commitments.good(&fixture);
    let Signed { mut record, .. } = commitment(&recipe);
    record.report = Hash::from_bytes([4; 32]);
    fixture.expect(
        Commitments,
        &encode(&*signing_key(1).sign_report_commitment(&fixture.network, record)),
        "ignore duplicate",
    );
    fixture.expect(Proof, &encode(&certificate(&recipe, [2, 3, 4])), "ignore duplicate");
    // Others' are not affected.
    fixture.expect(Commitments, &Commitments.make(&Recipe { signer: 2, ..recipe }), "accept");
}

#[test]
fn rebroadcasts_count_upwards_for_each_sender() {
    let fixture = fixture();
    let send = |signer: u8, sequence: u64, verdict: &str| {
        let recipe = Recipe { signer, sequence, ..Repeated.good(&fixture) };
        fixture.expect(Repeated, &Repeated.make(&recipe), verdict);
    };
    send(1, 105, "accept");
    send(1, 105, "ignore duplicate");
    // Two threads judge what one peer sends.
    send(1, 104, "accept");
    send(1, 104, "ignore duplicate");
    send(1, 105, "ignore duplicate");
    send(1, 42, "accept");
    send(1, 41, "ignore duplicate");
    send(1, 0, "ignore duplicate");
    send(2, 1, "accept");
    send(1, 106, "accept");
    send(1, 42, "ignore duplicate");
    send(1, 170, "accept");
    send(1, 106, "ignore duplicate");
    send(1, u64::MAX, "accept");
    send(1, 171, "ignore duplicate");
}

#[test]
fn rebroadcasts_are_few() {
    let fixture = fixture();
    let send = |signer: u8, sequence: u64| {
        let recipe = Recipe { signer, sequence, ..Repeated.good(&fixture) };
        fixture.admit(Topic::Rebroadcasts, &Repeated.make(&recipe))
    };
    let verdicts: Vec<_> = (1..=1_000).map(|sequence| send(1, sequence)).collect();
    let accepted = verdicts.iter().filter(|verdict| *verdict == "accept").count();
    assert_eq!(accepted, 33, "as many as the burst allows while the clock stands still");
    assert!(verdicts.iter().skip(accepted).all(|verdict| verdict == "ignore rate"));
    assert_eq!(send(2, 1), "accept", "another's are not affected");
}

#[test]
fn a_validator_says_two_things_of_a_step_at_most() {
    let fixture = fixture();
    let say = |kind, round, block: Option<u8>| {
        let block = block.map(|byte| BlockHash::from_bytes([byte; 32]));
        let vote = Vote { kind, round, block, ..vote(NEXT) };
        let signed = signing_key(1).sign_vote(&fixture.network, vote).into_inner();
        fixture.admit(Topic::Consensus, &encode(&ConsensusMessage::Vote(signed)))
    };
    assert_eq!(say(VoteKind::Prevote, 0, Some(1)), "accept");
    assert_eq!(say(VoteKind::Prevote, 0, Some(1)), "ignore duplicate");
    assert_eq!(say(VoteKind::Prevote, 0, None), "accept");
    for block in 2..100 {
        assert_eq!(say(VoteKind::Prevote, 0, Some(block)), "ignore rate");
    }
    assert_eq!(say(VoteKind::Precommit, 0, Some(1)), "accept");
    assert_eq!(say(VoteKind::Prevote, 1, Some(1)), "accept");

    let recipe = Kind::Proposal.good(&fixture);
    let round = turn(&recipe);
    let proposals = (1..=9).map(|time| {
        let mut block = Block {
            header: compact(&recipe, round).header,
            commitments: vec![commitment(&recipe)],
            reveals: vec![],
            commands: vec![],
            evidence: vec![],
        };
        block.header.time = UnixMillis::new(time);
        let record = Proposal { height: block.header.height, round, block: block.hash(), pol_round: None };
        CompactProposal::new(signing_key(1).sign_proposal(&fixture.network, record).into_inner(), &block)
    });
    let verdicts: Vec<_> = proposals.map(|it| fixture.admit(Topic::Consensus, &propose(it))).collect();
    assert_eq!(verdicts[..2], ["accept", "accept"]);
    assert!(verdicts[2..].iter().all(|verdict| verdict == "ignore rate"), "{verdicts:?}");

    let wake = || {
        let wake = signing_key(1).sign_wake(&fixture.network, Wake { height: Height::new(NEXT) }).into_inner();
        fixture.admit(Topic::Consensus, &encode(&ConsensusMessage::Wake(wake)))
    };
    assert_eq!(wake(), "accept");
    assert_eq!(wake(), "ignore duplicate");
}

#[test]
fn rounds_far_ahead_wait_until_a_third_is_there() {
    let fixture = fixture();
    let vote = |signer: u8, kind, round| {
        let vote = Vote { kind, round, ..vote(NEXT) };
        let signed = signing_key(signer).sign_vote(&fixture.network, vote).into_inner();
        fixture.admit(Topic::Consensus, &encode(&ConsensusMessage::Vote(signed)))
    };
    assert_eq!(vote(1, VoteKind::Prevote, 10), "accept");
    assert_eq!(vote(1, VoteKind::Prevote, 11), "ignore future");
    for round in [100, 1_000, u32::MAX] {
        assert_eq!(vote(1, VoteKind::Prevote, round), "ignore future", "one validator lies");
    }
    // What is ahead is not kept; only how far it was.
    assert!(fixture.gate.seen(|seen| seen.rounds.values().all(|sent| sent.said.len() == 1)));
    assert_eq!(vote(2, VoteKind::Prevote, 100), "accept", "two of four");
    assert_eq!(vote(1, VoteKind::Precommit, 110), "accept");
    assert_eq!(vote(1, VoteKind::Precommit, 111), "ignore future");
}

#[test]
fn a_repeated_vote_needs_a_signature_of_its_own() {
    let fixture = fixture();
    let recipe = Recipe { sequence: 100, ..Repeated.good(&fixture) };
    let inner = |signer: u8, network: &NetworkId| signing_key(signer).sign_vote(network, vote(NEXT)).into_inner();
    let mut forged = inner(2, &fixture.network);
    forged.signature = inner(1, &fixture.network).signature;
    for (vote, verdict) in [
        (forged, "reject signature"),
        (inner(2, &NetworkId::from_bytes([8; 32])), "reject signature"),
        (inner(STRANGER, &fixture.network), "ignore unknown-signer"),
    ] {
        fixture.expect(Repeated, &rebroadcast(&recipe, RebroadcastItem::Vote(vote)), verdict);
    }
    // What was refused has not used up the sequence, and anybody may repeat another's vote.
    let good = Recipe { sequence: 1, ..recipe };
    fixture.expect(Repeated, &rebroadcast(&good, RebroadcastItem::Vote(inner(2, &fixture.network))), "accept");
}

#[test]
fn a_certificate_needs_more_than_two_thirds_in_order() {
    let fixture = fixture();
    let recipe = Proof.good(&fixture);
    let mut twice = certificate(&recipe, [1, 2]);
    twice.signatures.push(twice.signatures[1]);
    let mut backwards = certificate(&recipe, [1, 2, 3]);
    backwards.signatures.reverse();
    let other = Certificate { block: BlockHash::from_bytes([9; 32]), ..certificate(&recipe, [1, 2, 3]) };
    for bad in [certificate(&recipe, []), certificate(&recipe, [1, 2]), twice, backwards, other] {
        fixture.expect(Proof, &encode(&bad), "reject certificate");
    }
    fixture.expect(Proof, &encode(&certificate(&recipe, [4, 2, 3])), "accept");
}

#[test]
fn attestations_are_plausible_and_few() {
    let fixture = fixture();
    let recipe = Attestation.good(&fixture);
    let sign = |record| encode(&*key(WORKER).sign_attestation(&fixture.network, record));
    let bad = ResourceAttestation { cpu: Ppm::new(1_000_001), ..attestation(&recipe) };
    fixture.expect(Attestation, &sign(bad), "reject implausible");
    for (sequence, verdict) in [(1, "accept"), (2, "accept"), (3, "ignore rate"), (2, "ignore stale")] {
        fixture.expect(Attestation, &Attestation.make(&Recipe { sequence, ..recipe }), verdict);
    }
    let next = Recipe { sequence: 4, height: NEXT + 1, ..recipe };
    fixture.expect(Attestation, &Attestation.make(&next), "accept");
    fixture.expect(Attestation, &Attestation.make(&Recipe { sequence: 5, ..recipe }), "ignore stale");
}

#[test]
fn commands_are_given_by_the_owner_and_where_they_must_by_the_signers() {
    let next = VaultLimits { cap: MicroUsdt::new(5), push_fee: MicroUsdt::ZERO };
    let limits = || PoolAction::Limits { era: 1, nonce: 0, next };
    let suspend = || PoolAction::Suspend(true);
    for (action, signers, verdict) in [
        (suspend(), &[OWNER][..], "accept"),
        (suspend(), &[OWNER, 1], "ignore authority"),
        (suspend(), &[1, 2], "ignore authority"),
        (suspend(), &[OWNER, STRANGER], "ignore authority"),
        (limits(), &[OWNER], "ignore authority"),
        (limits(), &[OWNER, 1], "ignore authority"),
        (limits(), &[OWNER, 1, 4], "ignore authority"),
        (limits(), &[OWNER, 1, 3], "accept"),
        (limits(), &[1, 2, 3], "ignore authority"),
    ] {
        let fixture = fixture();
        let bytes = encode(&command(&fixture.network, 0, action, signers.iter().copied()));
        assert_eq!(fixture.admit(Topic::Commands, &bytes), verdict, "{signers:?}");
    }
    let fixture = fixture();
    let mut elsewhere = command(&fixture.network, 0, suspend(), [OWNER]);
    elsewhere.record.action = Action::Pool { pool: PoolId::from_bytes([1; 32]), action: suspend() };
    fixture.expect(Command, &encode(&elsewhere), "ignore inapplicable");
    let mut forged = command(&fixture.network, 0, suspend(), [OWNER]);
    forged.record.until = UnixMillis::new(NOW + 1);
    fixture.expect(Command, &encode(&forged), "reject signature");
    let mut backwards = command(&fixture.network, 0, limits(), [OWNER, 1, 2]);
    backwards.signatures.reverse();
    fixture.expect(Command, &encode(&backwards), "reject signature");
    assert!(fixture.gate.seen(|seen| seen.commands.is_empty()), "what was refused left no trace");
}

#[test]
fn commands_are_near_in_number_and_few() {
    let fixture = fixture();
    let send = |nonce: u64, amount: u64, signers: &[u8], verdict: &str| {
        let action = PoolAction::Losses(MicroUsdt::new(amount));
        let bytes = encode(&command(&fixture.network, nonce, action, signers.iter().copied()));
        fixture.expect(Command, &bytes, verdict);
    };
    send(8, 1, &[OWNER, 1, 2], "ignore future");
    send(7, 1, &[OWNER, 1, 2], "accept");
    // Whoever adds or leaves out signatures makes no other command.
    send(7, 1, &[OWNER, 1, 2, 3], "ignore duplicate");
    send(7, 1, &[OWNER, 2, 3], "ignore duplicate");
    for amount in 2..=4 {
        send(7, amount, &[OWNER, 1, 2], "accept");
    }
    send(7, 5, &[OWNER, 1, 2], "ignore rate");
    send(0, 1, &[OWNER, 1, 2], "accept");

    // Those that no block took in time are not passed on, and give way to others of their number.
    let until = |until: u64, amount: u64, verdict: &str| {
        let record = order(6, UnixMillis::new(until), PoolAction::Losses(MicroUsdt::new(amount)));
        fixture.expect(Command, &encode(&signed_command(&fixture.network, record, [OWNER, 1, 2])), verdict);
    };
    until(NOW - 1, 1, "ignore expired");
    for amount in 1..=4 {
        until(NOW + 1_000, amount, "accept");
    }
    until(NOW + 1_001, 5, "ignore rate");
    fixture
        .head
        .send_modify(|head| head.state = head.state.changed(|rows| rows.head.time = UnixMillis::new(NOW + 1_001)));
    until(NOW + 1_000, 5, "ignore expired");
    until(NOW + 9_000, 5, "accept");

    // Block after block the window moves.
    let (account, closed) = (key(OWNER).account(), Epoch::new(NEXT));
    fixture.head.send_modify(|head| {
        let nonce = Nonce { next: 8, allowance: Nonce::BURST, filled: closed };
        head.state = head.state.changed(|rows| rows.put::<Nonces>(&account, nonce));
    });
    send(5, 1, &[OWNER, 1, 2], "ignore stale");
    send(8, 1, &[OWNER, 1, 2], "accept");
    send(15, 1, &[OWNER, 1, 2], "accept");
}

#[test]
fn so_many_commands_are_noted_and_those_that_are_over_are_the_first_to_go() {
    let fixture = fixture();
    let send = |nonce: u64| {
        let bytes = encode(&command(&fixture.network, nonce, PoolAction::Suspend(true), [OWNER]));
        fixture.admit(Topic::Commands, &bytes)
    };
    let note = |n: usize, until: u64| {
        let of = |i: usize| (NodeId::from_bytes(*blake3::hash(&i.to_le_bytes()).as_bytes()), 0, false);
        let noted = vec![(Hash::from_bytes([0; 32]), UnixMillis::new(until))];
        fixture.gate.seen(|seen| seen.commands = (0..n).map(|i| (of(i), noted.clone())).collect());
    };
    let noted = || fixture.gate.seen(|seen| seen.commands.len());
    note(NOTED_COMMANDS, 0);
    assert_eq!((send(0).as_str(), noted()), ("accept", 1));
    note(NOTED_COMMANDS - 1, u64::MAX);
    assert_eq!((send(0).as_str(), noted()), ("accept", NOTED_COMMANDS));
    assert_eq!((send(1).as_str(), noted()), ("accept", 1), "too many are good");
}

#[test]
fn a_message_in_anothers_topic_is_none() {
    let fixture = fixture();
    for (kind, topic, verdict) in [
        (Commitments, Topic::Reveals, "reject malformed"),
        // Where the kind of what is repeated should be, it has another number.
        (Kind::Vote, Topic::Rebroadcasts, "ignore unknown-kind"),
        (Proof, Topic::Reveals, "reject malformed"),
    ] {
        assert_eq!(fixture.admit(topic, &kind.make(&kind.good(&fixture))), verdict, "{kind:?}");
    }
}

/// One piece of evidence against a validator is forwarded, whoever is accused by how many.
#[test]
fn evidence_passes_once_against_each_validator() {
    let fixture = fixture();
    let good = Kind::Vote.good(&fixture);
    let evidence = |seed: u8, height: u64, block: u8| {
        let vote = |block| {
            let vote = Vote { block, ..vote(height) };
            signing_key(seed).sign_vote(&good.network, vote)
        };
        encode(&*Evidence::of_votes(&vote(None), &vote(Some(BlockHash::from_bytes([block; 32])))).unwrap())
    };
    let admit = |bytes: &[u8]| fixture.admit(Topic::Evidence, bytes);
    assert_eq!(admit(&evidence(good.signer, good.height, 1)), "accept");
    assert_eq!(admit(&evidence(good.signer, good.height, 1)), "ignore duplicate");
    assert_eq!(admit(&evidence(good.signer, good.height, 2)), "ignore duplicate", "another piece");
    assert_eq!(admit(&evidence(99, good.height, 1)), "ignore unknown-signer");
    assert_eq!(admit(&evidence(good.signer, good.height + 9, 1)), "ignore duplicate");
    let mut forged: Evidence = lucid_types::codec::decode(&evidence(2, good.height, 1)).unwrap();
    if let Evidence::Votes([first, second]) = &mut forged {
        second.signature = first.signature;
    }
    assert_eq!(admit(&encode(&forged)), "reject signature");
    assert_eq!(admit(&evidence(2, good.height + 9, 1)), "ignore future");
    assert_eq!(admit(&evidence(2, good.height, 1)), "accept", "what was refused left no trace");
}

/// The worker's key in force, of which only the state knows; and its account's first one, given up.
#[test]
fn the_key_in_force_attests_and_commands_and_no_other() {
    const NEXT_KEY: u8 = 77;
    let fixture = fixture();
    let recipe = Attestation.good(&fixture);
    let with = |signer, sequence| Attestation.make(&Recipe { signer, sequence, ..recipe });
    fixture.expect(Attestation, &with(NEXT_KEY, 1), "ignore unknown-signer");
    let (account, next) = (key(WORKER).account(), key(NEXT_KEY).public_key());
    fixture.head.send_modify(|head| {
        let done = head.state.final_through();
        head.state = head.state.changed(|rows| {
            rows.put::<NodeKeys>(&next, account);
            rows.get_mut::<Nodes>(&account).unwrap().next_key = Some((done, next));
        });
    });
    fixture.expect(Attestation, &with(WORKER, 2), "ignore unknown-signer");
    fixture.expect(Attestation, &with(NEXT_KEY, 2), "accept");
    let give = |signer: u8| {
        let until = UnixMillis::new(NOW + 3_600_000);
        let record = Order { account, nonce: 0, until, action: Action::Node(NodeAction::Leave) };
        encode(&signed_command(&fixture.network, record, [signer]))
    };
    fixture.expect(Command, &give(WORKER), "ignore authority");
    fixture.expect(Command, &give(NEXT_KEY), "accept");
}

/// Whoever floods a number of an account keeps no veto of that number away.
#[test]
fn vetoes_are_counted_apart() {
    const NEXT_KEY: u8 = 77;
    let fixture = fixture();
    let (account, next) = (key(WORKER).account(), key(NEXT_KEY).public_key());
    fixture.head.send_modify(|head| {
        let with = head.state.final_through().next();
        head.state = head.state.changed(|rows| {
            rows.put::<NodeKeys>(&next, account);
            rows.get_mut::<Nodes>(&account).unwrap().next_key = Some((with, next));
        });
    });
    let send = |until: u64, action: NodeAction, verdict: &str| {
        let record = Order { account, nonce: 0, until: UnixMillis::new(NOW + until), action: Action::Node(action) };
        fixture.expect(Command, &encode(&signed_command(&fixture.network, record, [WORKER])), verdict);
    };
    for until in 1..=4 {
        send(until, NodeAction::Leave, "accept");
    }
    send(5, NodeAction::Leave, "ignore rate");
    send(6, NodeAction::VetoKey, "accept");
}

/// The registration of a fresh key with an invite of the pool's owner.
fn invited(fixture: &Fixture, seed: u16, secret: u8, invite: &Signed<Invite>) -> SignedCommand {
    let newcomer = NodeKey::from_seed(Hash::derive("newcomer", &[&seed.to_le_bytes()]).as_bytes());
    let registration = Registration {
        operator: newcomer.account(),
        payout_address: PayoutAddress::from_hash20([150; 20]),
        payout_key: None,
        gas_address: None,
        capacity: Capacity::default(),
        entry: Entry::Pool { pool: pool(), ticket: Ticket::Invite(invite.clone()) },
    };
    let until = UnixMillis::new(NOW + 3_600_000);
    let record = Order { account: newcomer.account(), nonce: 0, until, action: Action::Register(registration) };
    let signed = [newcomer, key(secret)].map(|key| key.sign_command(&fixture.network, record.clone()).into_inner());
    MultiSigned::collect(record, signed.map(|signed| (signed.signer, signed.signature)))
}

fn invite(fixture: &Fixture, secret: u8) -> Signed<Invite> {
    let until = UnixMillis::new(NOW + 3_600_000);
    let invite = Invite { pool: pool(), key: key(secret).public_key(), until, uses: u32::MAX };
    key(OWNER).sign_invite(&fixture.network, invite).into_inner()
}

/// Whoever has an invite for any number of nodes makes others pass on no more of them than a block's worth, and forged ones count for nothing.
#[test]
fn few_registrations_by_one_invite_pass_until_the_next_block() {
    let fixture = fixture();
    let [one, other] = [70, 71].map(|secret| (secret, invite(&fixture, secret)));
    let send = |from: u16, (secret, invite): &(u8, Signed<Invite>)| {
        let send = |i| fixture.admit(Topic::Commands, &encode(&invited(&fixture, from + i, *secret, invite)));
        let verdicts: Vec<_> = (0..80).map(send).collect();
        let passed = verdicts.iter().filter(|verdict| *verdict == "accept").count();
        assert!(verdicts[passed..].iter().all(|verdict| verdict == "ignore busy"), "{verdicts:?}");
        passed
    };
    let mut forged = invited(&fixture, 1, 70, &one.1);
    forged.record.until = UnixMillis::new(NOW + 1);
    for _ in 0..100 {
        fixture.expect(Command, &encode(&forged), "reject signature");
    }
    assert_eq!((send(0, &one), send(1_000, &other), send(2_000, &one)), (32, 32, 0));
    fixture.head.send_modify(|head| head.state = head.state.changed(|rows| rows.head.height = Height::new(NEXT)));
    assert_eq!(send(3_000, &one), 32);
}

/// An honest node must not look like a flood for what it passes on, whoever makes how many keys.
#[test]
fn registrations_pass_at_a_rate_that_the_mesh_takes_of_one_peer() {
    let limits = lucid_p2p::Limits::default();
    let (mut rate, mut passed) = (Rate::default(), 0);
    let mut take = |ms| rate.take(UnixMillis::new(NOW + ms), REGISTRATION_INTERVAL, REGISTRATION_BURST);
    while take(0) {
        passed += 1;
    }
    assert!((1_000..limits.gossip_burst / 2).contains(&passed), "{passed} at once");
    let passed = u32::try_from((1..=10_000).filter(|ms| take(*ms)).count()).unwrap();
    assert!((250 * 10..limits.gossip_per_second * 10 * 3 / 4).contains(&passed), "{passed} in 10 s");
}
