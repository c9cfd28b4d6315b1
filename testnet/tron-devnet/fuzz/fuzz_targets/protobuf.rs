//! Any bytes as a signed transaction, as the raw data of one, or as what one does: judged and carried out without a panic, a
//! refusal leaves no trace, and no TRX comes from nowhere.
//!
//! The first byte chooses. What a transaction does is signed by the first account, whose address takes the owner's place,
//! so that it gets past the signatures. `make fuzz`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lucid_tron_types::proto::{self, ContractMessage};
use lucid_tron_devnet::chain::{Chain, Genesis, Params};
use lucid_tron_devnet::wallet::{self, Wallet};
use lucid_tron_devnet::{Address, address, token};
use prost::Message;

const BALANCE: u64 = 1_000_000_000_000;
const TIME: u64 = 1_700_000_000_000;

struct World {
    chain: Chain,
    owner: Wallet,
    other: Address,
    usdt: Address,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    // Little energy, so that endless loops end soon.
    let params = Params { max_fee_limit: 100_000_000, constant_energy_limit: 1_000_000, ..Params::default() };
    let mut chain = Chain::new(Genesis { params, ..Genesis::seeded("fuzz", 2, BALANCE, TIME, 1) });
    let (owner, other) = (Wallet::derive("fuzz", 0), Wallet::derive("fuzz", 1).address());
    let create = wallet::create(owner.address(), "t", token::creation_code(1_000), None, 0);
    let validity = wallet::Validity::after(chain.genesis_id().0, TIME, 60_000);
    let (bytes, id) = wallet::signed(&owner, &create, 100_000_000, validity);
    chain.submit(&bytes).unwrap();
    chain.produce_block(TIME + 3_000);
    let usdt = wallet::contract_address(&id, owner.address());
    World { chain, owner, other, usdt }
});

/// Type and name of every contract that the network carries out.
macro_rules! kinds {
    ($($message:ident),* $(,)?) => {
        [$((proto::$message::TYPE, <proto::$message as ContractMessage>::NAME)),*]
    };
}

const KINDS: [(proto::ContractType, &str); 15] = kinds![
    AccountCreateContract,
    TransferContract,
    AccountUpdateContract,
    CreateSmartContract,
    TriggerSmartContract,
    UpdateSettingContract,
    UpdateEnergyLimitContract,
    ClearAbiContract,
    AccountPermissionUpdateContract,
    FreezeBalanceV2Contract,
    UnfreezeBalanceV2Contract,
    WithdrawExpireUnfreezeContract,
    CancelAllUnfreezeV2Contract,
    DelegateResourceContract,
    UnDelegateResourceContract,
];

/// A field of bytes.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// The message `data`, but of our owner: what stands last counts.
fn contract(world: &World, kind: u8, data: &[u8]) -> proto::Contract {
    let (r#type, name) = KINDS[usize::from(kind) % KINDS.len()];
    let owner = address::to_wire(world.owner.address());
    let mut value = [data, &field(1, &owner)].concat();
    match r#type {
        proto::ContractType::CreateSmart => value.extend(field(2, &field(1, &owner))),
        proto::ContractType::TriggerSmart => value.extend(field(2, &address::to_wire(world.usdt))),
        proto::ContractType::Transfer => value.extend(field(2, &address::to_wire(world.other))),
        _ => {}
    }
    proto::Contract {
        r#type: r#type.into(),
        parameter: Some(proto::Any { type_url: format!("type.googleapis.com/{name}"), value }),
        ..proto::Contract::default()
    }
}

fn signed(world: &World, raw_data: Vec<u8>) -> Vec<u8> {
    let mut transaction = proto::Transaction { raw_data, ..proto::Transaction::default() };
    world.owner.sign(&mut transaction);
    transaction.encode_to_vec()
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let world = &*WORLD;
    let mut chain = world.chain.clone();
    let head = chain.head().block().clone();
    let bytes = match kind {
        0..64 => data.to_vec(),
        64..96 => signed(world, data.to_vec()),
        _ => {
            let raw = proto::TransactionRaw {
                ref_block_bytes: head.id[6..8].to_vec(),
                ref_block_hash: head.id[8..16].to_vec(),
                expiration: i64::try_from(TIME + 60_000).unwrap(),
                fee_limit: 100_000_000,
                contract: vec![contract(world, *kind, data)],
                ..proto::TransactionRaw::default()
            };
            signed(world, raw.encode_to_vec())
        }
    };
    if chain.submit(&bytes).is_err() {
        assert_eq!(chain.pending(), 0);
    }
    // Twice, so that what was done is forgotten as well as remembered.
    chain.produce_block(TIME + 6_000);
    chain.produce_block(TIME + 9_000);
    let held = [world.owner.address(), world.other, world.usdt].map(|account| chain.head().balance(account));
    assert!(held.iter().sum::<u64>() <= 2 * BALANCE);
});
