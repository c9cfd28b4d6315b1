//! The owner of a running network's pool: changes that the ledger, the signers and the contract take together.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{errors, file, json as answer, path, refused, run, text};
use crate::harness::{Network, PATIENCE, lucid};

/// The owner's node: it is no part of the network that `up` runs.
struct Owner {
    child: Child,
    home: PathBuf,
    api: SocketAddr,
}

impl Owner {
    fn start(home: PathBuf) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (api, metrics) = (free(), free());
        let log = std::fs::File::create(home.join("node.log")).unwrap();
        let child = Command::new(lucid())
            .args(["run", "--home", path(&home), "--set", &format!("metrics.listen={metrics}")])
            .args(["--set", &format!("api.listen={api}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, home, api }
    }

    /// `lucid` in the owner's home.
    fn run(&self, arguments: &[&str]) -> Output {
        run(arguments, &["--home", path(&self.home), "--set", &format!("api.listen={}", self.api)])
    }

    /// A write to the contract, with the owner's TRON key.
    fn send(&self, arguments: &[&str]) -> Output {
        let (_, key) = file(&self.home, "vault-owner.key");
        self.run(&[arguments, &["--key-file", &key, "--yes", "--json"]].concat())
    }

    /// What the node's API answers.
    fn get(&self, at: &str) -> Value {
        let mut stream = TcpStream::connect(self.api).unwrap();
        stream.write_all(format!("GET {at} HTTP/1.0\r\nhost: {}\r\n\r\n", self.api).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Asks until what comes is wanted.
    #[track_caller]
    fn until(&self, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.run(arguments);
            if output.status.success() {
                let found = answer(&output);
                if wanted(&found) {
                    return found;
                }
            }
            assert!(
                Instant::now() < deadline,
                "{arguments:?}: {}{}",
                String::from_utf8_lossy(&output.stdout),
                errors(&output)
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn home(net: &Network, name: &str) -> String {
    net.dir().join(name).to_str().unwrap().to_owned()
}

/// Signs a command's file in a node's home.
fn sign(net: &Network, name: &str, command: &str, more: &[&str]) -> Output {
    run(&["command", "sign", "--file", command], &[&["--home", &home(net, name)], more].concat())
}

fn toml_of(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).unwrap();
    toml::from_str(&text).unwrap()
}

#[test]
fn an_owner_directs_the_pool_of_a_running_network() {
    let mut net = Network::up(&["--validators", "3", "--workers", "2", "--epoch-length", "3s"]);
    net.ready();
    let owner = Owner::start(net.dir().join("owner"));
    owner.until(&["status", "--json"], |status| status["height"].as_u64() > Some(0) && status["sync"] == "synced");

    // What the genesis says is what stands on the chain.
    let verified = answer(&owner.run(&["vault", "verify", "--json"]));
    assert_eq!((&verified["is_ok"], text(&verified, "/expected_from")), (&json!(true), "the ledger"), "{verified}");
    assert_eq!(answer(&owner.run(&["tron", "status", "--json"]))["is_pinned"], true);

    // A payday, seen from the owner's node.
    let shown =
        owner.until(&["vault", "show", "--json"], |shown| shown["vault"]["paid_out_micro_usdt"].as_u64() > Some(0));
    assert_eq!(shown["signers"].as_array().unwrap().len(), 3);
    let pool = answer(&owner.run(&["pool", "show", "--json"]));
    let ledger = owner.get(&format!("/api/v1/pools/{}/root", text(&pool, "/pool")));
    let (ledger_file, ledger_path) = file(&net.dir(), "ledger.json");
    std::fs::write(ledger_file, ledger.to_string()).unwrap();
    let root = answer(&owner.run(&["vault", "root", "--file", &ledger_path, "--json"]));
    assert_eq!((&root["root"], root["accounts"].as_array().unwrap().len()), (&ledger["root"], 2));
    let rehearsed = answer(&owner.run(&["vault", "rehearse", "--json"]));
    assert_eq!((&rehearsed["recipients"], &rehearsed["top_up_micro_usdt"]), (&json!(2), &json!(0)), "{rehearsed}");
    assert_eq!(rehearsed["elected"][0]["suffices"], true, "{rehearsed}");
    assert_eq!((&rehearsed["is_closed"], &rehearsed["allowed_per_day_sun"]), (&json!(false), &json!(500_000_000)));
    let listed = answer(&owner.run(&["payout", "list", "--json"]));
    let one = text(&listed, "/payouts/0/payout_id").to_owned();
    assert_eq!(text(&answer(&owner.run(&["payout", "show", &one, "--json"])), "/payout_id"), one);
    let first = listed["payouts"].as_array().unwrap().iter().filter_map(|it| it["settlement"].as_u64()).min().unwrap();
    let first = first.to_string();
    let csv = |range: &[&str]| {
        let output = owner.run(&[&["payout", "export", "--format", "csv", "--to", &first], range].concat());
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let exported = csv(&[]);
    assert_eq!((exported.lines().count(), exported.lines().next().unwrap().split(',').count()), (3, 13), "{exported}");
    assert!(csv(&["--own"]).lines().count() == 1, "the owner is no worker");

    // A claim by a worker that everything was pushed for.
    let (_, gas) = file(&net.dir().join("worker-1"), "gas.key");
    let claim = ["payout", "claim", "--key-file", &gas, "--yes", "--file", &ledger_path];
    let claimed = run(&claim, &["--home", &home(&net, "worker-1")]);
    assert!(claimed.status.success() || claimed.status.code() == Some(1), "{}", errors(&claimed));

    // The owner alone.
    let worker =
        text(&answer(&run(&["status", "--json"], &["--home", &home(&net, "worker-2")])), "/node_id").to_owned();
    let dry = answer(&owner.run(&["pool", "hold", &worker, "--dry-run", "--json"]));
    assert_eq!((&dry["dry_run"], &dry["command"]["command"]["nonce"]), (&json!(true), &json!(2)));
    let (dry_file, dry_path) = file(&net.dir(), "dry.json");
    std::fs::write(dry_file, dry["command"].to_string()).unwrap();
    refused(&owner.run(&["command", "submit", "--file", &dry_path, "--yes"]), &["signatures are missing"]);
    let dry = owner.run(&["pool", "hold", &worker[..16], "--dry-run"]);
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(dry.status.success() && said.contains("would be signed by this node and sent"), "{said}");
    assert!(said.contains(&format!("holds member {worker}")), "{said}");
    refused(&owner.run(&["pool", "hold", &worker]), &["--yes"]);
    // What no block would take is refused before it is signed.
    let nobody = "01".repeat(32);
    for (act, told) in [
        (&["pool", "hold", nobody.as_str()][..], "has an id that begins with"),
        (&["pool", "correct", nobody.as_str(), "5"], "has no such account"),
        (&["pool", "losses", "5000000000000"], "too great to count"),
        (&["pool", "suspend", "--end"], "is so already"),
        (&["pool", "resume", worker.as_str()], "is not held"),
    ] {
        refused(&owner.run(&[act, &["--dry-run"]].concat()), &[told]);
    }
    // A dry run says that others must sign, and is no failure.
    let losses = ["pool", "losses", "5", "--dry-run"];
    assert_eq!(answer(&owner.run(&[&losses[..], &["--json"]].concat()))["dry_run"], true);
    let dry = owner.run(&losses);
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(dry.status.success() && said.contains("Nothing would be sent: this command needs more"), "{said}");
    refused(
        &run(&["pool", "hold", &worker, "--yes"], &["--home", &home(&net, "worker-1")]),
        &["has no say in this command", "neither as owner"],
    );
    // From the owner's home alone: its commands ask the first node.
    let asking = |arguments: &[&str]| answer(&run(arguments, &["--home", path(&owner.home)]));
    let first = answer(&run(&["status", "--json"], &["--home", &home(&net, "validator-1")]));
    assert_eq!(asking(&["status", "--json"])["node_id"], first["node_id"]);
    let (_, late) = file(&net.dir(), "late.json");
    answer(&owner.run(&["pool", "suspend", "--file", &late, "--yes", "--json"]));
    let held = asking(&["pool", "hold", &worker, "--yes", "--json"]);
    assert!(held["height"].as_u64() > Some(0), "{held}");
    // Another command has its number: nobody says that it was carried out.
    refused(
        &owner.run(&["command", "submit", "--file", &late, "--yes"]),
        &["another command has taken the number 2", "was not carried out"],
    );
    owner.until(&["pool", "show", "--json"], |pool| pool["holds"][0]["node"] == json!(worker));
    for act in ["--yes", "--dry-run"] {
        refused(&owner.run(&["pool", "hold", &worker, act]), &["is held already"]);
    }
    answer(&owner.run(&["pool", "resume", &worker, "--yes", "--json"]));

    // Limits: the owner and two signers in the ledger, then the contract.
    let (_, command) = file(&net.dir(), "limits.json");
    let propose = ["vault", "limits", "propose", "--cap", "400000", "--json"];
    refused(&owner.run(&[&propose[..], &["--yes"]].concat()), &["give --file"]);
    answer(&owner.run(&[&propose[..], &["--yes", "--file", &command]].concat()));
    refused(
        &owner.run(&["command", "submit", "--file", &command, "--yes"]),
        &["signatures are missing", "2 of the signers"],
    );
    refused(&owner.send(&["vault", "limits", "apply"]), &["the ledger has no change of limits"]);
    let dry = sign(&net, "validator-1", &command, &["--dry-run"]);
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(said.contains("400000.000000 USDT") && said.contains("still missing"), "{said}");
    for name in ["validator-1", "validator-2"] {
        answer(&sign(&net, name, &command, &["--yes", "--json"]));
    }
    refused(&sign(&net, "validator-1", &command, &["--yes"]), &["has signed the command already"]);
    // One who is no signer does not spoil it.
    answer(&sign(&net, "worker-1", &command, &["--yes", "--json"]));
    let good = std::fs::read_to_string(&command).unwrap();
    std::fs::write(&command, good.replace("400000000000", "900000000000")).unwrap();
    refused(&owner.run(&["command", "submit", "--file", &command, "--yes"]), &["changed after it was signed"]);
    std::fs::write(&command, good).unwrap();
    let taken = answer(&owner.run(&["command", "submit", "--file", &command, "--yes", "--json"]));
    // Whoever is interrupted asks again, and does not make it anew.
    let again = owner.run(&["command", "submit", "--file", &command, "--yes", "--json"]);
    assert!(errors(&again).contains("a block holds the command already"), "{}", errors(&again));
    assert_eq!(answer(&again)["height"], taken["height"]);
    let dry = answer(&owner.run(&[
        "vault",
        "limits",
        "apply",
        "--dry-run",
        "--json",
        "--key-file",
        &file(&owner.home, "vault-owner.key").1,
    ]));
    assert_eq!((&dry["dry_run"], &dry["cap_micro_usdt"]), (&json!(true), &json!(400_000_000_000_u64)));
    answer(&owner.send(&["vault", "limits", "apply"]));
    refused(&owner.send(&["vault", "limits", "apply"]), &["has the ledger's newest change of limits already"]);

    // Other signers: the same nodes in another order, a new era, and paydays go on under it.
    let genesis = toml_of(&net.dir().join("genesis.toml"));
    let signing = toml_of(&net.dir().join("owner/vault.toml"));
    let signers = signing["pool"]["vault"]["signers"]["signer"].as_array().unwrap().iter().rev();
    let signers: Vec<_> =
        signers.map(|signer| format!("{}={}", text(signer, "/node"), text(signer, "/key_address"))).collect();
    let (_, rotation) = file(&net.dir(), "rotation.json");
    let mut propose = vec!["vault", "rotate", "propose", "--threshold", "2", "--file", &rotation, "--yes", "--json"];
    propose.extend(signers.iter().flat_map(|signer| ["--signer", signer.as_str()]));
    // The node must have seen that the contract took the limits.
    owner.until(&["pool", "show", "--json"], |pool| pool["contract"]["nonce"] == 1);
    // A contract can never sign: what a block and the vault would take is refused before it is signed.
    let (vault, usdt) = (text(&pool, "/vault/address"), text(&genesis, "/tron/usdt"));
    let by_contract = format!("{}={vault}", signers[0].split_once('=').unwrap().0);
    let mut wrong = propose.clone();
    wrong[10] = &by_contract;
    refused(&owner.run(&wrong), &[vault, "has no key and can never sign"]);
    // The genesis says what the token is.
    let (_, key) = file(&owner.home, "vault-owner.key");
    let mut deploy =
        vec!["vault", "deploy", "--new-pool", "--cap", "5", "--threshold", "1", "--key-file", &key, "--dry-run"];
    let signer = text(&signing, "/pool/vault/signers/signer/0/key_address");
    deploy.extend(["--signer", signer, "--token"]);
    refused(
        &owner.run(&[&deploy[..], &[signer]].concat()),
        &[usdt, "Leave --token out", "leave --home and LUCID_HOME out"],
    );
    assert!(owner.run(&[&deploy[..], &[usdt]].concat()).status.success());
    answer(&owner.run(&propose));
    for name in ["validator-3", "validator-1"] {
        answer(&sign(&net, name, &rotation, &["--yes", "--json"]));
    }
    answer(&owner.run(&["command", "submit", "--file", &rotation, "--yes", "--json"]));
    let rotated = answer(&owner.send(&["vault", "rotate", "apply"]));
    assert_eq!((text(&rotated, "/receipt/events/0/event"), &rotated["era"]), ("SignersChanged", &json!(2)));
    owner.until(&["vault", "show", "--json"], |shown| shown["vault"]["era"] == 2 && !shown["vault"]["root"].is_null());
    let tx = text(&rotated, "/receipt/tx_id");
    let verified = answer(&owner.run(&["vault", "verify", "--json", "--signers-tx", tx]));
    assert_eq!(verified["is_ok"], true, "{verified}");

    // A root that is posted needs no second posting; a newer one can be posted by anybody.
    let posted = run(&["vault", "post", "--key-file", &gas, "--yes"], &["--home", &home(&net, "worker-1")]);
    assert!(posted.status.success() || errors(&posted).contains("posted already"), "{}", errors(&posted));
    drop(owner);
    net.command(&["down"]);
    net.end();
}
