//! Answers `/cosign/1`: a treasury signer signs what its own newest final state says, and nothing else.
//!
//! The state is final because this node itself verified the certificates of all its blocks. What the payment network says plays
//! no part but for one thing: for a vault that follows another, nothing is signed before this node has seen that the former one is
//! closed and is the predecessor that the contract itself names. The key is in this process, or in [`crate::signer`]'s, which is shown
//! a proof and checks it for itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::PoolState;
use lucid_consensus::ledger::state::State;
use lucid_p2p::{Mesh, Protocol};
use lucid_storage::Store;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::signer::{SignError, Signer};
use lucid_types::codec::{decode, encode};
use lucid_types::id::{NodeId, PayoutAddress, PoolId, PublicKey};
use lucid_types::payout::{CosignReply, CosignRequest, TreasurySignature};
use lucid_types::signed::Signed;
use lucid_types::vault::SignerSet;
use tokio::sync::{Mutex, watch};

use crate::chain::head::Head;
use crate::home::Identity;
use crate::payout::vaults::{Succession, Vaults};
use crate::payout::watermark::{StoredWatermark, WatermarkError};
use crate::signer::client::{RemoteError, RemoteSigner};
use crate::signer::record::{Record, signer_account};

/// Who holds the treasury key.
pub enum Treasury {
    /// This process.
    InProcess(OwnSigners),
    /// `lucid signer`, for all pools that it was shown to sign for.
    Remote(RemoteSigner),
}

/// A treasury key in this process. It signs for the vaults whose signer the newest state says it is.
pub struct OwnSigners {
    node: NodeId,
    key: TronKey,
    store: Store,
    /// Made when a vault is first asked for. One signature at a time: the watermark is read, compared and replaced.
    signers: Mutex<BTreeMap<(PoolId, PayoutAddress), Signer<StoredWatermark>>>,
}

impl OwnSigners {
    /// The signers of a node's key. What they have signed is in the store.
    pub fn new(node: NodeId, key: TronKey, store: Store) -> Self {
        Self { node, key, store, signers: Mutex::default() }
    }

    /// Signs what the row of a pool holds; `None` if this key does not sign for it.
    async fn sign(&self, spec: &ChainSpec, pool: PoolId, row: &PoolState, record: &Record) -> Option<Signing> {
        if !signs(row, &self.node, &self.key.address()) {
            return None;
        }
        let vault = row.vault.address;
        let mut signers = self.signers.lock().await;
        let signer = signers.entry((pool, vault)).or_insert_with(|| {
            let account = signer_account(spec, pool, row);
            Signer::new(self.key.clone(), account, StoredWatermark::new(self.store.clone(), pool))
        });
        // The watermark is synced to the disk before the signature exists.
        Some(tokio::task::block_in_place(|| record.sign(&pool, signer)))
    }
}

/// A treasury signer's side of `/cosign/1`.
pub struct Cosigner {
    spec: Arc<ChainSpec>,
    head: watch::Receiver<Head>,
    vaults: Arc<Vaults>,
    treasury: Treasury,
}

/// The pools for whose vaults `node` signs with the key of `address`: as one of the signers in force, or of those whom a change
/// that is under way replaces.
pub fn pools_of_signer(state: &State, node: &NodeId, address: &PayoutAddress) -> Vec<PoolId> {
    state.pools().filter(|(_, pool)| signs(pool, node, address)).map(|(id, _)| id).collect()
}

fn signs(pool: &PoolState, node: &NodeId, address: &PayoutAddress) -> bool {
    let is_in = |set: &SignerSet| set.by_key(address).is_some_and(|signer| signer.node == *node);
    let replaced = pool.changes.values().map(|change| &change.by);
    replaced.chain([&pool.vault.signers]).any(is_in)
}

