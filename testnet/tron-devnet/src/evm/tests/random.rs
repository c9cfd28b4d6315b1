//! Any code at all.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Nothing that anybody can deploy panics, costs more than allowed, or ends differently the second time.
    #[test]
    fn ends_within_its_limit(
        code in proptest::collection::vec(prop_oneof![any::<u8>(), 0x50..0x64u8, 0x80..0xa5u8, 0xd0..=0xdfu8, 0xf0..=0xffu8], 0..120),
        limit in 0..400_000u64,
        factor in 10_000..90_000u64,
    ) {
        let state = state(&code, &code);
        let factors = [(CONTRACT, factor)];
        let once = run_on(&state, &factors, Kind::Call(CONTRACT), &code, limit);
        prop_assert!(once.energy <= limit, "{} of {limit}", once.energy);
        prop_assert!(once.penalty <= once.energy);
        prop_assert_eq!(once.result == ContractResult::Success, once.message.is_empty());
        let again = run_on(&state, &factors, Kind::Call(CONTRACT), &code, limit);
        prop_assert_eq!((once.result, once.energy, once.output), (again.result, again.energy, again.output));
        let created = run_on(&state, &[], Kind::Create(Address::with_last_byte(0xee)), &code, limit);
        prop_assert!(created.energy <= limit);
        // TRX is neither made nor lost, except by a contract that destroys itself in its own favour.
        if created.result == ContractResult::Success && !code.contains(&0xff) {
            let total: U256 = created.changes.values().map(|a| a.info.balance).sum();
            let before: U256 = created.changes.keys().filter_map(|a| state.account(*a)).map(|a| U256::from(a.balance)).sum();
            prop_assert_eq!(total, before);
        }
    }
}
