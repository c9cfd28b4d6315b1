//! `lucid tron status`, `balance` and `tx`.

use anyhow::{Context as _, anyhow};
use clap::Args;
use futures::future::join_all;
use lucid_tron_bridge::client::{Client, ClientError};
use lucid_tron_bridge::transaction::Reference;
use lucid_types::id::{PayoutAddress, SolidBlockId, TxId};
use serde_json::{Value, json};

use super::events;
use crate::cli::act::{receipt, warn};
use crate::cli::place::{PlaceArgs, known_network, now_s};
use crate::cli::values::{self, duration_of, trx_of, usdt_of};
use crate::cli::{Context, Json, output};

#[derive(Debug, Args)]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BalanceArgs {
    /// The account
    #[arg(value_name = "ADDRESS", value_parser = values::address)]
    address: PayoutAddress,
    /// The token [default: the network's USDT]
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    token: Option<PayoutAddress>,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TxArgs {
    /// The transaction
    #[arg(value_name = "TX_ID")]
    id: TxId,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    json: Json,
}

/// A provider group as it answers.
struct Seen {
    genesis: SolidBlockId,
    head: Reference,
    solid: Reference,
}

async fn look(client: &Client) -> Result<Seen, ClientError> {
    let genesis = client.genesis_block_id().await?;
    let (head, solid) = (client.head().await?, client.solid_head().await?);
    Ok(Seen { genesis, head, solid })
}

pub(super) async fn status(args: &StatusArgs, context: &Context) -> anyhow::Result<()> {
    let net = args.place.connect(context).await?;
    let prices = net.client.chain_parameters().await?;
    let groups = net.providers.groups();
    let seen = join_all(groups.iter().map(look)).await.into_iter();
    let seen = seen.map(|seen| seen.map_err(|error| format!("{:#}", anyhow!(error))));
    let seen: Vec<_> = groups.iter().map(Client::label).zip(seen).collect();
    let now = now_s();
    let age = |block: &Reference| now.saturating_sub(block.time.get() / 1_000);
    let lag = |seen: &Seen| seen.head.number.saturating_sub(seen.solid.number);
    if args.json.json {
        let group = |(label, seen): &(String, Result<Seen, String>)| match seen {
            Ok(seen) => json!({
                "group": label, "genesis_block": seen.genesis, "head": seen.head.number, "head_time": seen.head.time,
                "head_age_s": age(&seen.head), "solid": seen.solid.number, "solid_lag": lag(seen), "error": Value::Null,
            }),
            Err(error) => json!({ "group": label, "error": error }),
        };
        return output::json(&json!({
            "network": net.network,
            "genesis_block": net.genesis_block,
            "is_pinned": net.is_pinned,
            "usdt": net.usdt,
            "energy_price_sun": prices.energy_price,
            "bandwidth_price_sun": prices.bandwidth_price,
            "groups": seen.iter().map(group).collect::<Vec<_>>(),
        }));
    }
    let pinned = if net.is_pinned { "as expected" } else { "not compared: any local network is taken" };
    output::print(&output::pairs(&[
        (
            "network",
            format!(
                "{}; its block 0 is {}'s",
                net.network,
                known_network(&net.genesis_block).unwrap_or("no known network")
            ),
        ),
        ("block 0", format!("{}, {pinned}", net.genesis_block)),
        ("USDT", output::or_dash(net.usdt)),
        ("energy", format!("{} sun each", prices.energy_price)),
        ("bandwidth", format!("{} sun a byte", prices.bandwidth_price)),
    ]))?;
    let row = |(label, seen): &(String, Result<Seen, String>)| match seen {
        Ok(seen) => [
            label.clone(),
            seen.head.number.to_string(),
            duration_of(age(&seen.head)),
            seen.solid.number.to_string(),
            format!("{} blocks", lag(seen)),
        ],
        Err(error) => {
            let nothing = || "-".to_owned();
            [label.clone(), nothing(), nothing(), nothing(), format!("no use: {error}")]
        }
    };
    let rows: Vec<_> = seen.iter().map(row).collect();
    output::print(&format!(
        "\n{}",
        output::table(["provider group", "newest block", "age", "solidified", "lag"], &rows)
    ))
}

pub(super) async fn balance(args: &BalanceArgs, context: &Context) -> anyhow::Result<()> {
    let net = args.place.connect(context).await?;
    let (account, resources) =
        futures::try_join!(net.client.account(&args.address), net.client.resources(&args.address))?;
    let token = args.token.or(net.usdt);
    let has =
        match &token {
            Some(token) => {
                let balance = net.client.token_balance(token, &args.address).await;
                Some(balance.with_context(|| {
                    format!("{token} on {} is no token that can be read; compare --token", net.network)
                })?)
            }
            None => None,
        };
    warn(&net.warnings)?;
    if args.json.json {
        return output::json(&json!({
            "network": net.network,
            "address": args.address,
            "exists": account.is_some(),
            "balance_sun": account.map(|account| account.balance),
            "token": token,
            "balance_micro_usdt": has,
            "energy": resources.energy,
            "bandwidth": resources.bandwidth,
            "free_bandwidth": resources.free_bandwidth,
        }));
    }
    let trx = account.map_or_else(
        || "the account does not exist yet; TRX sent to it makes it".to_owned(),
        |account| trx_of(account.balance),
    );
    output::print(&output::pairs(&[
        ("account", format!("{} on {}", args.address, net.network)),
        ("TRX", trx),
        ("USDT", has.map_or_else(|| "-; name the token with --token".to_owned(), usdt_of)),
        ("token", output::or_dash(token)),
        ("energy", resources.energy.to_string()),
        ("bandwidth", format!("{}, and {} free ones today", resources.bandwidth, resources.free_bandwidth)),
    ]))
}

pub(super) async fn tx(args: &TxArgs, context: &Context) -> anyhow::Result<()> {
    let net = args.place.connect(context).await?;
    let (newest, solid) =
        futures::try_join!(net.client.transaction_info(&args.id), net.client.solid_transaction_info(&args.id))?;
    let is_solid = solid.is_some();
    let info = solid.or(newest).with_context(|| {
        format!(
            "no block of {} has the transaction {}: it is not included yet, has expired, or was sent elsewhere",
            net.network, args.id
        )
    })?;
    warn(&net.warnings)?;
    if args.json.json {
        let mut answer = events::receipt_json(&info);
        answer["is_solid"] = is_solid.into();
        answer["network"] = json!(net.network);
        return output::json(&answer);
    }
    let mut lines = receipt(&info);
    lines.retain(|(name, _)| *name != "event");
    let result = match (info.is_success(), info.vault_revert()) {
        (true, _) => "success".to_owned(),
        (false, Some(revert)) => format!("failed: {revert}"),
        (false, None) => format!("failed: {} {}", info.result.name(), info.message),
    };
    lines.insert(1, ("result", result));
    lines.insert(
        2,
        ("solidified", if is_solid { "yes" } else { "not yet: the block may still be forked away" }.to_owned()),
    );
    lines.extend(
        events::with_addresses(&info)
            .iter()
            .map(|(contract, event)| ("event", format!("{contract}: {}", events::text(event)))),
    );
    output::print(&output::pairs(&lines))
}
