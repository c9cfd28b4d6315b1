//! Stakes, delegations of resources, and who pays for what with them.

use super::*;
use proto::Resource as Wire;

const DAY: u64 = 24 * 60 * 60 * 1_000;

fn wire(address: Address) -> Vec<u8> {
    crate::address::to_wire(address).to_vec()
}

impl Bench {
    fn wire(&self, who: usize) -> Vec<u8> {
        wire(self.keys[who].address())
    }

    fn account(&self, who: usize) -> &Account {
        self.chain.head().account(self.keys[who].address()).unwrap()
    }

    /// A block so many milliseconds after the head.
    fn wait(&mut self, milliseconds: u64) {
        let time = self.chain.head().block().time() + milliseconds;
        self.chain.produce_block(time);
    }

    fn freeze(&mut self, who: usize, trx: u64, resource: Wire) -> TransactionInfo {
        let message = proto::FreezeBalanceV2Contract {
            owner_address: self.wire(who),
            frozen_balance: i64::try_from(trx * TRX).unwrap(),
            resource: resource.into(),
        };
        self.run(who, &message)
    }

    fn unfreeze_message(&self, who: usize, sun: i64, resource: Wire) -> proto::UnfreezeBalanceV2Contract {
        proto::UnfreezeBalanceV2Contract {
            owner_address: self.wire(who),
            unfreeze_balance: sun,
            resource: resource.into(),
        }
    }

    fn delegation(&self, from: usize, to: usize, trx: u64, resource: Wire) -> proto::DelegateResourceContract {
        proto::DelegateResourceContract {
            owner_address: self.wire(from),
            resource: resource.into(),
            balance: i64::try_from(trx * TRX).unwrap(),
            receiver_address: self.wire(to),
            lock: false,
            lock_period: 0,
        }
    }

    fn back(&self, from: usize, to: usize, trx: u64, resource: Wire) -> proto::UnDelegateResourceContract {
        proto::UnDelegateResourceContract {
            owner_address: self.wire(from),
            resource: resource.into(),
            balance: i64::try_from(trx * TRX).unwrap(),
            receiver_address: self.wire(to),
        }
    }

    /// Says why `message` is refused.
    fn refused<M: ContractMessage>(&mut self, who: usize, message: &M) -> String {
        let refusal = self.send(who, message, 0).unwrap_err();
        assert_eq!(refusal.code, Code::ContractValidateError, "{refusal}");
        refusal.message.strip_prefix("Contract validate error : ").unwrap().to_owned()
    }
}

#[test]
fn a_stake_pays_for_bandwidth_before_the_free_bytes() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let weight = bench.chain.head().pool(Resource::Bandwidth).weight;
    let info = bench.freeze(0, 1_000, Wire::Bandwidth);
    // The staking itself came out of the free bytes.
    let free = bench.account(0).free_net_usage;
    assert_eq!((info.fee, info.receipt.net_usage), (0, free));
    assert_eq!(bench.chain.head().balance(a), 9_000 * TRX);
    assert_eq!(bench.account(0).bandwidth.own, 1_000 * TRX);
    assert_eq!(bench.chain.head().pool(Resource::Bandwidth).weight, weight + 1_000);
    assert_eq!(
        bench.chain.head().staked_limit(a, Resource::Bandwidth),
        1_599,
        "43,200,000,000 / 27,000,001,000 of 1,000"
    );

    let info = bench.run(0, &wallet::transfer(a, b, 1));
    let bytes = info.receipt.net_usage;
    assert_eq!((info.fee, bench.account(0).bandwidth.usage.amount), (0, bytes));
    assert_eq!(bench.account(0).free_net_usage, free);
    // A new account, too, is paid for with the stake, apart from its fee.
    let info = bench.run(0, &wallet::transfer(a, Wallet::derive("nobody", 0).address(), 1));
    assert_eq!((info.fee, info.receipt.net_fee), (TRX, 0));
    assert!(info.receipt.net_usage > 200);
    // Free bytes come when the stake's do not suffice, and then TRX.
    for _ in 0..3 {
        bench.run(0, &wallet::transfer(a, b, 1));
    }
    assert_eq!(bench.account(0).free_net_usage, free);
    assert_eq!(bench.run(0, &wallet::transfer(a, b, 1)).receipt.net_fee, 0);
    assert!(bench.account(0).free_net_usage > free);
    assert!(bench.run(0, &wallet::transfer(a, b, 1)).receipt.net_fee > 0);
    // A day later all of it is there again.
    bench.wait(DAY);
    assert_eq!(bench.chain.head().staked_usage(a, Resource::Bandwidth).amount, 0);
    assert_eq!(bench.chain.head().free_bandwidth_used(a), 0);
}

