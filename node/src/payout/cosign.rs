//! Answers leaders on `/cosign/1`: a treasury signer signs what its own final block fixed, and nothing else.

use std::sync::Arc;

use lucid_consensus::network::Network;
use lucid_storage::Store;
use lucid_tron_bridge::observer::{Observer, Standing};
use lucid_tron_bridge::signer::{Caps, SignError, Signer, SignerPolicy};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::codec::decode;
use lucid_types::genesis::GenesisPool;
use lucid_types::id::{NodeId, PayoutAddress, PoolId};
use lucid_types::payout::{CosignReply, CosignRequest, PayoutAttempt, Verdict};
use lucid_types::policy::Policy;
use lucid_types::signed::Signed;
use tokio::sync::{Mutex, watch};

use crate::chain::head::Head;
use crate::clock::Clock;
use crate::history;
use crate::payout::sign_log::StoredSignLog;

/// A treasury signer's side of `/cosign/1`.
pub struct Cosigner {
    network: Arc<Network>,
    pool: PoolId,
    store: Store,
    head: watch::Receiver<Head>,
    clock: Arc<dyn Clock>,
    observer: Arc<Observer>,
    /// One signature at a time: caps are sums over all.
    signer: Mutex<Signer<StoredSignLog>>,
}

/// The pool for whose treasury the key `address` of `node` signs.
pub fn pool_of_key<'a>(
    network: &'a Network,
    node: &NodeId,
    address: &PayoutAddress,
) -> Option<(&'a PoolId, &'a GenesisPool)> {
    let signs = |pool: &GenesisPool| pool.treasury.signers.iter().any(|s| s.node == *node && s.key_address == *address);
    network.pools().find(|(_, pool)| signs(pool))
}

/// What a signer signs for at most: twice a settlement's budget for one settlement, since balances below the
/// threshold are carried into later ones, and the budgets of the settlements that fit a day, plus one, a day.
pub fn policy_of_pool(network: &Network, pool: &GenesisPool) -> SignerPolicy {
    let policy: &Policy = network.policy();
    let settlement_ms = policy.epoch_ms.saturating_mul(policy.settle_every).max(1);
    let settlements_a_day = (24 * 60 * 60 * 1_000 / settlement_ms).saturating_add(1);
    let times = |amount: u64, n: u64| amount.saturating_mul(n);
    let budget = pool.budget.get();
    let payouts = u64::try_from(pool.members.len()).unwrap_or(u64::MAX).saturating_add(1);
    let attempts = u64::from(policy.max_failures).saturating_add(1);
    let day_fees = times(times(policy.fee_limit_cap.get(), payouts), times(settlements_a_day, attempts));
    SignerPolicy {
        treasury: pool.treasury.address,
        token: network.genesis().tron.usdt,
        permission_id: pool.treasury.permission_id,
        caps: Caps {
            settlement: MicroUsdt::new(times(budget, 2)),
            day: MicroUsdt::new(times(budget, settlements_a_day.saturating_add(1))),
            recipient: MicroUsdt::new(times(budget, settlements_a_day.saturating_add(1))),
            fee_limit: policy.fee_limit_cap,
            day_fees: Sun::new(day_fees),
        },
    }
}

impl Cosigner {
    /// A cosigner for one pool's treasury.
    pub fn new(
        network: Arc<Network>,
        pool: PoolId,
        store: Store,
        head: watch::Receiver<Head>,
        clock: Arc<dyn Clock>,
        observer: Arc<Observer>,
        signer: Signer<StoredSignLog>,
    ) -> Self {
        Self { network, pool, store, head, clock, observer, signer: Mutex::new(signer) }
    }

    /// Answers one request; `None` for one that is malformed or not the asker's own.
    pub async fn answer(&self, peer: NodeId, bytes: &[u8]) -> Option<CosignReply> {
        let request: Signed<CosignRequest> = decode(bytes).ok()?;
        let request = request.verify(self.network.id()).ok().filter(|request| request.signer == peer)?;
        Some(self.sign(&peer, request.record).await)
    }

    /// Signs an attempt for a node that may carry it.
    pub async fn sign(&self, asker: &NodeId, request: CosignRequest) -> CosignReply {
        let refused = |why: &str| CosignReply::Refused(why.to_owned());
        let Some(attempt) = self.final_attempt(&request) else { return CosignReply::NotFinal };
        if attempt.pool != self.pool {
            return refused("this signer signs for another pool");
        }
        if !self.may_carry(asker, &attempt) {
            return refused("only the settlement's leader and its successors may ask");
        }
        let earlier = match self.earlier(&attempt).await {
            Ok(earlier) => earlier,
            Err(why) => return CosignReply::Refused(why),
        };
        let mut signer = self.signer.lock().await;
        let signed = tokio::task::block_in_place(|| signer.sign(&attempt, &earlier, self.clock.now()));
        match signed {
            Ok(signature) => {
                tracing::info!(payout = %attempt.payout.short(), attempt = attempt.attempt, "signed a payout");
                CosignReply::Signed(signature)
            }
            Err(SignError::Refused(refusal)) => {
                tracing::warn!(payout = %attempt.payout.short(), %refusal, "refused to sign a payout");
                CosignReply::Refused(refusal.to_string())
            }
            Err(error) => {
                tracing::error!(%error, "the treasury signer failed");
                refused("the signer failed; its log says why")
            }
        }
    }

    /// The attempt as this node's own newest state has it.
    fn final_attempt(&self, request: &CosignRequest) -> Option<PayoutAttempt> {
        let head = self.head.borrow();
        let open = head.state.payouts.get(&request.payout)?.open.as_ref()?;
        (open.attempt.attempt == request.attempt).then(|| open.attempt.clone())
    }

    fn may_carry(&self, node: &NodeId, attempt: &PayoutAttempt) -> bool {
        let head = self.head.borrow();
        let pool = head.state.pools.get(&attempt.pool);
        let election = pool.and_then(|pool| pool.elections.get(&attempt.settlement));
        election.is_some_and(|election| election.order.contains(node))
    }

    /// This node's own verdicts on the attempts before this one, judged now from the chain.
    async fn earlier(&self, attempt: &PayoutAttempt) -> Result<Vec<Verdict>, String> {
        if attempt.attempt == 1 {
            return Ok(Vec::new());
        }
        let record = tokio::task::block_in_place(|| history::payout(&self.store, &attempt.payout));
        let record = record.map_err(|e| format!("the signer's history cannot be read: {e}"))?;
        let attempts = record.map(|record| record.attempts).unwrap_or_default();
        let mut verdicts = Vec::new();
        for past in attempts.iter().filter(|past| past.attempt.attempt < attempt.attempt) {
            match self.observer.judge(&past.attempt, self.clock.now()).await {
                Ok(Standing::Ended(verdict)) => verdicts.push(verdict),
                Ok(_) => return Err(format!("attempt {} has not ended by this signer's view", past.attempt.attempt)),
                Err(error) => return Err(format!("the signer cannot judge attempt {}: {error}", past.attempt.attempt)),
            }
        }
        Ok(verdicts)
    }
}
