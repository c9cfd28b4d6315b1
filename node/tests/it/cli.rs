//! The binary as people and scripts use it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;

use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::keystore::{self, SecretString};
use lucid_types::id::{NodeId, PayoutAddress, ValidatorId};
use lucid_types::validator::Validator;
use lucid_types::vault::TreasurySigner;
use serde_json::Value;

use crate::api::server;
use crate::fixture::start::Start;
use crate::fixture::{STATUS_KEYS, genesis, node, pool, signing_key, take_over, worker};
use crate::view::Known;

pub(crate) struct Folder(pub(crate) tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }
}

/// The binary with no home or setting in its environment.
pub(crate) fn lucid(home: &Path, args: &[&str]) -> Output {
    command(home, args).output().unwrap()
}

/// The same before it is run.
pub(crate) fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("LUCID_") {
            command.env_remove(variable);
        }
    }
    command.env_remove("RUST_LOG").arg("--home").arg(home).args(args);
    command
}

pub(crate) fn out(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_str(&out(output)).unwrap()
}

/// The message of a command that failed with this code; nothing is on stdout.
pub(crate) fn failure(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(output.stdout.is_empty());
    text
}

#[test]
fn init_makes_a_home_once_and_says_who_it_is() {
    let folder = Folder::new();
    let args = [
        "init",
        "--role",
        "validator",
        "--role",
        "treasury",
        "--name",
        "v1",
        "--listen",
        "/ip4/127.0.0.1/tcp/7101",
        "--api",
        "127.0.0.1:7102",
        "--metrics",
        "127.0.0.1:7103",
        "--tron",
        "http://127.0.0.1:7100|https://a.example",
        "--tron",
        "https://b.example",
        "--local",
        "--json",
    ];
    let made = json(&lucid(&folder.home(), &args));
    assert_eq!(made["node_id"].as_str().unwrap().len(), 64);
    let peer_id = made["peer_id"].as_str().unwrap();
    assert!(peer_id.starts_with("12D3KooW"), "{made}");
    assert_eq!(made["addresses"][0], format!("/ip4/127.0.0.1/tcp/7101/p2p/{peer_id}"));
    let signer = made["signer_address"].as_str().unwrap();
    assert!(signer.starts_with('T') && made["gas_address"].is_null(), "{made}");
    assert_eq!(fs::metadata(folder.home().join("treasury.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!folder.home().join("gas.key").exists());
    let key = fs::read(folder.home().join("node.key")).unwrap();
    assert_eq!(fs::metadata(folder.home().join("node.key")).unwrap().permissions().mode() & 0o777, 0o600);

    let again = failure(&lucid(&folder.home(), &["init"]), 1);
    assert!(again.contains("node.key exists already and is left as it is"), "{again}");
    assert_eq!(fs::read(folder.home().join("node.key")).unwrap(), key);

    let shown = json(&lucid(&folder.home(), &["config", "show", "--json"]));
    assert_eq!(shown["roles"]["value"], serde_json::json!(["validator", "treasury"]));
    assert_eq!(shown["api.listen"]["value"], "127.0.0.1:7102");
    assert_eq!(shown["api.listen"]["origin"]["from"], "file");
    let groups = serde_json::json!(["http://127.0.0.1:7100|https://a.example", "https://b.example"]);
    assert_eq!(shown["tron.providers"]["value"], groups);
    assert_eq!(shown["log.json"]["origin"]["from"], "default");
    let overridden = json(&lucid(&folder.home(), &["--set", "name=other", "config", "show", "--json"]));
    assert_eq!(overridden["name"], serde_json::json!({"value": "other", "origin": {"from": "flag"}}));
}

#[test]
fn the_keys_of_a_validator_are_shown_with_the_entry_that_others_need() {
    let folder = Folder::new();
    let home = folder.home();
    let made = json(&lucid(&home, &["init", "--role", "validator", "--local", "--api", "127.0.0.1:1", "--json"]));
    let node: NodeId = made["node_id"].as_str().unwrap().parse().unwrap();
    let entry: Validator = serde_json::from_value(made["validator"].clone()).unwrap();
    assert_eq!((entry.node, entry.keys.check(&node)), (node, Ok(())), "{made}");

    let shown = json(&lucid(&home, &["validator", "keys", "--json"]));
    assert_eq!(shown["validator"], made["validator"], "there is one key only");
    assert_eq!((&shown["keys"][0]["use"], &shown["missing"]), (&"unknown".into(), &Value::Null), "no node runs");
    let text = out(&lucid(&home, &["validator", "keys"]));
    assert!(text.contains("the node does not answer") && text.contains("[[validator]]"), "{text}");
    assert!(text.contains(&entry.keys.id.to_string()) && text.contains(&entry.keys.bls_key.to_string()), "{text}");

    let two = json(&lucid(&home, &["validator", "keys", "--new", "--json"]));
    let two = two["keys"].as_array().unwrap();
    let ids: Vec<ValidatorId> = two.iter().map(|key| key["id"].as_str().unwrap().parse().unwrap()).collect();
    assert!(ids.len() == 2 && ids.contains(&entry.keys.id), "{ids:?}");
    for (id, key) in ids.iter().zip(two) {
        let file = home.join("validator-keys").join(format!("{}.key", id.short()));
        assert_eq!(key["file"], file.to_str().unwrap());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let secret = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(secret.trim()), "a secret is shown");
    }

    let rotate = failure(&lucid(&home, &["validator", "rotate-key"]), 1);
    assert!(rotate.contains("genesis.toml is missing"), "{rotate}");
    let shown = json(&lucid(&home, &["validator", "keys", "--json"]));
    assert_eq!(shown["keys"].as_array().unwrap().len(), 2, "nothing is made when nothing can be announced");
    fs::remove_dir_all(home.join("validator-keys")).unwrap();
    let text = out(&lucid(&home, &["validator", "keys"]));
    assert!(text.contains("There is no validator key; `lucid validator keys --new` makes one"), "{text}");
}

#[test]
fn options_that_make_no_configuration_make_no_home() {
    let folder = Folder::new();
    let error = failure(&lucid(&folder.home(), &["init", "--bootstrap", "/ip4/127.0.0.1/tcp/1"]), 1);
    assert!(error.contains("p2p.bootstrap = \"/ip4/127.0.0.1/tcp/1\": a multiaddress that ends in /p2p/"), "{error}");
    assert!(!folder.home().exists());
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let folder = Folder::new();
    for args in [
        vec!["ini"],
        vec!["init", "--role", "king"],
        vec!["--set", "name", "status"],
        vec!["score", "leaderboard", "--epoch", "x"],
        vec![],
    ] {
        let output = lucid(&folder.home(), &args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let help = out(&lucid(&folder.home(), &["--help"]));
    assert!(help.contains("Examples:") && help.contains("lucid init --role worker"), "{help}");
    assert!(help.contains("lucid join lucid1..."), "{help}");
    assert!(!folder.home().exists());
}

#[test]
fn version_names_the_build() {
    let folder = Folder::new();
    let version = json(&lucid(&folder.home(), &["version", "--json"]));
    assert_eq!(version["build"], lucid_node::BUILD_ID);
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    let (number, hash) = lucid_node::BUILD_ID.rsplit_once('-').unwrap();
    assert_eq!((number, hash.len()), (env!("CARGO_PKG_VERSION"), 16));
}

/// A good home with a genesis; `file` is then replaced by `text`.
fn broken(file: &str, text: &str) -> (Folder, String) {
    let folder = Folder::new();
    let source = folder.0.path().join("genesis.toml");
    fs::write(&source, toml::to_string(&genesis(std::time::Duration::from_secs(5), &[1])).unwrap()).unwrap();
    out(&lucid(&folder.home(), &["init", "--genesis", source.to_str().unwrap()]));
    let good = out(&lucid(&folder.home(), &["config", "check"]));
    assert!(good.contains("configuration, key and genesis are good"), "{good}");
    fs::write(folder.home().join(file), text).unwrap();
    let check = failure(&lucid(&folder.home(), &["config", "check"]), 1);
    // Whatever keeps a home from being good keeps the node from starting, with the same words.
    let run = failure(&lucid(&folder.home(), &["run"]), 1);
    let said = check.trim().strip_prefix("lucid: ").unwrap();
    assert!(run.contains(said), "\nrun   {run}\ncheck {check}");
    assert_eq!(fs::read_to_string(folder.home().join(file)).unwrap(), text, "nothing is overwritten");
    (folder, check)
}

#[test]
fn bad_files_are_named_with_key_and_remedy_and_stay_as_they_are() {
    for (file, text, wanted) in [
        ("config.toml", "nam = 1", "config.toml:1: nam = 1: unknown field `nam`, expected one of"),
        (
            "config.toml",
            "[p2p]\nlocal = 3",
            "config.toml:2: p2p.local = 3: invalid type: integer `3`, expected a boolean",
        ),
        ("node.key", "00", "node.key is not a key: 64 hex digits are expected, 2 were found"),
        ("genesis.toml", "name = \"x\"\nfoo = 1", "genesis.toml:2: foo = 1: unknown field `foo`"),
    ] {
        let (_folder, error) = broken(file, text);
        assert!(error.contains(wanted), "\nfound  {error}\nwanted {wanted}");
    }
}

/// A home with these roles in whose database its node and a pool stand as they come out of `change`.
fn in_a_pool(roles: &[&str], change: impl FnOnce(&mut Start, &Value)) -> Folder {
    let folder = Folder::new();
    let mut args = vec!["init", "--json", "--local"];
    let [p2p, api, metrics] =
        [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string());
    let listen = format!("/ip4/127.0.0.1/tcp/{}", p2p.rsplit(':').next().unwrap());
    args.extend(["--listen", &listen, "--api", &api, "--metrics", &metrics]);
    args.extend(roles.iter().flat_map(|role| ["--role", role]));
    let made = json(&lucid(&folder.home(), &args));
    let own = made["node_id"].as_str().unwrap().parse().unwrap();
    let signer = TreasurySigner { node: node(1), key_address: PayoutAddress::from_hash20([50; 20]) };
    let mut start = Start {
        genesis: genesis(std::time::Duration::from_secs(5), &[1]),
        workers: vec![worker(own, 2)],
        pools: vec![pool(9, vec![own], 1, vec![signer])],
    };
    change(&mut start, &made);
    fs::write(folder.home().join("genesis.toml"), toml::to_string(&start.genesis).unwrap()).unwrap();
    take_over(&folder.home().join("db"), &start, &[signing_key(1)]);
    folder
}

/// Runs the node until its log has all of this.
fn log_until(home: &Path, wanted: &[&str]) {
    let mut run = command(home, &["run", "--set", "tron.providers=http://127.0.0.1:1"]);
    let mut child = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut log, has_all) = (String::new(), |log: &str| wanted.iter().all(|text| log.contains(text)));
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        log.push_str(&line.unwrap());
        log.push('\n');
        if has_all(&log) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(has_all(&log), "{wanted:?}\n{log}");
}

#[test]
fn a_node_whose_keys_are_not_registered_starts_and_says_what_it_waits_for() {
    let own = |made: &Value, which: &str| made[which].as_str().unwrap().parse::<PayoutAddress>().unwrap();
    // A gas account that is another.
    let mut gas = None;
    let folder =
        in_a_pool(&["worker"], |start, made| gas = Some((own(made, "gas_address"), start.workers[0].gas_address)));
    let (found, listed) = gas.unwrap();
    let registered = format!("the gas account {} is registered for this worker, but ", listed.unwrap());
    log_until(&folder.home(), &[&registered, &format!("gas.key is the key of {found}"), "is measured from epoch 1 on"]);

    // A worker that is not registered, and no validator either.
    let stranger = in_a_pool(&["worker", "validator"], |start, _| {
        start.workers[0].node = node(2);
        start.pools[0].members = vec![node(2)];
    });
    log_until(&stranger.home(), &["this node is not registered", "follows the chain without a vote", " started "]);

    // A signer's key that is another, and a signer that nobody has entered.
    for is_listed in [true, false] {
        let folder = in_a_pool(&["treasury"], |start, made| {
            if is_listed {
                start.pools[0].vault.signers.members[0].node = made["node_id"].as_str().unwrap().parse().unwrap();
            }
        });
        log_until(&folder.home(), &["no pool has the treasury signer", "it signs nothing until", " started "]);
    }
}

#[test]
fn how_a_node_joins_is_checked_before_it_starts() {
    let folder = Folder::new();
    let home = folder.home();
    out(&lucid(&home, &["init", "--api", "127.0.0.1:8199"]));
    let hash = "ab".repeat(32);
    for pin in ["7", "7:", ":7", "seven:7", &format!("0:{hash}"), &format!("-1:{hash}"), &hash, &format!("7:{hash}ff")]
    {
        let error = failure(&lucid(&home, &["run", &format!("--pin={pin}")]), 1);
        assert!(error.contains("sync.pinned") && error.contains("`lucid block show` prints"), "{pin}: {error}");
    }
    let error = failure(&lucid(&home, &["run", "--sync", "fast"]), 2);
    assert!(error.contains("snapshot") && error.contains("full"), "{error}");
    let error = failure(&lucid(&home, &["run", "--archive", "--sync", "snapshot"]), 2);
    assert!(error.contains("cannot be used with"), "{error}");
    for (value, is_possible) in [("59", false), ("1", false), ("0", true), ("60", true)] {
        let shown = lucid(&home, &["config", "show", "--set", &format!("sync.keep_blocks_s={value}")]);
        assert_eq!(shown.status.success(), is_possible, "{value}: {}", String::from_utf8_lossy(&shown.stderr));
    }
    let shown =
        out(&lucid(&home, &["config", "show", "--set", "sync.mode=full", "--set", &format!("sync.pinned=7:{hash}")]));
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    assert!(line("sync.mode").contains("\"full\"") && line("sync.pinned").contains(&hash), "{shown}");
}

#[test]
fn empty_variables_count_as_not_set() {
    let folder = Folder::new();
    let user = folder.0.path().join("user");
    fs::create_dir(&user).unwrap();
    let show = |home: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lucid"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("LUCID_") {
                command.env_remove(variable);
            }
        }
        command.env("HOME", &user).env("LUCID_HOME", home).env("LUCID_API_LISTEN", "").env("LUCID_ROLES", "");
        command.args(["config", "show"]).output().unwrap()
    };
    // Without a home of its own the user's is meant.
    assert!(failure(&show(""), 1).contains(user.join(".lucid").to_str().unwrap()));
    out(&lucid(&folder.home(), &["init", "--api", "127.0.0.1:8199"]));
    assert!(out(&show(folder.home().to_str().unwrap())).contains("127.0.0.1:8199"));
}

