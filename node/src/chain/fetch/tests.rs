//! What of an answer is used.

use lucid_consensus::ledger::state::{PendingEpoch, State};
use lucid_consensus::ledger::table::PendingEpochs;
use lucid_types::block::{Block, Header, items_hash};
use lucid_types::id::{BlockHash, Hash, StateRoot};
use lucid_types::message::CompactProposal;
use lucid_types::report::ReportCommitment;
use lucid_types::time::{Epoch, Height};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vote::Proposal;

use super::*;
use crate::chain::fixture::Turnover;
use crate::chain::fixture::peers::{Answer, Peer, mesh, within};
use crate::payout::testing;

fn key(seed: u8) -> ValidatorKey {
    testing::signing_key(seed)
}

fn commitment(spec: &ChainSpec, seed: u8, report: u8) -> Item {
    let record = ReportCommitment { epoch: Epoch::new(1), report: Hash::from_bytes([report; 32]) };
    Item::Commitment(key(seed).sign_report_commitment(spec.id(), record).into_inner())
}

fn judged(spec: &ChainSpec, request: &SyncRequest, response: SyncResponse) -> Vec<Input> {
    let state = State::genesis(spec);
    let source = Source { peer: testing::node_key(9).public_key(), arrived: UnixMillis::new(1) };
    judge(&View { spec, state: &state }, request, response, source)
}

#[test]
fn items_are_taken_once_and_only_those_asked_for() {
    let spec = testing::network();
    let (asked, other) = (commitment(&spec, 1, 1), commitment(&spec, 1, 2));
    let request = SyncRequest::Items(vec![asked.reference().id]);
    let answer = SyncResponse::Items([vec![other], vec![asked.clone(); 100_000]].concat());
    let started = std::time::Instant::now();
    let inputs = judged(&spec, &request, answer);
    assert!(started.elapsed() < Duration::from_secs(1), "each repetition was verified: {:?}", started.elapsed());
    let [Input::Items { items, broken }] = inputs.as_slice() else { panic!("{inputs:?}") };
    assert_eq!((items.len(), broken.len()), (1, 0));
    assert_eq!(*items[0], asked);
}

#[test]
fn an_id_of_what_is_no_item_is_told() {
    let spec = testing::network();
    let Item::Commitment(mut forged) = commitment(&spec, 1, 1) else { panic!() };
    forged.signer = key(2).id();
    let forged = Item::Commitment(forged);
    let id = forged.reference().id;
    let inputs = judged(&spec, &SyncRequest::Items(vec![id]), SyncResponse::Items(vec![forged]));
    let [Input::Items { items, broken }] = inputs.as_slice() else { panic!("{inputs:?}") };
    assert_eq!((items.len(), broken.as_slice()), (0, [id].as_slice()));
}

#[test]
fn answers_to_other_questions_are_no_answers() {
    let spec = testing::network();
    let item = commitment(&spec, 1, 1);
    let items = || SyncResponse::Items(vec![item.clone()]);
    let block = BlockHash::from_bytes([1; 32]);
    for (request, response) in [
        (SyncRequest::Proposal { round: 0, block }, items()),
        (SyncRequest::Proposal { round: 0, block }, SyncResponse::Proposal(None)),
        (SyncRequest::Items(vec![item.reference().id]), SyncResponse::Proposal(None)),
        (SyncRequest::Items(Vec::new()), items()),
        (SyncRequest::Items(vec![item.reference().id]), SyncResponse::Blocks(Vec::new())),
    ] {
        assert!(judged(&spec, &request, response).is_empty(), "{request:?}");
    }
}

