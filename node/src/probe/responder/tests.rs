//! Tests of what a worker answers and refuses. Streams over real meshes are tested in `tests/it`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Mutex;
use std::time::Duration;

use lucid_types::genesis::PaymentNetwork;
use lucid_types::id::{PayoutAddress, SolidBlockId};
use lucid_types::policy::Policy;
use lucid_types::signed::Signed;
use lucid_types::validator::Validator;

use super::*;
use crate::payout::testing;

struct Watch(Mutex<UnixMillis>);

impl Clock for Watch {
    fn now(&self) -> UnixMillis {
        *self.0.lock().unwrap()
    }
}

const VALIDATOR: NodeId = NodeId::from_bytes([1; 32]);
const OTHER_VALIDATOR: NodeId = NodeId::from_bytes([2; 32]);
const STRANGER: NodeId = NodeId::from_bytes([9; 32]);
const START: u64 = 1_000_000;

/// From this epoch on one ping is sent, not four.
const FEWER_PINGS: Epoch = Epoch::new(3);

fn genesis() -> Genesis {
    Genesis {
        name: "t".to_owned(),
        genesis_time: UnixMillis::new(START),
        tron: PaymentNetwork {
            network: "local".to_owned(),
            genesis_block: SolidBlockId::from_bytes([0; 32]),
            usdt: PayoutAddress::from_hash20([1; 20]),
        },
        policy: Policy::local(Duration::from_secs(5), 2, None),
        validators: vec![Validator {
            node: VALIDATOR,
            operator: VALIDATOR,
            keys: testing::signing_key(1).keys(&VALIDATOR),
            ..testing::validator(1)
        }],
    }
}

fn responder(limits: ProbeConfig) -> (Responder, Arc<Watch>) {
    let clock = Arc::new(Watch(Mutex::new(UnixMillis::new(START))));
    let parts = ResponderParts {
        key: NodeKey::from_seed(&[7; 32]),
        genesis: Arc::new(genesis()),
        clock: Arc::<Watch>::clone(&clock),
        is_validator: Arc::new(|node| [VALIDATOR, OTHER_VALIDATOR].contains(node)),
        echo_grants: Arc::new(|validator, epoch| match epoch.get() {
            // The newest draw is that of epoch 3.
            4.. => EchoGrant::Unknown,
            3 => EchoGrant::Nothing,
            _ if *validator == VALIDATOR => EchoGrant::Bytes(1_000),
            _ => EchoGrant::Nothing,
        }),
        policy_of: Arc::new(|epoch| {
            let policy = Policy::local(Duration::from_secs(5), 2, None);
            Arc::new(if epoch < FEWER_PINGS { policy } else { Policy { pings: 1, ..policy } })
        }),
        limits,
        line: Arc::default(),
        served: Arc::default(),
    };
    (Responder::new(parts).1, clock)
}

fn ask(responder: &mut Responder, peer: NodeId, epoch: u64) -> Result<Vec<u8>, Refusal> {
    let request = ProbeRequest { epoch: Epoch::new(epoch), nonce: [5; 32] };
    let now = responder.parts.clock.now();
    responder.answer(peer, &encode(&request), now)
}

#[test]
fn an_answer_is_signed_for_the_asker_the_epoch_and_the_nonce() {
    let (mut responder, _) = responder(ProbeConfig::default());
    let answer = ask(&mut responder, VALIDATOR, 1).unwrap();
    let reply: Signed<ProbeReply> = decode(&answer).unwrap();
    reply.check(&genesis().network_id()).unwrap();
    assert_eq!(reply.signer, NodeKey::from_seed(&[7; 32]).public_key());
    assert_eq!(reply.record, ProbeReply { validator: VALIDATOR, epoch: Epoch::new(1), nonce: [5; 32] });
    assert_eq!(responder.parts.served.snapshot().sessions(), 1);
}

#[test]
fn only_validators_are_answered_and_only_requests() {
    let (mut responder, _) = responder(ProbeConfig::default());
    assert_eq!(ask(&mut responder, STRANGER, 1), Err(Refusal::NotAValidator));
    let now = UnixMillis::new(START);
    assert_eq!(responder.admit_echo(STRANGER, now).unwrap_err(), Refusal::NotAValidator);
    assert_eq!(responder.answer(VALIDATOR, &[0; 39], now), Err(Refusal::Malformed));
    assert_eq!(responder.answer(VALIDATOR, &[0; 41], now), Err(Refusal::Malformed));
}

#[test]
fn epochs_within_half_an_epoch_of_our_clock_are_plausible() {
    let (mut responder, clock) = responder(ProbeConfig::default());
    // Epoch 2 is from 5 s to 10 s.
    for (millis, plausible) in
        [(0, vec![1]), (2_499, vec![1]), (2_500, vec![1, 2]), (7_000, vec![1, 2]), (7_500, vec![2, 3])]
    {
        *clock.0.lock().unwrap() = UnixMillis::new(START + millis);
        let answered: Vec<_> = (0..6).filter(|epoch| ask(&mut responder, VALIDATOR, *epoch).is_ok()).collect();
        assert_eq!(answered, plausible, "{millis} ms");
    }
    *clock.0.lock().unwrap() = UnixMillis::new(START - 10_000);
    assert!((0..6).all(|epoch| ask(&mut responder, VALIDATOR, epoch) == Err(Refusal::OtherEpoch)));
}

