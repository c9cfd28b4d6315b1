//! What a treasury signer signs, and that it never signs two roots for one settlement.
//!
//! A signer signs for three purposes: a payout root, a change of its vault's signers, a change of its limits. Each comes as
//! a record of finalised state, never as bytes. **The caller has proved that the record is final**: it verified the block's
//! certificate, or the state's proof, from a checkpoint that the signer pinned. This module cannot check that. It checks what
//! would still be wrong if somebody had forged finality, or if the signer itself were run twice or restored from a backup:
//!
//! - the record is for this pool's vault, and the key is one of the signers in force;
//! - the watermark: no second root for a settlement, no older settlement, no smaller total, allowance for fees or promise.
//!   It is durable before the signature exists;
//! - the cap: the total is within what the pool has promised (budgets, corrections, losses). In terms of the last signature, of
//!   any era of this vault or its predecessors: the total grew by at most what the promise grew by, and what the last root
//!   had left of its promise (earnings on hold, budget that nobody earned).
//!
//! Signatures are deterministic: asking again for a signed record gives the same bytes.
//!
//! It performs no IO but through [`WatermarkStore`], and reads no clock.

mod refusal;

use lucid_types::codec::Wire;
use lucid_types::id::{Hash, PayoutAddress, PoolId};
use lucid_types::payout::{SettlementRoot, TreasurySignature, VaultLimits};
use lucid_types::vault::SignerSet;
use serde::{Deserialize, Serialize};

use crate::key::TronKey;
use crate::vault::{VaultDomain, limits_digest, signers_digest};

pub use refusal::{Refusal, SignError};

/// For whom a signer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerAccount {
    /// The pool.
    pub pool: PoolId,
    /// Its vault.
    pub domain: VaultDomain,
    /// The vaults that this one replaced. What was signed for them counts for the watermark.
    pub predecessors: Vec<PayoutAddress>,
}

/// All that a signer remembers of a pool. Replaced as a whole, never deleted: without it the signer could sign a second root
/// for a settlement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Counts the records, so that an old copy shows.
    pub sequence: u64,
    /// The last root that was signed.
    pub root: Option<SettlementRoot>,
    /// The last changes of signers and limits that were signed, by their numbers; at most [`Watermark::MAX_CHANGES`].
    pub changes: Vec<SignedChange>,
}

impl Watermark {
    /// A change is numbered when it is recorded, and is of no use once the vault has seen a later one. So few are under way.
    pub const MAX_CHANGES: usize = 8;

    /// The vaults for which something in it was signed.
    pub fn vaults(&self) -> impl Iterator<Item = PayoutAddress> + '_ {
        self.root.iter().map(|root| root.vault).chain(self.changes.iter().map(|change| change.vault))
    }

    /// Whether both hold something that was signed for one vault.
    pub fn shares_a_vault_with(&self, other: &Self) -> bool {
        self.vaults().any(|vault| other.vaults().any(|it| it == vault))
    }
}

impl Wire for Watermark {
    const MAX_BYTES: usize = 1 << 10;
}

/// A change of a vault that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedChange {
    /// The vault.
    pub vault: PayoutAddress,
    /// The change's number among the vault's.
    pub nonce: u32,
    /// The digest that was signed, which stands for the content.
    pub digest: Hash,
}

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The watermark; [`Watermark::default`] if nothing was ever signed.
    Watermark(Watermark),
    /// The watermark is older than its second copy: the store was restored from a backup, or lost.
    RolledBack {
        /// Sequence of the stored watermark, 0 if there is none.
        found: u64,
        /// Sequence of the second copy.
        newest: u64,
    },
}

/// A signer's durable memory of one pool. One process at a time uses it; the implementation locks it. What is signed does not name the
/// pool, only the vault, so it refuses a record that shares a vault with another pool's.
pub trait WatermarkStore {
    /// Why the store could not be read or written.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The watermark. A store with a second copy (another disk, a TPM's counter, a remote log) compares the sequences and
    /// reports if the stored one is older.
    ///
    /// # Errors
    /// The store could not be read. A missing file is an error too if the store knows that there was one.
    fn load(&mut self) -> Result<Stored, Self::Error>;

    /// Replaces the watermark. When this returns, the new one survives a power failure.
    ///
    /// # Errors
    /// It may not be durable; nothing is signed.
    fn record(&mut self, watermark: &Watermark) -> Result<(), Self::Error>;
}