/// Asks a treasury signer, which may be this node's own, for a signature, under the key that the state says it has. `None` if there is no answer.
pub async fn ask(
    mesh: &Mesh,
    spec: &ChainSpec,
    me: &Identity,
    own: Option<&Cosigner>,
    request: CosignRequest,
    (signer, state): (NodeId, &State),
) -> Option<CosignReply> {
    if signer == me.account {
        return Some(own?.sign(&me.account, request).await);
    }
    let key = state.key_of(&signer)?;
    let request = encode(&*me.key.sign_cosign(spec.id(), request));
    let answer = mesh.request(key, Protocol::Cosign, request).await;
    let answer =
        answer.inspect_err(|error| tracing::debug!(%signer, %error, "a treasury signer does not answer")).ok()?;
    decode(&answer).ok()
}

type Signing = Result<TreasurySignature, SignError<WatermarkError>>;

impl Cosigner {
    /// A cosigner with this key. `vaults` are as the reader shows them.
    pub const fn new(
        spec: Arc<ChainSpec>,
        head: watch::Receiver<Head>,
        vaults: Arc<Vaults>,
        treasury: Treasury,
    ) -> Self {
        Self { spec, head, vaults, treasury }
    }

    /// Answers one request; `None` for one that is malformed or not the asker's own.
    pub async fn answer(&self, peer: PublicKey, bytes: &[u8]) -> Option<CosignReply> {
        let request: Signed<CosignRequest> = decode(bytes).ok()?;
        let request = request.verify(self.spec.id()).ok().filter(|request| request.signer == peer)?;
        let asker = self.head.borrow().state.account_of(&peer);
        let given_up = || CosignReply::Refused(format!("{peer} is no account's node key any more, or not yet"));
        Some(match asker {
            Some(asker) => self.sign(&asker, request.record).await,
            None => given_up(),
        })
    }

    /// Signs what finalised state says, for a node that has to do with the pool.
    pub async fn sign(&self, asker: &NodeId, request: CosignRequest) -> CosignReply {
        let refused = |why: &str| CosignReply::Refused(why.to_owned());
        let pool = request.pool();
        let (state, block) = {
            let head = self.head.borrow();
            (head.state.clone(), head.block.clone())
        };
        let Some(row) = state.pool(&pool) else { return refused("there is no such pool") };
        if !self.may_ask(&state, asker, &pool, row) {
            return refused("only the pool's members, owner and signers, and validators may ask");
        }
        // One that this state does not hold: one of the two nodes is behind, and asking again after the next block helps.
        let Some(record) = Record::asked(row, &request) else { return CosignReply::NotFinal };
        if let Some(reply) = self.awaits_succession(&pool, row) {
            return reply;
        }
        match &self.treasury {
            Treasury::InProcess(own) => match own.sign(&self.spec, pool, row, &record).await {
                Some(signed) => reply(asker, &request, signed),
                None => refused("this signer does not sign for that pool"),
            },
            Treasury::Remote(remote) => {
                remote_reply(asker, &request, remote.sign(request, &state, block.as_deref()).await)
            }
        }
    }

    /// Why nothing can be signed for a vault that follows another; `None` if it takes over as it should, or is the pool's first.
    fn awaits_succession(&self, pool: &PoolId, row: &PoolState) -> Option<CosignReply> {
        if row.former_vaults.is_empty() {
            return None;
        }
        match self.vaults.get(pool).filter(|read| read.address == row.vault.address).map(|read| read.succession.clone())
        {
            Some(Succession::Sound) => None,
            Some(Succession::Broken(why)) => Some(CosignReply::Refused(why)),
            None => Some(CosignReply::Refused(format!(
                "this signer's node has not read the vault {}, which follows another: it must see on TRON that the former one is \
                 closed. If it stays so, set tron.providers in its configuration",
                row.vault.address
            ))),
        }
    }

    fn may_ask(&self, state: &State, node: &NodeId, pool: &PoolId, row: &PoolState) -> bool {
        let is_owner = row.owner == *node;
        let is_signer = row.vault.signers.members.iter().any(|signer| signer.node == *node);
        let is_validator = state.next_validators().of(node).is_some();
        is_owner || is_signer || is_validator || state.pushes_for(node) == Some(*pool)
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
