//! `lucid db` as people and scripts use it. What a store holds of a chain is tested with the commands' code, and in networks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use lucid_node::chain::watermark::Watermark;
use lucid_storage::{HistoryKind, HistoryRecord, OwnKind, Store};
use lucid_types::id::NetworkId;
use lucid_types::time::Height;
use serde_json::Value;

use crate::fixture::genesis;

/// A home whose node, the only validator, has run and is stopped.
struct Stopped {
    folder: tempfile::TempDir,
    network: NetworkId,
}

impl Stopped {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = make_home(&folder.path().join("home"), &["--role", "validator"], 1);
        let stopped = Self { folder, network };
        let mut watermark = Watermark::open(&stopped.home().join("validator-watermark"), network, false).unwrap();
        watermark.signs(Height::new(1), 2).unwrap();
        let store = stopped.open();
        store.put(OwnKind::Counter, b"boot", &1_u64.to_be_bytes()).unwrap();
        let (key, value) = (vec![0], 5_u64.to_be_bytes().to_vec());
        store.write_history(&[HistoryRecord { kind: HistoryKind::Vault, key, value, expires: None }], &[]).unwrap();
        stopped
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn db(&self) -> PathBuf {
        self.home().join("db")
    }

    fn open(&self) -> Store {
        Store::open(&self.db(), self.network).unwrap()
    }

    /// The newest file of RocksDB's log.
    fn log(&self) -> PathBuf {
        let files = fs::read_dir(self.db()).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "log")).max().unwrap()
    }
}

/// Makes a home whose own node is the validator of the genesis.
fn make_home(home: &Path, roles: &[&str], seed: u8) -> NetworkId {
    let made = json(&lucid(home, &[&["init", "--json", "--local"], roles].concat()));
    let mut genesis = genesis(Duration::from_secs(5), &[seed]);
    if roles.contains(&"validator") {
        genesis.validators[0] = serde_json::from_value(made["validator"].clone()).unwrap();
    }
    fs::write(home.join("genesis.toml"), toml::to_string(&genesis).unwrap()).unwrap();
    genesis.network_id()
}

fn lucid(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("LUCID_") {
            command.env_remove(variable);
        }
    }
    command.env_remove("RUST_LOG").arg("--home").arg(home).args(args).output().unwrap()
}

#[track_caller]
fn out(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_str(&out(output)).unwrap()
}

