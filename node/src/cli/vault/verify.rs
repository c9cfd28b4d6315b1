//! `lucid vault verify`: whether a vault is what a pool says it is.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use lucid_tron_bridge::vault::{Seat, VaultEvent, VaultSnapshot, code_hash};
use lucid_types::id::{NodeId, PayoutAddress, TxId};
use lucid_types::payout::VaultLimits;
use lucid_types::vault::{SignerSet, TreasurySigner, Vault};
use serde::Serialize;
use serde_json::json;

use super::check::{contracts, least_delay, pause_warning, settlement_s};
use super::open::{Opened, VaultArgs, quorum};
use crate::cli::act::warn;
use crate::cli::place::Net;
use crate::cli::values::{self, SignerArg, duration_of, usdt_of, when};
use crate::cli::{Context, Json, output};

/// A chain of predecessors longer than this is nobody's.
const MAX_PREDECESSORS: usize = 32;

const EXAMPLE: &str = "\
Examples:
  lucid vault verify
  lucid vault verify --vault T... --token T... --owner T... --signer T... --signer T... --signer T... --threshold 2 \\
    --settlement 24h --tron https://api.trongrid.io --network mainnet

What is expected comes from the home's ledger, or its genesis, or the flags. Exit code 1 if a check fails.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct VerifyArgs {
    #[command(flatten)]
    vault: VaultArgs,
    /// The token that it must pay in [default: the network's USDT]
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    token: Option<PayoutAddress>,
    /// The account that must own it; the genesis does not say
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    owner: Option<PayoutAddress>,
    /// A signer that it must have; give it once for each, in the vault's order [default: the home's]
    #[arg(long = "signer", value_name = "SIGNER", value_parser = values::signer, requires = "threshold")]
    signers: Vec<SignerArg>,
    /// How many of them must sign
    #[arg(long, value_name = "K", requires = "signers")]
    threshold: Option<u8>,
    /// Which set of signers that is, from 1
    #[arg(long, value_name = "N", default_value_t = 1, requires = "signers")]
    era: u32,
    /// Length of a settlement, which the owner's notice depends on [default: the home's, or 24h]
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    settlement: Option<u32>,
    /// The transaction that deployed the vault or changed its signers last: it names all signers
    #[arg(long, value_name = "TX_ID")]
    signers_tx: Option<TxId>,
    #[command(flatten)]
    json: Json,
}

/// A check's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    /// Nothing is wrong, and a person should know it.
    Note,
    Failed,
}

#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    outcome: Outcome,
    found: String,
    /// What to do; only of those that are not ok.
    todo: Option<String>,
}

#[derive(Default)]
struct Report(Vec<Check>);

impl Report {
    fn is(&mut self, check: &'static str, is_ok: bool, found: impl Into<String>, todo: impl Into<String>) {
        let outcome = if is_ok { Outcome::Ok } else { Outcome::Failed };
        self.0.push(Check { check, outcome, found: found.into(), todo: (!is_ok).then(|| todo.into()) });
    }

    fn note(&mut self, check: &'static str, found: impl Into<String>, todo: impl Into<String>) {
        self.0.push(Check { check, outcome: Outcome::Note, found: found.into(), todo: Some(todo.into()) });
    }
}

/// What the vault must be.
struct Expected {
    token: Option<PayoutAddress>,
    signers: Option<SignerSet>,
    /// Only the ledger says.
    nonce_and_limits: Option<(u32, VaultLimits)>,
    owner: Option<PayoutAddress>,
    signers_tx: Option<TxId>,
    settlement_s: u64,
    source: &'static str,
}

/// Refuses a vault that does not take over from the former one as it should, or is not what a command says it is: what a block holds
/// cannot be taken back, and with another predecessor it would pay again what was paid.
pub(in crate::cli) async fn check_next(
    net: Net,
    former: PayoutAddress,
    next: &Vault,
    signers_tx: Option<TxId>,
) -> anyhow::Result<()> {
    let vault = next.address;
    let snapshot = net.client.head_vault_snapshot(&vault, &[]).await;
    let snapshot =
        snapshot.with_context(|| format!("{vault} on {} is no payout vault that can be read", net.network))?;
    let expected = Expected {
        token: net.usdt,
        signers: Some(next.signers.clone()),
        nonce_and_limits: Some((next.nonce, next.limits)),
        owner: None,
        signers_tx,
        settlement_s: net.ledger.as_ref().map_or(86_400, |ledger| settlement_s(&ledger.spec.fixed())),
        source: "the command",
    };
    let report = Opened { net, vault, snapshot, pool: None }.report(&expected, Some(former)).await?;
    let failed = report.0.iter().filter(|check| check.outcome == Outcome::Failed);
    let failed: Vec<_> = failed
        .map(|check| format!("{}: {}; {}", check.check, check.found, check.todo.as_deref().unwrap_or_default()))
        .collect();
    ensure!(failed.is_empty(), "the vault {vault} cannot take over, and nothing was signed.\n{}", failed.join("\n"));
    Ok(())
}

