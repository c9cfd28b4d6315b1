//! `lucid vault`, `payout`, `pool` and `tron` without any network: what they refuse, and that nothing is sent then. The commands at
//! work are tested with a real TRON network in `testnet/tests/it/vault_cli`.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::keystore::{self, SecretString};
use lucid_types::amount::MicroUsdt;
use lucid_types::command::{Action, Command as Order};
use lucid_types::id::{PayoutAddress, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::pool::PoolAction;
use lucid_types::time::UnixMillis;
use lucid_types::vault::TreasurySigner;
use serde_json::{Value, json};

use crate::fixture::start::Start;
use crate::fixture::{genesis, node, pool, signing_key, take_over, worker};

const USDT: &str = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";

/// The binary with nobody at a terminal, and no setting in its environment.
fn lucid(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("LUCID_") {
            command.env_remove(variable);
        }
    }
    command.env("HOME", "/nonexistent").args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn refused(output: &Output, code: i32, told: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in told {
        assert!(text.contains(word), "{word:?} is missing:\n{text}");
    }
}

/// A provider that gives every request the same answer, and remembers what it was asked.
struct Provider {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    fn new(status: &'static str, body: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let (log, body) = (Arc::clone(&asked), body.into());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 4_096];
                let n = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..n]).into_owned();
                log.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn private(dir: &Path, name: &str, content: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_cannot_be_meant_is_a_wrong_command_line() {
    let vault = ["--vault", USDT, "--key-file", "k"];
    let ask = |to: &'static str, amount: &'static str| {
        lucid(&[&["vault", "withdraw", "ask", "--to", to, "--amount", amount][..], &vault[..]].concat())
    };
    for (to, amount, told) in [
        (
            "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u",
            "1",
            "\"TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u\" is no TRON address (its checksum",
        ),
        ("0xa614f803b6fd780986a42c78ec9c7f77e6ded13c", "1", "Ethereum"),
        ("41a614f803b6fd780986a42c78ec9c7f77e6ded13c", "1", USDT),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1", "another chain"),
        (USDT, "0.0000001", "6 decimals"),
        (USDT, "0", "more than 0"),
        (USDT, "-1", "cannot be negative"),
        (USDT, "-0.5", "cannot be negative"),
        (USDT, "1,5", "plain number"),
        (USDT, "1e3", "plain number"),
    ] {
        refused(&ask(to, amount), 2, &[told]);
    }
    for (arguments, told) in [
        (&["vault", "deploy", "--key-file", "k", "--cap", "5", "--threshold", "1"][..], "--signer"),
        (
            &[
                "vault",
                "deploy",
                "--key-file",
                "k",
                "--cap",
                "5",
                "--threshold",
                "1",
                "--signer",
                USDT,
                "--delay",
                "1w",
            ],
            "36h",
        ),
        (&["vault", "pause", "--key-file", "k", "--yes", "--dry-run"], "cannot be used with"),
        (&["vault", "limits", "propose"], "--cap"),
        (&["vault", "rotate", "propose", "--threshold", "1", "--signer", USDT], "NODE_ID=ADDRESS"),
        (&["vault", "push", "--key-file", "k", "--batch", "51"], "1..=50"),
        (&["payout", "claim", "--account", "12", "--print-call"], "64 hex digits"),
        (&["payout", "claim"], "--key-file"),
        (&["payout", "claim", "--print-call", "--yes"], "cannot be used with"),
        (&["payout", "export", "--format", "xml"], "csv"),
        (&["tron", "status", "--network", "ropsten"], "mainnet"),
        (&["tron", "tx", "12"], "64 hex digits"),
        (&["tron", "key", "new"], "--out"),
        (&["tron", "key", "new", "--out", "k", "--passphrase-file", "p"], "--keystore"),
        (&["pool", "losses", "0"], "more than 0"),
        (&["pool", "losses", "-5"], "cannot be negative"),
        (&["pool", "hold", "12"], "its first 4 or more"),
        (&["vault", "fund", "--key-file", "k", "--amount", "-1"], "cannot be negative"),
        (&["vault", "close", "--key-file", "k", "--max-trx", "-1"], "cannot be negative"),
        (&["payout", "export"], "--format"),
        (&["payout", "export", "--json", "--format", "csv"], "cannot be used with"),
    ] {
        refused(&lucid(arguments), 2, &[told]);
    }
}

#[test]
fn where_tron_is_must_be_said() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::new("200 OK", "{}");
    refused(&lucid(&["vault", "show", "--vault", USDT]), 1, &["--tron URL --network NETWORK", "--home"]);
    refused(&lucid(&["tron", "status", "--tron", &provider.url()]), 1, &["--network mainnet, nile, shasta or local"]);
    refused(&lucid(&["tron", "status", "--tron", "ftp://x", "--network", "nile"]), 1, &["http"]);
    assert!(provider.asked().is_empty());
    // A home whose network pays elsewhere.
    let home = folder.path().join("home");
    let home = home.to_str().unwrap();
    let file = private(folder.path(), "genesis.toml", &toml::to_string(&start().genesis).unwrap());
    assert!(lucid(&["init", "--home", home, "--genesis", &file]).status.success());
    let there = ["--home", home, "--tron", &provider.url(), "--network", "nile"];
    refused(&lucid(&[&["tron", "status"][..], &there[..]].concat()), 1, &["--network says nile", "pays on local"]);
    refused(&lucid(&["tron", "status", "--home", home]), 1, &["tron.providers of the home is empty"]);
}

#[test]
fn providers_that_answer_nonsense_are_named_and_sent_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("owner.key");
    TronKey::generate().unwrap().save_new(&path).unwrap();
    let key = path.to_str().unwrap();
    let main = "00000000000000001ebf88508a03865c71d452e25f4d51194196a1d22b6653dc";
    let block = |id: &str| json!({ "blockID": id, "block_header": { "raw_data": {} } }).to_string();
    for (status, body, told) in [
        ("200 OK", "<!doctype html><title>Busy</title>".to_owned(), "text instead of JSON"),
        ("200 OK", "{\"blockID\": \"0000".to_owned(), "unknown form"),
        ("200 OK", "{}".to_owned(), "cannot be"),
        ("200 OK", block(main), "serves another network"),
        ("500 Internal Server Error", "no".to_owned(), "status 500"),
        ("200 OK", "x".repeat(40 << 20), "more than"),
    ] {
        let provider = Provider::new(status, body);
        let vault = ["--vault", USDT, "--tron", &provider.url(), "--network", "nile"];
        let pause = lucid(&[&["vault", "pause", "--yes", "--key-file", key][..], &vault[..]].concat());
        refused(&pause, 1, &["no TRON provider can be used for nile", &provider.url(), told]);
        let asked = provider.asked();
        assert!(!asked.is_empty() && asked.iter().all(|line| line.contains("/wallet/getblock")), "{asked:?}");
    }
}

