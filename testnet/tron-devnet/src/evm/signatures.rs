//! Signatures checked by precompiled contracts: 9, many signers of one hash, and 10, an account's permission (java-tron's
//! `BatchValidateSign` and `ValidateMultiSign` with the limits of the restriction proposal).
//!
//! Both read ABI-encoded arguments in their own lenient way, which is followed here: offsets count in whole words, a
//! signature's length is not looked at, and what lies past the end is zero.

use revm::primitives::{Address, Bytes, U256};
use sha2::{Digest, Sha256};

use super::energy::exists;
use super::failure::Failure;
use super::vm::Ctx;
use crate::address;
use crate::chain::{permission_of, recover};

const MAX_IN_BATCH: usize = 16;
const MAX_OF_ACCOUNT: usize = 5;
const SIGNATURE_BYTES: usize = 65;

/// Arguments: hash, signatures, addresses. Byte `i` of the answer is 1 if signature `i` is that of address `i`; nothing
/// is if the arguments make no sense.
pub(super) fn batch(data: &[u8]) -> Bytes {
    let mut answer = [0u8; 32];
    if let Ok((hash, signatures, addresses)) = batch_arguments(data)
        && signatures.len() == addresses.len()
    {
        for (byte, (signature, wanted)) in answer.iter_mut().zip(signatures.iter().zip(addresses)) {
            *byte = u8::from(recover(&hash, signature).is_ok_and(|signer| signer == wanted));
        }
    }
    Bytes::copy_from_slice(&answer)
}

type BatchArguments = ([u8; 32], Vec<[u8; SIGNATURE_BYTES]>, Vec<Address>);

fn batch_arguments(data: &[u8]) -> Result<BatchArguments, Failure> {
    let words = Words(data);
    let hash = words.get(0)?.to_be_bytes();
    let (signatures, addresses) = (words.position(1)?, words.position(2)?);
    if words.size(signatures)? > MAX_IN_BATCH || words.size(addresses)? > MAX_IN_BATCH {
        return Ok((hash, Vec::new(), Vec::new()));
    }
    let wanted = (1..=words.size(addresses)?).map(|i| Ok(to_address(words.get(addresses + i)?)));
    Ok((hash, words.signatures(signatures)?, wanted.collect::<Result<_, Failure>>()?))
}

/// Arguments: address, permission, data, signatures. Answers 1 if those who signed the three reach the threshold.
pub(super) fn multi(ctx: &mut Ctx<'_>, data: &[u8]) -> Result<Bytes, Failure> {
    let words = Words(data);
    let owner = to_address(words.get(0)?);
    let permission = i32::try_from(words.get(1)?).unwrap_or(i32::MAX);
    let signed = words.get(2)?;
    let position = words.position(3)?;
    let is_good = words.size(position)? <= MAX_OF_ACCOUNT && {
        let hash = Sha256::new()
            .chain_update(address::to_wire(owner))
            .chain_update(permission.to_be_bytes())
            .chain_update(signed.to_be_bytes::<32>())
            .finalize();
        let signatures = words.signatures(position)?;
        !signatures.is_empty() && exists(ctx, owner) && reaches(ctx, owner, permission, hash.into(), &signatures)?
    };
    Ok(Bytes::copy_from_slice(&U256::from(u8::from(is_good)).to_be_bytes::<32>()))
}

fn reaches(
    ctx: &Ctx<'_>,
    owner: Address,
    permission: i32,
    hash: [u8; 32],
    signatures: &[[u8; SIGNATURE_BYTES]],
) -> Result<bool, Failure> {
    let account = ctx.journaled_state.database.account(owner);
    // A contract has no active permission.
    if account.is_some_and(|account| account.is_contract) && permission != 0 {
        return Ok(false);
    }
    let Some(permission) = permission_of(account, owner, permission) else { return Ok(false) };
    let mut sum = 0i64;
    let mut seen: Vec<(Address, &[u8; SIGNATURE_BYTES])> = Vec::new();
    for signature in signatures {
        let Ok(signer) = recover(&hash, signature) else { return Ok(false) };
        if seen.contains(&(signer, signature)) {
            continue;
        }
        if seen.iter().any(|(earlier, _)| *earlier == signer) {
            return Err(Failure::RepeatedSigner);
        }
        let wire = address::to_wire(signer);
        let weight = permission.keys.iter().find(|key| key.address == wire).map_or(0, |key| key.weight);
        if weight == 0 {
            return Ok(false);
        }
        sum = sum.saturating_add(weight);
        seen.push((signer, signature));
    }
    Ok(sum >= permission.threshold)
}

fn to_address(word: U256) -> Address {
    Address::from_word(word.into())
}

/// Arguments as whole words; a failure is the JVM's about an index.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn get(&self, i: usize) -> Result<U256, Failure> {
        let start = i.checked_mul(32).ok_or(Failure::Index(i))?;
        let word = self.0.get(start..).and_then(|rest| rest.first_chunk::<32>());
        word.map(|word| U256::from_be_bytes(*word)).ok_or(Failure::Index(i))
    }

    /// A number of 31 bits, or the largest of them.
    fn size(&self, i: usize) -> Result<usize, Failure> {
        let word = self.get(i)?;
        Ok(i32::try_from(word).ok().and_then(|n| usize::try_from(n).ok()).unwrap_or(0x7fff_ffff))
    }

    /// The word that an offset in bytes means.
    fn position(&self, i: usize) -> Result<usize, Failure> {
        Ok(self.size(i)? / 32)
    }

    fn signatures(&self, array: usize) -> Result<Vec<[u8; SIGNATURE_BYTES]>, Failure> {
        let one = |i: usize| {
            let start = (self.position(array + i)? + array + 2) * 32;
            let rest = self.0.get(start..).ok_or(Failure::Unknown)?;
            let mut signature = [0; SIGNATURE_BYTES];
            let n = rest.len().min(SIGNATURE_BYTES);
            signature[..n].copy_from_slice(&rest[..n]);
            Ok(signature)
        };
        (1..=self.size(array)?).map(one).collect()
    }
}
