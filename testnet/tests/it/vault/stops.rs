//! Pauses, closing, withdrawals: the owner needs notice, a signer has 72 hours, and nobody can use one to evade another.

use super::abi::{self, Event, call};
use super::code::Code;
use super::world::{DELAY, HOUR, Outcome, Setup, Who, World};

const WINDOW: u64 = 7 * 24 * HOUR;

fn pause(world: &mut World, who: Who) -> Outcome {
    world.act(who, "pause()", &[])
}

fn unpause(world: &mut World, who: Who) -> Outcome {
    world.act(who, "unpause()", &[])
}

fn withdraw(world: &mut World) -> Outcome {
    world.act(Who::Owner, "withdraw()", &[])
}

fn signer_paused(world: &World, i: usize, until: u64) -> Event {
    Event::SignerPaused { signer: world.at(Who::Signer(i)), until }
}

/// With a root that owes twelve workers 10 each, of whom a test can claim one after the other.
fn open(code: &Code, signers: usize, k: u64) -> World {
    let mut world = World::with(code, Setup { signers, k, ..Setup::default() });
    world.post(1, &[10; 12]).unwrap();
    world
}

pub(super) fn only_the_owner(code: &Code) {
    let mut world = open(code, 3, 2);
    let stranger = abi::address(world.at(Who::Stranger));
    let calls = [
        call("close()", &[]),
        call("askWithdrawal(address,uint64)", &[stranger, abi::number(1)]),
        call("cancel()", &[]),
        call("withdraw()", &[]),
        world.rotation(&[3, 4, 5], 2, &[0, 1]),
        world.limits(1, 1, &[0, 1]),
    ];
    for who in [Who::Stranger, Who::Leader, Who::Deployer, Who::Signer(0), Who::Worker(0)] {
        for data in &calls {
            let answer = world.call(who, world.vault, data.clone());
            assert_eq!(answer, Err("NotOwner".into()), "{who:?} {}", hex::encode(&data[..4]));
        }
    }
    for who in [Who::Stranger, Who::Leader, Who::Deployer, Who::Signer(3), Who::Worker(0)] {
        assert_eq!(pause(&mut world, who), Err("NotSigner".into()), "{who:?}");
    }
    pause(&mut world, Who::Signer(0)).unwrap();
    for who in [Who::Stranger, Who::Leader, Who::Deployer, Who::Signer(3), Who::Worker(0)] {
        assert_eq!(unpause(&mut world, who), Err("NotSigner".into()), "{who:?}");
    }
}

pub(super) fn the_owner_pauses_after_notice(code: &Code) {
    let mut world = open(code, 3, 2);
    let from = world.now() + DELAY;
    assert_eq!(pause(&mut world, Who::Owner), Ok(vec![Event::OwnerPaused { from }]));
    assert_eq!(pause(&mut world, Who::Owner), Err("IsPaused".into()), "not even a later one");
    world.travel_to(from - 1);
    assert!(!world.is_paused());
    world.claim(1, 0).unwrap();
    world.travel_to(from);
    assert!(world.is_paused());
    assert_eq!(world.claim(1, 1), Err("IsPaused".into()));
    assert_eq!(world.push_all(1), Err("IsPaused".into()));
    world.travel(1_000 * HOUR);
    assert_eq!(world.claim(1, 1), Err("IsPaused".into()), "it does not lapse");
    assert_eq!(unpause(&mut world, Who::Owner), Ok(vec![Event::Unpaused]));
    world.claim(1, 1).unwrap();
    assert_eq!(unpause(&mut world, Who::Owner), Err("NotPaused".into()));
    // One that is only announced can be taken back.
    pause(&mut world, Who::Owner).unwrap();
    unpause(&mut world, Who::Owner).unwrap();
    world.travel(DELAY);
    world.claim(1, 2).unwrap();
}

