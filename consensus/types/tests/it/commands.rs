//! Commands: their limits, their text form, who signs them, and what is wrong with them whatever the state says.

use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::change::PolicyChange;
use lucid_types::codec::{DecodeError, Wire, decode, encode};
use lucid_types::command::{
    Action, Command, Cosigner, Entry, MAX_MAINTENANCE, MaintenanceScope, NodeAction, Priority, Registration,
    ValidatorAction, ValidatorChange,
};
use lucid_types::id::{Hash, NetworkId, NodeId, PayoutAddress, PoolId, PublicKey};
use lucid_types::join::JoinString;
use lucid_types::payout::VaultLimits;
use lucid_types::payout_tree::AccountId;
use lucid_types::policy::Policy;
use lucid_types::pool::{JoinPolicy, MAX_NAME_BYTES, NewPool, PoolAction, PoolTerms, SplitRule};
use lucid_types::signed::{MultiSigned, Signed, SignedRecord};
use lucid_types::stamp::Stamp;
use lucid_types::ticket::{Invite, Ticket};
use lucid_types::time::{Epoch, UnixMillis};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vault::{SignerSet, Vault};
use proptest::prelude::*;

use crate::limits::{fits, nodes, signature, signed, signer_set};
use crate::{arbitrary, samples};

/// The command of the sample with this name.
fn sample(name: &str) -> Command {
    samples::commands::named(name).record
}

/// An action of every kind, as long as it can be; the first is the longest.
pub(crate) fn greatest() -> Vec<Action> {
    let (node, huge, address) =
        (NodeId::from_bytes([0xff; 32]), MicroUsdt::new(u64::MAX), PayoutAddress::from_hash20([0xff; 20]));
    let pool = PoolId::from_bytes([0xff; 32]);
    let limits = VaultLimits { cap: huge, push_fee: huge };
    let vault = Vault { address, nonce: u32::MAX, limits, signers: signer_set() };
    let capacity =
        Capacity { cores: u32::MAX, memory_bytes: u64::MAX, disk_bytes: u64::MAX, bandwidth_kbit_s: u64::MAX };
    let stamp = Stamp { epoch: Epoch::new(u64::MAX), nonce: u64::MAX };
    let key = PublicKey::from_bytes([0xff; 32]);
    let invite = signed(Invite { pool, key, until: UnixMillis::new(u64::MAX), uses: u32::MAX });
    let terms = PoolTerms { budget: huge, split: SplitRule::Equal, commission: Ppm::ONE, commission_address: address };
    let registration = |entry| {
        let (payout_key, gas_address) = (Some(key), Some(address));
        Action::Register(Registration {
            operator: node,
            payout_address: address,
            payout_key,
            gas_address,
            capacity,
            entry,
        })
    };
    let entry = |ticket| Entry::Pool { pool, ticket };
    let join = |ticket| NodeAction::Join { pool, ticket };
    let longest = NewPool {
        name: "n".repeat(MAX_NAME_BYTES),
        terms,
        join: JoinPolicy::Open,
        max_members: u32::MAX,
        vault: vault.clone(),
    };
    let mut all = vec![Action::CreatePool(longest)];
    let pool_actions = [
        PoolAction::Signers { nonce: u32::MAX, next: signer_set() },
        PoolAction::Update { terms, join: JoinPolicy::Approval, max_members: u32::MAX },
        PoolAction::Approve(node),
        PoolAction::Refuse(node),
        PoolAction::Ban(node),
        PoolAction::Unban(node),
        PoolAction::Hold(node),
        PoolAction::Resume(node),
        PoolAction::Suspend(true),
        PoolAction::Correct { account: AccountId::from_bytes([0xff; 32]), amount: huge },
        PoolAction::Losses(huge),
        PoolAction::Limits { era: u32::MAX, nonce: u32::MAX, next: limits },
        PoolAction::Vault { former: address, next: vault },
        PoolAction::Transfer(node),
        PoolAction::Disband,
    ];
    all.extend(pool_actions.map(|action| Action::Pool { pool, action }));
    all.extend([
        registration(Entry::Network(stamp)),
        registration(entry(Ticket::Stamp(stamp))),
        registration(entry(Ticket::Invite(invite.clone()))),
        registration(entry(Ticket::Request(stamp))),
    ]);
    let node_actions = [
        NodeAction::Update { gas_address: Some(address), capacity },
        NodeAction::PayoutAddress(address),
        NodeAction::VetoPayoutAddress,
        NodeAction::RotateKey(key),
        NodeAction::VetoKey,
        join(Ticket::Stamp(stamp)),
        join(Ticket::Invite(invite)),
        join(Ticket::Request(stamp)),
        join(Ticket::Return),
        NodeAction::Leave,
        NodeAction::Retire,
        NodeAction::Maintenance {
            from: Epoch::new(u64::MAX),
            epochs: MAX_MAINTENANCE,
            scope: MaintenanceScope::Traffic,
        },
    ];
    all.extend(node_actions.map(Action::Node));
    let longest_policy = Policy { last_settlement: Some(u64::MAX), ..Policy::default() };
    let validator_actions = [
        ValidatorAction::ApprovePool(pool),
        ValidatorAction::Propose(ValidatorChange::Power { validator: node, power: 1 }.into()),
        ValidatorAction::Propose(PolicyChange { base: Hash::from_bytes([1; 32]), policy: longest_policy }.into()),
        ValidatorAction::Approve(Hash::from_bytes([1; 32])),
        ValidatorAction::Withdraw(Hash::from_bytes([1; 32])),
        ValidatorAction::RotateKey(ValidatorKey::from_seed(&[1; 32]).keys(&node)),
        ValidatorAction::Resign,
    ];
    all.extend(validator_actions.map(Action::Validator));
    all
}

