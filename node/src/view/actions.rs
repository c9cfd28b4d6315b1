//! What the API asks of others: signatures of treasury signers.

use std::time::Duration;

use futures::future::join_all;
use lucid_consensus::ledger::pool::{KEPT_CHANGES, PoolState, VaultChange, VaultTerms};
use lucid_tron_bridge::signature::recover;
use lucid_tron_bridge::vault::{VaultDomain, limits_digest, root_digest, signers_digest};
use lucid_types::id::PoolId;
use lucid_types::payout::{CosignReply, CosignRequest, TreasurySignature};
use lucid_types::vault::{SignerSet, TreasurySigner};

use crate::api::ActionError;
use crate::api::model::{MissingSignature, SignatureList, SignatureRequest, SignatureView};
use crate::payout::cosign;
use crate::view::NodeParts;

/// Signers that do not answer in this time are missing; the API's own limit is longer.
const PATIENCE: Duration = Duration::from_secs(8);

/// What is signed, and by whom.
struct Signing {
    request: CosignRequest,
    digest: [u8; 32],
    by: SignerSet,
}

impl NodeParts {
    pub(super) async fn ask_signers(
        &self,
        pool: PoolId,
        request: SignatureRequest,
    ) -> Result<SignatureList, ActionError> {
        let unknown = || ActionError::Unknown(format!("there is no pool {pool}"));
        let state = self.head.borrow().state.clone();
        let signing = self.signing(pool, state.pool(&pool).ok_or_else(unknown)?, request)?;
        let answers = signing.by.members.iter().map(|signer| self.ask_signer(&signing, signer));
        let mut list = SignatureList { needed: signing.by.threshold, signatures: Vec::new(), missing: Vec::new() };
        for (signer, answer) in signing.by.members.iter().zip(join_all(answers).await) {
            let (node, key_address) = (signer.node, signer.key_address);
            match answer {
                Ok(signature) => list.signatures.push(SignatureView { node, key_address, signature }),
                Err(problem) => list.missing.push(MissingSignature { node, key_address, problem }),
            }
        }
        Ok(list)
    }

    /// What this node's own state says about what is to be signed.
    fn signing(&self, pool: PoolId, state: &PoolState, request: SignatureRequest) -> Result<Signing, ActionError> {
        let domain = VaultDomain::new(&self.spec.genesis().tron.genesis_block, state.vault.address);
        match request {
            SignatureRequest::Root { settlement } => {
                let newest = state.newest.filter(|root| root.settlement == settlement);
                let root = newest.ok_or_else(|| match &state.newest {
                    Some(root) => ActionError::Refused(format!(
                        "signers sign the pool's newest root only, which is settlement {}'s",
                        root.settlement
                    )),
                    None => ActionError::Refused("the pool has no payout root yet".to_owned()),
                })?;
                Ok(Signing {
                    request: CosignRequest::Root { pool, settlement },
                    digest: root_digest(&domain, &root),
                    by: state.vault.signers.clone(),
                })
            }
            SignatureRequest::Signers { nonce } => match state.changes.get(&nonce) {
                Some(VaultChange { by, next: VaultTerms::Signers(next) }) => {
                    let digest = signers_digest(&domain, by.era, nonce, next);
                    Ok(Signing { request: CosignRequest::Signers { pool, nonce }, digest, by: by.clone() })
                }
                _ => Err(no_change(nonce, "signers")),
            },
            SignatureRequest::Limits { nonce } => match state.changes.get(&nonce) {
                Some(VaultChange { by, next: VaultTerms::Limits(next) }) => {
                    let digest = limits_digest(&domain, by.era, nonce, next);
                    Ok(Signing { request: CosignRequest::Limits { pool, nonce }, digest, by: by.clone() })
                }
                _ => Err(no_change(nonce, "limits")),
            },
        }
    }

    /// A signer's checked signature, or why there is none.
    async fn ask_signer(&self, signing: &Signing, signer: &TreasurySigner) -> Result<TreasurySignature, String> {
        let own = self.cosigner.as_deref();
        let state = self.head.borrow().state.clone();
        let asked = cosign::ask(&self.mesh, &self.spec, &self.me, own, signing.request, (signer.node, &state));
        let reply = tokio::time::timeout(PATIENCE, asked).await.ok().flatten();
        match reply.ok_or("it does not answer; is its node running and connected?")? {
            CosignReply::Signed(signature) if recover(&signature, &signing.digest) == Ok(signer.key_address) => {
                Ok(signature)
            }
            CosignReply::Signed(_) => Err("its signature is not of its key over this node's state".to_owned()),
            CosignReply::NotFinal => Err("its node does not have that in its state yet, or not any more".to_owned()),
            CosignReply::Refused(why) => Err(format!("it refuses: {why}")),
        }
    }
}

fn no_change(nonce: u32, what: &str) -> ActionError {
    ActionError::Refused(format!(
        "none of the pool's newest {KEPT_CHANGES} changes has the nonce {nonce} and is one of {what}"
    ))
}
