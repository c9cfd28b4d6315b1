//! Join strings: all that a new node must be told, as one word that starts with `lucid1`.
//!
//! The form is bech32m (BIP-350): `lucid1`, the data at five bits a character, and six characters of checksum. The data are the
//! version (one byte), the number of bytes that follow it and this number (`u16` little-endian), and these bytes: the
//! [`JoinString`] in the codec. All versions begin like that, so that a string that was cut off, and one that is too new, are told
//! from one with a wrong character.
//!
//! bech32m is specified for at most 1,023 characters, up to which it detects any three errors. A join string has up to
//! [`JoinString::MAX_CHARS`]. At any length it detects every single error, and all errors within six neighbouring characters; of
//! other changes one in 2^30 goes unnoticed. It is no protection against malice: a network's id is the hash of its genesis, and an
//! invite is signed.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::UncheckedHrpstring;
use bech32::{Bech32m, Checksum, Fe32, Hrp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::codec::{DecodeError, Wire, decode, encode};
use crate::id::{BlockHash, NetworkId, PoolId};
use crate::key::NodeKey;
use crate::signed::{SignatureError, Signed};
use crate::ticket::Invite;
use crate::time::{Height, UnixMillis};

/// What a new node is told. Its text form starts with `lucid1`; parsing it checks the invite's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinString {
    /// The network; the genesis is fetched by it.
    pub network: NetworkId,
    /// Whom to ask first.
    pub bootstrap: Bootstrap,
    /// Where to enter.
    pub pool: Option<JoinPool>,
    /// A block of the network, by which the node recognises a false history.
    pub pin: Option<Pin>,
}

/// The addresses of one to five nodes: multiaddresses with `/p2p/`, or a `/dnsaddr` name. Here they are only known to start with a
/// slash, and to be printable ASCII of at most 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Bootstrap(Vec<String>);

/// Where a node enters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinPool {
    /// A pool that it finds its own way into.
    Named(PoolId),
    /// A pool that it is invited into.
    Invited(BearerInvite),
}

/// An invite and the secret of its key: whoever has both can use it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(Signed<Invite>, [u8; 32])", into = "(Signed<Invite>, [u8; 32])")]
pub struct BearerInvite {
    invite: Signed<Invite>,
    secret: Zeroizing<[u8; 32]>,
}

/// A block that was final when the string was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub block: BlockHash,
    /// Its time, by which the reader judges how old the pin is.
    pub time: UnixMillis,
}

/// Why addresses are no list to start with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// None, or too many.
    #[error("{0} bootstrap addresses; there are 1 to 5")]
    Count(usize),
    /// The one at this place of the list.
    #[error(
        "bootstrap address {0}: it starts with a slash and has at most 256 printable ASCII characters without spaces"
    )]
    Address(usize),
}

/// The secret belongs to another invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret is not that of the invite's key")]
pub struct WrongSecret;

