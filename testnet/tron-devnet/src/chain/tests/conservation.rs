//! No sequence of transactions makes or loses TRX, and what is written down says everything.

use proptest::prelude::*;

use super::*;
use crate::store::{Beginning, Folder, Log, VERSION};

const DAY: u64 = 24 * 60 * 60 * 1_000;

#[derive(Clone, Debug)]
enum Step {
    Pay { from: usize, to: usize, sun: u64 },
    Freeze { who: usize, trx: u64, resource: i32 },
    Unfreeze { who: usize, trx: u64, resource: i32 },
    Withdraw { who: usize },
    Cancel { who: usize },
    Delegate { from: usize, to: usize, trx: u64, resource: i32, lock: Option<i64> },
    TakeBack { from: usize, to: usize, trx: u64, resource: i32 },
    Deposit { who: usize, sun: u64, fee_limit: u64 },
    Burn { who: usize },
    SetPercent { percent: i64 },
    Mine { after: u64 },
    Drop { depth: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let resource = || 0..2i32;
    prop_oneof![
        3 => (0..4usize, 0..6usize, 1..20_000_000u64).prop_map(|(from, to, sun)| Step::Pay { from, to, sun }),
        4 => (0..4usize, 1..3_000u64, resource())
            .prop_map(|(who, trx, resource)| Step::Freeze { who, trx, resource }),
        3 => (0..4usize, 1..1_000u64, resource())
            .prop_map(|(who, trx, resource)| Step::Unfreeze { who, trx, resource }),
        1 => (0..4usize).prop_map(|who| Step::Withdraw { who }),
        1 => (0..4usize).prop_map(|who| Step::Cancel { who }),
        4 => (0..4usize, 0..5usize, 1..1_000u64, resource(), proptest::option::of(0..100_000i64))
            .prop_map(|(from, to, trx, resource, lock)| Step::Delegate { from, to, trx, resource, lock }),
        4 => (0..4usize, 0..5usize, 1..500u64, resource())
            .prop_map(|(from, to, trx, resource)| Step::TakeBack { from, to, trx, resource }),
        3 => (0..4usize, 0..5_000_000u64, 0..3_000_000u64)
            .prop_map(|(who, sun, fee_limit)| Step::Deposit { who, sun, fee_limit }),
        1 => (0..4usize).prop_map(|who| Step::Burn { who }),
        1 => (0..=100i64).prop_map(|percent| Step::SetPercent { percent }),
        5 => prop_oneof![Just(3_000), Just(DAY / 3), Just(5 * DAY)].prop_map(|after| Step::Mine { after }),
        1 => (0..3u64).prop_map(|depth| Step::Drop { depth }),
    ]
}

impl Bench {
    /// The first four are the keys', the others have no key.
    fn anybody(&self, who: usize) -> Address {
        self.keys.get(who).map_or_else(|| Address::with_last_byte(0xd0 + u8::try_from(who).unwrap()), Wallet::address)
    }

    /// Does one thing, if the rules allow it.
    fn step(&mut self, step: &Step, counter: Address) {
        let wire = |bench: &Self, who: usize| crate::address::to_wire(bench.anybody(who)).to_vec();
        let sun = |trx: u64| i64::try_from(trx * TRX).unwrap();
        match *step {
            Step::Pay { from, to, sun } => {
                drop(self.send(from, &wallet::transfer(self.anybody(from), self.anybody(to), sun), 0));
            }
            Step::Freeze { who, trx, resource } => {
                let owner_address = wire(self, who);
                let message = proto::FreezeBalanceV2Contract { owner_address, frozen_balance: sun(trx), resource };
                drop(self.send(who, &message, 0));
            }
            Step::Unfreeze { who, trx, resource } => {
                let owner_address = wire(self, who);
                let message = proto::UnfreezeBalanceV2Contract { owner_address, unfreeze_balance: sun(trx), resource };
                drop(self.send(who, &message, 0));
            }
            Step::Withdraw { who } => {
                drop(self.send(who, &proto::WithdrawExpireUnfreezeContract { owner_address: wire(self, who) }, 0));
            }
            Step::Cancel { who } => {
                drop(self.send(who, &proto::CancelAllUnfreezeV2Contract { owner_address: wire(self, who) }, 0));
            }
            Step::Delegate { from, to, trx, resource, lock } => {
                let message = proto::DelegateResourceContract {
                    owner_address: wire(self, from),
                    resource,
                    balance: sun(trx),
                    receiver_address: wire(self, to),
                    lock: lock.is_some(),
                    lock_period: lock.unwrap_or_default(),
                };
                drop(self.send(from, &message, 0));
            }
            Step::TakeBack { from, to, trx, resource } => {
                let message = proto::UnDelegateResourceContract {
                    owner_address: wire(self, from),
                    resource,
                    balance: sun(trx),
                    receiver_address: wire(self, to),
                };
                drop(self.send(from, &message, 0));
            }
            Step::Deposit { who, sun, fee_limit } => {
                let data = token::call_data("deposit()", &[]);
                drop(self.send(who, &wallet::trigger(self.anybody(who), counter, data, sun), fee_limit));
            }
            Step::Burn { who } => {
                let data = token::call_data("burn()", &[]);
                drop(self.send(who, &wallet::trigger(self.anybody(who), counter, data, 0), TRX));
            }
            Step::SetPercent { percent } => {
                let message = proto::UpdateSettingContract {
                    owner_address: wire(self, 0),
                    contract_address: crate::address::to_wire(counter).to_vec(),
                    consume_user_resource_percent: percent,
                };
                drop(self.send(0, &message, 0));
            }
            Step::Mine { after } => {
                let time = self.chain.head().block().time() + after;
                self.chain.produce_block(time);
            }
            Step::Drop { depth } => {
                let number = self.chain.head().number().saturating_sub(depth).max(1);
                self.chain.drop_blocks(number);
            }
        }
    }

