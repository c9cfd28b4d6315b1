//! Call data, events and errors of the vault, encoded and decoded by hand from its interface.

use lucid_tron_devnet::{Address, B256, U256, token};
use lucid_tron_types::keccak256;

/// A word of call data.
pub(super) type Word = [u8; 32];

/// An argument of a call.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    /// One of fixed size: a value, or a struct of such.
    Words(Vec<Word>),
    /// One of variable size, encoded.
    Tail(Vec<u8>),
}

pub(super) fn number(value: u64) -> Arg {
    Arg::Words(vec![token::number_word(value)])
}

pub(super) fn address(value: Address) -> Arg {
    Arg::Words(vec![token::address_word(value)])
}

pub(super) fn hash(value: Word) -> Arg {
    Arg::Words(vec![value])
}

/// `bytes`.
pub(super) fn bytes(value: &[u8]) -> Arg {
    let padding = vec![0; value.len().next_multiple_of(32) - value.len()];
    Arg::Tail([length(value.len()).as_slice(), value, &padding].concat())
}

/// An array of `n` elements, which are these words.
pub(super) fn array(n: usize, words: &[Word]) -> Arg {
    Arg::Tail([length(n).as_slice(), words.as_flattened()].concat())
}

/// An array of arrays of words.
pub(super) fn arrays(lists: &[Vec<Word>]) -> Arg {
    let inner: Vec<Arg> = lists.iter().map(|list| array(list.len(), list)).collect();
    Arg::Tail([length(lists.len()).to_vec(), encode(&inner)].concat())
}

fn length(n: usize) -> Word {
    token::number_word(u64::try_from(n).unwrap())
}

/// Arguments without a selector.
pub(super) fn encode(args: &[Arg]) -> Vec<u8> {
    let size = |arg: &Arg| match arg {
        Arg::Words(words) => 32 * words.len(),
        Arg::Tail(_) => 32,
    };
    let heads_size: usize = args.iter().map(size).sum();
    let (mut heads, mut tails) = (Vec::new(), Vec::new());
    for arg in args {
        match arg {
            Arg::Words(words) => heads.extend_from_slice(words.as_flattened()),
            Arg::Tail(tail) => {
                heads.extend_from_slice(&length(heads_size + tails.len()));
                tails.extend_from_slice(tail);
            }
        }
    }
    [heads, tails].concat()
}

/// Call data of a function with arguments.
pub(super) fn call(signature: &str, args: &[Arg]) -> Vec<u8> {
    [token::call_data(signature, &[]), encode(args)].concat()
}

/// The `i`-th word of some data; zero past its end.
pub(super) fn word(data: &[u8], i: usize) -> Word {
    data.get(32 * i..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
}

/// The word as a number; the largest if it is larger.
pub(super) fn to_u64(word: Word) -> u64 {
    u64::try_from(U256::from_be_bytes(word)).unwrap_or(u64::MAX)
}

pub(super) fn to_address(word: Word) -> Address {
    Address::from_word(B256::from(word))
}

/// The vault's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    RootPosted { settlement: u64, root: Word, total: u64, fees: u64, leader: Address, until: u64 },
    Paid { id: Word, to: Address, amount: u64, owed: u64 },
    Skipped { id: Word, reason: u64 },
    FeePaid { to: Address, amount: u64 },
    SignersChanged { era: u64, threshold: u64, signers: Vec<Address> },
    LimitsChanged { cap: u64, push_fee: u64 },
    OwnerPaused { from: u64 },
    SignerPaused { signer: Address, until: u64 },
    UnpauseWanted { signer: Address },
    Unpaused,
    ClosedFrom { from: u64 },
    CloseCancelled,
    WithdrawalAsked { to: Address, amount: u64, from: u64 },
    WithdrawalCancelled,
    Withdrawn { to: Address, amount: u64 },
}

