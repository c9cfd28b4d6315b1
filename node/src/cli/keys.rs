//! The TRON key that signs and pays for a transaction.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::keystore;

use crate::signer::passphrase::PassphraseSource;

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// The TRON key that signs and pays: a file of mode 0600 with 64 hex digits, or an age keystore
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Read the keystore's passphrase from a file of mode 0600 instead of the terminal
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl KeyArgs {
    pub(super) const fn new(key_file: PathBuf, passphrase_file: Option<PathBuf>) -> Self {
        Self { key_file, passphrase_file }
    }

    /// Reads the key; asks for the passphrase of a keystore.
    pub(super) fn load(&self) -> anyhow::Result<TronKey> {
        let path = &self.key_file;
        let load = || {
            if !keystore::is_keystore(path)? {
                return anyhow::Ok(TronKey::load(path)?);
            }
            let source = self.passphrase_file.clone().map_or(PassphraseSource::Terminal, PassphraseSource::File);
            Ok(keystore::open(path, || source.read_as(&format!("Passphrase of {}: ", path.display())))?)
        };
        load().context("--key-file")
    }
}
