//! Why the vault refused a call, or skipped an item of one.

use std::fmt;

use lucid_tron_types::abi::{Words, selector};

/// Why an item of a batch got nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// It had all that it is owed.
    AlreadyPaid,
    /// The recipient is zero, the vault or the token.
    BadRecipient,
    /// All of the root's total has been paid out.
    OverTotal,
    /// The cap of this period is used up.
    OverCap,
    /// The vault is empty.
    NoFunds,
    /// The token's transfer failed.
    TokenRefused,
}

impl Skip {
    /// The reason with this number in the contract.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AlreadyPaid),
            1 => Some(Self::BadRecipient),
            2 => Some(Self::OverTotal),
            3 => Some(Self::OverCap),
            4 => Some(Self::NoFunds),
            5 => Some(Self::TokenRefused),
            _ => None,
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyPaid => "everything had been paid before",
            Self::BadRecipient => {
                "the recipient is the zero address, the vault or the token; the account needs another address"
            }
            Self::OverTotal => {
                "all of the posted root's total has been paid out; a root with a higher total must be posted"
            }
            Self::OverCap => "the vault's cap of this period is used up; push again in the next period",
            Self::NoFunds => "the vault is empty; fund it",
            Self::TokenRefused => "the token refused the transfer: it is paused, or the vault is frozen",
        })
    }
}

/// An error of the contract. Its text says what it means and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultRevert {
    /// The caller is not the owner.
    NotOwner,
    /// The caller is no signer in force.
    NotSigner,
    /// Called from inside a batch.
    Entered,
    /// A pause is in force or announced.
    IsPaused,
    /// There is no pause to end.
    NotPaused,
    /// The signer has paused in this era.
    PauseUsed,
    /// Closed, or to be closed.
    IsClosed,
    /// Another settlement's root is posted.
    Stale {
        /// The newest one's settlement; 0 if there is none.
        newest: u64,
    },
    /// The root is zero.
    BadRoot,
    /// The proof leads to another root.
    BadProof,
    /// Not exactly k signatures of signers in force over what was passed.
    BadSignatures,
    /// Impossible arguments.
    BadArguments,
    /// Nobody got anything.
    NothingPaid(Skip),
    /// The token ran out of energy.
    OutOfEnergy,
    /// The balance changed by something else than what was sent.
    WrongBalance,
    /// No withdrawal is announced.
    NotAsked,
    /// The withdrawal is too early or too late.
    OutsideWindow {
        /// Unix time in seconds.
        from: u64,
        /// Unix time in seconds.
        until: u64,
    },
    /// The token refused the withdrawal.
    WithdrawalRefused,
}

/// An error's signature, and how its arguments are read.
type Entry = (&'static str, fn(&mut Words<'_>) -> Option<VaultRevert>);

const ERRORS: &[Entry] = &[
    ("NotOwner()", |_| Some(VaultRevert::NotOwner)),
    ("NotSigner()", |_| Some(VaultRevert::NotSigner)),
    ("Entered()", |_| Some(VaultRevert::Entered)),
    ("IsPaused()", |_| Some(VaultRevert::IsPaused)),
    ("NotPaused()", |_| Some(VaultRevert::NotPaused)),
    ("PauseUsed()", |_| Some(VaultRevert::PauseUsed)),
    ("IsClosed()", |_| Some(VaultRevert::IsClosed)),
    ("Stale(uint64)", |words| Some(VaultRevert::Stale { newest: words.number()? })),
    ("BadRoot()", |_| Some(VaultRevert::BadRoot)),
    ("BadProof()", |_| Some(VaultRevert::BadProof)),
    ("BadSignatures()", |_| Some(VaultRevert::BadSignatures)),
    ("BadArguments()", |_| Some(VaultRevert::BadArguments)),
    ("NothingPaid(uint8)", |words| Some(VaultRevert::NothingPaid(Skip::from_number(words.number()?)?))),
    ("OutOfEnergy()", |_| Some(VaultRevert::OutOfEnergy)),
    ("WrongBalance()", |_| Some(VaultRevert::WrongBalance)),
    ("NotAsked()", |_| Some(VaultRevert::NotAsked)),
    ("OutsideWindow(uint64,uint64)", |words| {
        Some(VaultRevert::OutsideWindow { from: words.number()?, until: words.number()? })
    }),
    ("WithdrawalRefused()", |_| Some(VaultRevert::WithdrawalRefused)),
];

impl VaultRevert {
    /// The error in a reverted call's data; `None` if it is none of the vault's.
    pub fn decode(data: &[u8]) -> Option<Self> {
        let (found, arguments) = data.split_first_chunk::<4>()?;
        let (_, read) = ERRORS.iter().find(|(signature, _)| selector(signature) == *found)?;
        let mut words = Words::new(arguments);
        read(&mut words).filter(|_| words.is_empty())
    }

    /// The signatures of all errors.
    #[cfg(test)]
    pub(super) fn signatures() -> Vec<String> {
        ERRORS.iter().map(|(signature, _)| (*signature).to_owned()).collect()
    }
}

impl fmt::Display for VaultRevert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOwner => "only the vault's owner can do this; sign with the owner's TRON key",
            Self::NotSigner => "the TRON key is not one of the signers in force",
            Self::Entered => "the token called the vault back in the middle of a batch; inspect the token",
            Self::IsPaused => "the vault is paused, or a pause is announced; wait until it ends, or end it",
            Self::NotPaused => "the vault is not paused; there is nothing to end",
            Self::PauseUsed => "this signer has used its pause of this era; another signer or the owner can pause",
            Self::IsClosed => "the vault is closed or about to be; its successor pays what is still owed",
            Self::Stale { newest: 0 } => "no root is posted at the vault; post the newest one first",
            Self::Stale { newest } => {
                return write!(f, "the vault's newest root is of settlement {newest}; build the call for that one");
            }
            Self::BadRoot => "the vault refuses a root of zero",
            Self::BadProof => "the proof does not lead to the posted root; build it from that settlement's leaves",
            Self::BadSignatures => {
                "the signatures are not exactly those that the vault needs: one of each of k signers in force, over this \
                 vault, era and content; compare the signers and collect the signatures anew"
            }
            Self::BadArguments => {
                "the vault refuses the arguments: a token without code, a zero address, a zero period or delay, more than 16 \
                 signers, not more than half of them needed, or a predecessor that is open or has another token"
            }
            Self::NothingPaid(reason) => return write!(f, "nobody was paid: {reason}"),
            Self::OutOfEnergy => "the energy did not suffice for a transfer; send fewer items, or with a higher fee limit",
            Self::WrongBalance => {
                "the vault's balance changed by something else than what it sent, so the token does not behave; stop \
                 and inspect the token"
            }
            Self::NotAsked => "no withdrawal is announced; announce it first",
            Self::OutsideWindow { from, until } => {
                return write!(
                    f,
                    "the withdrawal can be carried out from {from} until {until} (Unix seconds); after that, announce it again"
                );
            }
            Self::WithdrawalRefused => {
                "the token refused the withdrawal: the vault holds less, the token is paused, or the vault is frozen"
            }
        })
    }
}
