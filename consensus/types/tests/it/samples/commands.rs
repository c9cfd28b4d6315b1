//! A command of every action, invites, and what they carry.

use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::change::{NetworkChange, PolicyChange};
use lucid_types::command::{
    Action, Command, Cosigner, Entry, MaintenanceScope, NodeAction, Registration, ValidatorAction, ValidatorChange,
};
use lucid_types::id::{BlockHash, Hash, PublicKey};
use lucid_types::join::{BearerInvite, Bootstrap, JoinPool, JoinString, Pin};
use lucid_types::payout::VaultLimits;
use lucid_types::payout_tree::AccountId;
use lucid_types::policy::Policy;
use lucid_types::pool::{JoinPolicy, NewPool, PoolAction, PoolTerms, SplitRule};
use lucid_types::signed::{MultiSigned, Signed};
use lucid_types::stamp::{Stamp, StampTarget};
use lucid_types::ticket::{Invite, Ticket};
use lucid_types::time::Epoch;
use lucid_types::vault::Vault;

use super::{address, capacity, height, key, network, pool, signer_set, time, validator, validator_key};

/// Gives the commands.
const ACCOUNT: u8 = 4;
/// Of invites.
const INVITE_KEY: u8 = 9;
const PAYOUT_KEY: u8 = 10;
const NEXT_KEY: u8 = 11;
/// Of workers, and of pools to come.
const OTHER: u8 = 5;
const TREASURY: [u8; 2] = [1, 2];

/// Of 12 bits, for the account and the pool.
pub(crate) fn stamp() -> Stamp {
    stamp_target().search(Epoch::new(7), 12, 0, 1 << 20).unwrap()
}

pub(crate) fn stamp_target() -> StampTarget {
    StampTarget {
        network: network(),
        account: key(ACCOUNT).account(),
        pool: Some(pool()),
        beacon: Hash::from_bytes([0x61; 32]),
    }
}

pub(crate) fn invite() -> Signed<Invite> {
    let invite = Invite { pool: pool(), key: key(INVITE_KEY).public_key(), until: time(), uses: 25 };
    key(OTHER).sign_invite(&network(), invite).into_inner()
}

fn terms() -> PoolTerms {
    PoolTerms {
        budget: MicroUsdt::new(120_000_000),
        split: SplitRule::CreditsTimesScore,
        commission: Ppm::new(50_000),
        commission_address: address(0x62),
    }
}

fn registration(entry: Entry) -> Registration {
    Registration {
        operator: key(OTHER).account(),
        payout_address: address(0x63),
        payout_key: Some(key(PAYOUT_KEY).public_key()),
        gas_address: Some(address(0x64)),
        capacity: capacity(),
        entry,
    }
}

