//! A validator whose database comes from a backup, and a worker whose database was damaged and repaired.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{Network, lucid, until};

/// Whose database is put back.
const RESTORED: &str = "validator-4";
/// Whose database is damaged.
const DAMAGED: &str = "worker-1";

/// `lucid db` in a home.
fn db(home: &Path, arguments: &[&str]) -> Output {
    Command::new(lucid()).args(["db", "--home"]).arg(home).args(arguments).output().unwrap()
}

#[track_caller]
fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// For each height up to `last`, whether the key's vote stands in a certificate that a validator holds.
fn votes(net: &Network, last: u64, key: &str) -> BTreeMap<(u64, &'static str), bool> {
    let mut votes = BTreeMap::new();
    for name in ["validator-1", "validator-2", "validator-3"] {
        for height in 1..=last {
            // A validator may be a block behind.
            if let Some(certificate) = net.ask(name, &format!("/api/v1/blocks/{height}/certificate")) {
                votes.insert((height, name), certificate.to_string().contains(key));
            }
        }
    }
    votes
}

#[test]
fn a_restored_validator_signs_nothing_again_and_a_repaired_node_catches_up() {
    let mut net = Network::up(&["--workers", "2", "--epoch-length", "2s"]);
    net.ready();
    net.node_final_through(RESTORED, 2);
    let (home, key) = (net.home(RESTORED), net.validator_key(RESTORED));
    let refused = db(&home, &["backup"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    let pid = net.pid(RESTORED).unwrap();
    assert!(!refused.status.success() && told.contains(&format!("in use by process {pid}")), "{told}");

    net.kill(&[RESTORED]);
    let backup = answer(&db(&home, &["backup", "--json"]));
    let backed_up = backup["head"]["height"].as_u64().unwrap();
    net.start_again(&[RESTORED]);
    // It signs for epochs that the backup does not know.
    let height = until("the network goes on", || net.status_number("validator-1", "height"));
    until("votes after the backup", || {
        let now = net.status_number("validator-1", "height")?;
        let voted = votes(&net, now, &key).into_iter().filter(|((at, _), is_in)| *at > height && *is_in).count();
        (voted > 3).then_some(())
    });
    let epoch = net.status_number(RESTORED, "final_epoch").unwrap();
    net.node_final_through(RESTORED, epoch + 1);

    net.kill(&[RESTORED, DAMAGED]);
    let name = backup["backup"].as_str().unwrap();
    let restored = answer(&db(&home, &["restore", name, "--replace", "--yes", "--json"]));
    let silent = restored["silent_through"].as_u64().unwrap();
    assert!(silent > backed_up, "{restored}");
    let newest = votes(&net, silent, &key).into_iter().filter(|(_, is_in)| *is_in).map(|((at, _), _)| at).max();
    assert!(newest.is_some_and(|newest| newest <= silent), "{newest:?}");
    until("the height is decided by the others", || {
        (net.status_number("validator-1", "height")? > silent).then_some(())
    });
    let before = votes(&net, silent, &key);

    // Meanwhile a block of the worker's newest log, or table, rots.
    let worker = net.home(DAMAGED);
    let files = std::fs::read_dir(worker.join("db")).unwrap().map(|file| file.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|end| end == "log"));
    let log = logs.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let checked = db(&worker, &["check", "--json"]);
    assert_eq!(checked.status.code(), Some(1));
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(!checked["findings"].as_array().unwrap().is_empty(), "{checked}");
    let would = answer(&db(&worker, &["repair", "--json"]));
    assert_eq!((&would["done"], &would["sound"]), (&Value::from(false), &Value::from(false)), "{would}");
    let repaired = answer(&db(&worker, &["repair", "--yes", "--json"]));
    assert_eq!((&repaired["done"], &repaired["repaired"]), (&Value::from(true), &would["repaired"]));
    assert!(Path::new(repaired["damaged"].as_str().unwrap()).join("CURRENT").exists());
    assert_eq!(answer(&db(&worker, &["check", "--json"]))["sound"], true);

    net.start_again(&[RESTORED, DAMAGED]);
    let said = format!("it signs nothing before block {silent} is decided");
    let log = home.join("node.log");
    until("the log says until when it is silent", || std::fs::read_to_string(&log).ok()?.contains(&said).then_some(()));
    until("it votes again", || {
        let now = net.status_number("validator-1", "height")?;
        let is_new = |((at, _), is_in): ((u64, &str), bool)| at > silent && is_in;
        votes(&net, now, &key).into_iter().any(is_new).then_some(())
    });
    let epoch = net.status_number("validator-1", "final_epoch").unwrap();
    net.names().iter().for_each(|name| net.node_final_through(name, epoch + 2));

    // Nothing of what it had signed has another vote now, and nobody has proof of one.
    let after = votes(&net, silent, &key);
    assert!(before.iter().all(|(at, is_in)| after.get(at) == Some(is_in)), "{before:?}\n{after:?}");
    let validators = net.get("validator-1", "/api/v1/validators");
    let validators = validators["validators"].as_array().unwrap().clone();
    assert_eq!(validators.len(), 4);
    assert!(validators.iter().all(|validator| validator["equivocation"].is_null()), "{validators:?}");
    let newest = net.status_number("validator-1", "height").unwrap();
    let block = |name: &str| until("the newest block", || net.ask(name, &format!("/api/v1/blocks/{newest}")));
    let expected = block("validator-1");
    for name in net.names() {
        let block = block(&name);
        assert_eq!(
            (&block["block_hash"], &block["state_root"]),
            (&expected["block_hash"], &expected["state_root"]),
            "{name}"
        );
    }
    net.command(&["down"]);
    net.succeeded();
}