fn command(action: Action) -> Command {
    Command { account: NodeId::from_bytes([0xff; 32]), nonce: u64::MAX, until: UnixMillis::new(u64::MAX), action }
}

/// Signed by as many as may.
pub(crate) fn crowded(action: Action) -> MultiSigned<Command> {
    let signers = nodes(u32::try_from(MultiSigned::<Command>::MAX_SIGNATURES).unwrap());
    let signatures = signers.into_iter().map(|signer| (signer.first_key(), signature())).collect();
    MultiSigned { record: command(action), signatures }
}

#[test]
fn the_greatest_command_of_every_kind_fits_with_all_signatures() {
    let lengths: Vec<_> =
        greatest().into_iter().map(|action| (fits(&command(action.clone())), fits(&crowded(action)))).collect();
    assert_eq!(lengths[0], (Command::MAX_BYTES, MultiSigned::<Command>::MAX_BYTES));
    assert!(lengths[1..].iter().all(|(bytes, _)| *bytes < Command::MAX_BYTES), "{lengths:?}");
    // The owner and all treasury signers.
    assert_eq!(SignerSet::MAX + 1, MultiSigned::<Command>::MAX_SIGNATURES);
    let invite =
        Invite { pool: PoolId::from_bytes([1; 32]), key: nodes(1)[0].first_key(), until: UnixMillis::ZERO, uses: 1 };
    assert_eq!(fits(&invite), Invite::MAX_BYTES);
}

#[test]
fn a_command_that_is_too_long_is_refused_unread() {
    let Action::CreatePool(mut pool) = greatest().remove(0) else { unreachable!() };
    let mut signed = crowded(Action::CreatePool(pool.clone()));
    pool.vault.signers.members.push(pool.vault.signers.members[0]);
    let long = command(Action::CreatePool(pool));
    assert!(matches!(decode::<Command>(&encode(&long)), Err(DecodeError::TooLong { .. })));
    signed.signatures.push(signed.signatures[0]);
    assert!(matches!(decode::<MultiSigned<Command>>(&encode(&signed)), Err(DecodeError::TooLong { .. })));
}

#[test]
fn signatures_hold_for_their_network_and_purpose_only() {
    let (here, elsewhere) = (samples::network(), NetworkId::from_bytes([0x55; 32]));
    for (name, signed) in samples::commands::commands() {
        signed.check(&here).unwrap();
        signed.check(&elsewhere).unwrap_err();
        assert!(signed.is_signed_by(&signed.record.account.first_key()), "{name}");
        let other = Command { nonce: signed.record.nonce + 1, ..signed.record.clone() };
        MultiSigned { record: other, ..signed }.check(&here).unwrap_err();
    }
    let invite = samples::commands::invite();
    invite.check(&here).unwrap();
    invite.check(&elsewhere).unwrap_err();
    // Whoever signs the command does not make its invite right.
    let mut borrowed = sample("register_invite");
    let Action::Register(Registration { entry: Entry::Pool { ticket: Ticket::Invite(inner), .. }, .. }) =
        &mut borrowed.action
    else {
        unreachable!()
    };
    inner.record.uses += 1;
    let signed = samples::key(4).sign_command(&here, borrowed);
    signed.check(&here).unwrap_err();
    let all = MultiSigned::collect(signed.record.clone(), [(signed.signer, signed.signature)]);
    assert_eq!(all.check(&here).unwrap_err().tag, Invite::TAG);
    Signed { record: Invite { uses: 26, ..invite.record }, ..invite }.check(&here).unwrap_err();
}

