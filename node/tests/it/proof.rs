//! Proofs as people get and check them: the API's answers, and the commands, with the golden documents.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::Ordering;

use lucid_node::home::load_genesis;
use lucid_node::proof::Proof;
use lucid_types::genesis::Genesis;
use lucid_types::id::PayoutAddress;
use reqwest::StatusCode;
use serde_json::Value;

use crate::api::server;
use crate::cli::{Folder, command, failure, json, lucid, out};
use crate::fixture::{node, within};

/// A worker with a row of each kind, and one without.
const WORKER: u8 = 11;
const IDLE: u8 = 12;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/proof").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(golden(name)).unwrap()
}

/// The golden documents of a chain whose validators are those of the genesis.
pub(crate) fn golden_proofs() -> Vec<Proof> {
    let files = fs::read_dir(golden("")).unwrap().map(|file| file.unwrap().path());
    let documents = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let documents = documents.filter(|path| !path.ends_with("account_after_changes.json"));
    documents.map(|path| Proof::parse(&fs::read(path).unwrap()).unwrap()).collect()
}

fn claim(name: &str, field: &str) -> String {
    let document: Value = serde_json::from_str(&text(name)).unwrap();
    document["claim"][field].as_str().unwrap().to_owned()
}

fn genesis_of_another_network() -> Genesis {
    Genesis { name: "another".to_owned(), ..load_genesis(&golden("genesis.toml")).unwrap().genesis }
}

/// `lucid proof verify` of a golden document, without any home.
fn verify(folder: &Folder, file: &Path, more: &[&str]) -> Output {
    let genesis = golden("genesis.toml");
    let args = ["proof", "verify", file.to_str().unwrap(), "--genesis", genesis.to_str().unwrap()];
    lucid(&folder.home(), &[&args, more].concat())
}

#[tokio::test]
async fn the_api_answers_with_documents() {
    let server = server().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |path: &str| {
        let answer =
            within(client.get(format!("http://{}/api/v1/proofs/{path}", server.address)).send()).await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status(), kind, answer.text().await.unwrap())
    };
    let (pool, account) = (claim("owed.json", "pool"), claim("owed.json", "account"));
    let (worker, idle) = (node(WORKER), node(IDLE));
    for (path, name) in [
        (format!("score?epoch=7&worker={worker}"), "score.json"),
        (format!("score?epoch=7&worker={idle}"), "score_absent.json"),
        (format!("score?epoch=8&worker={idle}"), "score_none.json"),
        (format!("owed?pool={pool}&account={account}"), "owed.json"),
        (format!("account?node={worker}"), "account.json"),
    ] {
        let (status, kind, body) = get(&path).await;
        assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"), "{path}");
        assert_eq!(body, text(name), "{path}: byte for byte");
    }
    let wrong = async |path: &str, status: StatusCode, code: &str, told: &str| {
        let (found, _, body) = get(path).await;
        let error: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((found, error["error"]["code"].as_str()), (status, Some(code)), "{path}: {body}");
        assert!(error["error"]["message"].as_str().unwrap().contains(told), "{path}: {body}");
    };
    for path in [
        "score".to_owned(),
        "score?epoch=7".to_owned(),
        format!("score?worker={worker}"),
        format!("score?epoch=x&worker={worker}"),
        format!("score?epoch=7&worker={worker}&more=1"),
        format!("owed?pool={pool}"),
        "account?node=12".to_owned(),
        "account".to_owned(),
    ] {
        wrong(&path, StatusCode::BAD_REQUEST, "bad_request", "").await;
    }
    let path = format!("account?node={worker}");
    wrong(&format!("score?epoch=5&worker={worker}"), StatusCode::NOT_FOUND, "not_found", "not kept here").await;
    wrong("more", StatusCode::NOT_FOUND, "not_found", "there is nothing at").await;
    server.view.lazy.store(true, Ordering::Relaxed);
    wrong(&path, StatusCode::SERVICE_UNAVAILABLE, "not_ready", "no block is final here yet").await;
    server.view.lazy.store(false, Ordering::Relaxed);
    server.view.broken.store(true, Ordering::Relaxed);
    wrong(&path, StatusCode::INTERNAL_SERVER_ERROR, "internal", "its log says why").await;
}