#[test]
fn a_proposal_answers_for_its_round_and_block_alone() {
    let network = testing::network();
    let height = Height::new(1);
    let turn = State::genesis(&network).next_proposers().of(0).keys.id;
    let proposer = (0..=u8::MAX).map(key).find(|key| key.id() == turn).unwrap();
    let header = Header {
        height,
        parent: BlockHash::from_bytes([1; 32]),
        round: 0,
        proposer: proposer.id(),
        time: UnixMillis::new(5),
        items: items_hash(&[]),
        randao: proposer.bls_key().sign_randao(network.id(), height),
        next_set: Hash::from_bytes([2; 32]),
        state_root: StateRoot::from_bytes([4; 32]),
    };
    let block =
        Block { header, commitments: Vec::new(), reveals: Vec::new(), commands: Vec::new(), evidence: vec![] }.sealed();
    let hash = block.hash();
    let record = Proposal { height, round: 0, block: hash, pol_round: None };
    let compact = CompactProposal::new(proposer.sign_proposal(network.id(), record).into_inner(), &block);
    let answer = || SyncResponse::Proposal(Some(Box::new(compact.clone())));
    let asked = |round, block| judged(&network, &SyncRequest::Proposal { round, block }, answer()).len();
    assert_eq!(asked(0, hash), 1);
    assert_eq!(asked(1, hash), 0, "a proposal of another round");
    assert_eq!(asked(0, BlockHash::from_bytes([9; 32])), 0, "of another block");
}

#[test]
fn reports_are_taken_once_of_each_validator_and_of_the_epoch_asked_for() {
    let network = testing::network();
    let seeds: Vec<_> =
        (0..=u8::MAX).filter(|seed| network.first_validators().get(&key(*seed).id()).is_some()).collect();
    let request = |epoch, have: &[u8]| SyncRequest::Reports {
        epoch: Epoch::new(epoch),
        have_commitments: have.iter().map(|seed| key(*seed).id()).collect(),
        have_reveals: Vec::new(),
    };
    let state = State::genesis(&network).changed(|rows| {
        rows.head.closed = Epoch::new(1);
        rows.put::<PendingEpochs>(&Epoch::new(1), PendingEpoch { closed_in: Height::ZERO });
    });
    let view = View { spec: &network, state: &state };
    let source = Source { peer: testing::node_key(9).public_key(), arrived: UnixMillis::new(1) };
    let answer = || {
        let of = |seed: &u8| vec![commitment(&network, *seed, 1), commitment(&network, *seed, 2)];
        SyncResponse::Items(seeds.iter().flat_map(of).collect())
    };
    let count = |epoch, have: &[u8]| judge(&view, &request(epoch, have), answer(), source).len();
    assert_eq!(count(1, &[]), seeds.len());
    assert_eq!(count(1, &seeds[..1]), seeds.len() - 1, "nobody is told of twice");
    assert_eq!(count(2, &[]), 0);
}

/// A certificate of validators whom the node does not know yet is judged by what its sender shows of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tip_is_found_though_all_validators_have_changed() {
    let chain = Arc::new(Turnover::new(30));
    let (spec, network) = (Arc::clone(&chain.chain.spec), *chain.chain.spec.id());
    let (own, _events, _stop) = mesh(&network, 200, Vec::new()).await;
    let answered = Arc::clone(&chain);
    let answer: Answer = Box::new(move |request| answered.answer(&request).map(|response| encode(&response)));
    let _peer = Peer::of(&own, &network, 50, answer).await;
    let (_questions, questions) = mpsc::channel(1);
    let (driver, mut inputs) = mpsc::channel(1);
    let (_head, head) = watch::channel(testing::head(State::genesis(&spec)));
    let sets = Arc::new(KnownSets::of_node(network, head.clone()));
    let clock = Arc::new(crate::clock::SystemClock);
    let fetcher =
        Fetcher::new(FetcherParts { spec, mesh: own, questions, clock, driver, head, sets: Arc::clone(&sets) });
    let stop = CancellationToken::new();
    let received = async {
        let input = *inputs.recv().await.unwrap();
        stop.cancel();
        let Input::Certificate(certificate) = input else { panic!("{input:?}") };
        assert_eq!(certificate.into_inner(), chain.blocks[29].certificate);
    };
    within(async { tokio::join!(fetcher.run(stop.clone()), received) }).await;
    assert_eq!(sets.known().sets().newest().0, Height::new(30));
}
