//! An owner's whole life with a vault, and a worker's claim, on a local TRON network without any node.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_tron_bridge::client::{Client, ClientConfig};
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::sender::{SendOptions, Sender};
use lucid_tron_bridge::vault::{VaultDomain, post_root};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{PayoutAddress, PoolId};
use lucid_types::payout::SettlementRoot;
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutTree};
use serde_json::{Value, json};

use super::{Devnet, errors, json as answer, refused, text};

pub(super) const OWNER: usize = 1;
const GAS: usize = 2;
/// Seconds of the owner's notice: two settlements of a minute.
const DELAY: u64 = 120;

/// A vault with three signers, two of which must sign.
pub(super) struct World {
    pub(super) net: Devnet,
    pub(super) owner: String,
    gas: String,
    pub(super) signers: Vec<(TronKey, String)>,
    pub(super) vault: String,
}

impl World {
    pub(super) fn deploy() -> Self {
        let net = Devnet::start();
        let signers: Vec<_> = (0..3).map(|n| net.new_key(&format!("signer-{n}.key"))).collect();
        let (owner, gas) = (net.key_file(OWNER), net.key_file(GAS));
        let mut world = Self { net, owner, gas, signers, vault: String::new() };
        let deployed = answer(&world.net.run(&world.deploy_arguments(&["--yes", "--json"])));
        assert_eq!(deployed["dry_run"], false);
        world.vault = text(&deployed, "/plan/deploys").to_owned();
        world
    }

    fn deploy_arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["vault", "deploy", "--key-file", &self.owner, "--token", &self.net.usdt];
        let addresses = self.signers.iter().map(|(key, _)| key.address().to_string().leak() as &str);
        arguments.extend(addresses.flat_map(|address| ["--signer", address]));
        arguments.extend(["--threshold", "2", "--cap", "500", "--push-fee", "0.01", "--settlement", "60s"]);
        arguments.extend(more);
        arguments
    }

    /// A command about the vault.
    pub(super) fn vault(&self, arguments: &[&str]) -> std::process::Output {
        self.net.run(&[arguments, &["--vault", &self.vault]].concat())
    }

    /// A write that is sent, by the owner.
    fn by_owner(&self, arguments: &[&str]) -> std::process::Output {
        self.vault(&[arguments, &["--key-file", &self.owner, "--yes", "--json"]].concat())
    }

    pub(super) fn show(&self) -> Value {
        answer(&self.vault(&["vault", "show", "--json"]))["vault"].take()
    }

    pub(super) fn client(&self) -> Client {
        Client::new(ClientConfig::new(&self.net.url, None)).unwrap()
    }

    /// Posts a root over these accounts and returns a file with its ledger.
    pub(super) fn post(&self, settlement: u64, accounts: &[OwedAccount]) -> String {
        let tree = PayoutTree::new(accounts).unwrap();
        let total = MicroUsdt::sum(accounts.iter().map(|account| account.owed)).unwrap();
        let vault: PayoutAddress = self.vault.parse().unwrap();
        let root = SettlementRoot {
            pool: PoolId::from_bytes([4; 32]),
            settlement,
            vault,
            era: 1,
            root: tree.root(),
            total: total.saturating_add(MicroUsdt::new(1_000_000)),
            fees: MicroUsdt::new(1_000_000),
            promised: total,
            leader: None,
            until: 0,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = self.client();
            let domain = VaultDomain::new(&client.genesis_block_id().await.unwrap(), vault);
            let signed =
                self.signers.iter().take(2).map(|(key, _)| (key.address(), key.sign_root(&domain, &root).unwrap()));
            let call = post_root(&root, &signed.collect::<BTreeMap<_, _>>());
            let gas = TronKey::load(self.gas.as_ref()).unwrap();
            let options = SendOptions::new(Sun::new(1_000_000_000));
            Sender::new(&client, &gas).call(vault, call, &options, Duration::from_secs(30)).await.unwrap();
        });
        let leaf =
            |account: &OwedAccount| json!({ "id": account.id, "to": account.to, "owed_micro_usdt": account.owed });
        let ledger = json!({ "settlement": settlement, "accounts": accounts.iter().map(leaf).collect::<Vec<_>>() });
        self.net.private(&format!("ledger-{settlement}.json"), &ledger.to_string())
    }

    /// What an address holds.
    fn usdt_of(&self, address: &str) -> u64 {
        let balance = answer(&self.net.run(&["tron", "balance", address, "--token", &self.net.usdt, "--json"]));
        balance["balance_micro_usdt"].as_u64().unwrap()
    }
}