pub(super) async fn verify(args: &VerifyArgs, context: &Context) -> anyhow::Result<()> {
    let opened = args.vault.open(context).await?;
    let expected = expected(args, &opened)?;
    let report = opened.report(&expected, None).await?;
    warn(&opened.net.warnings)?;
    let n_failed = report.0.iter().filter(|check| check.outcome == Outcome::Failed).count();
    if args.json.json {
        output::json(&json!({
            "vault": opened.vault, "network": opened.net.network, "block": opened.net.head.number, "is_ok": n_failed == 0,
            "expected_from": expected.source, "checks": report.0,
        }))?;
    } else {
        output::print(&text(&opened, &expected, &report))?;
    }
    if n_failed > 0 {
        bail!("{n_failed} of {} checks failed", report.0.len());
    }
    Ok(())
}

impl Opened {
    /// All checks; also, if a vault is named, that this one follows it.
    async fn report(&self, expected: &Expected, follows: Option<PayoutAddress>) -> anyhow::Result<Report> {
        let mut report = Report::default();
        network(self, &mut report);
        if let Some(former) = follows {
            let previous = self.snapshot.previous;
            let todo = format!("it should be {former}: deploy a vault with --previous {former}");
            report.is("predecessor named", previous == Some(former), output::or_dash(previous), todo);
        }
        code(self, &mut report).await?;
        token(self, expected, &mut report).await;
        signers(self, expected, &mut report).await?;
        rules(self, expected, &mut report);
        state(self, &mut report);
        Ok(report)
    }
}

fn text(opened: &Opened, expected: &Expected, report: &Report) -> String {
    let mut text = format!("vault {} on {}, compared with {}\n\n", opened.vault, opened.net.network, expected.source);
    for Check { check, outcome, found, todo } in &report.0 {
        let mark = match outcome {
            Outcome::Ok => "ok    ",
            Outcome::Note => "note  ",
            Outcome::Failed => "FAILED",
        };
        text.push_str(&format!("{mark}  {check}: {found}\n"));
        if let Some(todo) = todo {
            text.push_str(&format!("        {todo}\n"));
        }
    }
    text
}

fn expected(args: &VerifyArgs, opened: &Opened) -> anyhow::Result<Expected> {
    let (known, source) = opened.by_ledger().unzip();
    let given = args.threshold.map(|threshold| {
        let member = |signer: &SignerArg| TreasurySigner {
            node: signer.node.unwrap_or(NodeId::from_bytes([0; 32])),
            key_address: signer.key_address,
        };
        SignerSet { era: args.era, threshold, members: args.signers.iter().map(member).collect() }
    });
    let policy = opened.net.ledger.as_ref().map(|ledger| settlement_s(&ledger.spec.fixed()));
    let of_ledger = known.as_ref().filter(|_| given.is_none());
    let nonce_and_limits = of_ledger.map(|vault| (vault.nonce, vault.limits.into()));
    let signers = given.or_else(|| known.map(|vault| vault.signers));
    if signers.is_none() {
        bail!(
            "say who must be the vault's signers: --signer and --threshold, or --home of a node of the pool's network"
        );
    }
    Ok(Expected {
        token: args.token.or(opened.net.usdt),
        signers,
        nonce_and_limits,
        owner: args.owner,
        signers_tx: args.signers_tx,
        settlement_s: args.settlement.map(u64::from).or(policy).unwrap_or(86_400),
        source: source.filter(|_| args.threshold.is_none()).unwrap_or("the command line"),
    })
}

fn network(opened: &Opened, report: &mut Report) {
    let net = &opened.net;
    let found = format!("{}, block 0 {}", net.network, net.genesis_block);
    if net.is_pinned {
        report.is("network", true, found, "");
    } else {
        report.note("network", found, "any network on this machine is taken for a local one");
    }
}

