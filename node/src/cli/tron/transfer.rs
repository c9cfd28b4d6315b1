//! `lucid tron build-transfer`: the bytes of a token transfer, offline, for auditors.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::trc20::TransferCall;
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::PayoutAddress;
use lucid_types::time::UnixMillis;
use serde_json::json;

use crate::cli::keys::KeyArgs;
use crate::cli::{Json, output, values};

const EXAMPLE: &str = "\
Example:
  lucid tron build-transfer --owner T... --to T... --contract TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t \\
    --amount-micro 20500000 --fee-limit 30000000 --ref-block-bytes 86a7 --ref-block-hash ff3fd0c11e19225f \\
    --expiration 1790676344481 --timestamp 1790675325476 --json

Asks no node and sends nothing. The reference block is the last two bytes of a block's number, and bytes 8 to 16 of its id.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct BuildTransfer {
    /// Who pays
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    owner: PayoutAddress,
    /// Who is paid
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    to: PayoutAddress,
    /// The token's contract
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    contract: PayoutAddress,
    /// How much, in micro-USDT
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = micro)]
    amount_micro: u64,
    /// Most sun to burn for energy
    #[arg(long, value_name = "SUN")]
    fee_limit: u64,
    /// Two bytes of the reference block's number
    #[arg(long, value_name = "HEX", value_parser = bytes::<2>)]
    ref_block_bytes: [u8; 2],
    /// Eight bytes of the reference block's id
    #[arg(long, value_name = "HEX", value_parser = bytes::<8>)]
    ref_block_hash: [u8; 8],
    /// When it can no longer be included, in milliseconds since 1970
    #[arg(long, value_name = "MS")]
    expiration: u64,
    /// When it claims to be made, in milliseconds since 1970
    #[arg(long, value_name = "MS")]
    timestamp: u64,
    /// The owner's permission to act under: 0 owner, from 2 on an active one [default: 0, and --key-file must be the owner's own key]
    #[arg(long, value_name = "N")]
    permission_id: Option<u32>,
    /// A key to sign with: a file of mode 0600 with 64 hex digits, or an age keystore
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Read the keystore's passphrase from a file of mode 0600 instead of the terminal
    #[arg(long, value_name = "FILE", requires = "key_file")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

fn micro(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a whole number of micro-USDT from 0 to {} is expected", u64::MAX))
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| format!("{} hex digits are expected", 2 * N))?;
    Ok(bytes)
}

/// Refuses what the network would refuse, or what would lose the money.
fn check(args: &BuildTransfer) -> anyhow::Result<()> {
    for (flag, address) in [("--owner", &args.owner), ("--to", &args.to), ("--contract", &args.contract)] {
        ensure!(
            address.hash20() != [0; 20],
            "{flag} {address} is the zero address, which nobody has a key of and where no contract lies"
        );
    }
    ensure!(args.amount_micro > 0, "--amount-micro 0: a transfer of nothing costs energy and pays nobody");
    ensure!(
        args.permission_id != Some(1),
        "--permission-id 1 is the permission of a block producer, under which nothing is transferred: 0 is the owner permission, \
         from 2 on an active one"
    );
    ensure!(
        args.expiration > args.timestamp,
        "--expiration {} is not after --timestamp {}: no block could include the transfer",
        args.expiration,
        args.timestamp
    );
    Ok(())
}

/// The key to sign with. The network takes a signature of another key than the owner's only if the owner's permission names it,
/// and nobody is asked here: whoever means that says which permission.
fn key(args: &BuildTransfer) -> anyhow::Result<Option<TronKey>> {
    let Some(path) = &args.key_file else { return Ok(None) };
    let key = KeyArgs::new(path.clone(), args.passphrase_file.clone()).load()?;
    let address = key.address();
    ensure!(
        args.permission_id.is_some() || address == args.owner,
        "--key-file is the key of {address}, and --owner is {}: nothing was signed, because the network refuses another's signature. \
         Give the owner's key; or, if the owner's account has given {address} a permission, say which with --permission-id (0 is \
         the owner permission, from 2 on an active one)",
        args.owner
    );
    Ok(Some(key))
}

pub(super) fn build_transfer(args: &BuildTransfer) -> anyhow::Result<()> {
    check(args)?;
    let key = key(args)?;
    let call = TransferCall {
        owner: args.owner,
        token: args.contract,
        to: args.to,
        amount: MicroUsdt::new(args.amount_micro),
        permission_id: args.permission_id.unwrap_or_default(),
        ref_block_bytes: args.ref_block_bytes,
        ref_block_hash: args.ref_block_hash,
        timestamp: UnixMillis::new(args.timestamp),
        expiration: UnixMillis::new(args.expiration),
        fee_limit: Sun::new(args.fee_limit),
    };
    let transfer = call.build().context("the transfer cannot be built")?;
    let signature =
        key.map(|key| key.sign_transaction(&transfer)).transpose().context("the transfer cannot be signed")?;
    let raw_data = hex::encode(transfer.raw_data());
    if args.json.json {
        let mut answer = json!({ "raw_data_hex": raw_data, "tx_id": transfer.tx_id() });
        if let Some(signature) = signature {
            answer["signature"] = json!(signature);
        }
        return output::json(&answer);
    }
    let mut lines = vec![("tx id", transfer.tx_id().to_string()), ("raw data", raw_data)];
    lines.extend(signature.map(|signature| ("signature", signature.to_string())));
    output::print(&output::pairs(&lines))
}