fn actions() -> Vec<(&'static str, Action)> {
    use NodeAction as Node;
    use PoolAction as Pool;

    let (ticket, node) = (|ticket| Entry::Pool { pool: pool(), ticket }, key(6).account());
    let own = Registration {
        operator: key(ACCOUNT).account(),
        payout_key: None,
        gas_address: None,
        ..registration(ticket(Ticket::Stamp(stamp())))
    };
    let limits = VaultLimits { cap: MicroUsdt::new(1_000_000_000), push_fee: MicroUsdt::new(10_000) };
    let account = AccountId::from_bytes([0x65; 32]);
    let update = Pool::Update { terms: terms(), join: JoinPolicy::Approval, max_members: 999 };
    let vault = Vault { address: address(0x66), nonce: 3, limits, signers: signer_set(1, 0xb0) };
    let next_vault = Pool::Vault { former: address(0x69), next: vault.clone() };
    let new_pool = NewPool { name: "pool".into(), terms: terms(), join: JoinPolicy::Open, max_members: 1_000, vault };

    let register = [
        ("register_network", registration(Entry::Network(stamp()))),
        ("register_stamp", own),
        ("register_invite", registration(ticket(Ticket::Invite(invite())))),
        ("register_request", registration(ticket(Ticket::Request(stamp())))),
    ];
    let node_actions = [
        ("node_update", Node::Update { gas_address: Some(address(0x67)), capacity: capacity() }),
        ("node_payout_address", Node::PayoutAddress(address(0x68))),
        ("node_veto_payout_address", Node::VetoPayoutAddress),
        ("node_rotate_key", Node::RotateKey(key(NEXT_KEY).public_key())),
        ("node_veto_key", Node::VetoKey),
        ("node_join_stamp", Node::Join { pool: pool(), ticket: Ticket::Stamp(stamp()) }),
        ("node_join_request", Node::Join { pool: pool(), ticket: Ticket::Request(stamp()) }),
        ("node_join_return", Node::Join { pool: pool(), ticket: Ticket::Return }),
        ("node_join_invite", Node::Join { pool: pool(), ticket: Ticket::Invite(invite()) }),
        ("node_leave", Node::Leave),
        ("node_retire", Node::Retire),
        (
            "node_maintenance",
            Node::Maintenance { from: Epoch::new(900), epochs: 240, scope: MaintenanceScope::Traffic },
        ),
    ];
    let pool_actions = [
        ("pool_update", update),
        ("pool_approve", Pool::Approve(node)),
        ("pool_refuse", Pool::Refuse(node)),
        ("pool_ban", Pool::Ban(node)),
        ("pool_unban", Pool::Unban(node)),
        ("pool_hold", Pool::Hold(node)),
        ("pool_resume", Pool::Resume(node)),
        ("pool_suspend", Pool::Suspend(true)),
        ("pool_correct", Pool::Correct { account, amount: MicroUsdt::new(7_000_000) }),
        ("pool_losses", Pool::Losses(MicroUsdt::new(8_000_000))),
        ("pool_signers", Pool::Signers { nonce: 11, next: signer_set(3, 0xb0) }),
        ("pool_limits", Pool::Limits { era: 2, nonce: 12, next: limits }),
        ("pool_vault", next_vault),
        ("pool_transfer", Pool::Transfer(key(OTHER).account())),
        ("pool_disband", Pool::Disband),
    ];
    let mut all = vec![("create_pool", Action::CreatePool(new_pool))];
    all.extend(register.map(|(name, it)| (name, Action::Register(it))));
    all.extend(node_actions.map(|(name, it)| (name, Action::Node(it))));
    all.extend(pool_actions.map(|(name, action)| (name, Action::Pool { pool: pool(), action })));
    let key = key(0x31);
    let (propose, removal) = (ValidatorAction::Propose, NetworkChange::from(ValidatorChange::Remove(key.account())));
    let policy = Policy { stamp_bits: 26, ..Policy::default() };
    let validator_actions = [
        ("validator_approve_pool", ValidatorAction::ApprovePool(pool())),
        ("validator_propose_add", propose(ValidatorChange::Add(validator(0x31, 7, key.account())).into())),
        ("validator_propose_remove", propose(removal.clone())),
        ("validator_propose_power", propose(ValidatorChange::Power { validator: key.account(), power: 9 }.into())),
        ("validator_propose_policy", propose(PolicyChange { base: Policy::default().hash(), policy }.into())),
        ("validator_approve", ValidatorAction::Approve(removal.id())),
        ("validator_withdraw", ValidatorAction::Withdraw(removal.id())),
        (
            "validator_rotate_key",
            ValidatorAction::RotateKey(validator_key(ACCOUNT).keys(&super::key(ACCOUNT).account())),
        ),
        ("validator_resign", ValidatorAction::Resign),
    ];
    all.extend(validator_actions.map(|(name, it)| (name, Action::Validator(it))));
    all
}

/// One of each action, signed by all who must.
pub(crate) fn commands() -> Vec<(String, MultiSigned<Command>)> {
    let seed_of = |of: &PublicKey| (1..=20).find(|seed| key(*seed).public_key() == *of).unwrap();
    let seeds = |cosigner: &Cosigner| match cosigner {
        Cosigner::Key(key) => vec![seed_of(key)],
        Cosigner::Account(account) => vec![seed_of(&account.first_key())],
        Cosigner::PayoutKey => vec![PAYOUT_KEY],
        Cosigner::Treasury(_) => TREASURY.to_vec(),
    };
    let command = |(name, action)| {
        let record = Command { account: key(ACCOUNT).account(), nonce: 6, until: time(), action };
        let cosigners = record.cosigners();
        let signatures = cosigners.iter().flat_map(seeds).chain([ACCOUNT]).map(|seed| {
            let signed = key(seed).sign_command(&network(), record.clone()).into_inner();
            (signed.signer, signed.signature)
        });
        (format!("command_{name}"), MultiSigned::collect(record.clone(), signatures))
    };
    actions().into_iter().map(command).collect()
}

/// The one with this name.
pub(crate) fn named(name: &str) -> MultiSigned<Command> {
    let name = format!("command_{name}");
    commands().into_iter().find(|(other, _)| *other == name).unwrap().1
}

pub(crate) fn join_strings() -> [(&'static str, JoinString); 3] {
    let addresses = [
        "/ip4/203.0.113.10/tcp/4001/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X",
        "/dnsaddr/seeds.example.org",
    ];
    let bearer = BearerInvite::new(invite(), &key(INVITE_KEY)).unwrap();
    let pin = Pin { height: height(), block: BlockHash::from_bytes([0x69; 32]), time: time() };
    let network = JoinString {
        network: network(),
        bootstrap: Bootstrap::new(addresses.map(str::to_owned).into()).unwrap(),
        pool: None,
        pin: None,
    };
    let named = JoinString { pool: Some(JoinPool::Named(pool())), ..network.clone() };
    let invited = JoinString { pool: Some(JoinPool::Invited(bearer)), pin: Some(pin), ..network.clone() };
    [("join_network", network), ("join_pool", named), ("join_invite", invited)]
}
