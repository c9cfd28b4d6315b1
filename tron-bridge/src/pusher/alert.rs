//! What an operator must know, and what to do about it.

use std::fmt;

use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{NodeId, PayoutAddress, TxId};
use lucid_types::payout_tree::{AccountId, PayoutRoot};
use lucid_types::time::UnixMillis;

use crate::trc20::TokenFlags;

/// Signers and changes of a vault, as the ledger or the contract counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignerState {
    /// Sets of signers so far.
    pub era: u32,
    /// Signatures needed.
    pub threshold: u8,
    /// Changes of signers or limits so far.
    pub nonce: u32,
}

impl SignerState {
    /// Whether the same signatures count. A change of limits makes no difference to them.
    pub(super) const fn has_signers_of(&self, other: &Self) -> bool {
        self.era == other.era && self.threshold == other.threshold
    }
}

/// Something is wrong. Its text says what and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// The vault has other signers than the ledger, and no root can be posted, or it lacks a change of limits.
    SignersDiffer {
        /// The ledger's.
        ledger: SignerState,
        /// The vault's.
        vault: SignerState,
    },
    /// The vault refused signatures of all signers that the ledger names.
    SignaturesRefused {
        /// The root's settlement.
        settlement: u64,
    },
    /// A signer refuses, or sends what is no signature of its own.
    Signer {
        /// Who.
        signer: NodeId,
        /// What is the matter.
        problem: String,
    },
    /// The vault holds a root that the ledger never issued, or with a greater total.
    ForeignRoot {
        /// Its settlement.
        settlement: u64,
        /// The root.
        root: PayoutRoot,
        /// What may be paid out under it.
        total: MicroUsdt,
        /// What the ledger would allow; `None` if it does not know the root.
        allowed: Option<MicroUsdt>,
    },
    /// The token takes a fee, is paused or replaced, or the vault is frozen.
    Token(TokenFlags),
    /// The vault is paused.
    Paused {
        /// When the signers' pause ends in Unix seconds; `None` if it is the owner's or for ever.
        until: Option<u64>,
    },
    /// The vault is closed.
    Closed,
    /// More is due than the posted root's total leaves.
    OverTotal {
        /// What is due.
        due: MicroUsdt,
        /// What is left.
        left: MicroUsdt,
    },
    /// More is due than the cap leaves in this period.
    OverCap {
        /// What is due.
        due: MicroUsdt,
        /// What is left.
        left: MicroUsdt,
        /// The cap.
        cap: MicroUsdt,
    },
    /// More is due than the vault holds.
    Uncovered {
        /// What is due.
        due: MicroUsdt,
        /// What it holds.
        funds: MicroUsdt,
    },
    /// The gas account cannot pay for the next transaction.
    GasShort {
        /// The account.
        account: PayoutAddress,
        /// What it has.
        has: Sun,
        /// What it needs.
        needs: Sun,
    },
    /// The gas account has spent what it may in a day.
    DayBudget {
        /// Spent and reserved in the last 24 hours.
        spent: Sun,
        /// The limit.
        max: Sun,
        /// What the next transaction reserves.
        needs: Sun,
    },
    /// Transactions or estimates fail again and again.
    Failing {
        /// How many in a row.
        in_a_row: u32,
        /// Nothing is sent before.
        until: UnixMillis,
        /// What the last one said.
        problem: String,
    },
    /// The network refuses a transaction.
    Rejected {
        /// The transaction.
        tx_id: TxId,
        /// The network's code and words.
        problem: String,
    },
    /// An account is left out for a while.
    SetAside {
        /// The account.
        account: AccountId,
        /// Its recipient.
        to: PayoutAddress,
        /// Why.
        problem: String,
    },
    /// A transaction would cost more than it may.
    TooDear {
        /// The fee limit that it needs.
        fee: Sun,
        /// The greatest that is allowed.
        max: Sun,
    },
}

/// Which alert: two of one key are the same one with other figures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    SignersDiffer,
    SignaturesRefused,
    Signer(NodeId),
    ForeignRoot,
    Token,
    Paused,
    Closed,
    OverTotal,
    OverCap,
    Uncovered,
    GasShort,
    DayBudget,
    Failing,
    Rejected(TxId),
    SetAside(AccountId),
    TooDear,
}

