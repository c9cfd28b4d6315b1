//! What the signer answers. No sockets and no clock; files only through the watermark and the sets.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};

use lucid_consensus::chain_spec::ChainSpec;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::signer::{SignError, Signer, SignerAccount};
use lucid_tron_bridge::vault::VaultDomain;
use lucid_types::block::Block;
use lucid_types::genesis::{GenesisPool, SignerSet};
use lucid_types::id::PoolId;
use lucid_types::payout::{CosignRequest, PoolChange, TreasurySignature};
use lucid_types::signed::Verified;
use lucid_types::sync::CertifiedBlock;
use lucid_types::time::Height;

use crate::signer::files::{Disk, Files};
use crate::signer::protocol::{Ask, SignerReply, SignerRequest, SignerStatus};
use crate::signer::sets::{SetsError, SignerSets};
use crate::signer::watermark::{PoolWatermark, WatermarkError, WatermarkFile};

/// A request whose block, if it has one, is proved to be final.
#[derive(Clone, Debug)]
pub enum Checked {
    /// See [`Ask::Status`].
    Status,
    /// See [`Ask::Note`].
    Note(Verified<CertifiedBlock>),
    /// See [`Ask::Sign`].
    Sign {
        /// The record.
        request: CosignRequest,
        /// The block.
        decided: Verified<CertifiedBlock>,
    },
}

/// Checks a request against the network of the signer's own genesis.
///
/// # Errors
/// The refusal to answer with.
pub fn check(spec: &ChainSpec, request: SignerRequest) -> Result<Checked, SignerReply> {
    if request.network != *spec.id() {
        let reason = format!(
            "this signer serves the network {}, the node is of {}: give both the same genesis",
            spec.id(),
            request.network
        );
        return Err(SignerReply::refused(reason));
    }
    let verify = |decided: CertifiedBlock| {
        let height = decided.block.header.height;
        decided.verify(spec.id(), spec.validators(height)).map_err(|error| {
            SignerReply::refused(format!("block {height} is not proved by this signer's validators: {error}"))
        })
    };
    Ok(match request.ask {
        Ask::Status => Checked::Status,
        Ask::Note(decided) => Checked::Note(verify(*decided)?),
        Ask::Sign { request, decided } => Checked::Sign { request, decided: verify(*decided)? },
    })
}

/// Why nothing was signed.
enum Denied {
    /// A change of signers was not shown yet.
    MissingEra { pool: PoolId, era: u32 },
    /// The rules forbid it.
    Refused(String),
    /// A disk or the key failed.
    Failed(Box<dyn Error>),
}

impl From<SetsError> for Denied {
    fn from(error: SetsError) -> Self {
        match error {
            SetsError::AnotherSet { .. } => Self::Refused(error.to_string()),
            error => Self::Failed(Box::new(error)),
        }
    }
}

impl From<SignError<WatermarkError>> for Denied {
    fn from(error: SignError<WatermarkError>) -> Self {
        match error {
            SignError::Refused(refusal) => Self::Refused(refusal.to_string()),
            error => Self::Failed(Box::new(error)),
        }
    }
}

fn refused(reason: impl Into<String>) -> Denied {
    Denied::Refused(reason.into())
}

/// The signer of one key for all pools of its network.
#[derive(Debug)]
pub struct SignerCore<F = Disk> {
    spec: Arc<ChainSpec>,
    key: TronKey,
    watermarks: Arc<Mutex<WatermarkFile<F>>>,
    sets: SignerSets<F>,
    /// Made when a pool is first asked for.
    signers: BTreeMap<PoolId, Signer<PoolWatermark<F>>>,
    /// The newest root of each pool that was shown since the start: block and settlement. An older one is not signed any more.
    newest: BTreeMap<PoolId, (Height, u64)>,
}

impl<F: Files> SignerCore<F> {
    /// A signer with this key and these files.
    pub fn new(spec: Arc<ChainSpec>, key: TronKey, watermark: WatermarkFile<F>, sets: SignerSets<F>) -> Self {
        let watermarks = Arc::new(Mutex::new(watermark));
        Self { spec, key, watermarks, sets, signers: BTreeMap::new(), newest: BTreeMap::new() }
    }

    /// The network.
    pub const fn network(&self) -> &Arc<ChainSpec> {
        &self.spec
    }

    /// Who this signer is.
    pub fn status(&self) -> SignerStatus {
        let address = self.key.address();
        SignerStatus { address, pools: self.sets.pools_of(&address) }
    }

