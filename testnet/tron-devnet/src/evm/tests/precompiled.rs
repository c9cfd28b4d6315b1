//! Precompiled contracts.

use sha2::{Digest, Sha256};

use super::*;
use crate::wallet::Wallet;

/// Calls `to` (as PUSH) with `data`, and answers success, energy beyond the call's own, and what it returned.
fn ask(state: &mut State, to: &str, data: &[u8]) -> (bool, u64, Bytes) {
    // The data is the transaction's; copied to memory, handed on, and what comes back is returned after the flag.
    let code = format!("5f 51 50 36 5f 5f 37 5f 5f 36 5f {to} 620186a0 fa 5f 52 3d 5f 6020 3e 3d 6020 01 5f f3");
    add_contract(state, CONTRACT, &bytes(&code));
    let measure = |limit| run_on(state, &[], Kind::Call(CONTRACT), data, limit);
    let outcome = measure(PLENTY);
    assert_eq!(outcome.result, ContractResult::Success, "{to}: {}", outcome.message);
    assert!(outcome.internal.is_empty(), "no inner transaction");
    let (flag, returned) = outcome.output.split_at(32);
    // The same call to an account without code costs all the rest.
    let plain = {
        let code = code.replacen(to, "60dd", 1);
        let mut other = state.clone();
        add_contract(&mut other, CONTRACT, &bytes(&code));
        run_on(&other, &[], Kind::Call(CONTRACT), data, PLENTY).energy
    };
    let words = u64::try_from(returned.len().div_ceil(32)).unwrap();
    let seen_words = u64::try_from(data.len().div_ceil(32)).unwrap();
    // Copying and returning the answer: 3 a word, and memory beyond the data's.
    let memory = |n: u64| 3 * n + n * n / 512;
    let reached = memory(seen_words.max(1).max(words + 1)) - memory(seen_words.max(1));
    (flag[31] == 1, outcome.energy - plain - 3 * words - reached, Bytes::copy_from_slice(returned))
}

fn words(words: &[U256]) -> Vec<u8> {
    words.iter().flat_map(U256::to_be_bytes::<32>).collect()
}

#[test]
fn hashes_and_identity() {
    let mut state = state(&[], &[]);
    let data = [0xaa; 33];
    let sha256 = Sha256::digest(data);
    let (is_ok, energy, output) = ask(&mut state, "6002", &data);
    assert_eq!((is_ok, energy, output.as_ref()), (true, 60 + 2 * 12, sha256.as_slice()));
    // What java-tron computes at address 3: the SHA-256 of the first 20 bytes of the SHA-256.
    let (is_ok, energy, output) = ask(&mut state, "6003", &data);
    assert_eq!((is_ok, energy, output.as_ref()), (true, 600 + 2 * 120, Sha256::digest(&sha256[..20]).as_slice()));
    let (is_ok, energy, output) = ask(&mut state, "6004", &data);
    assert_eq!((is_ok, energy, output.as_ref()), (true, 15 + 2 * 3, data.as_slice()));
    // RIPEMD-160 of nothing.
    let (_, energy, output) = ask(&mut state, "62020003", &[]);
    assert_eq!(energy, 600);
    assert_eq!(hex::encode(&output[12..]), "9c1185a5c5e9fc54612808977ee8f548b2258d31");
}

#[test]
fn recovery_answers_an_address_with_its_prefix() {
    let wallet = Wallet::derive("signer", 0);
    let hash = [9; 32];
    let signature = wallet.sign_hash(&hash).unwrap();
    let mut data = hash.to_vec();
    data.extend_from_slice(&U256::from(signature[64]).to_be_bytes::<32>());
    data.extend_from_slice(&signature[..64]);
    let (is_ok, energy, output) = ask(&mut state(&[], &[]), "6001", &data);
    assert_eq!((is_ok, energy), (true, 3_000));
    assert_eq!(U256::from_be_slice(&output), with_prefix(wallet.address()));
    let (is_ok, energy, output) = ask(&mut state(&[], &[]), "6001", &[]);
    assert_eq!((is_ok, energy, output.len()), (true, 3_000, 0));
}

