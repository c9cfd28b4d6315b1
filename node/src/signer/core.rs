//! What the signer answers. No sockets and no clock; files only through the watermark and the rows that were shown.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::{KEPT_CHANGES, PoolStatus};
use lucid_consensus::ledger::proof::RowProofError;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::signer::{Refusal, SignError, Signer, SignerAccount};
use lucid_tron_bridge::vault::VaultDomain;
use lucid_types::id::{PayoutAddress, PoolId};
use lucid_types::payout::{CosignRequest, TreasurySignature};
use lucid_types::time::Height;

use crate::signer::files::{Disk, Files};
use crate::signer::proof::{PoolProof, ProvedPool};
use crate::signer::protocol::{Ask, SignerReply, SignerRequest, SignerStatus};
use crate::signer::record::Record;
use crate::signer::shown::{ShownError, ShownPool, ShownPools, is_signer};
use crate::signer::watermark::{PoolWatermark, WatermarkError, WatermarkFile};

/// A request whose row, if it has one, is proved to be of a final state.
#[derive(Clone, Debug)]
pub enum Checked {
    /// See [`Ask::Status`].
    Status,
    /// See [`Ask::Sign`].
    Sign {
        /// The record.
        request: CosignRequest,
        /// The row of its pool.
        proved: Box<ProvedPool>,
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
    match request.ask {
        Ask::Status => Ok(Checked::Status),
        Ask::Sign { request, proof } => {
            let proved = Box::new(verify(spec, &request.pool(), *proof).map_err(SignerReply::refused)?);
            Ok(Checked::Sign { request, proved })
        }
    }
}

fn verify(spec: &ChainSpec, id: &PoolId, proof: PoolProof) -> Result<ProvedPool, String> {
    let height = proof.height();
    proof.verify(spec, id).map_err(|error| match error {
        RowProofError::Block(source) => {
            format!("block {height} is not proved by this signer's validators: {source}")
        }
        RowProofError::Path(source) => {
            format!("the state after block {height} does not have this row of pool {id}: {source}")
        }
        error @ RowProofError::Scores(_) => error.to_string(),
    })
}

/// Why nothing was signed.
enum Denied {
    /// The rules forbid it.
    Refused(String),
    /// A disk or the key failed.
    Failed(Box<dyn Error>),
}

impl From<ShownError> for Denied {
    fn from(error: ShownError) -> Self {
        match error {
            ShownError::TwoHistories { .. } | ShownError::TooMany => Self::Refused(error.to_string()),
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

/// The signer of one key for all pools of its network.
#[derive(Debug)]
pub struct SignerCore<F = Disk> {
    spec: Arc<ChainSpec>,
    key: TronKey,
    watermarks: Arc<Mutex<WatermarkFile<F>>>,
    shown: ShownPools<F>,
    /// Made when a pool is first asked for, for the vault that its certified row names.
    signers: BTreeMap<(PoolId, PayoutAddress), Signer<PoolWatermark<F>>>,
}

impl<F: Files> SignerCore<F> {
    /// A signer with this key and these files.
    pub fn new(spec: Arc<ChainSpec>, key: TronKey, watermark: WatermarkFile<F>, shown: ShownPools<F>) -> Self {
        let watermarks = Arc::new(Mutex::new(watermark));
        Self { spec, key, watermarks, shown, signers: BTreeMap::new() }
    }

    /// The network.
    pub const fn network(&self) -> &Arc<ChainSpec> {
        &self.spec
    }

    /// Who this signer is.
    pub fn status(&self) -> SignerStatus {
        let address = self.key.address();
        SignerStatus { address, pools: self.shown.pools_of(&address) }
    }

    /// Answers a request.
    pub fn answer(&mut self, request: &Checked) -> SignerReply {
        let (request, proved) = match request {
            Checked::Status => return SignerReply::Status(self.status()),
            Checked::Sign { request, proved } => (request, proved),
        };
        match self.sign(request, proved) {
            Ok(signature) => {
                tracing::info!(?request, height = proved.height().get(), "signed");
                SignerReply::Signed(signature)
            }
            Err(Denied::Refused(reason)) => SignerReply::refused(reason),
            Err(Denied::Failed(error)) => {
                tracing::error!(error = &*error, "cannot sign");
                SignerReply::refused("the signer failed; its log says why")
            }
        }
    }

    /// Signs a record of the proved row, if the newest row that was shown holds it as well.
    fn sign(&mut self, request: &CosignRequest, proved: &ProvedPool) -> Result<TreasurySignature, Denied> {
        let id = proved.id();
        let address = self.key.address();
        // Of pools with which this key has nothing to do nothing is kept: anybody can have one.
        if self.shown.get(&id).is_none() && !is_signer(proved.row(), &address) {
            let era = proved.row().vault.signers.era;
            return Err(Denied::Refused(Refusal::NotASigner { address, era }.to_string()));
        }
        // Nothing is signed for it, and one that is not active in time gives its name to another.
        if matches!(proved.row().status, PoolStatus::Forming { .. }) {
            return Err(Denied::Refused(
                "this pool is forming: there is nothing to sign before it is active".to_owned(),
            ));
        }
        let newest = self.shown.note(proved)?;
        let record = Record::asked(proved.row(), request);
        let record = record.ok_or_else(|| Denied::Refused(not_there(request, proved)))?;
        if Record::asked(&newest.row, request).as_ref() != Some(&record) {
            return Err(Denied::Refused(is_over(request, &newest)));
        }
        Ok(record.sign(&id, self.signer(id, newest.row.vault.address))?)
    }

    fn signer(&mut self, id: PoolId, vault: PayoutAddress) -> &mut Signer<PoolWatermark<F>> {
        let Self { spec, key, watermarks, signers, .. } = self;
        signers.entry((id, vault)).or_insert_with(|| {
            let domain = VaultDomain::new(&spec.genesis().tron.genesis_block, vault);
            // No row names a vault that this one has replaced: once something was signed for one vault of a pool, nothing is for another.
            let account = SignerAccount { pool: id, domain, predecessors: Vec::new() };
            Signer::new(key.clone(), account, PoolWatermark::new(Arc::clone(watermarks), id))
        })
    }
}

/// The proved row does not hold what is asked for.
fn not_there(request: &CosignRequest, proved: &ProvedPool) -> String {
    let height = proved.height();
    match (request, &proved.row().newest) {
        (CosignRequest::Root { settlement, .. }, Some(root)) => format!(
            "the newest payout root of this pool after block {height} is of settlement {}, not {settlement}",
            root.settlement
        ),
        (CosignRequest::Root { .. }, None) => format!("this pool has no payout root after block {height}"),
        (CosignRequest::Signers { nonce, .. }, _) => no_change(height, "signers", *nonce),
        (CosignRequest::Limits { nonce, .. }, _) => no_change(height, "limits", *nonce),
    }
}

fn no_change(height: Height, what: &str, nonce: u32) -> String {
    format!("no change {nonce} of {what} is among the newest {KEPT_CHANGES} of this pool's vault after block {height}")
}

/// A newer row that was shown before does not hold it any more.
fn is_over(request: &CosignRequest, newest: &ShownPool) -> String {
    let ShownPool { height, row } = newest;
    match (request, &row.newest) {
        (CosignRequest::Root { .. }, Some(root)) => format!(
            "block {height} was shown before, after which the pool has a newer root, of settlement {} and era {}: ask for that",
            root.settlement, root.era
        ),
        _ => format!(
            "block {height} was shown before, after which the pool's row does not hold this any more: ask for the newest"
        ),
    }
}

#[cfg(test)]
mod tests;
