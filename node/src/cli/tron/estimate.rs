//! `lucid tron estimate`.

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use lucid_tron_bridge::sender::fee_limit;
use lucid_tron_bridge::vault;
use lucid_types::amount::Sun;
use lucid_types::id::PayoutAddress;
use serde_json::json;

use crate::cli::act::warn;
use crate::cli::place::PlaceArgs;
use crate::cli::values::{self, trx_of};
use crate::cli::{Context, Json, output};

#[derive(Debug, Args)]
pub(in crate::cli) struct EstimateArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The contract [default: the vault of the home's pool]
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    contract: Option<PayoutAddress>,
    /// Who would call it
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    from: PayoutAddress,
    /// A function of the vault that takes no arguments
    #[arg(long, value_enum, required_unless_present = "data")]
    call: Option<Call>,
    /// Any other call data, in hex: for example what `lucid payout claim --print-call` prints
    #[arg(long, value_name = "HEX", conflicts_with = "call")]
    data: Option<String>,
    #[command(flatten)]
    json: Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Call {
    Pause,
    Unpause,
    Close,
    Withdraw,
    Cancel,
}

pub(super) async fn estimate(args: &EstimateArgs, context: &Context) -> anyhow::Result<()> {
    let data = match (&args.data, args.call) {
        (Some(hex), _) => hex::decode(hex.trim_start_matches("0x")).context("--data is no hex")?,
        (None, Some(Call::Pause)) => vault::pause(),
        (None, Some(Call::Unpause)) => vault::unpause(),
        (None, Some(Call::Close)) => vault::close(),
        (None, Some(Call::Withdraw)) => vault::withdraw(),
        (None, Some(Call::Cancel)) => vault::cancel(),
        (None, None) => bail!("give --call or --data"),
    };
    let net = args.place.connect(context).await?;
    let contract = match (args.contract, &net.ledger) {
        (Some(contract), _) => contract,
        (None, Some(ledger)) => ledger.pool(None)?.vault.address,
        (None, None) => bail!("say which contract: --contract ADDRESS"),
    };
    let (estimate, prices) =
        futures::try_join!(net.client.estimate(&args.from, &contract, &data), net.client.chain_parameters())?;
    let has = net.client.resources(&args.from).await?.energy;
    let burnt = estimate.energy.saturating_sub(has).saturating_mul(prices.energy_price.get());
    let limit = fee_limit(estimate.energy, prices.energy_price);
    let fails = estimate.revert.map(|revert| revert.to_string());
    warn(&net.warnings)?;
    if args.json.json {
        return output::json(&json!({
            "network": net.network, "contract": contract, "from": args.from, "energy": estimate.energy,
            "penalty": estimate.penalty, "burnt_sun": burnt, "fee_limit_sun": limit, "fails": fails,
        }));
    }
    output::print(&output::pairs(&[
        ("contract", format!("{contract} on {}", net.network)),
        ("from", args.from.to_string()),
        ("energy", format!("{}, {} of it for a contract that is used a lot", estimate.energy, estimate.penalty)),
        ("burns", format!("{}, the account has {has} energy", trx_of(Sun::new(burnt)))),
        ("fee limit", trx_of(limit)),
        ("fails", output::or_dash(fails)),
    ]))
}
