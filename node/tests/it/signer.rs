//! `lucid signer` as a process: over a real socket, killed and started again, and fed with what is no request.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::event::Event;
use lucid_consensus::ledger::state::State;
use lucid_consensus::replica::Offers;
use lucid_node::chain::head::Head;
use lucid_node::history::ledger;
use lucid_node::payout::cosign::{Cosigner, Treasury};
use lucid_node::signer::blocks::records;
use lucid_node::signer::client::{RemoteError, RemoteSigner};
use lucid_node::signer::protocol::{Ask, SignerReply, SignerRequest};
use lucid_storage::{BlockCommit, Store};
use lucid_tron_bridge::signature::recover;
use lucid_tron_bridge::vault::{VaultDomain, root_digest};
use lucid_types::amount::MicroUsdt;
use lucid_types::block::{Block, Header, items_hash};
use lucid_types::bls::BlsSignature;
use lucid_types::certificate::Certificate;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::genesis::{Genesis, SignerSet, TreasurySigner};
use lucid_types::id::{BlockHash, Hash, NetworkId, PayoutAddress, PoolId, StateRoot};
use lucid_types::key::NodeKey;
use lucid_types::payout::{CosignReply, CosignRequest, PoolChange, PoolCommand, SettlementRoot, TreasurySignature};
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::signed::MultiSigned;
use lucid_types::sync::CertifiedBlock;
use lucid_types::time::{Height, UnixMillis};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::sync::watch;

use crate::fixture::{genesis, node, pool};

/// How long a process gets to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

fn lucid(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("LUCID_") {
            command.env_remove(variable);
        }
    }
    command.env_remove("RUST_LOG").stdin(Stdio::null()).args(args);
    command
}

#[track_caller]
fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Validators 1 to 4, and a pool whose treasury signer is this key.
fn pool_genesis(key: PayoutAddress) -> Genesis {
    let signer = TreasurySigner { node: node(1), key_address: key };
    let pools = vec![pool(4, vec![], 1, vec![signer])];
    Genesis { pools, ..genesis(Duration::from_secs(5), &[1, 2, 3, 4], &[]) }
}

/// A signer's folder and the chain that its node shows it.
struct Bench {
    folder: tempfile::TempDir,
    address: PayoutAddress,
    genesis: Genesis,
    network: NetworkId,
    pool: PoolId,
}

impl Bench {
    /// With a key in plain text.
    fn new() -> Self {
        Self::with(&["--plain-key"])
    }

    fn with(key: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("signer");
        let args = [&["signer", "init", "--json", "--dir", dir.to_str().unwrap()], key].concat();
        let made = json(&lucid(&args).output().unwrap());
        let address: PayoutAddress = made["signer_address"].as_str().unwrap().parse().unwrap();
        let genesis = pool_genesis(address);
        fs::write(dir.join("genesis.toml"), toml::to_string(&genesis).unwrap()).unwrap();
        let network = genesis.network_id();
        Self { folder, address, network, pool: PoolId::derive(&network, "pool"), genesis }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("signer")
    }

