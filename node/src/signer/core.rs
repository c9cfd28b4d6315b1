//! What the signer answers. No sockets and no clock; files only through the watermark and the rows that were shown.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::{KEPT_CHANGES, PoolState, PoolStatus};
use lucid_consensus::ledger::proof::RowProofError;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::signer::{Refusal, SignError, Signer};
use lucid_types::id::{NetworkId, PayoutAddress, PoolId};
use lucid_types::payout::{CosignRequest, TreasurySignature};
use lucid_types::time::Height;
use lucid_types::validator_sets::{SetChange, ValidatorSets};

use crate::signer::files::{Disk, Files};
use crate::signer::proof::{PoolProof, ProvedPool};
use crate::signer::protocol::{Ask, SignerReply, SignerRequest, SignerStatus};
use crate::signer::record::{Record, signer_account};
use crate::signer::sets::LearnedSets;
use crate::signer::shown::{ShownError, ShownPool, ShownPools, is_signer};
use crate::signer::watermark::{PoolWatermark, WatermarkError, WatermarkFile};

/// A request whose row, if it has one, is proved to be of a final state.
#[derive(Clone, Debug)]
pub enum Checked {
    /// See [`Ask::Status`].
    Status,
    /// See [`Ask::SetChange`].
    SetChange(Box<SetChange>),
    /// See [`Ask::Sign`].
    Sign {
        /// The record.
        request: CosignRequest,
        /// The row of its pool.
        proved: Box<ProvedPool>,
    },
}

/// Checks a request against the network of the signer's own genesis, and the validators that the signer knows.
///
/// # Errors
/// The refusal to answer with.
pub fn check(spec: &ChainSpec, sets: &ValidatorSets, request: SignerRequest) -> Result<Checked, SignerReply> {
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
        Ask::SetChange(change) => Ok(Checked::SetChange(change)),
        Ask::Sign { request, proof } => {
            let proved = Box::new(verify(spec.id(), sets, &request.pool(), *proof).map_err(SignerReply::refused)?);
            Ok(Checked::Sign { request, proved })
        }
    }
}

fn verify(network: &NetworkId, sets: &ValidatorSets, id: &PoolId, proof: PoolProof) -> Result<ProvedPool, String> {
    let height = proof.height();
    proof.verify(network, sets, id).map_err(|error| match error {
        RowProofError::Block(source) => {
            format!("block {height} is not proved by this signer's validators: {source}")
        }
        RowProofError::Path(source) => {
            format!("the state after block {height} does not have this row of pool {id}: {source}")
        }
        error @ (RowProofError::NoSet(_) | RowProofError::Scores(_)) => error.to_string(),
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
            ShownError::Sets(source) => Self::Refused(source.to_string()),
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
    sets: LearnedSets<F>,
    /// Made when a pool is first asked for, for the vault that its certified row names.
    signers: BTreeMap<(PoolId, PayoutAddress), Signer<PoolWatermark<F>>>,
}

impl<F: Files> SignerCore<F> {
    /// A signer with this key and these files.
    pub fn new(
        spec: Arc<ChainSpec>,
        key: TronKey,
        watermark: WatermarkFile<F>,
        shown: ShownPools<F>,
        sets: LearnedSets<F>,
    ) -> Self {
        let watermarks = Arc::new(Mutex::new(watermark));
        Self { spec, key, watermarks, shown, sets, signers: BTreeMap::new() }
    }

    /// The network.
    pub const fn network(&self) -> &Arc<ChainSpec> {
        &self.spec
    }

    /// The validators, as far as they are known.
    pub const fn sets(&self) -> &ValidatorSets {
        self.sets.sets()
    }

    /// Who this signer is.
    pub fn status(&self) -> SignerStatus {
        let address = self.key.address();
        SignerStatus { address, pools: self.shown.pools_of(&address), sets_through: self.sets.through() }
    }

    /// Answers a request.
    pub fn answer(&mut self, request: &Checked) -> SignerReply {
        let (request, proved) = match request {
            Checked::Status => return SignerReply::Status(self.status()),
            Checked::SetChange(change) => {
                let followed = self.sets.follow(SetChange::clone(change));
                return replied(followed.map(|()| SignerReply::Status(self.status())).map_err(Denied::from));
            }
            Checked::Sign { request, proved } => (request, proved),
        };
        replied(self.sign(request, proved).map(|signature| {
            tracing::info!(?request, height = proved.height().get(), "signed");
            SignerReply::Signed(signature)
        }))
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
        Ok(record.sign(&id, self.signer(id, &newest.row))?)
    }

    fn signer(&mut self, id: PoolId, row: &PoolState) -> &mut Signer<PoolWatermark<F>> {
        let Self { spec, key, watermarks, signers, .. } = self;
        signers.entry((id, row.vault.address)).or_insert_with(|| {
            let account = signer_account(spec, id, row);
            Signer::new(key.clone(), account, PoolWatermark::new(Arc::clone(watermarks), id))
        })
    }
}

fn replied(reply: Result<SignerReply, Denied>) -> SignerReply {
    reply.unwrap_or_else(|denied| match denied {
        Denied::Refused(reason) => SignerReply::refused(reason),
        Denied::Failed(error) => {
            tracing::error!(error = &*error, "the signer failed");
            SignerReply::refused("the signer failed; its log says why")
        }
    })
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
