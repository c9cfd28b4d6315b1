//! What fails, with what result, what it takes, and what java-tron says.

use super::*;

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Code, energy limit, result, message. All of them take the whole limit.
fn table() -> Vec<(&'static str, u64, ContractResult, String)> {
    use ContractResult::{BadJumpDestination, OutOfEnergy, OutOfMemory, StackTooLarge, StackTooSmall, Unknown};
    let text = |text: &str| text.to_owned();
    vec![
        (
            "6001 6002 01",
            8,
            OutOfEnergy,
            text(
                "Not enough energy for 'ADD' operation executing: curInvokeEnergyLimit[8], curOpEnergy[3], usedEnergy[6]",
            ),
        ),
        (
            "6020 5f 20",
            40,
            OutOfEnergy,
            // 30, 6 for the word, 3 for its memory.
            text(
                "Not enough energy for 'SHA3' operation executing: curInvokeEnergyLimit[40], curOpEnergy[39], usedEnergy[5]",
            ),
        ),
        (
            "60dd ff",
            29_000,
            OutOfEnergy,
            text(
                "Not enough energy for 'SUICIDE' operation executing: curInvokeEnergyLimit[29000], curOpEnergy[30000], usedEnergy[3]",
            ),
        ),
        (
            "5f 5f 5f 5f 5f 60c1 5a f1",
            20,
            OutOfEnergy,
            text("Not enough energy for 'CALL' operation executing: opEnergy[40], programEnergy[5]"),
        ),
        (
            "610100 5f a0",
            1_000,
            OutOfEnergy,
            text("Not enough energy for 'LOG0' operation executing: opEnergy[2048], programEnergy[995]"),
        ),
        ("67 2000000000000000 5f a0", 1_000, Unknown, text("BigInteger out of long range")),
        ("62300001 51", 1_000, OutOfMemory, text("Out of Memory when 'MLOAD' operation executing")),
        ("62300001 5f f3", 1_000, OutOfMemory, text("Out of Memory when 'RETURN' operation executing")),
        ("50", 1_000, StackTooSmall, text("Expected stack size 1 but actual 0;")),
        ("5f 5f f1", 1_000, StackTooSmall, text("Expected stack size 7 but actual 2;")),
        ("5b 5f 5f 56", PLENTY, StackTooLarge, text("Expected: overflow 1024 elements stack limit")),
        ("5f 56", 1_000, BadJumpDestination, text("Operation with pc isn't 'JUMPDEST': PC[0];")),
        ("6001 6005 57 5b", 1_000, ContractResult::Success, String::new()),
        ("6001 6006 57 5b", 1_000, BadJumpDestination, text("Operation with pc isn't 'JUMPDEST': PC[6];")),
        ("6380000000 56", 1_000, BadJumpDestination, text("Operation with pc isn't 'JUMPDEST': PC[-2147483648];")),
        ("640100000000 56", 1_000, BadJumpDestination, text("Operation with pc isn't 'JUMPDEST': PC[-1];")),
        (
            "6002 6001 5f 3e",
            1_000,
            Unknown,
            format!(
                "Illegal RETURNDATACOPY arguments: offset ({}1) + size ({}2) > RETURNDATASIZE (0)",
                &ZEROS[1..],
                &ZEROS[1..]
            ),
        ),
        ("30 5f d1", 1_000, Unknown, text("validateForSmartContract failure:not valid token id")),
        ("6780000000 00000000 5f 5f f0", PLENTY, OutOfMemory, text("Out of Memory when 'CREATE' operation executing")),
        ("5f 5f 678000000000000000 f0", PLENTY, Unknown, text("BigInteger out of long range")),
        ("5f 5f 5f 5f 678000000000000000 6004 5a f1", PLENTY, Unknown, text("BigInteger out of long range")),
        ("5f 5f 5f 5f 6001 6004 5a f1", PLENTY, Unknown, text("transfer failure")),
        // The signatures' contract without arguments: the JVM's words.
        ("5f 5f 5f 5f 600a 5a fa", PLENTY, Unknown, text("0")),
        ("6040 6040 6040 5f 600a 5a fa", PLENTY, Unknown, text("2")),
    ]
}

#[test]
fn say_what_java_tron_says() {
    for (code, limit, result, message) in table() {
        let outcome = call_on(&state(&bytes(code), &[0]), limit);
        assert_eq!((outcome.result, outcome.message.as_str()), (result, message.as_str()), "{code}");
        if result != ContractResult::Success {
            assert_eq!(outcome.energy, limit, "{code}");
            assert!(outcome.changes.is_empty() && outcome.output.is_empty() && outcome.logs.is_empty(), "{code}");
        }
    }
}

#[test]
fn a_missing_penalty_is_named() {
    let state = state(&bytes("6001 6002 01"), &[]);
    let outcome = run_on(&state, &[(CONTRACT, 15_000)], Kind::Call(CONTRACT), &[], 10);
    assert_eq!(
        outcome.message,
        "Not enough energy for 'ADD' operation executing: curInvokeEnergyLimit[10], curOpEnergy[3], penaltyEnergy[1], \
         usedEnergy[8]"
    );
}