#[test]
fn a_proof_is_verified_with_the_genesis_alone() {
    let folder = Folder::new();
    let (worker, idle, owner) = (node(WORKER), node(IDLE), node(9));
    let (pool, absent) = (claim("owed.json", "pool"), claim("owed_absent.json", "account"));
    for (name, said) in [
        ("score", format!("worker {worker} has the score 71.260100 of 100 and 4 credits of epoch 7\n")),
        (
            "score_absent",
            format!("worker {idle} has no score of epoch 7, whose scores are final: it was not measured in it\n"),
        ),
        ("score_none", "epoch 8 has no scores yet as of this block, or was not measured at all\n".to_owned()),
        (
            "owed",
            format!(
                "pool {pool} owes 38.000000 USDT in all to the worker {worker} at {}, what it has paid included, and holds 0.000009 \
                 USDT back\n",
                PayoutAddress::from_hash20([WORKER; 20])
            ),
        ),
        ("owed_commission", format!("pool {pool} owes 2.000000 USDT in all to the owner {owner} at ")),
        (
            "owed_absent",
            format!(
                "pool {pool} owes nothing to the account {absent} as of this block, and never did: it has no such account\n"
            ),
        ),
        (
            "account",
            format!(
                "worker {worker} has the score 71.260100 of 100; it was measured last in epoch 7, and in its windows then 2 times, \
                 with 9 credits and 3 s of reachable time\n"
            ),
        ),
        ("account_absent", format!("worker {} was never measured as of this block\n", node(99))),
    ] {
        let file = golden(&format!("{name}.json"));
        let told = out(&verify(&folder, &file, &[]));
        let (first, second) = told.split_once('\n').unwrap();
        assert!(second.starts_with(&said), "{name}: {told}");
        let network = load_genesis(&golden("genesis.toml")).unwrap().network_id;
        let wanted = format!(
            "network {network}, block 57 of 2026-11-29 00:37:57 UTC, signed by 3 of 4 of the validators' power:"
        );
        assert_eq!(first, wanted, "{name}");

        let answer = json(&verify(&folder, &file, &["--json"]));
        let document: Value = serde_json::from_str(&text(&format!("{name}.json"))).unwrap();
        for (field, path) in [
            ("network", "/network"),
            ("height", "/header/height"),
            ("time", "/header/time"),
            ("block_hash", "/certificate/block_hash"),
            ("state_root", "/header/state_root"),
            ("kind", "/kind"),
            ("claim", "/claim"),
        ] {
            assert_eq!(answer[field], *document.pointer(path).unwrap(), "{name}: {field}");
        }
        assert_eq!((&answer["signed_power"], &answer["total_power"]), (&3.into(), &4.into()));
    }
    assert!(!folder.home().exists(), "it needs no home and makes none");

    // The home's genesis will do, and standard input.
    out(&lucid(&folder.home(), &["init", "--genesis", golden("genesis.toml").to_str().unwrap()]));
    let from_file = out(&lucid(&folder.home(), &["proof", "verify", golden("owed.json").to_str().unwrap()]));
    let mut child = command(&folder.home(), &["proof", "verify", "-"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text("owed.json").as_bytes()).unwrap();
    assert_eq!(out(&child.wait_with_output().unwrap()), from_file);
}

#[test]
fn what_proves_nothing_says_which_part_fails() {
    let folder = Folder::new();
    let file = folder.0.path().join("proof.json");
    let told = |bytes: &[u8], wanted: &str| {
        fs::write(&file, bytes).unwrap();
        let error = failure(&verify(&folder, &file, &[]), 1);
        assert!(error.starts_with(&format!("lucid: {} proves nothing: ", file.display())), "{error}");
        assert!(error.contains(wanted), "{error}\nwanted {wanted}");
        // Nor does another form of the answer.
        assert_eq!(failure(&verify(&folder, &file, &["--json"]), 1), error);
    };
    let owed = text("owed.json");
    told(b"", "it is no proof document: EOF");
    told(b"\0\xff\xfe", "it is no proof document");
    told(b"<html></html>", "it is no proof document: expected value at line 1 column 1");
    told(b"{\"accounts\": []}", "missing field `format`");
    told(&vec![b' '; (32 << 20) + 1], "it has more than 33554432 bytes");
    told(owed.replacen("38000000", "99000000", 1).as_bytes(), "`claim` does not follow from the rest of the document");
    told(owed.to_uppercase().as_bytes(), "it is no proof document");
    told(owed.trim_end().as_bytes(), "is not as a proof is written");
    let document: Value = serde_json::from_str(&owed).unwrap();
    told(document.to_string().as_bytes(), "line 1 is not as a proof is written");
    let signature = document.pointer("/certificate/votes/1/signature").unwrap().as_str().unwrap();
    let other = document.pointer("/certificate/votes/0/signature").unwrap().as_str().unwrap();
    told(owed.replace(signature, other).as_bytes(), "the block is not certified by the validators of this network: ");
    let sibling = document.pointer("/state/steps/0/sibling").unwrap().as_str().unwrap();
    told(owed.replace(sibling, &"00".repeat(32)).as_bytes(), "the path does not lead from the state root to the row: ");

    let missing = folder.0.path().join("missing.json");
    let error = failure(&verify(&folder, &missing, &[]), 1);
    assert!(error.contains(&format!("{} cannot be read: No such file", missing.display())), "{error}");
    assert!(failure(&verify(&folder, folder.0.path(), &[]), 1).contains("cannot be read: "), "a folder");

    // The genesis of another network, though of the same validators; none, and one that is none.
    let other = folder.0.path().join("other.toml");
    fs::write(&other, toml::to_string(&genesis_of_another_network()).unwrap()).unwrap();
    let file = golden("owed.json");
    let with = |genesis: &Path| {
        let args = ["proof", "verify", file.to_str().unwrap(), "--genesis", genesis.to_str().unwrap()];
        failure(&lucid(&folder.home(), &args), 1)
    };
    let error = with(&other);
    let ids = [golden("genesis.toml"), other].map(|file| load_genesis(&file).unwrap().network_id);
    let wanted = format!("it is a proof of the network {}, and the genesis is of {}", ids[0], ids[1]);
    assert!(error.contains(&wanted), "{error}");
    assert!(with(&missing).contains("missing.json is missing"));
    assert!(with(&file).contains("owed.json"));
    let args = ["proof", "verify", file.to_str().unwrap()];
    let error = failure(&lucid(&folder.home(), &args), 1);
    assert!(error.contains("name the genesis of the proof's network with --genesis FILE"), "{error}");
    for args in [&["proof"][..], &["proof", "verify"], &["proof", "show"], &["proof", "show", "score", "--epoch", "x"]]
    {
        assert_eq!(lucid(&folder.home(), args).status.code(), Some(2), "{args:?}");
    }
    let help = out(&lucid(&folder.home(), &["proof", "--help"]));
    assert!(help.contains("lucid proof verify owed.json --genesis genesis.toml"), "{help}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_are_shown_by_the_homes_node() {
    let server = server().await;
    let folder = Folder::new();
    let home = folder.home();
    let genesis = golden("genesis.toml");
    out(&lucid(&home, &["init", "--api", &server.address.to_string(), "--genesis", genesis.to_str().unwrap()]));
    let show = |args: &[&str]| lucid(&home, &[&["proof", "show"], args].concat());
    let (worker, idle) = (node(WORKER).to_string(), node(IDLE).to_string());
    server.view.network.set(load_genesis(&genesis).unwrap().network_id).unwrap();
    let account = claim("owed.json", "account");
    for (args, name) in [
        (&["score", "--epoch", "7", "--worker", &worker][..], "score.json"),
        (&["score", "--epoch", "7", "--worker", &idle], "score_absent.json"),
        (&["score", "--epoch", "8", "--worker", &worker], "score_none.json"),
        (&["owed", "--node", &worker], "owed.json"),
        (&["owed", "--node", &idle, "--pool", "pool"], "owed_absent.json"),
        (&["owed", "--account", &account], "owed.json"),
        // An owner that is no member means its commission.
        (&["owed", "--node", &node(9).to_string()], "owed_commission.json"),
        (&["owed", "--commission", "--node", &node(9).to_string()], "owed_commission.json"),
        (&["account", &worker], "account.json"),
        (&["account", &node(99).to_string()], "account_absent.json"),
    ] {
        assert_eq!(out(&show(args)), text(name), "{args:?}");
    }
    // What is printed can be verified.
    let file = folder.0.path().join("owed.json");
    let told = out(&show(&["owed", "--node", &worker, "--out", file.to_str().unwrap()]));
    assert_eq!(fs::read_to_string(&file).unwrap(), text("owed.json"));
    assert_eq!(out(&verify(&folder, &file, &[])), told);
    let error = failure(&show(&["owed", "--node", &idle, "--out", file.to_str().unwrap()]), 1);
    assert!(error.contains("an existing file is left as it is"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text("owed.json"));

    let error = failure(&show(&["score", "--epoch", "5", "--worker", &worker]), 1);
    assert!(error.contains("the scores are not kept here any more (not_found, request "), "{error}");
    let error = failure(&show(&["owed", "--pool", "others"]), 1);
    assert!(error.contains("no pool \"others\"") && error.contains("it has: pool"), "{error}");
    for args in [&["owed", "--account", &account, "--node", &worker][..], &["account", "66b"]] {
        assert_eq!(show(args).status.code(), Some(2), "{args:?}");
    }
    server.view.lazy.store(true, Ordering::Relaxed);
    let error = failure(&show(&["account", &worker]), 1);
    assert!(error.contains("no block is final here yet (not_ready, "), "{error}");
    server.view.lazy.store(false, Ordering::Relaxed);
    server.view.astray.store(true, Ordering::Relaxed);
    let error = failure(&show(&["account", &worker]), 1);
    assert!(error.contains("the node's answer proves nothing: it is a proof of something else"), "{error}");
    // Nothing is asked of a node of another network.
    let other = toml::to_string(&genesis_of_another_network()).unwrap();
    fs::write(home.join("genesis.toml"), other).unwrap();
    let error = failure(&show(&["account", &worker]), 1);
    assert!(error.contains("it is another network's node"), "{error}");
}
