//! New signers, new limits, and what a vault is deployed with.

use lucid_tron_devnet::Address;

use super::abi::{Event, call, to_address, to_u64, word};
use super::code::Code;
use super::world::{Deployment, Setup, Who, World};

pub(super) fn begins_a_new_era(code: &Code) {
    let mut world = World::new(code);
    // Thieves with two keys have posted a number that nobody can follow.
    world.post(u64::MAX, &[10, 20]).unwrap();
    let next = [3, 4, 5, 6, 7];
    for signed_by in [&[0][..], &[], &[0, 0], &[1, 0], &[3, 4, 5]] {
        let data = world.rotation(&next, 3, signed_by);
        assert_eq!(world.call(Who::Owner, world.vault, data), Err("BadSignatures".into()), "{signed_by:?}");
    }
    let data = world.rotation(&next, 3, &[0, 1]);
    // The threshold is the second word of the arguments.
    let mut other_threshold = data.clone();
    other_threshold[4 + 63] = 4;
    assert_eq!(world.call(Who::Owner, world.vault, other_threshold), Err("BadSignatures".into()));
    let signers = world.signer_addresses(&next);
    let changed = Event::SignersChanged { era: 2, threshold: 3, signers };
    assert_eq!(world.call(Who::Owner, world.vault, data.clone()), Ok(vec![changed]));
    (world.signers, world.k) = (next.to_vec(), 3);
    assert_eq!(world.head(), [0, 0, 0, 2, 1, 3]);
    assert_eq!(world.read("root()", &[]), [0; 32]);
    assert_eq!(world.call(Who::Owner, world.vault, data), Err("BadSignatures".into()), "once");
    // The old root is void, and numbers start anew.
    assert_eq!(world.push_all(u64::MAX), Err("Stale(0)".into()));
    assert_eq!(world.push_all(0), Err("Stale(0)".into()));
    world.post(1, &[10, 20]).unwrap();
    world.push_all(1).unwrap();
    assert_eq!(world.paid_of(1), 20);
    assert_eq!(world.act(Who::Signer(0), "pause()", &[]), Err("NotSigner".into()), "signer 0 is no more");
}

pub(super) fn needs_a_majority_of_distinct_signers(code: &Code) {
    let mut world = World::new(code);
    let pool = world.signer_addresses(&(0..17).collect::<Vec<_>>());
    let mut twice = pool[..3].to_vec();
    twice[2] = twice[0];
    let mut nobody = pool[..3].to_vec();
    nobody[1] = Address::ZERO;
    let refused: [(&[Address], u64); 10] = [
        (&[], 0),
        (&[], 1),
        (&pool[..1], 0),
        (&pool[..3], 1),
        (&pool[..4], 2),
        (&pool[..3], 4),
        (&twice, 2),
        (&nobody, 2),
        (&pool[..16], 8),
        (&pool, 9),
    ];
    for (signers, k) in refused {
        let deployment = Deployment { signers: signers.to_vec(), k, ..world.deployment() };
        assert_eq!(world.deploy(&deployment), Err("BadArguments".into()), "{k} of {}", signers.len());
    }
    for (signers, k) in [(&pool[..1], 1), (&pool[..2], 2), (&pool[..3], 3), (&pool[..4], 3), (&pool[..16], 9)] {
        let deployment = Deployment { signers: signers.to_vec(), k, ..world.deployment() };
        world.deploy(&deployment).unwrap();
    }
    // The same of a rotation.
    for (next, k) in [(&[3, 4, 5][..], 1), (&[3, 4, 3][..], 2), (&[][..], 0)] {
        assert_eq!(world.rotate(next, k), Err("BadArguments".into()), "{next:?} {k}");
    }
    // Sixteen can sign.
    let all: Vec<usize> = (0..16).collect();
    world.rotate(&all, 16).unwrap();
    world.post(1, &[10]).unwrap();
    world.push_all(1).unwrap();
}

pub(super) fn keeps_a_pause(code: &Code) {
    let mut world = World::new(code);
    world.act(Who::Signer(0), "pause()", &[]).unwrap();
    world.act(Who::Signer(1), "pause()", &[]).unwrap();
    world.rotate(&[2, 3, 4], 2).unwrap();
    world.post(1, &[10]).unwrap();
    world.travel(1_000_000);
    assert_eq!(world.push_all(1), Err("IsPaused".into()));
    world.act(Who::Signer(3), "unpause()", &[]).unwrap();
    assert!(world.is_paused());
    world.act(Who::Signer(4), "unpause()", &[]).unwrap();
    world.push_all(1).unwrap();
}

pub(super) fn limits_are_set_once(code: &Code) {
    let mut world = World::with(code, Setup { cap: 5, ..Setup::default() });
    world.post(1, &[100]).unwrap();
    world.push_all(1).unwrap();
    assert_eq!(world.push_all(1), Err("NothingPaid(3)".into()));
    for signed_by in [&[0][..], &[], &[1, 0], &[0, 0], &[3, 4]] {
        let data = world.limits(30, 2, signed_by);
        assert_eq!(world.call(Who::Owner, world.vault, data), Err("BadSignatures".into()), "{signed_by:?}");
    }
    let raise = world.limits(30, 2, &[0, 1]);
    let unused = world.limits(1_000, 0, &[0, 2]);
    let changed = Event::LimitsChanged { cap: 30, push_fee: 2 };
    assert_eq!(world.call(Who::Owner, world.vault, raise.clone()), Ok(vec![changed]));
    assert_eq!(world.head()[4], 1);
    assert_eq!(world.push_all(1).unwrap(), [world.paid(0, 25)], "5 of 30 were spent");
    let lower = world.limits(10, 0, &[1, 2]);
    world.call(Who::Owner, world.vault, lower).unwrap();
    for old in [raise, unused] {
        assert_eq!(world.call(Who::Owner, world.vault, old), Err("BadSignatures".into()));
    }
    assert_eq!(
        world.push_all(1),
        Err("NothingPaid(3)".into()),
        "more than the lowered cap was spent: nothing, no wrap"
    );
    let zero = world.limits(0, 0, &[0, 1]);
    world.call(Who::Owner, world.vault, zero).unwrap();
    world.travel(1_000_000);
    assert_eq!(world.push_all(1), Err("NothingPaid(3)".into()));
}

pub(super) fn a_vault_needs_its_parts(code: &Code) {
    let mut world = World::new(code);
    let good = world.deployment();
    let nowhere = world.at(Who::Stranger);
    for wrong in [
        Deployment { token: nowhere, ..good.clone() },
        Deployment { token: Address::ZERO, ..good.clone() },
        Deployment { owner: Address::ZERO, ..good.clone() },
        Deployment { period: 0, ..good.clone() },
        Deployment { delay: 0, ..good.clone() },
    ] {
        assert_eq!(world.deploy(&wrong), Err("BadArguments".into()), "{wrong:?}");
    }
    world.vault = world.deploy(&good).unwrap();
    assert_eq!(world.head(), [0, 0, 0, 1, 0, 2]);
    let answer = |signature: &str| word(&world.read(signature, &[]), 0);
    assert_eq!(to_address(answer("owner()")), world.at(Who::Owner));
    assert_eq!(to_address(answer("token()")), world.token);
    assert_eq!(to_address(answer("previous()")), Address::ZERO);
    assert_eq!((to_u64(answer("period()")), to_u64(answer("delay()"))), (good.period, good.delay));
    // It takes no TRX.
    let data = call("pause()", &[]);
    assert!(world.pay_trx(Who::Owner, data, 1).is_err());
    assert!(world.pay_trx(Who::Owner, Vec::new(), 1).is_err());
}
