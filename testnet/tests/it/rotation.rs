//! A worker's node key is another one, and the account stays: its statistics, what it is owed, and its payments.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};

use lucid_types::attestation::Capacity;
use lucid_types::codec::encode;
use lucid_types::command::{Action, Command, NodeAction};
use lucid_types::id::NetworkId;
use lucid_types::key::NodeKey;
use lucid_types::signed::MultiSigned;
use lucid_types::time::UnixMillis;
use serde_json::{Value, json};

use crate::harness::{Network, errors, http_get, lucid, now_ms, until};
use crate::vault_cli::{json as answer, run, text};

const WORKER: &str = "worker-1";
/// Whoever else tells.
const WITNESS: &str = "validator-1";

#[test]
fn a_worker_rotates_its_node_key_and_goes_on_as_the_same_account() {
    let mut net = Network::up(&["--workers", "2", "--epoch-length", "3s", "--settle-every", "2"]);
    net.ready();
    let node = net.node_id(WORKER);
    let registered = || net.get(WITNESS, &format!("/api/v1/nodes/{node}"));
    let status = || net.ask(WORKER, "/api/v1/status");
    let (old_peer, pid) = (net.get(WORKER, "/api/v1/status")["peer_id"].clone(), net.pid(WORKER));
    until("what the worker has earned", || (status()?["owed_micro_usdt"].as_u64()? > 0).then_some(()));

    // Whoever has the key can announce another one; whoever has it too takes that back.
    let thief = Thief::of(&net);
    let stolen = rotate(&thief.home);
    let alert = until("the alert", || {
        let alerts = status()?["alerts"].clone();
        alerts[0].as_str().filter(|alert| alert.contains(&stolen)).map(str::to_owned)
    });
    assert!(alert.contains("veto-key"), "{alert}");
    assert_eq!(registered()["next_key"]["key"], json!(stolen));
    give(&net.home(WORKER), &["node", "veto-key"]);
    assert_eq!(registered()["next_key"], Value::Null);
    until("no alert", || (status()?["alerts"] == json!([])).then_some(()));

    // A look changes nothing; the rotation is in force after a while, and the node follows by itself.
    let dry = answer(&run(&["node", "rotate-key", "--dry-run", "--json"], &["--home", path(&net.home(WORKER))]));
    assert_eq!(dry["dry_run"], json!(true));
    assert!(!net.home(WORKER).join("node.next.key").exists() && !net.home(WORKER).join("account").exists());
    let key = rotate(&net.home(WORKER));
    assert_ne!(key, stolen);
    assert_eq!(registered()["key"], json!(node), "it is not in force yet");
    until("the new key in force", || (status()?["key"] == json!(key)).then_some(()));
    assert_eq!((net.pid(WORKER), status().unwrap()["node_id"].clone()), (pid, json!(node)), "the same process");
    let (row, now) = (registered(), net.get(WORKER, "/api/v1/status"));
    assert_eq!((&row["key"], &row["next_key"]), (&json!(key), &Value::Null));
    assert_ne!(now["peer_id"], old_peer);
    let home = net.home(WORKER);
    assert_eq!(std::fs::read_to_string(home.join("account")).unwrap().trim(), node);
    assert_eq!(secret(&home).public_key().to_string(), key);
    assert!(!home.join("node.next.key").exists());

    // It attests, is measured and paid under the new key, as the same account.
    let epoch = now["epoch"].as_u64().unwrap() + 1;
    until("attestations under the new key", || (registered()["attested"].as_u64()? >= epoch).then_some(()));
    net.node_final_through(WITNESS, epoch);
    let scores = net.get(WITNESS, &format!("/api/v1/scores?epoch={epoch}"));
    let score = scores["scores"].as_array().unwrap().iter().find(|score| score["worker"] == json!(node)).unwrap();
    assert!(
        score["echo_bytes"].as_u64() > Some(0) && score["components"]["uptime"].as_u64() > Some(500_000),
        "{score}"
    );
    let owed = now["owed_micro_usdt"].as_u64().unwrap();
    until("more owed, and paid", || {
        let [owed_now, paid] = ["owed_micro_usdt", "paid_micro_usdt"].map(|key| status().unwrap()[key].as_u64());
        (owed_now? > owed && paid? > owed).then_some(())
    });
    check_collections(&net, &node);

    refused_with_the_old_key(&net, &thief);
    thief.runs_in_vain(&net, &node);
    net.command(&["down"]);
    net.succeeded();
}

