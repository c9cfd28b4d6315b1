//! What a request to a treasury signer names in a pool's row: the newest payout root, or one of the vault's newest changes.

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::{PoolState, VaultChange, VaultTerms};
use lucid_tron_bridge::signer::{SignError, Signer, SignerAccount, WatermarkStore};
use lucid_tron_bridge::vault::VaultDomain;
use lucid_types::id::PoolId;
use lucid_types::payout::{CosignRequest, SettlementRoot, TreasurySignature};
use lucid_types::vault::SignerSet;

/// For whom a key signs what a pool's row says: for the vault in force. What it signed for those before counts.
pub fn signer_account(spec: &ChainSpec, pool: PoolId, row: &PoolState) -> SignerAccount {
    let domain = VaultDomain::new(&spec.genesis().tron.genesis_block, row.vault.address);
    SignerAccount { pool, domain, predecessors: row.former_vaults.clone() }
}

/// A record of final state that a treasury signer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The pool's newest root.
    Root {
        /// The root.
        root: SettlementRoot,
        /// The signers in force.
        signers: SignerSet,
    },
    /// A change of the pool's vault.
    Change {
        /// Its number among the vault's changes.
        nonce: u32,
        /// Who must sign it, and what comes into force.
        change: VaultChange,
    },
}

impl Record {
    /// The record that is asked for; `None` if the row does not hold it, or does not hold it any more.
    pub fn asked(row: &PoolState, request: &CosignRequest) -> Option<Self> {
        match *request {
            CosignRequest::Root { settlement, .. } => {
                let root = row.newest.filter(|root| root.settlement == settlement)?;
                Some(Self::Root { root, signers: row.vault.signers.clone() })
            }
            CosignRequest::Signers { nonce, .. } | CosignRequest::Limits { nonce, .. } => {
                let change = row.changes.get(&nonce).filter(|change| change.next.is_asked_by(request))?;
                Some(Self::Change { nonce, change: change.clone() })
            }
        }
    }

    /// Signs it as the signer's rules allow.
    ///
    /// # Errors
    /// The rules refuse it, or the watermark could not be made durable; no signature exists then.
    pub fn sign<S: WatermarkStore>(
        &self,
        pool: &PoolId,
        signer: &mut Signer<S>,
    ) -> Result<TreasurySignature, SignError<S::Error>> {
        match self {
            Self::Root { root, signers } => signer.sign_root(root, signers),
            Self::Change { nonce, change: VaultChange { by, next } } => match next {
                VaultTerms::Signers(next) => signer.sign_signers(pool, *nonce, by, next),
                VaultTerms::Limits(next) => signer.sign_limits(pool, *nonce, by, next),
            },
        }
    }
}
