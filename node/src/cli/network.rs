//! `lucid network`: makes a network, shows one, invites into one.

pub(super) mod create;
pub(super) mod invite;
mod policy;

use clap::Subcommand;
use lucid_types::genesis::Genesis;
use lucid_types::join::{JoinPool, JoinString};
use lucid_types::policy::Policy;
use lucid_types::time::Epoch;
use serde_json::{Value, json};

use super::place::{HomeLedger, now_s};
use super::values::{duration_of, when};
use super::{Context, Json, block_on, output};

#[derive(Debug, Subcommand)]
pub(super) enum NetworkAction {
    /// Make the genesis of a new network: its validators, its policy, where it pays
    Create(create::CreateArgs),
    /// Show a join string, or the network of the home
    Show {
        /// The join string; the home's network if not given
        #[arg(value_name = "STRING")]
        string: Option<JoinString>,
        #[command(flatten)]
        json: Json,
    },
    /// Show the policy in force, what is decided to come, and what differs from the genesis
    Policy {
        /// That of this epoch instead
        #[arg(long, value_name = "EPOCH")]
        epoch: Option<u64>,
        #[command(flatten)]
        json: Json,
    },
    /// Print the join string of the home's network, which is all that a new node needs
    Invite {
        /// The pool that new nodes enter, by name or id; they find their own way in, as its policy says
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
        #[command(flatten)]
        string: invite::InviteArgs,
    },
}

pub(super) fn network(action: NetworkAction, context: &Context) -> anyhow::Result<()> {
    match action {
        NetworkAction::Create(args) => create::create(args),
        NetworkAction::Show { string: Some(string), json: Json { json: true } } => output::json(&string_view(&string)),
        NetworkAction::Show { string: Some(string), .. } => output::print(&describe_string(&string)),
        NetworkAction::Show { string: None, json } => {
            let genesis = context.home()?.load_genesis()?.genesis;
            if json.json { output::json(&genesis_view(&genesis)?) } else { output::print(&describe_genesis(&genesis)?) }
        }
        NetworkAction::Policy { epoch, json } => policy::policy(epoch.map(Epoch::new), json, context),
        NetworkAction::Invite { pool: None, string } => invite::invite(string, None, context),
        NetworkAction::Invite { pool: Some(named), string } => {
            let mut pool = None;
            block_on(async {
                pool = Some(HomeLedger::open(context.home()?, context).await?.pool(Some(&named))?.pool);
                Ok(())
            })?;
            invite::invite(string, pool.map(JoinPool::Named), context)
        }
    }
}

/// What a join string says, for people. An invite's secret is not shown.
pub(super) fn describe_string(string: &JoinString) -> String {
    let now = now_s();
    let mut lines = vec![("network id", string.network.to_string())];
    for (index, address) in string.bootstrap.addresses().iter().enumerate() {
        lines.push((if index == 0 { "bootstrap" } else { "" }, address.clone()));
    }
    if let Some(pool) = &string.pool {
        lines.push(("pool", pool.id().to_string()));
        lines.extend(pool.invite().map(|bearer| {
            let invite = bearer.invite().record;
            ("invite", format!("for {} node(s), until {}", invite.uses, when(invite.until.get() / 1_000, now)))
        }));
    }
    match &string.pin {
        None => lines.push(("pin", "none: peers' word is all that a new node has".to_owned())),
        Some(pin) => {
            lines.push(("pin", format!("block {} {}", pin.height, pin.block)));
            lines.push(("", format!("of {}", when(pin.time.get() / 1_000, now))));
        }
    }
    output::pairs(&lines)
}

/// The same for programs.
pub(super) fn string_view(string: &JoinString) -> Value {
    let invite = string.pool.as_ref().and_then(JoinPool::invite).map(|bearer| {
        let invite = bearer.invite().record;
        json!({ "key": invite.key, "until": invite.until, "uses": invite.uses })
    });
    json!({
        "network_id": string.network,
        "bootstrap": string.bootstrap.addresses(),
        "pool": string.pool.as_ref().map(JoinPool::id),
        "invite": invite,
        "pin": string.pin,
    })
}

/// A network, for people.
pub(super) fn describe_genesis(genesis: &Genesis) -> anyhow::Result<String> {
    let Policy { epoch_ms, settle_every, block_min_ms, min_reporters, seats, payout_threshold, .. } = &genesis.policy;
    let set = genesis.check()?;
    let settlement_s = epoch_ms.saturating_mul(*settle_every) / 1_000;
    let mut lines = vec![
        ("network id", genesis.network_id().to_string()),
        ("name", genesis.name.clone()),
        ("genesis time", when(genesis.genesis_time.get() / 1_000, now_s())),
        ("epoch", seconds_of(*epoch_ms)),
        ("settlement", format!("every {settle_every} epochs, {}", duration_of(settlement_s))),
        ("block", format!("{} after the one before, at the earliest", seconds_of(*block_min_ms))),
        ("measuring", format!("{seats} seats a worker, at least {min_reporters} reports")),
        ("payout threshold", super::values::usdt_of(*payout_threshold)),
        ("pays on", format!("TRON {}, block 0 {}", genesis.tron.network, genesis.tron.genesis_block)),
        ("USDT", genesis.tron.usdt.to_string()),
    ];
    lines.push(("policy", "as the genesis has it; `lucid network policy` shows that in force".to_owned()));
    for (index, validator) in set.members().iter().enumerate() {
        let text = format!("{} power {}", validator.node, validator.power);
        lines.push((if index == 0 { "validators" } else { "" }, text));
    }
    Ok(output::pairs(&lines))
}

fn seconds_of(millis: u64) -> String {
    if millis.is_multiple_of(1_000) { duration_of(millis / 1_000) } else { format!("{millis} ms") }
}

/// The same for programs, with the whole policy.
pub(super) fn genesis_view(genesis: &Genesis) -> anyhow::Result<Value> {
    let set = genesis.check()?;
    Ok(json!({
        "network_id": genesis.network_id(),
        "name": genesis.name,
        "genesis_time": genesis.genesis_time,
        "epoch_ms": genesis.policy.epoch_ms,
        "tron": genesis.tron,
        "policy": genesis.policy,
        "validators": set.members(),
    }))
}
