//! The policy of a treasury signer: which attempts it signs, and that it never signs two transactions for one attempt.
//!
//! The signer derives the bytes itself from the attempt its own node finalised, checks them against what it knows of its
//! treasury and against its caps, makes `(payout, attempt) -> transaction id` durable, and only then signs. The caller's
//! part, which this module cannot check, is that the attempt comes out of a block the own node finalised.
//!
//! Times are arguments; the log's storage is the node's (see [`SignLog`]).

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{PayoutAddress, PayoutId, PoolId, TxId};
use lucid_types::payout::{PayoutAttempt, TreasurySignature, Verdict};
use lucid_types::time::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::key::{KeyError, TreasuryKey};
use crate::transfer::{TransferError, transfer};

/// Window of the day caps.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long entries count in memory: longer than the 24 h in which the network includes a transaction, so that an
/// attempt whose entry is forgotten has expired and is refused for that.
const MEMORY: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// Longest time from reference to expiration that the network allows.
const MAX_LIFETIME: Duration = DAY;

/// What the signer knows of its treasury, and how much it signs for at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignerPolicy {
    /// The account that pays.
    pub treasury: PayoutAddress,
    /// The USDT contract.
    pub token: PayoutAddress,
    /// The permission under which the key signs.
    pub permission_id: u32,
    /// Most money.
    pub caps: Caps,
}

/// Upper bounds on what is signed. Sums count each payout once, whatever its attempts, and each attempt's fee limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// USDT for one settlement of one pool.
    pub settlement: MicroUsdt,
    /// USDT in any 24 h.
    pub day: MicroUsdt,
    /// USDT to one recipient in any 24 h.
    pub recipient: MicroUsdt,
    /// Fee limit of one transaction.
    pub fee_limit: Sun,
    /// Sum of fee limits in any 24 h.
    pub day_fees: Sun,
}

/// One signed attempt, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignEntry {
    /// The payout.
    pub payout: PayoutId,
    /// The attempt.
    pub attempt: u32,
    /// The only transaction that is ever signed for it.
    pub tx_id: TxId,
    /// When it was first signed.
    pub time: UnixMillis,
    /// The pool that pays.
    pub pool: PoolId,
    /// The settlement.
    pub settlement: u64,
    /// The recipient.
    pub to: PayoutAddress,
    /// How much.
    pub amount: MicroUsdt,
    /// The most its energy may cost.
    pub fee_limit: Sun,
}

/// The signer's durable memory. The node implements it on its storage.
pub trait SignLog {
    /// Why the log could not be read or written.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The entry of an attempt.
    ///
    /// # Errors
    /// The log could not be read.
    fn find(&self, payout: &PayoutId, attempt: u32) -> Result<Option<SignEntry>, Self::Error>;

    /// All entries of `since` or later, in any order.
    ///
    /// # Errors
    /// The log could not be read.
    fn since(&self, since: UnixMillis) -> Result<Vec<SignEntry>, Self::Error>;

    /// Adds an entry. When this returns, the entry survives a power failure.
    ///
    /// # Errors
    /// The entry may not be durable; nothing is signed.
    fn record(&mut self, entry: &SignEntry) -> Result<(), Self::Error>;
}