    fn socket(&self) -> PathBuf {
        self.dir().join("signer.sock")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = lucid(&["signer", "run", "--dir"]);
        command.arg(self.dir()).args(args).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// A process that refuses to start; what it says.
    #[track_caller]
    fn refuses(&self, args: &[&str]) -> String {
        failure(&self.command(args).stderr(Stdio::piped()).output().unwrap())
    }

    fn start(&self) -> Process {
        Process::wait_for(self.command(&["--plain-key"]).spawn().unwrap(), &self.socket())
    }

    fn root(&self, settlement: u64, total: u64) -> SettlementRoot {
        SettlementRoot {
            pool: self.pool,
            settlement,
            vault: self.genesis.pools[0].vault.address,
            era: 1,
            root: PayoutRoot::from_bytes([u8::try_from(settlement % 250).unwrap() + 1; 32]),
            total: MicroUsdt::new(total),
            fees: MicroUsdt::ZERO,
            promised: MicroUsdt::new(total),
            leader: None,
            until: 0,
        }
    }

    fn request(&self, settlement: u64) -> CosignRequest {
        CosignRequest::Root { pool: self.pool, settlement }
    }

    /// A block that these validators certify.
    fn decided(
        &self,
        height: u64,
        roots: &[SettlementRoot],
        changes: &[PoolChange],
        validators: &[u8],
    ) -> CertifiedBlock {
        let key = |seed: &u8| NodeKey::from_seed(&[*seed; 32]);
        let sign = |change: &PoolChange| {
            let record =
                PoolCommand { pool: self.pool, number: 1, until: UnixMillis::new(u64::MAX), change: change.clone() };
            let signed = key(&4).sign_pool_command(&self.network, record.clone()).into_inner();
            MultiSigned::collect(record, [(signed.signer, signed.signature)])
        };
        let block = Block {
            header: Header {
                height: Height::new(height),
                round: 0,
                parent: BlockHash::from_bytes([3; 32]),
                proposer: node(1),
                time: UnixMillis::new(height * 1_000),
                payout_roots: roots.to_vec(),
                randao: BlsSignature::from_bytes([6; 48]),
                next_set: Hash::from_bytes([4; 32]),
                state_root: StateRoot::from_bytes([5; 32]),
                items: items_hash(&[]),
            },
            commitments: vec![],
            reveals: vec![],
            commands: changes.iter().map(sign).collect(),
            evidence: vec![],
        }
        .sealed();
        let mut certificate =
            Certificate { height: block.header.height, round: 0, block: block.hash(), signatures: vec![] };
        let vote = certificate.vote();
        let votes = validators.iter().map(|seed| key(seed).sign_vote(&self.network, vote).into_inner());
        certificate.signatures = votes.map(|vote| (vote.signer, vote.signature)).collect();
        certificate.signatures.sort();
        CertifiedBlock { block, certificate }
    }

    /// The node's side. It holds no blocks but those that a test commits.
    fn remote(&self) -> (RemoteSigner, Store) {
        let store = Store::open(&self.folder.path().join("db"), self.network).unwrap();
        (RemoteSigner::new(&self.socket(), self.network, store.clone()), store)
    }
}

/// Asks for the root in a block of its own, which validators 1 to 3 certify.
async fn sign(bench: &Bench, remote: &RemoteSigner, root: SettlementRoot) -> SignerReply {
    let decided = bench.decided(root.settlement * 2, &[root], &[], &[1, 2, 3]);
    ask(remote, bench.request(root.settlement), decided).await
}

async fn ask(remote: &RemoteSigner, request: CosignRequest, decided: CertifiedBlock) -> SignerReply {
    remote.ask(Ask::Sign { request, decided: Box::new(decided) }).await.unwrap()
}

#[track_caller]
fn signature(reply: SignerReply) -> TreasurySignature {
    match reply {
        SignerReply::Signed(signature) => signature,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refusal(reply: SignerReply) -> String {
    match reply {
        SignerReply::Refused(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// A running signer; killed when dropped.
struct Process(Child);

impl Process {
    fn wait_for(mut child: Child, socket: &Path) -> Self {
        let start = Instant::now();
        while UnixStream::connect(socket).is_err() {
            assert!(child.try_wait().unwrap().is_none() && start.elapsed() < PATIENCE, "the signer does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn terminate(mut self) {
        let id = Pid::from_raw(self.0.id().try_into().unwrap());
        kill(id, Signal::SIGTERM).unwrap();
        let start = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "the signer does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_signs_what_is_certified_and_nothing_else() {
    let bench = Bench::new();
    let process = bench.start();
    let (remote, store) = bench.remote();
    let status = remote.status().await.unwrap();
    assert_eq!((status.address, status.pools), (bench.address, vec![(bench.pool, 1)]));

    let root = bench.root(2, 100);
    let made = signature(sign(&bench, &remote, root).await);
    let domain = VaultDomain::new(&bench.genesis.tron.genesis_block, root.vault);
    assert_eq!(recover(&made, &root_digest(&domain, &root)), Ok(bench.address));

    let uncertified = bench.decided(6, &[bench.root(3, 200)], &[], &[1, 2]);
    let reason = refusal(ask(&remote, bench.request(3), uncertified).await);
    assert!(reason.contains("power 2 of 4 is not more than two thirds"), "{reason}");
    let mut changed = bench.decided(6, &[bench.root(3, 200)], &[], &[1, 2, 3]);
    changed.block.header.payout_roots[0].total = MicroUsdt::new(201);
    let reason = refusal(ask(&remote, bench.request(3), changed).await);
    assert!(reason.contains("the certificate is for another block"), "{reason}");

    let other = SettlementRoot { root: PayoutRoot::from_bytes([99; 32]), ..root };
    assert!(refusal(sign(&bench, &remote, other).await).contains("two states differ"));
    assert!(refusal(sign(&bench, &remote, bench.root(2, 99)).await).contains("the total fell"));
    assert!(refusal(sign(&bench, &remote, bench.root(1, 100)).await).contains("has issued a newer root"));
    assert_eq!(signature(sign(&bench, &remote, root).await), made);

    let elsewhere = RemoteSigner::new(&bench.socket(), NetworkId::from_bytes([9; 32]), store);
    let reason = refusal(sign(&bench, &elsewhere, bench.root(3, 200)).await);
    assert!(reason.contains("give both the same genesis"), "{reason}");
    assert!(matches!(elsewhere.status().await, Err(RemoteError::Unexpected(_))));
    process.terminate();
    assert!(!bench.socket().exists());
    let error = remote.status().await.unwrap_err().to_string();
    assert!(error.contains("lucid signer run") && error.contains("treasury.socket"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_finds_the_blocks_that_the_signer_has_to_see() {
    let bench = Bench::new();
    let _process = bench.start();
    let (remote, store) = bench.remote();
    let signers = |era| SignerSet { era, ..bench.genesis.pools[0].vault.signers.clone() };
    let change = |era: u32| PoolChange::Signers { nonce: era - 2, next: signers(era) };
    let root = SettlementRoot { era: 4, ..bench.root(1, 100) };
    let blocks = [
        bench.decided(1, &[], &[change(2)], &[1, 2, 3]),
        bench.decided(2, &[], &[change(3)], &[2, 3, 4]),
        bench.decided(3, &[], &[change(4)], &[1, 3, 4]),
        bench.decided(4, &[root], &[], &[1, 2, 3, 4]),
    ];
    assert_eq!(remote.sign(bench.request(1)).await.unwrap(), CosignReply::NotFinal);
    blocks.iter().for_each(|decided| commitment(&store, decided));
    let CosignReply::Signed(made) = remote.sign(bench.request(1)).await.unwrap() else { panic!("no signature") };
    let domain = VaultDomain::new(&bench.genesis.tron.genesis_block, root.vault);
    assert_eq!(recover(&made, &root_digest(&domain, &root)), Ok(bench.address));
    let change = CosignRequest::Signers { pool: bench.pool, nonce: 1 };
    assert!(matches!(remote.sign(change).await.unwrap(), CosignReply::Signed(_)));
}

/// Stores a final block as a node does.
fn commitment(store: &Store, CertifiedBlock { block, certificate }: &CertifiedBlock) {
    let roots: Vec<_> = block.header.payout_roots.iter().map(|root| Event::Reissued(*root)).collect();
    let commitment = BlockCommit {
        height: block.header.height,
        block_hash: block.hash(),
        block: encode(block),
        certificate: encode(certificate),
        state: vec![],
        rows: vec![],
        keep_rows_from: None,
        history: [ledger::records(block.header.height, block.header.time, &roots), records(block)].concat(),
    };
    store.commit_block(commitment).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_answers_its_leader_through_it() {
    let bench = Bench::new();
    let process = bench.start();
    let (remote, store) = bench.remote();
    let spec = Arc::new(ChainSpec::new(bench.genesis.clone()).unwrap());
    let root = bench.root(1, 100);
    let mut state = State::genesis(&spec);
    state.pools.get_mut(&bench.pool).unwrap().newest = Some(root);
    let root_hash = state.root();
    let adopted_at = UnixMillis::new(1);
    let head = Head {
        state: Arc::new(state),
        root: root_hash,
        adopted_at,
        round: None,
        unreported: vec![],
        offers: Offers::default(),
    };
    let (sender, head) = watch::channel(head);
    let cosigner = Cosigner::new(Arc::clone(&spec), head, Treasury::Remote(remote));
    commitment(&store, &bench.decided(1, &[root], &[], &[1, 2, 3]));

    let ask = |seed: u8, settlement| {
        let key = NodeKey::from_seed(&[seed; 32]);
        let bytes = encode(&*key.sign_cosign(&bench.network, bench.request(settlement)));
        let cosigner = &cosigner;
        async move { cosigner.answer(key.node_id(), &bytes).await.unwrap() }
    };
    let CosignReply::Signed(made) = ask(2, 1).await else { panic!("no signature") };
    let domain = VaultDomain::new(&bench.genesis.tron.genesis_block, root.vault);
    assert_eq!(recover(&made, &root_digest(&domain, &root)), Ok(bench.address));
    assert_eq!(ask(4, 1).await, CosignReply::Signed(made));
    assert_eq!(ask(2, 2).await, CosignReply::NotFinal);
    let CosignReply::Refused(reason) = ask(99, 1).await else { panic!("a stranger was answered") };
    assert!(reason.contains("may ask"), "{reason}");
    process.kill();
    assert_eq!(ask(2, 1).await, CosignReply::Signed(made), "a signature that was given is remembered");
    let next = bench.root(2, 200);
    commitment(&store, &bench.decided(2, &[next], &[], &[1, 2, 3]));
    sender.send_modify(|head| {
        let mut state = (*head.state).clone();
        state.pools.get_mut(&bench.pool).unwrap().newest = Some(next);
        head.state = Arc::new(state);
    });
    assert_eq!(ask(2, 1).await, CosignReply::NotFinal);
    assert_eq!(
        ask(2, 2).await,
        CosignReply::Refused("its signer gave no answer; the log of its node says why".to_owned())
    );
    let _process = bench.start();
    let CosignReply::Signed(made) = ask(2, 2).await else { panic!("no signature") };
    assert_eq!(recover(&made, &root_digest(&domain, &next)), Ok(bench.address));
}

#[test]
fn a_node_without_its_signer_starts_and_says_so() {
    let bench = Bench::new();
    let home = bench.folder.path().join("home");
    let run = |args: &[&str]| {
        let mut command = lucid(&["--home", home.to_str().unwrap()]);
        command.args(args);
        command
    };
    let socket = bench.socket();
    let made = json(
        &run(&["init", "--role", "treasury", "--treasury-socket", socket.to_str().unwrap(), "--local", "--json"])
            .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--api", "127.0.0.1:0", "--metrics", "127.0.0.1:0"])
            .output()
            .unwrap(),
    );
    assert!(made["signer_address"].is_null() && !home.join("treasury.key").exists(), "{made}");
    fs::copy(bench.dir().join("genesis.toml"), home.join("genesis.toml")).unwrap();
    assert!(run(&["config", "check"]).output().unwrap().status.success());

    // The node is none of the genesis' signers, which is said once the signer answers.
    for (is_running, wanted) in
        [(false, "the treasury signer does not answer yet"), (true, "no pool has this treasury signer")]
    {
        let _signer = is_running.then(|| bench.start());
        let mut node = Process(run(&["run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let mut log = String::new();
        for line in BufReader::new(node.0.stderr.take().unwrap()).lines() {
            log.push_str(&line.unwrap());
            if log.contains(" started ") {
                break;
            }
        }
        assert!(log.contains(wanted), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_time_it_signs_the_same_again() {
    let bench = Bench::new();
    let (remote, _store) = bench.remote();
    let mut process = bench.start();
    let mut last: Option<(SettlementRoot, TreasurySignature)> = None;
    for settlement in 1..=8 {
        let root = bench.root(settlement, settlement * 100);
        if settlement.is_multiple_of(2) {
            // Between two signatures.
            process.kill();
        } else {
            // While it works on the next one.
            let decided = bench.decided(settlement * 2, &[root], &[], &[1, 2, 3]);
            let request = bench.request(settlement);
            let asking = remote.ask(Ask::Sign { request, decided: Box::new(decided) });
            let killing = async {
                tokio::time::sleep(Duration::from_micros(settlement * 400)).await;
                process.kill();
            };
            // Whether the answer came in time does not matter.
            let _ = tokio::join!(asking, killing);
        }
        process = bench.start();
        if let Some((root, made)) = last {
            // Either the new root is in the watermark by now, or the last one is signed with the same bytes.
            match sign(&bench, &remote, root).await {
                SignerReply::Signed(again) => assert_eq!(again, made),
                other => assert!(refusal(other).contains("older than settlement")),
            }
            let rival = SettlementRoot { root: PayoutRoot::from_bytes([77; 32]), ..root };
            refusal(sign(&bench, &remote, rival).await);
        }
        let made = signature(sign(&bench, &remote, root).await);
        assert_eq!(signature(sign(&bench, &remote, root).await), made);
        last = Some((root, made));
    }
    let shown = json(&lucid(&["signer", "show", "--json", "--dir", bench.dir().to_str().unwrap()]).output().unwrap());
    assert_eq!(shown["signer_address"], bench.address.to_string());
    let pool = &shown["pools"][0];
    assert_eq!((&pool["signed_settlement"], &pool["record"]), (&Value::from(8), &Value::from(8)), "{shown}");
}

/// What the signer answers to these bytes, and whether it closes the connection afterwards.
fn exchange(socket: &Path, bytes: &[u8]) -> Option<SignerReply> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The signer may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut header = [0; 5];
    stream.read_exact(&mut header).ok()?;
    let length = u32::from_le_bytes(header[1..].try_into().unwrap());
    let mut reply = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut reply).ok()?;
    Some(decode(&reply).unwrap())
}

fn frame(length: u32, payload: &[u8]) -> Vec<u8> {
    [[1].as_slice(), &length.to_le_bytes(), payload].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_long_frames_end_in_a_refusal_and_nothing_else() {
    let bench = Bench::new();
    let _process = bench.start();
    let (remote, _store) = bench.remote();
    let socket = bench.socket();
    let refused = |bytes: &[u8]| refusal(exchange(&socket, bytes).unwrap());

    assert!(refused(b"GET / HTTP/1.1\r\n\r\n").contains("run node and signer of one release"));
    let max = u32::try_from(SignerRequest::MAX_BYTES).unwrap();
    assert!(refused(&frame(u32::MAX, b"")).contains("at most"));
    assert!(refused(&frame(max + 1, b"")).contains("at most"));
    assert!(refused(&frame(3, &[0xff; 3])).contains("cannot be read"));
    // A list that claims 2^64 - 1 items.
    let mut request = encode(&SignerRequest { network: bench.network, ask: Ask::Status });
    request[32] = 1;
    request.extend([0xff; 200]);
    let length = u32::try_from(request.len()).unwrap();
    assert!(refused(&frame(length, &request)).contains("cannot be read"));
    let whole = vec![0xff; SignerRequest::MAX_BYTES];
    assert!(refused(&frame(max, &whole)).contains("cannot be read"));

    // Connections that say nothing, half of something, or hang up do not keep the node out.
    let silent: Vec<_> = (0..3).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut half = UnixStream::connect(&socket).unwrap();
    half.write_all(&frame(1_000, b"half")).unwrap();
    drop(UnixStream::connect(&socket).unwrap());
    assert_eq!(remote.status().await.unwrap().address, bench.address);
    signature(sign(&bench, &remote, bench.root(1, 100)).await);
    drop((silent, half));
}

#[test]
fn one_process_and_one_socket_at_a_time() {
    let bench = Bench::new();
    let process = bench.start();
    assert_eq!(fs::metadata(bench.socket()).unwrap().permissions().mode() & 0o7777, 0o600);
    let error = bench.refuses(&["--plain-key"]);
    assert!(error.contains(&format!("another process ({})", process.0.id())), "{error}");
    let error = failure(&lucid(&["signer", "copy", "--dir", bench.dir().to_str().unwrap()]).output().unwrap());
    assert!(error.contains("another process"), "{error}");

    let second = Bench::new();
    let error = second.refuses(&["--plain-key", "--socket", bench.socket().to_str().unwrap()]);
    assert!(error.contains("another process listens at"), "{error}");
    process.kill();
    assert!(bench.socket().symlink_metadata().unwrap().file_type().is_socket(), "a killed process leaves its socket");
    let _process = bench.start();

    let file = second.folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = second.refuses(&["--plain-key", "--socket", file.to_str().unwrap()]);
    assert!(error.contains("is no socket") && fs::read(&file).unwrap() == b"x", "{error}");
}

#[test]
fn the_group_may_use_the_socket_if_that_is_wanted() {
    let bench = Bench::new();
    let place = bench.folder.path().join("run");
    fs::create_dir(&place).unwrap();
    let socket = place.join("signer.sock");
    let args = ["--plain-key", "--group", "--socket", socket.to_str().unwrap()];
    let _process = Process::wait_for(bench.command(&args).spawn().unwrap(), &socket);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o660);
}

#[test]
fn what_others_can_write_or_read_keeps_it_from_starting() {
    let bench = Bench::new();
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    set(&bench.dir(), 0o777);
    let error = bench.refuses(&["--plain-key"]);
    assert!(error.contains("0777") && error.contains("chmod go-w"), "{error}");
    set(&bench.dir(), 0o700);
    set(&bench.dir().join("signer.key"), 0o644);
    let error = bench.refuses(&["--plain-key"]);
    assert!(error.contains("signer.key has mode 0644"), "{error}");
    set(&bench.dir().join("signer.key"), 0o600);
    let loose = bench.folder.path().join("loose");
    fs::create_dir(&loose).unwrap();
    set(&loose, 0o777);
    let error = bench.refuses(&["--plain-key", "--socket", loose.join("s.sock").to_str().unwrap()]);
    assert!(error.contains("0777"), "{error}");
    let error = bench.refuses(&[]);
    assert!(error.contains("signer.age is missing") && error.contains("--plain-key"), "{error}");
}

#[test]
fn a_restored_or_lost_watermark_keeps_it_from_starting() {
    let bench = Bench::new();
    let path = bench.dir().join("watermark");
    let old = fs::read(&path).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (remote, _store) = bench.remote();
    let process = bench.start();
    signature(runtime.block_on(sign(&bench, &remote, bench.root(1, 100))));
    process.kill();

    let newest = fs::read(&path).unwrap();
    fs::write(&path, &old).unwrap();
    let error = bench.refuses(&["--plain-key"]);
    assert!(error.contains("record 0, but its second copy is record 1"), "{error}");
    fs::remove_file(&path).unwrap();
    let error = bench.refuses(&["--plain-key"]);
    assert!(error.contains("watermark is missing"), "{error}");
    fs::write(&path, &newest).unwrap();
    fs::remove_file(bench.dir().join("watermark.copy")).unwrap();
    let error = bench.refuses(&["--plain-key"]);
    assert!(error.contains("lucid signer copy"), "{error}");
    let copy = |more: &[&str]| {
        let dir = bench.dir();
        let output =
            lucid(&[&["signer", "copy", "--json", "--dir", dir.to_str().unwrap()][..], more].concat()).output();
        let output = output.unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), said, String::from_utf8(output.stderr).unwrap())
    };
    let (code, said, _) = copy(&["--dry-run"]);
    assert_eq!((code, &said["dry_run"]), (Some(0), &serde_json::json!(true)), "{said}");
    assert!(!bench.dir().join("watermark.copy").exists());
    let (code, said, _) = copy(&[]);
    assert_eq!((code, &said["dry_run"]), (Some(0), &serde_json::json!(false)), "{said}");
    assert_eq!(said["signer_address"], bench.address.to_string());
    assert_eq!(fs::read(bench.dir().join("watermark.copy")).unwrap(), newest);
    let (code, _, error) = copy(&["--dry-run"]);
    assert!(code == Some(1) && error.contains("exists already"), "{error}");
    let nowhere = bench.dir().join("nowhere");
    for action in ["show", "copy"] {
        let output = lucid(&["signer", action, "--dir", nowhere.to_str().unwrap()]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && error.contains("there is no signer at"), "{error}");
        assert!(error.contains("lucid signer init --dir"), "{error}");
    }
    let _process = bench.start();
    assert!(refusal(runtime.block_on(sign(&bench, &remote, bench.root(1, 99)))).contains("the total fell"));
}

#[test]
fn a_keystore_opens_with_its_passphrase_only() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (right, wrong) = (passphrase("right", "correct horse\n"), passphrase("wrong", "correct hors\n"));
    let bench = Bench::with(&["--passphrase-file", right.to_str().unwrap()]);
    let stored = fs::read(bench.dir().join("signer.age")).unwrap();
    assert!(stored.starts_with(b"age-encryption.org/") && !bench.dir().join("signer.key").exists());

    let error = bench.refuses(&["--passphrase-file", wrong.to_str().unwrap()]);
    assert!(error.contains("the passphrase does not open the keystore") && !error.contains("correct"), "{error}");
    let error = bench.refuses(&["--plain-key"]);
    assert!(error.contains("signer.key is missing"), "{error}");
    fs::set_permissions(&right, Permissions::from_mode(0o644)).unwrap();
    let error = bench.refuses(&["--passphrase-file", right.to_str().unwrap()]);
    assert!(error.contains("0644"), "{error}");

    // Standard input is a descriptor like any other.
    let input = OwnedFd::from(File::open(&right).unwrap());
    let child = bench.command(&["--passphrase-fd", "0", "--json"]).stdin(input).stderr(Stdio::piped()).spawn().unwrap();
    let mut process = Process::wait_for(child, &bench.socket());
    let mut errors = process.0.stderr.take().unwrap();
    process.terminate();
    let mut log = String::new();
    errors.read_to_string(&mut log).unwrap();
    let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(first["fields"]["address"], bench.address.to_string(), "{log}");
    assert!(!log.contains("correct horse"));
}
