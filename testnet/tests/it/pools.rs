//! Pools of a running network as their owners direct them: a vault that another follows while the network pays, and the life of a pool
//! from the command that creates it to the last payment after its end.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use lucid_tron_bridge::key::TronKey;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use serde_json::{Value, json};

use crate::books::{Chain, accounts};
use crate::harness::{Network, errors, http_get, lucid, until};
use crate::vault_cli::{json as answer, refused, run, text};

/// Account 0 of every local TRON network, which holds the test USDT.
const RICH_KEY: &str = "56487b493e737272c4e8e046d8383435049b166208c86b994db33cef4a58be9c";
/// Account 1, which has TRX.
const GAS_KEY: &str = "c2cfe6f10829ff533502f7b982041ecdf68e84656a21102ee0bda0727775f57e";
const USDT: u64 = 1_000_000;

/// A node that enters by hand, one command after the other.
pub(crate) struct Stranger {
    child: Option<Child>,
    home: PathBuf,
    api: String,
    pub(crate) node: String,
    pub(crate) payout_address: String,
}

impl Stranger {
    /// Makes a home beside the network's and runs the node, which follows the chain.
    fn start(net: &Network, name: &str) -> Self {
        Self::start_as(net, name, "worker")
    }

    /// The same in another role.
    pub(crate) fn start_as(net: &Network, name: &str, role: &str) -> Self {
        Self::start_in(net, name, role, None)
    }

    /// The same of one that reads TRON and pays for transactions out of the account of this key.
    fn start_with(net: &Network, name: &str, gas_key: &str) -> Self {
        Self::start_in(net, name, "worker", Some(gas_key))
    }

