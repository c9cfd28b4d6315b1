//! Commands, invites and join strings.

use lucid_types::change::PolicyChange;
use lucid_types::command::{
    Action, Command, CommandReply, Entry, MaintenanceScope, NodeAction, Registration, ValidatorAction, ValidatorChange,
};
use lucid_types::id::{Hash, NetworkId};
use lucid_types::join::{BearerInvite, Bootstrap, JoinPool, JoinString, Pin};
use lucid_types::key::NodeKey;
use lucid_types::payout_tree::AccountId;
use lucid_types::pool::{JoinPolicy, NewPool, PoolAction, PoolTerms};
use lucid_types::signed::MultiSigned;
use lucid_types::stamp::Stamp;
use lucid_types::ticket::{Invite, Ticket};
use lucid_types::time::UnixMillis;
use lucid_types::vault::Vault;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{
    address, amount, block_hash, bytes, capacity, epoch, height, node, number, policy, pool_id, ppm, public_key,
    signature, signed, signer_set, split_rule, validator, validator_keys, vault_limits,
};

pub(crate) fn reply() -> impl Strategy<Value = CommandReply> {
    prop_oneof![Just(CommandReply::Accepted), ".{0,60}".prop_map(CommandReply::Refused)]
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (epoch(), any::<u64>()).prop_map(|(epoch, nonce)| Stamp { epoch, nonce })
}

pub(crate) fn invite() -> impl Strategy<Value = Invite> {
    (pool_id(), public_key(), number(UnixMillis::new), any::<u32>()).prop_map(|(pool, key, until, uses)| Invite {
        pool,
        key,
        until,
        uses,
    })
}

fn ticket() -> impl Strategy<Value = Ticket> {
    prop_oneof![
        stamp().prop_map(Ticket::Stamp),
        signed(invite()).prop_map(Ticket::Invite),
        stamp().prop_map(Ticket::Request),
        Just(Ticket::Return),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        stamp().prop_map(Entry::Network),
        (pool_id(), ticket()).prop_map(|(pool, ticket)| Entry::Pool { pool, ticket }),
    ]
}

fn registration() -> impl Strategy<Value = Registration> {
    (node(), address(), option::of(public_key()), option::of(address()), capacity(), entry()).prop_map(
        |(operator, payout_address, payout_key, gas_address, capacity, entry)| Registration {
            operator,
            payout_address,
            payout_key,
            gas_address,
            capacity,
            entry,
        },
    )
}

fn node_action() -> impl Strategy<Value = NodeAction> {
    prop_oneof![
        (option::of(address()), capacity())
            .prop_map(|(gas_address, capacity)| NodeAction::Update { gas_address, capacity }),
        address().prop_map(NodeAction::PayoutAddress),
        Just(NodeAction::VetoPayoutAddress),
        public_key().prop_map(NodeAction::RotateKey),
        Just(NodeAction::VetoKey),
        (pool_id(), ticket()).prop_map(|(pool, ticket)| NodeAction::Join { pool, ticket }),
        Just(NodeAction::Leave),
        Just(NodeAction::Retire),
        (epoch(), any::<u32>(), any::<bool>()).prop_map(|(from, epochs, is_all)| NodeAction::Maintenance {
            from,
            epochs,
            scope: if is_all { MaintenanceScope::All } else { MaintenanceScope::Traffic },
        }),
    ]
}

fn terms() -> impl Strategy<Value = PoolTerms> {
    (amount(), split_rule(), ppm(), address()).prop_map(|(budget, split, commission, commission_address)| PoolTerms {
        budget,
        split,
        commission,
        commission_address,
    })
}

fn join_policy() -> impl Strategy<Value = JoinPolicy> {
    prop_oneof![Just(JoinPolicy::Open), Just(JoinPolicy::Invite), Just(JoinPolicy::Approval)]
}

fn vault() -> impl Strategy<Value = Vault> {
    (address(), any::<u32>(), vault_limits(), signer_set()).prop_map(|(address, nonce, limits, signers)| Vault {
        address,
        nonce,
        limits,
        signers,
    })
}

fn new_pool() -> impl Strategy<Value = NewPool> {
    (".{0,20}", terms(), join_policy(), any::<u32>(), vault())
        .prop_map(|(name, terms, join, max_members, vault)| NewPool { name, terms, join, max_members, vault })
}

