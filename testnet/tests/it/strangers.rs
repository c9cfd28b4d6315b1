//! Nodes that the genesis does not know: they register by a stamp, by an invite and by an approval, work, are paid, and leave. And
//! commands that a validator has taken over outlive its crash.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use lucid_tron_bridge::key::TronKey;
use serde_json::{Value, json};

use crate::harness::{Network, PATIENCE, errors, http_get, lucid, until};

/// A node that nobody started the network with.
struct Stranger {
    child: Option<Child>,
    home: PathBuf,
    api: String,
    node: String,
    payout_address: String,
}

impl Stranger {
    /// Makes a home beside the network's and runs the node, which follows the chain.
    fn start(net: &Network, name: &str) -> Self {
        let home = net.dir().join(name);
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (api, metrics, port) = (free(), free(), free().rsplit_once(':').unwrap().1.to_owned());
        let manifest = net.manifest();
        let first = &manifest["nodes"][0];
        let bootstrap =
            format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", net.base_port.unwrap() + 10, first["peer_id"].as_str().unwrap());
        let genesis = net.dir().join("genesis.toml");
        let made = Command::new(lucid())
            .arg("--home")
            .arg(&home)
            .args(["init", "--role", "worker", "--local", "--json", "--bootstrap", &bootstrap, "--api", &api])
            .args(["--metrics", &metrics, "--listen", &format!("/ip4/127.0.0.1/tcp/{port}"), "--genesis"])
            .arg(genesis)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", errors(&made));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let log = std::fs::File::create(home.join("node.log")).unwrap();
        let child = Command::new(lucid())
            .arg("--home")
            .arg(&home)
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let payout_address = TronKey::generate().unwrap().address().to_string();
        let node = made["node_id"].as_str().unwrap().to_owned();
        let stranger = Self { child: Some(child), home, api, node, payout_address };
        until("the stranger follows", || {
            let status = stranger.get("/api/v1/status")?;
            (status["sync"] == "synced" && status["height"].as_u64()? > 0).then_some(())
        });
        stranger
    }

