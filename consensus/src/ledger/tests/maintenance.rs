//! Maintenance: from when on it counts, what it takes out, and that nobody gains or loses by it.

use lucid_types::attestation::Capacity;
use lucid_types::command::{Action, MaintenanceScope, NodeAction};
use lucid_types::time::Epoch;

use super::chain::{Chain, all_good, start_with, worker, worker_key};
use crate::ledger::command::{CommandRefused, SignedCommand};
use crate::ledger::registry::Maintenance;
use crate::ledger::state::Rows;
use crate::ledger::table::Workers;

/// Windows of 84 epochs and disk to store on: everything that a worker can lack for maintenance.
fn chain() -> Chain {
    Chain::new(start_with(|start| {
        let policy = &mut start.genesis.policy;
        (policy.credits_window, policy.history_window, policy.min_denominator) = (84, 24, 1);
        let disk_bytes = 1 << 30;
        start.workers.iter_mut().for_each(|it| it.capacity = Capacity { disk_bytes, ..it.capacity });
    }))
}

fn announce(chain: &Chain, from: u64, epochs: u32, scope: MaintenanceScope) -> SignedCommand {
    let action = NodeAction::Maintenance { from: Epoch::new(from), epochs, scope };
    chain.give(&worker_key(0), Action::Node(action), &[])
}

fn all(chain: &mut Chain, from: u64, epochs: u32) {
    chain.take(announce(chain, from, epochs, MaintenanceScope::All)).unwrap();
}

/// The epochs, of those up to this one, in which worker 0 is drawn.
fn drawn(chain: &mut Chain, last: u64) -> Vec<u64> {
    let mut drawn = Vec::new();
    while chain.state.closed().next().get() <= last {
        let open = chain.state.open().unwrap();
        if open.scored.iter().any(|it| it.node == worker(0)) {
            drawn.push(chain.state.closed().next().get());
        }
        chain.step(all_good);
    }
    drawn
}

fn announced(chain: &Chain) -> Vec<(u64, u64)> {
    let row = chain.state.node(&worker(0)).unwrap();
    row.maintenance.iter().map(|Maintenance { from, until, .. }| (from.get(), until.get())).collect()
}

/// The command stands in a block of the epoch in which it is given, which need not be the open one: after a step, of the newest closed one the
/// windows have reached into it.
fn epoch_of_next_block(chain: &Chain) -> u64 {
    chain.spec.genesis().epoch_at(chain.state.next_time(&chain.spec)).get()
}

#[test]
fn a_worker_in_maintenance_is_not_drawn_from_the_second_epoch_after_on() {
    let mut chain = chain();
    chain.step(all_good);
    let j = epoch_of_next_block(&chain);
    assert_eq!(j, 2);
    // It cannot be back-dated, nor begin at once.
    all(&mut chain, 0, 3);
    assert_eq!(announced(&chain), [(j + 2, j + 5)]);
    assert_eq!(drawn(&mut chain, 9), [2, 3, 7, 8, 9]);
    let policy = &chain.spec.genesis().policy;
    let sums = [0, 1].map(|i| chain.state.get::<Workers>(&worker(i)).unwrap().sums(policy, Epoch::new(9)));
    assert_eq!(sums.map(|sums| sums.epochs), [6, 9], "its epochs leave the denominators");
    assert_eq!(sums.map(|sums| sums.uptime(policy).get()), [1_000_000; 2]);
    assert_eq!(chain.state.members(&chain.pool_id()).find(|(id, _)| *id == worker(0)).unwrap().1.unreached, 0);
}

/// One that begins replaces what is announced, and ends what is under way.
#[test]
fn the_newest_announcement_counts() {
    let mut chain = chain();
    chain.step(all_good);
    all(&mut chain, 10, 4);
    all(&mut chain, 6, 100);
    assert_eq!(announced(&chain), [(6, 106)], "the first has not begun");
    chain.reach(7);
    all(&mut chain, 12, 2);
    assert_eq!(announced(&chain), [(6, 12), (12, 14)], "the second has");
    assert_eq!(chain.state.node(&worker(0)).unwrap().maintenance_at(Epoch::new(13)).unwrap().from.get(), 12);
    all(&mut chain, 11, 1);
    assert_eq!(announced(&chain), [(6, 11), (11, 12)]);
    assert_eq!(drawn(&mut chain, 14), [12, 13, 14]);
    // What is over is forgotten with the next.
    all(&mut chain, 0, 1);
    assert_eq!(announced(&chain).len(), 1);
}