#[test]
fn unstaking_takes_two_weeks() {
    let mut bench = Bench::with(Params { free_bandwidth: 100_000, ..Params::default() });
    let a = bench.keys[0].address();
    let weight = bench.chain.head().pool(Resource::Energy).weight;
    bench.freeze(0, 100, Wire::Energy);
    bench.run(0, &bench.unfreeze_message(0, 30 * 1_000_000, Wire::Energy));
    let head = bench.chain.head().block().time();
    let account = bench.account(0);
    assert_eq!((account.balance, account.energy.own), (9_900 * TRX, 70 * TRX));
    // Counted from the block before.
    let free_at = head - 3_000 + 14 * DAY;
    assert_eq!(account.unstaking, [Unstaking { resource: Resource::Energy, amount: 30 * TRX, free_at }]);
    assert_eq!(bench.chain.head().pool(Resource::Energy).weight, weight + 70);
    let withdraw = proto::WithdrawExpireUnfreezeContract { owner_address: bench.wire(0) };
    assert_eq!(bench.refused(0, &withdraw), "no unFreeze balance to withdraw ");

    bench.chain.produce_block(free_at);
    let info = bench.run(0, &withdraw);
    assert_eq!((info.withdrawn, bench.chain.head().balance(a)), (30 * TRX, 9_930 * TRX));
    assert!(bench.account(0).unstaking.is_empty());

    // The next unstaking withdraws what has ended.
    bench.run(0, &bench.unfreeze_message(0, 10 * 1_000_000, Wire::Energy));
    bench.wait(14 * DAY);
    let info = bench.run(0, &bench.unfreeze_message(0, 5 * 1_000_000, Wire::Energy));
    assert_eq!((info.withdrawn, bench.chain.head().balance(a)), (10 * TRX, 9_940 * TRX));
    assert_eq!(bench.account(0).unstaking.len(), 1);
}

#[test]
fn unstaking_can_be_cancelled() {
    let mut bench = Bench::with(Params { free_bandwidth: 100_000, ..Params::default() });
    bench.freeze(0, 100, Wire::Energy);
    bench.freeze(0, 50, Wire::Bandwidth);
    let weight = bench.chain.head().pool(Resource::Energy).weight;
    let cancel = proto::CancelAllUnfreezeV2Contract { owner_address: bench.wire(0) };
    assert_eq!(bench.refused(0, &cancel), "No unfreezeV2 list to cancel");
    bench.run(0, &bench.unfreeze_message(0, 1_000_000, Wire::Bandwidth));
    bench.wait(14 * DAY);
    bench.send(0, &bench.unfreeze_message(0, 2_000_000, Wire::Energy), 0).unwrap();
    bench.send(0, &bench.unfreeze_message(0, 3_000_000, Wire::Energy), 0).unwrap();
    bench.run(0, &bench.unfreeze_message(0, 4_000_000, Wire::Bandwidth));
    let info = bench.run(0, &cancel);
    // The first came back with the unstaking after it.
    assert_eq!((info.withdrawn, info.restaked), (0, Some(Restaked { bandwidth: 4 * TRX, energy: 5 * TRX })));
    let account = bench.account(0);
    assert_eq!((account.energy.own, account.bandwidth.own), (100 * TRX, 49 * TRX));
    assert_eq!((account.unstaking.len(), account.balance), (0, 9_851 * TRX));
    assert_eq!(bench.chain.head().pool(Resource::Energy).weight, weight);
}

