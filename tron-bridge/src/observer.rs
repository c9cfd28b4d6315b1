//! A validator's eyes on the chain: what the providers say, and only what they agree on where a payout ends.
//!
//! An [`Observer`] asks one or more providers, each a [`Client`] of its own, and judges their answers with the pure
//! rules of [`crate::verdict`] and [`crate::view`]. A verdict needs every provider; a treasury view, of which the
//! network takes a median, needs one. Nothing here is stored: a vote, once cast, is kept by the node.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::genesis::Treasury;
use lucid_types::id::{PayoutAddress, PayoutId, PoolId, TxId};
use lucid_types::payout::{PayoutAttempt, SolidBlock, TreasuryView, Verdict};
use lucid_types::time::UnixMillis;

use crate::checked::CheckedBlock;
use crate::client::{BroadcastOutcome, Client, ClientError};
use crate::transfer::{TransferError, transfer};
use crate::verdict::{self, DeathSearch, EvidenceError, Step};
use crate::view;

/// Solidified blocks kept by each provider, so that several searches over the same blocks read them once.
const CACHED_BLOCKS: usize = 1_024;

/// The chain could not be judged now; nothing follows from that.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A provider did not answer.
    #[error("ask a TRON provider")]
    Client(#[source] ClientError),
    /// No provider is configured.
    #[error("no TRON provider is configured")]
    NoProvider,
    /// A provider's answers contradict each other.
    #[error("judge attempt {attempt} of payout {payout}")]
    Evidence {
        /// The payout.
        payout: PayoutId,
        /// The attempt.
        attempt: u32,
        /// The contradiction.
        #[source]
        source: EvidenceError,
    },
    /// Providers end the attempt differently: one lies or is on a fork. Tell a person.
    #[error("the TRON providers disagree on attempt {attempt} of payout {payout}: {verdicts:?}")]
    Disagreement {
        /// The payout.
        payout: PayoutId,
        /// The attempt.
        attempt: u32,
        /// What they say, in the order of the providers.
        verdicts: Vec<Verdict>,
    },
    /// A solidified block that must exist is missing at a provider.
    #[error("the TRON provider has no solidified block {number}")]
    MissingBlock {
        /// The block.
        number: u64,
    },
    /// The attempt has no transaction.
    #[error("derive the transaction of an attempt")]
    Transfer(#[source] TransferError),
}

/// How an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It ended; every provider says so alike.
    Ended(Verdict),
    /// It can still be included: send the same bytes again.
    SendAgain,
    /// Nothing to do but wait: a provider lags, or the grace after the expiration runs.
    Wait,
}

/// The providers of a validator or courier.
#[derive(Debug)]
pub struct Observer {
    providers: Vec<Provider>,
    death_grace: Duration,
}

#[derive(Debug)]
struct Provider {
    client: Client,
    /// Never held across an await; the lowest numbers leave first.
    blocks: Mutex<BTreeMap<u64, CheckedBlock>>,
}

impl Observer {
    /// Observes through these providers. `death_grace` is [`verdict::DEATH_GRACE`] on a public network.
    ///
    /// # Errors
    /// There is no provider.
    pub fn new(clients: Vec<Client>, death_grace: Duration) -> Result<Self, ObserveError> {
        if clients.is_empty() {
            return Err(ObserveError::NoProvider);
        }
        let providers = clients.into_iter().map(|client| Provider { client, blocks: Mutex::default() }).collect();
        Ok(Self { providers, death_grace })
    }