/// The message of a command that failed.
#[track_caller]
fn failure(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

const ALL: [&[&str]; 6] = [
    &["db", "stats"],
    &["db", "check"],
    &["db", "repair"],
    &["db", "backup"],
    &["db", "restore", "any"],
    &["db", "compact"],
];

#[test]
fn stats_check_and_compact_tell_of_a_sound_store_and_change_nothing() {
    let stopped = Stopped::new();
    let stats = json(&lucid(&stopped.home(), &["db", "stats", "--json"]));
    assert_eq!((&stats["format"], &stats["head"]), (&Value::from(11), &Value::Null));
    assert_eq!(stats["network_id"], stopped.network.to_string());
    let own = stats["families"].as_array().unwrap().iter().find(|family| family["family"] == "own").unwrap().clone();
    assert_eq!((&own["entries"], &own["is_exact"]), (&Value::from(1), &Value::from(true)));
    assert_eq!(stats["state"].as_array().unwrap().len(), 24, "{stats}");
    let text = out(&lucid(&stopped.home(), &["db", "stats"]));
    assert!(text.contains("no block yet") && text.contains("ScoreRoots"), "{text}");

    let check = json(&lucid(&stopped.home(), &["db", "check", "--json"]));
    assert_eq!((&check["sound"], &check["signatures_checked"]), (&Value::from(true), &Value::from(true)), "{check}");
    assert_eq!((&check["silent_through"], &check["checked"]["own"]), (&Value::from(1), &Value::from(1)), "{check}");
    let text = out(&lucid(&stopped.home(), &["db", "check", "--quick"]));
    assert!(text.ends_with("sound\n") && text.contains("without signatures"), "{text}");
    let with_chunks = json(&lucid(&stopped.home(), &["db", "check", "--chunks", "--json"]));
    assert_eq!((&check["chunks"], &with_chunks["chunks"]), (&Value::Null, &Value::from(0)));
    let repair = out(&lucid(&stopped.home(), &["db", "repair", "--yes"]));
    assert_eq!(repair, "the store is sound: there is nothing to repair\n");

    let compacted = json(&lucid(&stopped.home(), &["db", "compact", "--json"]));
    assert!(compacted["bytes_before"].as_u64().unwrap() > 0 && compacted["bytes_after"].as_u64().unwrap() > 0);
    assert_eq!(json(&lucid(&stopped.home(), &["db", "check", "--json"]))["sound"], true);
    let help = out(&lucid(&stopped.home(), &["db", "repair", "--help"]));
    assert!(help.contains("Example:") && help.contains("lucid db repair --yes"), "{help}");
}

#[test]
fn a_store_in_use_names_its_process() {
    let stopped = Stopped::new();
    let store = stopped.open();
    let backup = store.backup(&stopped.home().join("backups")).unwrap();
    let restore = ["db", "restore", backup.path.to_str().unwrap(), "--replace", "--yes"];
    for args in ALL.iter().take(4).chain([&ALL[5], &restore.as_slice()]) {
        let told = failure(&lucid(&stopped.home(), args));
        let owner = format!("in use by process {}: stop that process", std::process::id());
        assert!(told.contains(&owner), "{args:?}: {told}");
    }
    assert!(store.own(OwnKind::Counter, b"boot").unwrap().is_some(), "it is as it was");
}

#[test]
fn an_empty_home_no_home_and_another_network_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    for args in ALL {
        let told = failure(&lucid(&home, args));
        assert!(told.contains("there is no Lucid home at") && told.contains("lucid init"), "{args:?}: {told}");
    }
    make_home(&home, &["--role", "worker"], 1);
    for args in ALL {
        let told = failure(&lucid(&home, args));
        let wanted =
            if args[1] == "restore" { "there is no backup at any: there are none in" } else { "there is no store at" };
        assert!(told.contains(wanted), "{args:?}: {told}");
        assert!(!home.join("db").exists(), "{args:?}: nothing is made");
    }
    fs::remove_file(home.join("genesis.toml")).unwrap();
    assert!(failure(&lucid(&home, &["db", "stats"])).contains("genesis.toml is missing"));

    let stopped = Stopped::new();
    let backup = json(&lucid(&stopped.home(), &["db", "backup", "--json"]));
    let other = genesis(Duration::from_secs(6), &[1]);
    fs::write(stopped.home().join("genesis.toml"), toml::to_string(&other).unwrap()).unwrap();
    let name = Path::new(backup["backup"].as_str().unwrap()).file_name().unwrap().to_str().unwrap();
    for args in ALL.iter().filter(|args| args[1] != "restore").chain([&["db", "restore", name].as_slice()]) {
        let told = failure(&lucid(&stopped.home(), args));
        assert!(told.contains(&stopped.network.to_string()) && told.contains("genesis"), "{args:?}: {told}");
    }
}

#[test]
fn a_backup_is_made_listed_restored_and_a_damaged_one_refused() {
    let stopped = Stopped::new();
    let made = json(&lucid(&stopped.home(), &["db", "backup", "--json"]));
    let path = PathBuf::from(made["backup"].as_str().unwrap());
    assert_eq!(path.parent().unwrap(), stopped.home().join("backups"));
    let told = failure(&lucid(&stopped.home(), &["db", "restore", "none"]));
    assert!(told.contains(&format!("these are there: {}", path.display())), "{told}");
    let name = path.file_name().unwrap().to_str().unwrap();
    let told = failure(&lucid(&stopped.home(), &["db", "restore", name, "--yes"]));
    assert!(told.contains("with --replace it is kept aside"), "{told}");
    let would = out(&lucid(&stopped.home(), &["db", "restore", name, "--replace"]));
    assert!(would.contains("nothing has been changed") && would.contains("silent until block 1 is decided"), "{would}");
    let restored = json(&lucid(&stopped.home(), &["db", "restore", name, "--replace", "--yes", "--json"]));
    assert_eq!((&restored["done"], &restored["silent_through"]), (&Value::from(true), &Value::from(1)));
    assert!(Path::new(restored["replaced"].as_str().unwrap()).join("CURRENT").exists());
    assert!(stopped.open().own(OwnKind::Counter, b"boot").unwrap().is_some());

    fs::remove_dir_all(stopped.db()).unwrap();
    out(&lucid(&stopped.home(), &["db", "restore", name, "--yes"]));
    assert_eq!(json(&lucid(&stopped.home(), &["db", "check", "--json"]))["sound"], true);

    fs::remove_file(stopped.home().join("validator-watermark")).unwrap();
    let told = failure(&lucid(&stopped.home(), &["db", "restore", name, "--replace", "--yes"]));
    assert!(told.contains("validator-watermark is missing, and this node has the role of a validator"), "{told}");
    let told = failure(&lucid(&stopped.home(), &["db", "check"]));
    assert!(told.contains("1 thing is wrong"), "{told}");

    let file = fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()).find(|path| path.ends_with("CURRENT"));
    fs::remove_file(file.unwrap()).unwrap();
    let told = failure(&lucid(&stopped.home(), &["db", "restore", name]));
    assert!(told.contains("is damaged: its file CURRENT is missing; choose another"), "{told}");
    let told = failure(&lucid(&stopped.home(), &["db", "restore", stopped.home().to_str().unwrap()]));
    assert!(told.contains("is not a backup"), "{told}");
}