/// What an operator may look for, each by the API and by the command that shows it.
#[track_caller]
fn check_collections(network: &Network, node: &str) {
    let (worker, pool) = (WORKER, network.pool_id());
    let ask = |path: &str, list: &str| {
        let answer = network.get(worker, path);
        answer[list].as_array().unwrap_or_else(|| panic!("{path}: {answer}")).clone()
    };
    let shown = |command: &str| {
        let words = command.split(' ');
        let shown = Process::new(lucid()).arg("--home").arg(network.home(worker)).args(words).output().unwrap();
        assert!(shown.status.success(), "{command}: {}", errors(&shown));
        String::from_utf8(shown.stdout).unwrap()
    };
    let is_there = |list: &[Value], key: &str, value: &str| list.iter().any(|it| it[key] == value);
    let epoch = network.status_number(worker, "final_epoch").unwrap();
    let short = &node[..8];

    assert!(is_there(&ask("/api/v1/nodes?role=member", "nodes"), "node", node));
    assert_eq!(network.get(worker, &format!("/api/v1/nodes/{node}"))["node"], node);
    assert!(shown("node list").contains(short));

    let metrics = ask(&format!("/api/v1/nodes/{node}/metrics"), "metrics");
    assert!(metrics[0]["cpu_ppm"].is_u64(), "{metrics:?}");
    assert!(shown(&format!("node metrics {short}")).lines().count() > 2);

    assert!(network.get(worker, "/api/v1/resources")["per_core_ppm"].as_array().is_some_and(|cores| !cores.is_empty()));
    let spans = ask("/api/v1/resources/history?granularity=1h", "spans");
    assert!(spans[0]["cpu_ppm"]["max"].as_u64() > Some(0), "{spans:?}");
    assert!(shown("resources show").contains("of CPU") && shown("resources history").lines().count() > 2);

    assert!(is_there(&ask("/api/v1/pools", "pools"), "pool", &pool));
    assert!(is_there(&ask(&format!("/api/v1/pools/{pool}/members"), "members"), "node", node));
    assert!(shown("pool list").contains("local") && shown("pool members").contains(short));

    assert!(is_there(&ask(&format!("/api/v1/scores?epoch={epoch}"), "scores"), "worker", node));
    assert!(shown("score leaderboard").contains(short) && shown(&format!("score history {short}")).contains(short));
    let score = network.get(worker, &format!("/api/v1/poot/scores/{node}?epoch={epoch}"));
    let points: u64 = score["points_ppm"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    let whole = score["score"]["score_ppm"].as_u64().unwrap();
    assert!((points..points + 7).contains(&whole), "each part is rounded down: {score}");
    assert!(shown(&format!("score show {short} --epoch {epoch}")).contains("work credits"));
    let agreement = shown("score agreement");
    assert!(agreement.contains("identical measurements"), "{agreement}");

    let path = format!("/api/v1/epochs/{epoch}/reports?worker={node}");
    let reports = network.get(worker, &path);
    assert_eq!(reports["reporters"].as_array().unwrap().len(), 4, "{reports}");
    let measured = reports["measurements"].as_array().unwrap();
    assert!(measured.iter().any(|it| it["observed"]["pings_answered"].as_u64() > Some(0)), "{reports}");
    assert!(shown(&format!("epoch reports {epoch} --worker {short}")).contains("revealed"));

    let payouts = ask("/api/v1/payouts", "payouts");
    assert!(is_there(&payouts, "worker", node), "{payouts:?}");
    assert!(shown("payout list").contains(short));

    let path = format!("/api/v1/pools/{pool}/batches");
    let batches = until("a batch", || Some(ask(&path, "batches")).filter(|batches| !batches.is_empty()));
    assert!(batches[0]["tx_id"].is_string(), "{batches:?}");
    assert!(shown("payout batches").contains(&batches[0]["tx_id"].as_str().unwrap()[..8]));
}

/// Gives a command of a home's account, which a block takes.
#[track_caller]
fn give(home: &Path, arguments: &[&str]) -> Value {
    answer(&run(&[arguments, &["--yes", "--json"]].concat(), &["--home", path(home)]))
}

/// Announces another node key of a home, and returns it.
#[track_caller]
fn rotate(home: &Path) -> String {
    let given = give(home, &["node", "rotate-key"]);
    assert!(given["counts_from_settlement"].as_u64().unwrap() > 1, "{given}");
    text(&given, "/command/command/action/node/rotate-key").to_owned()
}

fn path(home: &Path) -> &str {
    home.to_str().unwrap()
}

fn secret(home: &Path) -> NodeKey {
    let digits = std::fs::read_to_string(home.join("node.key")).unwrap();
    let mut seed = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut seed).unwrap();
    NodeKey::from_seed(&seed)
}