    /// The providers, for broadcasting.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.providers.iter().map(|p| &p.client)
    }

    /// The newest two solidified blocks, newest first, whose number is a multiple of `stride` and which every provider
    /// reports alike. Fewer when the chain is short or providers differ.
    ///
    /// # Errors
    /// A provider did not answer.
    pub async fn solid_blocks(&self, stride: u64) -> Result<Vec<SolidBlock>, ObserveError> {
        let heads = try_join_all(self.providers.iter().map(|p| p.client.solid_head())).await;
        let heads = heads.map_err(ObserveError::Client)?;
        let head = heads.iter().map(|b| b.solid().number).min().ok_or(ObserveError::NoProvider)?;
        let numbers = view::reference_numbers(head, stride);
        let read = async |provider: &Provider| {
            let blocks = try_join_all(numbers.iter().map(|&n| provider.solid_block(n))).await?;
            Ok::<_, ObserveError>(blocks.iter().map(CheckedBlock::solid).collect::<Vec<_>>())
        };
        let answers = try_join_all(self.providers.iter().map(read)).await?;
        Ok(view::common_blocks(&answers))
    }

    /// The state of a pool's treasury, from the first provider that answers.
    ///
    /// # Errors
    /// No provider answered.
    pub async fn treasury_view(
        &self,
        pool: PoolId,
        treasury: &Treasury,
        token: &PayoutAddress,
    ) -> Result<TreasuryView, ObserveError> {
        let mut last = ObserveError::NoProvider;
        for provider in &self.providers {
            match provider.treasury_view(pool, treasury, token).await {
                Ok(view) => return Ok(view),
                Err(error) => last = ObserveError::Client(error),
            }
        }
        Err(last)
    }

    /// Whether any provider has the transaction in a block, solidified or not. For showing and for not sending
    /// in vain; it ends nothing.
    ///
    /// # Errors
    /// No provider answered.
    pub async fn is_included(&self, tx_id: &TxId) -> Result<bool, ObserveError> {
        let answers = join_all(self.providers.iter().map(|p| p.client.is_included(tx_id))).await;
        if answers.iter().any(|a| matches!(a, Ok(true))) {
            return Ok(true);
        }
        let answer = answers.into_iter().reduce(Result::or).ok_or(ObserveError::NoProvider)?;
        answer.map_err(ObserveError::Client)
    }

    /// Sends an encoded, signed transaction through every provider and returns the best news.
    ///
    /// # Errors
    /// No provider answered; some may have taken it all the same.
    pub async fn broadcast(&self, transaction: &[u8]) -> Result<BroadcastOutcome, ObserveError> {
        let answers = join_all(self.providers.iter().map(|p| p.client.broadcast(transaction))).await;
        let best = answers.into_iter().reduce(|a, b| match (a, b) {
            (Ok(a), Ok(b)) => Ok(a.min(b)),
            (a, b) => a.or(b),
        });
        best.ok_or(ObserveError::NoProvider)?.map_err(ObserveError::Client)
    }

    /// Judges an attempt in the solidified view of every provider; `now` is the own clock.
    ///
    /// # Errors
    /// A provider did not answer, or the evidence contradicts itself: nothing follows, ask again later.
    pub async fn judge(&self, attempt: &PayoutAttempt, now: UnixMillis) -> Result<Standing, ObserveError> {
        let tx_id = transfer(attempt).map_err(ObserveError::Transfer)?.tx_id();
        let judged = join_all(self.providers.iter().map(|p| p.judge(attempt, tx_id, now, self.death_grace))).await;
        combine(attempt, judged.into_iter().collect::<Result<_, _>>()?)
    }
}

/// An end needs every provider; the same bytes are sent again while any provider misses them.
fn combine(attempt: &PayoutAttempt, standings: Vec<Standing>) -> Result<Standing, ObserveError> {
    let verdicts: Vec<_> =
        standings.iter().filter_map(|s| if let Standing::Ended(v) = s { Some(*v) } else { None }).collect();
    let first = verdicts.first().copied();
    if verdicts.iter().any(|v| Some(*v) != first) {
        return Err(ObserveError::Disagreement { payout: attempt.payout, attempt: attempt.attempt, verdicts });
    }
    Ok(match first {
        Some(verdict) if verdicts.len() == standings.len() => Standing::Ended(verdict),
        None if standings.contains(&Standing::SendAgain) => Standing::SendAgain,
        _ => Standing::Wait,
    })
}