fn pool_action() -> impl Strategy<Value = PoolAction> {
    prop_oneof![
        (terms(), join_policy(), any::<u32>()).prop_map(|(terms, join, max_members)| PoolAction::Update {
            terms,
            join,
            max_members
        }),
        node().prop_map(PoolAction::Approve),
        node().prop_map(PoolAction::Refuse),
        node().prop_map(PoolAction::Ban),
        node().prop_map(PoolAction::Unban),
        node().prop_map(PoolAction::Hold),
        node().prop_map(PoolAction::Resume),
        any::<bool>().prop_map(PoolAction::Suspend),
        (bytes(AccountId::from_bytes), amount()).prop_map(|(account, amount)| PoolAction::Correct { account, amount }),
        amount().prop_map(PoolAction::Losses),
        (any::<u32>(), signer_set()).prop_map(|(nonce, next)| PoolAction::Signers { nonce, next }),
        (any::<[u32; 2]>(), vault_limits()).prop_map(|([era, nonce], next)| PoolAction::Limits { era, nonce, next }),
        (address(), vault()).prop_map(|(former, next)| PoolAction::Vault { former, next }),
        node().prop_map(PoolAction::Transfer),
        Just(PoolAction::Disband),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        registration().prop_map(Action::Register),
        node_action().prop_map(Action::Node),
        new_pool().prop_map(Action::CreatePool),
        (pool_id(), pool_action()).prop_map(|(pool, action)| Action::Pool { pool, action }),
        validator_action().prop_map(Action::Validator),
    ]
}

pub(crate) fn command() -> impl Strategy<Value = MultiSigned<Command>> {
    let signatures = vec((public_key(), signature()), 0..=MultiSigned::<Command>::MAX_SIGNATURES);
    (node(), any::<u64>(), number(UnixMillis::new), action(), signatures).prop_map(
        |(account, nonce, until, action, signatures)| MultiSigned {
            record: Command { account, nonce, until, action },
            signatures,
        },
    )
}

/// Any that can be parsed again: with an invite for the network, if there is one.
pub(crate) fn join_string() -> impl Strategy<Value = JoinString> {
    let bearer = (invite(), any::<[u8; 32]>(), any::<[u8; 32]>());
    let pool = prop_oneof![pool_id().prop_map(Ok), bearer.prop_map(Err)];
    let pin =
        (height(), block_hash(), number(UnixMillis::new)).prop_map(|(height, block, time)| Pin { height, block, time });
    let addresses = vec("/[!-~]{0,60}", 1..=Bootstrap::MAX_ADDRESSES);
    (bytes(NetworkId::from_bytes), addresses, option::of(pool), option::of(pin)).prop_map(
        |(network, addresses, pool, pin)| {
            let invited = |(invite, owner, secret): (Invite, [u8; 32], [u8; 32])| {
                let secret = NodeKey::from_seed(&secret);
                let invite = Invite { key: secret.public_key(), ..invite };
                let signed = NodeKey::from_seed(&owner).sign_invite(&network, invite).into_inner();
                JoinPool::Invited(BearerInvite::new(signed, &secret).unwrap())
            };
            let pool = pool.map(|pool| pool.map_or_else(invited, JoinPool::Named));
            JoinString { network, bootstrap: Bootstrap::new(addresses).unwrap(), pool, pin }
        },
    )
}

fn validator_action() -> impl Strategy<Value = ValidatorAction> {
    let change = prop_oneof![
        validator().prop_map(ValidatorChange::Add),
        node().prop_map(ValidatorChange::Remove),
        (node(), any::<u64>()).prop_map(|(validator, power)| ValidatorChange::Power { validator, power }),
        (node(), validator_keys()).prop_map(|(validator, keys)| ValidatorChange::Keys { validator, keys }),
    ];
    prop_oneof![
        pool_id().prop_map(ValidatorAction::ApprovePool),
        change.prop_map(|change| ValidatorAction::Propose(change.into())),
        (bytes(Hash::from_bytes), policy())
            .prop_map(|(base, policy)| ValidatorAction::Propose(PolicyChange { base, policy }.into())),
        bytes(Hash::from_bytes).prop_map(ValidatorAction::Approve),
        bytes(Hash::from_bytes).prop_map(ValidatorAction::Withdraw),
        validator_keys().prop_map(ValidatorAction::RotateKey),
        Just(ValidatorAction::Resign),
    ]
}