#[test]
fn at_most_32_unstakings_are_under_way() {
    let mut bench = Bench::new();
    let a = bench.keys[0].address();
    bench.freeze(0, 100, Wire::Energy);
    for i in 0..32 {
        assert_eq!(bench.chain.head().available_unfreezes(a), 32 - i);
        bench.run(0, &bench.unfreeze_message(0, 1, Wire::Energy));
    }
    let one_more = bench.unfreeze_message(0, 1, Wire::Energy);
    assert_eq!(bench.refused(0, &one_more), "Invalid unfreeze operation, unfreezing times is over limit");
    bench.wait(14 * DAY);
    assert_eq!(bench.run(0, &one_more).withdrawn, 32);
}

#[test]
fn delegations_yield_for_the_receiver() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.keys[0].address(), bench.keys[1].address(), bench.keys[2].address());
    bench.freeze(0, 1_000, Wire::Bandwidth);
    bench.run(0, &bench.delegation(0, 1, 400, Wire::Bandwidth));
    let weight = bench.chain.head().pool(Resource::Bandwidth).weight;
    let (delegator, receiver) = (bench.account(0).bandwidth, bench.account(1).bandwidth);
    assert_eq!((delegator.own, delegator.delegated, receiver.acquired), (600 * TRX, 400 * TRX, 400 * TRX));
    let delegations = *bench.chain.head().delegations(a, b).unwrap();
    assert_eq!(delegations.bandwidth, Delegation { open: 400 * TRX, locked: 0, locked_until: 0 });
    assert_eq!(bench.chain.head().delegation_partners(a), (vec![b], vec![]));
    assert_eq!(bench.chain.head().delegation_partners(b), (vec![], vec![a]));
    assert_eq!(bench.chain.head().staked_limit(b, Resource::Bandwidth), 639);

    // The receiver uses it, and part of that use goes back with the delegation.
    let bytes = bench.run(1, &wallet::transfer(b, c, 1)).receipt.net_usage;
    assert_eq!(bench.account(1).bandwidth.usage.amount, bytes);
    let before = bench.chain.head().staked_usage(a, Resource::Bandwidth).amount;
    bench.run(0, &bench.back(0, 1, 100, Wire::Bandwidth));
    let (delegator, receiver) = (bench.account(0).bandwidth, bench.account(1).bandwidth);
    assert_eq!((delegator.own, delegator.delegated, receiver.acquired), (700 * TRX, 300 * TRX, 300 * TRX));
    assert!(receiver.usage.amount.abs_diff(bytes / 4 * 3) <= 2, "{receiver:?}");
    assert!(delegator.usage.amount > before + bytes / 4, "its own bytes come on top");
    assert_eq!(bench.chain.head().pool(Resource::Bandwidth).weight, weight);

    bench.run(0, &bench.back(0, 1, 300, Wire::Bandwidth));
    assert!(bench.chain.head().delegations(a, b).is_none());
    assert_eq!(bench.chain.head().delegation_partners(a), (vec![], vec![]));
    assert_eq!(bench.chain.solid().delegation_partners(a).0, [b], "the solidified view lags");
    assert_eq!(bench.account(1).bandwidth.acquired, 0);
}

