//! What `snapshot` returns: all of the vault that changes, what was fixed when it was made, and what accounts have had.

use std::collections::BTreeMap;

use lucid_tron_types::abi::{Words, to_u64, word_of};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::VaultLimits;
use lucid_types::payout_tree::{AccountId, PayoutRoot};
use serde::{Deserialize, Serialize};

use super::optional_address;
use crate::address;

/// Words before the list of what accounts have had, its offset included.
const STATIC_WORDS: u64 = 31;

/// The state of a vault at one block. Times are Unix seconds; `u64::MAX` is for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultSnapshot {
    /// The newest root's settlement; 0 if there is none.
    pub settlement: u64,
    /// All that vault and predecessors may ever have paid out under the root, fees included.
    pub total: MicroUsdt,
    /// The part of it that may ever have been paid as push fees.
    pub fees: MicroUsdt,
    /// Which signers are in force.
    pub era: u32,
    /// How often signers or limits were changed.
    pub nonce: u32,
    /// How many signers must sign.
    pub threshold: u8,
    /// The newest root; `None` before the first of an era.
    pub root: Option<PayoutRoot>,
    /// Who alone earns push fees.
    pub leader: Option<PayoutAddress>,
    /// Until when.
    pub until: u64,
    /// The limits in force.
    pub limits: VaultLimits,
    /// When the owner's pause begins; 0 if there is none.
    pub owner_pause_from: u64,
    /// When the signers' pause lapses.
    pub signer_pause_until: u64,
    /// When the vault closes; 0 if it does not.
    pub close_from: u64,
    /// One bit for each signer, by its place in the list: has used its pause of this era.
    pub pauses_used: u16,
    /// As above: supports the pause in force.
    pub pausing: u16,
    /// As above: wants all pauses ended.
    pub lifting: u16,
    /// The withdrawal that the owner announced.
    pub withdrawal: Option<Withdrawal>,
    /// All that accounts have had, predecessors included.
    pub paid_out: MicroUsdt,
    /// All push fees, predecessors included.
    pub fees_paid: MicroUsdt,
    /// What left the vault in the period `window`, fees included.
    pub spent: MicroUsdt,
    /// Number of the last period in which anything left: time / `period`.
    pub window: u64,
    /// The vault's balance.
    pub funds: MicroUsdt,
    /// The token it pays in.
    pub token: PayoutAddress,
    /// Its owner.
    pub owner: PayoutAddress,
    /// The vault that it replaced.
    pub previous: Option<PayoutAddress>,
    /// Seconds in which at most the cap leaves.
    pub period: u32,
    /// Seconds of notice that the owner's acts need.
    pub delay: u32,
    /// All that each account asked for has had, predecessors included.
    pub paid: BTreeMap<AccountId, MicroUsdt>,
}

/// A withdrawal that a vault's owner announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// Where to.
    pub to: PayoutAddress,
    /// How much.
    pub amount: MicroUsdt,
    /// From when on, for 7 days.
    pub from: u64,
}

