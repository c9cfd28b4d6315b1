//! A real node, as its own process, against peers that send garbage of every kind, lies and floods. It stays up, says
//! what it refused and why, and takes what is right from others.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::State;
use lucid_p2p::{Admission, Gate, Mesh, Protocol, Topic, peer_id_string};
use lucid_types::block::{Block, Header, Item, ItemId, items_hash};
use lucid_types::certificate::Certificate;
use lucid_types::codec::{decode, encode};
use lucid_types::command::{Action, Command as Order, NodeAction};
use lucid_types::evidence::Evidence;
use lucid_types::genesis::Genesis;
use lucid_types::id::{BlockHash, Hash, NetworkId, PayoutAddress, PublicKey, StateRoot};
use lucid_types::key::NodeKey;
use lucid_types::message::{CompactProposal, ConsensusMessage};
use lucid_types::report::ReportCommitment;
use lucid_types::signed::{MultiSigned, Signed};
use lucid_types::sync::{Rebroadcast, RebroadcastItem, SyncRequest, SyncResponse};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::vote::{Proposal, Vote, VoteKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::fixture::{genesis, node, signing_key, within};
use crate::mesh::{Peer, peer_behind};

/// The node under attack; the other validators are the test's. Each lie in a topic of validators has one of its own.
const NODE: u8 = 1;
const HONEST: u8 = 2;
const LIAR: u8 = 3;
const STRANGER: u8 = 99;
const LIARS: [u8; 17] = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

/// Hears nothing, and blames nobody for it.
struct Deaf;

impl Gate for Deaf {
    type Item = ();
    fn admit(&self, _: PublicKey, _: Topic, _: &[u8]) -> Admission<()> {
        Admission::Ignore("deaf")
    }
}

fn validators() -> Vec<u8> {
    [NODE, HONEST, LIAR].into_iter().chain(LIARS).collect()
}

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The process; killed when the test fails.
struct Running {
    child: Child,
    api: String,
    metrics: String,
    bootstrap: String,
    network: NetworkId,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

pub(crate) fn lucid(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("LUCID_") {
            command.env_remove(variable);
        }
    }
    command.env("RUST_LOG", "warn").arg("--home").arg(home);
    command
}

/// Starts the node of [`NODE`] in a network of four validators and a worker, with a payment provider that is down.
async fn start(genesis: &Genesis) -> Running {
    start_telling(genesis, "warn", Stdio::inherit()).await
}

/// The same with its log, from this level on, going there.
async fn start_telling(genesis: &Genesis, level: &str, log: Stdio) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let file = folder.path().join("genesis.toml");
    std::fs::write(&file, toml::to_string(genesis).unwrap()).unwrap();
    let [p2p, api, metrics, tron] = [(); 4].map(|()| free_port());
    let init = lucid(&home)
        .args(["init", "--role", "validator", "--local", "--listen", &format!("/ip4/127.0.0.1/tcp/{p2p}")])
        .args(["--api", &format!("127.0.0.1:{api}"), "--metrics", &format!("127.0.0.1:{metrics}")])
        .args(["--tron", &format!("http://127.0.0.1:{tron}"), "--genesis", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    std::fs::write(home.join("node.key"), hex::encode([NODE; 32])).unwrap();
    let mut run = lucid(&home);
    run.arg("run").env("RUST_LOG", level).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let child = run.spawn().unwrap();
    let running = Running {
        child,
        api: format!("http://127.0.0.1:{api}"),
        metrics: format!("http://127.0.0.1:{metrics}/metrics"),
        bootstrap: format!("/ip4/127.0.0.1/tcp/{p2p}/p2p/{}", peer_id_string(&node(NODE).first_key()).unwrap()),
        network: genesis.network_id(),
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        _folder: folder,
    };
    running.until("the node answers", async |running| running.is_healthy().await).await;
    running
}

impl Running {
    async fn until(&self, what: &str, condition: impl AsyncFn(&Self) -> bool) {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        let wait = async {
            while !condition(self).await {
                look.tick().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), wait).await.is_err() {
            panic!("never: {what}\n{}", self.page().await);
        }
    }

    async fn is_healthy(&self) -> bool {
        let answer = self.client.get(format!("{}/healthz", self.api)).timeout(Duration::from_secs(5)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn page(&self) -> String {
        match self.client.get(&self.metrics).timeout(Duration::from_secs(5)).send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    async fn count(&self, group: &str, reason: &str) -> u64 {
        let wanted = format!("lucid_mesh_total{{group=\"{group}\",reason=\"{reason}\"}} ");
        let page = self.page().await;
        page.lines().find_map(|line| line.strip_prefix(&wanted)?.parse().ok()).unwrap_or(0)
    }

    /// A peer that is connected to the node.
    async fn peer(&self, seed: u8) -> Peer {
        let (peer, mut events) = peer_behind(Deaf, self.network, seed, vec![self.bootstrap.clone()]).await;
        tokio::spawn(async move { while events.next().await.is_some() {} });
        assert!(within(peer.mesh.wait_for_peers(|peers| peers.iter().any(|p| p.key == node(NODE).first_key()))).await);
        peer
    }

    /// Asks the process to end, and waits.
    async fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut look = tokio::time::interval(Duration::from_millis(20));
        within(async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                look.tick().await;
            }
        })
        .await
    }
}

fn commitment(network: &NetworkId, signer: u8, epoch: u64) -> Signed<ReportCommitment> {
    let record = ReportCommitment { epoch: Epoch::new(epoch), report: Hash::from_bytes([3; 32]) };
    signing_key(signer).sign_report_commitment(network, record).into_inner()
}

fn vote(network: &NetworkId, signer: u8, height: u64, round: u32) -> Signed<Vote> {
    let (height, block) = (Height::new(height), Some(BlockHash::from_bytes([7; 32])));
    signing_key(signer).sign_vote(network, Vote { kind: VoteKind::Prevote, height, round, block }).into_inner()
}

/// A proposal for block 1 of a block that nobody has.
fn proposal(network: &NetworkId, signer: u8, round: u32) -> CompactProposal {
    let header = Header {
        height: Height::new(1),
        round,
        parent: BlockHash::from_bytes([1; 32]),
        proposer: signing_key(signer).id(),
        time: UnixMillis::new(5),
        items: items_hash(&[]),
        randao: signing_key(signer).bls_key().sign_randao(network, Height::new(1)),
        next_set: Hash::from_bytes([2; 32]),
        state_root: StateRoot::from_bytes([4; 32]),
    };
    let commitments = vec![commitment(network, signer, 1)];
    let block = Block { header, commitments, reveals: vec![], commands: vec![], evidence: vec![] }.sealed();
    let proposal = Proposal { height: Height::new(1), round, block: block.hash(), pol_round: None };
    CompactProposal::new(signing_key(signer).sign_proposal(network, proposal).into_inner(), &block)
}

/// Whose turn it is in a round of block 1.
fn turn(spec: &ChainSpec, round: u32) -> u8 {
    let proposer = State::genesis(spec).next_proposers().of(round).keys.id;
    validators().into_iter().find(|seed| signing_key(*seed).id() == proposer).unwrap()
}

/// A message, where it is sent, and what the node must say to it.
struct Lie {
    topic: Topic,
    reason: &'static str,
    bytes: Vec<u8>,
}

/// Two votes of a step in one validator's name, of which another has signed the second.
fn accusation(network: &NetworkId, of: u8, by: u8) -> Evidence {
    let first = vote(network, of, 1, 0);
    let nil = Vote { block: None, ..first.record };
    let second = Signed { signer: first.signer, ..signing_key(by).sign_vote(network, nil).into_inner() };
    Evidence::Votes([second, first])
}

fn lies(spec: &ChainSpec) -> Vec<Lie> {
    let (in_turn, out_of_turn) = (turn(spec, 0), turn(spec, 1));
    let network = spec.id();
    let foreign = NetworkId::from_bytes([8; 32]);
    let lie = |topic, reason, bytes| Lie { topic, reason, bytes };
    let mut lies: Vec<_> = [
        Topic::Attestations(0),
        Topic::Commitments,
        Topic::Reveals,
        Topic::Consensus,
        Topic::Rebroadcasts,
        Topic::Certificates,
        Topic::Commands,
        Topic::Evidence,
    ]
    .into_iter()
    .map(|topic| lie(topic, "malformed", vec![0xff; topic.max_bytes()]))
    .collect();
    let proposed = |signer: u8, edit: &dyn Fn(&mut CompactProposal)| {
        let mut compact = proposal(network, signer, 0);
        edit(&mut compact);
        encode(&ConsensusMessage::Proposal(Box::new(compact)))
    };
    let certificate = |height: u64| Certificate {
        height: Height::new(height),
        round: 0,
        block: BlockHash::from_bytes([7; 32]),
        signatures: vec![(signing_key(LIAR).id(), vote(network, LIAR, height, 0).signature)],
    };
    let mut forged = commitment(network, HONEST, 1);
    forged.signature = commitment(network, LIAR, 1).signature;
    let repeated = Rebroadcast { sequence: 1, item: RebroadcastItem::Vote(vote(&foreign, LIAR, 1, 0)) };
    let command = |action| {
        let until = UnixMillis::new(u64::MAX);
        let record = Order { account: node(STRANGER), nonce: 0, until, action: Action::Node(action) };
        let signed = key(STRANGER).sign_command(network, record).into_inner();
        MultiSigned::collect(signed.record, [(signed.signer, signed.signature)])
    };
    let nowhere = NodeAction::PayoutAddress(PayoutAddress::from_hash20([0; 20]));
    lies.extend([
        lie(Topic::Commitments, "signature", encode(&forged)),
        lie(Topic::Commitments, "signature", encode(&commitment(&foreign, HONEST, 1))),
        lie(Topic::Commitments, "unknown-signer", encode(&commitment(network, STRANGER, 1))),
        lie(Topic::Commitments, "future", encode(&commitment(network, LIAR, 500))),
        lie(Topic::Commitments, "stale", encode(&commitment(network, LIAR, 0))),
        lie(Topic::Consensus, "signature", encode(&ConsensusMessage::Vote(vote(&foreign, LIAR, 1, 0)))),
        lie(Topic::Consensus, "future", encode(&ConsensusMessage::Vote(vote(network, LIAR, 9, 0)))),
        lie(Topic::Rebroadcasts, "signature", encode(&*signing_key(LIAR).sign_rebroadcast(network, repeated))),
        lie(Topic::Consensus, "proposer", proposed(out_of_turn, &|_| {})),
        lie(Topic::Consensus, "header", proposed(in_turn, &|it| it.header.proposer = signing_key(STRANGER).id())),
        lie(Topic::Consensus, "proposal", proposed(in_turn, &|it| it.header.time = UnixMillis::new(7))),
        lie(Topic::Consensus, "unknown-signer", proposed(STRANGER, &|_| {})),
        lie(Topic::Certificates, "certificate", encode(&certificate(1))),
        lie(Topic::Certificates, "certificate", encode(&certificate(u64::MAX))),
        lie(Topic::Commands, "future", encode(&command(NodeAction::Leave))),
        lie(Topic::Commands, "malformed", encode(&command(nowhere))),
        lie(Topic::Evidence, "signature", encode(&accusation(network, HONEST, LIAR))),
        lie(Topic::Evidence, "unknown-signer", encode(&accusation(network, STRANGER, STRANGER))),
    ]);
    lies
}

/// Requests of every protocol that no honest peer sends. Every one ends, whatever the node makes of it.
async fn flood(mesh: Mesh) {
    let sync = |request: SyncRequest| (Protocol::Sync, encode(&request));
    let height = Height::new;
    let mut requests = vec![
        sync(SyncRequest::Blocks { from: height(u64::MAX), to: height(0), skip: 0 }),
        sync(SyncRequest::Blocks { from: height(0), to: height(u64::MAX), skip: u64::MAX }),
        sync(SyncRequest::Proposal { round: u32::MAX, block: BlockHash::from_bytes([0; 32]) }),
        sync(SyncRequest::Items(vec![ItemId::from_bytes([0; 32]); SyncRequest::MAX_ITEMS])),
        sync(SyncRequest::Reports {
            epoch: Epoch::new(u64::MAX),
            have_commitments: vec![signing_key(1).id(); 1_000],
            have_reveals: vec![signing_key(1).id(); 1_000],
        }),
    ];
    for protocol in Protocol::ALL {
        let largest = protocol.limits().request_bytes;
        requests.extend([vec![], vec![0], vec![0xff; 100], vec![0xff; largest]].map(|bytes| (protocol, bytes)));
    }
    within(mesh.connect(node(NODE).first_key(), Duration::from_secs(20))).await.unwrap();
    let mut asked = JoinSet::new();
    for (protocol, bytes) in requests.into_iter().cycle().take(400) {
        let mesh = mesh.clone();
        // Refused here for too many in flight, refused there, or not answered: no matter.
        asked.spawn(async move { mesh.request(node(NODE).first_key(), protocol, bytes).await.is_ok() });
    }
    for _ in 0..20 {
        let mesh = mesh.clone();
        asked.spawn(async move {
            let Ok(mut stream) = mesh.open_echo(node(NODE).first_key()).await else { return false };
            // A node that is no worker closes the stream.
            let _sent = stream.write_all(&[0xff; 4096]).await;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.is_ok()
        });
    }
    within(async { while asked.join_next().await.is_some() {} }).await;
}

async fn publish(mesh: &Mesh, topic: Topic, bytes: Vec<u8>) {
    within(mesh.publish(topic, bytes)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_lies_and_floods_are_counted_and_the_node_goes_on() {
    let genesis = genesis(Duration::from_secs(5), &validators());
    let mut running = start(&genesis).await;
    let network = running.network;
    let spec = ChainSpec::new(genesis.clone()).unwrap();
    let honest = running.peer(HONEST).await;

    // Every lie comes from a peer of its own: whoever is caught is not listened to any more.
    let lies = lies(&spec);
    let mut liars = Vec::new();
    let (mut validators, mut strangers) = (LIARS.into_iter(), 100..);
    for lie in &lies {
        let seed = if lie.topic.is_for_validators() { validators.next() } else { strangers.next() };
        let liar = running.peer(seed.unwrap()).await;
        publish(&liar.mesh, lie.topic, lie.bytes.clone()).await;
        liars.push(liar);
    }
    for Lie { topic, reason, .. } in &lies {
        let what = format!("{} refused as {reason}", topic.kind());
        running.until(&what, async |running| running.count(topic.kind(), reason).await > 0).await;
    }
    // In the topics of validators others are not heard at all, whatever they say.
    let stranger = running.peer(STRANGER).await;
    publish(&stranger.mesh, Topic::Commitments, encode(&commitment(&network, HONEST, 1))).await;
    running
        .until("a stranger is not heard", async |running| running.count("commitments", "not-a-validator").await == 1)
        .await;
    drop((liars, stranger));

    // A validator that votes in every round there is, and proposes what nobody has.
    let liar = running.peer(LIAR).await;
    for round in 0..300u32 {
        if turn(&spec, round) == LIAR {
            let proposal = Box::new(proposal(&network, LIAR, round));
            publish(&liar.mesh, Topic::Consensus, encode(&ConsensusMessage::Proposal(proposal))).await;
        }
        publish(&liar.mesh, Topic::Consensus, encode(&ConsensusMessage::Vote(vote(&network, LIAR, 1, round)))).await;
    }
    flood(liar.mesh.clone()).await;
    assert!(running.is_healthy().await);

    // What is right still passes, all the way to the chain, from where others may fetch it.
    assert_eq!(running.count("commitments", "accepted").await, 0);
    let good = commitment(&network, HONEST, 1);
    publish(&honest.mesh, Topic::Commitments, encode(&good)).await;
    running
        .until("a good commitment passes", async |running| running.count("commitments", "accepted").await == 1)
        .await;
    let request = SyncRequest::Reports { epoch: Epoch::new(1), have_commitments: vec![], have_reveals: vec![] };
    running
        .until("the chain has the commitment", async |_| {
            let answer = within(honest.mesh.request(node(NODE).first_key(), Protocol::Sync, encode(&request))).await;
            let items = match answer.map(|bytes| decode(&bytes)) {
                Ok(Ok(SyncResponse::Items(items))) => items,
                _ => vec![],
            };
            items.contains(&Item::Commitment(good.clone()))
        })
        .await;

    let begun = std::time::Instant::now();
    assert!(running.stop().await.success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let genesis = genesis(Duration::from_secs(5), &validators());
    // Every write to it fails, as on a full disk; that the node has started and stops are two.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut running = start_telling(&genesis, "info", full.into()).await;
    running.peer(HONEST).await;
    let status = running.stop().await;
    assert!(status.success(), "{status}");
}