#[test]
fn a_failed_transfer_leaves_the_energy() {
    let pushes = 4 * 2 + 2;
    // (code, message, energy)
    for (code, message, energy) in [
        (
            "5f 5f 5f 5f 6001 30 5a f1",
            "transfer trx failed: Cannot transfer TRX to yourself.",
            pushes + 3 + 2 + 40 + 9_000 - 2_300,
        ),
        (
            "5f 5f 5f 5f 678000000000000000 60c1 5a f1",
            "endowment out of long range",
            pushes + 3 + 3 + 40 + 9_000 - 2_300,
        ),
        (
            "5f 5f 5f 5f 620f4240 5f 60c1 5a d0",
            "validateForSmartContract failure:not valid token id",
            pushes + 3 + 2 + 3 + 40,
        ),
        ("30 678000000000000000 d1", "validateForSmartContract failure:not valid token id", 2 + 3 + 20),
    ] {
        let outcome = run(code);
        assert_eq!((outcome.result, outcome.message.as_str()), (ContractResult::TransferFailed, message), "{code}");
        assert_eq!(outcome.energy, energy, "{code}");
    }
    // Inside another contract it takes what that call was given, as any failure does.
    let outcome = run_with("5f 5f 5f 5f 5f 60c1 613000 f1 5f 52 6020 5f f3", "5f 5f 5f 5f 6001 30 5a f1");
    assert_eq!((outcome.result, outcome.output.as_ref()), (ContractResult::Success, [0; 32].as_slice()));
    assert_eq!(outcome.energy, 5 * 2 + 3 + 3 + 40 + 0x3000 + 2 + 1 + 3 + 3 + 2);
    // More than there is, to another: the call answers 0, and its energy comes back.
    assert_eq!(energy("5f 5f 5f 5f 6401 00000000 60c1 5a f1"), pushes + 3 + 3 + 40 + 9_000 - 2_300);
    // CALLCODE to one's own code sends nothing to anybody.
    assert_eq!(run_with("5f 5f 5f 5f 6001 60c1 5a f2 5f 52 6020 5f f3", "00").output[31], 1);
}

#[test]
fn code_may_not_begin_with_ef() {
    let at = Address::with_last_byte(0xee);
    let create = |init: &str, limit| run_on(&state(&[0], &[]), &[], Kind::Create(at), &bytes(init), limit);
    let outcome = create("60ef5f5360015ff3", 100_000);
    assert_eq!((outcome.result, outcome.energy), (ContractResult::InvalidCode, 100_000));
    assert_eq!(outcome.message, "invalid code: must not begin with 0xef");
    assert_eq!(create("60ef5f5360015ffd", 100_000).result, ContractResult::Revert, "a reason may");
    // Not so within a contract: PUSH8 init, MSTORE, CREATE.
    let inner = run("6760ef5f5360015ffd 5f 52 6008 6018 5f f0 3d 5f 52 6020 5f f3");
    assert_eq!(inner.output.as_ref(), [0; 32], "no return data");
    assert!(inner.energy > PLENTY - PLENTY / 60, "and all is gone that it was given: {}", inner.energy);
}

#[test]
fn saved_code_can_be_too_dear() {
    let at = Address::with_last_byte(0xee);
    let outcome = run_on(&state(&[0], &[]), &[], Kind::Create(at), &bytes("600a5ff3"), 8 + 1_999);
    assert_eq!((outcome.result, outcome.energy), (ContractResult::OutOfEnergy, 8 + 1_999));
    assert_eq!(
        outcome.message,
        "Not enough energy for 'save just created contract code' executing: needEnergy[2000], leftEnergy[1999];"
    );
}

#[test]
fn a_revert_keeps_its_reason_and_what_is_left() {
    let outcome = run("60aa 5f 53 6001 5f fd");
    assert_eq!((outcome.result, outcome.message.as_str()), (ContractResult::Revert, "REVERT opcode executed"));
    assert_eq!((outcome.output.as_ref(), outcome.energy), ([0xaa].as_slice(), 3 + 2 + 4 + 3 + 2));
}

#[test]
fn what_fails_inside_takes_what_it_was_given() {
    // Whatever it is, the caller gets 0, no data, and nothing back of 50,000.
    for helper in ["fe", "50", "5f56", "62300001 51", "6001 5f 5f 3e", "5b 5f 56", "30 5f d1"] {
        let outcome = run_with("5f 5f 5f 5f 5f 60c1 61c350 f1 3d 01 5f 52 6020 5f f3", helper);
        assert_eq!(outcome.output.as_ref(), [0; 32], "{helper}");
        assert_eq!(outcome.energy, 5 * 2 + 3 + 3 + 40 + 50_000 + 2 + 3 + 2 + 1 + 3 + 3 + 2, "{helper}");
        assert!(outcome.internal[0].rejected, "{helper}");
    }
    // So does what changes something within STATICCALL.
    for helper in ["5f 5f 55", "5f 5f 5d", "5f 5f a0", "5f 5f 5f f0", "5f ff", "5f 5f 5f 5f 6001 60dd 5a f1", "d9"] {
        let outcome = run_with("5f 5f 5f 5f 60c1 620186a0 fa 5f 52 6020 5f f3", helper);
        assert_eq!(outcome.output.as_ref(), [0; 32], "{helper}");
        assert_eq!(outcome.energy, 4 * 2 + 3 + 3 + 40 + 100_000 + 2 + 1 + 3 + 3 + 2, "{helper}");
        assert_eq!(outcome.internal.len(), 1, "{helper}: nothing was begun");
    }
}

#[test]
fn logs_of_what_was_taken_back_are_gone() {
    let outcome = run_with("5f 5f a0 5f 5f 5f 5f 5f 60c1 5a f1 5f 5f a0", "60aa 5f 5f a1 5f 5f fd");
    assert_eq!(outcome.logs.len(), 2);
    assert!(outcome.logs.iter().all(|log| log.data.topics().is_empty() && log.address == CONTRACT));
    assert!(run("5f 5f a0 fe").logs.is_empty());
    assert!(run("5f 5f a0 5f 5f fd").logs.is_empty());
}