/// What a contract returned is not a vault's snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Another number of bytes than the accounts asked for make.
    #[error("{found} bytes were returned for a snapshot of {n_accounts} accounts, which has {expected}")]
    Length {
        /// How many accounts were asked for.
        n_accounts: usize,
        /// Bytes that there should be.
        expected: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// A field has an impossible value.
    #[error("the snapshot's {0} is impossible")]
    Field(&'static str),
}

impl VaultSnapshot {
    /// Reads what [`super::snapshot`] of these accounts returned.
    ///
    /// # Errors
    /// The data is not exactly what a vault returns for them.
    pub fn decode(data: &[u8], ids: &[AccountId]) -> Result<Self, SnapshotError> {
        // The offset of the struct, its fields, and the list's length stand before the list.
        let n_words = ids.len().saturating_add(33);
        let expected = n_words.saturating_mul(32);
        if data.len() != expected {
            return Err(SnapshotError::Length { n_accounts: ids.len(), expected, found: data.len() });
        }
        let mut fields = Fields(Words::new(data));
        fields.constant("offset", 32)?;
        let (settlement, total, fees) = (fields.number("settlement")?, fields.amount("total")?, fields.amount("fees")?);
        let (era, nonce, threshold) = (fields.number("era")?, fields.number("nonce")?, fields.number("threshold")?);
        let root = fields.word("root")?;
        let (leader, until) = (fields.optional_address("leader")?, fields.number("end of turn")?);
        let limits = VaultLimits { cap: fields.amount("cap")?, push_fee: fields.amount("push fee")? };
        let (owner_pause_from, signer_pause_until) =
            (fields.number("owner's pause")?, fields.number("signers' pause")?);
        let close_from = fields.number("closing time")?;
        let [pauses_used, pausing, lifting] =
            [fields.number("pauses used")?, fields.number("pausing signers")?, fields.number("lifting signers")?];
        let (to, amount) = (fields.optional_address("withdrawal's recipient")?, fields.amount("withdrawal")?);
        let withdrawal = match fields.number("withdrawal's time")? {
            0_u64 => None,
            // Announced to the zero address, which the token will refuse.
            from => Some(Withdrawal { to: to.unwrap_or_else(|| PayoutAddress::from_hash20([0; 20])), amount, from }),
        };
        let (paid_out, fees_paid) = (fields.amount("paid out")?, fields.amount("fees paid")?);
        let (spent, window) = (fields.amount("spent")?, fields.number("window")?);
        // More than 64 bits of the token exceed any supply of it, but the token says what it likes.
        let funds = MicroUsdt::new(to_u64(&fields.word("funds")?).unwrap_or(u64::MAX));
        let (token, owner) = (fields.address("token")?, fields.address("owner")?);
        let previous = fields.optional_address("predecessor")?;
        let (period, delay) = (fields.number("period")?, fields.number("delay")?);
        fields.constant("offset of the list", STATIC_WORDS.saturating_mul(32))?;
        fields.constant("length of the list", u64::try_from(ids.len()).unwrap_or(u64::MAX))?;
        let paid =
            ids.iter().map(|id| Ok((*id, fields.amount("payments to an account")?))).collect::<Result<_, _>>()?;
        Ok(Self {
            settlement,
            total,
            fees,
            era,
            nonce,
            threshold,
            root: (root != [0; 32]).then(|| PayoutRoot::from_bytes(root)),
            leader,
            until,
            limits,
            owner_pause_from,
            signer_pause_until,
            close_from,
            pauses_used,
            pausing,
            lifting,
            withdrawal,
            paid_out,
            fees_paid,
            spent,
            window,
            funds,
            token,
            owner,
            previous,
            period,
            delay,
            paid,
        })
    }

    /// Whether both are of one state of the vault, whichever accounts they tell of. What accounts have had only grows, and the
    /// vault's sums grow with it.
    pub fn is_same_state(&self, other: &Self) -> bool {
        self.of(&[]) == other.of(&[])
    }

    /// The same with what these accounts have had.
    pub fn of(&self, ids: &[AccountId]) -> Self {
        let paid = ids.iter().filter_map(|id| Some((*id, self.paid_of(id)?))).collect();
        Self { paid, ..*self }
    }

    /// The whole snapshot at the time of `newer`, which tells of some accounts only. `None` if other accounts may have been paid
    /// meanwhile: unless what these have had grew by exactly what left the vault, everything has to be read again. The caller
    /// does not have to know what happened in between.
    pub fn advanced(&self, mut newer: Self) -> Option<Self> {
        let growth = |(id, paid): (&AccountId, &MicroUsdt)| paid.checked_sub(self.paid.get(id).copied()?);
        let known = newer.paid.iter().filter(|(id, _)| self.paid.contains_key(id));
        let grown = known.map(growth).try_fold(MicroUsdt::ZERO, |sum, growth| sum.checked_add(growth?))?;
        if newer.paid_out.checked_sub(self.paid_out)? != grown {
            return None;
        }
        for (id, paid) in &self.paid {
            newer.paid.entry(*id).or_insert(*paid);
        }
        Some(newer)
    }

    /// Whether payments are stopped at this time.
    pub const fn is_paused(&self, now_s: u64) -> bool {
        now_s < self.signer_pause_until || (self.owner_pause_from != 0 && now_s >= self.owner_pause_from)
    }

    /// Whether payments are stopped for good.
    pub const fn is_closed(&self, now_s: u64) -> bool {
        self.close_from != 0 && now_s >= self.close_from
    }

    /// What may still be paid out under the newest root.
    pub const fn left_of_total(&self) -> MicroUsdt {
        self.total.saturating_sub(self.paid_out).saturating_sub(self.fees_paid)
    }

    /// What may still be paid out in the period of this time.
    pub fn left_of_cap(&self, now_s: u64) -> MicroUsdt {
        let is_same_period = now_s.checked_div(self.period.into()) == Some(self.window);
        if is_same_period { self.limits.cap.saturating_sub(self.spent) } else { self.limits.cap }
    }

    /// What this account has had, if it was asked for.
    pub fn paid_of(&self, id: &AccountId) -> Option<MicroUsdt> {
        self.paid.get(id).copied()
    }
}

struct Fields<'a>(Words<'a>);

impl Fields<'_> {
    fn word(&mut self, field: &'static str) -> Result<[u8; 32], SnapshotError> {
        self.0.word().ok_or(SnapshotError::Field(field))
    }

    fn number<T: TryFrom<u64>>(&mut self, field: &'static str) -> Result<T, SnapshotError> {
        self.0.number().ok_or(SnapshotError::Field(field))
    }

    fn amount(&mut self, field: &'static str) -> Result<MicroUsdt, SnapshotError> {
        self.number(field).map(MicroUsdt::new)
    }

    fn address(&mut self, field: &'static str) -> Result<PayoutAddress, SnapshotError> {
        address::from_word(&self.word(field)?).ok_or(SnapshotError::Field(field))
    }

    fn optional_address(&mut self, field: &'static str) -> Result<Option<PayoutAddress>, SnapshotError> {
        optional_address(&self.word(field)?).ok_or(SnapshotError::Field(field))
    }

    fn constant(&mut self, field: &'static str, value: u64) -> Result<(), SnapshotError> {
        if self.word(field)? == word_of(value) { Ok(()) } else { Err(SnapshotError::Field(field)) }
    }
}
