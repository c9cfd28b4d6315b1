//! `lucid pool create` and `update`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::command::Action;
use lucid_types::id::PayoutAddress;
use lucid_types::pool::{JoinPolicy, MAX_MEMBERS, NewPool, PoolAction, PoolTerms, SplitRule};
use lucid_types::vault::Vault;
use serde::Deserialize;

use super::open::{DirectArgs, Pool};
use crate::cli::Context;
use crate::cli::command::{GiveArgs, Giver};
use crate::cli::values;

const CREATE: &str = "\
How it goes:
  lucid vault deploy --new-pool ... --out vault.toml     the contract, and what the ledger is to know of it
  lucid pool create --name NAME --vault vault.toml --budget 120 --commission-address T...
  lucid validator approve-pool NAME                       more than a third of the validators' power
  lucid pool join NAME                                    as many members as the network asks for";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Join {
    /// Whoever shows a stamp
    Open,
    /// With an invite only
    Invite,
    /// Whoever the owner approves of
    Approval,
}

impl From<Join> for JoinPolicy {
    fn from(join: Join) -> Self {
        match join {
            Join::Open => Self::Open,
            Join::Invite => Self::Invite,
            Join::Approval => Self::Approval,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Split {
    /// In proportion to credits times score
    ScoreCredits,
    /// In proportion to credits
    Credits,
    /// Equally over members that earned any credit
    Equal,
}

impl From<Split> for SplitRule {
    fn from(split: Split) -> Self {
        match split {
            Split::ScoreCredits => Self::CreditsTimesScore,
            Split::Credits => Self::Credits,
            Split::Equal => Self::Equal,
        }
    }
}

/// A part of a whole in percent, with at most four decimals.
fn percent(text: &str) -> Result<Ppm, String> {
    let expected = || "a part in percent is expected, from 0 to 100, such as 2.5".to_owned();
    let millionths = values::usdt(text).map_err(|_| expected())?.get();
    // Six decimals of a percent are two more than a millionth has.
    let part = u32::try_from(millionths / 100).map(Ppm::new).map_err(|_| expected())?;
    if millionths.is_multiple_of(100) && part <= Ppm::ONE { Ok(part) } else { Err(expected()) }
}

#[derive(Debug, Args)]
#[command(after_help = CREATE)]
pub(in crate::cli) struct CreateArgs {
    /// Its name, unique in the network
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The vault that pays, as `lucid vault deploy --out FILE` wrote it
    #[arg(long, value_name = "FILE")]
    vault: PathBuf,
    /// What it shares out each settlement
    #[arg(long, value_name = "USDT", value_parser = values::some_usdt)]
    budget: MicroUsdt,
    /// How
    #[arg(long, value_enum, default_value_t = Split::ScoreCredits)]
    split: Split,
    /// The owner's part of the budget, in percent
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "0")]
    commission: Ppm,
    /// Where the owner's part is paid
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    commission_address: PayoutAddress,
    /// Who gets in; an invite of the owner opens every pool
    #[arg(long, value_enum, default_value_t = Join::Open)]
    join: Join,
    /// The most members
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    max_members: u32,
    #[command(flatten)]
    give: GiveArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UpdateArgs {
    /// What it shares out each settlement
    #[arg(long, value_name = "USDT", value_parser = values::some_usdt)]
    budget: Option<MicroUsdt>,
    /// How
    #[arg(long, value_enum)]
    split: Option<Split>,
    /// The owner's part of the budget, in percent
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    commission: Option<Ppm>,
    /// Where the owner's part is paid
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    commission_address: Option<PayoutAddress>,
    /// Who gets in; an invite of the owner opens every pool
    #[arg(long, value_enum)]
    join: Option<Join>,
    /// The most members; a pool that has more keeps them
    #[arg(long, value_name = "N")]
    max_members: Option<u32>,
    #[command(flatten)]
    direct: DirectArgs,
}

/// A file that says which vault pays for a pool.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultFile {
    pool: VaultOfPool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultOfPool {
    vault: Vault,
}

pub(super) fn read_vault(path: &Path) -> anyhow::Result<Vault> {
    let read = || parse_vault(&fs::read_to_string(path)?);
    read().with_context(|| path.display().to_string())
}

/// The vault of a text with its `[pool.vault]`.
pub(in crate::cli) fn parse_vault(text: &str) -> anyhow::Result<Vault> {
    let file: VaultFile = toml::from_str(text).context("it holds no [pool.vault] as `lucid vault deploy` writes it")?;
    Ok(file.pool.vault)
}

pub(super) async fn create(args: CreateArgs, context: &Context) -> anyhow::Result<()> {
    let CreateArgs { name, vault, budget, split, commission, commission_address, join, max_members, give } = args;
    let most = u32::try_from(MAX_MEMBERS).unwrap_or(u32::MAX);
    ensure!(max_members <= most, "--max-members: a pool has at most {most} members");
    let vault = read_vault(&vault)?;
    let giver = Giver::open(context).await?;
    let terms = PoolTerms { budget, split: split.into(), commission, commission_address };
    let pool = NewPool { name, terms, join: join.into(), max_members, vault };
    give.give(&giver, giver.me.account, Action::CreatePool(pool), None).await
}

pub(super) async fn update(args: UpdateArgs, context: &Context) -> anyhow::Result<()> {
    let UpdateArgs { budget, split, commission, commission_address, join, max_members, direct } = args;
    let pool = Pool::open(&direct.pool, context).await?;
    let view = &pool.view;
    // What was announced last is what is changed.
    let now = view.next_terms.as_ref().map_or_else(|| view.terms(), |next| next.terms);
    let next = PoolTerms {
        budget: budget.unwrap_or(now.budget),
        split: split.map_or(now.split, Into::into),
        commission: commission.unwrap_or(now.commission),
        commission_address: commission_address.unwrap_or(now.commission_address),
    };
    let join = join.map_or(view.join, Into::into);
    let max_members = max_members.unwrap_or(view.max_members);
    ensure!((next, join, max_members) != (now, view.join, view.max_members), "nothing would change");
    direct.direct(pool, PoolAction::Update { terms: next, join, max_members }).await
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn parts_are_given_in_percent() {
        for (text, part) in [("0", 0), ("2.5", 25_000), ("0.0001", 1), ("100", 1_000_000)] {
            assert_eq!(percent(text).unwrap(), Ppm::new(part), "{text}");
        }
        for text in ["-1", "100.0001", "0.00001", "5%", ""] {
            assert!(percent(text).unwrap_err().contains("from 0 to 100"), "{text}");
        }
    }
}
