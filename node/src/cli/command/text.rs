//! What commands do, in words.

use lucid_types::amount::Ppm;
use lucid_types::attestation::Capacity;
use lucid_types::change::NetworkChange;
use lucid_types::command::{
    Action, Entry, MaintenanceScope, NodeAction, Registration, ValidatorAction, ValidatorChange,
};
use lucid_types::id::{PayoutAddress, PoolId};
use lucid_types::payout::VaultLimits;
use lucid_types::pool::{JoinPolicy, NewPool, PoolAction, PoolTerms, SplitRule};
use lucid_types::ticket::Ticket;
use lucid_types::time::Epoch;
use lucid_types::vault::Vault;

use crate::api::model::{DifferenceView, differences};
use crate::cli::place::{HomeLedger, now_s};
use crate::cli::values::{usdt_of, when};

type Line = (&'static str, String);

/// What an action does, line by line.
pub(super) fn describe(action: &Action, ledger: &HomeLedger) -> Vec<Line> {
    match action {
        Action::Register(registration) => register(registration, ledger),
        Action::Node(action) => node(action, ledger),
        Action::CreatePool(pool) => create_pool(pool),
        Action::Pool { pool: id, action } => {
            let mut lines = vec![("pool", pool(id, ledger))];
            lines.extend(of_pool(action));
            lines
        }
        Action::Validator(action) => validator(action, ledger),
    }
}

fn validator(action: &ValidatorAction, ledger: &HomeLedger) -> Vec<Line> {
    match action {
        ValidatorAction::ApprovePool(id) => {
            vec![("does", format!("approves of the forming pool {}", pool(id, ledger)))]
        }
        ValidatorAction::Propose(change) => {
            let what = if change.policy().is_some() { "the network's policy" } else { "the validators" };
            let mut lines = vec![("does", format!("proposes to change {what}, and approves of it"))];
            lines.extend(match change {
                NetworkChange::Validators(change) => validator_change(change),
                NetworkChange::Policy(change) => policy_change(&differences(ledger.policy().newest(), &change.policy)),
            });
            lines.push(("proposal", change.id().to_string()));
            lines
        }
        ValidatorAction::Approve(id) => {
            vec![("does", format!("approves of the proposal {id}"))]
        }
        ValidatorAction::Withdraw(id) => {
            vec![("does", format!("approves no more of the proposal {id}"))]
        }
        ValidatorAction::RotateKey(keys) => {
            vec![
                (
                    "does",
                    "signs as a validator with another key, from the second epoch after the block's on".to_owned(),
                ),
                ("key", keys.id.to_string()),
                (
                    "until then",
                    "both key files stay in the home: the one in force signs, and reports of its epochs too".to_owned(),
                ),
            ]
        }
        ValidatorAction::Resign => {
            vec![("does", "resigns: the account is no validator from two blocks after this one on".to_owned())]
        }
    }
}

/// What a change of the policy does, parameter by parameter.
pub(in crate::cli) fn policy_change(differences: &[DifferenceView]) -> Vec<Line> {
    let text = |it: &DifferenceView| format!("{} {} -> {}", it.key, it.from, it.to);
    let labels = std::iter::once("policy").chain(std::iter::repeat(""));
    labels.zip(differences.iter().map(text)).collect()
}

/// What a change of the validators does, line by line.
pub(in crate::cli) fn validator_change(change: &ValidatorChange) -> Vec<Line> {
    let did = match change {
        ValidatorChange::Add(validator) => format!("adds {} with power {}", validator.node, validator.power),
        ValidatorChange::Remove(node) => format!("removes {node}"),
        ValidatorChange::Power { validator, power } => format!("gives {validator} power {power}"),
        ValidatorChange::Keys { validator, .. } => format!("gives {validator} another key"),
    };
    let mut lines = vec![("change", did)];
    if let ValidatorChange::Add(validator) = change {
        lines.push(("operator", validator.operator.to_string()));
    }
    lines.extend(change.keys().map(|keys| ("key", keys.id.to_string())));
    lines
}

/// The epoch from which on a command counts that a block of this epoch holds; `None` if it does not change who takes part.
pub(super) const fn counts_from(action: &Action, epoch: u64) -> Option<u64> {
    let is_about_members = match action {
        Action::Register(Registration { entry, .. }) => {
            matches!(entry, Entry::Pool { ticket: Ticket::Stamp(_) | Ticket::Invite(_), .. })
        }
        Action::Node(NodeAction::Join { ticket, .. }) => !matches!(ticket, Ticket::Request(_)),
        Action::Node(NodeAction::Leave | NodeAction::Retire) => true,
        Action::Node(NodeAction::Maintenance { from, .. }) => {
            let earliest = epoch.saturating_add(2);
            return Some(if from.get() > earliest { from.get() } else { earliest });
        }
        Action::Pool { action, .. } => {
            matches!(action, PoolAction::Approve(_) | PoolAction::Ban(_) | PoolAction::Disband)
        }
        Action::Node(_) | Action::CreatePool(_) | Action::Validator(_) => false,
    };
    if is_about_members { Some(epoch.saturating_add(2)) } else { None }
}

/// A pool by its name, if it is known here.
fn pool(id: &PoolId, ledger: &HomeLedger) -> String {
    ledger.pool_of_id(id).map_or_else(|| id.to_string(), |pool| format!("{} ({id})", pool.name))
}

fn register(registration: &Registration, ledger: &HomeLedger) -> Vec<Line> {
    let Registration { operator, payout_address, payout_key, gas_address, capacity, entry } = registration;
    let mut lines = vec![("does", "registers the account".to_owned())];
    match entry {
        Entry::Network(stamp) => lines.push(("by", format!("a stamp for epoch {}", stamp.epoch))),
        Entry::Pool { pool: id, ticket } => lines.extend(enters(id, ticket, ledger)),
    }
    lines.push(("operator", operator.to_string()));
    lines.push(("paid to", payout_address.to_string()));
    if let Some(key) = payout_key {
        lines.push(("payout key", format!("{key}: without its signature the payout address never changes")));
    }
    lines.extend(offer(gas_address.as_ref(), capacity));
    lines
}

fn enters(id: &PoolId, ticket: &Ticket, ledger: &HomeLedger) -> Vec<Line> {
    let by = match ticket {
        Ticket::Stamp(stamp) => format!("a stamp for epoch {}", stamp.epoch),
        Ticket::Invite(invite) => {
            format!(
                "an invite of {}, good until {}",
                invite.signer.short(),
                when(invite.record.until.get() / 1_000, now_s())
            )
        }
        Ticket::Return => "coming back: it has become inactive there".to_owned(),
        Ticket::Request(stamp) => {
            format!("a request that the pool's owner approves of or not, with a stamp for epoch {}", stamp.epoch)
        }
    };
    vec![("enters", pool(id, ledger)), ("by", by)]
}

fn offer(gas_address: Option<&PayoutAddress>, capacity: &Capacity) -> Vec<Line> {
    let gas = gas_address.map_or_else(|| "none: it never leads its pool".to_owned(), ToString::to_string);
    let Capacity { cores, memory_bytes, disk_bytes, bandwidth_kbit_s } = capacity;
    vec![
        ("gas account", gas),
        (
            "offers",
            format!("{cores} cores, {memory_bytes} bytes of memory, {disk_bytes} of disk, {bandwidth_kbit_s} kbit/s"),
        ),
    ]
}

fn node(action: &NodeAction, ledger: &HomeLedger) -> Vec<Line> {
    match action {
        NodeAction::Update { gas_address, capacity } => {
            let mut lines = vec![("does", "replaces what the node declares".to_owned())];
            lines.extend(offer(gas_address.as_ref(), capacity));
            lines
        }
        NodeAction::PayoutAddress(address) => vec![
            ("does", format!("announces the payout address {address}")),
            ("from", "the second payout root after on; until then it can be vetoed".to_owned()),
        ],
        NodeAction::VetoPayoutAddress => {
            vec![("does", "takes back the announced payout address that is not in use yet".to_owned())]
        }
        NodeAction::RotateKey(key) => vec![
            ("does", format!("announces the node key {key}; the account stays")),
            ("from", "the second payout root after on; until then it can be vetoed".to_owned()),
        ],
        NodeAction::VetoKey => {
            vec![("does", "takes back the announced node key that is not in force yet".to_owned())]
        }
        NodeAction::Join { pool: id, ticket } => {
            let mut lines = vec![("does", "enters a pool".to_owned())];
            lines.extend(enters(id, ticket, ledger));
            lines
        }
        NodeAction::Leave => vec![
            ("does", "leaves its pool, or takes back its request".to_owned()),
            ("from", "the second epoch after on; what is owed is paid".to_owned()),
        ],
        NodeAction::Maintenance { from, epochs: 0, .. } => vec![
            ("does", "ends the maintenance that is announced".to_owned()),
            ("from", format!("the second epoch after on{}", not_before(*from))),
        ],
        NodeAction::Maintenance { from, epochs, scope } => {
            let does = match scope {
                MaintenanceScope::All => {
                    "announces maintenance: the node is not measured, and nothing of it counts for or against it"
                }
                MaintenanceScope::Traffic => {
                    "announces maintenance: the node takes neither echoes nor storage, and answers pings as ever"
                }
            };
            vec![
                ("does", does.to_owned()),
                ("from", format!("the second epoch after on{}", not_before(*from))),
                ("for", format!("{epochs} epochs")),
            ]
        }
        NodeAction::Retire => {
            vec![(
                "does",
                "retires the account for good: it gives no command any more; what is owed is paid".to_owned(),
            )]
        }
    }
}

/// When a maintenance is announced for an epoch.
fn not_before(from: Epoch) -> String {
    if from == Epoch::ZERO { String::new() } else { format!(", and not before epoch {from}") }
}

fn terms(PoolTerms { budget, split, commission, commission_address }: &PoolTerms) -> Vec<Line> {
    let split = match split {
        SplitRule::Credits => "by credits",
        SplitRule::CreditsTimesScore => "by credits times score",
        SplitRule::Equal => "in equal parts",
    };
    vec![
        ("shares out", format!("{} each settlement, {split}", usdt_of(*budget))),
        ("commission", format!("{}, to {commission_address}", percent(*commission))),
    ]
}

fn percent(part: Ppm) -> String {
    format!("{}.{:04} %", part.get() / 10_000, part.get() % 10_000)
}

fn ways_in(join: JoinPolicy, max_members: u32) -> Line {
    let join = match join {
        JoinPolicy::Open => "whoever shows a stamp, or an invite",
        JoinPolicy::Invite => "with an invite only",
        JoinPolicy::Approval => "whoever its owner approves of, or with an invite",
    };
    ("lets in", format!("{join}; at most {max_members} members"))
}

fn create_pool(pool: &NewPool) -> Vec<Line> {
    let mut lines = vec![(
        "does",
        format!("creates the pool {:?}; it shares nothing out before validators approve of it", pool.name),
    )];
    lines.extend(terms(&pool.terms));
    lines.push(ways_in(pool.join, pool.max_members));
    lines.extend(vault(&pool.vault));
    lines
}

fn vault(Vault { address, nonce: _, limits: of, signers }: &Vault) -> Vec<Line> {
    let mut lines = vec![("vault", address.to_string())];
    lines.extend(limits(of));
    lines.push(("must sign", format!("{} of {}", signers.threshold, signers.members.len())));
    lines.extend(signers.members.iter().map(|it| ("signer", format!("{} of node {}", it.key_address, it.node))));
    lines
}

fn limits(VaultLimits { cap, push_fee }: &VaultLimits) -> Vec<Line> {
    vec![("cap", usdt_of(*cap)), ("push fee", usdt_of(*push_fee))]
}

fn of_pool(action: &PoolAction) -> Vec<Line> {
    match action {
        PoolAction::Update { terms: next, join, max_members } => {
            let mut lines = vec![("does", "replaces the pool's terms and who gets in".to_owned())];
            lines.extend(terms(next));
            lines.push(("from", "the second settlement after on, as to what it shares out".to_owned()));
            lines.push(ways_in(*join, *max_members));
            lines
        }
        PoolAction::Approve(node) => vec![("does", format!("lets node {node} in, which has asked"))],
        PoolAction::Refuse(node) => vec![("does", format!("refuses node {node}, which has asked"))],
        PoolAction::Ban(node) => {
            vec![("does", format!("bans node {node}: it is no member any more, and cannot become one"))]
        }
        PoolAction::Unban(node) => vec![("does", format!("ends the ban of node {node}; it is not a member by that"))],
        PoolAction::Hold(node) => vec![
            ("does", format!("holds member {node}")),
            ("from", "the second settlement after on, for at most seven: what it earns is set aside".to_owned()),
        ],
        PoolAction::Resume(node) => vec![
            ("does", format!("ends the hold of member {node}")),
            ("from", "the next settlement on: what was set aside is owed".to_owned()),
        ],
        PoolAction::Suspend(true) => vec![
            ("does", "suspends the pool: no payout roots any more; what was posted stays payable".to_owned()),
            ("from", "the second settlement after on".to_owned()),
        ],
        PoolAction::Suspend(false) => {
            vec![("does", "ends the pool's suspension: payout roots are made again".to_owned())]
        }
        PoolAction::Correct { account, amount } => vec![
            ("does", format!("owes account {account} {} more", usdt_of(*amount))),
            ("from", "the next root on; the pool's budgets rise by as much".to_owned()),
        ],
        PoolAction::Losses(amount) => vec![
            ("does", format!("books {} as lost", usdt_of(*amount))),
            (
                "then",
                "the newest root is signed again with a total that is higher by it; it never falls again".to_owned(),
            ),
        ],
        PoolAction::Signers { nonce, next } => {
            let mut lines = vec![
                ("does", format!("changes the signers: era {}, change number {nonce}", next.era)),
                ("must sign then", format!("{} of {}", next.threshold, next.members.len())),
            ];
            lines.extend(
                next.members.iter().map(|signer| ("signer", format!("{} of node {}", signer.key_address, signer.node))),
            );
            lines
        }
        PoolAction::Limits { era, nonce, next } => vec![
            ("does", format!("changes the limits, in era {era}, change number {nonce}")),
            ("cap", usdt_of(next.cap)),
            ("push fee", format!("{}, from the second settlement after", usdt_of(next.push_fee))),
        ],
        PoolAction::Vault { former, next } => {
            let mut lines = vec![
                ("does", "replaces the pool's vault: everything owed is paid by the next one".to_owned()),
                ("former vault", former.to_string()),
            ];
            lines.extend(vault(next));
            lines.push((
                "then",
                "the newest root is signed for it; the push fee counts from the second settlement after".to_owned(),
            ));
            lines
        }
        PoolAction::Transfer(owner) => vec![("does", format!("makes account {owner} the pool's owner"))],
        PoolAction::Disband => vec![(
            "does",
            "ends the pool: its members leave it with the second epoch after, and what is owed stays owed".to_owned(),
        )],
    }
}
