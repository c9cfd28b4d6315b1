//! One run in which processes are killed between the steps of a payout.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::Mesh;
use crate::harness::until;
use crate::proxy::{Deed, Fate, Kind, Request, Sent};

/// The run's last block, and the settlement that it makes.
const EPOCHS: &str = "34";
const SETTLEMENTS: u64 = 11;

#[test]
fn processes_killed_at_every_step_cost_time_and_nothing_else() {
    let workers = ["worker-1", "worker-2", "worker-3"];
    let providers = [("worker-1", "{worker-1}"), ("worker-2", "{worker-2}"), ("worker-3", "{worker-3}")];
    // With two signers dead, five of seven validators still decide.
    let arguments = [
        "--validators",
        "7",
        "--signers",
        "2-of-3",
        "--workers",
        "3",
        "--epoch-length",
        "2s",
        "--settle-every",
        "3",
        "--epochs",
        EPOCHS,
    ];
    let mesh = Mesh::up(&arguments, &workers, &providers);
    the_leader_between_disk_and_broadcast(&mesh);
    the_leader_between_broadcast_and_receipt(&mesh);
    let last = the_network_with_a_batch_that_it_took(&mesh);
    two_of_three_signers(&mesh, last.settlement);
    let ledger = mesh.ledger(SETTLEMENTS);
    mesh.end(&ledger);
}

/// The proxy has the batch and the network does not: the leader has stored it, and dies.
fn the_leader_between_disk_and_broadcast(mesh: &Mesh) {
    mesh.rule(|request| if request.is_batch() { Deed::Hold } else { Deed::Pass });
    let (leader, sent) = mesh.first("a batch on its way", |note, _| matches!(note.fate, Fate::Held));
    mesh.kill(leader);
    assert_eq!(mesh.chain.receipt(&sent.tx_id), None, "it never got there");
    mesh.rule(|_| Deed::Pass);
    mesh.start(leader);
    // Only what lay on the disk can be the same transaction, to the byte.
    mesh.proxy(leader).until("the same batch after the restart", |note| {
        (note.request.sent == Some(sent) && matches!(note.fate, Fate::Answered { .. })).then_some(())
    });
    mesh.included_at_last(sent);
}

/// The network has the batch; the leader dies before it hears so, and before it has seen a receipt.
fn the_leader_between_broadcast_and_receipt(mesh: &Mesh) {
    let batches = Arc::<Mutex<BTreeSet<String>>>::default();
    let after = for_later_batches(mesh, move |request, after| match request.sent {
        Some(sent) if sent.kind == Kind::Batch && sent.settlement > after => {
            batches.lock().unwrap().insert(sent.tx_id.to_string());
            Deed::Withhold
        }
        // Receipts of the root's transaction are let through: nobody pushes before he knows that it is posted.
        None if request.is_for_receipt() => {
            let id = request.body["value"].as_str().unwrap();
            if batches.lock().unwrap().contains(id) { Deed::Hold } else { Deed::Pass }
        }
        _ => Deed::Pass,
    });
    let (leader, sent) = mesh.first("a batch that the network took", |note, sent| {
        sent.settlement > after && matches!(&note.fate, Fate::Withheld(answer) if answer["result"] == true)
    });
    mesh.kill(leader);
    let id = sent.tx_id.to_string();
    let asked_for = |note: &super::Note| note.request.is_for_receipt() && note.request.body["value"] == id.as_str();
    let notes = mesh.proxy(leader).notes();
    assert!(notes.iter().filter(|note| asked_for(note)).all(|note| matches!(note.fate, Fate::Held)));
    mesh.chain.carried_out(&sent.tx_id);
    mesh.rule(|_| Deed::Pass);
    mesh.start(leader);
    // It remembers the transaction, looks for it, and finds it.
    mesh.proxy(leader).until("the receipt after the restart", |note| match &note.fate {
        Fate::Answered { answer, .. } if asked_for(note) => (answer["id"] == id.as_str()).then_some(()),
        _ => None,
    });
}

