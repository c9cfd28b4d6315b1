//! What counts as an answer. Asking over real meshes is tested in `tests/it`.

use lucid_types::key::NodeKey;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;

use super::*;
use crate::payout::testing::{self, network, node_key};

const VALIDATOR: u8 = 1;
const WORKER: u8 = 11;
const NOW: UnixMillis = UnixMillis::new(1_000_000_000);

fn asked() -> Asked {
    let key = node_key(VALIDATOR);
    Asked { account: key.account(), key: key.public_key() }
}

fn result() -> ValidationResult {
    ValidationResult {
        validator: testing::node(VALIDATOR),
        worker: testing::node(WORKER),
        time: NOW,
        pings_sent: 4,
        pings_answered: 3,
        rtt_us: LogScale::encode(800),
        group: Some(NetworkGroup::NONE),
    }
}

fn signed(key: &NodeKey, result: ValidationResult) -> ValidationReply {
    ValidationReply::Done(key.sign_validation(network().id(), result).into_inner())
}

fn judged(reply: ValidationReply) -> Result<ValidationResult, String> {
    let found = judge(reply, &network(), asked(), testing::node(WORKER), NOW);
    found.map(|signed| signed.record).map_err(|error| error.to_string())
}

#[test]
fn only_what_was_asked_of_this_validator_counts() {
    let key = node_key(VALIDATOR);
    assert_eq!(judged(signed(&key, result())), Ok(result()));
    let silent = ValidationResult { pings_answered: 0, rtt_us: LogScale::ZERO, group: None, ..result() };
    assert_eq!(judged(signed(&key, silent)), Ok(silent), "that it does not answer is a result, too");
    let epoch = network().fixed().epoch();
    let old = ValidationResult { time: NOW.before(CLOCKS).before(epoch), ..result() };
    assert_eq!(judged(signed(&key, old)), Ok(old), "it was found earlier in the epoch");
    let older = old.time.before(Duration::from_millis(1));
    let late = NOW.after(CLOCKS).after(Duration::from_millis(1));
    for (reply, why) in [
        (signed(&node_key(2), result()), "another one's"),
        (signed(&key, ValidationResult { validator: testing::node(2), ..result() }), "another one's"),
        (signed(&key, ValidationResult { worker: testing::node(12), ..result() }), "of another worker"),
        (signed(&key, ValidationResult { pings_answered: 5, ..result() }), "not possible"),
        (signed(&key, ValidationResult { group: None, ..result() }), "not possible"),
        (signed(&key, ValidationResult { time: late, ..result() }), "not possible"),
        (signed(&key, ValidationResult { time: older, ..result() }), "not possible"),
    ] {
        let found = judged(reply).unwrap_err();
        assert!(found.ends_with(why), "{found} instead of {why}");
    }
    // Of another network, and with another one's signature.
    let elsewhere = lucid_types::id::NetworkId::from_bytes([9; 32]);
    let foreign = ValidationReply::Done(key.sign_validation(&elsewhere, result()).into_inner());
    let by_other = node_key(2).sign_validation(network().id(), result()).into_inner();
    let forged = ValidationReply::Done(Signed { signer: key.public_key(), ..by_other });
    for reply in [foreign, forged] {
        assert!(judged(reply).unwrap_err().ends_with("not signed by it"));
    }
}

#[test]
fn who_does_not_validate_says_why() {
    for (reply, why) in [
        (ValidationReply::Later { millis: 59_001 }, "again in 1 min"),
        (ValidationReply::Later { millis: u64::MAX }, "has validated lately"),
        (ValidationReply::Unknown, "knows no such worker"),
        (ValidationReply::NotSent, "could not send a ping"),
    ] {
        let found = judged(reply).unwrap_err();
        assert!(found.contains(why), "{found} instead of {why}");
    }
}

/// Those that say nothing come first; asked one after the other, without end, they would keep the one that answers for ever.
#[tokio::test]
async fn the_next_candidate_is_asked_when_one_says_nothing_or_fails() {
    const ANSWERS: u8 = 4;
    let of = |n| Asked { account: testing::node(n), key: node_key(n).public_key() };
    let asked = std::sync::Mutex::new(Vec::new());
    let ask = |candidate: Asked| {
        asked.lock().unwrap().push(candidate);
        async move {
            match candidate {
                it if it == of(ANSWERS) => Ok(ANSWERS),
                it if it == of(3) => Err(NotValidated::Refused("not now".to_owned())),
                _ => std::future::pending().await,
            }
        }
    };
    let candidates: Vec<_> = [1, 2, 3, ANSWERS, 5].map(of).into();
    let silence = Duration::from_millis(5);
    let answer = tokio::time::timeout(Duration::from_secs(30), first_answer(candidates.clone(), silence, ask)).await;
    assert!(answer.is_ok(), "silent ones hold up the others");
    assert_eq!(answer.unwrap(), Ok(ANSWERS));
    assert_eq!(*asked.lock().unwrap(), candidates[..4], "nobody is asked after the answer");
}
