//! Catching up among peers that lie about what they have.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use lucid_consensus::ledger::state::State;
use lucid_types::codec::Wire;

use super::*;
use crate::chain::fixture::peers::{Answer, Peer as Running, mesh, within};
use crate::chain::fixture::{Growing, Turnover};
use crate::payout::testing;

/// Blocks of the chain: too few for a snapshot.
const BLOCKS: u64 = 5;

fn answer<R: Wire>(response: &R) -> Option<Vec<u8>> {
    Some(encode(response))
}

/// Two peers of three say that the blocks are gone, and give no snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_that_blocks_are_gone_comes_back_to_them() {
    let mut chain = Growing::new();
    let blocks: Vec<_> = (0..BLOCKS).map(|_| chain.grow()).collect();
    let newest = blocks.last().unwrap().certificate.clone();
    let network = *chain.spec.id();
    let (own, _events, _stop) = mesh(&network, 200, Vec::new()).await;
    // The honest one has no blocks to give either until the node looks for a snapshot.
    let is_lured = Arc::new(AtomicBool::new(false));
    let mut peers = Vec::new();
    for seed in [50, 51, 52] {
        let (is_honest, newest, is_lured, blocks) = (seed == 52, newest.clone(), Arc::clone(&is_lured), blocks.clone());
        let answers: Answer = Box::new(move |request| match request {
            SyncRequest::Head => {
                let oldest = Height::new(if is_honest { 1 } else { 100 });
                answer(&SyncResponse::Head { newest: Some(newest.clone()), oldest })
            }
            SyncRequest::Snapshots => {
                is_lured.store(true, Ordering::Relaxed);
                answer(&SyncResponse::Snapshots(Vec::new()))
            }
            SyncRequest::Blocks { from, to, .. } if is_honest && is_lured.load(Ordering::Relaxed) => {
                let asked = blocks.iter().filter(|it| (from..=to).contains(&it.block.header.height)).map(encode);
                let frame =
                    |bytes: Vec<u8>| [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes.as_slice()].concat();
                answer(&SyncResponse::Blocks(asked.flat_map(frame).collect()))
            }
            SyncRequest::Blocks { .. } => answer(&SyncResponse::Blocks(Vec::new())),
            _ => None,
        });
        peers.push(Running::of(&own, &network, seed, answers).await);
    }
    let (spec, folder) = (Arc::clone(&chain.spec), tempfile::tempdir().unwrap());
    let store = lucid_storage::Store::open(folder.path(), network).unwrap();
    let (driver, mut decided) = mpsc::channel(64);
    let (snapshots, _none) = mpsc::channel(1);
    let (_head, head) = watch::channel(testing::head(State::genesis(&spec)));
    let sets = Arc::new(KnownSets::of_node(network, head.clone()));
    let download = SnapshotDownload::new(Arc::clone(&spec), own.clone(), store, Arc::clone(&sets), None);
    let (_target, target) = watch::channel(Height::new(BLOCKS));
    let catch_up = CatchUp::new(CatchUpParts {
        spec,
        mesh: own,
        driver,
        head,
        target,
        download: download.impatient(Duration::from_secs(1)),
        snapshots,
        mode: SyncMode::Snapshot,
        sets,
    });
    let stop = CancellationToken::new();
    let received = async {
        let mut heights = Vec::new();
        while heights.len() < blocks.len() {
            let Input::Decided(block) = *decided.recv().await.unwrap() else { panic!("no decided block") };
            heights.push(block.block.header.height.get());
        }
        stop.cancel();
        heights
    };
    let (ended, heights) = within(async { tokio::join!(catch_up.run(stop.clone()), received) }).await;
    ended.unwrap();
    assert_eq!(heights, (1..=BLOCKS).collect::<Vec<_>>());
    assert!(is_lured.load(Ordering::Relaxed), "it never looked for a snapshot");
}

/// All validators have changed while the node was away. One peer withholds how, one lies about it, and one has blocks that nobody
/// decided on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_catches_up_though_all_validators_have_changed() {
    let (chain, forged) = (Arc::new(Turnover::new(200)), Arc::new(Mutex::new(0)));
    let (spec, network) = (Arc::clone(&chain.chain.spec), *chain.chain.spec.id());
    let (own, _events, _stop) = mesh(&network, 200, Vec::new()).await;
    let mut peers = Vec::new();
    for seed in [50, 51, 52, 53] {
        let (chain, forged) = (Arc::clone(&chain), Arc::clone(&forged));
        let answers: Answer = Box::new(move |request| match (seed, &request) {
            (50, SyncRequest::SetChanges { .. }) => answer(&SyncResponse::SetChanges(Vec::new())),
            (51, SyncRequest::SetChanges { .. }) => {
                answer(&SyncResponse::SetChanges(chain.changes.iter().rev().cloned().collect()))
            }
            (52, SyncRequest::Blocks { from, .. }) => {
                *forged.lock().unwrap() += 1;
                let mut block = chain.blocks[usize::try_from(from.get()).unwrap() - 1].clone();
                block.block.header.round += 1;
                block.certificate.block = block.block.hash();
                let bytes = encode(&block);
                let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
                answer(&SyncResponse::Blocks([length.as_slice(), &bytes].concat()))
            }
            _ => chain.answer(&request).and_then(|response| answer(&response)),
        });
        peers.push(Running::of(&own, &network, seed, answers).await);
    }
    let folder = tempfile::tempdir().unwrap();
    let store = lucid_storage::Store::open(folder.path(), network).unwrap();
    let (driver, mut decided) = mpsc::channel(64);
    let (snapshots, _none) = mpsc::channel(1);
    let (head_sender, head) = watch::channel(testing::head(State::genesis(&spec)));
    let (_target, target) = watch::channel(Height::new(200));
    let sets = Arc::new(KnownSets::of_node(network, head.clone()));
    let download = SnapshotDownload::new(Arc::clone(&spec), own.clone(), store, Arc::clone(&sets), None);
    let (mode, parts_sets) = (SyncMode::Full, Arc::clone(&sets));
    let parts = CatchUpParts { spec, mesh: own, driver, head, target, download, snapshots, mode, sets: parts_sets };
    let stop = CancellationToken::new();
    let received = async {
        for height in 1..=200 {
            let Input::Decided(block) = *decided.recv().await.unwrap() else { panic!("no decided block") };
            assert_eq!(*block, chain.blocks[height - 1], "in order, and none but those that were decided");
            // The driver stores it.
            let height = block.block.header.height;
            head_sender.send_modify(|head| head.state = head.state.changed(|rows| rows.head.height = height));
        }
        stop.cancel();
    };
    let (ended, ()) = within(async { tokio::join!(CatchUp::new(parts).run(stop.clone()), received) }).await;
    ended.unwrap();
    assert!(*forged.lock().unwrap() <= 2, "a liar is asked no more");
}