/// Puts a rule in force, to which it tells the newest settlement of which a batch was sent before.
fn for_later_batches(mesh: &Mesh, rule: impl Fn(&Request, u64) -> Deed + Clone + Send + Sync + 'static) -> u64 {
    let newest = || {
        let notes = mesh.proxies.values().flat_map(|proxy| proxy.notes());
        notes.filter(|note| note.request.is_batch()).filter_map(|note| Some(note.request.sent?.settlement)).max()
    };
    loop {
        let before = newest();
        let (rule, after) = (rule.clone(), before.unwrap_or(0));
        mesh.rule(move |request| rule(request, after));
        // None came in between.
        if newest() == before {
            return after;
        }
    }
}

/// The local TRON network dies with a batch that it has taken, and comes back with the chain that it had.
fn the_network_with_a_batch_that_it_took(mesh: &Mesh) -> Sent {
    let after = for_later_batches(mesh, |request, after| match request.sent {
        Some(sent) if sent.kind == Kind::Batch && sent.settlement > after => Deed::Withhold,
        _ => Deed::Pass,
    });
    let (leader, sent) = mesh.first("a batch that the network took", |note, sent| {
        sent.settlement > after && matches!(&note.fate, Fate::Withheld(answer) if answer["result"] == true)
    });
    let head = mesh.chain.ask(mesh.chain.client.head());
    mesh.kill("tron");
    let killed = Instant::now();
    mesh.rule(|_| Deed::Pass);
    mesh.proxy(leader).until("a request that finds nobody", |note| {
        (note.at > killed && matches!(note.fate, Fate::Lost)).then_some(())
    });
    mesh.start("tron");
    let again = until("the network's answer", || mesh.chain.runtime.block_on(mesh.chain.client.head()).ok());
    assert!(again.number >= head.number, "it goes on with the chain that it had");
    mesh.included_at_last(sent);
    sent
}

/// Two of three signers die while nothing is to be signed. The next root waits for one of them.
fn two_of_three_signers(mesh: &Mesh, after: u64) {
    let one_more_block = |name| {
        let height = mesh.pool(name)["height"].as_u64().unwrap();
        until("one more block", || (mesh.pool(name)["height"].as_u64()? > height).then_some(()));
    };
    mesh.first("a root that is posted", |note, sent| {
        sent.kind == Kind::Post && sent.settlement > after && matches!(note.fate, Fate::Answered { .. })
    });
    for signer in ["validator-2", "validator-3"] {
        mesh.kill(signer);
    }
    // They may have been a block ahead, and may have signed what that settled.
    one_more_block("validator-1");
    let settled = mesh.pool("validator-1")["settled"].as_u64().unwrap();
    // The next that makes a root; the run is long enough for one.
    let is_made = |settlement: &u64| mesh.ledger(*settlement)["settlement"] == *settlement;
    let next = (settled + 1..=SETTLEMENTS).find(is_made).unwrap();
    // One block later everybody has the root, and whoever could sign it has been asked.
    one_more_block("worker-1");
    let listed = mesh.get("worker-1", "/api/v1/payouts?limit=100");
    let waiting: Vec<_> =
        listed["payouts"].as_array().unwrap().iter().filter(|payout| payout["settlement"] == next).collect();
    assert_eq!(waiting.len(), 3, "{listed}");
    for payout in waiting {
        assert_eq!(payout["status"], "owed", "{payout}");
        assert!(payout["waits_for"].as_str().unwrap().contains("2 of 3 treasury signers"), "{payout}");
    }
    let is_posted = |sent: Sent| sent.kind == Kind::Post && sent.settlement >= next;
    let posted = |mesh: &Mesh| {
        let notes = mesh.proxies.values().flat_map(|proxy| proxy.notes());
        notes.filter_map(|note| note.request.sent).find(|sent| is_posted(*sent))
    };
    assert_eq!(posted(mesh), None, "nobody can post it");
    mesh.start("validator-2");
    let (_, post) = mesh.first("the root after a signer's return", |_, sent| is_posted(sent));
    mesh.chain.carried_out(&post.tx_id);
    mesh.start("validator-3");
}
