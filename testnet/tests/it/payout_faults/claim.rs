//! A worker whose pushers are all dead.

use std::collections::BTreeMap;

use lucid_types::id::PayoutAddress;

use super::Mesh;
use crate::books::accounts;
use crate::proxy::{Deed, Fate, Kind};
use crate::vault_cli::{json as answer, refused, run, text};

const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];

#[test]
fn a_worker_without_any_pusher_claims_what_it_is_owed() {
    let providers = WORKERS.map(|name| (name, format!("{{{name}}}")));
    let providers = providers.each_ref().map(|(name, groups)| (*name, groups.as_str()));
    let arguments = ["--validators", "1", "--workers", "3", "--epoch-length", "2s", "--settle-every", "3"];
    let mesh = Mesh::up(&[&arguments[..], &["--epochs", "10"]].concat(), &WORKERS, &providers);

    // The root of the first settlement in which all have worked is posted, and before anybody is paid the leader and all successors die.
    let first = mesh.net.first_settlement(3);
    mesh.rule(move |request| match request.sent {
        Some(sent) if sent.kind == Kind::Batch && sent.settlement >= first => Deed::Hold,
        _ => Deed::Pass,
    });
    let (leader, held) = mesh.first("a batch on its way", |note, _| matches!(note.fate, Fate::Held));
    WORKERS.iter().for_each(|name| mesh.kill(name));
    let ledger = mesh.ledger(held.settlement);
    let owed = accounts(&ledger);
    let address = |pointer: &str| mesh.net.manifest().pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let usdt: PayoutAddress = address("/tron/usdt_contract").parse().unwrap();
    let balance = |of: &PayoutAddress| mesh.chain.ask(mesh.chain.client.token_balance(&usdt, of));
    let ids: Vec<_> = owed.iter().map(|account| account.id).collect();
    let paid = || mesh.chain.vault(&mesh.vault, &ids);
    // Some may have been paid for less than a settlement before.
    let before = paid();
    assert_eq!(before.settlement, held.settlement);

    // Its node is dead too: the ledger comes from any node.
    let worker = WORKERS.into_iter().find(|name| *name != leader).unwrap();
    let home = mesh.home(worker);
    let file = mesh.net.dir().join("ledger.json");
    std::fs::write(&file, ledger.to_string()).unwrap();
    let (home, file, key) = (home.to_str().unwrap(), file.to_str().unwrap(), home.join("gas.key"));
    let claim = ["payout", "claim", "--home", home, "--file", file, "--key-file", key.to_str().unwrap()];
    let balances: BTreeMap<_, _> = owed.iter().map(|account| (account.to, balance(&account.to))).collect();
    let claimed = answer(&run(&claim, &["--yes", "--json"]));
    let event = &claimed["receipt"]["events"][0];
    assert_eq!(text(event, "/event"), "Paid", "{claimed}");
    let to: PayoutAddress = text(&claimed, "/to").parse().unwrap();
    let own = owed.iter().find(|account| account.to == to).unwrap();
    let got = own.owed.checked_sub(balances[&to]).unwrap();
    let all = before.paid_out.checked_add(got).unwrap();
    assert_eq!((balance(&to), paid().paid_out), (own.owed, all), "exactly that, and nobody else anything");
    refused(&run(&claim, &["--yes", "--json"]), &["has been paid"]);

    // The pushers come back, and the leader with the batch that it had: it pays the others.
    mesh.rule(|_| Deed::Pass);
    WORKERS.iter().for_each(|name| mesh.start(name));
    mesh.proxy(leader).until("the batch that was stored", |note| {
        (note.request.sent == Some(held) && matches!(note.fate, Fate::Answered { .. })).then_some(())
    });
    let ledger = mesh.ledger(3);
    mesh.end(&ledger);
}