/// A treasury signer of one pool.
#[derive(Debug)]
pub struct Signer<S> {
    key: TronKey,
    account: SignerAccount,
    store: S,
    /// Sequence of the newest record that this process has seen or made.
    seen: u64,
}

impl<S: WatermarkStore> Signer<S> {
    /// A signer. The store is read with every signature, so that a copy that goes back in time shows at once.
    pub const fn new(key: TronKey, account: SignerAccount, store: S) -> Self {
        Self { key, account, store, seen: 0 }
    }

    /// The address of the key.
    pub fn address(&self) -> PayoutAddress {
        self.key.address()
    }

    /// Signs a payout root that the caller has proved final. `signers` are those in force in the same state.
    ///
    /// # Errors
    /// The rules refuse it, or the watermark could not be made durable; no signature exists then.
    pub fn sign_root(
        &mut self,
        root: &SettlementRoot,
        signers: &SignerSet,
    ) -> Result<TreasurySignature, SignError<S::Error>> {
        self.check_member(&root.pool, signers)?;
        self.check_root(root, signers)?;
        let mut watermark = self.load()?;
        if let Some(signed) = &watermark.root {
            self.check_vault(&signed.vault)?;
            check_successor(root, signed)?;
        }
        check_cap(root, watermark.root.as_ref())?;
        if watermark.root != Some(*root) {
            watermark.root = Some(*root);
            self.record(watermark)?;
        }
        self.key.sign_root(&self.account.domain, root).map_err(SignError::Key)
    }

    /// Signs change `nonce` of the vault, which replaces the signers `by` by `next`, as the caller has proved final.
    ///
    /// # Errors
    /// The rules refuse it, or the watermark could not be made durable; no signature exists then.
    pub fn sign_signers(
        &mut self,
        pool: &PoolId,
        nonce: u32,
        by: &SignerSet,
        next: &SignerSet,
    ) -> Result<TreasurySignature, SignError<S::Error>> {
        self.check_member(pool, by)?;
        next.check().map_err(Refusal::BadSet)?;
        if by.era.checked_add(1) != Some(next.era) {
            return Err(Refusal::EraStep { by: by.era, next: next.era }.into());
        }
        let domain = self.account.domain;
        self.mark_change(nonce, signers_digest(&domain, by.era, nonce, next))?;
        self.key.sign_signers(&domain, by.era, nonce, next).map_err(SignError::Key)
    }

    /// Signs change `nonce` of the vault, which gives it the limits `next`, as the caller has proved final. `by` are the
    /// signers in force.
    ///
    /// # Errors
    /// The rules refuse it, or the watermark could not be made durable; no signature exists then.
    pub fn sign_limits(
        &mut self,
        pool: &PoolId,
        nonce: u32,
        by: &SignerSet,
        next: &VaultLimits,
    ) -> Result<TreasurySignature, SignError<S::Error>> {
        self.check_member(pool, by)?;
        let domain = self.account.domain;
        self.mark_change(nonce, limits_digest(&domain, by.era, nonce, next))?;
        self.key.sign_limits(&domain, by.era, nonce, next).map_err(SignError::Key)
    }

    /// One content for each number, whichever kind of change it is.
    fn mark_change(&mut self, nonce: u32, digest: [u8; 32]) -> Result<(), SignError<S::Error>> {
        let vault = self.account.domain.vault;
        let change = SignedChange { vault, nonce, digest: Hash::from_bytes(digest) };
        let mut watermark = self.load()?;
        for signed in &watermark.changes {
            self.check_vault(&signed.vault)?;
        }
        watermark.changes.retain(|signed| signed.vault == vault);
        let changes = &mut watermark.changes;
        if let Some(signed) = changes.iter().find(|signed| signed.nonce == nonce) {
            return if *signed == change { Ok(()) } else { Err(Refusal::AnotherChange(nonce).into()) };
        }
        if changes.len() >= Watermark::MAX_CHANGES {
            let oldest = changes.first().map_or(0, |signed| signed.nonce);
            if nonce < oldest {
                return Err(Refusal::OldChange { asked: nonce, signed: oldest }.into());
            }
            changes.remove(0);
        }
        let at = changes.partition_point(|signed| signed.nonce < nonce);
        changes.insert(at, change);
        self.record(watermark)
    }