    fn start_in(net: &Network, name: &str, role: &str, gas_key: Option<&str>) -> Self {
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
            .args(["init", "--role", role, "--local", "--json", "--bootstrap", &bootstrap, "--api", &api])
            .args(["--metrics", &metrics, "--listen", &format!("/ip4/127.0.0.1/tcp/{port}"), "--genesis"])
            .arg(genesis)
            .args(gas_key.iter().flat_map(|_| ["--tron", manifest["tron"]["url"].as_str().unwrap()]))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", errors(&made));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        if let Some(key) = gas_key {
            std::fs::write(home.join("gas.key"), key).unwrap();
        }
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

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&http_get(&self.api, path, "")?).ok()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run(arguments, &["--home", self.home.to_str().unwrap()])
    }

    /// A command of the node, which a block takes.
    #[track_caller]
    pub(crate) fn give(&self, arguments: &[&str]) -> Value {
        answer(&self.run(&[arguments, &["--yes", "--json"]].concat()))
    }

    pub(crate) fn register(&self, more: &[&str]) -> Value {
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

/// A running network and its local TRON network.
pub(crate) struct World {
    pub(crate) net: Network,
    pub(crate) chain: Chain,
    pub(crate) pool: String,
}

impl World {
    pub(crate) fn up(arguments: &[&str]) -> Self {
        let mut net = Network::up(arguments);
        net.ready();
        let url = net.manifest()["tron"]["url"].as_str().unwrap().to_owned();
        let pool = net.pool_id();
        Self { net, chain: Chain::at(&url), pool }
    }

    fn path(&self, name: &str) -> String {
        self.net.dir().join(name).to_str().unwrap().to_owned()
    }

    /// A file that its owner only may read.
    pub(crate) fn private(&self, name: &str, content: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = PathBuf::from(self.path(name));
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        self.path(name)
    }

    /// `lucid` in a home of the network's folder.
    pub(crate) fn at(&self, home: &str, arguments: &[&str]) -> Output {
        run(arguments, &["--home", &self.path(home)])
    }

    /// A write of the pool's owner, to the ledger or to the vault.
    pub(crate) fn by_owner(&self, arguments: &[&str]) -> Output {
        self.at("owner", &[arguments, &["--yes", "--json"]].concat())
    }

    /// The same to the vault, with the key of the vault's owner.
    fn to_vault(&self, arguments: &[&str]) -> Output {
        let key = self.path("owner/vault-owner.key");
        self.by_owner(&[arguments, &["--key-file", &key]].concat())
    }

    /// The pool as a node shows it.
    pub(crate) fn pool(&self, node: &str) -> Option<Value> {
        self.net.ask(node, &format!("/api/v1/pools/{}", self.pool))
    }

    /// Waits until the pool's newest settlement is this many after the one that it has now.
    #[track_caller]
    fn settlements_pass(&self, n: u64) {
        let settled = || self.pool("validator-1")?["settled"].as_u64();
        let end = until("the pool", settled) + n;
        until("settlements", || (settled()? >= end).then_some(()));
    }

    /// What the ledger owes in the newest root, by address.
    fn owed(&self, to: &str) -> u64 {
        let root = self.net.ask("validator-1", &format!("/api/v1/pools/{}/root", self.pool));
        let accounts = root.as_ref().map(accounts).unwrap_or_default();
        sum(accounts.iter().filter(|account| account.to.to_string() == to).map(|account| account.owed))
    }

    /// What an address holds.
    fn holds(&self, to: &str) -> u64 {
        let usdt: PayoutAddress = self.net.manifest()["tron"]["usdt_contract"].as_str().unwrap().parse().unwrap();
        self.chain.ask(self.chain.client.token_balance(&usdt, &to.parse().unwrap())).get()
    }

    /// Deploys a vault with the signers of the pool's first one, in the other order.
    fn deploying(&self, more: &[&str]) -> Output {
        let pool = self.net.get("validator-1", &format!("/api/v1/pools/{}", self.pool));
        let signers = pool["vault"]["signers"]["signer"].as_array().unwrap().iter().rev();
        let signers: Vec<_> =
            signers.map(|signer| format!("{}={}", text(signer, "/node"), text(signer, "/key_address"))).collect();
        let key = self.path("owner/vault-owner.key");
        let mut arguments = vec!["vault", "deploy", "--key-file", &key, "--yes", "--threshold", "2", "--cap", "100000"];
        arguments.extend(["--push-fee", "0.02"]);
        arguments.extend(signers.iter().flat_map(|signer| ["--signer", signer.as_str()]));
        self.at("owner", &[arguments.as_slice(), more].concat())
    }

    /// The same: its address, and the file that says what it is.
    fn deploy(&self, name: &str, more: &[&str]) -> (PayoutAddress, String) {
        let file = self.path(name);
        let deployed = self.deploying(&[more, &["--out", &file]].concat());
        assert!(deployed.status.success(), "{}", errors(&deployed));
        let vault: Value = toml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        (text(&vault, "/pool/vault/address").parse().unwrap(), file)
    }

    fn fund(&self, vault: &PayoutAddress, usdt: u64) {
        let (key, vault, usdt) = (self.private("rich.key", RICH_KEY), vault.to_string(), usdt.to_string());
        answer(&self.by_owner(&["vault", "fund", "--vault", &vault, "--amount", &usdt, "--key-file", &key]));
    }

    /// Waits until the vault of a node's row has paid all that its newest root owes, and nothing is to be looked at.
    #[track_caller]
    pub(crate) fn all_paid(&self, node: &str) -> Value {
        until("everything that is owed to be paid", || {
            let pool = self.pool(node)?;
            let (newest, contract) = (&pool["newest"], &pool["contract"]);
            let paid = contract["paid_out_micro_usdt"].as_u64()? + newest["fees_micro_usdt"].as_u64()?;
            let is_paid =
                contract["settlement"] == newest["settlement"] && newest["total_micro_usdt"].as_u64()? <= paid;
            (is_paid && pool["alerts"] == json!([])).then_some(pool)
        })
    }
}

pub(crate) fn sum(amounts: impl IntoIterator<Item = MicroUsdt>) -> u64 {
    MicroUsdt::sum(amounts).unwrap().get()
}

/// A vault follows another while the network pays: nothing that is owed is lost, and nothing is paid twice.
#[test]
fn another_vault_takes_over_while_the_network_pays() {
    let arguments = ["--validators", "3", "--workers", "2", "--epoch-length", "3s"];
    let world = World::up(&arguments);
    let World { net, chain, pool, .. } = &world;
    let first: PayoutAddress = net.manifest()["tron"]["vault"].as_str().unwrap().parse().unwrap();
    until("the first payday", || (chain.vault(&first, &[]).paid_out > MicroUsdt::ZERO).then_some(()));

    // While the first one is open nothing can follow it.
    let other = world.deploy("other.toml", &["--new-pool"]);
    let (file, previous) = (world.path("move.json"), first.to_string());
    let name = |vault: &str| world.by_owner(&["pool", "vault", vault, "--file", &file]);
    refused(&name(&other.1), &["cannot take over", "predecessor named", &format!("--previous {first}")]);
    assert!(!Path::new(&file).exists(), "nothing was signed");
    answer(&world.to_vault(&["vault", "close"]));
    let closes = chain.vault(&first, &[]).close_from;
    let early = world.deploying(&["--previous", &previous]);
    refused(&early, &["deploy the successor then"]);
    until("the end of the notice", || (chain.ask(chain.client.head()).time.get() / 1_000 >= closes).then_some(()));

    // From here on nothing is paid, and settlements go on.
    let (second, vault_file) = world.deploy("vault.toml", &["--previous", &previous]);
    let closed = chain.vault(&first, &[]);
    let dry = world.at("owner", &["pool", "vault", &vault_file, "--dry-run"]);
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(dry.status.success() && said.contains("replaces the pool's vault"), "{said}{}", errors(&dry));
    answer(&name(&vault_file));
    let sign = |home: &str| world.at(home, &["command", "sign", "--file", &file, "--yes", "--json"]);
    answer(&sign("validator-3"));
    let submit = || world.by_owner(&["command", "submit", "--file", &file]);
    refused(&submit(), &["signatures are missing"]);
    answer(&sign("validator-1"));
    answer(&submit());
    let shown = answer(&world.at("owner", &["pool", "show", "--json"]));
    assert_eq!((text(&shown, "/vault/address"), &shown["former_vaults"]), (&*second.to_string(), &json!([previous])));
    assert_eq!(text(&answer(&world.at("owner", &["vault", "verify", "--json"])), "/vault"), second.to_string());
    let again = world.by_owner(&["pool", "vault", &vault_file, "--file", &world.path("again.json")]);
    refused(&again, &["predecessor named"]);

    // The same processes go on with the next vault: without money there is an alert, with it everybody is paid.
    until("the alert", || {
        let pool = world.pool("worker-1")?;
        let alerts = pool["alerts"].to_string();
        (alerts.contains("holds less than is due") && pool["contract"]["settlement"] != json!(0)).then_some(())
    });
    assert_eq!(chain.vault(&second, &[]).paid_out, closed.paid_out, "what the first one has paid");
    world.fund(&second, 2_000);
    let before = world.all_paid("worker-2")["newest"]["settlement"].as_u64().unwrap();
    until("another payday", || (world.pool("worker-2")?["newest"]["settlement"].as_u64()? > before).then_some(()));
    answer(&world.by_owner(&["pool", "suspend"]));
    until("the last root", || {
        let pool = world.pool("validator-1")?;
        (pool["suspended_from"].as_u64()? <= pool["settled"].as_u64()?).then_some(())
    });
    let last = world.all_paid("validator-2");

    // What the chain holds: every account has what the ledger owes, over both vaults, and the first has paid nothing after its end.
    let ledger = net.get("validator-1", &format!("/api/v1/pools/{pool}/root"));
    let owed = accounts(&ledger);
    let ids: Vec<_> = owed.iter().map(|account| account.id).collect();
    let (old, new) = (chain.vault(&first, &ids), chain.vault(&second, &ids));
    let usdt: PayoutAddress = net.manifest()["tron"]["usdt_contract"].as_str().unwrap().parse().unwrap();
    for account in &owed {
        assert_eq!(new.paid_of(&account.id), Some(account.owed), "{}", account.id);
        assert_eq!(chain.ask(chain.client.token_balance(&usdt, &account.to)), account.owed, "{}", account.to);
    }
    assert_eq!((old.paid_out, old.fees_paid, old.settlement), (closed.paid_out, closed.fees_paid, closed.settlement));
    assert_eq!(new.paid_out.get(), sum(owed.iter().map(|account| account.owed)));
    assert!(new.paid_out > old.paid_out && new.fees_paid > old.fees_paid);
    let spent = new.paid_out.get() + new.fees_paid.get() - old.paid_out.get() - old.fees_paid.get();
    assert_eq!(spent + new.funds.get(), 2_000 * USDT);
    let of_newest = |key: &str| last["newest"][key].as_u64().unwrap();
    assert_eq!(of_newest("total_micro_usdt") - of_newest("fees_micro_usdt"), new.paid_out.get());
    net.command(&["down"]);
    world.net.end();
}

/// Created by a stranger, approved of, joined, without money, funded, directed in every way, handed over, ended: in the end the chain has
/// paid every account what the ledger owes it.
#[test]
fn the_life_of_a_pool() {
    let mut world = World::up(&["--validators", "3", "--workers", "1", "--epoch-length", "2s"]);
    let founder = Stranger::start(&world.net, "founder");
    founder.register(&[]);
    let (vault, file) = world.deploy("life.toml", &["--new-pool"]);
    let commission = TronKey::generate().unwrap().address().to_string();
    let created = ["pool", "create", "--name", "life", "--vault", &file, "--budget", "30", "--commission", "10"];
    founder.give(&[&created[..], &["--commission-address", &commission]].concat());
    world.pool = text(&answer(&founder.run(&["pool", "show", "--pool", "life", "--json"])), "/pool").to_owned();
    let World { net, chain, pool, .. } = &world;

    // A third of the power is not more than a third; and it takes members.
    let status = |pool: &Value| pool["status"].as_object().unwrap().keys().next().unwrap().clone();
    let state = || world.pool("validator-1").map(|pool| status(&pool));
    let approve = |name: &str| answer(&world.at(name, &["validator", "approve-pool", "life", "--yes", "--json"]));
    approve("validator-1");
    let leader = Stranger::start_with(net, "leader", GAS_KEY);
    leader.register(&["--pool", "life"]);
    assert_eq!(state().unwrap(), "forming");
    approve("validator-3");
    assert_eq!(state().unwrap(), "active");
    let [mover, held] = ["mover", "held"].map(|name| Stranger::start(net, name));
    mover.register(&["--pool", "life"]);
    held.register(&["--pool", "life"]);
    let members = |pool: &Value| pool["members"].as_u64();
    assert_eq!(members(&world.pool("validator-1").unwrap()), Some(3));

    // Nothing is in the vault: an alert, and the ledger goes on as if nothing were.
    let uncovered = until("the alert", || {
        let pool = world.pool("validator-2")?;
        pool["alerts"].to_string().contains("holds less than is due").then_some(pool)
    });
    assert_eq!((&*status(&uncovered), members(&uncovered)), ("active", Some(3)), "{uncovered}");
    until("payouts that wait for money", || {
        let payouts = net.ask("validator-2", "/api/v1/payouts?limit=1000")?;
        let mut waiting = payouts["payouts"].as_array()?.iter().filter(|it| it["status"] == "uncovered");
        waiting.any(|it| it["address"] == json!(leader.payout_address)).then_some(())
    });
    world.settlements_pass(1);
    assert!(world.owed(&leader.payout_address) > 0 && world.holds(&leader.payout_address) == 0);
    world.fund(&vault, 5_000);
    until("everybody to be paid", || {
        let all = [&leader, &mover, &held].map(|member| world.holds(&member.payout_address));
        all.iter().all(|paid| *paid > 0).then_some(())
    });
    until("the end of the alert", || (world.pool("validator-2")?["alerts"] == json!([])).then_some(()));

    // Who leads, and why: all three can, and take turns.
    let order = until("an election", || {
        let order = answer(&founder.run(&["pool", "leader", "life", "--json"]));
        (order["turn"] != Value::Null && order["order"].as_array()?.len() == 3).then_some(order)
    });
    assert_eq!(order["order"][0]["node"], order["turn"]["node"], "{order}");
    for (elected, rank) in order["order"].as_array().unwrap().iter().zip(1..) {
        let [why, live] = ["why", "live"].map(|key| elected[key].to_string());
        let knows = why.contains(&live) || why.contains("has led") || why.contains("the random beacon has decided");
        assert!(elected["rank"] == json!(rank) && knows, "{order}");
    }
    let said = founder.run(&["pool", "leader", "life"]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("led last"), "{}", errors(&said));

    // A member that announces maintenance is shown so, is not measured from the second epoch after on, and is again afterwards.
    let announced = mover.give(&["node", "maintenance", "--epochs", "5"]);
    let from = announced["counts_from_epoch"].as_u64().unwrap();
    let until_epoch = from + 5;
    let shown = until("its maintenance", || {
        let view = net.ask("validator-1", &format!("/api/v1/nodes/{}", mover.node))?;
        (view["state"] == "maintenance").then_some(view)
    });
    assert_eq!(shown["maintenance"], json!([{ "from": from, "until": until_epoch, "scope": "all" }]));
    assert_eq!(mover.get("/api/v1/status").unwrap()["maintenance"], shown["maintenance"][0]);
    let is_measured = |epoch: u64| {
        let scores = net.ask("validator-1", &format!("/api/v1/scores?epoch={epoch}"))?;
        Some(scores["scores"].as_array()?.iter().any(|it| it["worker"] == json!(mover.node)))
    };
    until("it to be measured again", || {
        let done = net.ask("validator-1", "/api/v1/status")?["final_epoch"].as_u64()?;
        (until_epoch..=done).any(|epoch| is_measured(epoch) == Some(true)).then_some(())
    });
    assert!((from - 6..from).any(|epoch| is_measured(epoch) == Some(true)), "it was measured before");
    for epoch in from..until_epoch {
        assert_eq!(is_measured(epoch), Some(false), "epoch {epoch}");
    }
    let over = mover.run(&["node", "maintenance", "--end", "--yes"]);
    assert!(errors(&over).contains("no maintenance is under way"), "{}", errors(&over));

    // Another payout address is used from the second root on; one that is vetoed never is.
    let [next, never] = [(); 2].map(|()| TronKey::generate().unwrap().address().to_string());
    let announced = mover.give(&["node", "payout-address", &next]);
    let from = announced["counts_from_settlement"].as_u64().unwrap();
    held.give(&["node", "payout-address", &never]);
    held.give(&["node", "veto"]);
    let held_from =
        founder.give(&["pool", "hold", &held.node, "--pool", "life"])["counts_from_settlement"].as_u64().unwrap();
    until("the address to count", || {
        let newest = world.pool("validator-1")?["newest"]["settlement"].as_u64()?;
        (newest >= from).then_some(())
    });
    let before = world.owed(&next);
    assert!(before > 0 && world.owed(&mover.payout_address) == 0, "all that it is owed is owed there");
    until("a payment to the next address", || (world.holds(&next) > 0).then_some(()));

    // What a held member earns is set aside, and owed again afterwards.
    let of_held = || world.owed(&held.payout_address);
    until("the hold", || {
        let pool = world.pool("validator-1")?;
        (pool["settled"].as_u64()? >= held_from && pool["held_micro_usdt"].as_u64()? > 0).then_some(())
    });
    let (owed, set_aside) = (of_held(), world.pool("validator-1").unwrap()["held_micro_usdt"].as_u64().unwrap());
    founder.give(&["pool", "resume", &held.node, "--pool", "life"]);
    until("what was set aside", || (of_held() >= owed + set_aside).then_some(()));
    assert_eq!(world.owed(&never), 0);

    // Who is banned gets what it has earned, and nothing more.
    let banned = founder.give(&["pool", "ban", &mover.node, "--pool", "life"])["counts_from_epoch"].as_u64().unwrap();
    let refusal = mover.run(&["pool", "join", "life", "--yes"]);
    assert!(errors(&refusal).contains("banned"), "{}", errors(&refusal));
    until("its last settlement", || (world.pool("validator-1")?["settled"].as_u64()? * 2 >= banned).then_some(()));
    let last = world.owed(&next);
    world.settlements_pass(1);
    assert_eq!(world.owed(&next), last);
    assert!(last >= before);

    // Handed over, and ended by who has it now.
    let handover = world.path("handover.json");
    let transfer = ["pool", "transfer", &leader.node, "--pool", "life", "--file", &handover];
    founder.give(&transfer);
    answer(&leader.run(&["command", "sign", "--file", &handover, "--yes", "--json"]));
    founder.give(&["command", "submit", "--file", &handover]);
    refused(&founder.run(&["pool", "disband", "--pool", "life", "--yes"]), &["has no say in this command"]);
    let ended = leader.give(&["pool", "disband", "--pool", "life"])["counts_from_epoch"].as_u64().unwrap();
    until("the last settlement", || (world.pool("validator-1")?["settled"].as_u64()? * 2 >= ended).then_some(()));
    world.settlements_pass(1);
    assert_eq!((state().unwrap().as_str(), members(&world.pool("validator-1").unwrap())), ("disbanded", Some(0)));

    // Everybody gets the rest, though nobody is a member any more.
    world.all_paid("validator-2");
    let owed = accounts(&net.get("validator-1", &format!("/api/v1/pools/{pool}/root")));
    let ids: Vec<_> = owed.iter().map(|account| account.id).collect();
    let contract = chain.vault(&vault, &ids);
    let mut earned = 0;
    for account in &owed {
        assert_eq!(contract.paid_of(&account.id), Some(account.owed), "{}", account.to);
        earned += account.owed.get();
    }
    assert_eq!(owed.len(), 5, "three members and two owners: {owed:?}");
    let received = [&leader.payout_address, &mover.payout_address, &held.payout_address, &next, &commission];
    assert_eq!(received.map(|to| world.holds(to)).iter().sum::<u64>(), earned);
    assert_eq!(contract.paid_out.get() + contract.fees_paid.get() + contract.funds.get(), 5_000 * USDT);
    let last = world.pool("validator-1").unwrap();
    let [owed, held, fees, carried, budgets] =
        ["owed", "held", "fees", "carried", "budgets"].map(|key| last[format!("{key}_micro_usdt")].as_u64().unwrap());
    assert_eq!((owed, held, owed + held + fees + carried), (earned, 0, budgets));
    net.command(&["down"]);
    drop((founder, leader, mover));
    world.net.end();
}
