//! `lucid vault deploy`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Args;
use lucid_tron_bridge::client::ClientError;
use lucid_tron_bridge::vault::{Creation, code_hash, creation_code};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{NodeId, PayoutAddress};
use lucid_types::payout::VaultLimits;
use lucid_types::vault::{SignerSet, TreasurySigner};
use serde_json::json;

use super::check::{can_never_sign, contracts, least_delay, pause_warning};
use crate::cli::act::{Act, Open, SendArgs, Step, say};
use crate::cli::place::{Net, PlaceArgs};
use crate::cli::values::{self, SignerArg, duration_of, usdt_of, when};
use crate::cli::{Context, output};

/// Seconds in a day.
const DAY: u32 = 86_400;
/// TRX that a deployment may cost: 2.7 million energy at 100 sun, and a margin.
const USUAL_TRX: u64 = 400;

const EXAMPLE: &str = "\
Example:
  lucid vault deploy --tron https://api.trongrid.io --network mainnet --key-file owner.key --cap 5000 --push-fee 0.01 \\
    --signer NODE_ID=T... --signer NODE_ID=T... --signer NODE_ID=T... --threshold 2 --out vault.toml --dry-run

The account of the key becomes the vault's owner. Token, owner, period, notice and predecessor can never be changed.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct DeployArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The token it pays in [default: the network's USDT]
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    token: Option<PayoutAddress>,
    /// A treasury signer's address, or NODE_ID=ADDRESS; give it once for each signer, up to 16
    #[arg(long = "signer", value_name = "SIGNER", required = true, value_parser = values::signer)]
    signers: Vec<SignerArg>,
    /// How many signers must sign: more than half
    #[arg(long, value_name = "K")]
    threshold: u8,
    /// Most USDT that leaves the vault in a period
    #[arg(long, value_name = "USDT", value_parser = values::some_usdt, allow_negative_numbers = true)]
    cap: MicroUsdt,
    /// Length of a period, for example 24h
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = values::seconds)]
    period: u32,
    /// USDT that whoever pushes payments gets for each
    #[arg(long, value_name = "USDT", default_value = "0", value_parser = values::usdt, allow_negative_numbers = true)]
    push_fee: MicroUsdt,
    /// Notice that the owner's acts need [default: the least allowed: two settlements, and 24 hours except on a local network]
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    delay: Option<u32>,
    /// Length of a settlement, which the notice depends on [default: the home's, or 24h]
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    settlement: Option<u32>,
    /// The closed vault that it replaces; a pool that has had a vault must name it
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    previous: Option<PayoutAddress>,
    /// The vault is for a pool that never had one, although the home's pool has
    #[arg(long, conflicts_with = "previous")]
    new_pool: bool,
    /// Write what `lucid pool create` and `lucid pool vault` read to this file, too; one that exists is left as it is
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    send: SendArgs,
}

/// What a new vault is made from.
struct Plan {
    token: PayoutAddress,
    signers: SignerSet,
    limits: VaultLimits,
    delay: u32,
}

