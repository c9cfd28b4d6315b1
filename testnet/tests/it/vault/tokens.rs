//! What a token can do to the vault: USDT's peculiarities, and malice.

use lucid_tron_devnet::{Address, token};

use super::abi::{self, Arg, call, to_u64, word};
use super::code::Code;
use super::tree::Root;
use super::world::{DELAY, Setup, Token, Who, World, id, root_args, signers_args};

/// What the hostile token does on a transfer, as its source numbers it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    Plain = 0,
    ReturnFalse = 1,
    MoveNothing = 2,
    TakeMore = 3,
    GiveBack = 4,
    Refuse = 5,
    Devour = 6,
    CallBack = 7,
}

/// Has the hostile token do so from now on, to everybody or to one recipient.
pub(super) fn misbehave(world: &mut World, mode: Mode, victim: Option<Who>, appetite: u64) {
    let victim = victim.map_or(Address::ZERO, |who| world.at(who));
    let args = [abi::number(u64::from(mode as u8)), abi::address(victim), abi::number(appetite)];
    world.token_call(Who::Deployer, "set(uint8,address,uint256)", &args);
}

fn hostile(code: &Code) -> World {
    World::with(code, Setup { token: Token::Hostile, ..Setup::default() })
}

pub(super) fn what_transfer_returns_does_not_matter(code: &Code) {
    for token in [Token::Usdt, Token::Old, Token::OldFalse, Token::Hostile] {
        let mut world = World::with(code, Setup { token, push_fee: 1, ..Setup::default() });
        let root = Root { fees: 9, total: 69, ..world.root(1, &[10, 20, 30]) };
        world.post_root(&root).unwrap();
        world.push_all(1).unwrap();
        assert_eq!(world.balance(world.at(Who::Worker(1))), 20, "{token:?}");
        assert_eq!(world.balance(world.at(Who::Leader)), 3, "{token:?}");
        world.ask_withdrawal(world.at(Who::Stranger), 1_000).unwrap();
        world.travel(DELAY);
        world.act(Who::Owner, "withdraw()", &[]).unwrap();
        assert_eq!(world.balance(world.at(Who::Stranger)), 1_000, "{token:?}");
    }
}

pub(super) fn a_token_that_lies_stops_the_batch(code: &Code) {
    let mut world = hostile(code);
    world.post(1, &[10, 20, 30]).unwrap();
    for mode in [Mode::ReturnFalse, Mode::MoveNothing, Mode::TakeMore, Mode::GiveBack] {
        for victim in [None, Some(Who::Worker(0)), Some(Who::Worker(2))] {
            misbehave(&mut world, mode, victim, 0);
            assert_eq!(world.push_all(1), Err("WrongBalance".into()), "{mode:?} {victim:?}");
            assert_eq!((world.paid_of(0), world.sums()), (0, [0, 0, 0]));
        }
        // Who is not concerned can be paid.
        misbehave(&mut world, mode, Some(Who::Worker(2)), 0);
        let mut other = world.clone();
        other.push(Who::Leader, 1, 0, 2).unwrap();
    }
    misbehave(&mut world, Mode::MoveNothing, None, 0);
    world.ask_withdrawal(world.at(Who::Stranger), 10).unwrap();
    world.travel(DELAY);
    assert_eq!(world.act(Who::Owner, "withdraw()", &[]), Err("WithdrawalRefused".into()));
    misbehave(&mut world, Mode::Plain, None, 0);
    world.push_all(1).unwrap();
    world.act(Who::Owner, "withdraw()", &[]).unwrap();
}