/// The code of the vault and of all its predecessors, and that these are closed and hold the same token.
async fn code(opened: &Opened, report: &mut Report) -> anyhow::Result<()> {
    let client = &opened.net.client;
    let hash = async |contract: &PayoutAddress| anyhow::Ok(client.code_hash(contract).await?);
    let wrong = "this is not the vault's code of this version: do not use it, do not fund it";
    let shown = |hash: Option<[u8; 32]>| output::or_dash(hash.map(hex::encode));
    let found = hash(&opened.vault).await?;
    report.is("code", found == Some(code_hash()), shown(found), wrong);
    let mut seen = BTreeSet::from([opened.vault]);
    let mut previous = opened.snapshot.previous;
    while let Some(vault) = previous {
        if !seen.insert(vault) || seen.len() > MAX_PREDECESSORS {
            report.is("predecessors", false, "a circle, or too many", wrong);
            break;
        }
        let found = hash(&vault).await?;
        report.is("predecessor's code", found == Some(code_hash()), format!("{vault} {}", shown(found)), wrong);
        if found != Some(code_hash()) {
            break;
        }
        let snapshot =
            client.head_vault_snapshot(&vault, &[]).await.with_context(|| format!("read predecessor {vault}"))?;
        let is_good = snapshot.is_closed(opened.now_s()) && snapshot.token == opened.snapshot.token;
        let found = format!("{vault} is {}", if snapshot.is_closed(opened.now_s()) { "closed" } else { "open" });
        report.is(
            "predecessor",
            is_good,
            found,
            "it must be closed and pay in the same token, or it pays what this one pays",
        );
        previous = snapshot.previous;
    }
    Ok(())
}

async fn token(opened: &Opened, expected: &Expected, report: &mut Report) {
    let found = opened.snapshot.token;
    match expected.token {
        Some(token) => {
            report.is(
                "token",
                found == token,
                found.to_string(),
                format!("it should be {token}; payments would be worthless"),
            );
        }
        None => report.note("token", found.to_string(), "compare it yourself, or give --token"),
    }
    match opened.net.client.token_flags(&found, &opened.vault).await {
        Ok(flags) => {
            let problems = [
                (flags.fee, "takes a fee from every transfer"),
                (flags.paused, "is paused"),
                (flags.deprecated, "is deprecated"),
                (flags.blacklisted, "has frozen the vault"),
            ];
            let problems: Vec<_> = problems.iter().filter(|(is, _)| *is).map(|(_, problem)| *problem).collect();
            let said = if problems.is_empty() {
                "transfers go through, without a fee".to_owned()
            } else {
                problems.join(", ")
            };
            report.is(
                "token's state",
                problems.is_empty(),
                said,
                "only the token's issuer can change that; signers wait",
            );
        }
        Err(error) => report.note("token's state", error.to_string(), "it does not answer like USDT does"),
    }
}

async fn signers(opened: &Opened, expected: &Expected, report: &mut Report) -> anyhow::Result<()> {
    let snapshot = &opened.snapshot;
    if let Some((nonce, limits)) = expected.nonce_and_limits {
        changes(opened, nonce, limits, expected.source, report);
    }
    let Some(set) = &expected.signers else { return Ok(()) };
    let other = format!("{} says {}: whoever changed it did so beside the ledger", expected.source, set.era);
    report.is("era of signers", snapshot.era == set.era, snapshot.era.to_string(), other);
    let todo = format!("{} says {}", expected.source, set.threshold);
    report.is("signatures needed", snapshot.threshold == set.threshold, snapshot.threshold.to_string(), todo);
    for (index, signer) in (0..).zip(&set.members) {
        let seat = opened.net.client.vault_seat(&opened.vault, &signer.key_address).await?;
        let is_seated = seat == Some(Seat { era: snapshot.era, index });
        let found = match seat {
            Some(seat) if seat.era == snapshot.era => format!("{} has seat {}", signer.key_address, seat.index),
            Some(seat) => format!("{} was a signer in era {}", signer.key_address, seat.era),
            None => format!("{} is no signer of the vault", signer.key_address),
        };
        report.is(
            "signer",
            is_seated,
            found,
            format!("it should have seat {index}; compare the lists and their order"),
        );
    }
    for address in contracts(&opened.net.client, set).await? {
        report.is(
            "signer's key",
            false,
            format!("{address} is a contract"),
            "it has no key and can never sign; if k others are left, replace it with `lucid vault rotate`",
        );
    }
    others(expected.signers_tx.as_ref(), opened, set, report).await
}

