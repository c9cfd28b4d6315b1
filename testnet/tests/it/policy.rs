//! Validators of real processes change the network's policy while it runs: what waits is refused with the reason, and scores are made by the policy of
//! their epoch.

use lucid_types::policy::{Policy, ScoreWeights};
use serde_json::{Value, json};

use crate::harness::{errors, until};
use crate::pools::{Stranger, World};
use crate::vault_cli::{json as answer, text};

/// Old stamps are worth as many bits once in a thousand times.
const BITS: u8 = 18;

/// What `lucid network policy` says.
fn policy(world: &World, home: &str, more: &[&str]) -> Value {
    answer(&world.at(home, &[&["network", "policy", "--json"], more].concat()))
}

fn parsed(policy: &Value) -> Policy {
    serde_json::from_value(policy.clone()).unwrap()
}

/// A validator's command, which a block takes.
#[track_caller]
fn give(world: &World, home: &str, arguments: &[&str]) {
    answer(&world.at(home, &[&["validator"], arguments, &["--yes", "--json"]].concat()));
}

/// Recomputes the scores of an epoch from their components.
#[track_caller]
fn are_weighted(world: &World, epoch: u64, weights: &ScoreWeights) {
    let scores = world.net.get("validator-2", &format!("/api/v1/scores?epoch={epoch}"));
    let scores = scores["scores"].as_array().unwrap();
    assert!(!scores.is_empty(), "epoch {epoch} was not measured");
    let Value::Object(weights) = serde_json::to_value(weights).unwrap() else { unreachable!() };
    for row in scores {
        let product = |(factor, weight): (&String, &Value)| {
            weight.as_u64().unwrap() * row["components"][factor].as_u64().unwrap_or_else(|| panic!("{row}"))
        };
        let expected = weights.iter().map(product).sum::<u64>() / 1_000_000;
        assert_eq!(row["score_ppm"].as_u64(), Some(expected), "epoch {epoch}: {row}");
    }
}

#[test]
fn three_of_four_validators_change_the_policy_while_the_network_runs() {
    let world = World::up(&["--validators", "4", "--workers", "2", "--epoch-length", "3s"]);
    let net = &world.net;
    let stranger = Stranger::start_as(net, "stranger", "worker");
    let before = policy(&world, "validator-1", &[]);
    assert_eq!((&before["from"], &before["next"], &before["policy"]), (&json!(1), &json!([]), &before["genesis"]));

    // What is fixed, and what there is not, is refused with what there is; a dry run changes nothing.
    for (key, told) in [("epoch_ms=2000", "epoch_ms is the genesis' for ever"), ("luck=1", "a policy has no luck")] {
        let refused = errors(&world.at("validator-1", &["validator", "propose", "policy", key, "--yes"]));
        assert!(refused.contains(told) && refused.contains("stamp_bits, storage_"), "{refused}");
    }
    let bits = format!("stamp_bits={BITS}");
    let set = [bits.as_str(), "weights.trust=250000", "weights.session_time=50000", "pings=6"];
    let proposal = [&["validator", "propose", "policy"], &set[..]].concat();
    let dry = world.at("validator-1", &[&proposal[..], &["--dry-run"]].concat());
    let shown = String::from_utf8_lossy(&dry.stdout).into_owned() + &errors(&dry);
    for line in ["stamp_bits 8 -> 18", "weights.trust 50000 -> 250000", "pings 4 -> 6"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let list = || answer(&world.at("validator-2", &["validator", "proposals", "--json"]))["proposals"].clone();
    assert_eq!(list(), json!([]));

    // Two of four are no two thirds.
    give(&world, "validator-1", &proposal[1..]);
    let id = until("the proposal", || Some(text(list().as_array()?.first()?, "/id").to_owned()));
    let shown = world.at("validator-2", &["validator", "proposals"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("stamp_bits 8 -> 18"), "{shown:?}");
    give(&world, "validator-2", &["approve", &id]);
    assert_eq!(list()[0]["approvals"].as_array().unwrap().len(), 2);
    assert_eq!(policy(&world, "validator-2", &[])["next"], json!([]));
    give(&world, "validator-3", &["approve", &id]);
    let decided = until("a policy to come", || {
        let policy = policy(&world, "validator-4", &[]);
        (!policy["next"].as_array()?.is_empty()).then_some(policy)
    });
    let from = decided["next"][0]["from"].as_u64().unwrap();
    let epoch = decided["epoch"].as_u64().unwrap();
    assert!((epoch + 1..=epoch + 2).contains(&from), "{decided}");
    let next = parsed(&decided["next"][0]["policy"]);
    let genesis = parsed(&before["genesis"]);
    let weights =
        ScoreWeights { trust: next.weights.trust, session_time: next.weights.session_time, ..genesis.weights };
    assert_eq!(next, Policy { stamp_bits: BITS, pings: 6, weights, ..genesis });
    assert_eq!((weights.trust.get(), weights.session_time.get()), (250_000, 50_000));
    assert_eq!(list(), json!([]));

    // A stamp of the policy before is refused as soon as the next one is in force, with what is needed; another one is made.
    let file = net.dir().join("register.json").to_str().unwrap().to_owned();
    let address = stranger.payout_address.clone();
    let register = ["node", "register", "--payout-address", &address, "--file", &file, "--yes", "--json"];
    let made = stranger.run(&register);
    assert!(made.status.success(), "{}", errors(&made));
    let made_in = stranger.get("/api/v1/policy").unwrap()["epoch"].as_u64().unwrap();
    assert!(made_in < from, "the policy is in force already: made in {made_in}, from {from}");
    until("the next policy in force", || (stranger.get("/api/v1/policy")?["from"].as_u64()? == from).then_some(()));
    let refused = stranger.run(&["command", "submit", "--file", &file, "--yes"]);
    let told = errors(&refused);
    assert!(!refused.status.success() && told.contains(&format!("{BITS} are needed now")), "{told}");
    stranger.register(&[]);

    // Scores are by the policy of their epoch; epochs go on, and payouts with them.
    net.node_final_through("validator-2", from + 2);
    are_weighted(&world, from - 1, &genesis.weights);
    are_weighted(&world, from, &weights);
    are_weighted(&world, from + 1, &weights);
    let reports = net.get("validator-2", &format!("/api/v1/epochs/{from}/reports"));
    assert!(reports.to_string().contains("\"pings_sent\":6"), "six pings are sent: {reports}");
    for home in net.names() {
        let now = policy(&world, &home, &[]);
        assert_eq!((&now["from"], &now["next"], parsed(&now["policy"])), (&json!(from), &json!([]), next.clone()));
        let old = policy(&world, &home, &["--epoch", &(from - 1).to_string()]);
        assert_eq!((parsed(&old["policy"]), &old["next"][0]["from"]), (genesis.clone(), &json!(from)));
    }
    let shown = world.at("worker-1", &["network", "policy"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("weights.session_time 250000 -> 50000"), "{shown}");
    assert!(net.agreed_blocks().len() > 10);

    // A validator that was away joins from the others' blocks and finds the same.
    net.kill(&["validator-4"]);
    net.start_again(&["validator-4"]);
    net.node_final_through("validator-4", from + 4);
    assert_eq!(parsed(&policy(&world, "validator-4", &[])["policy"]), next);
    net.agreed_blocks();
}