#[test]
fn modular_exponentiation_without_a_modulus_answers_nothing() {
    let one = U256::from(1);
    let three = |modulus: u8| [words(&[one, one, one]), vec![3, 2, modulus]].concat();
    let mut state = state(&[], &[]);
    // 1 * 1 * 1 / 20.
    let (is_ok, energy, output) = ask(&mut state, "6005", &three(5));
    assert_eq!((is_ok, energy, output.as_ref()), (true, 0, [4].as_slice()));
    let (is_ok, _, output) = ask(&mut state, "6005", &three(0));
    assert_eq!((is_ok, output.len()), (true, 0));
    // 64 bytes each: 64 * 64, times the exponent's highest bit beyond 32 bytes, 8 * 32 + 255, over 20.
    let sixty_four = U256::from(64);
    let data = [words(&[sixty_four, sixty_four, sixty_four]), vec![0xff; 192]].concat();
    let (is_ok, energy, output) = ask(&mut state, "6005", &data);
    assert_eq!((is_ok, energy, output.len()), (false, 100_000, 0), "dearer than what it was given");
    let data = [words(&[sixty_four, one, sixty_four]), vec![0xff; 64], vec![3], vec![0xfe; 64]].concat();
    let (is_ok, energy, output) = ask(&mut state, "6005", &data);
    assert_eq!((is_ok, energy, output.len()), (true, 64 * 64 / 20, 64));
}

#[test]
fn the_curve_at_istanbul_prices() {
    let mut state = state(&[], &[]);
    let (is_ok, energy, output) = ask(&mut state, "6006", &[0; 128]);
    assert_eq!((is_ok, energy, output.as_ref()), (true, 150, [0; 64].as_slice()));
    let (is_ok, energy, _) = ask(&mut state, "6007", &[0; 96]);
    assert_eq!((is_ok, energy), (true, 6_000));
    let (is_ok, energy, output) = ask(&mut state, "6008", &[0; 192]);
    assert_eq!((is_ok, energy, output[31]), (true, 45_000 + 34_000, 1));
    let (is_ok, energy, _) = ask(&mut state, "6008", &[0; 191]);
    assert_eq!((is_ok, energy), (false, 100_000));
    let (is_ok, energy, _) = ask(&mut state, "6006", &[1; 128]);
    assert_eq!((is_ok, energy), (false, 100_000), "no point of the curve");
}

#[test]
fn blake2_costs_its_rounds() {
    let mut data = vec![0; 213];
    data[3] = 12;
    data[212] = 1;
    let (is_ok, energy, output) = ask(&mut state(&[], &[]), "62020009", &data);
    assert_eq!((is_ok, energy, output.len()), (true, 12, 64));
    let (is_ok, energy, _) = ask(&mut state(&[], &[]), "62020009", &data[1..]);
    assert_eq!((is_ok, energy), (false, 100_000));
}

#[test]
fn an_answer_is_written_whole() {
    // SHA-256 of nothing, with room for none of it: MLOAD 0 shows it, and memory has grown without being paid for.
    let wanted = U256::from_be_slice(&Sha256::digest([]));
    assert_eq!(word("5f 5f 5f 5f 6002 5a fa 50 5f 51"), wanted);
    assert_eq!(word("5f 6020 5f 5f 6002 5a fa 50 59"), U256::from(64), "32 bytes from 32 on");
    let free = energy("5f 5f 5f 5f 6002 5a fa 50 5f 51");
    assert_eq!(free, 8 + 3 + 2 + 40 + 60 + 2 + 2 + 1);
    // A contract's answer is cut as it should be.
    assert_eq!(word_with("6001 5f 5f 5f 60c1 5a fa 50 5f 51", "5f 19 5f 52 6020 5f f3"), U256::from(0xff) << 248);
    // There is no memory beyond the limit.
    let far = run("5f 62300000 5f 5f 6002 5a fa");
    assert_eq!(far.result, ContractResult::OutOfMemory);
}

#[test]
fn the_whole_word_is_the_address() {
    let sha256_of_nothing = |to: &str| run(&format!("6020 5f 5f 5f {to} 5a fa 50 3d 5f 52 6020 5f f3")).output[31];
    assert_eq!(sha256_of_nothing("6002"), 32);
    // An address with the prefix, as CREATE answers them, names an account, and there is none.
    assert_eq!(sha256_of_nothing("74 410000000000000000000000000000000000000002"), 0);
}

#[test]
fn what_is_sent_to_one_needs_an_account_there() {
    let code = bytes("5f 5f 5f 5f 6005 6004 5a f1 5f 52 6020 5f f3");
    let mut with_account = state(&code, &[]);
    with_account.set_account(Address::with_last_byte(4), Some(Account::new(0)));
    let outcome = call_on(&with_account, PLENTY);
    assert_eq!((outcome.output[31], outcome.internal.len()), (1, 0));
    assert_eq!(outcome.changes.get(&Address::with_last_byte(4)).unwrap().info.balance, U256::from(5));
    // One that fails gives it back.
    let code = bytes("5f 5f 5f 5f 6005 62020009 5a f1 5f 52 6020 5f f3");
    let mut with_account = state(&code, &[]);
    with_account.set_account(address_of(0x2_0009), Some(Account::new(0)));
    let outcome = call_on(&with_account, PLENTY);
    assert_eq!((outcome.output[31], outcome.changes.get(&address_of(0x2_0009)).unwrap().info.balance), (0, U256::ZERO));
}

