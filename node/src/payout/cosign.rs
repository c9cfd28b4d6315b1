//! Answers `/cosign/1`: a treasury signer signs what its own newest final state says, and nothing else.
//!
//! The state is final because this node itself verified the certificates of all its blocks. What the payment network says plays
//! no part. The key is in this process, or in [`crate::signer`]'s, which looks at the blocks for itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::{PoolState, State, VaultChange, VaultTerms};
use lucid_p2p::{Mesh, Protocol};
use lucid_tron_bridge::signer::{SignError, Signer};
use lucid_types::codec::{decode, encode};
use lucid_types::genesis::SignerSet;
use lucid_types::id::{NodeId, PayoutAddress, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::payout::{CosignReply, CosignRequest, SettlementRoot, TreasurySignature};
use lucid_types::signed::Signed;
use tokio::sync::{Mutex, watch};

use crate::chain::head::Head;
use crate::payout::watermark::{StoredWatermark, WatermarkError};
use crate::signer::client::{RemoteError, RemoteSigner};

/// One pool's signer. One signature at a time: the watermark is read, compared and replaced.
pub type PoolSigner = Mutex<Signer<StoredWatermark>>;

/// Who holds the treasury key.
pub enum Treasury {
    /// This process, for these pools.
    InProcess(BTreeMap<PoolId, PoolSigner>),
    /// `lucid signer`, for all pools that it knows its key to sign for.
    Remote(RemoteSigner),
}

/// A treasury signer's side of `/cosign/1`.
pub struct Cosigner {
    spec: Arc<ChainSpec>,
    head: watch::Receiver<Head>,
    treasury: Treasury,
}

/// The pools for whose vaults `node` signs with the key of `address`: as one of the signers in force, or of those whom a change
/// that is under way replaces.
pub fn pools_of_signer(state: &State, node: &NodeId, address: &PayoutAddress) -> Vec<PoolId> {
    let is_in = |set: &SignerSet| set.by_key(address).is_some_and(|signer| signer.node == *node);
    let signs = |pool: &PoolState| {
        let replaced = pool.changes.values().map(|change| &change.by);
        replaced.chain([&pool.vault.signers]).any(is_in)
    };
    state.pools.iter().filter(|(_, pool)| signs(pool)).map(|(id, _)| *id).collect()
}

/// Asks a treasury signer, which may be this node's own, for a signature. `None` if there is no answer.
pub async fn ask(
    mesh: &Mesh,
    spec: &ChainSpec,
    key: &NodeKey,
    own: Option<&Cosigner>,
    request: CosignRequest,
    signer: NodeId,
) -> Option<CosignReply> {
    let me = key.node_id();
    if signer == me {
        return Some(own?.sign(&me, request).await);
    }
    let request = encode(&*key.sign_cosign(spec.id(), request));
    let answer = mesh.request(signer, Protocol::Cosign, request).await;
    let answer =
        answer.inspect_err(|error| tracing::debug!(%signer, %error, "a treasury signer does not answer")).ok()?;
    decode(&answer).ok()
}

type Signing = Result<TreasurySignature, SignError<WatermarkError>>;

impl Cosigner {
    /// A cosigner with this key.
    pub const fn new(spec: Arc<ChainSpec>, head: watch::Receiver<Head>, treasury: Treasury) -> Self {
        Self { spec, head, treasury }
    }

    /// Answers one request; `None` for one that is malformed or not the asker's own.
    pub async fn answer(&self, peer: NodeId, bytes: &[u8]) -> Option<CosignReply> {
        let request: Signed<CosignRequest> = decode(bytes).ok()?;
        let request = request.verify(self.spec.id()).ok().filter(|request| request.signer == peer)?;
        Some(self.sign(&peer, request.record).await)
    }

    /// Signs what finalised state says, for a node that has to do with the pool.
    pub async fn sign(&self, asker: &NodeId, request: CosignRequest) -> CosignReply {
        let refused = |why: &str| CosignReply::Refused(why.to_owned());
        let pool = request.pool();
        let state = Arc::clone(&self.head.borrow().state);
        let Some(accounts) = state.pools.get(&pool) else { return refused("there is no such pool") };
        if !self.may_ask(&state, asker, &pool, accounts) {
            return refused("only the pool's members, owner and signers, and validators may ask");
        }
        let Some(record) = Record::newest(accounts, &request) else { return CosignReply::NotFinal };
        match &self.treasury {
            Treasury::InProcess(signers) => {
                let Some(signer) = signers.get(&pool) else {
                    return refused("this signer does not sign for that pool");
                };
                let mut signer = signer.lock().await;
                // The watermark is synced to the disk before the signature exists.
                let signed = tokio::task::block_in_place(|| match record {
                    Record::Root(root) => signer.sign_root(root, &accounts.vault.signers),
                    Record::Change { nonce, change: VaultChange { by, next } } => match next {
                        VaultTerms::Signers(next) => signer.sign_signers(&pool, nonce, by, next),
                        VaultTerms::Limits(next) => signer.sign_limits(&pool, nonce, by, next),
                    },
                });
                reply(asker, &request, signed)
            }
            Treasury::Remote(remote) => remote_reply(asker, &request, remote.sign(request).await),
        }
    }

    fn may_ask(&self, state: &State, node: &NodeId, pool: &PoolId, accounts: &PoolState) -> bool {
        let is_owner = self.spec.pool(pool).is_some_and(|pool| pool.owner == *node);
        let is_signer = accounts.vault.signers.members.iter().any(|signer| signer.node == *node);
        let is_validator = self.spec.validators(state.height.next()).get(node).is_some();
        is_owner || is_signer || is_validator || self.spec.pool_of(node) == Some(pool)
    }
}

/// What final state says of a request.
enum Record<'a> {
    Root(&'a SettlementRoot),
    Change { nonce: u32, change: &'a VaultChange },
}

impl<'a> Record<'a> {
    /// The record that is asked for. `None` if it is not among the newest of this node's state: one of the two is behind, and
    /// asking again after the next block helps.
    fn newest(accounts: &'a PoolState, request: &CosignRequest) -> Option<Self> {
        match *request {
            CosignRequest::Root { settlement, .. } => {
                accounts.newest.as_ref().filter(|root| root.settlement == settlement).map(Self::Root)
            }
            CosignRequest::Signers { nonce, .. } | CosignRequest::Limits { nonce, .. } => {
                let change = accounts.changes.get(&nonce).filter(|change| change.next.is_asked_by(request));
                change.map(|change| Self::Change { nonce, change })
            }
        }
    }
}

fn reply(asker: &NodeId, request: &CosignRequest, signed: Signing) -> CosignReply {
    match signed {
        Ok(signature) => {
            tracing::info!(?request, "signed for the pool's vault");
            CosignReply::Signed(signature)
        }
        Err(SignError::Refused(refusal)) => {
            tracing::warn!(%asker, ?request, %refusal, "refused to sign");
            CosignReply::Refused(refusal.to_string())
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the treasury signer failed");
            CosignReply::Refused("the signer failed; its log says why".to_owned())
        }
    }
}

fn remote_reply(asker: &NodeId, request: &CosignRequest, replied: Result<CosignReply, RemoteError>) -> CosignReply {
    match replied {
        Ok(reply) => {
            match &reply {
                CosignReply::Signed(_) => tracing::info!(?request, "signed for the pool's vault"),
                CosignReply::Refused(refusal) => tracing::warn!(%asker, ?request, refusal, "refused to sign"),
                CosignReply::NotFinal => {}
            }
            reply
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the treasury signer gave no answer");
            CosignReply::Refused("its signer gave no answer; the log of its node says why".to_owned())
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests;