/// The contract does not list its signers. Where 2k - 1 of them are known there is no room for others; else the event of their
/// appointment tells.
async fn others(
    signers_tx: Option<&TxId>,
    opened: &Opened,
    set: &SignerSet,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (check, snapshot) = ("no other signers", &opened.snapshot);
    if let Some(tx_id) = signers_tx {
        let info = opened.net.client.solid_transaction_info(tx_id).await?;
        let info = info
            .with_context(|| format!("there is no solidified transaction {tx_id}; wait a minute, or check the id"))?;
        let events = info.logs.iter().filter(|log| log.address == opened.vault).filter_map(VaultEvent::decode);
        let mut appointed = events.filter_map(|event| match event {
            VaultEvent::SignersChanged { era, signers, .. } => Some((era, signers)),
            _ => None,
        });
        let expected: Vec<_> = set.members.iter().map(|signer| signer.key_address).collect();
        match appointed.next_back() {
            Some((era, signers)) if era == snapshot.era => {
                let shown = signers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                report.is(
                    check,
                    signers == expected,
                    shown,
                    "the vault has other signers than were said: do not use it",
                );
            }
            Some((era, _)) => {
                let found = format!("transaction {tx_id} appointed those of era {era}");
                report.is(
                    check,
                    false,
                    found,
                    format!("give the transaction that appointed those of era {}", snapshot.era),
                );
            }
            None => report.is(
                check,
                false,
                "the transaction appointed no signers of this vault",
                "give --signers-tx another id",
            ),
        }
        return Ok(());
    }
    let room = usize::from(snapshot.threshold).saturating_mul(2).saturating_sub(1);
    let is_full = set.members.len() >= room;
    let found =
        if is_full { format!("{room} are all that there can be") } else { format!("up to {room} may sit there") };
    let todo =
        "give --signers-tx with the transaction that deployed the vault or changed its signers last; it names them all";
    report.is(check, is_full, found, todo);
    Ok(())
}

fn changes(opened: &Opened, nonce: u32, limits: VaultLimits, source: &str, report: &mut Report) {
    let snapshot = &opened.snapshot;
    let found = format!("{} changes of signers and limits", snapshot.nonce);
    if snapshot.nonce < nonce {
        let todo = format!(
            "{source} has {nonce}: the owner sends the change with `lucid vault rotate apply` or `limits apply`"
        );
        report.note("changes", found, todo);
        return;
    }
    let todo =
        format!("{source} has {nonce}: it was changed without a command in the ledger, so by k signers at least");
    report.is("changes", snapshot.nonce == nonce, found, todo);
    let found = format!("cap {}, push fee {}", usdt_of(snapshot.limits.cap), usdt_of(snapshot.limits.push_fee));
    let todo = format!("{source} says cap {}, push fee {}", usdt_of(limits.cap), usdt_of(limits.push_fee));
    report.is("limits", snapshot.limits == limits, found, todo);
}

fn rules(opened: &Opened, expected: &Expected, report: &mut Report) {
    let VaultSnapshot { delay, owner, limits, period, .. } = opened.snapshot;
    let least = least_delay(expected.settlement_s, opened.net.is_local());
    let todo = format!(
        "it should be {} at least: the owner could act before what is owed is claimed. Deploy another vault",
        duration_of(least)
    );
    report.is("owner's notice", u64::from(delay) >= least, duration_of(delay.into()), todo);
    let found = format!("{} in {}", usdt_of(limits.cap), duration_of(period.into()));
    report.is("cap", limits.cap > limits.push_fee, found, "it pays nothing; change the limits");
    match expected.owner {
        Some(expected) => {
            report.is("owner", owner == expected, owner.to_string(), format!("it should be {expected}"));
        }
        None => report.note(
            "owner",
            owner.to_string(),
            "the genesis does not say; compare it with what the owner says, or give --owner",
        ),
    }
    if let Some(set) = &expected.signers
        && let Some(warning) = pause_warning(set)
    {
        report.note("quorum", quorum(set), warning);
    }
}

fn state(opened: &Opened, report: &mut Report) {
    let (snapshot, now) = (&opened.snapshot, opened.now_s());
    if snapshot.is_closed(now) {
        report.is("state", false, "closed for good", "the pool needs its successor");
    } else if snapshot.is_paused(now) {
        report.note("state", "paused", "`lucid vault show` says until when");
    } else {
        report.is("state", true, "open", "");
    }
    if !snapshot.is_closed(now) && snapshot.close_from != 0 {
        report.note("closing", format!("from {}", when(snapshot.close_from, now)), "claim what is owed before");
    }
    if let Some(withdrawal) = &snapshot.withdrawal {
        let found = format!("{} to {} from {}", usdt_of(withdrawal.amount), withdrawal.to, when(withdrawal.from, now));
        report.note("withdrawal", found, "the owner announced it; claim what is owed before");
    }
}