/// The ledger's word about a command that is signed with the key that was given up.
fn refused_with_the_old_key(net: &Network, thief: &Thief) {
    let key = secret(&thief.home);
    let network: NetworkId = text(&net.manifest(), "/network_id").parse().unwrap();
    let nonce = net.get(WORKER, &format!("/api/v1/accounts/{}", key.account()))["nonce"].as_u64().unwrap();
    let action = Action::Node(NodeAction::Update { gas_address: None, capacity: Capacity::default() });
    let command = Command { account: key.account(), nonce, until: UnixMillis::new(now_ms() + 60_000), action };
    let signed = key.sign_command(&network, command.clone()).into_inner();
    let signed = MultiSigned::collect(command, [(signed.signer, signed.signature)]);
    let body = json!({ "signed_command": hex::encode(encode(&signed)) }).to_string();
    let manifest = net.manifest();
    let mut nodes = manifest["nodes"].as_array().unwrap().iter();
    let api = text(nodes.find(|entry| entry["name"] == WITNESS).unwrap(), "/api").to_owned();
    let mut stream = TcpStream::connect(&api).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /api/v1/commands HTTP/1.0\r\nhost: {api}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    assert!(told.contains("is not the node key of account") && told.contains("sign with that one"), "{told}");
}

/// Somebody with a copy of the worker's key.
struct Thief {
    home: PathBuf,
    api: String,
    child: Option<Child>,
}

impl Thief {
    fn of(net: &Network) -> Self {
        let (from, home) = (net.home(WORKER), net.dir().join("thief"));
        std::fs::create_dir(&home).unwrap();
        for file in ["node.key", "config.toml", "genesis.toml"] {
            std::fs::copy(from.join(file), home.join(file)).unwrap();
        }
        std::fs::set_permissions(home.join("node.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { home, api: free_address(), child: None }
    }

    /// A node of the key that was given up follows the chain, says what it is, and is nobody to the others.
    fn runs_in_vain(mut self, net: &Network, node: &str) {
        let port = free_address().rsplit_once(':').unwrap().1.to_owned();
        let listen = format!("p2p.listen=/ip4/127.0.0.1/tcp/{port}");
        let log = std::fs::File::create(self.home.join("node.log")).unwrap();
        // The key that it has announced in vain is of no use either.
        let child = Process::new(lucid())
            .args(["run", "--home", path(&self.home), "--set", &format!("api.listen={}", self.api)])
            .args(["--set", &format!("metrics.listen={}", free_address()), "--set", &listen])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let status = until("a node that follows", || {
            let status: Value = serde_json::from_str(&http_get(&self.api, "/api/v1/status", "")?).ok()?;
            (status["sync"] == "synced" && status["alerts"] != json!([])).then_some(status)
        });
        assert_eq!((&status["node_id"], &status["key"]), (&json!(node), &json!(node)));
        assert!(status["alerts"][0].as_str().unwrap().contains("this home has another one"), "{status}");
        let peers = net.get(WITNESS, "/api/v1/peers");
        let peers = peers["peers"].as_array().unwrap();
        let account_of =
            |key: &Value| peers.iter().find(|peer| peer["key"] == *key).map(|peer| peer["account"].clone());
        assert!(account_of(&status["key"]).is_none_or(|account| account == Value::Null));
    }
}

impl Drop for Thief {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