pub(super) fn a_signer_pauses_once_for_72_hours(code: &Code) {
    let mut world = open(code, 5, 3);
    let until = world.now() + 72 * HOUR;
    assert_eq!(pause(&mut world, Who::Signer(0)), Ok(vec![signer_paused(&world, 0, until)]));
    assert_eq!(world.claim(1, 0), Err("IsPaused".into()), "at once");
    assert_eq!(pause(&mut world, Who::Signer(0)), Err("PauseUsed".into()));
    world.travel_to(until - 1);
    assert_eq!(world.claim(1, 0), Err("IsPaused".into()));
    world.travel_to(until);
    world.claim(1, 0).unwrap();
    assert_eq!(pause(&mut world, Who::Signer(0)), Err("PauseUsed".into()));
    // Two of five, k - 1, get 72 hours each and no more; who joins a pause makes it no longer.
    let until = world.now() + 72 * HOUR;
    assert_eq!(pause(&mut world, Who::Signer(1)), Ok(vec![signer_paused(&world, 1, until)]));
    world.travel(71 * HOUR);
    assert_eq!(pause(&mut world, Who::Signer(0)), Ok(vec![signer_paused(&world, 0, until)]));
    world.travel_to(until);
    world.claim(1, 1).unwrap();
    for i in [0, 1] {
        assert_eq!(pause(&mut world, Who::Signer(i)), Err("PauseUsed".into()));
    }
    // A pause that the owner ended is used as well.
    pause(&mut world, Who::Signer(2)).unwrap();
    unpause(&mut world, Who::Owner).unwrap();
    assert_eq!(pause(&mut world, Who::Signer(2)), Err("PauseUsed".into()));
    world.claim(1, 2).unwrap();
    // A new era gives everybody another.
    world.rotate(&[0, 1, 2, 5, 6], 3).unwrap();
    pause(&mut world, Who::Signer(0)).unwrap();
    assert!(world.is_paused());
}

pub(super) fn k_signers_pause_for_good(code: &Code) {
    let mut world = open(code, 5, 3);
    pause(&mut world, Who::Signer(3)).unwrap();
    world.travel(72 * HOUR);
    let until = world.now() + 72 * HOUR;
    assert_eq!(pause(&mut world, Who::Signer(0)), Ok(vec![signer_paused(&world, 0, until)]));
    // Signer 3 has no pause left to begin, and may stand behind another's; what it did in the last one does not count.
    assert_eq!(pause(&mut world, Who::Signer(4)), Ok(vec![signer_paused(&world, 4, until)]));
    assert_eq!(pause(&mut world, Who::Signer(4)), Err("PauseUsed".into()));
    assert_eq!(pause(&mut world, Who::Signer(3)), Ok(vec![signer_paused(&world, 3, u64::MAX)]));
    world.travel(10_000 * HOUR);
    assert_eq!(world.claim(1, 0), Err("IsPaused".into()));
    unpause(&mut world, Who::Owner).unwrap();
    world.claim(1, 0).unwrap();
    // Where one signature is enough for a root, one signer's pause is k's.
    let mut world = open(code, 1, 1);
    assert_eq!(pause(&mut world, Who::Signer(0)), Ok(vec![signer_paused(&world, 0, u64::MAX)]));
}

