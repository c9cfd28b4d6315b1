//! A worker whose pushers are all dead.

use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;

use super::Mesh;
use crate::books::accounts;
use crate::proxy::{Deed, Fate};
use crate::vault_cli::{json as answer, refused, run, text};

const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];

#[test]
fn a_worker_without_any_pusher_claims_what_it_is_owed() {
    let providers = WORKERS.map(|name| (name, format!("{{{name}}}")));
    let providers = providers.each_ref().map(|(name, groups)| (*name, groups.as_str()));
    let arguments = ["--validators", "1", "--workers", "3", "--epoch-length", "2s", "--settle-every", "3"];
    let mesh = Mesh::up(&[&arguments[..], &["--epochs", "7"]].concat(), &WORKERS, &providers);

    // The root is posted, and before anybody is paid the leader and all successors die.
    mesh.rule(|request| if request.is_batch() { Deed::Hold } else { Deed::Pass });
    let (leader, held) = mesh.first("a batch on its way", |note, _| matches!(note.fate, Fate::Held));
    WORKERS.iter().for_each(|name| mesh.kill(name));
    let ledger = mesh.ledger(held.settlement);
    let owed = accounts(&ledger);
    let address = |pointer: &str| mesh.net.manifest().pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let usdt: PayoutAddress = address("/tron/usdt_contract").parse().unwrap();
    let ids: Vec<_> = owed.iter().map(|account| account.id).collect();
    let paid = || mesh.chain.vault(&mesh.vault, &ids);
    assert_eq!((paid().settlement, paid().paid_out), (held.settlement, MicroUsdt::ZERO));

    // Its node is dead too: the ledger comes from any node.
    let worker = WORKERS.into_iter().find(|name| *name != leader).unwrap();
    let home = mesh.home(worker);
    let file = mesh.net.dir().join("ledger.json");
    std::fs::write(&file, ledger.to_string()).unwrap();
    let (home, file, key) = (home.to_str().unwrap(), file.to_str().unwrap(), home.join("gas.key"));
    let claim = ["payout", "claim", "--home", home, "--file", file, "--key-file", key.to_str().unwrap()];
    let claimed = answer(&run(&claim, &["--yes", "--json"]));
    let event = &claimed["receipt"]["events"][0];
    assert_eq!(text(event, "/event"), "Paid", "{claimed}");
    let to: PayoutAddress = text(&claimed, "/to").parse().unwrap();
    let own = owed.iter().find(|account| account.to == to).unwrap();
    let balance = || mesh.chain.ask(mesh.chain.client.token_balance(&usdt, &own.to));
    assert_eq!((balance(), paid().paid_out), (own.owed, own.owed), "exactly that, and nobody else anything");
    refused(&run(&claim, &["--yes", "--json"]), &["has been paid"]);

    // The pushers come back, and the leader with the batch that it had: it pays the others.
    mesh.rule(|_| Deed::Pass);
    WORKERS.iter().for_each(|name| mesh.start(name));
    mesh.proxy(leader).until("the batch that was stored", |note| {
        (note.request.sent == Some(held) && matches!(note.fate, Fate::Answered { .. })).then_some(())
    });
    let ledger = mesh.ledger(2);
    mesh.end(&ledger);
}
