//! `lucid tron key`: makes TRON keys and says which address they have. Offline.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use lucid_tron_bridge::key::TronKey;
use serde_json::json;

use crate::cli::keys::KeyArgs;
use crate::cli::{Json, output};
use crate::signer::dir::KeyForm;
use crate::signer::files::{Disk, Files, folder_of};
use crate::signer::passphrase::PassphraseSource;

const EXAMPLES: &str = "\
Examples:
  lucid tron key new --out owner-tron.age --keystore
  lucid tron key show --key-file owner-tron.age

The file serves as --key-file of every command that sends a transaction. A passphrase is never taken from an argument or the
environment, which other users can see.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum KeyAction {
    /// Make a new key in a new file of mode 0600, and print its address
    New(NewArgs),
    /// Print the address of a key, and nothing else
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct NewArgs {
    /// The key's file; one that exists is never overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Encrypt the key with a passphrase, in an age keystore; without it the file holds 64 hex digits
    #[arg(long)]
    keystore: bool,
    /// Read the keystore's passphrase from a file of mode 0600 instead of the terminal
    #[arg(long, value_name = "FILE", requires = "keystore")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    /// The key: a file of mode 0600 with 64 hex digits, or an age keystore
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Read the keystore's passphrase from a file of mode 0600 instead of the terminal
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

pub(super) fn key(action: KeyAction) -> anyhow::Result<()> {
    match action {
        KeyAction::New(args) => new(args),
        KeyAction::Show(args) => show(args),
    }
}

fn new(args: NewArgs) -> anyhow::Result<()> {
    let NewArgs { out, keystore, passphrase_file, json } = args;
    // Before a passphrase is thought up for it.
    ensure!(
        out.symlink_metadata().is_err(),
        "--out {} exists already and is left as it is; choose another name",
        out.display()
    );
    let form = match (keystore, passphrase_file) {
        (false, _) => KeyForm::Plain,
        (true, None) => KeyForm::Keystore(PassphraseSource::Terminal),
        (true, Some(file)) => KeyForm::Keystore(PassphraseSource::File(file)),
    };
    let key = TronKey::generate()?;
    form.save_new(&key, &out).context("no key was made")?;
    // Whoever sends money to the address finds the key after a power failure.
    let folder = folder_of(&out);
    Disk.sync_folder(folder).with_context(|| format!("cannot sync {}", folder.display()))?;
    let address = key.address();
    if json.json {
        return output::json(&json!({ "address": address, "key_file": out, "is_keystore": keystore }));
    }
    output::print(&output::pairs(&[("address", address.to_string()), ("key", out.display().to_string())]))?;
    output::print(if keystore {
        "\nKeep copies of the file and of its passphrase: without both, what the address holds is lost.\n"
    } else {
        "\nKeep a copy of the file: without it, what the address holds is lost. Whoever reads it has the key.\n"
    })
}

fn show(args: ShowArgs) -> anyhow::Result<()> {
    let address = KeyArgs::new(args.key_file, args.passphrase_file).load()?.address();
    if args.json.json { output::json(&json!({ "address": address })) } else { output::print(&format!("{address}\n")) }
}