    fn get(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&http_get(&self.api, path, "")?).ok()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        home(&self.home, arguments)
    }

    /// A command of the node, which a block takes.
    #[track_caller]
    fn give(&self, arguments: &[&str]) -> Value {
        answer(&self.run(&[arguments, &["--yes", "--json"]].concat()))
    }

    fn register(&self, more: &[&str]) -> Value {
        self.give(&[&["node", "register", "--payout-address", &self.payout_address], more].concat())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `lucid` in a home.
fn home(home: &Path, arguments: &[&str]) -> Output {
    Command::new(lucid()).arg("--home").arg(home).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{}", errors(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the pool's owner does; its home asks the first node.
#[track_caller]
fn owner(net: &Network, arguments: &[&str]) -> Value {
    answer(&home(&net.dir().join("owner"), &[arguments, &["--json"]].concat()))
}

/// The first epoch for which a node has a score, of those that are final.
fn first_scored(net: &Network, node: &str) -> Option<u64> {
    let newest = net.status_number("validator-1", "final_epoch")?;
    (1..=newest).find(|epoch| {
        let scores = net.get("validator-1", &format!("/api/v1/scores?epoch={epoch}"));
        scores["scores"].as_array().unwrap().iter().any(|score| score["worker"] == node && score["credits"] != 0)
    })
}

/// What has been paid to an address by requests that are closed.
fn paid(net: &Network, address: &str) -> u64 {
    let payouts = net.get("validator-1", "/api/v1/payouts?limit=1000");
    let to = payouts["payouts"].as_array().unwrap().iter().filter(|payout| payout["address"] == address);
    to.filter(|payout| payout["status"] == "paid").map(|it| it["amount_micro_usdt"].as_u64().unwrap()).sum()
}

#[test]
fn strangers_come_in_by_every_way_work_are_paid_and_leave() {
    let mut net = Network::up(&["--validators", "3", "--workers", "2", "--epoch-length", "3s"]);
    net.ready();
    net.final_through(1);
    let [stamped, invited, asking] = ["stamped", "invited", "asking"].map(|name| Stranger::start(&net, name));
    let pool = net.pool_id();

    // By work, in two steps: into the network, then into the pool, which is open.
    let dry = stamped.run(&["node", "register", "--payout-address", &stamped.payout_address, "--dry-run"]);
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(dry.status.success() && said.contains("registers the account"), "{said}{}", errors(&dry));
    assert!(stamped.get(&format!("/api/v1/nodes/{}", stamped.node)).is_none(), "a dry run does nothing");
    let registered = stamped.register(&[]);
    assert!(registered["height"].as_u64() > Some(0) && registered["counts_from_epoch"].is_null(), "{registered}");
    let shown = answer(&stamped.run(&["node", "show", "--json"]));
    assert_eq!((&shown["payout_address"], &shown["membership"]), (&json!(stamped.payout_address), &Value::Null));
    let joined = stamped.give(&["pool", "join", &pool]);
    let again = stamped.run(&["pool", "join", &pool, "--yes"]);
    assert!(errors(&again).contains("is a member of the pool already"), "{}", errors(&again));

    // By an invite, at once.
    let invite = owner(&net, &["pool", "invite"]);
    let came = invited.register(&["--invite", invite["string"].as_str().unwrap()]);
    let used = asking.run(&[
        "node",
        "register",
        "--payout-address",
        &asking.payout_address,
        "--invite",
        invite["string"].as_str().unwrap(),
        "--yes",
    ]);
    assert!(errors(&used).contains("the invite was for 1 nodes"), "{}", errors(&used));

    // By the owner's approval.
    owner(&net, &["pool", "update", "--join", "approval", "--yes"]);
    let asked = asking.register(&["--pool", &pool]);
    assert!(asked["counts_from_epoch"].is_null(), "a request is not an entry: {asked}");
    let requests = owner(&net, &["pool", "requests"]);
    assert_eq!(requests["requests"][0]["node"], json!(asking.node), "{requests}");
    let approved = owner(&net, &["pool", "approve", &asking.node[..16], "--yes"]);

    // Each is drawn from the second epoch after the one of the block, and scored, and paid in the end.
    for (stranger, entered) in [(&stamped, &joined), (&invited, &came), (&asking, &approved)] {
        let from = entered["counts_from_epoch"].as_u64().unwrap();
        let node = &stranger.node;
        let row = net.get("validator-1", &format!("/api/v1/nodes/{node}"));
        assert_eq!(row["membership"], json!({ "pool": pool, "from": from, "until": null }));
        let first = until("a score", || first_scored(&net, node));
        assert!((from..=from + 2).contains(&first), "{node} counts from {from} and was first scored in {first}");
    }
    for stranger in [&stamped, &invited, &asking] {
        until("a payment", || (paid(&net, &stranger.payout_address) > 0).then_some(()));
        let row = answer(&stranger.run(&["node", "show", "--json"]));
        assert_eq!(row["state"], "ready", "{row}");
    }

    // One leaves, is drawn no more, and gets the rest.
    let left = stamped.give(&["pool", "leave"]);
    let until_epoch = left["counts_from_epoch"].as_u64().unwrap();
    net.node_final_through("validator-1", until_epoch + 2);
    let scores = net.get("validator-1", &format!("/api/v1/scores?epoch={until_epoch}"));
    assert!(
        scores["scores"].as_array().unwrap().iter().all(|score| score["worker"] != json!(stamped.node)),
        "{scores}"
    );
    let owed = || {
        let root = net.get("validator-1", &format!("/api/v1/pools/{pool}/root"));
        let accounts = root["accounts"].as_array().unwrap().clone();
        let of = accounts.into_iter().find(|account| account["to"] == json!(stamped.payout_address)).unwrap();
        of["owed_micro_usdt"].as_u64().unwrap()
    };
    until("the settlement that it left in", || {
        let settled = net.get("validator-1", &format!("/api/v1/pools/{pool}"))["settled"].as_u64()?;
        (settled * 2 >= until_epoch).then_some(())
    });
    let rest = owed();
    until("the rest", || (paid(&net, &stamped.payout_address) == rest).then_some(()));
    drop((stamped, invited, asking));
    net.command(&["down"]);
    net.end();
}

/// A command that a validator says to hold is in a block in the end, though the validator was killed the moment it had said so.
#[test]
fn what_a_validator_has_taken_over_outlives_its_crash() {
    let mut net = Network::up(&["--validators", "4", "--workers", "1", "--epoch-length", "3s"]);
    net.ready();
    net.final_through(1);
    let pool = net.pool_id();
    // Nobody else can put it into a block meanwhile: without a quorum there is none.
    net.kill(&["validator-2", "validator-3", "validator-4"]);
    let worker = net.node_id("worker-1");
    let taken = owner(&net, &["pool", "hold", &worker, "--yes", "--no-wait"]);
    assert_eq!(taken["durable"], json!(net.node_id("validator-1")), "{taken}");
    net.kill(&["validator-1"]);
    net.start_again(&["validator-1", "validator-2", "validator-3", "validator-4"]);
    let begun = Instant::now();
    until("the hold", || {
        let view = net.ask("validator-2", &format!("/api/v1/pools/{pool}"))?;
        (view["holds"][0]["node"] == json!(worker)).then_some(())
    });
    assert!(begun.elapsed() < PATIENCE);
    let account = owner(&net, &["pool", "show"])["owner"].as_str().unwrap().to_owned();
    let command = net.get("validator-3", &format!("/api/v1/commands/{account}/0"));
    assert_eq!(command["stage"], "included", "{command}");
    net.command(&["down"]);
    net.end();
}