#[test]
fn a_locked_delegation_stays_until_its_time() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    bench.freeze(0, 1_000, Wire::Energy);
    let delegate = |bench: &Bench, slots| proto::DelegateResourceContract {
        lock: true,
        lock_period: slots,
        ..bench.delegation(0, 1, 100, Wire::Energy)
    };
    bench.run(0, &delegate(&bench, 0));
    let head = bench.chain.head().block().time();
    let locked_until = head - 3_000 + 3 * DAY;
    let delegation = bench.chain.head().delegations(a, b).unwrap().energy;
    assert_eq!(delegation, Delegation { open: 0, locked: 100 * TRX, locked_until });
    let back = bench.back(0, 1, 100, Wire::Energy);
    let said = "insufficient delegateFrozenBalance(Energy), request=100000000, unlock_balance=0";
    assert_eq!(bench.refused(0, &back), said);
    let shorter = delegate(&bench, 100);
    assert_eq!(
        bench.refused(0, &shorter),
        format!(
            "The lock period for ENERGY this time cannot be less than the remaining time[{}ms] of the last lock period for ENERGY!",
            3 * DAY - 3_000
        )
    );
    let said = "The lock period of delegate resource cannot be less than 0 and cannot exceed 864000!";
    for slots in [-1, 864_001] {
        let message = delegate(&bench, slots);
        assert_eq!(bench.refused(0, &message), said);
    }
    // What is delegated without a lock can be taken back at once.
    bench.run(0, &bench.delegation(0, 1, 7, Wire::Energy));
    bench.run(0, &bench.back(0, 1, 7, Wire::Energy));
    assert_eq!(bench.chain.head().delegations(a, b).unwrap().energy, delegation);

    bench.chain.produce_block(locked_until);
    assert!(bench.send(0, &back, 0).is_err(), "not yet");
    bench.wait(1);
    bench.run(0, &back);
    assert!(bench.chain.head().delegations(a, b).is_none());
}

#[test]
fn what_is_in_use_cannot_be_lent() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    bench.freeze(0, 1_000, Wire::Bandwidth);
    bench.run(0, &wallet::transfer(a, b, 1));
    let all = bench.delegation(0, 1, 1_000, Wire::Bandwidth);
    let said = "delegateBalance must be less than or equal to available FreezeBandwidthV2 balance";
    assert_eq!(bench.refused(0, &all), said);
    // Somebody who only writes the transaction is told to leave room for it.
    let most = bench.chain.head().delegatable(a, Resource::Bandwidth);
    assert!((500 * TRX..1_000 * TRX).contains(&most), "{most}");
    let delegate = |sun: u64| proto::DelegateResourceContract { balance: i64::try_from(sun).unwrap(), ..all.clone() };
    assert!(bench.chain.check_system(&proto::Contract::pack(&delegate(most), 0)).is_ok());
    assert!(bench.chain.check_system(&proto::Contract::pack(&delegate(most + 1), 0)).is_err());
    bench.send(0, &delegate(most), 0).unwrap();
}

#[test]
fn energy_comes_from_the_callers_stake_first() {
    let mut bench = Bench::new();
    let usdt = bench.deploy(token::creation_code(1_000_000));
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let call = |to| wallet::trigger(a, usdt, token::transfer(to, 1), 0);
    bench.run(0, &call(b));
    // 1,000 TRX are about 9,473 energy, and a transfer to a holder is 13,200.
    bench.freeze(0, 1_000, Wire::Energy);
    let limit = bench.chain.head().staked_limit(a, Resource::Energy);
    assert_eq!(limit, 9_473);
    let receipt = bench.run(0, &call(b)).receipt;
    assert_eq!((receipt.energy_usage, receipt.energy_usage_total, receipt.origin_energy_usage), (limit, 13_200, 0));
    assert_eq!(receipt.energy_fee, (13_200 - limit) * 100);
    assert_eq!(bench.account(0).energy.usage.amount, limit);
    let receipt = bench.run(0, &call(b)).receipt;
    assert!(receipt.energy_usage <= 2, "a block brings next to nothing back: {receipt:?}");
    bench.wait(DAY);
    bench.freeze(0, 1_000, Wire::Energy);
    let receipt = bench.run(0, &call(b)).receipt;
    assert_eq!((receipt.energy_usage, receipt.energy_fee), (13_200, 0));

    // The fee limit bounds staked energy as well.
    let id = bench.send(0, &call(b), 5_000 * 100).unwrap();
    bench.mine();
    let receipt = bench.chain.head().transaction_info(&id).unwrap().receipt.clone();
    assert_eq!(receipt.result, Some(ContractResult::OutOfEnergy));
    assert_eq!((receipt.energy_usage, receipt.energy_usage_total, receipt.energy_fee), (5_000, 5_000, 0));
}

