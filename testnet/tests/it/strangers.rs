//! Nodes that join by one string and nothing else: they come in by a stamp, by an invite and by an approval, work, are paid, and leave. And
//! commands that a validator has taken over outlive its crash.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use lucid_tron_bridge::key::TronKey;
use lucid_types::join::JoinString;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Network, PATIENCE, errors, lucid, until};
use crate::join::{Join, Machine, invite};

/// A node that nobody started the network with, and where it is paid.
struct Stranger {
    machine: Machine,
    payout_address: String,
}

impl Stranger {
    fn new(net: &Network, dir: &TempDir, name: &str, place: u16) -> Self {
        let payout_address = TronKey::generate().unwrap().address().to_string();
        Self { machine: Machine::new(net, dir, name, place), payout_address }
    }

    /// Joins by a string; everything else happens by itself.
    fn join(&self, string: &JoinString) -> Join {
        self.machine.join(string, &["--payout-address", &self.payout_address])
    }

    fn run(&self, arguments: &[&str]) -> Output {
        home(&self.machine.home, arguments)
    }

    fn node(&self) -> String {
        answer(&self.run(&["status", "--json"]))["node_id"].as_str().unwrap().to_owned()
    }

    fn intends(&self) -> bool {
        self.machine.home.join("join.toml").exists()
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

/// The first epoch from this one on that was measured and is final.
fn first_measured(net: &Network, from: u64) -> Option<u64> {
    let newest = net.status_number("validator-1", "final_epoch")?;
    (from..=newest).find(|epoch| net.get("validator-1", &format!("/api/v1/epochs/{epoch}"))["stage"] == "final")
}

/// Whether what a node earned in the settlement of this epoch is paid to an address.
fn is_paid_for(net: &Network, epoch: u64, address: &str) -> bool {
    let payouts = net.get("validator-1", "/api/v1/payouts?limit=1000");
    let is_it =
        |it: &Value| it["address"] == address && it["settlement"] == epoch.div_ceil(2) && it["status"] == "paid";
    payouts["payouts"].as_array().unwrap().iter().any(is_it)
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
    let (pool, dir) = (net.pool_id(), TempDir::with_prefix("lucid-it-").unwrap());
    let stranger = |(place, name)| Stranger::new(&net, &dir, name, place);
    let [stamped, invited, asking] = [(0, "stamped"), (1, "invited"), (2, "asking")].map(stranger);
    let named = invite(&net, &["--pool", "local"]);

    // Without a terminal nobody can be asked where it is paid, and nothing is made.
    let silent = stamped.machine.output(&named, &[]);
    assert!(!silent.status.success() && errors(&silent).contains("--payout-address"), "{}", errors(&silent));
    let dry = stamped.machine.output(&named, &["--payout-address", &stamped.payout_address, "--dry-run"]);
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(said.contains("register the node, paid to") && said.contains(&pool), "{said}{}", errors(&dry));
    assert!(!stamped.machine.home.exists());

    // By work, into the pool, which is open; killed twice, before and after a validator has its command.
    let mut joining = stamped.join(&named);
    joining.step("home");
    joining.kill();
    let mut joining = stamped.join(&named);
    joining.first_of(&["inclusion", "entered"]);
    joining.kill();
    // Where it is paid has been said.
    let mut of_stamped = stamped.machine.join(&named, &[]);
    let entered = of_stamped.step("entered");
    assert!(entered["waits_for"].as_str().unwrap().contains(&stamped.payout_address), "{entered}");
    assert!(!stamped.intends());
    let again = stamped.run(&["pool", "join", &pool, "--yes"]);
    assert!(errors(&again).contains("is a member of the pool already"), "{}", errors(&again));

    // By an invite, which is used up then.
    let string = |invite: &Value| invite["string"].as_str().unwrap().parse::<JoinString>().unwrap();
    let bearer = string(&owner(&net, &["pool", "invite"]));
    let mut of_invited = invited.join(&bearer);
    of_invited.step("entered");
    assert!(!of_invited.has_seen("stamp"), "an invite needs no work");
    let mut used = asking.join(&bearer);
    let refused = used.step("refused");
    assert!(refused["problem"].as_str().unwrap().contains("the invite was for 1 nodes"), "{refused}");
    let shown = answer(&asking.run(&["status", "--json"]));
    assert_eq!((&shown["enrolment"]["step"], &shown["enrolment"]["problem"]), (&json!("refused"), &refused["problem"]));
    used.interrupt();

    // By the owner's approval, which may come while the node is away.
    owner(&net, &["pool", "update", "--join", "approval", "--yes"]);
    let mut waiting = asking.join(&named);
    let approval = waiting.step("approval");
    assert!(approval["until"].as_u64() > Some(0), "a request ends: {approval}");
    let node = asking.node();
    waiting.kill();
    let requests = owner(&net, &["pool", "requests"]);
    assert_eq!(requests["requests"][0]["node"], json!(node), "{requests}");
    owner(&net, &["pool", "approve", &node[..16], "--yes"]);
    let mut of_asking = asking.machine.join(&named, &[]);
    of_asking.step("entered");
    assert!(!of_asking.has_seen("hand-in"), "{node} has nothing more to give");

    // Each is drawn from the epoch on that it was told: the second full one after its command. It is scored in it, and paid by its settlement.
    for stranger in [&stamped, &invited, &asking] {
        let node = stranger.node();
        let row = net.get("validator-1", &format!("/api/v1/nodes/{node}"));
        assert_eq!(
            (&row["payout_address"], &row["membership"]["pool"]),
            (&json!(stranger.payout_address), &json!(pool))
        );
        let from = row["membership"]["from"].as_u64().unwrap();
        let measured = until("a measured epoch", || first_measured(&net, from));
        let scores = net.get("validator-1", &format!("/api/v1/scores?epoch={measured}"));
        let is_scored = scores["scores"].as_array().unwrap().iter().any(|score| score["worker"] == json!(node));
        assert!(is_scored, "{node} counts from {from} and is missing in {scores}");
        let first = until("credits", || first_scored(&net, &node));
        assert!((from..=measured + 2).contains(&first), "{node} counts from {from} and first earned in {first}");
        until("the payment for its first epoch", || is_paid_for(&net, first, &stranger.payout_address).then_some(()));
        let row = answer(&stranger.run(&["node", "show", "--json"]));
        assert_eq!(row["state"], "ready", "{row}");
    }

    // One leaves, is drawn no more, and gets the rest.
    let (node, left) = (stamped.node(), answer(&stamped.run(&["pool", "leave", "--yes", "--json"])));
    let until_epoch = left["counts_from_epoch"].as_u64().unwrap();
    net.node_final_through("validator-1", until_epoch + 2);
    let scores = net.get("validator-1", &format!("/api/v1/scores?epoch={until_epoch}"));
    assert!(scores["scores"].as_array().unwrap().iter().all(|score| score["worker"] != json!(node)), "{scores}");
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
    drop((of_stamped, of_invited, of_asking));
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
    let command = net.get("validator-3", &format!("/api/v1/commands/{account}/2"));
    assert_eq!(command["stage"], "included", "{command}");
    net.command(&["down"]);
    net.end();
}
