//! Precompiled contracts that tell about votes and stakes (java-tron's `RewardBalance` and those after it).
//!
//! Nobody votes on this network, and there are no rewards; its one witness is the one that makes the blocks.

use revm::primitives::{Address, Bytes, U256};

use super::vm::Ctx;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    RewardBalance,
    IsWitness,
    VoteCount,
    UsedVoteCount,
    ReceivedVoteCount,
}

impl Query {
    /// What is at a precompiled contract's address.
    pub(super) fn at(number: u32) -> Option<Self> {
        Some(match number {
            0x100_0005 => Self::RewardBalance,
            0x100_0006 => Self::IsWitness,
            0x100_0007 => Self::VoteCount,
            0x100_0008 => Self::UsedVoteCount,
            0x100_0009 => Self::ReceivedVoteCount,
            _ => return None,
        })
    }

    pub(super) fn energy(self) -> u64 {
        match self {
            Self::RewardBalance | Self::VoteCount => 500,
            Self::IsWitness | Self::UsedVoteCount | Self::ReceivedVoteCount => 20,
        }
    }

    /// Arguments of another length than wanted are answered with 0.
    pub(super) fn answer(self, ctx: &mut Ctx<'_>, _caller: Address, data: &[u8]) -> Bytes {
        let word = match (self, <&[u8; 32]>::try_from(data)) {
            (Self::IsWitness, Ok(word)) => u64::from(Address::from_word(word.into()) == ctx.chain.witness),
            _ => 0,
        };
        Bytes::copy_from_slice(&U256::from(word).to_be_bytes::<32>())
    }
}