fn address_of(number: u64) -> Address {
    Address::from_word(U256::from(number).into())
}

/// ABI-encoded arguments: these words, then the signatures, then perhaps addresses.
fn arguments(heads: &[U256], signatures: &[[u8; 65]], addresses: Option<&[Address]>) -> Vec<u8> {
    let n = signatures.len();
    let n_heads = heads.len() + 1 + usize::from(addresses.is_some());
    let mut tail = vec![U256::from(n)];
    tail.extend((0..n).map(|i| U256::from(32 * (n + 4 * i))));
    let mut tail = words(&tail);
    for signature in signatures {
        tail.extend(words(&[U256::from(65)]));
        tail.extend_from_slice(signature);
        tail.extend([0; 31]);
    }
    let mut all = heads.to_vec();
    all.push(U256::from(32 * n_heads));
    if let Some(addresses) = addresses {
        all.push(U256::from(32 * n_heads + tail.len()));
        tail.extend(words(&[U256::from(addresses.len())]));
        tail.extend(addresses.iter().flat_map(|a| words(&[with_prefix(*a)])));
    }
    [words(&all), tail].concat()
}

#[test]
fn signatures_are_checked_in_a_batch() {
    let wallets: Vec<Wallet> = (0..3).map(|i| Wallet::derive("batch", i)).collect();
    let hash = [5; 32];
    let mut signatures: Vec<[u8; 65]> = wallets.iter().map(|w| w.sign_hash(&hash).unwrap()).collect();
    // 27 and 28 mean the same as 0 and 1.
    signatures[2][64] %= 27;
    let addresses = [wallets[0].address(), NOBODY, wallets[2].address()];
    let heads = [U256::from_be_bytes(hash)];
    let mut state = state(&[], &[]);
    let (is_ok, energy, output) = ask(&mut state, "6009", &arguments(&heads, &signatures, Some(&addresses)));
    assert_eq!((is_ok, energy), (true, 3 * 1_500));
    assert_eq!((&output[..4], output.len()), ([1, 0, 1, 0].as_slice(), 32));
    // As many of one as of the other, at most 16, and sense in the arguments; else all is zero.
    let seventeen = (vec![signatures[0]; 17], vec![addresses[0]; 17]);
    for data in [
        arguments(&heads, &signatures, Some(&addresses[..2])),
        arguments(&heads, &seventeen.0, Some(&seventeen.1)),
        arguments(&heads, &signatures, Some(&addresses))[..160].to_vec(),
        Vec::new(),
    ] {
        let (is_ok, _, output) = ask(&mut state, "6009", &data);
        assert_eq!((is_ok, output.as_ref()), (true, [0; 32].as_slice()));
    }
}

fn two_of_three(wallets: &[Wallet]) -> Arc<crate::chain::Permissions> {
    let key = |wallet: &Wallet| proto::Key { address: crate::address::to_wire(wallet.address()).to_vec(), weight: 1 };
    let permission = |id, threshold| proto::Permission {
        id,
        threshold,
        keys: wallets.iter().map(key).collect(),
        ..proto::Permission::default()
    };
    Arc::new(crate::chain::Permissions { owner: permission(0, 3), actives: vec![permission(2, 2)] })
}

