//! Precompiled contracts (java-tron's `PrecompiledContracts`): Ethereum's 1 to 8 at their Istanbul prices, with TRON's
//! differences; RIPEMD-160 at 0x20003 and BLAKE2 at 0x20009; TRON's own checks of signatures at 9 and 10.
//!
//! Proofs of shielded transfers (0x1000001 to 0x1000004) are not here: calling such an address is a call to an account
//! without code.

use std::sync::LazyLock;

use revm::precompile::{PrecompileSpecId, Precompiles};
use revm::primitives::{Address, Bytes, U256};
use sha2::{Digest, Sha256};

use super::failure::Failure;
use super::tx::prefixed;
use super::vm::Ctx;
use super::{queries, signatures};

/// A precompiled contract.
#[derive(Clone, Copy, Debug)]
pub(super) enum Precompile {
    /// What Ethereum has at this address, with TRON's differences.
    Ethereum(u8),
    /// 3: not RIPEMD-160.
    ShortenedSha256,
    /// 9.
    BatchSignatures,
    /// 10.
    MultiSignature,
    /// From 0x1000005.
    Query(queries::Asked),
}

/// What a precompiled contract did.
#[derive(Debug)]
pub(super) enum Ran {
    /// It used this much energy.
    Well { energy: u64, output: Bytes },
    /// It took all it was given.
    Badly { output: Bytes },
}

impl Ran {
    fn out_of_energy() -> Self {
        Self::Badly { output: Bytes::new() }
    }
}

/// What is at an address, of which the whole word counts.
pub(super) fn at(word: U256) -> Option<Precompile> {
    let number = u32::try_from(word).ok()?;
    Some(match number {
        1 | 2 | 4..=8 => Precompile::Ethereum(u8::try_from(number).ok()?),
        3 => Precompile::ShortenedSha256,
        9 => Precompile::BatchSignatures,
        10 => Precompile::MultiSignature,
        0x2_0003 => Precompile::Ethereum(3),
        0x2_0009 => Precompile::Ethereum(9),
        _ => Precompile::Query(queries::at(number)?),
    })
}

impl Precompile {
    /// Runs it with at most `limit` energy. The failure, if there is one, is the calling frame's.
    pub(super) fn run(self, ctx: &mut Ctx<'_>, data: &[u8], limit: u64) -> Result<Ran, Failure> {
        type Answer<'a> = &'a dyn Fn(&mut Ctx<'_>, &[u8]) -> Result<Bytes, Failure>;
        let (energy, answer): (u64, Answer<'_>) = match self {
            Self::Ethereum(number) => return Ok(ethereum(number, data, limit)),
            Self::ShortenedSha256 => (600 + 120 * words(data.len().div_ceil(32)), &|_, data| Ok(shortened(data))),
            Self::BatchSignatures => (per_signature(data, 6), &|_, data| Ok(signatures::batch(data))),
            Self::MultiSignature => (per_signature(data, 5), &signatures::multi),
            Self::Query(query) => (query.energy, &move |ctx, data| Ok(query.answer(ctx, data))),
        };
        if energy > limit {
            return Ok(Ran::out_of_energy());
        }
        Ok(Ran::Well { energy, output: answer(ctx, data)? })
    }
}

fn shortened(data: &[u8]) -> Bytes {
    let inner = Sha256::digest(data);
    Bytes::copy_from_slice(&Sha256::digest(&inner[..20]))
}

fn words(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX / 120)
}

/// 1,500 for each signature, of which the data's length tells the number: five words around them, and so many for each.
fn per_signature(data: &[u8], words_each: usize) -> u64 {
    1_500 * words((data.len() / 32).saturating_sub(5) / words_each)
}

fn ethereum(number: u8, data: &[u8], limit: u64) -> Ran {
    static ISTANBUL: LazyLock<&'static Precompiles> = LazyLock::new(|| Precompiles::new(PrecompileSpecId::ISTANBUL));
    let Some(precompile) = ISTANBUL.get(&Address::with_last_byte(number)) else { return Ran::out_of_energy() };
    match precompile.execute(data, limit, 0) {
        Ok(output) if output.is_success() => {
            Ran::Well { energy: output.gas_used, output: as_on_tron(number, data, output.bytes) }
        }
        // BLAKE2 puts a word of zeros into the caller's memory if its input is malformed.
        Ok(output) if number == 9 && !output.halt_reason().is_some_and(revm::precompile::PrecompileHalt::is_oog) => {
            Ran::Badly { output: Bytes::from_static(&[0; 32]) }
        }
        _ => Ran::out_of_energy(),
    }
}

/// A recovered address has TRON's prefix, and a modular exponentiation without a modulus answers nothing.
fn as_on_tron(number: u8, data: &[u8], output: Bytes) -> Bytes {
    match number {
        1 if !output.is_empty() => {
            let address = prefixed(Address::from_slice(&output[12..]));
            Bytes::copy_from_slice(&address.to_be_bytes::<32>())
        }
        5 if has_zero_modulus(data) => Bytes::new(),
        _ => output,
    }
}

/// Whether the third number of a modular exponentiation is zero. Its length is known to be affordable.
fn has_zero_modulus(data: &[u8]) -> bool {
    let length = |i: usize| {
        let mut word = [0; 32];
        let given = data.get(32 * i..).unwrap_or_default();
        let given = &given[..given.len().min(32)];
        word[..given.len()].copy_from_slice(given);
        usize::try_from(U256::from_be_bytes(word)).unwrap_or(usize::MAX)
    };
    let start = length(0).saturating_add(length(1)).saturating_add(96);
    let modulus = data.get(start..).unwrap_or_default();
    modulus.iter().take(length(2)).all(|byte| *byte == 0)
}
