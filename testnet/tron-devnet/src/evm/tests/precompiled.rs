//! Precompiled contracts.

use sha2::{Digest, Sha256};

use super::*;
use crate::chain::state::Total;
use crate::chain::{Delegations, Resource, Unstaking};
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
    let words = |bytes: usize| u64::try_from(bytes.div_ceil(32)).unwrap();
    let copied = words(returned.len());
    // Copying and returning the answer: 3 a word, and memory beyond that of the data and of the answer's first place.
    let memory = |n: u64| 3 * n + n * n / 512;
    let present = words(data.len()).max(1).max(copied);
    let reached = memory(present.max(copied + 1)) - memory(present);
    (flag[31] == 1, outcome.energy - plain - 3 * copied - reached, Bytes::copy_from_slice(returned))
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

/// Asks a query (by the last byte of its address) and answers energy and words.
fn query(state: &mut State, last: u8, data: &[U256]) -> (u64, Vec<U256>) {
    let (is_ok, energy, output) = ask(state, &format!("63010000{last:02x}"), &words(data));
    assert!(is_ok);
    (energy, output.chunks(32).map(U256::from_be_slice).collect())
}

fn numbers<const N: usize>(numbers: [u64; N]) -> Vec<U256> {
    numbers.map(U256::from).to_vec()
}

#[test]
fn nobody_votes() {
    let mut state = state(&[], &[]);
    let mut query = |last: u8, data: &[U256]| query(&mut state, last, data);
    let (one, witness) = (U256::from(1), with_prefix(WITNESS));
    assert_eq!(query(0x05, &[]), (500, numbers([0])));
    assert_eq!(query(0x06, &[witness]), (20, numbers([1])));
    assert_eq!(query(0x06, &[with_prefix(CALLER)]), (20, numbers([0])));
    assert_eq!(query(0x06, &[witness, one]), (20, numbers([0])), "one word, no more");
    assert_eq!(query(0x07, &[witness, witness]), (500, numbers([0])));
    assert_eq!(query(0x08, &[witness]), (20, numbers([0])));
    assert_eq!(query(0x09, &[witness]), (20, numbers([0])));
}

#[test]
fn stakes_can_be_asked_about() {
    let [staker, friend] = [0xa1, 0xa2].map(Address::with_last_byte);
    let mut state = state(&[], &[]);
    let mut account = Account::new(0);
    // 30 TRX of which 10 are delegated, 5 acquired; 400 bytes in use at slot 0, which recover over 28,800 slots.
    account.bandwidth.own = 20_000_000;
    account.bandwidth.delegated = 10_000_000;
    account.bandwidth.acquired = 5_000_000;
    account.bandwidth.usage.amount = 400;
    account.energy.own = 7_500_000;
    let unstaking = |free_at| Unstaking { resource: Resource::Energy, amount: 3_000_000, free_at };
    // The head is at 2,000 ms.
    account.unstaking = vec![unstaking(1_000), unstaking(2_000), unstaking(3_000)];
    state.set_account(staker, Some(account));
    let mut delegations = Delegations::default();
    delegations.bandwidth.open = 6_000_000;
    delegations.bandwidth.locked = 4_000_000;
    state.set_delegations(staker, friend, delegations);
    state.set_total(Total::NetWeight, 50);
    state.set_total(Total::EnergyWeight, 60);
    let mut check = |last: u8, data: &[U256], energy: u64, wanted: Vec<U256>| {
        assert_eq!(query(&mut state, last, data), (energy, wanted), "{last:x} {data:?}");
    };
    let [s, f, nobody] = [staker, friend, NOBODY].map(with_prefix);
    let [net, power, other] = [0u64, 2, 9].map(U256::from);
    let for_energy = U256::from(1);
    // TotalVoteCount: whole TRX staked, delegated or not.
    check(0x0a, &[s], 20, numbers([37]));
    // GetChainParameter.
    for (code, value) in [(0u64, 0u64), (1, 1_000), (2, 50), (3, 2_000), (4, 60), (5, 14), (6, 0)] {
        check(0x0b, &[U256::from(code)], 50, numbers([value]));
    }
    // AvailableUnfreezeV2Size: of 32, one is under way.
    check(0x0c, &[s], 50, numbers([31]));
    check(0x0c, &[nobody], 50, numbers([0]));
    check(0x0c, &[with_prefix(CALLER)], 50, numbers([32]));
    // UnfreezableBalanceV2.
    check(0x0d, &[s, net], 50, numbers([20_000_000]));
    check(0x0d, &[s, for_energy], 50, numbers([7_500_000]));
    check(0x0d, &[s, power], 50, numbers([0]));
    // ExpireUnfreezeBalanceV2, at a time in seconds.
    check(0x0e, &[s, U256::from(0)], 50, numbers([0]));
    check(0x0e, &[s, U256::from(2)], 50, numbers([6_000_000]));
    check(0x0e, &[s, U256::MAX], 50, numbers([9_000_000]));
    // Half of the day has passed (slot 14,400), so 200 of 1,000 bytes a day are in use, of which 50 TRX have all:
    // 200 * 50 / 1,000 TRX, for 14,400 slots of 3 s more.
    check(0x12, &[s, net], 50, numbers([10_000_000, 43_200]));
    check(0x12, &[s, for_energy], 50, numbers([0, 43_200]));
    check(0x12, &[s, other], 50, numbers([0, 0]));
    // DelegatableResource: what acquired stakes cover is not in use.
    check(0x0f, &[s, net], 50, numbers([15_000_000]));
    check(0x0f, &[s, for_energy], 50, numbers([7_500_000]));
    // ResourceV2: delegated to whom, by whom.
    check(0x10, &[f, s, net], 50, numbers([10_000_000]));
    check(0x10, &[f, s, for_energy], 50, numbers([0]));
    check(0x10, &[s, f, net], 50, numbers([0]));
    check(0x10, &[s, s, net], 50, numbers([20_000_000]));
    // CheckUnDelegateResource: of 25 TRX, 10 are in use, so of 5 TRX 2; and of all that it has, no more.
    check(0x11, &[s, U256::from(5_000_000), net], 50, numbers([3_000_000, 2_000_000, 43_200]));
    check(0x11, &[s, U256::from(90_000_000), net], 50, numbers([15_000_000, 10_000_000, 43_200]));
    check(0x11, &[s, U256::from(0), net], 50, numbers([0, 0, 0]));
    check(0x11, &[s, net], 50, numbers([0, 0, 0]));
    // TotalResource, TotalDelegatedResource, TotalAcquiredResource.
    check(0x13, &[s, net], 50, numbers([25_000_000]));
    check(0x14, &[s, net], 50, numbers([10_000_000]));
    check(0x15, &[s, net], 50, numbers([5_000_000]));
    check(0x15, &[nobody, net], 50, numbers([0]));
}

#[test]
fn proofs_of_shielded_transfers_are_not_here() {
    let outcome = run("5f 5f 5f 5f 6301000001 5a fa 5f 52 6020 5f f3");
    assert_eq!((outcome.output[31], outcome.internal.len()), (1, 1), "a call to an account without code");
}