impl Provider {
    async fn judge(
        &self,
        attempt: &PayoutAttempt,
        tx_id: TxId,
        now: UnixMillis,
        grace: Duration,
    ) -> Result<Standing, ObserveError> {
        // The head is read first: what solidifies between the two questions is then seen as present, never as dead.
        let head = self.client.solid_head().await.map_err(ObserveError::Client)?;
        let evidence = |source| ObserveError::Evidence { payout: attempt.payout, attempt: attempt.attempt, source };
        if let Some(info) = self.client.solid_transaction_info(&tx_id).await.map_err(ObserveError::Client)? {
            let block = self.solid_block(info.block).await?;
            return verdict::present(attempt, tx_id, &info, &block).map(Standing::Ended).map_err(evidence);
        }
        match verdict::absent(attempt, head.solid().time, now, grace) {
            Step::SendAgain => Ok(Standing::SendAgain),
            Step::WaitUntil(_) => Ok(Standing::Wait),
            Step::SearchForDeath => {
                let mut search = DeathSearch::new(attempt, tx_id);
                while !search.feed(&self.solid_block(search.next_number()).await?).map_err(evidence)? {}
                Ok(Standing::Ended(Verdict::Dead))
            }
        }
    }

    async fn treasury_view(
        &self,
        pool: PoolId,
        treasury: &Treasury,
        token: &PayoutAddress,
    ) -> Result<TreasuryView, ClientError> {
        let account = self.client.solid_account(&treasury.address).await?;
        Ok(TreasuryView {
            pool,
            usdt: match &account {
                Some(_) => self.client.token_balance(token, &treasury.address).await?,
                None => MicroUsdt::ZERO,
            },
            trx: account.as_ref().map_or(Sun::ZERO, |a| a.balance),
            energy_price: self.client.chain_parameters().await?.energy_price,
            flags: self.client.token_flags(token, &treasury.address).await?,
            permission_matches: account.is_some_and(|a| view::permission_matches(&a, treasury)),
        })
    }

    async fn solid_block(&self, number: u64) -> Result<CheckedBlock, ObserveError> {
        let lock = || self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = lock().get(&number).cloned();
        if let Some(block) = cached {
            return Ok(block);
        }
        let block = self.client.solid_block(number).await.map_err(ObserveError::Client)?;
        let block = block.ok_or(ObserveError::MissingBlock { number })?;
        let mut blocks = lock();
        blocks.insert(number, block.clone());
        while blocks.len() > CACHED_BLOCKS {
            blocks.pop_first();
        }
        Ok(block)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn an_end_needs_every_provider_alike() {
        let attempt = testing::attempt(1, 1, testing::reference());
        let tx_id = TxId::from_bytes([1; 32]);
        let paid = Standing::Ended(Verdict::Paid { tx_id, block: 5, fee: Sun::ZERO });
        let dead = Standing::Ended(Verdict::Dead);
        let judge = |standings: &[Standing]| combine(&attempt, standings.to_vec());
        assert_eq!(judge(&[paid, paid]).unwrap(), paid);
        assert_eq!(judge(&[paid, Standing::Wait]).unwrap(), Standing::Wait);
        assert_eq!(judge(&[Standing::SendAgain, paid]).unwrap(), Standing::Wait, "a lagging provider");
        assert_eq!(judge(&[Standing::SendAgain, Standing::Wait]).unwrap(), Standing::SendAgain);
        assert_eq!(judge(&[Standing::Wait, Standing::Wait]).unwrap(), Standing::Wait);
        assert!(matches!(judge(&[paid, dead]), Err(ObserveError::Disagreement { .. })));
        let elsewhere = Standing::Ended(Verdict::Paid { tx_id, block: 6, fee: Sun::ZERO });
        assert!(matches!(judge(&[paid, elsewhere]), Err(ObserveError::Disagreement { .. })));
    }
}