    /// Balances, stakes, what is being unstaked, and what was burnt.
    fn sun_in_existence(&self) -> u64 {
        let state = &self.chain.state;
        let of = |account: &Account| {
            let staked: u64 = Resource::ALL.iter().map(|r| account.stake(*r).own + account.stake(*r).delegated).sum();
            account.balance + staked + account.unstaking.iter().map(|u| u.amount).sum::<u64>()
        };
        state.accounts.iter().map(|(_, account)| of(account)).sum::<u64>() + state.total(Total::Burnt)
    }

    /// Delegations are what delegators delegated and receivers acquired, and stakes are the network's weight.
    fn check_stakes(&self) -> Result<(), TestCaseError> {
        let state = &self.chain.state;
        for resource in Resource::ALL {
            for (address, account) in state.accounts.iter() {
                let sum = |is_of: &dyn Fn(&(Address, Address)) -> bool| -> u64 {
                    let delegations = state
                        .delegations
                        .iter()
                        .filter(|(pair, _)| is_of(pair))
                        .map(|(_, delegations)| delegations.of(resource));
                    delegations.map(|delegation| delegation.open + delegation.locked).sum()
                };
                prop_assert_eq!(account.stake(resource).delegated, sum(&|(delegator, _)| delegator == address));
                prop_assert_eq!(account.stake(resource).acquired, sum(&|(_, receiver)| receiver == address));
            }
            let weight: u64 = state.accounts.iter().map(|(_, account)| account.stake(resource).weight()).sum();
            let genesis = match resource {
                Resource::Bandwidth => self.chain.params.genesis_net_weight,
                Resource::Energy => self.chain.params.genesis_energy_weight,
            };
            prop_assert_eq!(state.total(resource.weight()), genesis + weight);
        }
        Ok(())
    }
}

/// Every table as of the head and as of the solidified block.
fn tables(chain: &Chain) -> impl PartialEq + std::fmt::Debug + use<> {
    fn sorted<K: Ord + Clone + Eq + std::hash::Hash, V: Clone>(
        table: &versioned::Versioned<K, V>,
        layer: usize,
    ) -> Vec<(K, V)> {
        let mut all: Vec<(K, V)> = table.entries_at(layer).into_iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
    let state = &chain.state;
    let layers = [0, state.layers() - 1];
    layers.map(|layer| {
        (
            sorted(&state.accounts, layer),
            sorted(&state.storage, layer),
            sorted(&state.contracts, layer),
            sorted(&state.delegations, layer),
            sorted(&state.totals, layer),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_made_or_lost(steps in proptest::collection::vec(step(), 0..60)) {
        let mut bench = Bench::new();
        bench.chain.keep_changes();
        let counter = bench.deploy([COUNTER, &token::number_word(0)].concat());
        let in_the_beginning = 4 * 10_000 * TRX;
        for step in &steps {
            bench.step(step, counter);
            prop_assert_eq!(bench.sun_in_existence(), in_the_beginning, "after {:?}", step);
            bench.check_stakes()?;
        }

        let folder = tempfile::tempdir().unwrap();
        let beginning = Beginning { version: VERSION, ..Beginning::default() };
        let mut log = Log::begin(&Folder::lock(folder.path()).unwrap(), &beginning).unwrap();
        log.write(&bench.chain.take_changes()).unwrap();
        drop(log);
        let found = Log::open(&Folder::lock(folder.path()).unwrap()).unwrap().unwrap();
        let mut again = Bench::new().chain;
        again.replay(found.changes).unwrap();
        prop_assert_eq!(tables(&again), tables(&bench.chain));
        prop_assert_eq!(again.head().block(), bench.chain.head().block());
    }
}

/// The property above is about something: its steps do stake, delegate and pay with stakes.
#[test]
fn its_steps_reach_what_they_are_for() {
    let mut bench = Bench::new();
    let counter = bench.deploy([COUNTER, &token::number_word(0)].concat());
    let mine = Step::Mine { after: 3_000 };
    for step in [
        Step::Freeze { who: 0, trx: 3_000, resource: 1 },
        Step::Freeze { who: 1, trx: 2_000, resource: 0 },
        mine.clone(),
        Step::Delegate { from: 0, to: 2, trx: 900, resource: 1, lock: None },
        Step::Delegate { from: 1, to: 0, trx: 900, resource: 0, lock: Some(10) },
        Step::SetPercent { percent: 40 },
        mine.clone(),
        Step::Deposit { who: 2, sun: 5, fee_limit: TRX },
        mine.clone(),
        Step::Unfreeze { who: 0, trx: 10, resource: 1 },
        mine.clone(),
        Step::Mine { after: 15 * DAY },
        Step::Withdraw { who: 0 },
        Step::TakeBack { from: 0, to: 2, trx: 400, resource: 1 },
        mine,
    ] {
        let before = (bench.chain.pending(), bench.chain.head().number());
        bench.step(&step, counter);
        assert_ne!((bench.chain.pending(), bench.chain.head().number()), before, "{step:?} was refused");
    }
    let deposit = bench.chain.head().block_by_number(4).unwrap().infos[0].receipt.clone();
    assert_eq!(deposit.result, Some(ContractResult::Success));
    assert!(deposit.origin_energy_usage > 0 && deposit.energy_usage > 0, "{deposit:?}");
}