impl Key {
    /// Whether it is judged on the solid view, which everybody reads; the others concern whose turn it is.
    pub(super) const fn is_of_solid_view(&self) -> bool {
        matches!(self, Self::ForeignRoot | Self::OverTotal | Self::OverCap | Self::Uncovered)
    }
}

impl Key {
    /// Whether there is one for each account, transaction or signer.
    const fn is_single(&self) -> bool {
        matches!(self, Self::SetAside(_) | Self::Rejected(_) | Self::Signer(_))
    }
}

impl Alert {
    pub(super) const fn key(&self) -> Key {
        match self {
            Self::SignersDiffer { .. } => Key::SignersDiffer,
            Self::SignaturesRefused { .. } => Key::SignaturesRefused,
            Self::Signer { signer, .. } => Key::Signer(*signer),
            Self::ForeignRoot { .. } => Key::ForeignRoot,
            Self::Token(_) => Key::Token,
            Self::Paused { .. } => Key::Paused,
            Self::Closed => Key::Closed,
            Self::OverTotal { .. } => Key::OverTotal,
            Self::OverCap { .. } => Key::OverCap,
            Self::Uncovered { .. } => Key::Uncovered,
            Self::GasShort { .. } => Key::GasShort,
            Self::DayBudget { .. } => Key::DayBudget,
            Self::Failing { .. } => Key::Failing,
            Self::Rejected { tx_id, .. } => Key::Rejected(*tx_id),
            Self::SetAside { account, .. } => Key::SetAside(*account),
            Self::TooDear { .. } => Key::TooDear,
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignersDiffer { ledger, vault } => write!(
                f,
                "the ledger has signers of era {}, {} signatures, change {}; the vault era {}, {} signatures, change {}: {}. The \
                 pool's owner carries out the change that is recorded in the ledger, or records the one that was made in the \
                 vault",
                ledger.era,
                ledger.threshold,
                ledger.nonce,
                vault.era,
                vault.threshold,
                vault.nonce,
                if ledger.has_signers_of(vault) {
                    "only one of them has a change of limits"
                } else {
                    "no root is posted"
                }
            ),
            Self::SignaturesRefused { settlement } => write!(
                f,
                "the vault refused the signatures for settlement {settlement} although era and threshold agree: its list of \
                 signers is not the ledger's. Compare them with `lucid vault verify`; the owner enters the right ones"
            ),
            Self::Signer { signer, problem } => {
                write!(f, "treasury signer {signer} {problem}. Its operator compares the signer's key, state and log")
            }
            Self::ForeignRoot { settlement, root, total, allowed: None } => write!(
                f,
                "the vault holds the root {root} for settlement {settlement} with a total of {total} micro-USDT, which this \
                 ledger never issued: signer keys may be stolen. A signer pauses the vault at once; the owner replaces the \
                 signers"
            ),
            Self::ForeignRoot { settlement, total, allowed: Some(allowed), .. } => write!(
                f,
                "the root of settlement {settlement} was posted with a total of {total} micro-USDT where the ledger allows \
                 {allowed}: signer keys may be stolen. A signer pauses the vault at once; the owner replaces the signers"
            ),
            Self::Token(flags) => write!(
                f,
                "nothing is posted or paid because of the token: {}. Only the token's issuer can change that; tell the pool's \
                 members",
                describe(flags)
            ),
            Self::Paused { until: Some(until) } => {
                write!(
                    f,
                    "signers have paused the vault until {until} (Unix seconds): ask them why; the owner can end it"
                )
            }
            Self::Paused { until: None } => {
                write!(f, "the vault is paused until its owner or enough signers end it: ask them why")
            }
            Self::Closed => write!(f, "the vault is closed: the pool's owner names its successor in the ledger"),
            Self::OverTotal { due, left } => write!(
                f,
                "{due} micro-USDT are due, but the posted total leaves {left}: more left the vault than the ledger knows. The \
                 owner and the signers book the loss, then the root is posted again with a higher total"
            ),
            Self::OverCap { due, left, cap } => write!(
                f,
                "{due} micro-USDT are due, but the cap of {cap} leaves {left} in this period: the rest follows in the next \
                 ones; for more, the owner and the signers raise the cap"
            ),
            Self::Uncovered { due, funds } => {
                write!(f, "{due} micro-USDT are due, but the vault holds {funds}: the pool's owner sends it USDT")
            }
            Self::GasShort { account, has, needs } => {
                write!(
                    f,
                    "the gas account {account} has {has} sun and needs {needs} for the next transaction: send it TRX"
                )
            }
            Self::DayBudget { spent, max, needs } => write!(
                f,
                "the gas account has spent or reserved {spent} of the {max} sun that it may in 24 hours, and the next \
                 transaction needs {needs}: wait, or raise bridge.max_trx_per_day after looking at what the fees were for"
            ),
            Self::Failing { in_a_row, until, problem } => write!(
                f,
                "{in_a_row} transactions in a row failed, the next is made after {until} ms: {problem}. Look at the last \
                 transactions of the gas account and at the providers"
            ),
            Self::Rejected { tx_id, problem } => {
                write!(f, "the network refuses transaction {tx_id}: {problem}. A new one is made after it has expired")
            }
            Self::SetAside { account, to, problem } => write!(
                f,
                "account {account} ({to}) is left out for now: {problem}. Its worker can enter another address, or claim by \
                 itself"
            ),
            Self::TooDear { fee, max } => write!(
                f,
                "a transaction needs a fee limit of {fee} sun, but at most {max} are allowed: raise the limit if the price of \
                 energy is right"
            ),
        }
    }
}