#[test]
fn who_signs_beside_the_account() {
    let id = |seed| samples::key(seed).account();
    let key = |seed| Cosigner::Key(samples::key(seed).public_key());
    let operator = Cosigner::Account(id(5));
    let treasury = Cosigner::Treasury(PoolId::from_bytes([0x81; 32]));
    let expected = |name: &str| match name {
        "register_network" | "register_request" => vec![operator],
        "register_invite" => vec![operator, key(9)],
        "node_payout_address" => vec![Cosigner::PayoutKey],
        "node_rotate_key" => vec![key(11)],
        "node_join_invite" => vec![key(9)],
        "pool_correct" | "pool_losses" | "pool_signers" | "pool_limits" | "pool_vault" => vec![treasury],
        "pool_transfer" => vec![Cosigner::Account(id(5))],
        _ => vec![],
    };
    for (name, signed) in samples::commands::commands() {
        let name = name.strip_prefix("command_").unwrap();
        assert_eq!(signed.record.cosigners(), expected(name), "{name}");
    }
}

#[test]
fn what_protects_people_comes_first_and_what_anybody_can_send_last() {
    let expected = |name: &str| match name {
        "node_veto_payout_address" | "node_veto_key" | "node_leave" | "validator_withdraw" => Priority::Protection,
        "pool_hold" | "pool_suspend" | "pool_ban" => Priority::Protection,
        name if name.starts_with("register_") || name == "create_pool" => Priority::Registration,
        name if name.starts_with("node_") => Priority::Member,
        _ => Priority::Operation,
    };
    for (name, signed) in samples::commands::commands() {
        let name = name.strip_prefix("command_").unwrap();
        assert_eq!(signed.record.action.priority(), expected(name), "{name}");
        let is_veto = name.starts_with("node_veto_") || name == "validator_withdraw";
        assert_eq!(signed.record.action.is_veto(), is_veto, "{name}");
    }
    let resumed = Action::Pool { pool: PoolId::from_bytes([1; 32]), action: PoolAction::Suspend(false) };
    assert_eq!(resumed.priority(), Priority::Operation, "to go on protects nobody");
    let order = [Priority::Protection, Priority::Operation, Priority::Member, Priority::Registration];
    assert!(order.is_sorted());
}