#[test]
fn keys_are_looked_at_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::new("200 OK", "{}");
    let url = provider.url();
    let close = |key: &str| {
        lucid(&["vault", "close", "--yes", "--key-file", key, "--vault", USDT, "--tron", &url, "--network", "nile"])
    };
    refused(&close("/nonexistent/owner.key"), 1, &["--key-file: there is no key file /nonexistent/owner.key"]);
    refused(&close(&private(folder.path(), "empty.key", "")), 1, &["64 hex digits"]);
    let open = private(folder.path(), "open.key", &"1".repeat(64));
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&close(&open), 1, &["--key-file", "mode 0644", &format!("chmod 600 {open}")]);
    let cut = private(folder.path(), "cut.age", "age-encryption.org/v1\n-> scrypt");
    refused(&close(&cut), 1, &["cut.age"]);
    let path = folder.path().join("owner.age");
    let (store, passphrase) = (path.to_str().unwrap(), SecretString::from("correct horse".to_owned()));
    keystore::create(&path, &TronKey::generate().unwrap(), passphrase).unwrap();
    let with = |passphrase: &str| {
        let file = private(folder.path(), "passphrase", passphrase);
        let place = ["--vault", USDT, "--tron", &url, "--network", "nile"];
        lucid(&[&["vault", "close", "--yes", "--key-file", store, "--passphrase-file", &file], &place[..]].concat())
    };
    refused(&with("battery staple"), 1, &["--key-file", "does not open the keystore"]);
    assert!(provider.asked().is_empty());
    // With the right one the next step is reached.
    refused(&with("correct horse\n"), 1, &["no TRON provider can be used"]);
    assert!(!provider.asked().is_empty());
}

