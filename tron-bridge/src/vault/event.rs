//! What the vault tells in its events.

use lucid_tron_types::abi::Words;
use lucid_tron_types::keccak256;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::VaultLimits;
use lucid_types::payout_tree::{AccountId, PayoutRoot};

use super::{Skip, optional_address};
use crate::address;
use crate::client::Log;

/// An event of the vault. Times are Unix seconds; `u64::MAX` is for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultEvent {
    /// A root was posted.
    RootPosted {
        /// Its settlement.
        settlement: u64,
        /// The root.
        root: PayoutRoot,
        /// All that may ever be paid out under it.
        total: MicroUsdt,
        /// The part of it for push fees.
        fees: MicroUsdt,
        /// Who alone earns push fees.
        leader: Option<PayoutAddress>,
        /// Until when.
        until: u64,
    },
    /// An account was paid.
    Paid {
        /// The account.
        id: AccountId,
        /// Where to.
        to: PayoutAddress,
        /// How much now.
        amount: MicroUsdt,
        /// All that it was owed.
        owed: MicroUsdt,
    },
    /// An account of a batch got nothing.
    Skipped {
        /// The account.
        id: AccountId,
        /// Why.
        reason: Skip,
    },
    /// A batch earned its sender a fee.
    FeePaid {
        /// The sender.
        to: PayoutAddress,
        /// How much.
        amount: MicroUsdt,
    },
    /// New signers are in force.
    SignersChanged {
        /// Their era.
        era: u32,
        /// How many must sign.
        threshold: u8,
        /// Addresses of their keys.
        signers: Vec<PayoutAddress>,
    },
    /// New limits are in force.
    LimitsChanged(VaultLimits),
    /// The owner announced a pause.
    OwnerPaused {
        /// When it begins.
        from: u64,
    },
    /// A signer began a pause or supports it.
    SignerPaused {
        /// Who.
        signer: PayoutAddress,
        /// When the pause lapses.
        until: u64,
    },
    /// A signer wants all pauses ended.
    UnpauseWanted {
        /// Who.
        signer: PayoutAddress,
    },
    /// All pauses ended.
    Unpaused,
    /// The owner announced that the vault closes.
    ClosedFrom {
        /// When.
        from: u64,
    },
    /// A pause cancelled the closing.
    CloseCancelled,
    /// The owner announced a withdrawal.
    WithdrawalAsked {
        /// Where to.
        to: PayoutAddress,
        /// How much.
        amount: MicroUsdt,
        /// From when on.
        from: u64,
    },
    /// The announcement was taken back, or a pause cancelled it.
    WithdrawalCancelled,
    /// The owner took funds out.
    Withdrawn {
        /// Where to.
        to: PayoutAddress,
        /// How much.
        amount: MicroUsdt,
    },
}

/// An event's signature, and how its fields are read: the indexed ones come first in all of them.
type Entry = (&'static str, fn(&mut Words<'_>) -> Option<VaultEvent>);

const EVENTS: &[Entry] = &[
    ("RootPosted(uint64,bytes32,uint64,uint64,address,uint64)", |words| {
        Some(VaultEvent::RootPosted {
            settlement: words.number()?,
            root: PayoutRoot::from_bytes(words.word()?),
            total: amount(words)?,
            fees: amount(words)?,
            leader: optional_address(&words.word()?)?,
            until: words.number()?,
        })
    }),
    ("Paid(bytes32,address,uint256,uint256)", |words| {
        Some(VaultEvent::Paid { id: id(words)?, to: account(words)?, amount: amount(words)?, owed: amount(words)? })
    }),
    ("Skipped(bytes32,uint8)", |words| {
        Some(VaultEvent::Skipped { id: id(words)?, reason: Skip::from_number(words.number()?)? })
    }),
    ("FeePaid(address,uint256)", |words| Some(VaultEvent::FeePaid { to: account(words)?, amount: amount(words)? })),
    ("SignersChanged(uint32,uint256,address[])", |words| {
        let (era, threshold) = (words.number()?, words.number()?);
        // The list's place among the fields that are not indexed, and its length.
        let _offset = words.word()?;
        let n: usize = words.number()?;
        (n == words.len()).then_some(())?;
        let signers = (0..n).map(|_| account(words)).collect::<Option<_>>()?;
        Some(VaultEvent::SignersChanged { era, threshold, signers })
    }),
    ("LimitsChanged(uint64,uint64)", |words| {
        Some(VaultEvent::LimitsChanged(VaultLimits { cap: amount(words)?, push_fee: amount(words)? }))
    }),
    ("OwnerPaused(uint64)", |words| Some(VaultEvent::OwnerPaused { from: words.number()? })),
    ("SignerPaused(address,uint64)", |words| {
        Some(VaultEvent::SignerPaused { signer: account(words)?, until: words.number()? })
    }),
    ("UnpauseWanted(address)", |words| Some(VaultEvent::UnpauseWanted { signer: account(words)? })),
    ("Unpaused()", |_| Some(VaultEvent::Unpaused)),
    ("ClosedFrom(uint64)", |words| Some(VaultEvent::ClosedFrom { from: words.number()? })),
    ("CloseCancelled()", |_| Some(VaultEvent::CloseCancelled)),
    ("WithdrawalAsked(address,uint256,uint64)", |words| {
        Some(VaultEvent::WithdrawalAsked { to: account(words)?, amount: amount(words)?, from: words.number()? })
    }),
    ("WithdrawalCancelled()", |_| Some(VaultEvent::WithdrawalCancelled)),
    ("Withdrawn(address,uint256)", |words| Some(VaultEvent::Withdrawn { to: account(words)?, amount: amount(words)? })),
];

impl VaultEvent {
    /// The event in a log; `None` if it is none of the vault's. Compare the log's address first: any contract can emit the same.
    pub fn decode(log: &Log) -> Option<Self> {
        let (topic, indexed) = log.topics.split_first()?;
        let (_, read) = EVENTS.iter().find(|(signature, _)| keccak256(signature.as_bytes()) == *topic)?;
        let bytes = [indexed.as_flattened(), &log.data].concat();
        let mut words = Words::new(&bytes);
        read(&mut words).filter(|_| words.is_empty())
    }

    /// The signatures of all events.
    #[cfg(test)]
    pub(super) fn signatures() -> Vec<String> {
        EVENTS.iter().map(|(signature, _)| (*signature).to_owned()).collect()
    }
}

fn id(words: &mut Words<'_>) -> Option<AccountId> {
    words.word().map(AccountId::from_bytes)
}

fn account(words: &mut Words<'_>) -> Option<PayoutAddress> {
    address::from_word(&words.word()?)
}

fn amount(words: &mut Words<'_>) -> Option<MicroUsdt> {
    words.number().map(MicroUsdt::new)
}
