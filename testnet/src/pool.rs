//! The network's one pool, made by the commands that any pool is made by: its owner registers and creates it, validators approve of it,
//! and a string lets nodes into it.

use std::path::Path;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use lucid_types::id::PayoutAddress;
use lucid_types::vault::Vault;
use serde::{Deserialize, Serialize};

use crate::lucid::Lucid;
use crate::plan::{self, NodePlan};

/// Its name.
pub const POOL: &str = "local";
/// What it shares out for each settlement, in USDT.
pub const BUDGET_USDT: &str = "120";

/// Gives the commands, each of which is in a block when its function returns.
#[derive(Clone, Copy, Debug)]
pub struct PoolMaker<'a> {
    /// The executable.
    pub lucid: &'a Lucid,
    /// The network's folder.
    pub dir: &'a Path,
}

/// What a command answers that a block holds.
#[derive(Debug, Deserialize)]
struct Included {
    height: u64,
}

/// What `lucid network invite` answers.
#[derive(Debug, Deserialize)]
struct Invited {
    string: String,
}

/// The vault as `lucid pool create` reads it.
#[derive(Serialize)]
struct VaultFile<'a> {
    pool: VaultOfPool<'a>,
}

#[derive(Serialize)]
struct VaultOfPool<'a> {
    vault: &'a Vault,
}

impl PoolMaker<'_> {
    /// The owner enters the network and creates the pool, open to everybody. Returns the height of its block.
    ///
    /// # Errors
    /// The network refuses a command.
    pub async fn create(&self, vault: &Vault, commission_address: PayoutAddress) -> Result<u64> {
        let home = plan::owner().home(self.dir);
        let address = commission_address.to_string();
        self.give(&home, &["node", "register", "--payout-address", &address]).await?;
        let file = home.join("vault.toml");
        let text = toml::to_string(&VaultFile { pool: VaultOfPool { vault } }).context("write the vault as TOML")?;
        std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        let file = file.to_string_lossy();
        let create = ["pool", "create", "--name", POOL, "--vault", &file, "--budget", BUDGET_USDT];
        self.give(&home, &[&create[..], &["--commission-address", &address, "--join", "open"]].concat()).await
    }

    /// As many validators approve of it as it needs: more than a third, as all have the same power.
    ///
    /// # Errors
    /// The network refuses a command.
    pub async fn approve(&self, validators: &[&NodePlan]) -> Result<usize> {
        let needed = validators.len() / 3 + 1;
        let approve = |validator: &&NodePlan| {
            let home = validator.home(self.dir);
            async move { self.give(&home, &["validator", "approve-pool", POOL]).await }
        };
        try_join_all(validators.iter().take(needed).map(approve)).await?;
        Ok(needed)
    }

    /// The string by which nodes join the network and the pool, as a validator tells it.
    ///
    /// # Errors
    /// The validator does not answer.
    pub async fn join_string(&self, validator: &NodePlan) -> Result<String> {
        let home = validator.home(self.dir);
        let Invited { string } = self.lucid.command(&home, &["network", "invite", "--pool", POOL, "--json"]).await?;
        Ok(string)
    }

    async fn give(&self, home: &Path, command: &[&str]) -> Result<u64> {
        let Included { height } = self.lucid.command(home, &[command, &["--yes", "--json"]].concat()).await?;
        Ok(height)
    }
}