    /// Answers a request.
    pub fn answer(&mut self, request: &Checked) -> SignerReply {
        let answered = match request {
            Checked::Status => return SignerReply::Status(self.status()),
            Checked::Note(decided) => self.note(&decided.block).map(|()| SignerReply::Noted),
            Checked::Sign { request, decided } => self.sign(request, &decided.block).map(|signature| {
                tracing::info!(?request, height = decided.block.header.height.get(), "signed");
                SignerReply::Signed(signature)
            }),
        };
        match answered {
            Ok(reply) => reply,
            Err(Denied::MissingEra { pool, era }) => SignerReply::MissingEra { pool, era },
            Err(Denied::Refused(reason)) => SignerReply::refused(reason),
            Err(Denied::Failed(error)) => {
                tracing::error!(error = &*error, "cannot sign");
                SignerReply::refused("the signer failed; its log says why")
            }
        }
    }

    /// Remembers what the verified block says of signers and roots.
    fn note(&mut self, block: &Block) -> Result<(), Denied> {
        self.sets.note(block)?;
        for root in &block.header.payout_roots {
            let newest = self.newest.entry(root.pool).or_default();
            *newest = (*newest).max((block.header.height, root.settlement));
        }
        Ok(())
    }

    /// Signs a record of the verified block.
    fn sign(&mut self, request: &CosignRequest, block: &Block) -> Result<TreasurySignature, Denied> {
        self.note(block)?;
        let id = request.pool();
        let spec = Arc::clone(&self.spec);
        let pool = spec.pool(&id).ok_or_else(|| refused("this signer's genesis has no such pool"))?;
        let height = block.header.height;
        match *request {
            CosignRequest::Root { settlement, .. } => {
                let mut roots = block.header.payout_roots.iter();
                let root = roots.find(|root| root.pool == id && root.settlement == settlement);
                let root = root.ok_or_else(|| {
                    refused(format!("block {height} issues no payout root of settlement {settlement} of this pool"))
                })?;
                self.check_newest(&id, height)?;
                let set = self.in_force(&id, root.era)?.clone();
                Ok(self.signer(id, pool).sign_root(root, &set)?)
            }
            CosignRequest::Signers { nonce, .. } => {
                let changed = changes(block, id).find_map(|change| match change {
                    PoolChange::Signers { nonce: n, next } if *n == nonce => Some(next),
                    _ => None,
                });
                let next = changed.ok_or_else(|| no_change(height, nonce))?;
                self.in_force(&id, next.era)?;
                let by = self.of_era(&id, next.era.saturating_sub(1))?;
                Ok(self.signer(id, pool).sign_signers(&id, nonce, &by, next)?)
            }
            CosignRequest::Limits { nonce, .. } => {
                let changed = changes(block, id).find_map(|change| match change {
                    PoolChange::Limits { era, nonce: n, next } if *n == nonce => Some((*era, next)),
                    _ => None,
                });
                let (era, next) = changed.ok_or_else(|| no_change(height, nonce))?;
                self.in_force(&id, era)?;
                let by = self.of_era(&id, era)?;
                Ok(self.signer(id, pool).sign_limits(&id, nonce, &by, next)?)
            }
        }
    }

    /// A later block, final as well, has issued a newer root.
    fn check_newest(&self, pool: &PoolId, height: Height) -> Result<(), Denied> {
        match self.newest.get(pool) {
            Some((newest, settlement)) if *newest > height => Err(refused(format!(
                "block {newest} has issued a newer root, of settlement {settlement}: ask for that"
            ))),
            _ => Ok(()),
        }
    }

    /// The signers in force, which are of `era` or a later one.
    fn in_force(&self, pool: &PoolId, era: u32) -> Result<&SignerSet, Denied> {
        let set = self.sets.in_force(pool).ok_or_else(|| refused("this signer's genesis has no such pool"))?;
        if set.era < era {
            return Err(Denied::MissingEra { pool: *pool, era: set.era.saturating_add(1) });
        }
        Ok(set)
    }

    fn of_era(&self, pool: &PoolId, era: u32) -> Result<SignerSet, Denied> {
        let set = self.sets.of_era(pool, era).cloned();
        set.ok_or_else(|| {
            refused(format!("the signers of era {era} were replaced long ago: ask for the newest change"))
        })
    }

    fn signer(&mut self, id: PoolId, pool: &GenesisPool) -> &mut Signer<PoolWatermark<F>> {
        let Self { spec, key, watermarks, signers, .. } = self;
        signers.entry(id).or_insert_with(|| {
            let domain = VaultDomain::new(&spec.genesis().tron.genesis_block, pool.vault.address);
            // A vault is fixed by its network, and each network has its signer: nothing was signed for a predecessor here.
            let account = SignerAccount { pool: id, domain, predecessors: Vec::new() };
            Signer::new(key.clone(), account, PoolWatermark::new(Arc::clone(watermarks), id))
        })
    }
}

fn changes(block: &Block, pool: PoolId) -> impl Iterator<Item = &PoolChange> {
    block.commands.iter().map(|command| &command.record).filter(move |record| record.pool == pool).map(|r| &r.change)
}

fn no_change(height: Height, nonce: u32) -> Denied {
    refused(format!("block {height} holds no such change {nonce} of this pool's vault"))
}

#[cfg(test)]
mod tests;