pub(super) async fn deploy(args: &DeployArgs, context: &Context) -> anyhow::Result<()> {
    if let Some(out) = &args.out {
        ensure!(!out.exists(), "{} exists already and is left as it is; give another --out", out.display());
        let nameless = args.signers.iter().find(|signer| signer.node.is_none());
        if let Some(SignerArg { key_address, .. }) = nameless {
            bail!("--out needs the node of each signer: give {key_address} as NODE_ID={key_address}");
        }
    }
    let key = args.send.key.load()?;
    let net = args.place.connect(context).await?;
    let owner = key.address();
    let plan = plan(args, &net, &owner)?;
    check_previous(args, &net, &plan.token).await?;
    let no_keys = contracts(&net.client, &plan.signers).await?;
    ensure!(no_keys.is_empty(), "{}", can_never_sign(&no_keys));
    let Plan { token, signers, limits, delay } = &plan;
    let previous = args.previous;
    let creation =
        Creation { token: *token, owner, signers, limits: *limits, period: args.period, delay: *delay, previous };
    let mut act = act(args, &net, &creation);
    act.warnings.extend(pause_warning(signers));
    if signers.by_key(&owner).is_some() {
        act.warnings.push(format!("the owner {owner} is a signer too: both powers hang on one key"));
    }
    act.warnings.extend(token_warnings(&net, token, &owner).await?);
    let done = match args.send.carry_out(&net, &key, act).await {
        Ok(Some(done)) => done,
        Ok(None) => return Ok(()),
        Err(error) => {
            // Everything that the vault is needed with, should it come to be: nothing else on this machine has it.
            if let Some(vault) = error.downcast_ref::<Open>().and_then(|open| open.deploys) {
                say(&format!(
                    "\nIf the deployment is included, this holds:\n{}",
                    next_steps(&vault_text(&vault, &plan, &args.signers), &vault, None, previous)
                ))?;
            }
            return Err(error);
        }
    };
    let vault = done.deployed.context("the deployment names no contract")?;
    let found = net.client.code_hash(&vault).await?;
    ensure!(found == Some(code_hash()), "the code at {vault} is not what was deployed; do not use it");
    let text = vault_text(&vault, &plan, &args.signers);
    let written = args.out.as_deref().map(|out| write_new(out, &text)).transpose();
    if !args.send.confirm.json.json {
        let out = args.out.as_deref().filter(|_| written.is_ok());
        output::print(&next_steps(&text, &vault, out, previous))?;
    }
    written.map(drop).context("the vault stands, and --out could not be written")
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    file.with_context(|| path.display().to_string())
}

fn plan(args: &DeployArgs, net: &Net, owner: &PayoutAddress) -> anyhow::Result<Plan> {
    let token = args.token.or(net.usdt);
    let token = token.with_context(|| {
        format!("say which token on {}: --token ADDRESS, the `usdt` of the network's genesis", net.network)
    })?;
    if let Some(usdt) = net.usdt.filter(|usdt| *usdt != token) {
        bail!(
            "--token {token} is not the USDT of {}, which is {usdt}: the pool's nodes pay in nothing else, and a vault's token can \
             never be changed. Leave --token out{}",
            net.network,
            // Only a local network's genesis says which token that is; without one nobody does.
            if net.is_local() {
                ". If the vault is for another network, whose genesis is not written yet, leave --home and LUCID_HOME out, and \
                 say where TRON is with --tron and --network"
            } else {
                ""
            }
        );
    }
    // Without a node a signer gets one that nobody has: what signs counts here.
    let member = |signer: &SignerArg| {
        let mut nobody = [0; 32];
        nobody[12..].copy_from_slice(&signer.key_address.hash20());
        TreasurySigner { node: signer.node.unwrap_or(NodeId::from_bytes(nobody)), key_address: signer.key_address }
    };
    let signers = SignerSet { era: 1, threshold: args.threshold, members: args.signers.iter().map(member).collect() };
    signers.check().map_err(|problem| anyhow!("--signer, --threshold: {problem}"))?;
    let taken = [Some(token), args.previous].into_iter().flatten().find(|address| signers.by_key(address).is_some());
    if let Some(address) = taken {
        bail!("--signer {address} is a contract, which cannot sign");
    }
    ensure!(*owner != token, "the owner is the token's contract");
    let limits = VaultLimits { cap: args.cap, push_fee: args.push_fee };
    ensure!(limits.push_fee < limits.cap, "--push-fee must be less than --cap, or nothing is ever paid");
    ensure!(args.period > 0, "--period must be more than 0");
    let policy = net.ledger.as_ref().map(|ledger| ledger.spec.fixed());
    let settlement =
        args.settlement.map(u64::from).or(policy.as_ref().map(super::check::settlement_s)).unwrap_or(DAY.into());
    let least = least_delay(settlement, net.is_local());
    let delay = args.delay.map_or(least, u64::from);
    ensure!(
        delay >= least,
        "--delay {}: the owner's notice must be at least {} here, so that what is owed can be posted, pushed and claimed before \
         the owner's act takes effect: two settlements of {}{}",
        duration_of(delay),
        duration_of(least),
        duration_of(settlement),
        if net.is_local() { "" } else { " and 24 hours" }
    );
    let delay = u32::try_from(delay).context("--delay is too long")?;
    Ok(Plan { token, signers, limits, delay })
}