    fn load(&mut self) -> Result<Watermark, SignError<S::Error>> {
        let newest = self.seen;
        match self.store.load().map_err(SignError::Store)? {
            Stored::RolledBack { found, newest } => Err(Refusal::RolledBack { found, newest }.into()),
            Stored::Watermark(Watermark { sequence, .. }) if sequence < newest => {
                Err(Refusal::RolledBack { found: sequence, newest }.into())
            }
            Stored::Watermark(watermark) => {
                self.seen = watermark.sequence;
                Ok(watermark)
            }
        }
    }

    fn record(&mut self, mut watermark: Watermark) -> Result<(), SignError<S::Error>> {
        watermark.sequence = watermark.sequence.saturating_add(1);
        self.store.record(&watermark).map_err(SignError::Store)?;
        self.seen = watermark.sequence;
        Ok(())
    }

    fn check_member(&self, pool: &PoolId, signers: &SignerSet) -> Result<(), Refusal> {
        if *pool != self.account.pool {
            return Err(Refusal::Pool { asked: *pool, own: self.account.pool });
        }
        let address = self.key.address();
        match signers.by_key(&address) {
            Some(_) => Ok(()),
            None => Err(Refusal::NotASigner { address, era: signers.era }),
        }
    }

    fn check_root(&self, root: &SettlementRoot, signers: &SignerSet) -> Result<(), Refusal> {
        let own = self.account.domain.vault;
        if root.vault != own {
            return Err(Refusal::Vault { asked: root.vault, own });
        }
        if root.era != signers.era {
            return Err(Refusal::Era { asked: root.era, own: signers.era });
        }
        if *root.root.as_bytes() == [0; 32] {
            return Err(Refusal::ZeroRoot);
        }
        if root.fees > root.total {
            return Err(Refusal::Fees { fees: root.fees, total: root.total });
        }
        Ok(())
    }

    /// What was signed last is of this vault or of one that it replaced.
    fn check_vault(&self, signed: &PayoutAddress) -> Result<(), Refusal> {
        let is_known = *signed == self.account.domain.vault || self.account.predecessors.contains(signed);
        if is_known { Ok(()) } else { Err(Refusal::ForeignWatermark { signed: *signed }) }
    }
}

/// Whether `root` may follow the root that was signed last. Sums never fall, whatever the era; settlements and turns are
/// compared within an era.
fn check_successor(root: &SettlementRoot, signed: &SettlementRoot) -> Result<(), Refusal> {
    if root.vault == signed.vault {
        if root.era < signed.era {
            return Err(Refusal::OldEra { asked: root.era, signed: signed.era });
        }
        if root.era == signed.era {
            check_settlement(root, signed)?;
        }
    }
    for (what, asked, signed) in [
        ("total", root.total, signed.total),
        ("allowance for fees", root.fees, signed.fees),
        ("sum that the pool has put up", root.promised, signed.promised),
    ] {
        if asked < signed {
            return Err(Refusal::Smaller { what, asked, signed });
        }
    }
    Ok(())
}

fn check_settlement(root: &SettlementRoot, signed: &SettlementRoot) -> Result<(), Refusal> {
    let settlement = root.settlement;
    if settlement < signed.settlement {
        return Err(Refusal::OldSettlement { asked: settlement, signed: signed.settlement });
    }
    if settlement == signed.settlement {
        if root.root != signed.root {
            return Err(Refusal::AnotherRoot { settlement, asked: root.root, signed: signed.root });
        }
        if (root.leader, root.until) != (signed.leader, signed.until) {
            return Err(Refusal::AnotherTurn(settlement));
        }
    }
    Ok(())
}

fn check_cap(root: &SettlementRoot, signed: Option<&SettlementRoot>) -> Result<(), Refusal> {
    let SettlementRoot { total, promised, .. } = *root;
    let (last_total, last_promised) = signed.map_or_else(Default::default, |signed| (signed.total, signed.promised));
    let grown = total.saturating_sub(last_total);
    let left_of_last = last_promised.saturating_sub(last_total);
    let explained = promised.saturating_sub(last_promised).saturating_add(left_of_last);
    if grown <= explained { Ok(()) } else { Err(Refusal::Cap { total, promised, grown, explained }) }
}

#[cfg(test)]
mod tests;