#[test]
fn the_deployer_pays_its_share_from_its_stake() {
    let mut bench = Bench::new();
    let deployer = bench.keys[0].address();
    let create = wallet::create(deployer, "t", token::creation_code(1_000_000), None, 0);
    let new_contract = create.new_contract.clone().map(|new| proto::SmartContract {
        consume_user_resource_percent: 30,
        origin_energy_limit: 1_000_000,
        ..new
    });
    let usdt = bench.run(0, &proto::CreateSmartContract { new_contract, ..create }).contract_address.unwrap();
    let (b, c) = (bench.keys[1].address(), bench.keys[2].address());
    let give = wallet::trigger(deployer, usdt, token::transfer(b, 1_000), 0);
    assert_eq!(bench.run(0, &give).receipt.origin_energy_usage, 0, "its own call is its own");
    let call = wallet::trigger(b, usdt, token::transfer(c, 1), 0);
    bench.run(1, &call);
    let shares = |receipt: &Receipt| (receipt.origin_energy_usage, receipt.energy_usage, receipt.energy_fee / 100);
    // Without a stake the caller pays all of it.
    let receipt = bench.run(1, &call).receipt;
    assert_eq!((shares(&receipt), receipt.energy_usage_total), ((0, 0, 13_200), 13_200));
    bench.freeze(0, 9_000, Wire::Energy);
    assert_eq!(shares(&bench.run(1, &call).receipt), (9_240, 0, 3_960), "70 percent of 13,200");
    assert_eq!(bench.account(0).energy.usage.amount, 9_240);
    bench.freeze(1, 1_000, Wire::Energy);
    assert_eq!(shares(&bench.run(1, &call).receipt), (9_240, 3_960, 0));

    // Its limit for one call.
    let limit = proto::UpdateEnergyLimitContract {
        owner_address: bench.wire(0),
        contract_address: wire(usdt),
        origin_energy_limit: 1_000,
    };
    bench.run(0, &limit);
    let receipt = bench.run(1, &call).receipt;
    assert_eq!(receipt.origin_energy_usage, 1_000);
    // All of it, as far as the limit goes.
    let all = proto::UpdateSettingContract {
        owner_address: bench.wire(0),
        contract_address: wire(usdt),
        consume_user_resource_percent: 0,
    };
    bench.run(0, &all);
    bench.run(0, &proto::UpdateEnergyLimitContract { origin_energy_limit: 10_000_000, ..limit });
    assert_eq!(shares(&bench.run(1, &call).receipt), (13_200, 0, 0));
    // A caller who offers nothing can still call.
    let id = bench.send(1, &call, 0).unwrap();
    bench.mine();
    assert_eq!(bench.chain.head().transaction_info(&id).unwrap().receipt.result, Some(ContractResult::Success));
}