#[test]
fn commands_without_a_home_or_node_say_what_to_do() {
    let folder = Folder::new();
    for args in [vec!["run"], vec!["status"], vec!["config", "show"]] {
        let error = failure(&lucid(&folder.home(), &args), 1);
        assert!(error.contains("`lucid init --home"), "{error}");
    }
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    out(&lucid(&folder.home(), &["init", "--api", &free.to_string()]));
    let error = failure(&lucid(&folder.home(), &["status"]), 1);
    assert!(error.contains("the node is not running") && error.contains(&free.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_show_what_the_node_says() {
    let server = server().await;
    let folder = Folder::new();
    let home = folder.home();
    out(&lucid(&home, &["init", "--api", &server.address.to_string()]));
    let status = json(&lucid(&home, &["status", "--json"]));
    let keys: BTreeSet<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(STATUS_KEYS));
    let text = out(&lucid(&home, &["status"]));
    assert!(text.contains("height         5\n") && text.contains("roles          validator, bootstrap\n"), "{text}");
    let page = json(&lucid(&home, &["block", "list", "--limit", "2", "--before", "4", "--json"]));
    assert_eq!((&page["blocks"][0]["height"], page["blocks"].as_array().unwrap().len()), (&3.into(), 2));
    assert_eq!(out(&lucid(&home, &["block", "list"])).lines().count(), 6);
    assert!(out(&lucid(&home, &["block", "show", "3"])).contains(&"03".repeat(32)));
    assert!(out(&lucid(&home, &["block", "show", "3", "--certificate"])).contains(&"06".repeat(64)));
    assert_eq!(
        json(&lucid(&home, &["epoch", "list", "--limit", "2", "--json"]))["epochs"].as_array().unwrap().len(),
        2
    );
    assert_eq!(out(&lucid(&home, &["epoch", "list"])).lines().count(), 5);
    assert!(out(&lucid(&home, &["epoch", "show", "3"])).contains("not measured"));
    let best = out(&lucid(&home, &["score", "leaderboard", "--limit", "1"]));
    assert!(best.starts_with("epoch 4\n") && best.contains("65.000000") && best.contains("1 more: "), "{best}");
    assert_eq!(json(&lucid(&home, &["score", "leaderboard", "--epoch", "2", "--json"]))["epoch"], 2);
    let one = out(&lucid(&home, &["score", "show", &node(10).to_string(), "--epoch", "3"]));
    assert!(one.contains("40.000000") && one.contains("147 chunks") && one.contains("utilisation"), "{one}");
    let spans = json(&lucid(&home, &["score", "history", &node(10).to_string(), "--from", "2", "--to", "3", "--json"]));
    let epochs: Vec<_> = spans["spans"].as_array().unwrap().iter().map(|span| span["from"].clone()).collect();
    assert_eq!(epochs, [3, 2]);
    let agreement = out(&lucid(&home, &["score", "agreement"]));
    assert!(
        agreement.contains("90.00 (60)") && agreement.contains("COPYING") && agreement.contains("BESIDE"),
        "{agreement}"
    );
    let worker = node(10).to_string();
    let why = out(&lucid(&home, &["score", "why", &worker]));
    let cost = "offline 5.0 s (epochs 1-2, 4): -0.410000 USDT, credits -4, score -4.100000 (uptime -4.100000)\n";
    assert!(why.contains(cost) && why.contains("not drawn 5.0 s (epochs 3, on the network's side): nothing"), "{why}");
    assert_eq!(json(&lucid(&home, &["score", "why", &worker, "--settlement", "1", "--json"]))["settlement"], 1);
    let change = out(&lucid(&home, &["score", "why", &worker, "--epoch", "3"]));
    assert!(change.contains("-2.000100 from epoch 2") && change.contains("-2.000000"), "{change}");
    let error = failure(&lucid(&home, &["score", "why", &worker, "--settlement", "9"]), 1);
    assert!(error.contains("settlement 9 is not final yet"), "{error}");
    let verified = out(&lucid(&home, &["score", "verify", &worker]));
    assert!(verified.contains("the blocks, opened") && verified.contains("proof    ok   certified"), "{verified}");
    let wrong = lucid(&home, &["score", "verify", &node(11).to_string()]);
    let [steps, error] = [&wrong.stdout, &wrong.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(wrong.status.code(), Some(1), "{error}");
    assert!(steps.contains("medians  WRONG") && error.contains("sharers is 1, and 2 follows"), "{steps}{error}");
    let pool = Known::pool_id().to_string();
    let report = ["score", "report", "--pool", &pool, "--from", "1", "--to", "4"];
    let text = out(&lucid(&home, &report));
    assert!(text.contains("95.000000") && text.contains("commission") && text.contains("4, of 1 of which"), "{text}");
    let csv = out(&lucid(&home, &[&report[..], &["--csv"]].concat()));
    let line = format!("worker,{worker},4,3,1,400000,12,3,15,340282366920938463463374607431768211455,95000000,0,0");
    assert!(csv.starts_with("kind,node,drawn,") && csv.lines().nth(1) == Some(line.as_str()), "{csv}");
    assert_eq!(csv.lines().nth(2).unwrap().split(',').count(), csv.lines().next().unwrap().split(',').count());
    let statistics = out(&lucid(&home, &["score", "statistics"]));
    assert!(statistics.contains("95 answered of 96") && statistics.contains("40.000200"), "{statistics}");
    let validated = out(&lucid(&home, &["score", "validate", &node(10).to_string()]));
    assert!(validated.contains("4 of 4 pings") && validated.contains("512 us"), "{validated}");
    let validations = out(&lucid(&home, &["score", "validations", &node(10).to_string()]));
    assert!(["4 of 4", "512", "0 of 4"].iter().all(|part| validations.contains(part)), "{validations}");
    assert!(out(&lucid(&home, &["score", "validations", &node(11).to_string()])).contains("has not asked"));
    let reports = out(&lucid(&home, &["epoch", "reports", "--limit", "1"]));
    assert!(reports.starts_with("epoch 4\n") && reports.contains("3/4") && reports.contains("1 more: "), "{reports}");
    let worker = node(11).to_string();
    let reports = json(&lucid(&home, &["epoch", "reports", "2", "--worker", &worker[..8], "--json"]));
    assert_eq!((&reports["epoch"], &reports["n_measurements"]), (&2.into(), &1.into()));
    let metrics = |more: &[&str]| {
        let id = node(10).to_string();
        lucid(&home, &[&["node", "metrics", &id[..8]], more].concat())
    };
    let text = out(&metrics(&[]));
    assert!(text.contains("12.34") && text.contains("100.00") && text.contains("1970-01-01 00:05:00 UTC"), "{text}");
    assert_eq!(text.lines().count(), 7);
    let list = json(&metrics(&["--from", "1970-01-01T00:02", "--to", "1970-01-01T00:04", "--limit", "1", "--json"]));
    assert_eq!((&list["node"], &list["metrics"][0]["received"]), (&node(10).to_string().into(), &180_000.into()));
    assert_eq!(list["metrics"].as_array().unwrap().len(), 1);
    assert!(out(&metrics(&["--from", "1h"])).contains("nothing was received in that time"));
    assert!(failure(&metrics(&["--from", "yesterday"]), 2).contains("a date in UTC"));
    let error = failure(&lucid(&home, &["node", "metrics", &node(77).to_string()]), 1);
    assert!(error.contains("the network has no worker"), "{error}");
    let error = failure(&lucid(&home, &["node", "metrics", &node(77).to_string()[..8]]), 1);
    assert!(error.contains("give the whole id"), "{error}");
    let text = out(&lucid(&home, &["resources", "show"]));
    assert_eq!(text, out(&lucid(&home, &["resources"])));
    for part in ["12.34 % of 1 cores", "50.00, 1.23 %", "1.25, 0.50, 0.05", "1 h 1 min", "core 41.50 C", "0.500 CPUs"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    for words in [&["resources", "--json"][..], &["resources", "show", "--json"]] {
        assert_eq!(json(&lucid(&home, words))["limits"]["memory_bytes"], 1 << 29);
    }
    let history = |more: &[&str]| lucid(&home, &[&["resources", "history"], more].concat());
    let text = out(&history(&["--granularity", "1h"]));
    assert!(
        text.contains("1970-01-01 05:00:00 UTC") && text.contains("12.34 (100.00)") && text.contains("0.50 (1.25)")
    );
    assert_eq!(text.lines().count(), 7);
    let range = ["--from", "1970-01-01T00:02", "--to", "1970-01-01T00:04", "--limit", "1", "--json"];
    let list = json(&history(&range));
    assert_eq!((&list["granularity"], &list["spans"][0]["from"]), (&"1m".into(), &180_000.into()));
    assert_eq!(list["spans"].as_array().unwrap().len(), 1);
    assert!(out(&history(&["--from", "1h"])).contains("nothing was sampled in that time"));
    assert!(failure(&history(&["--granularity", "2m"]), 2).contains("15m"));
    let payouts = out(&lucid(&home, &["payout", "list"]));
    assert!(
        payouts.contains("20.000001") && payouts.contains(&"09".repeat(32)) && payouts.contains("paid"),
        "{payouts}"
    );
    // What is listed can be shown.
    let listed = payouts.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    let export = json(&lucid(&home, &["payout", "export", "--json"]));
    let id = export["payouts"][0]["payout_id"].as_str().unwrap();
    assert!(listed.len() == 12 && id.starts_with(listed), "{payouts}");
    for prefix in [listed, &listed[..4], &listed.to_uppercase(), id] {
        assert_eq!(json(&lucid(&home, &["payout", "show", prefix, "--json"]))["payout_id"], id);
    }
    assert!(out(&lucid(&home, &["payout", "show", listed])).contains("as           worker\n"));
    let unknown = if listed.starts_with("0000") { "1111" } else { "0000" };
    let error = failure(&lucid(&home, &["payout", "show", unknown]), 1);
    assert!(error.contains("no payout whose id begins with") && error.contains("`lucid payout list`"), "{error}");
    assert!(failure(&lucid(&home, &["payout", "show", "12"]), 2).contains("its first 4 or more"));
    assert!(out(&lucid(&home, &["peers"])).contains("/ip4/127.0.0.1/tcp/7001"));
    assert!(out(&lucid(&home, &["validator", "list"])).contains("at 3, proved in block 4"));
    let text = out(&lucid(&home, &["network", "policy"]));
    for line in
        ["since epoch 4", "weights.trust 50000 -> 60000", "weights.uptime 150000 -> 140000", "from epoch 8 on: "]
    {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.contains("stamp_bits 8 -> 9"), "{text}");
    assert_eq!(json(&lucid(&home, &["network", "policy", "--epoch", "5", "--json"]))["epoch"], 5);
    let missing = failure(&lucid(&home, &["block", "show", "99"]), 1);
    assert!(missing.contains("block 99 is not final here (not_found, request "), "{missing}");
    server.view.oldest.store(4, Ordering::Relaxed);
    let missing = failure(&lucid(&home, &["block", "show", "3"]), 1);
    assert!(
        missing.contains("block 3 was removed here, or never was here: this node has the blocks from 4 to 5"),
        "{missing}"
    );
    let list = out(&lucid(&home, &["block", "list"]));
    assert!(
        list.lines().count() == 4 && list.ends_with("blocks below 4 were removed here, or never were here\n"),
        "{list}"
    );
    assert_eq!(out(&lucid(&home, &["block", "list", "--limit", "1"])).lines().count(), 2, "it does not end there");
    assert!(out(&lucid(&home, &["status"])).contains("oldest block   4\n"));
    assert_eq!(json(&lucid(&home, &["status", "--json"]))["oldest_block"], 4);
    server.view.oldest.store(6, Ordering::Relaxed);
    assert!(out(&lucid(&home, &["block", "list"])).contains("no block is here yet"));
    server.view.oldest.store(0, Ordering::Relaxed);
    let missing = failure(&lucid(&home, &["epoch", "show", "99"]), 1);
    assert!(missing.contains("epoch 99 has not begun (not_found, request "), "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_at_the_port_is_told_from_a_node() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ =
                stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno").await;
        }
    });
    let folder = Folder::new();
    out(&lucid(&folder.home(), &["init", "--api", &address.to_string()]));
    let error = failure(&lucid(&folder.home(), &["status"]), 1);
    assert!(error.contains("is it a Lucid node that listens there?"), "{error}");
}

/// What an auditor builds offline is, byte for byte, what tronweb builds.
#[test]
fn transfers_are_built_offline_like_tronweb_builds_them() {
    let folder = Folder::new();
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tron-bridge/tests/data/tron_transfers.json")).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 24);
    let key_file = folder.0.path().join("key");
    for case in cases {
        let text = |name: &str| match &case[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        fs::write(&key_file, text("private_key")).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut args = vec!["tron".to_owned(), "build-transfer".to_owned(), "--json".to_owned()];
        for (flag, name) in [
            ("--owner", "owner"),
            ("--to", "to"),
            ("--contract", "contract"),
            ("--amount-micro", "amount_micro_usdt"),
            ("--fee-limit", "fee_limit_sun"),
            ("--ref-block-bytes", "ref_block_bytes"),
            ("--ref-block-hash", "ref_block_hash"),
            ("--expiration", "expiration_ms"),
            ("--timestamp", "timestamp_ms"),
            ("--permission-id", "permission_id"),
        ] {
            args.extend([flag.to_owned(), text(name)]);
        }
        let unsigned = json(&lucid(&folder.home(), &args.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!(unsigned.get("signature"), None);
        args.extend(["--key-file".to_owned(), key_file.display().to_string()]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let built = json(&lucid(&folder.home(), &args));
        for name in ["raw_data_hex", "tx_id"] {
            assert_eq!((&built[name], &unsigned[name]), (&case[name], &case[name]));
        }
        assert_eq!(built["signature"].as_str().unwrap(), text("signature").to_lowercase());
    }
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(!folder.home().exists(), "it needs no home and makes none");
}

#[test]
fn a_transfer_that_cannot_be_built_says_why() {
    let folder = Folder::new();
    let usdt = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";
    let good = [
        ["--owner", usdt],
        ["--to", usdt],
        ["--contract", usdt],
        ["--amount-micro", "1"],
        ["--fee-limit", "1"],
        ["--ref-block-bytes", "0001"],
        ["--ref-block-hash", "0001020304050607"],
        ["--expiration", "2"],
        ["--timestamp", "1"],
    ];
    let with = |flag: &str, value: &str| {
        let pairs = good.iter().map(|[f, v]| [*f, if *f == flag { value } else { *v }]);
        let mut args = vec!["tron", "build-transfer"];
        args.extend(pairs.flatten());
        lucid(&folder.home(), &args)
    };
    assert!(with("", "").status.success());
    let key = folder.0.path().join("missing");
    let zero = "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb";
    for (flag, value, code, told) in [
        ("--to", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u", 2, "--to"),
        ("--to", "0xa614f803b6fd780986a42c78ec9c7f77e6ded13c", 2, "--to"),
        ("--amount-micro", "-1", 2, "a whole number of micro-USDT"),
        ("--amount-micro", "0", 1, "a transfer of nothing"),
        ("--owner", zero, 1, "--owner T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb is the zero address"),
        ("--to", zero, 1, "--to T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb is the zero address"),
        ("--contract", zero, 1, "--contract T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb is the zero address"),
        ("--expiration", "1", 1, "--expiration 1 is not after --timestamp 1"),
        ("--ref-block-bytes", "00", 2, "4 hex digits"),
        ("--ref-block-hash", "zz", 2, "16 hex digits"),
        ("--expiration", "9223372036854775808", 1, "expiration 9223372036854775808 does not fit"),
    ] {
        let error = failure(&with(flag, value), code);
        assert!(error.contains(told), "{flag} {value}: {error}");
    }
    let args: Vec<&str> = ["tron", "build-transfer"].into_iter().chain(good.iter().flatten().copied()).collect();
    let args: Vec<&str> = args.into_iter().chain(["--key-file", key.to_str().unwrap()]).collect();
    assert!(failure(&lucid(&folder.home(), &args), 1).contains("missing"));
}

/// A signature of another's key is of use only under a permission that the owner gave it, so that is said or refused.
#[test]
fn a_transfer_is_signed_by_the_owners_key_unless_a_permission_is_named() {
    let folder = Folder::new();
    let file = |name: &str, content: &str| {
        let path = folder.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let key = TronKey::generate().unwrap();
    let (plain, store) = (folder.0.path().join("plain.key"), folder.0.path().join("store.age"));
    key.save_new(&plain).unwrap();
    keystore::create(&store, &key, SecretString::from("correct horse")).unwrap();
    let (plain, store) = (plain.to_str().unwrap(), store.to_str().unwrap());
    let (right, wrong) = (file("right", "correct horse\n"), file("wrong", "battery staple\n"));
    let usdt = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";
    let (own, other) = (key.address().to_string(), TronKey::generate().unwrap().address().to_string());
    let build = |owner: &str, more: &[&str]| {
        let mut args = vec!["tron", "build-transfer", "--json", "--owner", owner, "--to", usdt, "--contract", usdt];
        args.extend(["--amount-micro", "1", "--fee-limit", "1", "--expiration", "2", "--timestamp", "1"]);
        args.extend(["--ref-block-bytes", "0001", "--ref-block-hash", "0001020304050607"]);
        args.extend(more);
        lucid(&folder.home(), &args)
    };
    let signature = |built: Output| json(&built)["signature"].as_str().unwrap().to_owned();
    // A keystore signs what the plain file signs.
    let by_plain = signature(build(&own, &["--key-file", plain]));
    assert_eq!(signature(build(&own, &["--key-file", store, "--passphrase-file", &right])), by_plain);
    assert_eq!(signature(build(&own, &["--key-file", plain, "--permission-id", "0"])), by_plain);
    let error = failure(&build(&own, &["--key-file", store, "--passphrase-file", &wrong]), 1);
    assert!(error.contains("--key-file") && error.contains("does not open the keystore"), "{error}");
    let error = failure(&build(&own, &["--passphrase-file", &right]), 2);
    assert!(error.contains("--key-file"), "{error}");
    for file in [&["--key-file", plain][..], &["--key-file", store, "--passphrase-file", &right]] {
        let error = failure(&build(&other, file), 1);
        for told in [&own, &other, "nothing was signed", "--permission-id"] {
            assert!(error.contains(told), "{told}: {error}");
        }
        for permission in ["0", "2"] {
            signature(build(&other, &[file, &["--permission-id", permission]].concat()));
        }
    }
    let error = failure(&build(&own, &["--key-file", plain, "--permission-id", "1"]), 1);
    assert!(error.contains("block producer"), "{error}");
}

/// What `lucid vault root` says is what a script that shares nothing with this code computes from the specification.
#[test]
fn payout_roots_are_computed_offline() {
    let folder = Folder::new();
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tron-bridge/tests/data/payout_root.json")).unwrap();
    let file = folder.0.path().join("ledger.json");
    let args = ["vault", "root", "--file", file.to_str().unwrap()];
    let root_of = |ledger: &Value| {
        fs::write(&file, ledger.to_string()).unwrap();
        lucid(&folder.home(), &[args.as_slice(), &["--json"]].concat())
    };
    for tree in vectors["trees"].as_array().unwrap() {
        let mut ledger = serde_json::json!({ "settlement": 7, "accounts": tree["accounts"] });
        let mut sum = Some(0u64);
        for account in ledger["accounts"].as_array_mut().unwrap() {
            account.as_object_mut().unwrap().remove("to_hex");
            sum = sum.and_then(|sum| sum.checked_add(account["owed_micro_usdt"].as_u64().unwrap()));
        }
        let answer = root_of(&ledger);
        let Some(sum) = sum else {
            assert!(failure(&answer, 1).contains("more than 64 bits"));
            continue;
        };
        let answer = json(&answer);
        assert_eq!((&answer["root"], &answer["settlement"]), (&tree["root"], &Value::from(7)));
        assert_eq!(answer["total_micro_usdt"], sum);
        for range in tree["ranges"].as_array().unwrap().iter().filter(|range| range["length"] == 1) {
            let account = &answer["accounts"][usize::try_from(range["start"].as_u64().unwrap()).unwrap()];
            assert_eq!((&account["index"], &account["proof"]), (&range["start"], &range["proof"]));
        }
        assert!(out(&lucid(&folder.home(), &args)).contains(tree["root"].as_str().unwrap()));
    }
    let account = |id: &str, to: &str| serde_json::json!({ "id": id, "to": to, "owed_micro_usdt": 1 });
    let (id, to) = ("11".repeat(32), "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t");
    for (accounts, told) in [
        (vec![], "needs an account"),
        (vec![account(&id, to), account(&id, to)], "twice"),
        (vec![account("11", to)], "64 hex digits"),
        (vec![account(&id, "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u")], "holds no ledger"),
    ] {
        let error = failure(&root_of(&serde_json::json!({ "settlement": 1, "accounts": accounts })), 1);
        assert!(error.contains(told) && error.contains("ledger.json"), "{error}");
    }
    assert!(failure(&root_of(&serde_json::json!({ "settlement": 1, "account": [] })), 1).contains("account"));
}