pub(super) fn k_signers_or_the_owner_end_a_pause(code: &Code) {
    let mut world = open(code, 5, 3);
    let wanted = |world: &World, i| Event::UnpauseWanted { signer: world.at(Who::Signer(i)) };
    assert_eq!(unpause(&mut world, Who::Signer(0)), Err("NotPaused".into()));
    pause(&mut world, Who::Signer(0)).unwrap();
    for i in [1, 2, 1, 2] {
        let want = wanted(&world, i);
        assert_eq!(unpause(&mut world, Who::Signer(i)), Ok(vec![want]));
    }
    assert_eq!(world.claim(1, 0), Err("IsPaused".into()), "one voice each");
    let want = wanted(&world, 4);
    assert_eq!(unpause(&mut world, Who::Signer(4)), Ok(vec![want, Event::Unpaused]));
    world.claim(1, 0).unwrap();
    // Voices are for the pause in which they were raised.
    pause(&mut world, Who::Signer(1)).unwrap();
    unpause(&mut world, Who::Signer(2)).unwrap();
    unpause(&mut world, Who::Signer(3)).unwrap();
    world.travel(72 * HOUR);
    pause(&mut world, Who::Signer(4)).unwrap();
    unpause(&mut world, Who::Signer(0)).unwrap();
    assert!(world.is_paused());
    unpause(&mut world, Who::Owner).unwrap();
    // The owner's pause too, in force or announced.
    for wait in [0, DELAY] {
        pause(&mut world, Who::Owner).unwrap();
        world.travel(wait);
        for i in [0, 1, 2] {
            unpause(&mut world, Who::Signer(i)).unwrap();
        }
        world.travel(DELAY);
        assert!(!world.is_paused());
    }
    world.claim(1, 1).unwrap();
}

pub(super) fn closing_leaves_time_to_claim(code: &Code) {
    let mut world = open(code, 3, 2);
    let from = world.now() + DELAY;
    assert_eq!(world.act(Who::Owner, "close()", &[]), Ok(vec![Event::ClosedFrom { from }]));
    assert_eq!(world.act(Who::Owner, "close()", &[]), Err("IsClosed".into()), "it cannot be put off");
    world.post(2, &[11; 12]).unwrap();
    world.claim(2, 0).unwrap();
    world.travel_to(from - 1);
    assert!(!world.is_closed());
    world.claim(2, 1).unwrap();
    world.travel_to(from);
    assert!(world.is_closed());
    assert_eq!(world.claim(2, 2), Err("IsClosed".into()));
    assert_eq!(world.push_all(2), Err("IsClosed".into()));
}

pub(super) fn a_closed_vault_does_nothing_more(code: &Code) {
    let mut world = open(code, 3, 2);
    world.close();
    assert_eq!(world.post(2, &[11; 12]), Err("IsClosed".into()));
    assert_eq!(world.act(Who::Owner, "close()", &[]), Err("IsClosed".into()));
    for who in [Who::Owner, Who::Signer(0), Who::Signer(1)] {
        assert_eq!(pause(&mut world, who), Err("IsClosed".into()), "closed is closed: no pause can reopen it");
        assert_eq!(unpause(&mut world, who), Err("NotPaused".into()));
    }
    world.rotate(&[3, 4, 5], 2).unwrap();
    assert_eq!(world.post(2, &[11; 12]), Err("IsClosed".into()));
    world.travel(100_000 * HOUR);
    assert!(world.is_closed());
    assert_eq!(world.push_all(1), Err("IsClosed".into()));
    // Only what is left can be taken, after notice.
    let to = world.at(Who::Stranger);
    world.ask_withdrawal(to, 500_000).unwrap();
    assert!(withdraw(&mut world).unwrap_err().starts_with("OutsideWindow"));
    world.travel(DELAY);
    withdraw(&mut world).unwrap();
    assert_eq!((world.balance(world.vault), world.balance(to)), (0, 500_000));
}

pub(super) fn a_withdrawal_leaves_time_to_claim(code: &Code) {
    let mut world = open(code, 3, 2);
    let to = world.at(Who::Stranger);
    let from = world.now() + DELAY;
    let asked = world.ask_withdrawal(to, 499_000);
    assert_eq!(asked, Ok(vec![Event::WithdrawalAsked { to, amount: 499_000, from }]));
    let outside = Err(format!("OutsideWindow({from},{})", from + WINDOW));
    assert_eq!(withdraw(&mut world), outside);
    world.travel_to(from - 1);
    assert_eq!(withdraw(&mut world), outside);
    world.claim(1, 0).unwrap();
    let mut late = world.clone();
    world.travel_to(from);
    assert_eq!(withdraw(&mut world), Ok(vec![Event::Withdrawn { to, amount: 499_000 }]));
    assert_eq!(world.balance(to), 499_000);
    assert_eq!(withdraw(&mut world), Err("NotAsked".into()), "once");
    // It does not wait for ever.
    late.travel_to(from + WINDOW);
    assert_eq!(withdraw(&mut late), outside);
    late.ask_withdrawal(to, 1).unwrap();
    late.travel(DELAY + WINDOW - 1);
    withdraw(&mut late).unwrap();
}