#[test]
fn what_staking_refuses() {
    let mut bench = Bench::new();
    let stranger = wire(Wallet::derive("nobody", 0).address());
    let a = bench.wire(0);
    let mut draft = |contract: proto::Contract| {
        let refusal = bench.chain.check_system(&contract).unwrap_err();
        refusal.message.strip_prefix("Contract validate error : ").unwrap().to_owned()
    };
    let freeze = |owner: &[u8], sun: i64, resource: i32| {
        let owner_address = owner.to_vec();
        proto::Contract::pack(&proto::FreezeBalanceV2Contract { owner_address, frozen_balance: sun, resource }, 0)
    };
    assert_eq!(draft(freeze(&[1], 1, 0)), "Invalid address");
    assert_eq!(draft(freeze(&stranger, 1, 0)), format!("Account[{}] not exists", hex::encode(&stranger)));
    assert_eq!(draft(freeze(&a, 0, 0)), "frozenBalance must be positive");
    assert_eq!(draft(freeze(&a, -1, 0)), "frozenBalance must be positive");
    assert_eq!(draft(freeze(&a, 999_999, 0)), "frozenBalance must be greater than or equal to 1 TRX");
    let said = "frozenBalance must be less than or equal to accountBalance";
    assert_eq!(draft(freeze(&a, 10_000_000_001, 7)), said);
    let said = "ResourceCode error, valid ResourceCode[BANDWIDTH、ENERGY]";
    assert_eq!(draft(freeze(&a, 1_000_000, 2)), said);

    let unfreeze = |owner: &[u8], sun: i64, resource: i32| {
        let owner_address = owner.to_vec();
        proto::Contract::pack(&proto::UnfreezeBalanceV2Contract { owner_address, unfreeze_balance: sun, resource }, 0)
    };
    assert_eq!(draft(unfreeze(&stranger, 1, 0)), format!("Account[{}] does not exist", hex::encode(&stranger)));
    assert_eq!(draft(unfreeze(&a, 1, 0)), "no frozenBalance(BANDWIDTH)");
    assert_eq!(draft(unfreeze(&a, 1, 1)), "no frozenBalance(Energy)");
    assert_eq!(draft(unfreeze(&a, 1, 2)), "ResourceCode error.valid ResourceCode[BANDWIDTH、Energy]");

    let delegation = |to: &[u8], sun: i64, resource: i32| proto::DelegateResourceContract {
        owner_address: a.clone(),
        resource,
        balance: sun,
        receiver_address: to.to_vec(),
        ..proto::DelegateResourceContract::default()
    };
    let pack = |m: &proto::DelegateResourceContract| proto::Contract::pack(m, 0);
    let said = "delegateBalance must be greater than or equal to 1 TRX";
    assert_eq!(draft(pack(&delegation(&stranger, 999_999, 0))), said);
    let said = "ResourceCode error, valid ResourceCode[BANDWIDTH、ENERGY]";
    assert_eq!(draft(pack(&delegation(&stranger, 1_000_000, 2))), said);
    let said = "delegateBalance must be less than or equal to available FreezeEnergyV2 balance";
    assert_eq!(draft(pack(&delegation(&stranger, 1_000_000, 1))), said);

    let usdt = bench.deploy(token::creation_code(1));
    bench.freeze(0, 10, Wire::Energy);
    assert_eq!(
        bench.refused(0, &bench.unfreeze_message(0, 10_000_001, Wire::Energy)),
        "Invalid unfreeze_balance, [10000001] is error"
    );
    assert_eq!(bench.refused(0, &bench.unfreeze_message(0, 0, Wire::Energy)), "Invalid unfreeze_balance, [0] is error");
    assert_eq!(bench.refused(0, &delegation(&[1], 1_000_000, 1)), "Invalid receiverAddress");
    assert_eq!(bench.refused(0, &delegation(&a, 1_000_000, 1)), "receiverAddress must not be the same as ownerAddress");
    let said = format!("Account[{}] not exists", hex::encode(&stranger));
    assert_eq!(bench.refused(0, &delegation(&stranger, 1_000_000, 1)), said);
    let said = "Do not allow delegate resources to contract addresses";
    assert_eq!(bench.refused(0, &delegation(&wire(usdt), 1_000_000, 1)), said);
    assert_eq!(bench.refused(0, &bench.back(0, 1, 1, Wire::Energy)), "delegated Resource does not exist");
    bench.run(0, &bench.delegation(0, 1, 2, Wire::Energy));
    let said = "insufficient delegatedFrozenBalance(BANDWIDTH), request=1000000, unlock_balance=0";
    assert_eq!(bench.refused(0, &bench.back(0, 1, 1, Wire::Bandwidth)), said);
    assert_eq!(bench.refused(0, &bench.back(0, 1, 0, Wire::Energy)), "unDelegateBalance must be more than 0 TRX");
    let said = "ResourceCode error.valid ResourceCode[BANDWIDTH、Energy]";
    assert_eq!(bench.refused(0, &bench.back(0, 1, 1, Wire::TronPower)), said);
}