pub(super) fn account(n: u8, to: PayoutAddress, usdt: u64) -> OwedAccount {
    OwedAccount { id: AccountId::from_bytes([n; 32]), to, owed: MicroUsdt::new(usdt * 1_000_000) }
}

pub(super) fn somebody(n: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([n; 20])
}

pub(super) fn trx(net: &Devnet, address: &str) -> u64 {
    answer(&net.run(&["tron", "balance", address, "--json"]))["balance_sun"].as_u64().unwrap()
}

#[test]
fn deploying_says_what_it_does_and_does_it_when_told_so() {
    let net = Devnet::start();
    let (owner, usdt) = (net.key_file(OWNER), net.usdt.clone());
    let signer = |n: u8| somebody(n).to_string();
    let with = |threshold: &str, signers: &[u8], more: &[&str]| {
        let signers: Vec<String> = signers.iter().map(|n| signer(*n)).collect();
        let mut arguments = vec!["vault", "deploy", "--key-file", &owner, "--token", &usdt, "--cap", "500"];
        arguments.extend(signers.iter().flat_map(|signer| ["--signer", signer]));
        arguments.extend(["--threshold", threshold]);
        arguments.extend(more);
        net.run(&arguments)
    };
    let plan = answer(&with("2", &[1, 2, 3], &["--dry-run", "--json"]));
    assert_eq!((&plan["dry_run"], &plan["receipt"]), (&json!(true), &Value::Null));
    assert!(plan["plan"]["energy"].as_u64().unwrap() > 2_000_000, "{plan}");
    assert!(plan["plan"]["cost_sun"].as_u64().unwrap() > 200_000_000);
    assert_eq!(plan["delay_s"], 2 * 86_400, "two settlements of a day on a local network");
    assert_eq!(plan["warnings"], json!([]));
    // With fewer signers than 2k - 1, the owner and k - 1 of them can stop the vault for good.
    let plan = answer(&with("3", &[1, 2, 3, 4], &["--dry-run", "--json"]));
    assert!(text(&plan, "/warnings/0").contains("pause the vault for ever"), "{plan}");

    // Any contract: USDT itself would be told apart by its address.
    let contract = answer(&with("2", &[1, 2, 3], &["--yes", "--json"]));
    let contract = text(&contract, "/plan/deploys").to_owned();
    let before = trx(&net, net.address(OWNER));
    for token in [&contract, &signer(4)] {
        let deploy =
            ["vault", "deploy", "--key-file", &owner, "--token", token, "--cap", "5", "--threshold", "1", "--yes"];
        refused(
            &net.run(&[&deploy[..], &["--signer", &signer(1)]].concat()),
            &[token, "does not answer like USDT does"],
        );
    }
    for (threshold, signers, more, told) in [
        ("1", &[1, 2, 3][..], &["--yes"][..], &["threshold 1 of 3"][..]),
        ("2", &[1, 1, 3], &["--yes"], &["listed twice"]),
        ("2", &[0, 1, 2], &["--yes"], &["zero address"]),
        ("2", &[1, 2, 3], &["--yes", "--delay", "47h"], &["owner's notice must be at least 2 d"]),
        ("2", &[1, 2, 3], &["--yes", "--push-fee", "500"], &["--push-fee must be less than --cap"]),
        ("2", &[1, 2, 3], &["--yes", "--max-trx", "100"], &["raise --max-trx", "Nothing was sent"]),
        ("2", &[1, 2, 3], &["--yes", "--previous", net.address(0)], &["cannot be read as a vault"]),
        ("3", &[1, 2, 3], &["--yes", "--signer", &contract], &[&contract, "has no key and can never sign"]),
        // Nobody is at a terminal.
        ("2", &[1, 2, 3], &[], &["--yes", "nothing was done"]),
    ] {
        refused(&with(threshold, signers, more), told);
    }
    assert_eq!(trx(&net, net.address(OWNER)), before, "nothing was sent");
    let deployed = with("2", &[1, 2, 3], &["--yes"]);
    let said = String::from_utf8_lossy(&deployed.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(deployed.status.success(), "{said}{}", errors(&deployed));
    for part in ["must sign 2 of 3", "[pool.vault]", "key_address = ", "lucid vault verify", "fee limit"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(trx(&net, net.address(OWNER)) < before);
}

#[test]
fn an_owners_whole_life() {
    let world = World::deploy();
    let World { net, vault, .. } = &world;

    // Verify: what it must be is on the command line.
    let addresses: Vec<String> = world.signers.iter().map(|(key, _)| key.address().to_string()).collect();
    let mut verify = vec!["vault", "verify", "--json", "--settlement", "60s", "--token", &net.usdt];
    verify.extend(["--owner", net.address(OWNER)]);
    verify.extend(addresses.iter().flat_map(|address| ["--signer", address.as_str()]));
    let verified = answer(&world.vault(&[verify.as_slice(), &["--threshold", "2"]].concat()));
    assert_eq!(verified["is_ok"], true, "{verified}");
    let wrong = world.vault(&[verify.as_slice(), &["--threshold", "3"]].concat());
    refused(&wrong, &["checks failed"]);
    let wrong: Value = serde_json::from_slice(&wrong.stdout).unwrap();
    let failed: Vec<_> =
        wrong["checks"].as_array().unwrap().iter().filter(|check| check["outcome"] == "failed").collect();
    assert_eq!(failed.iter().map(|check| text(check, "/check")).collect::<Vec<_>>(), ["signatures needed"]);
    // A provider that does not answer is named, and the next one asked.
    let (dead, other) = ("http://127.0.0.1:9", "http://127.0.0.1:10");
    let shown = super::run(
        &["vault", "show", "--vault", vault, "--json", "--network", "local"],
        &["--tron", &format!("{dead}|{}", net.url), "--tron", other],
    );
    assert!(errors(&shown).contains("is of no use"), "{}", errors(&shown));
    assert_eq!(answer(&shown)["vault"]["threshold"], 2);
    // A token is no vault.
    refused(&net.run(&["vault", "show", "--vault", &net.usdt]), &["no payout vault"]);

    // Fund, from the account that has all USDT.
    let holder = net.key_file(0);
    let fund = |amount: &str, key: &str| {
        world.vault(&["vault", "fund", "--amount", amount, "--key-file", key, "--yes", "--json"])
    };
    refused(&fund("5", &world.owner), &["has 0.000000 USDT"]);
    let funded = answer(&fund("1000", &holder));
    assert_eq!(funded["receipt"]["is_success"], true);
    assert_eq!(world.show()["funds_micro_usdt"], 1_000_000_000);

    // The owner's pause needs a notice, and ends at once.
    refused(
        &world.vault(&["vault", "pause", "--key-file", &world.gas, "--yes"]),
        &["neither the vault's owner nor one of its signers"],
    );
    refused(&world.by_owner(&["vault", "unpause"]), &["not paused"]);
    let paused = answer(&world.by_owner(&["vault", "pause"]));
    assert_eq!(text(&paused, "/receipt/events/0/event"), "OwnerPaused");
    refused(&world.by_owner(&["vault", "pause"]), &["announced already"]);
    refused(&world.by_owner(&["vault", "close"]), &["End the pause first"]);
    assert_eq!(world.show()["is_paused"], false);
    net.travel(DELAY + 1);
    assert_eq!(world.show()["is_paused"], true);
    answer(&world.by_owner(&["vault", "unpause"]));
    assert_eq!(world.show()["is_paused"], false);

    // Closing: until it takes effect everything goes on.
    refused(&world.vault(&["vault", "close", "--key-file", &world.gas, "--yes"]), &["only the vault's owner"]);
    answer(&world.by_owner(&["vault", "close"]));
    refused(&world.by_owner(&["vault", "close"]), &["announced already"]);
    assert_eq!((&world.show()["is_closed"], &world.show()["is_paused"]), (&json!(false), &json!(false)));
    net.travel(DELAY + 1);
    assert_eq!(world.show()["is_closed"], true);
    refused(&world.by_owner(&["vault", "pause"]), &["closed for good"]);
    refused(&fund("5", &holder), &["closed for good since", "Fund its successor", "nothing was sent"]);
    assert_eq!(world.show()["funds_micro_usdt"], 1_000_000_000);

    // Withdrawing what is left.
    let owner = net.address(OWNER);
    refused(&world.by_owner(&["vault", "withdraw", "now"]), &["no withdrawal is announced"]);
    for to in [vault.as_str(), &net.usdt, &somebody(0).to_string()] {
        refused(
            &world.by_owner(&["vault", "withdraw", "ask", "--to", to, "--amount", "1"]),
            &["give an account of your own"],
        );
    }
    answer(&world.by_owner(&["vault", "withdraw", "ask", "--to", owner, "--amount", "1"]));
    answer(&world.by_owner(&["vault", "withdraw", "cancel"]));
    let asked = world.by_owner(&["vault", "withdraw", "ask", "--to", owner, "--amount", "999.5"]);
    assert_eq!(text(&answer(&asked), "/receipt/events/0/event"), "WithdrawalAsked");
    refused(&world.by_owner(&["vault", "withdraw", "now"]), &["possible from"]);
    net.travel(DELAY + 1);
    let done = answer(&world.by_owner(&["vault", "withdraw", "now"]));
    assert_eq!(world.usdt_of(owner), 999_500_000);
    let tx = answer(&net.run(&["tron", "tx", text(&done, "/receipt/tx_id"), "--json"]));
    assert_eq!((text(&tx, "/events/0/event"), &tx["is_solid"]), ("Withdrawn", &json!(true)));

    // Its successor names it.
    let successor = answer(&net.run(&world.deploy_arguments(&["--previous", vault, "--yes", "--json"])));
    let new = text(&successor, "/plan/deploys");
    let verified = answer(&net.run(&[verify.as_slice(), &["--threshold", "2", "--vault", new]].concat()));
    let codes =
        verified["checks"].as_array().unwrap().iter().filter(|check| text(check, "/check").contains("predecessor"));
    assert_eq!(codes.filter(|check| check["outcome"] == "ok").count(), 2);
}

#[test]
fn a_signers_pause_is_told_with_its_end() {
    let world = World::deploy();
    let (key, key_file) = &world.signers[0];
    let pause = |more: &[&str]| world.vault(&[&["vault", "pause", "--key-file", key_file], more].concat());
    refused(&pause(&["--yes"]), &["send it TRX"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, gas) = (world.client(), TronKey::load(world.gas.as_ref()).unwrap());
        let options = SendOptions::new(Sun::new(1_000_000_000));
        let amount = Sun::new(100_000_000);
        Sender::new(&client, &gas).send_trx(key.address(), amount, &options, Duration::from_secs(30)).await.unwrap();
    });
    let dry = pause(&["--dry-run"]);
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(
        dry.status.success() && said.contains("a signer, once in an era") && said.contains("at once, until"),
        "{said}"
    );
    assert_eq!(world.show()["is_paused"], false);
    answer(&pause(&["--yes", "--json"]));
    let shown = answer(&world.vault(&["vault", "show", "--json", "--signer", &key.address().to_string()]));
    assert_eq!(shown["vault"]["is_paused"], true);
    assert_eq!(shown["signers"][0]["supports_the_pause"], true);
    refused(&pause(&["--yes"]), &["stands behind the pause in force already"]);
    world.net.travel(73 * 3_600);
    assert_eq!(world.show()["is_paused"], false);
    refused(&pause(&["--yes"]), &["has used its pause of era 1"]);
}

#[test]
fn a_worker_claims_what_nobody_pushes() {
    let world = World::deploy();
    let World { net, vault, gas, .. } = &world;
    let holder = net.key_file(0);
    let token: PayoutAddress = net.usdt.parse().unwrap();
    let accounts =
        [account(1, somebody(1), 100), account(2, somebody(2), 50), account(3, token, 10), account(4, somebody(4), 20)];
    let claim = |id: u8, more: &[&str]| {
        let id = AccountId::from_bytes([id; 32]).to_string();
        world.vault(&[&["payout", "claim", "--account", &id], more].concat())
    };
    let unposted = net.private("unposted.json", r#"{"settlement": 1, "accounts": []}"#);
    refused(&claim(1, &["--file", &unposted, "--print-call"]), &["no root is posted"]);
    let ledger = world.post(1, &accounts);
    let with = |id: u8, more: &[&str]| claim(id, &[&["--file", &ledger], more].concat());
    refused(&with(1, &["--print-call"]), &["the vault is empty"]);
    answer(&world.vault(&["vault", "fund", "--amount", "1000", "--key-file", &holder, "--yes", "--json"]));

    // For a wallet: the call, and what it would use.
    let call = answer(&with(1, &["--print-call", "--json"]));
    assert_eq!(text(&call, "/function"), "pay(uint64,(bytes32,address,uint64)[],bytes32[][])");
    assert_eq!((&call["pays_micro_usdt"], text(&call, "/to")), (&json!(100_000_000), &*somebody(1).to_string()));
    let estimate =
        ["tron", "estimate", "--contract", vault, "--from", net.address(GAS), "--data", text(&call, "/call_data")];
    let estimate = answer(&net.run(&[estimate.as_slice(), &["--json"]].concat()));
    assert_eq!(&estimate["fails"], &Value::Null);
    assert_eq!(world.show()["paid_out_micro_usdt"], 0);

    // Anybody with TRX may send it; the money goes to the account's address.
    let sent = answer(&with(1, &["--key-file", gas, "--yes", "--json"]));
    let event = &sent["receipt"]["events"][0];
    assert_eq!((text(event, "/event"), &event["amount_micro_usdt"]), ("Paid", &json!(100_000_000)));
    assert_eq!(world.usdt_of(&somebody(1).to_string()), 100_000_000);
    refused(&with(1, &["--key-file", gas, "--yes"]), &["has been paid"]);
    refused(&with(9, &["--print-call"]), &["has no account"]);
    refused(&with(3, &["--print-call"]), &["token's contract"]);
    // Another ledger than the posted one.
    let other = net.private("other.json", &std::fs::read_to_string(&ledger).unwrap().replace("50000000", "50000001"));
    refused(&claim(2, &["--file", &other, "--print-call"]), &["posted at the vault is", "signers' keys may be stolen"]);
    for (name, content, told) in [
        ("page.json", "<!doctype html><html>", "web page"),
        ("cut.json", r#"{"settlement": 1, "accounts": [{"id": "01"#, "cut off"),
        ("list.json", "[]", "no ledger"),
    ] {
        let file = net.private(name, content);
        refused(&claim(2, &["--file", &file, "--print-call"]), &[name, told]);
    }

    // The rest is pushed in one batch, across what was paid; what cannot be paid is left out.
    let push = |more: &[&str]| {
        world.vault(&[&["vault", "push", "--file", &ledger, "--all", "--key-file", gas, "--json"], more].concat())
    };
    let plan = answer(&push(&["--dry-run"]));
    assert_eq!(plan["batches"].as_array().unwrap().len(), 2, "{plan}");
    let pushed = answer(&push(&["--yes"]));
    let paid: u64 =
        pushed["batches"].as_array().unwrap().iter().map(|batch| batch["amount_micro_usdt"].as_u64().unwrap()).sum();
    assert_eq!(paid, 70_000_000);
    assert_eq!(
        (world.usdt_of(&somebody(2).to_string()), world.usdt_of(&somebody(4).to_string())),
        (50_000_000, 20_000_000)
    );
    refused(&push(&["--yes"]), &["everything that is due has been paid"]);
}