#[test]
fn tron_keys_are_made_once_and_shown_by_their_address_only() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = private(folder.path(), "passphrase", "correct horse\n");
    let wrong = private(folder.path(), "wrong", "battery staple\n");
    let opens = ["--passphrase-file", passphrase.as_str()];
    for (name, form, opens) in [("owner.key", &[][..], &[][..]), ("owner.age", &["--keystore"], &opens)] {
        let path = folder.path().join(name);
        let file = path.to_str().unwrap();
        let new = |more: &[&str]| lucid(&[&["tron", "key", "new", "--out", file], form, opens, more].concat());
        let show = |more: &[&str]| lucid(&[&["tron", "key", "show", "--key-file", file], more].concat());
        let made = new(&["--json"]);
        let said = String::from_utf8(made.stdout).unwrap();
        let json: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((json["key_file"].as_str(), &json["is_keystore"]), (Some(file), &json!(!form.is_empty())));
        let address = json["address"].as_str().unwrap();
        let content = fs::read(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let key = match name {
            "owner.key" => TronKey::load(&path).unwrap(),
            _ => keystore::open(&path, || Ok(SecretString::from("correct horse"))).unwrap(),
        };
        assert_eq!(key.address().to_string(), address);
        let shown = show(opens);
        assert_eq!(String::from_utf8(shown.stdout).unwrap(), format!("{address}\n"));
        let shown: Value = serde_json::from_slice(&show(&[opens, &["--json"]].concat()).stdout).unwrap();
        assert_eq!(shown, json!({ "address": address }));
        refused(&new(&[]), 1, &[file, "exists already and is left as it is"]);
        assert_eq!(fs::read(&path).unwrap(), content);
        if name == "owner.key" {
            let secret = String::from_utf8(content).unwrap();
            assert!(secret.len() == 64 && !said.contains(&secret), "the secret is nobody's but the file's");
        } else {
            refused(&show(&["--passphrase-file", &wrong]), 1, &["owner.age", "does not open the keystore"]);
        }
    }
    let none = folder.path().join("none.age");
    let none = none.to_str().unwrap();
    let empty = private(folder.path(), "empty", "");
    let new = ["tron", "key", "new", "--out", none, "--keystore", "--passphrase-file"];
    refused(&lucid(&[&new[..], &[empty.as_str()]].concat()), 1, &["the passphrase is empty"]);
    refused(&lucid(&[&new[..], &["/nonexistent/p"]].concat()), 1, &["none.age", "/nonexistent/p"]);
    refused(&lucid(&["tron", "key", "show", "--key-file", none]), 1, &["there is no key file", none]);
}

/// Node 1 owns a pool; the nodes 2 to 4 sign for its vault, two of them suffice.
fn start() -> Start {
    let signer = |seed| TreasurySigner { node: node(seed), key_address: PayoutAddress::from_hash20([seed; 20]) };
    let pool = pool(1, vec![node(10)], 2, [2, 3, 4].map(signer).to_vec());
    let genesis = genesis(Duration::from_secs(5), &[2, 3, 4]);
    Start { genesis, workers: vec![worker(node(10), 10)], pools: vec![pool] }
}

/// A home of the node of this seed, which knows the pool.
fn home(folder: &Path, seed: u8, start: &Start) -> String {
    let home = folder.join(format!("home-{seed}"));
    let file = private(folder, &format!("genesis-{seed}.toml"), &toml::to_string(&start.genesis).unwrap());
    let path = home.to_str().unwrap();
    assert!(lucid(&["init", "--home", path, "--genesis", &file]).status.success());
    fs::write(home.join("node.key"), hex::encode(NodeKey::from_seed(&[seed; 32]).seed())).unwrap();
    take_over(&home.join("db"), start, &[2, 3, 4].map(signing_key));
    path.to_owned()
}

#[test]
fn a_node_of_another_network_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let start = start();
    let (own, other) = (start.genesis.network_id().to_string(), "ab".repeat(32));
    let home = home(folder.path(), 1, &start);
    // Whatever it is asked, it says whose node it is.
    let node = Provider::new("200 OK", json!({ "network_id": other }).to_string());
    let at = format!("api.listen={}", node.address);
    for command in [
        &["status"][..],
        &["peers"],
        &["score", "leaderboard"],
        &["block", "list"],
        &["epoch", "list"],
        &["payout", "list"],
        &["payout", "show", "abcd"],
        &["payout", "export", "--format", "csv"],
        &["pool", "show"],
        &["pool", "suspend", "--yes"],
        &["vault", "limits", "propose", "--cap", "5", "--yes", "--file", "/nonexistent/limits.json"],
    ] {
        let output = lucid(&[command, &["--home", &home, "--set", &at]].concat());
        refused(&output, 1, &[&own, &other, "another network's node", "--home", "api.listen"]);
        assert!(output.stdout.is_empty(), "{command:?}");
    }
    let asked = node.asked();
    assert!(!asked.is_empty() && asked.iter().all(|line| line.contains("GET /api/v1/status ")), "{asked:?}");
    // A node of the own network is asked what it was meant to be asked.
    let node = Provider::new("200 OK", json!({ "network_id": own }).to_string());
    let at = format!("api.listen={}", node.address);
    refused(&lucid(&["peers", "--home", &home, "--set", &at]), 1, &["another answer than this version expects"]);
    assert_eq!(node.asked().len(), 2);
    // Who has no home is told that one is needed.
    refused(
        &lucid(&["pool", "show", "--home", "/nonexistent/home"]),
        1,
        &["no home at /nonexistent/home", "--home DIR"],
    );
}

