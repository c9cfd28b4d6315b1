//! The vault that a command is about.

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use lucid_tron_bridge::client::ClientError;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::vault::{self, VaultSnapshot};
use lucid_types::id::{PayoutAddress, PoolId};
use lucid_types::vault::SignerSet;

use crate::api::model::{LedgerVaultView, PoolView};
use crate::cli::Context;
use crate::cli::place::{Net, PlaceArgs};
use crate::cli::values;

#[derive(Debug, Args)]
pub(in crate::cli) struct VaultArgs {
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    /// The vault [default: that of the home's pool]
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    vault: Option<PayoutAddress>,
    /// The pool, by name or id [default: the home's own, or the network's only one]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
}

/// A vault at the newest block.
pub(in crate::cli) struct Opened {
    pub(in crate::cli) net: Net,
    pub(in crate::cli) vault: PayoutAddress,
    pub(in crate::cli) snapshot: VaultSnapshot,
    /// The pool whose vault that is by the home's ledger.
    pub(in crate::cli) pool: Option<PoolId>,
}

/// Who may direct a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Party {
    Owner,
    /// With the bit of its seat.
    Signer(u16),
    Neither,
}

impl VaultArgs {
    /// Connects, finds the vault and reads it.
    pub(in crate::cli) async fn open(&self, context: &Context) -> anyhow::Result<Opened> {
        let net = self.place.connect(context).await?;
        let (vault, pool) = self.find(&net)?;
        let place =
            || format!("{vault} on {} is no payout vault that can be read; compare --vault and --network", net.network);
        let snapshot = match net.client.head_vault_snapshot(&vault, &[]).await {
            Err(
                error
                @ (ClientError::Refused { .. } | ClientError::Reverted { .. } | ClientError::OtherContract { .. }),
            ) => {
                return Err(error).with_context(place);
            }
            other => other?,
        };
        Ok(Opened { net, vault, snapshot, pool })
    }

    fn find(&self, net: &Net) -> anyhow::Result<(PayoutAddress, Option<PoolId>)> {
        let Some(ledger) = &net.ledger else {
            let vault =
                self.vault.context("say which vault: --vault ADDRESS, or --home of a node of the pool's network")?;
            ensure!(self.pool.is_none(), "--pool needs the home of a node of the pool's network");
            return Ok((vault, None));
        };
        let by_vault = |vault: &PayoutAddress| ledger.pools().iter().find(|pool| pool.vault.address == *vault);
        match (self.vault, &self.pool) {
            (Some(vault), None) => Ok((vault, by_vault(&vault).map(|pool| pool.pool))),
            (vault, named) => {
                let pool = ledger.pool(named.as_deref())?;
                let own = pool.vault.address;
                match vault.filter(|vault| *vault != own) {
                    Some(vault) => bail!(
                        "the pool {} has the vault {own}, not {vault}: leave one of --pool and --vault out",
                        pool.name
                    ),
                    None => Ok((own, Some(pool.pool))),
                }
            }
        }
    }
}

impl Opened {
    /// Time of the newest block in Unix seconds.
    pub(in crate::cli) fn now_s(&self) -> u64 {
        self.net.now_s()
    }

    /// Refuses a contract whose code is not the vault's: what it would do with a call is not known.
    pub(in crate::cli) async fn check_code(&self) -> anyhow::Result<()> {
        let found = self.net.client.code_hash(&self.vault).await?;
        ensure!(
            found == Some(vault::code_hash()),
            "the code at {} is not the payout vault's of this version; nothing is sent there. `lucid vault verify` says more",
            self.vault
        );
        Ok(())
    }

    /// Who the key is for this vault.
    pub(in crate::cli) async fn party(&self, key: &TronKey) -> anyhow::Result<Party> {
        let address = key.address();
        if address == self.snapshot.owner {
            return Ok(Party::Owner);
        }
        let seat = self.net.client.vault_seat(&self.vault, &address).await?;
        let seat = seat.filter(|seat| seat.era == self.snapshot.era);
        Ok(seat.map_or(Party::Neither, |seat| Party::Signer(1_u16.checked_shl(seat.index.into()).unwrap_or_default())))
    }

    /// Refuses a key that is not the owner's.
    pub(in crate::cli) fn check_owner(&self, key: &TronKey) -> anyhow::Result<()> {
        let (owner, address) = (self.snapshot.owner, key.address());
        ensure!(address == owner, "only the vault's owner {owner} can do this, and --key-file is the key of {address}");
        Ok(())
    }

    /// The pool whose vault that is, which only a home says.
    pub(in crate::cli) fn known_pool(&self) -> anyhow::Result<PoolId> {
        if let Some(id) = self.pool {
            return Ok(id);
        }
        let pools = self.net.ledger()?.pools().iter();
        let known = pools.map(|pool| format!("{} of the pool {}", pool.vault.address, pool.name));
        bail!(
            "{} is the vault of no pool of the home's network, which has: {}. Leave --vault out, or name the home of a node of the \
             pool's network with --home",
            self.vault,
            known.collect::<Vec<_>>().join(", ")
        )
    }

    /// The pool as the home's node has it, which must run.
    pub(in crate::cli) async fn pool_view(&self, context: &Context) -> anyhow::Result<PoolView> {
        self.net.node(context)?.pool(&self.known_pool()?).await
    }

    /// The vault as the ledger has it: as the running node says, or its store, or the genesis. And which of them it was.
    pub(in crate::cli) fn by_ledger(&self) -> Option<(LedgerVaultView, &'static str)> {
        let ledger = self.net.ledger.as_ref()?;
        let pool = ledger.pool_of_id(self.pool.as_ref()?)?;
        Some((pool.vault.clone(), ledger.source))
    }

    /// Vaults that must not be a recipient.
    pub(in crate::cli) fn vaults(&self) -> Vec<PayoutAddress> {
        let known = self.net.ledger.as_ref().map(super::super::place::HomeLedger::vaults).unwrap_or_default();
        known.into_iter().chain([self.vault]).chain(self.snapshot.previous).collect()
    }
}

/// How many of these bits are set.
pub(in crate::cli) const fn count(bits: u16) -> u32 {
    bits.count_ones()
}

/// Signatures that are needed of how many.
pub(in crate::cli) fn quorum(signers: &SignerSet) -> String {
    format!("{} of {}", signers.threshold, signers.members.len())
}
