//! What cannot be right is refused with the reason and with what to do, and nothing is sent: providers that answer nonsense in the
//! middle of a command, keys that do not open, contracts that are not the vault that was meant.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::keystore::{self, SecretString};
use lucid_tron_bridge::sender::{SendOptions, Sender};
use lucid_tron_bridge::vault::{Creation, creation_code};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::NodeId;
use lucid_types::payout::VaultLimits;
use lucid_types::vault::{SignerSet, TreasurySigner};
use serde_json::{Value, json};

use super::life::{OWNER, World, somebody, trx};
use super::{json as answer, refused, run, text};
use crate::proxy::{Deed, Proxy, Request};
use crate::vault::code::{Code, variants};

/// Room for what a deployment burns.
const MAX_FEE: Sun = Sun::new(1_000_000_000);

fn hex_of(words: &str) -> String {
    hex::encode(words)
}

#[test]
fn a_provider_that_answers_nonsense_gets_nothing_to_send() {
    let world = World::deploy();
    let proxy = Proxy::start();
    proxy.pass_to(world.net.url.strip_prefix("http://").unwrap().parse().unwrap());
    let act = || {
        let key = ["--key-file", &world.owner, "--yes", "--vault", &world.vault];
        run(&[&["vault", "close"], &key[..]].concat(), &["--tron", &proxy.url, "--network", "local"])
    };
    let is_broadcast = |request: &Request| request.path.contains("broadcast");
    let n_broadcasts = || proxy.notes().iter().filter(|note| is_broadcast(&note.request)).count();
    // The estimate is the last that is asked before a transaction is made.
    for (body, told) in [
        ("<!doctype html><title>502 Bad Gateway</title>".to_owned(), "text instead of JSON"),
        (r#"{"result": {"result": tr"#.to_owned(), "unknown form"),
        (
            json!({ "result": false, "code": "OTHER_ERROR", "message": hex_of("no such contract") }).to_string(),
            "no such contract",
        ),
        (json!({ "result": { "code": "OTHER_ERROR", "message": hex_of("out of time") } }).to_string(), "out of time"),
        (json!({ "Error": "class java.lang.NullPointerException : null" }).to_string(), "NullPointerException"),
        ("this API is closed because this node is a lite fullnode".to_owned(), "lite fullnode"),
    ] {
        proxy.rule(move |request| {
            let is_estimate = request.path.ends_with("/triggerconstantcontract") && is_close(request);
            if is_estimate { Deed::Forge(body.clone()) } else { Deed::Pass }
        });
        refused(&act(), &[told, &proxy.url]);
    }
    assert_eq!(n_broadcasts(), 0);
    // What the network refuses is told in its words, and not tried under another guise.
    for (code, words) in [("CONTRACT_VALIDATE_ERROR", "account does not exist"), ("SIGERROR", "signature is wrong")] {
        let before = n_broadcasts();
        let body = json!({ "result": false, "code": code, "message": hex_of(words) }).to_string();
        proxy.rule(move |request| if is_broadcast(request) { Deed::Forge(body.clone()) } else { Deed::Pass });
        refused(&act(), &[code, words]);
        assert_eq!(n_broadcasts(), before + 1);
    }
    assert_eq!(world.show()["close_from"], Value::Null);
    // Through an honest one it works.
    proxy.rule(|_| Deed::Pass);
    assert!(act().status.success());
    assert_ne!(world.show()["close_from"], Value::Null);
}

/// Whether the owner's closing is estimated.
fn is_close(request: &Request) -> bool {
    let data = request.body["data"].as_str().unwrap_or_default();
    data.starts_with(&hex::encode(lucid_tron_types::abi::selector("close()")))
}

#[test]
fn a_network_that_is_not_the_one_meant_is_refused() {
    let world = World::deploy();
    let before = trx(&world.net, world.net.address(OWNER));
    for network in ["mainnet", "nile", "shasta"] {
        let there = ["--tron", &world.net.url, "--network", network];
        let act = run(&["vault", "close", "--key-file", &world.owner, "--yes", "--vault", &world.vault], &there);
        refused(&act, &[&format!("no TRON provider can be used for {network}"), "serves another network"]);
    }
    assert_eq!(trx(&world.net, world.net.address(OWNER)), before, "nothing was sent");
}

#[test]
fn a_keystore_opens_with_its_passphrase_and_in_private_only() {
    let world = World::deploy();
    let key = TronKey::load(world.owner.as_ref()).unwrap();
    let path = world.net.dir.path().join("owner.age");
    keystore::create(&path, &key, SecretString::from("correct horse")).unwrap();
    let store = path.to_str().unwrap();
    let right = world.net.private("right", "correct horse\n");
    let wrong = world.net.private("wrong", "correct hors\n");
    let close = |passphrase: &str, more: &str| {
        world.vault(&["vault", "close", "--key-file", store, "--passphrase-file", passphrase, more])
    };
    let told = refused(&close(&wrong, "--yes"), &["owner.age", "the passphrase does not open the keystore"]);
    assert!(!told.contains("correct"), "{told}");
    let mode = |file: &str, mode| std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
    mode(&right, 0o644);
    refused(&close(&right, "--yes"), &["right", "chmod 600"]);
    mode(&right, 0o600);
    mode(store, 0o640);
    refused(&close(&right, "--yes"), &["owner.age", "chmod 600"]);
    mode(store, 0o600);
    assert!(close(&right, "--dry-run").status.success());
    assert_eq!(world.show()["close_from"], Value::Null, "nothing was sent");
}

#[test]
fn contracts_that_are_not_the_vault_meant_are_named() {
    let world = World::deploy();
    let (net, owner) = (&world.net, TronKey::load(world.owner.as_ref()).unwrap());
    // One that answers every question like a vault, and forgets what it paid.
    let member =
        |(key, _): &(TronKey, String)| TreasurySigner { node: NodeId::from_bytes([0; 32]), key_address: key.address() };
    let signers = SignerSet { era: 1, threshold: 2, members: world.signers.iter().map(member).collect() };
    let code = creation_code(&Creation {
        token: net.usdt.parse().unwrap(),
        owner: owner.address(),
        signers: &signers,
        limits: VaultLimits { cap: MicroUsdt::new(500_000_000), push_fee: MicroUsdt::new(10_000) },
        period: 86_400,
        delay: 120,
        previous: None,
    });
    let arguments = code.strip_prefix(Code::genuine().0.as_slice()).unwrap();
    let forgetful = variants().into_iter().find(|variant| variant.name == "forgets what it paid").unwrap();
    let code = [forgetful.code.0.as_slice(), arguments].concat();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let foreign = runtime.block_on(async {
        let client = world.client();
        let sender = Sender::new(&client, &owner);
        let plan = sender.plan_deploy("PayoutVault", code, &SendOptions::new(MAX_FEE)).await.unwrap();
        sender.send(&plan, std::time::Duration::from_secs(30)).await.unwrap();
        plan.deploys.unwrap().to_string()
    });
    let holder = net.key_file(0);
    let balances = || [trx(net, net.address(0)), trx(net, net.address(OWNER))];
    let before = balances();
    let claim = ["payout", "claim", "--account", &"01".repeat(32), "--key-file", &holder, "--yes"];
    let acts: [&[&str]; 4] = [
        &["vault", "fund", "--amount", "1", "--key-file", &holder, "--yes"],
        &["vault", "close", "--key-file", &world.owner, "--yes"],
        &["vault", "withdraw", "ask", "--to", net.address(3), "--amount", "1", "--key-file", &world.owner, "--yes"],
        &claim,
    ];
    for act in acts {
        let output = net.run(&[act, &["--vault", &foreign]].concat());
        refused(&output, &["is not the payout vault's of this version", "nothing is sent there"]);
    }
    assert_eq!(balances(), before, "nothing was sent");

    let addresses: Vec<_> = world.signers.iter().map(|(key, _)| key.address().to_string()).collect();
    let verify = |vault: &str, token: &str, signers: &[&str]| {
        let mut arguments = vec!["vault", "verify", "--json", "--settlement", "60s", "--threshold", "2"];
        arguments.extend(["--vault", vault, "--token", token, "--owner", net.address(OWNER)]);
        arguments.extend(signers.iter().flat_map(|signer| ["--signer", signer]));
        net.run(&arguments)
    };
    let signers: Vec<_> = addresses.iter().map(String::as_str).collect();
    assert_eq!(answer(&verify(&world.vault, &net.usdt, &signers))["is_ok"], true);
    assert_eq!(failed(&verify(&foreign, &net.usdt, &signers)), ["code"]);
    assert_eq!(failed(&verify(&world.vault, &somebody(7).to_string(), &signers)), ["token"]);
    let stranger = somebody(8).to_string();
    assert_eq!(failed(&verify(&world.vault, &net.usdt, &[signers[0], signers[1], &stranger])), ["signer"]);
    assert_eq!(failed(&verify(&world.vault, &net.usdt, &[signers[1], signers[0], signers[2]])), ["signer", "signer"]);
    assert_eq!(failed(&verify(&world.vault, &net.usdt, &signers[..2])), ["no other signers"]);
}

/// The checks that failed, each of which says what to do.
#[track_caller]
fn failed(output: &Output) -> Vec<String> {
    refused(output, &["checks failed"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = said["checks"].as_array().unwrap().iter().filter(|check| check["outcome"] == "failed");
    checks
        .map(|check| {
            assert!(!text(check, "/todo").is_empty(), "{check}");
            text(check, "/check").to_owned()
        })
        .collect()
}