pub(super) fn a_refused_recipient_is_skipped(code: &Code) {
    let mut world = hostile(code);
    world.post(1, &[10, 20, 30]).unwrap();
    misbehave(&mut world, Mode::Refuse, Some(Who::Worker(1)), 0);
    let skipped = abi::Event::Skipped { id: id(1), reason: 5 };
    assert_eq!(world.push_all(1).unwrap(), [world.paid(0, 10), skipped.clone(), world.paid(2, 30)]);
    assert_eq!(world.paid_of(1), 0);
    assert_eq!(world.claim(1, 1), Err("NothingPaid(5)".into()));
    world.post(2, &[11, 25, 30]).unwrap();
    assert_eq!(world.push_all(2).unwrap(), [world.paid(0, 1), skipped]);
    misbehave(&mut world, Mode::Plain, None, 0);
    assert_eq!(world.push_all(2).unwrap(), [world.paid(1, 25)], "nothing was lost");
    // The same for somebody who was paid before.
    world.post(3, &[11, 32, 30]).unwrap();
    misbehave(&mut world, Mode::Refuse, Some(Who::Worker(1)), 0);
    assert_eq!(world.claim(3, 1), Err("NothingPaid(5)".into()));
    assert_eq!(world.paid_of(1), 25);
    misbehave(&mut world, Mode::Plain, None, 0);
    assert_eq!(world.claim(3, 1).unwrap(), [world.paid(1, 7)]);
}

/// A token that needs more energy than it gets: 1/64 of the energy would be enough to end the batch with a skip.
pub(super) fn lack_of_energy_is_no_refusal(code: &Code) {
    let mut world = hostile(code);
    world.post(1, &[10, 20, 30]).unwrap();
    misbehave(&mut world, Mode::Devour, Some(Who::Worker(1)), 6_000_000);
    let data = world.range_call(1, 0, 3);
    let answer = world.call_with(Who::Stranger, world.vault, data.clone(), 5_900_000);
    assert_eq!(answer, Err("OutOfEnergy".into()));
    assert_eq!((world.paid_of(0), world.paid_of(1)), (0, 0));
    world.call_with(Who::Leader, world.vault, data, 10_000_000).unwrap();
    assert_eq!((world.paid_of(0), world.paid_of(1), world.paid_of(2)), (10, 20, 30));
}

/// Whatever energy somebody chooses, a batch is paid or fails as a whole.
pub(super) fn no_energy_limit_makes_a_skip(code: &Code) {
    let mut world = World::new(code);
    world.post(1, &[10, 20, 30]).unwrap();
    let data = world.range_call(1, 0, 3);
    let mut whole = world.clone();
    whole.call(Who::Stranger, whole.vault, data.clone()).unwrap();
    let used = whole.receipt.energy_usage_total;
    let mut outcomes = [0, 0];
    for energy in (1_000..used + 10_000).step_by(997) {
        let mut world = world.clone();
        let outcome = world.call_with(Who::Stranger, world.vault, data.clone(), energy);
        outcomes[usize::from(outcome.is_ok())] += 1;
        match outcome {
            Ok(events) => assert_eq!(events, [world.paid(0, 10), world.paid(1, 20), world.paid(2, 30)]),
            Err(_) => assert_eq!(world.sums(), [0, 0, 0], "{energy}"),
        }
    }
    assert!(outcomes[0] > 50 && outcomes[1] > 0, "{outcomes:?}");
}

/// USDT's own fee, if it were switched on, is taken from the recipient; the vault counts what it sent.
pub(super) fn a_fee_is_the_recipients(code: &Code) {
    let mut world = World::new(code);
    let deployer = world.balance(world.at(Who::Deployer));
    world.token_call(Who::Deployer, "setParams(uint256,uint256)", &[abi::number(10), abi::number(1)]);
    world.post(1, &[10_000, 20_000]).unwrap();
    assert_eq!(world.push_all(1).unwrap(), [world.paid(0, 10_000), world.paid(1, 20_000)]);
    assert_eq!(world.balance(world.at(Who::Worker(1))), 20_000 - 20);
    assert_eq!(world.balance(world.at(Who::Deployer)), deployer + 30);
    assert_eq!(world.paid_of(1), 20_000);
    assert_eq!(world.push_all(1), Err("NothingPaid(0)".into()));
    assert_eq!(world.balance(world.vault), 500_000 - 30_000);
}