/// The contract refuses an open predecessor; here is said what to do. A successor that forgets it would pay everything again.
async fn check_previous(args: &DeployArgs, net: &Net, token: &PayoutAddress) -> anyhow::Result<()> {
    let Some(previous) = args.previous else {
        let of_pool = net.ledger.as_ref().and_then(|ledger| ledger.pool(None).ok());
        if let Some(pool) = of_pool.filter(|_| !args.new_pool) {
            bail!(
                "the home's pool {} has the vault {}: a successor must name it with --previous, or it would pay everything \
                 again. If this vault is for another pool, say --new-pool",
                pool.name,
                pool.vault.address
            );
        }
        return Ok(());
    };
    let snapshot = net.client.head_vault_snapshot(&previous, &[]).await;
    let snapshot = snapshot.with_context(|| format!("--previous {previous} cannot be read as a vault"))?;
    let now = net.now_s();
    match snapshot.close_from {
        0 => bail!("--previous {previous} is open: its owner closes it first, with `lucid vault close`"),
        from if from > now => bail!("--previous {previous} closes at {}; deploy the successor then", when(from, now)),
        _ => {}
    }
    ensure!(snapshot.token == *token, "--previous {previous} pays in the token {}, not in {token}", snapshot.token);
    Ok(())
}

/// Refuses what is no token, or another than USDT: its flags tell the pushers whether they can pay.
async fn token_warnings(net: &Net, token: &PayoutAddress, owner: &PayoutAddress) -> anyhow::Result<Option<String>> {
    let flags = match net.client.token_flags(token, owner).await {
        Err(
            error @ (ClientError::Refused { .. } | ClientError::Reverted { .. } | ClientError::OtherContract { .. }),
        ) => {
            return Err(anyhow!(error).context(format!(
                "--token {token} does not answer like USDT does, and a vault's token can never be changed; compare the address"
            )));
        }
        other => other?,
    };
    Ok(if flags.fee {
        Some(format!("the token {token} takes a fee from every transfer; signers will not sign"))
    } else {
        flags.paused.then(|| format!("the token {token} is paused now"))
    })
}

fn act(args: &DeployArgs, net: &Net, creation: &Creation<'_>) -> Act {
    let Creation { token, owner, signers, limits, period, delay, previous } = *creation;
    let mut facts = vec![
        ("deploys", format!("a payout vault on {}, block 0 {}", net.network, net.genesis_block)),
        ("token", token.to_string()),
        ("owner", owner.to_string()),
        ("must sign", super::open::quorum(signers)),
    ];
    facts.extend(signers.members.iter().map(|signer| ("signer", signer.key_address.to_string())));
    facts.extend([
        ("cap", format!("{} in {}", usdt_of(limits.cap), duration_of(period.into()))),
        ("push fee", usdt_of(limits.push_fee)),
        ("owner's notice", duration_of(delay.into())),
        ("predecessor", output::or_dash(previous)),
        ("code hash", hex::encode(code_hash())),
    ]);
    let data = json!({
        "network": net.network,
        "genesis_block": net.genesis_block,
        "token": token,
        "owner": owner,
        "threshold": signers.threshold,
        "signers": signers.members.iter().map(|signer| signer.key_address).collect::<Vec<_>>(),
        "cap_micro_usdt": limits.cap,
        "push_fee_micro_usdt": limits.push_fee,
        "period_s": period,
        "delay_s": delay,
        "previous": previous,
        "code_hash": hex::encode(code_hash()),
        "settlement_s": args.settlement,
    });
    Act { usual_trx: USUAL_TRX, ..Act::new(Step::Deploy { code: creation_code(creation) }, facts, data) }
}

