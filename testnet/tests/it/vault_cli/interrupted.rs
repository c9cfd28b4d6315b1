//! A command that ends while its transaction is out, by Ctrl-C or by a provider that does not say what became of it, names the
//! transaction and says how to look it up: nothing of it may be lost.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use lucid_types::id::TxId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::life::{World, account, somebody};
use super::{errors, json as answer, refused, text};
use crate::harness::lucid;
use crate::proxy::{Deed, Proxy, Request};

/// `lucid` on the network behind the proxy, still running.
fn start(proxy: &Proxy, arguments: &[&str]) -> Child {
    let mut command = Command::new(lucid());
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("LUCID_") {
            command.env_remove(variable);
        }
    }
    command
        .args(arguments)
        .args(["--yes", "--tron", &proxy.url, "--network", "local"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn interrupt(child: Child, signal: Signal) -> Output {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    child.wait_with_output().unwrap()
}

fn before(world: &World) -> Proxy {
    let proxy = Proxy::start();
    proxy.pass_to(world.net.url.strip_prefix("http://").unwrap().parse().unwrap());
    proxy
}

/// Waits until the receipts of `n` transactions were asked for since then.
fn wait_for_receipts(proxy: &Proxy, since: Instant, n: usize) {
    let seen = RefCell::new(BTreeSet::new());
    proxy.until("receipts are asked for", |note| {
        let mut seen = seen.borrow_mut();
        if note.at >= since && note.request.is_for_receipt() {
            seen.insert(note.request.body["value"].to_string());
        }
        (seen.len() >= n).then_some(())
    });
}

fn is_broadcast(request: &Request) -> bool {
    request.path.ends_with("/broadcasthex")
}

/// The ids that follow these words.
fn ids_after(said: &str, words: &str) -> Vec<TxId> {
    said.split(words).skip(1).filter_map(|rest| rest.get(..64)?.parse().ok()).collect()
}

#[test]
fn a_command_that_is_interrupted_names_its_transaction() {
    let world = World::deploy();
    let proxy = before(&world);
    proxy.rule(|request| if request.is_for_receipt() { Deed::Hold } else { Deed::Pass });
    let close = ["vault", "close", "--vault", &world.vault, "--key-file", &world.owner];
    let signer = somebody(7).to_string();
    let mut deploy = vec!["vault", "deploy", "--key-file", &world.owner, "--token", &world.net.usdt, "--cap", "500"];
    deploy.extend(["--threshold", "1", "--signer", &signer, "--settlement", "60s"]);
    for (signal, name, act) in [(Signal::SIGINT, "Ctrl-C", &close[..]), (Signal::SIGTERM, "SIGTERM", &deploy)] {
        let since = Instant::now();
        let child = start(&proxy, act);
        wait_for_receipts(&proxy, since, 1);
        let said = refused(&interrupt(child, signal), &[name, "before you try again"]);
        let [id] = ids_after(&said, "`lucid tron tx ")[..] else { panic!("{said}") };
        assert_eq!(ids_after(&said, "sending "), [id]);
        // What it says to do finds it.
        let found = answer(&world.net.run(&["tron", "tx", &id.to_string(), "--json"]));
        assert_eq!(found["is_success"], true, "{found}");
        if act.contains(&"deploy") {
            let vault = said.split("address = \"").nth(1).unwrap().split('"').next().unwrap();
            assert!(said.contains(&format!("the contract stands at {vault}")), "{said}");
            assert_eq!(answer(&world.net.run(&["vault", "show", "--vault", vault, "--json"]))["vault"]["threshold"], 1);
        }
    }
    assert_ne!(world.show()["close_from"], Value::Null);
}

#[test]
fn a_receipt_that_cannot_be_read_leaves_the_outcome_open() {
    let world = World::deploy();
    let proxy = before(&world);
    let body = json!({ "result": false, "code": "OTHER_ERROR", "message": hex::encode("out of order") }).to_string();
    proxy.rule(move |request| if request.is_for_receipt() { Deed::Forge(body.clone()) } else { Deed::Pass });
    let close = start(&proxy, &["vault", "close", "--vault", &world.vault, "--key-file", &world.owner]);
    let said = refused(&close.wait_with_output().unwrap(), &["out of order", "was sent", "may include it until"]);
    let [id] = ids_after(&said, "`lucid tron tx ")[..] else { panic!("{said}") };
    assert_eq!(answer(&world.net.run(&["tron", "tx", &id.to_string(), "--json"]))["is_success"], true);
}

#[test]
fn an_interrupted_push_tells_of_every_batch() {
    let world = World::deploy();
    let World { net, vault, .. } = &world;
    let (holder, token) = (net.key_file(0), net.usdt.parse().unwrap());
    // What cannot be paid separates five batches; four are on their way at a time.
    let leaf = |n: u8| account(n, if n.is_multiple_of(2) { token } else { somebody(n) }, 10);
    let ledger = world.post(1, &(1..10).map(leaf).collect::<Vec<_>>());
    answer(&world.vault(&["vault", "fund", "--amount", "1000", "--key-file", &holder, "--yes", "--json"]));
    let proxy = before(&world);
    proxy.rule(|request| if request.is_for_receipt() { Deed::Hold } else { Deed::Pass });
    let push = ["vault", "push", "--vault", vault, "--file", &ledger, "--all", "--key-file", &holder];
    let since = Instant::now();
    let child = start(&proxy, &push);
    wait_for_receipts(&proxy, since, 4);
    let output = interrupt(child, Signal::SIGINT);
    let told = ["Ctrl-C", "4 of 5 batches were sent", "1 failed or were not sent", "nobody is paid twice"];
    let said = refused(&output, &told);
    assert_eq!(said.matches("a batch is open").count(), 4, "{said}");
    assert!(said.contains("it was not sent, because the command was interrupted before"), "{said}");
    let ids = ids_after(&said, "`lucid tron tx ");
    assert_eq!((ids.len(), ids_after(&said, "sending ")), (4, ids.clone()));
    assert_eq!(proxy.notes().iter().filter(|note| is_broadcast(&note.request)).count(), 4);
    for id in ids {
        let found = answer(&net.run(&["tron", "tx", &id.to_string(), "--json"]));
        assert_eq!((text(&found, "/events/0/event"), &found["is_success"]), ("Paid", &json!(true)));
    }
    // The next push pays the rest, and nobody again.
    proxy.rule(|_| Deed::Pass);
    let again = start(&proxy, &push).wait_with_output().unwrap();
    assert!(again.status.success(), "{}", errors(&again));
    assert_eq!(world.show()["paid_out_micro_usdt"], 50_000_000);
}