#[test]
fn each_validator_gets_twice_what_is_assigned_and_no_more() {
    let (mut responder, clock) = responder(ProbeConfig::default());
    let count = |responder: &mut Responder, peer| (0..50).filter(|_| ask(responder, peer, 1).is_ok()).count();
    assert_eq!(count(&mut responder, VALIDATOR), 2 * (4 + 4), "four are assigned, and a validation has four");
    assert_eq!(count(&mut responder, OTHER_VALIDATOR), 2 * (4 + 4));
    let now = clock.now();
    // Each ends at once.
    let echoes = |responder: &mut Responder| (0..9).filter(|_| responder.admit_echo(VALIDATOR, now).is_ok()).count();
    assert_eq!(echoes(&mut responder), 2);
    // In an epoch of which the policy asks for fewer pings, fewer are answered.
    *clock.0.lock().unwrap() = UnixMillis::new(START + 10_000);
    assert_eq!((0..50).filter(|_| ask(&mut responder, VALIDATOR, 3).is_ok()).count(), 2 * (1 + 4));
    // Long afterwards nothing of it is remembered.
    *clock.0.lock().unwrap() = UnixMillis::new(START + 1_000_000);
    ask(&mut responder, VALIDATOR, 201).unwrap();
    assert_eq!(responder.used.len(), 1);
}

/// A validator that restarts in the epoch has forgotten both what it pinged and whom it validated.
#[test]
fn a_validation_takes_nothing_of_the_pings_that_are_assigned() {
    let (mut responder, clock) = responder(ProbeConfig::default());
    *clock.0.lock().unwrap() = UnixMillis::new(START + 10_000);
    for boot in 0..2 {
        let validated = (0..VALIDATION_PINGS).filter(|_| ask(&mut responder, VALIDATOR, 3).is_ok()).count();
        assert_eq!((validated, ask(&mut responder, VALIDATOR, 3).is_ok()), (4, true), "{boot}");
    }
    assert_eq!(ask(&mut responder, VALIDATOR, 3), Err(Refusal::TooMany));
}

/// The draws say who may send how much in the epochs in which the validator may be; where the draw is not here yet, any validator may hold a
/// seat.
#[test]
fn echoes_are_granted_by_the_draws_of_plausible_epochs() {
    let (mut responder, _) = responder(ProbeConfig::default());
    // Epoch e starts at 5 (e - 1) seconds.
    let mut granted = |validator, millis| {
        let admitted = responder.admit_echo(validator, UnixMillis::new(START + millis));
        admitted.map(|echo| echo.bytes)
    };
    assert_eq!(granted(VALIDATOR, 0), Ok(1_000));
    assert_eq!(granted(OTHER_VALIDATOR, 0), Err(Refusal::NoSeat));
    // Its clock may still be in epoch 2.
    assert_eq!(granted(VALIDATOR, 12_000), Ok(1_000));
    assert_eq!(granted(VALIDATOR, 13_000), Err(Refusal::NoSeat), "drawn for epoch 3, and no echo is");
    let most = genesis().policy.echo_max_bytes;
    assert_eq!(granted(OTHER_VALIDATOR, 15_000), Ok(most), "no draw of epoch 4 yet");
    assert_eq!(granted(STRANGER, 15_000), Err(Refusal::NotAValidator));
}

#[test]
fn a_month_that_is_used_up_has_pings_left() {
    let (mut responder, clock) = responder(ProbeConfig::default());
    let now = clock.now();
    responder.parts.line.set_left(0);
    assert_eq!(responder.admit_echo(VALIDATOR, now).unwrap_err(), Refusal::UsedUp);
    assert_eq!(responder.admit_echo(OTHER_VALIDATOR, now).unwrap_err(), Refusal::NoSeat);
    let answer = ask(&mut responder, VALIDATOR, 1).unwrap();
    assert_eq!(responder.parts.line.bytes(), 40 + u64::try_from(answer.len()).unwrap(), "a request has 40 bytes");
    responder.parts.line.set_left(u64::MAX);
    assert!(responder.admit_echo(VALIDATOR, now).is_ok());
}

#[test]
fn a_validator_has_one_session_at_a_time() {
    let (mut responder, clock) = responder(ProbeConfig::default());
    let now = clock.now();
    let first = responder.admit_echo(VALIDATOR, now).unwrap();
    assert_eq!(responder.admit_echo(VALIDATOR, now).unwrap_err(), Refusal::TooMany);
    drop(first);
    assert!(responder.admit_echo(VALIDATOR, now).is_ok());
}