/// Why the signer does not sign. The text is for the leader and its operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another treasury, token or permission than the signer's.
    #[error("the attempt's {0} is not the one this signer signs for")]
    NotMine(&'static str),
    /// Zero, the token or the treasury.
    #[error("the recipient {0} is no payout address")]
    Recipient(PayoutAddress),
    /// Past by the signer's clock.
    #[error("the attempt expired at {0} ms")]
    Expired(UnixMillis),
    /// The expiration is before the reference or more than a day after it.
    #[error("the attempt's expiration {0} ms does not fit its reference block")]
    Lifetime(UnixMillis),
    /// This signer has not seen that every earlier attempt failed or died.
    #[error("this signer has not verified that attempt {0} failed or can never be included")]
    EarlierAttempt(u32),
    /// Another transaction was signed for the attempt: two finalised blocks differ, or the state is damaged.
    #[error("this signer has already signed {0} for the attempt")]
    AnotherTransaction(TxId),
    /// A cap would be passed.
    #[error("the {cap} cap is {limit}, and {total} would be signed for")]
    Cap {
        /// Which cap.
        cap: &'static str,
        /// The cap, in micro-USDT or sun.
        limit: u64,
        /// The sum with this attempt.
        total: u64,
    },
    /// The attempt has no transaction.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

/// No signature was made.
#[derive(Debug, thiserror::Error)]
pub enum SignError<E: std::error::Error + 'static> {
    /// The policy forbids it.
    #[error("refused to sign: {0}")]
    Refused(Refusal),
    /// The log failed: signing stops until it works again.
    #[error("use the log of signed attempts")]
    Log(#[source] E),
    /// The key failed.
    #[error("sign with the treasury key")]
    Key(#[source] KeyError),
}

/// A treasury signer.
#[derive(Debug)]
pub struct Signer<L> {
    key: TreasuryKey,
    policy: SignerPolicy,
    log: L,
    recent: BTreeMap<(PayoutId, u32), SignEntry>,
}

impl<L: SignLog> Signer<L> {
    /// Opens the signer; `now` is the own clock.
    ///
    /// # Errors
    /// The log could not be read.
    pub fn open(key: TreasuryKey, policy: SignerPolicy, log: L, now: UnixMillis) -> Result<Self, L::Error> {
        let recent = log.since(before(now, MEMORY))?;
        let recent = recent.into_iter().map(|entry| ((entry.payout, entry.attempt), entry)).collect();
        Ok(Self { key, policy, log, recent })
    }

    /// The address of the key.
    pub fn address(&self) -> PayoutAddress {
        self.key.address()
    }

    /// Signs the transaction of an attempt that the own node finalised. `earlier` are the own verdicts on the payout's
    /// attempts 1, 2, ... before it, each verified by this node, not taken from others.
    ///
    /// Asking again for a signed attempt gives the same signature.
    ///
    /// # Errors
    /// The policy refuses, or the entry could not be made durable; no signature exists then.
    pub fn sign(
        &mut self,
        attempt: &PayoutAttempt,
        earlier: &[Verdict],
        now: UnixMillis,
    ) -> Result<TreasurySignature, SignError<L::Error>> {
        let transfer = transfer(attempt).map_err(|e| SignError::Refused(e.into()))?;
        let tx_id = transfer.tx_id();
        self.check(attempt, earlier, now).map_err(SignError::Refused)?;
        let known = self.known(attempt).map_err(SignError::Log)?;
        match known {
            Some(other) if other != tx_id => return Err(SignError::Refused(Refusal::AnotherTransaction(other))),
            Some(_) => {}
            None => {
                self.recent.retain(|_, entry| entry.time >= before(now, MEMORY));
                self.check_caps(attempt, now).map_err(SignError::Refused)?;
                let entry = entry(attempt, tx_id, now);
                self.log.record(&entry).map_err(SignError::Log)?;
                self.recent.insert((attempt.payout, attempt.attempt), entry);
            }
        }
        self.key.sign_transfer(&transfer).map_err(SignError::Key)
    }

    fn known(&self, attempt: &PayoutAttempt) -> Result<Option<TxId>, L::Error> {
        if let Some(entry) = self.recent.get(&(attempt.payout, attempt.attempt)) {
            return Ok(Some(entry.tx_id));
        }
        Ok(self.log.find(&attempt.payout, attempt.attempt)?.map(|entry| entry.tx_id))
    }

    fn check(&self, attempt: &PayoutAttempt, earlier: &[Verdict], now: UnixMillis) -> Result<(), Refusal> {
        let SignerPolicy { treasury, token, permission_id, caps } = self.policy;
        if attempt.treasury != treasury {
            return Err(Refusal::NotMine("treasury"));
        }
        if attempt.token != token {
            return Err(Refusal::NotMine("token"));
        }
        if attempt.permission_id != permission_id {
            return Err(Refusal::NotMine("permission"));
        }
        if attempt.to == treasury || attempt.to == token || attempt.to.hash20() == [0; 20] {
            return Err(Refusal::Recipient(attempt.to));
        }
        let expiration = attempt.expiration;
        if expiration <= attempt.reference.time || expiration > attempt.reference.time.after(MAX_LIFETIME) {
            return Err(Refusal::Lifetime(expiration));
        }
        if now >= expiration {
            return Err(Refusal::Expired(expiration));
        }
        for number in 1..attempt.attempt {
            let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
            if !matches!(earlier.get(index), Some(Verdict::Failed { .. } | Verdict::Dead)) {
                return Err(Refusal::EarlierAttempt(number));
            }
        }
        cap("fee limit", caps.fee_limit.get(), [attempt.fee_limit.get()])
    }

    fn check_caps(&self, attempt: &PayoutAttempt, now: UnixMillis) -> Result<(), Refusal> {
        let caps = self.policy.caps;
        let since = before(now, DAY);
        let today = |entry: &&SignEntry| entry.time >= since;
        let others = || self.payouts().filter(|entry| entry.payout != attempt.payout);
        let amount = attempt.amount.get();
        let with_this = |amounts: Vec<u64>| amounts.into_iter().chain([amount]);

        let settlement = others().filter(|e| e.pool == attempt.pool && e.settlement == attempt.settlement);
        cap("settlement", caps.settlement.get(), with_this(settlement.map(|e| e.amount.get()).collect()))?;
        let day = others().filter(today).map(|e| e.amount.get()).collect();
        cap("day", caps.day.get(), with_this(day))?;
        let recipient = others().filter(today).filter(|e| e.to == attempt.to).map(|e| e.amount.get()).collect();
        cap("recipient", caps.recipient.get(), with_this(recipient))?;
        let fees = self.recent.values().filter(today).map(|e| e.fee_limit.get());
        cap("day fee", caps.day_fees.get(), fees.chain([attempt.fee_limit.get()]))
    }

    /// The last attempt of each payout.
    fn payouts(&self) -> impl Iterator<Item = &SignEntry> {
        let mut entries = self.recent.values().peekable();
        std::iter::from_fn(move || {
            loop {
                let entry = entries.next()?;
                if entries.peek().is_none_or(|next| next.payout != entry.payout) {
                    return Some(entry);
                }
            }
        })
    }
}

fn entry(attempt: &PayoutAttempt, tx_id: TxId, time: UnixMillis) -> SignEntry {
    SignEntry {
        payout: attempt.payout,
        attempt: attempt.attempt,
        tx_id,
        time,
        pool: attempt.pool,
        settlement: attempt.settlement,
        to: attempt.to,
        amount: attempt.amount,
        fee_limit: attempt.fee_limit,
    }
}

fn cap(cap: &'static str, limit: u64, parts: impl IntoIterator<Item = u64>) -> Result<(), Refusal> {
    let total = parts.into_iter().fold(0, u64::saturating_add);
    if total <= limit { Ok(()) } else { Err(Refusal::Cap { cap, limit, total }) }
}

fn before(now: UnixMillis, duration: Duration) -> UnixMillis {
    UnixMillis::new(now.get().saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
