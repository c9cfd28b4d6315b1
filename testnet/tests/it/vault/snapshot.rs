//! The view that answers everything at once.

use std::collections::BTreeSet;

use lucid_tron_devnet::token;

use super::abi::{self, Word, to_address, to_u64, word};
use super::code::Code;
use super::succession::succeed;
use super::tree::Root;
use super::world::{HOUR, PERIOD, Setup, Who, World, id};

/// Words before the place and the words of `paid`.
const FIXED: usize = 30;
/// Where the predecessor is among them.
const PREVIOUS: usize = 27;

/// The views whose answers come one after the other, before the vault's balance and after it.
const BEFORE: [&str; 7] = ["head()", "root()", "turn()", "limits()", "stops()", "request()", "flow()"];
const AFTER: [&str; 5] = ["token()", "owner()", "previous()", "period()", "delay()"];

/// The snapshot's words of fixed meaning and what it says that these were paid. To the byte it is what the single views say.
fn take(world: &World, ids: &[Word]) -> (Vec<Word>, Vec<u64>) {
    let read = |views: &[&str]| views.iter().map(|view| world.read(view, &[])).collect::<Vec<_>>().concat();
    let funds = world.read_token("balanceOf(address)", &[abi::address(world.vault)]);
    let fixed = [read(&BEFORE), funds, read(&AFTER)].concat();
    assert_eq!(fixed.len(), 32 * FIXED);
    let paid: Vec<Word> = ids.iter().map(|id| word(&world.read("paidOf(bytes32)", &[abi::hash(*id)]), 0)).collect();
    let place = token::number_word(32 * (u64::try_from(FIXED).unwrap() + 1));
    let length = token::number_word(u64::try_from(ids.len()).unwrap());
    let expected = [&token::number_word(32), fixed.as_slice(), &place, &length, paid.as_flattened()].concat();
    let snapshot = world.read("snapshot(bytes32[])", &[abi::array(ids.len(), ids)]);
    assert_eq!(hex::encode(&snapshot), hex::encode(expected));
    ((0..FIXED).map(|i| word(&fixed, i)).collect(), paid.into_iter().map(to_u64).collect())
}

pub(super) fn says_what_the_single_views_say(code: &Code) {
    let mut world = World::with(code, Setup { push_fee: 3, ..Setup::default() });
    let ids = [id(0), id(1), id(2), id(0), id(99)];
    let mut seen = Vec::new();
    let mut look = |world: &World, paid: [u64; 5]| {
        let (fixed, had) = take(world, &ids);
        assert_eq!(had, paid);
        assert_eq!(take(world, &[]), (fixed.clone(), vec![]));
        seen.push(fixed);
    };
    look(&world, [0; 5]);
    let until = world.now() + 50;
    let root = Root { total: 100, fees: 20, until, ..world.root(1, &[10, 20, 30]) };
    world.post_root(&root).unwrap();
    look(&world, [0; 5]);
    world.push(Who::Leader, 1, 0, 2).unwrap();
    look(&world, [10, 20, 0, 10, 0]);
    world.travel(PERIOD);
    world.push_all(1).unwrap();
    let paid = [10, 20, 30, 10, 0];
    look(&world, paid);

    world.act(Who::Signer(0), "pause()", &[]).unwrap();
    look(&world, paid);
    world.travel(72 * HOUR);
    world.act(Who::Signer(1), "pause()", &[]).unwrap();
    world.act(Who::Signer(2), "unpause()", &[]).unwrap();
    look(&world, paid);
    world.act(Who::Owner, "unpause()", &[]).unwrap();
    world.ask_withdrawal(world.at(Who::Stranger), 77).unwrap();
    look(&world, paid);
    world.act(Who::Owner, "pause()", &[]).unwrap();
    look(&world, paid);
    world.act(Who::Owner, "unpause()", &[]).unwrap();
    let limits = world.limits(5_000, 4, &[0, 1]);
    world.call(Who::Owner, world.vault, limits).unwrap();
    look(&world, paid);
    world.rotate(&[1, 2, 3, 4, 5], 3).unwrap();
    look(&world, paid);
    world.act(Who::Owner, "close()", &[]).unwrap();
    look(&world, paid);

    // No two of the words were the same all the time, so each is in its place; only the predecessor was always zero.
    let history = |i: usize| seen.iter().map(|fixed| fixed[i]).collect::<Vec<Word>>();
    assert_eq!((0..FIXED).map(history).collect::<BTreeSet<_>>().len(), FIXED);
    assert_eq!(history(PREVIOUS), vec![[0; 32]; seen.len()]);
}

pub(super) fn knows_what_predecessors_paid(code: &Code) {
    let mut world = World::with(code, Setup { push_fee: 1, ..Setup::default() });
    let ids = [id(0), id(1), id(2), id(3), id(99)];
    // Worker 0 is paid by the first vault only, worker 1 by all, worker 2 by the second only, worker 3 by the last only.
    let owed = [[10, 20, 0, 0], [10, 25, 30, 0], [10, 26, 30, 40]];
    for (generation, owed) in owed.iter().enumerate() {
        let root = Root { total: 1_000, fees: 100, ..world.root(1, owed) };
        world.post_root(&root).unwrap();
        world.push_all(1).unwrap();
        let (fixed, paid) = take(&world, &ids);
        assert_eq!((&paid[..4], paid[4]), (owed.as_slice(), 0));
        if generation < 2 {
            let old = world.vault;
            succeed(&mut world, 1);
            let (successor, taken_over) = take(&world, &ids);
            assert_eq!(to_address(successor[PREVIOUS]), old);
            assert_eq!((taken_over, &successor[20..22]), (paid, &fixed[20..22]));
        }
    }
}