impl Event {
    /// From a log's topics and data.
    pub(super) fn decode(topics: &[B256], data: &[u8]) -> Self {
        let topic = |i: usize| topics[i].0;
        let data = |i: usize| word(data, i);
        let (number, account) = (|i| to_u64(data(i)), |i| to_address(data(i)));
        let is = |signature: &str| topic(0) == keccak256(signature.as_bytes());
        if is("RootPosted(uint64,bytes32,uint64,uint64,address,uint64)") {
            let (settlement, root) = (to_u64(topic(1)), data(0));
            let (total, fees, leader, until) = (number(1), number(2), account(3), number(4));
            Self::RootPosted { settlement, root, total, fees, leader, until }
        } else if is("Paid(bytes32,address,uint256,uint256)") {
            Self::Paid { id: topic(1), to: to_address(topic(2)), amount: number(0), owed: number(1) }
        } else if is("Skipped(bytes32,uint8)") {
            Self::Skipped { id: topic(1), reason: number(0) }
        } else if is("FeePaid(address,uint256)") {
            Self::FeePaid { to: to_address(topic(1)), amount: number(0) }
        } else if is("SignersChanged(uint32,uint256,address[])") {
            let n = usize::try_from(number(2)).unwrap();
            let signers = (3..3 + n).map(account).collect();
            Self::SignersChanged { era: to_u64(topic(1)), threshold: number(0), signers }
        } else if is("LimitsChanged(uint64,uint64)") {
            Self::LimitsChanged { cap: number(0), push_fee: number(1) }
        } else if is("OwnerPaused(uint64)") {
            Self::OwnerPaused { from: number(0) }
        } else if is("SignerPaused(address,uint64)") {
            Self::SignerPaused { signer: to_address(topic(1)), until: number(0) }
        } else if is("UnpauseWanted(address)") {
            Self::UnpauseWanted { signer: to_address(topic(1)) }
        } else if is("Unpaused()") {
            Self::Unpaused
        } else if is("ClosedFrom(uint64)") {
            Self::ClosedFrom { from: number(0) }
        } else if is("CloseCancelled()") {
            Self::CloseCancelled
        } else if is("WithdrawalAsked(address,uint256,uint64)") {
            Self::WithdrawalAsked { to: to_address(topic(1)), amount: number(0), from: number(1) }
        } else if is("WithdrawalCancelled()") {
            Self::WithdrawalCancelled
        } else if is("Withdrawn(address,uint256)") {
            Self::Withdrawn { to: to_address(topic(1)), amount: number(0) }
        } else {
            panic!("an event of the vault that these tests do not know: {topics:?}")
        }
    }
}

/// The vault's errors.
const ERRORS: &[&str] = &[
    "NotOwner()",
    "NotSigner()",
    "Entered()",
    "IsPaused()",
    "NotPaused()",
    "PauseUsed()",
    "IsClosed()",
    "Stale(uint64)",
    "BadRoot()",
    "BadProof()",
    "BadSignatures()",
    "BadArguments()",
    "NothingPaid(uint8)",
    "OutOfEnergy()",
    "WrongBalance()",
    "NotAsked()",
    "OutsideWindow(uint64,uint64)",
    "WithdrawalRefused()",
];

/// A revert's data as text: `BadProof`, `Stale(5)`; hex for what is no error of the vault.
pub(super) fn error(data: &[u8]) -> String {
    let found = ERRORS.iter().find(|error| data.get(..4) == Some(&keccak256(error.as_bytes())[..4]));
    let Some((name, _)) = found.and_then(|error| error.split_once('(')) else { return hex::encode(data) };
    let arguments: Vec<String> = (0..(data.len() - 4) / 32).map(|i| to_u64(word(&data[4..], i)).to_string()).collect();
    if arguments.is_empty() { name.to_owned() } else { format!("{name}({})", arguments.join(",")) }
}

/// The errors and events that the committed interface names, sorted.
pub(super) fn named(interface: &serde_json::Value, kind: &str) -> Vec<String> {
    let entries = interface.as_array().unwrap().iter().filter(|entry| entry["type"] == kind);
    let mut names: Vec<String> = entries
        .map(|entry| {
            let inputs: Vec<&str> =
                entry["inputs"].as_array().unwrap().iter().map(|input| input["type"].as_str().unwrap()).collect();
            format!("{}({})", entry["name"].as_str().unwrap(), inputs.join(","))
        })
        .collect();
    names.sort();
    names
}

/// [`ERRORS`], sorted.
pub(super) fn errors() -> Vec<String> {
    let mut errors: Vec<String> = ERRORS.iter().map(|error| (*error).to_owned()).collect();
    errors.sort();
    errors
}