#[test]
fn damage_is_named_and_repaired() {
    let stopped = Stopped::new();
    let log = stopped.log();
    let mut bytes = fs::read(&log).unwrap();
    bytes[9] ^= 1;
    fs::write(&log, bytes).unwrap();
    let output = lucid(&stopped.home(), &["db", "check", "--json"]);
    assert!(failure(&output).contains("`lucid db repair` says what it would keep"));
    let check: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(check["sound"], false);
    let name = log.file_name().unwrap().to_str().unwrap();
    assert!(check["findings"].as_array().unwrap().iter().any(|it| it["file"] == name), "{check}");

    let would = out(&lucid(&stopped.home(), &["db", "repair"]));
    assert!(would.contains("this would be done:") && would.contains("silent until block 1 is decided"), "{would}");
    assert!(would.contains("own records are lost"), "{would}");
    let left: Vec<_> = fs::read_dir(stopped.home()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("db.")), "{left:?}");
    let repaired = json(&lucid(&stopped.home(), &["db", "repair", "--yes", "--json"]));
    assert_eq!((&repaired["done"], &repaired["repaired"]["chain"]), (&Value::from(true), &Value::from("empty")));
    assert!(Path::new(repaired["damaged"].as_str().unwrap()).join(name).exists());
    assert_eq!(json(&lucid(&stopped.home(), &["db", "check", "--json"]))["sound"], true);

    fs::remove_file(stopped.home().join("validator-watermark")).unwrap();
    fs::remove_file(stopped.db().join("CURRENT")).unwrap();
    let told = failure(&lucid(&stopped.home(), &["db", "repair", "--yes"]));
    assert!(told.contains("validator-watermark is missing, and this node has the role of a validator"), "{told}");
}

#[test]
fn a_check_names_what_is_wrong_with_chunks_and_leaves_it() {
    let stopped = Stopped::new();
    let chunks = stopped.home().join("chunks");
    fs::create_dir_all(&chunks).unwrap();
    fs::write(chunks.join("notes.txt"), "mine").unwrap();
    assert_eq!(json(&lucid(&stopped.home(), &["db", "check", "--json"]))["sound"], true);
    let told = failure(&lucid(&stopped.home(), &["db", "check", "--chunks"]));
    assert!(told.contains("the store is sound") && told.contains("1 thing is wrong"), "{told}");
    let output = lucid(&stopped.home(), &["db", "check", "--chunks", "--json"]);
    let check: Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = chunks.join("notes.txt");
    assert_eq!(check["findings"][0]["file"], file.display().to_string(), "{check}");
    assert!(file.exists());
}

/// RocksDB's checksum of a record: CRC-32C, rotated and offset.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[test]
fn a_store_of_format_10_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let network = make_home(&home, &["--role", "worker"], 1);
    drop(Store::open(&home.join("db"), network).unwrap());
    // The record in RocksDB's log that holds the version, made that of the format before.
    let files = fs::read_dir(home.join("db")).unwrap().map(|file| file.unwrap().path());
    let log = files.filter(|path| path.extension().is_some_and(|end| end == "log")).max().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let wanted = b"\x06format\x04\x00\x00\x00\x0b";
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
    bytes[at + wanted.len() - 1] = 10;
    let mut header = 0;
    loop {
        let length = usize::from(u16::from_le_bytes([bytes[header + 4], bytes[header + 5]]));
        let end = header + 7 + length;
        if (header..end).contains(&at) {
            let sum = checksum(&bytes[header + 6..end]);
            bytes[header..header + 4].copy_from_slice(&sum.to_le_bytes());
            break;
        }
        header = end;
    }
    fs::write(&log, bytes).unwrap();
    // As after a crash: else it is said that the file was changed.
    fs::remove_file(home.join("db/lucid.files")).unwrap();
    for args in ALL.iter().filter(|args| args[1] != "restore") {
        let output = lucid(&home, args);
        let told = failure(&output) + &String::from_utf8_lossy(&output.stdout);
        let wanted = "has format 10, this program reads format 11 only: begin with an empty home";
        assert!(told.contains(wanted), "{args:?}: {told}");
    }
}