fn describe(flags: &TokenFlags) -> String {
    let named = [
        (flags.fee, "it takes a fee from every recipient"),
        (flags.paused, "it is paused"),
        (flags.deprecated, "it was replaced by another contract"),
        (flags.blacklisted, "it has frozen the vault"),
    ];
    let words: Vec<_> = named.iter().filter(|(is_set, _)| *is_set).map(|(_, words)| *words).collect();
    words.join(", ")
}

/// The most alerts of single accounts, transactions and signers that are kept: what concerns all of them is known after some. Of
/// the others there is at most one of a kind, and none of them is ever left out: that keys were stolen must not go under in
/// accounts that cannot be paid.
const MAX_SINGLE: usize = 100;

/// The alerts in force.
#[derive(Debug, Default)]
pub(super) struct Alerts(Vec<Alert>);

impl Alerts {
    pub(super) fn as_slice(&self) -> &[Alert] {
        &self.0
    }

    /// Returns the alert if it was not in force and is to be told.
    #[must_use = "a new alert is told"]
    pub(super) fn raise(&mut self, alert: Alert) -> Option<Alert> {
        let key = alert.key();
        if let Some(old) = self.0.iter_mut().find(|old| old.key() == key) {
            *old = alert;
            return None;
        }
        if key.is_single() && self.0.iter().filter(|alert| alert.key().is_single()).count() >= MAX_SINGLE {
            return None;
        }
        self.0.push(alert.clone());
        Some(alert)
    }

    pub(super) fn clear(&mut self, over: impl Fn(&Key) -> bool) {
        self.0.retain(|alert| !over(&alert.key()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_cannot_be_paid_hide_no_theft() {
        let mut alerts = Alerts::default();
        let aside = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            let (account, to) = (AccountId::from_bytes(id), PayoutAddress::from_hash20([1; 20]));
            Alert::SetAside { account, to, problem: String::new() }
        };
        let told = (0..1_000).filter(|n| alerts.raise(aside(*n)).is_some()).count();
        assert_eq!((told, alerts.as_slice().len()), (MAX_SINGLE, MAX_SINGLE));
        let root = PayoutRoot::from_bytes([2; 32]);
        let foreign = Alert::ForeignRoot { settlement: 1, root, total: MicroUsdt::new(1), allowed: None };
        assert_eq!(alerts.raise(foreign.clone()), Some(foreign.clone()));
        assert_eq!(alerts.raise(foreign.clone()), None, "it is told once");
        assert!(alerts.raise(Alert::Closed).is_some());
        alerts.clear(|key| matches!(key, Key::SetAside(_)));
        assert_eq!(alerts.as_slice(), [foreign, Alert::Closed]);
    }
}