#[test]
fn it_is_ended_as_late_as_it_begins() {
    let mut chain = chain();
    let end = |chain: &Chain| announce(chain, 0, 0, MaintenanceScope::All);
    assert_eq!(chain.take(end(&chain)), Err(CommandRefused::NoMaintenance));
    all(&mut chain, 0, 5_040);
    chain.reach(5);
    let j = epoch_of_next_block(&chain);
    chain.take(end(&chain)).unwrap();
    assert_eq!(announced(&chain), [(3, j + 2)]);
    assert_eq!(chain.take(end(&chain)), Err(CommandRefused::NoMaintenance), "it ends by then already");
    assert_eq!(drawn(&mut chain, 9), [7, 8, 9]);
    all(&mut chain, 40, 2);
    chain.take(end(&chain)).unwrap();
    assert!(announced(&chain).is_empty(), "what is only announced is gone at once");
}

/// A command every epoch changes no draw that is nearer than two epochs.
#[test]
fn whoever_changes_its_mind_flaps_no_draw() {
    let mut chain = chain();
    let mut expected = vec![true, true];
    for i in 0u32..12 {
        let j = epoch_of_next_block(&chain);
        assert_eq!(u64::try_from(expected.len()).unwrap(), j + 1);
        // It begins, and ends an epoch later.
        let epochs = if i % 2 == 0 { 1_000 } else { 0 };
        chain.take(announce(&chain, 0, epochs, MaintenanceScope::All)).unwrap();
        expected.push(i % 2 == 1);
        assert!(announced(&chain).len() <= 3, "{:?}", announced(&chain));
        let open = chain.state.closed().next().get();
        let is_drawn = chain.state.open().unwrap().scored.iter().any(|it| it.node == worker(0));
        assert_eq!(is_drawn, expected[usize::try_from(open).unwrap() - 1], "epoch {open}");
        chain.step(all_good);
    }
}

#[test]
fn a_maintenance_too_long_or_too_far_ahead_is_refused() {
    let mut chain = chain();
    let latest = Epoch::new(epoch_of_next_block(&chain) + 5_040);
    let late = announce(&chain, latest.get() + 1, 1, MaintenanceScope::All);
    assert_eq!(chain.take(late), Err(CommandRefused::MaintenanceTooLate { from: latest.next(), latest }));
    let long = announce(&chain, 0, 5_041, MaintenanceScope::All);
    assert!(matches!(chain.take(long), Err(CommandRefused::Malformed(_))));
    all(&mut chain, latest.get(), 5_040);
    assert_eq!(announced(&chain), [(latest.get(), latest.get() + 5_040)]);
}

/// It goes on being pinged, and takes neither echoes nor chunks.
#[test]
fn maintenance_of_traffic_leaves_pings() {
    let mut chain = chain();
    let of =
        |chain: &Chain, i: usize| chain.state.open().unwrap().scored.iter().find(|it| it.node == worker(i)).cloned();
    chain.take(announce(&chain, 0, 2, MaintenanceScope::Traffic)).unwrap();
    chain.reach(3);
    for epoch in 3..=5u64 {
        let [it, other] = [0, 1].map(|i| of(&chain, i).unwrap());
        let is_full =
            |it: &lucid_score::draw::ScoredWorker| it.echo_bytes.is_some() && it.quota > 0 && !it.storage.is_empty();
        let is_bare = it.echo_bytes.is_none() && it.quota == 0 && it.storage.is_empty();
        assert!(is_full(&other) && !it.seats.is_empty());
        assert_eq!(is_bare, epoch < 5, "epoch {epoch}: {it:?}");
        chain.step(|_, i| {
            let seen = super::chain::observation(4, true);
            Some(if is_bare && i == 0 { lucid_types::report::Observation { echo_kbit_s: None, ..seen } } else { seen })
        });
        let row = chain.finalised[&Epoch::new(epoch)].scores.rows.iter().find(|row| row.worker == worker(0)).copied();
        assert_eq!((row.unwrap().reachable_ms, row.unwrap().aggregate.echo.is_some()), (5_000, epoch == 5));
    }
}
