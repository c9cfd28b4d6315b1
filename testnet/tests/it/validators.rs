//! Validators of real processes come and go, one of them is dead all the time, and one changes its key while it runs: the chain goes on,
//! and with it the payouts.

use std::collections::BTreeSet;
use std::process::Output;

use lucid_tron_bridge::key::TronKey;
use serde_json::{Value, json};

use crate::books::accounts;
use crate::harness::until;
use crate::pools::{Stranger, World, sum};
use crate::vault_cli::{json as answer, text};

const DEAD: &str = "validator-4";
/// Rotates its key.
const ROTATES: &str = "validator-3";

/// The validators of the next block, with their keys, as a node shows them.
fn listed(world: &World) -> Option<Vec<(String, String)>> {
    let list = world.net.ask("validator-1", "/api/v1/validators")?;
    let entry = |it: &Value| (text(it, "/node").to_owned(), text(it, "/key").to_owned());
    Some(list["validators"].as_array()?.iter().map(entry).collect())
}

#[track_caller]
fn wait_for(world: &World, what: &str, members: &[&str]) {
    let wanted: BTreeSet<_> = members.iter().map(|member| (*member).to_owned()).collect();
    until(what, || {
        let found: BTreeSet<_> = listed(world)?.into_iter().map(|(node, _)| node).collect();
        (found == wanted).then_some(())
    });
}

fn height(world: &World) -> Option<u64> {
    world.net.status_number("validator-1", "height")
}

/// Waits until so many more blocks are decided.
#[track_caller]
fn blocks_pass(world: &World, n: u64) -> u64 {
    let end = until("a block", || height(world)) + n;
    until("blocks", || (height(world)? >= end).then_some(end))
}

/// The keys that have signed the certificate of a block.
fn signers(world: &World, height: u64) -> BTreeSet<String> {
    let proof = world.net.get("validator-1", &format!("/api/v1/blocks/{height}/certificate"));
    proof["signatures"].as_array().unwrap().iter().map(|it| text(it, "/key").to_owned()).collect()
}

/// A command of a validator of the network, which a block takes.
#[track_caller]
fn give(world: &World, home: &str, arguments: &[&str]) -> Value {
    answer(&world.at(home, &[&["validator"], arguments, &["--yes", "--json"]].concat()))
}

/// Approves the change that waits about a node, once the node that is asked knows of it.
#[track_caller]
fn approve(ask: impl Fn(&[&str]) -> Output, node: &str) {
    let id = until("a proposal", || {
        let list = answer(&ask(&["validator", "proposals", "--json"]));
        let found = list["proposals"].as_array()?.iter().find(|it| it["change"].to_string().contains(node))?;
        Some(text(found, "/id").to_owned())
    });
    answer(&ask(&["validator", "approve", &id, "--yes", "--json"]));
}