#[test]
fn commands_are_signed_offline_by_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let start = start();
    let network = start.genesis.network_id();
    let pool = PoolId::derive(&network, &start.pools[0].name);
    let action = Action::Pool { pool, action: PoolAction::Losses(MicroUsdt::new(1_250_000)) };
    let record = Order { account: node(1), nonce: 0, until: UnixMillis::new(u64::MAX), action };
    let signed = NodeKey::from_seed(&[1; 32]).sign_command(&network, record.clone()).into_inner();
    let command = json!({
        "network_id": network, "command": record,
        "signatures": [{ "key": signed.signer, "signature": signed.signature }],
    });
    let file = private(folder.path(), "losses.json", &command.to_string());
    let sign = |seed: u8, more: &[&str]| {
        let home = folder.path().join(format!("home-{seed}"));
        let home =
            if home.exists() { home.to_str().unwrap().to_owned() } else { self::home(folder.path(), seed, &start) };
        lucid(&[&["command", "sign", "--file", &file, "--home", &home][..], more].concat())
    };
    let dry = sign(2, &["--dry-run"]);
    let text = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(dry.status.success(), "{}", String::from_utf8_lossy(&dry.stderr));
    for part in ["books 1.250000 USDT as lost", "2 of the signers", "owner", "the home's store", "would be added to"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Nothing that could be handed in is printed, be it the own signature or another's.
    let dry: Value = serde_json::from_slice(&sign(2, &["--dry-run", "--json"]).stdout).unwrap();
    assert_eq!((&dry["command"]["signatures"], &dry["signed_by"]), (&json!([]), &json!([node(1)])), "{dry}");
    refused(&sign(2, &[]), 1, &["--yes"]);
    refused(&sign(1, &["--yes"]), 1, &["has signed the command already"]);
    let read = || -> Value { serde_json::from_slice(&fs::read(&file).unwrap()).unwrap() };
    assert_eq!(read(), command, "nothing was signed");
    for (seed, more) in [(3, "1 of the signers"), (2, "lucid command submit")] {
        let output = sign(seed, &["--yes"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(more), "{said}{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(read()["signatures"].as_array().unwrap().len(), 3);

    let good = fs::read_to_string(&file).unwrap();
    for (from, to, told) in [
        ("1250000", "1250001", "changed after it was signed"),
        (&*network.to_string(), &*"ab".repeat(32), "is for the network abab"),
        ("\"nonce\"", "\"nonse\"", "holds no command"),
    ] {
        fs::write(&file, good.replace(from, to)).unwrap();
        refused(&sign(4, &["--yes"]), 1, &["losses.json", told]);
    }
    fs::write(&file, &good[..good.len() / 2]).unwrap();
    refused(&sign(4, &["--yes"]), 1, &["losses.json", "holds no command"]);
}

#[test]
fn ledgers_that_are_none_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let root = |name: &str, content: &str| lucid(&["vault", "root", "--file", &private(folder.path(), name, content)]);
    let account = |n: u8| json!({ "id": hex::encode([n; 32]), "to": USDT, "owed_micro_usdt": 1 });
    let whole = json!({ "settlement": 1, "accounts": [account(1), account(2)] });
    assert!(root("good.json", &whole.to_string()).status.success());
    let with = |key: &str, value: Value| {
        let mut ledger = whole.clone();
        ledger[key] = value;
        ledger.to_string()
    };
    for (content, told) in [
        ("<html>".to_owned(), "web page"),
        (whole.to_string()[..40].to_owned(), "cut off"),
        (with("n_accounts", json!(3)), "holds 2 of its 3 accounts"),
        (with("root", json!("00".repeat(32))), "they were changed, or stand in another order"),
        (with("accounts", json!([account(1), account(1)])), "twice"),
        (with("accounts", json!([])), "needs an account"),
        (with("surprise", json!(1)), "surprise"),
        (whole.to_string().replace(USDT, "0xa614f803b6fd780986a42c78ec9c7f77e6ded13c"), "PayoutAddress"),
    ] {
        refused(&root("bad.json", &content), 1, &["bad.json", told]);
    }
    refused(&lucid(&["vault", "root", "--file", "/nonexistent"]), 1, &["/nonexistent cannot be read"]);
}