pub(super) fn a_stopped_token_is_waited_for(code: &Code) {
    let mut world = World::new(code);
    world.post(1, &[10, 20]).unwrap();
    let vault = abi::address(world.vault);
    for (stop, go, arg) in
        [("pause()", "unpause()", None), ("addBlackList(address)", "removeBlackList(address)", Some(vault))]
    {
        let args: Vec<Arg> = arg.into_iter().collect();
        world.token_call(Who::Deployer, stop, &args);
        assert_eq!(world.push_all(1), Err("NothingPaid(5)".into()), "{stop}");
        assert_eq!(world.claim(1, 1), Err("NothingPaid(5)".into()), "{stop}");
        world.token_call(Who::Deployer, go, &args);
    }
    // USDT looks at the sender's entry in its blacklist only: such a recipient is paid.
    let worker = abi::address(world.at(Who::Worker(1)));
    world.token_call(Who::Deployer, "addBlackList(address)", &[worker]);
    assert_eq!(world.push_all(1).unwrap(), [world.paid(0, 10), world.paid(1, 20)]);
}

/// The token owns the vault here, so nothing but the vault's lock stands in its way.
pub(super) fn nothing_is_open_to_a_token_that_calls_back(code: &Code) {
    let setup = Setup { token: Token::Hostile, is_token_owner: true, ..Setup::default() };
    let mut world = World::with(code, setup);
    let stranger = world.at(Who::Stranger);
    let ask = call("askWithdrawal(address,uint64)", &[abi::address(stranger), abi::number(5)]);
    let run = call("run(address,bytes)", &[abi::address(world.vault), abi::bytes(&ask)]);
    world.call(Who::Stranger, world.token, run).unwrap();
    world.travel(DELAY);
    world.post(1, &[10, 20, 30, 40]).unwrap();
    let next = Root { settlement: 2, ..world.root(1, &[10, 20, 30, 40]) };
    let signatures = world.sign(&[0, 1], &world.root_digest(&next));
    let post = [root_args(&next), vec![abi::bytes(&signatures)]].concat();
    let signers = world.signer_addresses(&[3, 4, 5]);
    let rotation = [signers_args(&signers, 2), vec![abi::bytes(&[])]].concat();
    let limits = [Arg::Words([1, 1].map(token::number_word).to_vec()), abi::bytes(&[])];
    let calls = [
        world.range_call(1, 1, 1),
        world.claim_call(1, &[2]),
        call("postRoot(uint64,bytes32,uint64,uint64,(address,uint64),bytes)", &post),
        call("withdraw()", &[]),
        ask,
        call("cancel()", &[]),
        call("pause()", &[]),
        call("unpause()", &[]),
        call("close()", &[]),
        call("setSigners(address[],uint8,bytes)", &rotation),
        call("setLimits((uint64,uint64),bytes)", &limits),
    ];
    for data in calls {
        let mut world = world.clone();
        let args = [abi::address(world.vault), abi::bytes(&data)];
        world.token_call(Who::Deployer, "setCall(address,bytes)", &args);
        misbehave(&mut world, Mode::CallBack, Some(Who::Worker(0)), 0);
        assert_eq!(world.push(Who::Leader, 1, 0, 1).unwrap(), [world.paid(0, 10)]);
        let flag = |signature: &str| to_u64(word(&world.read_token(signature, &[]), 0));
        assert_eq!((flag("answered()"), flag("succeeded()")), (1, 0), "{}", hex::encode(&data[..4]));
        // `bytes` are answered as an offset, a length, and what they are.
        let answer = world.read_token("answer()", &[]);
        assert_eq!(abi::error(&answer[64..68]), "Entered", "{}", hex::encode(&data[..4]));
        assert_eq!(world.balance(stranger), 0);
    }
}
