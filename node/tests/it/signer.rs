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
use lucid_consensus::ledger::pool::{PoolState, VaultChange, VaultTerms};
use lucid_consensus::ledger::state::State;
use lucid_consensus::ledger::table::Pools;
use lucid_consensus::replica::Offers;
use lucid_node::chain::head::Head;
use lucid_node::payout::cosign::{Cosigner, Treasury};
use lucid_node::signer::client::{RemoteError, RemoteSigner};
use lucid_node::signer::proof::PoolProof;
use lucid_node::signer::protocol::{Ask, SignerReply, SignerRequest, VERSION};
use lucid_tron_bridge::signature::recover;
use lucid_tron_bridge::vault::{VaultDomain, root_digest};
use lucid_types::amount::MicroUsdt;
use lucid_types::block::{Header, items_hash};
use lucid_types::bls::BlsSignature;
use lucid_types::certificate::Certificate;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::{BlockHash, Hash, NetworkId, PayoutAddress, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::payout::{CosignReply, CosignRequest, SettlementRoot, TreasurySignature};
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::sync::CertifiedHeader;
use lucid_types::time::{Height, UnixMillis};
use lucid_types::validator::{Validator, ValidatorSet};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::validator_sets::SetChange;
use lucid_types::vault::{SignerSet, TreasurySigner};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::sync::watch;

use crate::fixture::start::Start;
use crate::fixture::{genesis, node, pool, signing_key, validator};

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
fn start(key: PayoutAddress) -> Start {
    let signer = TreasurySigner { node: node(1), key_address: key };
    let genesis = genesis(Duration::from_secs(5), &[1, 2, 3, 4]);
    Start { genesis, workers: vec![], pools: vec![pool(4, vec![], 1, vec![signer])] }
}

/// A signer's folder and the chain that its node shows it.
struct Bench {
    folder: tempfile::TempDir,
    address: PayoutAddress,
    start: Start,
    spec: ChainSpec,
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
        let start = start(address);
        fs::write(dir.join("genesis.toml"), toml::to_string(&start.genesis).unwrap()).unwrap();
        let network = start.genesis.network_id();
        let spec = ChainSpec::new(start.genesis.clone()).unwrap();
        Self { folder, address, network, pool: PoolId::derive(&network, "pool"), start, spec }
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
            vault: self.start.pools[0].vault.address,
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

    /// A state after the block of this height, changed like this in the pool's row.
    fn state(&self, height: u64, change: impl FnOnce(&mut PoolState)) -> State {
        self.start.state(&self.spec).changed(|rows| {
            rows.head.height = Height::new(height);
            change(rows.get_mut::<Pools>(&self.pool).unwrap());
        })
    }

    /// A state in which this is the pool's newest root.
    fn state_with(&self, height: u64, root: SettlementRoot) -> State {
        self.state(height, |row| (row.settled, row.newest) = (root.settlement, Some(root)))
    }

    /// The header after which there is this state, certified by these validators.
    fn certified(&self, state: &State, validators: &[u8]) -> CertifiedHeader {
        self.certified_by(state, Hash::from_bytes([4; 32]), validators.iter().map(|seed| signing_key(*seed)))
    }

    /// The same with the hash of the next validators, by these keys.
    fn certified_by(&self, state: &State, next_set: Hash, keys: impl Iterator<Item = ValidatorKey>) -> CertifiedHeader {
        let header = Header {
            height: state.height(),
            parent: BlockHash::from_bytes([3; 32]),
            round: 0,
            proposer: signing_key(1).id(),
            time: UnixMillis::new(state.height().get() * 1_000),
            randao: BlsSignature::from_bytes([6; 48]),
            items: items_hash(&[]),
            next_set,
            state_root: state.root(),
        };
        let mut certificate = Certificate { height: header.height, round: 0, block: header.hash(), signatures: vec![] };
        let vote = certificate.vote();
        let votes = keys.map(|key| key.sign_vote(&self.network, vote).into_inner());
        certificate.signatures = votes.map(|vote| (vote.signer, vote.signature)).collect();
        certificate.signatures.sort();
        CertifiedHeader { header, certificate }
    }

    /// The pool's row of this state, proved by these validators.
    fn proof(&self, state: &State, validators: &[u8]) -> PoolProof {
        PoolProof::new(state, &self.certified(state, validators), &self.pool).unwrap()
    }

    /// The node's side.
    fn remote(&self) -> RemoteSigner {
        RemoteSigner::new(&self.socket(), self.network)
    }
}

/// Asks for the root in a state of its own, which validators 1 to 3 certify.
async fn sign(bench: &Bench, remote: &RemoteSigner, root: SettlementRoot) -> SignerReply {
    let state = bench.state_with(root.settlement * 2, root);
    ask(remote, bench.request(root.settlement), bench.proof(&state, &[1, 2, 3])).await
}

async fn ask(remote: &RemoteSigner, request: CosignRequest, proof: PoolProof) -> SignerReply {
    remote.ask(Ask::Sign { request, proof: Box::new(proof) }).await.unwrap()
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
    let remote = bench.remote();
    let status = remote.status().await.unwrap();
    assert_eq!((status.address, status.pools), (bench.address, vec![]), "no pool was shown to it");

    let root = bench.root(2, 100);
    let made = signature(sign(&bench, &remote, root).await);
    let domain = VaultDomain::new(&bench.start.genesis.tron.genesis_block, root.vault);
    assert_eq!(recover(&made, &root_digest(&domain, &root)), Ok(bench.address));
    assert_eq!(remote.status().await.unwrap().pools, [(bench.pool, 1)]);

    let next = bench.state_with(6, bench.root(3, 200));
    let good = bench.proof(&next, &[1, 2, 3]);
    let mut changed_row = good.clone();
    changed_row.pool.newest.as_mut().unwrap().total = MicroUsdt::new(201);
    let mut changed_header = good.clone();
    changed_header.proof.block.header.state_root = bench.state_with(6, bench.root(4, 200)).root();
    let mut wrong_signature = good.clone();
    let signatures = &mut wrong_signature.proof.block.certificate.signatures;
    signatures[0].1 = signatures[1].1;
    for (forged, why) in [
        (bench.proof(&next, &[1, 2]), "power 2 of 4 is not more than two thirds"),
        (bench.proof(&next, &[1, 2, 2]), "the signers are not in ascending order"),
        (wrong_signature, "is wrong"),
        (changed_header, "the certificate is for another block"),
        (changed_row, "does not have this row of pool"),
    ] {
        let reason = refusal(ask(&remote, bench.request(3), forged).await);
        assert!(reason.contains(why), "{reason}");
    }

    let shown = |height, commands, root: SettlementRoot| {
        let state = bench.state(height, |row| (row.settled, row.commands, row.newest) = (2, commands, Some(root)));
        ask(&remote, bench.request(root.settlement), bench.proof(&state, &[1, 2, 3]))
    };
    let other = SettlementRoot { root: PayoutRoot::from_bytes([99; 32]), ..root };
    assert!(refusal(shown(5, 0, other).await).contains("certified two histories"));
    assert!(refusal(shown(5, 1, other).await).contains("two states differ"));
    assert!(refusal(shown(6, 2, bench.root(2, 99)).await).contains("the total fell"));
    assert!(refusal(sign(&bench, &remote, bench.root(1, 100)).await).contains("has a newer root, of settlement 2"));
    assert_eq!(signature(shown(7, 3, root).await), made);

    let elsewhere = RemoteSigner::new(&bench.socket(), NetworkId::from_bytes([9; 32]));
    let reason = refusal(sign(&bench, &elsewhere, bench.root(3, 200)).await);
    assert!(reason.contains("give both the same genesis"), "{reason}");
    assert!(matches!(elsewhere.status().await, Err(RemoteError::Unexpected(_))));
    process.terminate();
    assert!(!bench.socket().exists());
    let error = remote.status().await.unwrap_err().to_string();
    assert!(error.contains("lucid signer run") && error.contains("treasury.socket"), "{error}");
}

/// Validator 1 changes its key: the signer goes from one set to the next, forgets neither, and takes no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_follows_the_validators_to_their_next_keys() {
    let bench = Bench::new();
    let process = bench.start();
    let remote = bench.remote();
    let key = |seed| if seed == 1 { ValidatorKey::from_seed(&[77; 32]) } else { signing_key(seed) };
    let members = [1, 2, 3, 4].map(|seed| Validator { keys: key(seed).keys(&node(seed)), ..validator(seed) });
    let set = ValidatorSet::new(members.to_vec()).unwrap();
    let changes_at = |height, validators: &[u8], next_set| {
        let (state, keys) = (bench.state(height, |_| {}), validators.iter().map(|seed| signing_key(*seed)));
        SetChange { block: bench.certified_by(&state, next_set, keys), set: set.clone() }
    };
    let change = changes_at(4, &[1, 2, 3], set.hash());
    let shown = |change: &SetChange| remote.ask(Ask::SetChange(Box::new(change.clone())));
    for (forged, why) in [
        (changes_at(4, &[1, 2], set.hash()), "block 4, which changes the validators, is not certified"),
        (changes_at(4, &[1, 2, 3], Hash::from_bytes([4; 32])), "block 4 does not change the validators to these"),
    ] {
        let reason = refusal(shown(&forged).await.unwrap());
        assert!(reason.contains(why), "{reason}");
    }
    // Block 5 is decided by those who decide on block 4, and blocks 6 and later by the next ones.
    let by = |height, root, seeds: &[u8], key: fn(u8) -> ValidatorKey| {
        let state = bench.state_with(height, root);
        let block = bench.certified_by(&state, set.hash(), seeds.iter().map(|seed| key(*seed)));
        ask(&remote, bench.request(root.settlement), PoolProof::new(&state, &block, &bench.pool).unwrap())
    };
    let first = bench.root(1, 100);
    assert!(
        refusal(by(6, first, &[1, 2, 3], key).await).contains("is no validator of this height"),
        "it was not shown the change"
    );
    assert_eq!(shown(&change).await.unwrap(), SignerReply::Status(remote.status().await.unwrap()));
    assert_eq!(remote.status().await.unwrap().sets_through, Height::new(4));
    assert!(refusal(by(5, first, &[1, 2, 3], key).await).contains("is no validator of this height"), "too early");
    signature(by(5, first, &[1, 2, 3], signing_key).await);

    process.kill();
    let process = bench.start();
    assert_eq!(remote.status().await.unwrap().sets_through, Height::new(4), "it is on the disk");
    let second = bench.root(2, 200);
    assert!(
        refusal(by(6, second, &[1, 2, 3], signing_key).await).contains("is no validator of this height"),
        "the old key's vote"
    );
    signature(by(6, second, &[1, 2, 3], key).await);
    let again = shown(&change).await.unwrap();
    assert_eq!(again, SignerReply::Status(remote.status().await.unwrap()), "it is no news");
    process.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_state_is_all_that_it_has_to_see() {
    let bench = Bench::new();
    let process = bench.start();
    let remote = bench.remote();
    let signers = |era| SignerSet { era, ..bench.start.pools[0].vault.signers.clone() };
    let root = SettlementRoot { era: 4, ..bench.root(1, 100) };
    let state = bench.state(4, |row| {
        (row.settled, row.newest) = (1, Some(root));
        (row.vault.nonce, row.vault.signers, row.commands) = (3, signers(4), 3);
        for nonce in 0..3 {
            let next = VaultTerms::Signers(signers(nonce + 2));
            row.changes.insert(nonce, VaultChange { by: signers(nonce + 1), next });
        }
    });
    let (block, old) = (bench.certified(&state, &[2, 3, 4]), bench.state_with(3, bench.root(1, 100)));
    let genesis = bench.start.state(&bench.spec);
    assert_eq!(remote.sign(bench.request(1), &genesis, None).await.unwrap(), CosignReply::NotFinal);
    assert_eq!(remote.sign(bench.request(1), &state, None).await.unwrap(), CosignReply::NotFinal);
    let CosignReply::Signed(made) = remote.sign(bench.request(1), &state, Some(&block)).await.unwrap() else {
        panic!("no signature")
    };
    let domain = VaultDomain::new(&bench.start.genesis.tron.genesis_block, root.vault);
    assert_eq!(recover(&made, &root_digest(&domain, &root)), Ok(bench.address));
    let change = CosignRequest::Signers { pool: bench.pool, nonce: 1 };
    assert!(matches!(remote.sign(change, &state, Some(&block)).await.unwrap(), CosignReply::Signed(_)));
    assert_eq!(remote.status().await.unwrap().pools, [(bench.pool, 4)]);

    // Neither this process nor the next believes an older state in which other signers are in force.
    process.kill();
    let process = bench.start();
    assert_eq!(remote.status().await.unwrap().pools, [(bench.pool, 4)]);
    let older = bench.certified(&old, &[1, 2, 3]);
    let CosignReply::Refused(reason) = remote.sign(bench.request(1), &old, Some(&older)).await.unwrap() else {
        panic!("an older root was signed")
    };
    assert!(reason.contains("block 4 was shown before") && reason.contains("era 4"), "{reason}");
    // The state and the header are not of one block.
    let newest = bench.state_with(9, SettlementRoot { era: 4, ..bench.root(2, 200) });
    let mixed = remote.sign(bench.request(2), &newest, Some(&block)).await.unwrap();
    assert!(matches!(&mixed, CosignReply::Refused(reason) if reason.contains("does not have this row")), "{mixed:?}");
    process.kill();
    let shown = json(&lucid(&["signer", "show", "--json", "--dir", bench.dir().to_str().unwrap()]).output().unwrap());
    let pool = &shown["pools"][0];
    assert_eq!((&pool["era"], &pool["shown_height"]), (&Value::from(4), &Value::from(4)), "{shown}");
    // Another file in its place is named, and what to do.
    fs::write(bench.dir().join("shown"), "x").unwrap();
    let error = bench.refuses(&["--plain-key"]);
    assert!(error.contains("shown is damaged: remove it"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_answers_its_leader_through_it() {
    let bench = Bench::new();
    let process = bench.start();
    let remote = bench.remote();
    let spec = Arc::new(bench.spec.clone());
    let root = bench.root(1, 100);
    let head_of = |height, root| {
        let state = bench.state_with(height, root);
        let block = Some(Arc::new(bench.certified(&state, &[1, 2, 3])));
        let offers = Offers::default();
        Head { state, block, adopted_at: UnixMillis::new(1), round: None, unreported: vec![], offers }
    };
    // Nothing that the genesis says is certified.
    let (sender, head) = watch::channel(Head { block: None, ..head_of(0, root) });
    let cosigner = Cosigner::new(Arc::clone(&spec), head, Arc::default(), Treasury::Remote(remote));
    let ask = |seed: u8, settlement| {
        let key = NodeKey::from_seed(&[seed; 32]);
        let bytes = encode(&*key.sign_cosign(&bench.network, bench.request(settlement)));
        let cosigner = &cosigner;
        async move { cosigner.answer(key.public_key(), &bytes).await.unwrap() }
    };
    assert_eq!(ask(2, 1).await, CosignReply::NotFinal);
    sender.send_replace(head_of(1, root));
    let CosignReply::Signed(made) = ask(2, 1).await else { panic!("no signature") };
    let domain = VaultDomain::new(&bench.start.genesis.tron.genesis_block, root.vault);
    assert_eq!(recover(&made, &root_digest(&domain, &root)), Ok(bench.address));
    assert_eq!(ask(4, 1).await, CosignReply::Signed(made));
    assert_eq!(ask(2, 2).await, CosignReply::NotFinal);
    let CosignReply::Refused(reason) = ask(99, 1).await else { panic!("a stranger was answered") };
    assert!(reason.contains("may ask"), "{reason}");
    process.kill();
    sender.send_replace(head_of(2, root));
    assert_eq!(ask(2, 1).await, CosignReply::Signed(made), "a signature that was given is remembered");
    let raised = SettlementRoot { total: MicroUsdt::new(150), promised: MicroUsdt::new(150), ..root };
    let next = bench.root(2, 200);
    let no_answer = CosignReply::Refused("its signer gave no answer; the log of its node says why".to_owned());
    sender.send_replace(head_of(3, raised));
    assert_eq!(ask(2, 1).await, no_answer, "a signature of another record is none of this one");
    sender.send_replace(head_of(4, next));
    assert_eq!(ask(2, 1).await, CosignReply::NotFinal);
    assert_eq!(ask(2, 2).await, no_answer);
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

    // The node is no signer of any pool, which is said once the signer answers.
    for (is_running, wanted) in
        [(false, "the treasury signer does not answer yet"), (true, "no pool has the treasury signer")]
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
    let remote = bench.remote();
    let mut process = bench.start();
    let mut last: Option<(SettlementRoot, TreasurySignature)> = None;
    for settlement in 1..=8 {
        let root = bench.root(settlement, settlement * 100);
        if settlement.is_multiple_of(2) {
            // Between two signatures.
            process.kill();
        } else {
            // While it works on the next one.
            let proof = Box::new(bench.proof(&bench.state_with(settlement * 2, root), &[1, 2, 3]));
            let asking = remote.ask(Ask::Sign { request: bench.request(settlement), proof });
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
                other => assert!(refusal(other).contains("has a newer root, of settlement")),
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
    [[VERSION].as_slice(), &length.to_le_bytes(), payload].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_long_frames_end_in_a_refusal_and_nothing_else() {
    let bench = Bench::new();
    let _process = bench.start();
    let remote = bench.remote();
    let socket = bench.socket();
    let refused = |bytes: &[u8]| refusal(exchange(&socket, bytes).unwrap());

    assert!(refused(b"GET / HTTP/1.1\r\n\r\n").contains("run node and signer of one release"));
    assert!(refused(&[VERSION - 1, 0, 0, 0, 0]).contains("run node and signer of one release"));
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
    let remote = bench.remote();
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
    // A later state whose root is smaller, as only forged finality has it.
    let _process = bench.start();
    let forged = bench.state(3, |row| (row.settled, row.commands, row.newest) = (1, 1, Some(bench.root(1, 99))));
    let smaller = ask(&remote, bench.request(1), bench.proof(&forged, &[1, 2, 3]));
    assert!(refusal(runtime.block_on(smaller)).contains("the total fell"));
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