/// What `lucid pool create` and `lucid pool vault` read.
fn vault_text(vault: &PayoutAddress, plan: &Plan, given: &[SignerArg]) -> String {
    let Plan { signers, limits, .. } = plan;
    let mut text = format!(
        "[pool.vault]\naddress = \"{vault}\"\nnonce = 0\n\n\
         [pool.vault.limits]\ncap = {}\npush_fee = {}\n\n\
         [pool.vault.signers]\nera = 1\nthreshold = {}\n",
        limits.cap, limits.push_fee, signers.threshold
    );
    for signer in given {
        let node = signer.node.map_or_else(|| "<node id of this signer's node>".to_owned(), |node| node.to_string());
        text.push_str(&format!(
            "\n[[pool.vault.signers.signer]]\nnode = \"{node}\"\nkey_address = \"{}\"\n",
            signer.key_address
        ));
    }
    text
}

/// What to do with a new vault, whose [`vault_text`] stands in `out` already, or in no file.
fn next_steps(vault_text: &str, vault: &PayoutAddress, out: Option<&Path>, previous: Option<PayoutAddress>) -> String {
    let file = out.map_or_else(|| "vault.toml".to_owned(), |out| out.display().to_string());
    let mut steps = Vec::new();
    if out.is_none() {
        steps.push(format!("Put this into a file, {file}:\n\n{vault_text}"));
    }
    let verify = "Check it from another machine, before anybody pays into it: lucid vault verify".to_owned();
    let fund = "Give it USDT: lucid vault fund --amount N".to_owned();
    if let Some(previous) = previous {
        steps.extend([
            format!(
                "Name it to the ledger for the pool of the vault {previous}: lucid pool vault {file} --file move.json"
            ),
            "Have the signers in force sign that, each: lucid command sign --file move.json".to_owned(),
            "lucid command submit --file move.json".to_owned(),
            verify,
            fund,
        ]);
    } else {
        steps.extend([
            format!(
                "Create the pool: lucid pool create --name NAME --vault {file} --budget N --commission-address T..."
            ),
            "Have validators approve of it: lucid validator approve-pool NAME".to_owned(),
            verify,
            fund,
            "Give the gas accounts of workers that can lead some TRX: lucid vault rehearse says how much".to_owned(),
        ]);
    }
    let mut text = format!("\nThe vault stands at {vault}.");
    if let Some(out) = out {
        text.push_str(&format!(" What the ledger is to know of it is in {}.", out.display()));
    }
    text.push_str("\n\nNext:\n");
    for (number, step) in (1..).zip(&steps) {
        text.push_str(&format!("{number}. {step}\n"));
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_the_commands_read() {
        let address = |byte| PayoutAddress::from_hash20([byte; 20]);
        let given = SignerArg { node: Some(NodeId::from_bytes([4; 32])), key_address: address(3) };
        let member = TreasurySigner { node: NodeId::from_bytes([4; 32]), key_address: address(3) };
        let plan = Plan {
            token: address(2),
            signers: SignerSet { era: 1, threshold: 1, members: vec![member] },
            limits: VaultLimits { cap: MicroUsdt::new(50), push_fee: MicroUsdt::new(1) },
            delay: 60,
        };
        let text = vault_text(&address(1), &plan, &[given]);
        let vault = crate::cli::pool::make::parse_vault(&text).unwrap();
        assert_eq!((vault.address, vault.nonce, vault.limits), (address(1), 0, plan.limits));
        assert_eq!(vault.signers, plan.signers);

        let [first, next] = [None, Some(address(9))].map(|previous| next_steps(&text, &address(1), None, previous));
        assert!(first.contains(&text) && first.contains("3. Have validators"), "{first}");
        assert!(
            next.contains(&text) && next.contains("2. Name it") && next.contains(&address(9).to_string()),
            "{next}"
        );
        let written = next_steps(&text, &address(1), Some(Path::new("v.toml")), None);
        assert!(!written.contains("[pool.vault]") && written.contains("--vault v.toml"), "{written}");
    }
}