#[test]
fn validators_come_and_go_and_one_changes_its_key_while_another_is_dead() {
    let world = World::up(&["--validators", "4", "--workers", "2", "--epoch-length", "2s"]);
    let net = &world.net;
    let ids: Vec<_> = (1..=4).map(|i| net.node_id(&format!("validator-{i}"))).collect();
    net.kill(&[DEAD]);

    // Three more are registered, proposed with what they print of themselves, and approved of by all that live: so many are needed.
    let new: Vec<_> = (5..=7).map(|i| Stranger::start_as(net, &format!("validator-{i}"), "validator")).collect();
    new.iter().for_each(|stranger| drop(stranger.register(&[])));
    let mut members: Vec<_> = ids.iter().map(String::as_str).collect();
    for (n, stranger) in new.iter().enumerate() {
        let entry =
            world.private(&format!("{}.json", stranger.node), &text_of(stranger, &["validator", "keys", "--json"]));
        give(&world, "validator-1", &["propose", "add", "--entry", &entry]);
        for home in ["validator-2", ROTATES] {
            approve(|arguments| world.at(home, arguments), &stranger.node);
        }
        for earlier in &new[..n] {
            approve(|arguments| earlier.run(arguments), &stranger.node);
        }
        members.push(&stranger.node);
        wait_for(&world, "one more validator", &members);
    }

    // One rotates its key; both files are in its home, and nothing is started again.
    let keys = || answer(&world.at(ROTATES, &["validator", "keys", "--json"]));
    let in_force = |keys: &Value| {
        let all = keys["keys"].as_array().unwrap();
        all.iter().find(|it| it["use"] == "in-force").map(|it| text(it, "/id").to_owned())
    };
    let before = keys();
    let former = in_force(&before).unwrap();
    assert_eq!(before["keys"].as_array().unwrap().len(), 1, "{before}");
    let dry = world.at(ROTATES, &["validator", "rotate-key", "--dry-run", "--json"]);
    assert_eq!(answer(&dry)["dry_run"], json!(true));
    assert_eq!(keys(), before, "a dry run makes no key");
    // Whoever has its node key can announce one; its owner is told, and takes that back.
    give(&world, ROTATES, &["rotate-key"]);
    let alert = until("the alert", || {
        let alerts = world.net.ask(ROTATES, "/api/v1/status")?["alerts"].clone();
        alerts
            .as_array()?
            .iter()
            .find_map(|alert| alert.as_str()?.split_once("validator withdraw "))
            .map(|it| it.1.into())
    });
    let alert: String = alert;
    give(&world, ROTATES, &["withdraw", alert.split('`').next().unwrap()]);
    let taken_back = keys();
    assert!(taken_back["keys"].as_array().unwrap().iter().all(|it| it["use"]["from"].is_null()), "{taken_back}");
    let told = give(&world, ROTATES, &["rotate-key"]);
    assert!(told["counts_from_epoch"].as_u64().is_some(), "{told}");
    let waiting = keys();
    let next = waiting["keys"].as_array().unwrap().iter().find(|it| it["use"]["from"] == told["counts_from_epoch"]);
    let next = text(next.unwrap_or_else(|| panic!("{waiting}")), "/id").to_owned();
    let rotated = || listed(&world)?.contains(&(ids[2].clone(), next.clone())).then_some(());
    until("the other key", rotated);
    let after = blocks_pass(&world, 6);
    until("a vote with the other key", || {
        let newest = height(&world)?;
        (after..=newest).any(|height| signers(&world, height).contains(&next)).then_some(())
    });
    assert!((after..=height(&world).unwrap()).all(|height| !signers(&world, height).contains(&former)));
    assert_eq!(in_force(&keys()), Some(next.clone()));
    assert!(world.net.get(ROTATES, "/api/v1/status")["missing_key"].is_null());

    // It and a worker rotate their node keys, too: the same accounts, in the same processes.
    let status = |name: &str| world.net.ask(name, "/api/v1/status");
    let address = TronKey::generate().unwrap().address().to_string();
    answer(&world.at(ROTATES, &["node", "register", "--payout-address", &address, "--yes", "--json"]));
    let node_keys = [ROTATES, "worker-1"].map(|name| {
        let given = answer(&world.at(name, &["node", "rotate-key", "--yes", "--json"]));
        (name, net.pid(name), text(&given, "/command/command/action/node/rotate-key").to_owned())
    });
    for (name, pid, key) in &node_keys {
        until("the other node key", || (status(name)?["key"] == json!(key)).then_some(()));
        assert_eq!((net.pid(name), status(name).unwrap()["node_id"].clone()), (*pid, json!(net.node_id(name))));
    }
    let after = blocks_pass(&world, 2);
    until("a vote by the validator whose node key is another", || {
        let newest = height(&world)?;
        (after..=newest).any(|height| signers(&world, height).contains(&next)).then_some(())
    });

    // Four again: one is removed by five of the seven, two resign.
    give(&world, "validator-1", &["propose", "remove", &ids[1]]);
    approve(|arguments| world.at(ROTATES, arguments), &ids[1]);
    new.iter().for_each(|it| approve(|arguments| it.run(arguments), &ids[1]));
    members.retain(|node| *node != ids[1]);
    wait_for(&world, "six validators", &members);
    new[2].give(&["validator", "resign"]);
    give(&world, "validator-1", &["resign"]);
    let four = [ids[2].as_str(), &ids[3], &new[0].node, &new[1].node];
    wait_for(&world, "four validators", &four);
    blocks_pass(&world, 8);

    // Payouts have gone on: everybody has what the ledger owes.
    let World { chain, pool, .. } = &world;
    answer(&world.by_owner(&["pool", "suspend"]));
    until("the last root", || {
        let pool = world.pool("validator-1")?;
        (pool["suspended_from"].as_u64()? <= pool["settled"].as_u64()?).then_some(())
    });
    world.all_paid("validator-2");
    let owed = accounts(&net.get("validator-1", &format!("/api/v1/pools/{pool}/root")));
    let vault = text(&net.manifest(), "/tron/vault").parse().unwrap();
    let contract = chain.vault(&vault, &owed.iter().map(|account| account.id).collect::<Vec<_>>());
    assert!(owed.len() > 1, "{owed:?}");
    for account in &owed {
        assert_eq!(contract.paid_of(&account.id), Some(account.owed), "{}", account.id);
    }
    assert_eq!(contract.paid_out.get(), sum(owed.iter().map(|account| account.owed)));

    // Whoever was dead learns of all of it; every node has the same blocks and states.
    net.start_again(&[DEAD]);
    let goal = height(&world).unwrap();
    until("the dead one's blocks", || (net.status_number(DEAD, "height")? >= goal).then_some(()));
    let blocks = net.agreed_blocks();
    for stranger in &new {
        let common = until("a stranger's block", || {
            let height = stranger.get("/api/v1/status")?["height"].as_u64()?;
            (height >= goal).then_some(goal)
        });
        let theirs = stranger.get(&format!("/api/v1/blocks/{common}")).unwrap();
        let ours = &blocks[usize::try_from(common - 1).unwrap()];
        for key in ["block_hash", "state_root"] {
            assert_eq!(theirs[key], ours[key], "at height {common}");
        }
    }
    net.command(&["down"]);
    drop(new);
    world.net.end();
}

/// What a command of a stranger prints.
#[track_caller]
fn text_of(stranger: &Stranger, arguments: &[&str]) -> String {
    answer(&stranger.run(arguments)).to_string()
}