#[test]
fn the_samples_are_right_and_their_neighbours_wrong() {
    for (name, signed) in samples::commands::commands() {
        assert_eq!(signed.record.action.check(), Ok(()), "{name}");
    }
    let registration = |change: fn(&mut Registration)| {
        let Action::Register(mut registration) = sample("register_invite").action else { unreachable!() };
        change(&mut registration);
        Action::Register(registration)
    };
    let new_pool = |change: fn(&mut NewPool)| {
        let Action::CreatePool(mut pool) = sample("create_pool").action else { unreachable!() };
        change(&mut pool);
        Action::CreatePool(pool)
    };
    let (pool, nobody) = (PoolId::from_bytes([1; 32]), PayoutAddress::from_hash20([0; 20]));
    let by_owner = |action| Action::Pool { pool, action };
    let limits = VaultLimits { cap: MicroUsdt::new(5), push_fee: MicroUsdt::new(5) };
    let Action::Pool { action: PoolAction::Signers { next, .. }, .. } = sample("pool_signers").action else {
        unreachable!()
    };
    let signers = SignerSet { threshold: 1, ..next };
    let next_vault = |change: &dyn Fn(&mut PayoutAddress, &mut Vault)| {
        let Action::Pool { pool, action: PoolAction::Vault { mut former, mut next } } = sample("pool_vault").action
        else {
            unreachable!()
        };
        change(&mut former, &mut next);
        Action::Pool { pool, action: PoolAction::Vault { former, next } }
    };
    let base = Policy::default().hash();
    let proposed = |policy| Action::Validator(ValidatorAction::Propose(PolicyChange { base, policy }.into()));
    let invited = Ticket::Invite(samples::commands::invite());
    let capacity = Capacity { disk_bytes: u64::MAX, ..Capacity::default() };
    for (action, told) in [
        (registration(|it| it.payout_address = PayoutAddress::from_hash20([0; 20])), "payout_address is the zero"),
        (registration(|it| it.gas_address = Some(PayoutAddress::from_hash20([0; 20]))), "gas_address is the zero"),
        (registration(|it| it.capacity.memory_bytes = u64::MAX), "capacity: bytes are at most 2^46"),
        (
            registration(|it| {
                let Entry::Pool { pool, .. } = &mut it.entry else { unreachable!() };
                *pool = PoolId::from_bytes([1; 32]);
            }),
            "the invite is for pool 8181",
        ),
        (Action::Node(NodeAction::Join { pool, ticket: invited }), "the invite is for pool 8181"),
        (Action::Node(NodeAction::PayoutAddress(nobody)), "payout_address is the zero"),
        (
            Action::Node(NodeAction::Update { gas_address: Some(nobody), capacity: Capacity::default() }),
            "gas_address is",
        ),
        (Action::Node(NodeAction::Update { gas_address: None, capacity }), "capacity: bytes"),
        (
            Action::Node(NodeAction::Maintenance { from: Epoch::ZERO, epochs: 5_041, scope: MaintenanceScope::All }),
            "maintenance of 5041 epochs; it lasts at most 5040",
        ),
        (new_pool(|it| it.name = String::new()), "name: 0 bytes; a name has 1 to 64"),
        (new_pool(|it| it.name = "n".repeat(65)), "name: 65 bytes"),
        (new_pool(|it| it.max_members = 0), "max_members 0; a pool has 1 to 4000 members"),
        (new_pool(|it| it.max_members = 4_001), "max_members 4001"),
        (new_pool(|it| it.terms.commission = Ppm::new(1_000_001)), "commission 1000001; at most 1000000"),
        (new_pool(|it| it.terms.commission_address = PayoutAddress::from_hash20([0; 20])), "commission_address is"),
        (new_pool(|it| it.vault.address = PayoutAddress::from_hash20([0; 20])), "vault.address is the zero"),
        (new_pool(|it| it.vault.limits.cap = MicroUsdt::ZERO), "vault: limits: the push_fee must be less"),
        (new_pool(|it| it.vault.signers.threshold = 1), "vault: threshold 1 of 3 signers"),
        (by_owner(PoolAction::Limits { era: 1, nonce: 1, next: limits }), "limits: the push_fee must be less"),
        (by_owner(PoolAction::Signers { nonce: 1, next: signers }), "threshold 1 of 3 signers"),
        (by_owner(PoolAction::Losses(MicroUsdt::ZERO)), "the amount is zero"),
        (next_vault(&|former, next| *former = next.address), "the next vault is the former one"),
        (next_vault(&|_, next| next.address = nobody), "vault.address is the zero"),
        (next_vault(&|_, next| next.limits = limits), "vault: limits: the push_fee must be less"),
        (proposed(Policy { stamp_bits: 41, ..Policy::default() }), "policy.stamp_bits = 41 is outside 0..=40"),
    ] {
        let problem = action.check().unwrap_err();
        assert!(problem.contains(told), "{problem:?} is not {told:?}");
    }
}

#[test]
fn people_read_commands_as_json() {
    for (name, signed) in samples::commands::commands() {
        let text = serde_json::to_string(&signed).unwrap();
        assert_eq!(serde_json::from_str::<MultiSigned<Command>>(&text).unwrap(), signed, "{name}");
    }
    let text = |name| serde_json::to_string(&sample(name).action).unwrap();
    assert_eq!(text("node_veto_payout_address"), r#"{"node":"veto-payout-address"}"#);
    assert_eq!(
        text("pool_suspend"),
        format!(r#"{{"pool":{{"pool":"{}","action":{{"suspend":true}}}}}}"#, "81".repeat(32))
    );
    let unknown = text("register_network").replace("payout_key", "payout_keys");
    assert!(serde_json::from_str::<Action>(&unknown).unwrap_err().to_string().contains("unknown field"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn join_strings_round_trip_as_text(join in arbitrary::commands::join_string()) {
        let text = join.to_string();
        prop_assert!(text.len() <= JoinString::MAX_CHARS);
        prop_assert_eq!(&text.parse::<JoinString>().unwrap(), &join);
        prop_assert_eq!(text.to_uppercase().parse::<JoinString>().unwrap(), join);
    }

    #[test]
    fn neighbouring_wrong_characters_are_found(
        join in arbitrary::commands::join_string(),
        at in any::<prop::sample::Index>(),
        noise in "[qpzry9x8gf2tvdw0s3jn54khce6mua7l]{6}",
    ) {
        let text = join.to_string();
        let at = 6 + at.index(text.len() - 12);
        let changed = format!("{}{noise}{}", &text[..at], &text[at + 6..]);
        prop_assert_eq!(changed.parse::<JoinString>().is_ok(), changed == text);
    }
}