/// Why text is no join string, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum JoinStringError {
    /// It starts otherwise.
    #[error("a join string starts with lucid1: copy it from there on")]
    Prefix,
    /// There is space inside.
    #[error("the join string is broken by a space or a new line: paste it as one word")]
    Whitespace,
    /// A character that none has.
    #[error("no join string has the character {0:?}: copy it again")]
    Character(char),
    /// Both cases.
    #[error("the join string mixes capital and small letters: copy it again")]
    MixedCase,
    /// Too short to say how long it should be.
    #[error("the join string is cut off after {0} characters: copy all of it")]
    CutOff(usize),
    /// It is not as long as it says.
    #[error("the join string has {found} characters instead of {expected}: copy all of it and nothing else")]
    Length {
        /// How many it has.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// Its checksum is not that of its characters.
    #[error("a character of the join string is wrong: copy it again")]
    Checksum,
    /// Made by another version.
    #[error("the join string is of version {0} and this program reads version 1: install the newest lucid")]
    Version(u8),
    /// Its checksum is right and its contents are not.
    #[error("the join string was not made right: ask for another one")]
    Contents(#[source] DecodeError),
    /// Its invite is not signed for this network.
    #[error("the invite in the join string is not genuine: ask the pool's owner for another one")]
    Invite(#[source] SignatureError),
}

const HRP: Hrp = Hrp::parse_unchecked("lucid");
const PREFIX: &str = "lucid1";
const VERSION: u8 = 1;
/// Version and length.
const HEAD_BYTES: usize = 3;

/// Bech32m for as many bytes as a join string of any version can name.
enum LongBech32m {}

impl Checksum for LongBech32m {
    type MidstateRepr = <Bech32m as Checksum>::MidstateRepr;
    const CODE_LENGTH: usize = n_chars(u16::MAX as usize);
    const CHECKSUM_LENGTH: usize = Bech32m::CHECKSUM_LENGTH;
    const GENERATOR_SH: [Self::MidstateRepr; 5] = Bech32m::GENERATOR_SH;
    const TARGET_RESIDUE: Self::MidstateRepr = Bech32m::TARGET_RESIDUE;
}

/// The length of a join string with so many bytes after the head.
const fn n_chars(body: usize) -> usize {
    PREFIX.len() + (8 * (HEAD_BYTES + body)).div_ceil(5) + Bech32m::CHECKSUM_LENGTH
}

impl Wire for JoinString {
    const MAX_BYTES: usize = 32
        + 8
        + Bootstrap::MAX_ADDRESSES * (8 + Bootstrap::MAX_ADDRESS_BYTES)
        + 1
        + 4
        + Signed::<Invite>::MAX_BYTES
        + 32
        + 1
        + 48;
}

impl JoinString {
    /// The length of the longest.
    pub const MAX_CHARS: usize = n_chars(Self::MAX_BYTES);
}

impl Bootstrap {
    /// The most addresses.
    pub const MAX_ADDRESSES: usize = 5;
    /// The longest address.
    pub const MAX_ADDRESS_BYTES: usize = 256;

    /// The list of these addresses.
    ///
    /// # Errors
    /// There are none or too many, or one of them is no address.
    pub fn new(addresses: Vec<String>) -> Result<Self, BootstrapError> {
        let is_address = |address: &String| {
            let is_printable = address.bytes().all(|byte| byte.is_ascii_graphic());
            address.starts_with('/') && address.len() <= Self::MAX_ADDRESS_BYTES && is_printable
        };
        if !(1..=Self::MAX_ADDRESSES).contains(&addresses.len()) {
            return Err(BootstrapError::Count(addresses.len()));
        }
        match addresses.iter().position(|address| !is_address(address)) {
            Some(place) => Err(BootstrapError::Address(place + 1)),
            None => Ok(Self(addresses)),
        }
    }

    /// The addresses, in the order in which they are tried.
    pub fn addresses(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Bootstrap {
    type Error = BootstrapError;
    fn try_from(addresses: Vec<String>) -> Result<Self, BootstrapError> {
        Self::new(addresses)
    }
}

impl From<Bootstrap> for Vec<String> {
    fn from(bootstrap: Bootstrap) -> Self {
        bootstrap.0
    }
}

impl JoinPool {
    /// The pool.
    pub const fn id(&self) -> PoolId {
        match self {
            Self::Named(pool) => *pool,
            Self::Invited(bearer) => bearer.invite.record.pool,
        }
    }

    /// The invite, if there is one.
    pub const fn invite(&self) -> Option<&BearerInvite> {
        match self {
            Self::Named(_) => None,
            Self::Invited(bearer) => Some(bearer),
        }
    }
}

impl BearerInvite {
    /// An invite with its key.
    ///
    /// # Errors
    /// The key is another one.
    pub fn new(invite: Signed<Invite>, key: &NodeKey) -> Result<Self, WrongSecret> {
        if key.public_key() != invite.record.key {
            return Err(WrongSecret);
        }
        Ok(Self { invite, secret: Zeroizing::new(*key.seed()) })
    }

    /// The invite.
    pub const fn invite(&self) -> &Signed<Invite> {
        &self.invite
    }

    /// The key that signs a command with the invite.
    pub fn key(&self) -> NodeKey {
        NodeKey::from_seed(&self.secret)
    }
}

impl fmt::Debug for BearerInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerInvite").field("invite", &self.invite).finish_non_exhaustive()
    }
}

impl TryFrom<(Signed<Invite>, [u8; 32])> for BearerInvite {
    type Error = WrongSecret;
    fn try_from((invite, secret): (Signed<Invite>, [u8; 32])) -> Result<Self, WrongSecret> {
        Self::new(invite, &NodeKey::from_seed(&secret))
    }
}

impl From<BearerInvite> for (Signed<Invite>, [u8; 32]) {
    fn from(bearer: BearerInvite) -> Self {
        (bearer.invite, *bearer.secret)
    }
}

impl fmt::Display for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = encode(self);
        let length = u16::try_from(body.len()).map_err(|_| fmt::Error)?;
        let data = [&[VERSION], length.to_le_bytes().as_slice(), &body].concat();
        bech32::encode_lower_to_fmt::<LongBech32m, _>(f, HRP, &data).map_err(|_| fmt::Error)
    }
}

impl FromStr for JoinString {
    type Err = JoinStringError;
    fn from_str(text: &str) -> Result<Self, JoinStringError> {
        let text = text.trim();
        let join: Self = decode(&parse(text)?).map_err(JoinStringError::Contents)?;
        // Bits that fill up the last character could say anything.
        if !join.to_string().eq_ignore_ascii_case(text) {
            return Err(JoinStringError::Contents(DecodeError::NotCanonical));
        }
        if let Some(JoinPool::Invited(bearer)) = &join.pool {
            bearer.invite.check(&join.network).map_err(JoinStringError::Invite)?;
        }
        Ok(join)
    }
}

/// The bytes after the head, of a string that is as long as it says and whose checksum is right.
fn parse(text: &str) -> Result<Vec<u8>, JoinStringError> {
    if text.contains(char::is_whitespace) {
        return Err(JoinStringError::Whitespace);
    }
    let data = match text.split_at_checked(PREFIX.len()) {
        Some((prefix, data)) if prefix.eq_ignore_ascii_case(PREFIX) => data,
        _ => return Err(JoinStringError::Prefix),
    };
    if let Some(wrong) = data.chars().find(|character| Fe32::from_char(*character).is_err()) {
        return Err(JoinStringError::Character(wrong));
    }
    let has = |is_case: fn(&u8) -> bool| text.as_bytes().iter().any(is_case);
    if has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) {
        return Err(JoinStringError::MixedCase);
    }
    let found = text.len();
    if found < n_chars(0) {
        return Err(JoinStringError::CutOff(found));
    }
    let unchecked = UncheckedHrpstring::new(text).map_err(|_| JoinStringError::Checksum)?;
    let is_intact = unchecked.has_valid_checksum::<LongBech32m>();
    let mut bytes: Vec<u8> = unchecked.remove_checksum::<LongBech32m>().byte_iter().collect();
    let head: Vec<u8> = bytes.drain(..HEAD_BYTES).collect();
    let expected = n_chars(usize::from(u16::from_le_bytes([head[1], head[2]])));
    if found != expected {
        return Err(JoinStringError::Length { found, expected });
    }
    match head[0] {
        _ if !is_intact => Err(JoinStringError::Checksum),
        VERSION => Ok(bytes),
        version => Err(JoinStringError::Version(version)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