#[test]
fn an_accounts_signers_are_weighed() {
    let wallets: Vec<Wallet> = (0..3).map(|i| Wallet::derive("multi", i)).collect();
    let (owner, data) = (Address::with_last_byte(0xab), U256::from(0x1234));
    let mut state = state(&[], &[]);
    state.set_account(owner, Some(Account { permissions: Some(two_of_three(&wallets)), ..Account::new(0) }));
    let sign = |permission: u32, who: &[usize]| -> Vec<[u8; 65]> {
        let mut signed = crate::address::to_wire(owner).to_vec();
        signed.extend(permission.to_be_bytes());
        signed.extend(data.to_be_bytes::<32>());
        let hash: [u8; 32] = Sha256::digest(signed).into();
        who.iter().map(|i| wallets[*i].sign_hash(&hash).unwrap()).collect()
    };
    let mut judged = |permission: u32, signatures: &[[u8; 65]]| {
        let heads = [with_prefix(owner), U256::from(permission), data];
        let (is_ok, energy, output) = ask(&mut state, "600a", &arguments(&heads, signatures, None));
        assert!(is_ok);
        assert_eq!(energy, 1_500 * u64::try_from(signatures.len()).unwrap());
        U256::from_be_slice(&output) == U256::from(1)
    };
    assert!(judged(2, &sign(2, &[0, 2])));
    assert!(!judged(2, &sign(2, &[1])), "too light");
    assert!(!judged(2, &sign(2, &[1, 1])), "once is not twice");
    assert!(judged(2, &sign(2, &[1, 1, 0])));
    assert!(judged(0, &sign(0, &[0, 1, 2])));
    assert!(!judged(0, &sign(0, &[0, 1])));
    assert!(!judged(3, &sign(3, &[0, 1, 2])), "no such permission");
    assert!(!judged(2, &sign(0, &[0, 1, 2])), "signed for another");
    assert!(!judged(2, &[]));
    assert!(!judged(2, &sign(2, &[0, 1, 2, 0, 1, 2])), "more than five");
}

#[test]
fn an_account_without_permissions_signs_for_itself() {
    let wallet = Wallet::derive("plain", 0);
    let mut state = state(&[], &[]);
    let judged = |state: &mut State, permission: u32| {
        let signed = [
            crate::address::to_wire(wallet.address()).as_slice(),
            &permission.to_be_bytes(),
            &U256::from(7).to_be_bytes::<32>(),
        ]
        .concat();
        let signature = wallet.sign_hash(&Sha256::digest(signed).into()).unwrap();
        let heads = [with_prefix(wallet.address()), U256::from(permission), U256::from(7)];
        ask(state, "600a", &arguments(&heads, &[signature], None)).2[31]
    };
    assert_eq!(judged(&mut state, 0), 0, "there must be an account");
    state.set_account(wallet.address(), Some(Account::new(0)));
    assert_eq!((judged(&mut state, 0), judged(&mut state, 2), judged(&mut state, 3)), (1, 1, 0));
    add_contract(&mut state, wallet.address(), &[]);
    assert_eq!((judged(&mut state, 0), judged(&mut state, 2)), (1, 0), "a contract has no active permission");
}

#[test]
fn one_signer_with_two_signatures_runs_out_of_time() {
    let wallet = Wallet::derive("plain", 0);
    let signed = [crate::address::to_wire(wallet.address()).as_slice(), &[0; 4], &[0; 32]].concat();
    let signature = wallet.sign_hash(&Sha256::digest(signed).into()).unwrap();
    let mut same = signature;
    same[64] = (same[64] % 27) + 27 * u8::from(same[64] < 27);
    assert_ne!(signature, same);
    let data = arguments(&[with_prefix(wallet.address()), U256::ZERO, U256::ZERO], &[signature, same], None);
    // The helper asks; what the contract would do after it does not happen.
    let helper = bytes("36 5f 5f 37 5f 5f 36 5f 600a 5a fa");
    let mut state = state(&bytes("36 5f 5f 37 5f 5f 36 5f 5f 60c1 5a f1 00"), &helper);
    state.set_account(wallet.address(), Some(Account::new(0)));
    let outcome = run_on(&state, &[], Kind::Call(CONTRACT), &data, PLENTY);
    assert_eq!((outcome.result, outcome.energy), (ContractResult::OutOfTime, PLENTY));
    assert_eq!(outcome.message, "CPU timeout for 0x0a executing");
}

#[test]
fn nobody_votes() {
    let mut state = state(&[], &[]);
    let mut ask = |to: &str, data: &[U256]| {
        let (is_ok, energy, output) = ask(&mut state, to, &words(data));
        assert!(is_ok);
        (energy, U256::from_be_slice(&output))
    };
    let (one, witness) = (U256::from(1), with_prefix(WITNESS));
    assert_eq!(ask("6301000005", &[]), (500, U256::ZERO));
    assert_eq!(ask("6301000006", &[witness]), (20, one));
    assert_eq!(ask("6301000006", &[with_prefix(CALLER)]), (20, U256::ZERO));
    assert_eq!(ask("6301000006", &[witness, one]), (20, U256::ZERO), "one word, no more");
    assert_eq!(ask("6301000007", &[witness, witness]), (500, U256::ZERO));
    assert_eq!(ask("6301000008", &[witness]), (20, U256::ZERO));
    assert_eq!(ask("6301000009", &[witness]), (20, U256::ZERO));
}