pub(super) fn a_withdrawal_is_exact(code: &Code) {
    let mut world = open(code, 3, 2);
    let (to, other) = (world.at(Who::Stranger), world.at(Who::Leader));
    assert_eq!(withdraw(&mut world), Err("NotAsked".into()));
    assert_eq!(world.act(Who::Owner, "cancel()", &[]), Err("NotAsked".into()));
    world.ask_withdrawal(to, 100).unwrap();
    assert_eq!(world.act(Who::Owner, "cancel()", &[]), Ok(vec![Event::WithdrawalCancelled]));
    world.travel(DELAY);
    assert_eq!(withdraw(&mut world), Err("NotAsked".into()));
    // A new one replaces the old one, notice included.
    world.ask_withdrawal(to, 100).unwrap();
    world.travel(DELAY);
    world.ask_withdrawal(other, 200).unwrap();
    assert!(withdraw(&mut world).is_err());
    world.travel(DELAY);
    withdraw(&mut world).unwrap();
    assert_eq!((world.balance(to), world.balance(other)), (0, 200));
    // What is not there cannot be taken, and the announcement stays.
    world.ask_withdrawal(to, 499_801).unwrap();
    world.travel(DELAY);
    assert_eq!(withdraw(&mut world), Err("WithdrawalRefused".into()));
    world.fund(1);
    withdraw(&mut world).unwrap();
    assert_eq!(world.balance(world.vault), 0);
    assert_eq!(world.sums(), [0, 0, 0], "a withdrawal is no payment");
}

/// Otherwise an owner with one signer could let its notice run out while nobody can claim.
pub(super) fn no_notice_runs_behind_a_pause(code: &Code) {
    let world = open(code, 5, 3);
    let to = world.at(Who::Stranger);
    for who in [Who::Owner, Who::Signer(0)] {
        let mut world = world.clone();
        world.ask_withdrawal(to, 1_000).unwrap();
        world.act(Who::Owner, "close()", &[]).unwrap();
        let events = pause(&mut world, who).unwrap();
        assert_eq!(events[1..], [Event::CloseCancelled, Event::WithdrawalCancelled], "{who:?}");
        // Nor can it be announced while claims are stopped, or going to be.
        assert_eq!(world.ask_withdrawal(to, 1_000), Err("IsPaused".into()), "{who:?}");
        assert_eq!(world.act(Who::Owner, "close()", &[]), Err("IsPaused".into()), "{who:?}");
        world.travel(DELAY);
        assert!(!world.is_closed());
        assert_eq!(withdraw(&mut world), Err("NotAsked".into()), "{who:?}");
        let _ = unpause(&mut world, Who::Owner);
        assert_eq!(withdraw(&mut world), Err("NotAsked".into()), "{who:?}");
        assert!(!world.is_closed());
        let from = world.now() + DELAY;
        assert_eq!(
            world.act(Who::Owner, "close()", &[]),
            Ok(vec![Event::ClosedFrom { from }]),
            "the whole notice again"
        );
        world.claim(1, 0).unwrap();
    }
    // One that has run out is ended as well, until it is carried out.
    let mut world = world;
    world.ask_withdrawal(to, 1_000).unwrap();
    world.travel(DELAY);
    pause(&mut world, Who::Signer(1)).unwrap();
    assert_eq!(withdraw(&mut world), Err("NotAsked".into()));
}
