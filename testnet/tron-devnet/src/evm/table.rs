//! TRON's instructions and what each costs: java-tron's `OperationRegistry` and `EnergyCost` as data.
//!
//! The rules are those of the main network with every proposal up to number 94 in force: TRC-10 transfers,
//! Constantinople, Solidity 0.5.9, Istanbul, London, compatible EVM (every contract here has version 1), Shanghai,
//! Cancun, blob, higher CPU limit (memory instructions cost 1 more), energy adjustment (a self-destruction pays for its
//! beneficiary), dynamic energy, and the restriction of `SELFDESTRUCT` (5,000, and it removes only what the same transaction
//! made). Prague and Osaka (95, 96) are not.
//!
//! revm charges nothing itself ([`free_of_charge`]): [`super::energy`] charges by this table before each instruction.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use revm::context_interface::cfg::{GasId, GasParams};
use revm::primitives::hardfork::SpecId;

/// The rule set whose instructions TRON has (up to MCOPY, TLOAD and TSTORE).
pub(super) const SPEC: SpecId = SpecId::CANCUN;

/// Energy for each byte of deployed code.
pub(super) const CODE_BYTE: u64 = 200;
/// Energy for bringing an account to life by a call or a self-destruction.
pub(super) const NEW_ACCOUNT: u64 = 25_000;
/// SSTORE of a non-zero value into a slot that held nothing.
pub(super) const SSTORE_SET: u64 = 20_000;
/// Every other SSTORE.
pub(super) const SSTORE_RESET: u64 = 5_000;
/// A call that sends something.
pub(super) const CALL_VALUE: u64 = 9_000;
/// What the callee of such a call gets on top.
pub(super) const STIPEND: u64 = 2_300;
/// LOG, and again for each of its topics.
pub(super) const LOG_TOPIC: u64 = 375;
/// Each byte that LOG emits.
pub(super) const LOG_BYTE: u64 = 8;
/// Each byte of EXP's exponent.
pub(super) const EXPONENT_BYTE: u64 = 10;
/// Each word that is hashed.
pub(super) const HASHED_WORD: u64 = 6;
/// Each word that is copied.
pub(super) const COPIED_WORD: u64 = 3;
/// Each word of memory; long memories cost more.
pub(super) const MEMORY_WORD: u64 = 3;
/// A memory of `n` words costs `n * n` of this part more.
pub(super) const MEMORY_SQUARE: u64 = 512;
/// Memory of one call frame may not grow past this many bytes.
pub(super) const MEMORY_LIMIT: u64 = 3 * 1024 * 1024;
/// Calls inside calls.
pub(super) const MAX_DEPTH: usize = 64;
/// Words on the stack.
pub(super) const MAX_STACK: usize = 1024;

pub(super) const BALANCE: u8 = 0x31;
pub(super) const CALL: u8 = 0xf1;
pub(super) const CALLCODE: u8 = 0xf2;
pub(super) const DELEGATECALL: u8 = 0xf4;
pub(super) const STATICCALL: u8 = 0xfa;
pub(super) const CALLTOKEN: u8 = 0xd0;
pub(super) const TOKENBALANCE: u8 = 0xd1;
pub(super) const CALLTOKENVALUE: u8 = 0xd2;
pub(super) const CALLTOKENID: u8 = 0xd3;
pub(super) const ISCONTRACT: u8 = 0xd4;
pub(super) const FREEZE: u8 = 0xd5;
pub(super) const UNFREEZE: u8 = 0xd6;
pub(super) const FREEZEEXPIRETIME: u8 = 0xd7;
pub(super) const WITHDRAWREWARD: u8 = 0xd9;
pub(super) const UNFREEZEBALANCEV2: u8 = 0xdb;
pub(super) const CANCELALLUNFREEZEV2: u8 = 0xdc;
pub(super) const WITHDRAWEXPIREUNFREEZE: u8 = 0xdd;
pub(super) const DELEGATERESOURCE: u8 = 0xde;
pub(super) const UNDELEGATERESOURCE: u8 = 0xdf;

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Words it takes from the stack.
    pub(super) takes: u8,
    /// Words it leaves there.
    pub(super) gives: u8,
    /// The part of its energy that is always the same.
    pub(super) energy: u64,
    pub(super) more: More,
    /// java-tron's name; empty for PUSH, DUP, SWAP and LOG, which have a number.
    name: &'static str,
}

/// The part of an instruction's energy that depends. Numbers are positions on the stack, from its top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Nothing,
    /// [`EXPONENT_BYTE`]s of the word at 1.
    Exponent,
    /// Memory: this many bytes at the offset at 0.
    Bytes(u64),
    /// Memory.
    Memory {
        offset: usize,
        size: usize,
    },
    /// Memory, and [`HASHED_WORD`]s.
    Hashed {
        offset: usize,
        size: usize,
    },
    /// Memory, and [`COPIED_WORD`]s.
    Copied {
        offset: usize,
        size: usize,
    },
    /// MCOPY: the farther of two places in memory, and [`COPIED_WORD`]s.
    Moved,
    /// Memory, [`LOG_BYTE`]s and [`LOG_TOPIC`]s.
    Log {
        topics: u64,
    },
    /// SSTORE.
    Stored,
    /// [`NEW_ACCOUNT`] if the address here is nobody's.
    NewAccount(usize),
    /// What is called is at 1. Its data's place begins at `data`, that of its answer two further.
    Call {
        value: Value,
        data: usize,
    },
}

/// What a call sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Cannot send.
    No,
    /// The amount at 2, from somebody to himself: [`CALL_VALUE`].
    Kept,
    /// The amount at 2: [`CALL_VALUE`], and [`NEW_ACCOUNT`] if nobody is there.
    Sent,
}

type Row = (u8, &'static str, u8, u8, u64, More);

const fn memory(offset: usize, size: usize) -> More {
    More::Memory { offset, size }
}

const fn copied(offset: usize, size: usize) -> More {
    More::Copied { offset, size }
}

const fn call(value: Value, data: usize) -> More {
    More::Call { value, data }
}

use More::Nothing;

/// Code, name, words taken, words given, energy, and what else it costs. Staking by contracts is not among them: what
/// would make a stake or a vote (`FREEZEBALANCEV2`, `VOTEWITNESS`) is unknown here, and everything else finds none.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    (0x00, "STOP", 0, 0, 0, Nothing),
    (0x01, "ADD", 2, 1, 3, Nothing),
    (0x02, "MUL", 2, 1, 5, Nothing),
    (0x03, "SUB", 2, 1, 3, Nothing),
    (0x04, "DIV", 2, 1, 5, Nothing),
    (0x05, "SDIV", 2, 1, 5, Nothing),
    (0x06, "MOD", 2, 1, 5, Nothing),
    (0x07, "SMOD", 2, 1, 5, Nothing),
    (0x08, "ADDMOD", 3, 1, 8, Nothing),
    (0x09, "MULMOD", 3, 1, 8, Nothing),
    (0x0a, "EXP", 2, 1, 10, More::Exponent),
    (0x0b, "SIGNEXTEND", 2, 1, 5, Nothing),
    (0x10, "LT", 2, 1, 3, Nothing),
    (0x11, "GT", 2, 1, 3, Nothing),
    (0x12, "SLT", 2, 1, 3, Nothing),
    (0x13, "SGT", 2, 1, 3, Nothing),
    (0x14, "EQ", 2, 1, 3, Nothing),
    (0x15, "ISZERO", 1, 1, 3, Nothing),
    (0x16, "AND", 2, 1, 3, Nothing),
    (0x17, "OR", 2, 1, 3, Nothing),
    (0x18, "XOR", 2, 1, 3, Nothing),
    (0x19, "NOT", 1, 1, 3, Nothing),
    (0x1a, "BYTE", 2, 1, 3, Nothing),
    (0x1b, "SHL", 2, 1, 3, Nothing),
    (0x1c, "SHR", 2, 1, 3, Nothing),
    (0x1d, "SAR", 2, 1, 3, Nothing),
    (0x20, "SHA3", 2, 1, 30, More::Hashed { offset: 0, size: 1 }),
    (0x30, "ADDRESS", 0, 1, 2, Nothing),
    (BALANCE, "BALANCE", 1, 1, 20, Nothing),
    (0x32, "ORIGIN", 0, 1, 2, Nothing),
    (0x33, "CALLER", 0, 1, 2, Nothing),
    (0x34, "CALLVALUE", 0, 1, 2, Nothing),
    (0x35, "CALLDATALOAD", 1, 1, 3, Nothing),
    (0x36, "CALLDATASIZE", 0, 1, 2, Nothing),
    (0x37, "CALLDATACOPY", 3, 0, 0, copied(0, 2)),
    (0x38, "CODESIZE", 0, 1, 2, Nothing),
    (0x39, "CODECOPY", 3, 0, 0, copied(0, 2)),
    (0x3a, "GASPRICE", 0, 1, 2, Nothing),
    (0x3b, "EXTCODESIZE", 1, 1, 20, Nothing),
    (0x3c, "EXTCODECOPY", 4, 0, 20, copied(1, 3)),
    (0x3d, "RETURNDATASIZE", 0, 1, 2, Nothing),
    (0x3e, "RETURNDATACOPY", 3, 0, 0, copied(0, 2)),
    (0x3f, "EXTCODEHASH", 1, 1, 400, Nothing),
    (0x40, "BLOCKHASH", 1, 1, 20, Nothing),
    (0x41, "COINBASE", 0, 1, 2, Nothing),
    (0x42, "TIMESTAMP", 0, 1, 2, Nothing),
    (0x43, "NUMBER", 0, 1, 2, Nothing),
    (0x44, "DIFFICULTY", 0, 1, 2, Nothing),
    (0x45, "GASLIMIT", 0, 1, 2, Nothing),
    (0x46, "CHAINID", 0, 1, 2, Nothing),
    (0x47, "SELFBALANCE", 0, 1, 5, Nothing),
    (0x48, "BASEFEE", 0, 1, 2, Nothing),
    (0x49, "BLOBHASH", 1, 1, 3, Nothing),
    (0x4a, "BLOBBASEFEE", 0, 1, 2, Nothing),
    (0x50, "POP", 1, 0, 2, Nothing),
    (0x51, "MLOAD", 1, 1, 1, More::Bytes(32)),
    (0x52, "MSTORE", 2, 0, 1, More::Bytes(32)),
    (0x53, "MSTORE8", 2, 0, 1, More::Bytes(1)),
    (0x54, "SLOAD", 1, 1, 50, Nothing),
    (0x55, "SSTORE", 2, 0, 0, More::Stored),
    (0x56, "JUMP", 1, 0, 8, Nothing),
    (0x57, "JUMPI", 2, 0, 10, Nothing),
    (0x58, "PC", 0, 1, 2, Nothing),
    (0x59, "MSIZE", 0, 1, 2, Nothing),
    (0x5a, "GAS", 0, 1, 2, Nothing),
    (0x5b, "JUMPDEST", 0, 0, 1, Nothing),
    (0x5c, "TLOAD", 1, 1, 100, Nothing),
    (0x5d, "TSTORE", 2, 0, 100, Nothing),
    (0x5e, "MCOPY", 3, 0, 3, More::Moved),
    (0x5f, "PUSH0", 0, 1, 2, Nothing),
    (CALLTOKEN, "CALLTOKEN", 8, 1, 40, call(Value::Sent, 4)),
    (TOKENBALANCE, "TOKENBALANCE", 2, 1, 20, Nothing),
    (CALLTOKENVALUE, "CALLTOKENVALUE", 0, 1, 2, Nothing),
    (CALLTOKENID, "CALLTOKENID", 0, 1, 2, Nothing),
    (ISCONTRACT, "ISCONTRACT", 1, 1, 20, Nothing),
    (FREEZE, "FREEZE", 3, 1, 20_000, More::NewAccount(2)),
    (UNFREEZE, "UNFREEZE", 2, 1, 20_000, Nothing),
    (FREEZEEXPIRETIME, "FREEZEEXPIRETIME", 2, 1, 50, Nothing),
    (WITHDRAWREWARD, "WITHDRAWREWARD", 0, 1, 20_000, Nothing),
    (UNFREEZEBALANCEV2, "UNFREEZEBALANCEV2", 2, 1, 10_000, Nothing),
    (CANCELALLUNFREEZEV2, "CANCELALLUNFREEZEV2", 0, 1, 10_000, Nothing),
    (WITHDRAWEXPIREUNFREEZE, "WITHDRAWEXPIREUNFREEZE", 0, 1, 10_000, Nothing),
    (DELEGATERESOURCE, "DELEGATERESOURCE", 3, 1, 10_000, Nothing),
    (UNDELEGATERESOURCE, "UNDELEGATERESOURCE", 3, 1, 10_000, Nothing),
    (0xf0, "CREATE", 3, 1, 32_000, memory(1, 2)),
    (CALL, "CALL", 7, 1, 40, call(Value::Sent, 3)),
    (CALLCODE, "CALLCODE", 7, 1, 40, call(Value::Kept, 3)),
    (0xf3, "RETURN", 2, 0, 0, memory(0, 1)),
    (DELEGATECALL, "DELEGATECALL", 6, 1, 40, call(Value::No, 2)),
    (0xf5, "CREATE2", 4, 1, 32_000, More::Hashed { offset: 1, size: 2 }),
    (STATICCALL, "STATICCALL", 6, 1, 40, call(Value::No, 2)),
    (0xfd, "REVERT", 2, 0, 0, memory(0, 1)),
    (0xff, "SUICIDE", 1, 0, 5_000, More::NewAccount(0)),
];

/// The rule of each instruction that exists.
pub(super) static RULES: [Option<Rule>; 256] = rules();

const fn rules() -> [Option<Rule>; 256] {
    let mut rules = [None; 256];
    let mut i = 0;
    while i < ROWS.len() {
        let (code, name, takes, gives, energy, more) = ROWS[i];
        rules[code as usize] = Some(Rule { takes, gives, energy, more, name });
        i += 1;
    }
    let mut n = 0;
    while n < 32 {
        rules[0x60 + n as usize] = numbered(0, 1, 3, Nothing);
        if n < 16 {
            rules[0x80 + n as usize] = numbered(n + 1, n + 2, 3, Nothing);
            rules[0x90 + n as usize] = numbered(n + 2, n + 2, 3, Nothing);
        }
        if n < 5 {
            rules[0xa0 + n as usize] = numbered(n + 2, 0, LOG_TOPIC, More::Log { topics: n as u64 });
        }
        n += 1;
    }
    rules
}

const fn numbered(takes: u8, gives: u8, energy: u64, more: More) -> Option<Rule> {
    Some(Rule { takes, gives, energy, more, name: "" })
}

/// java-tron's name of an instruction.
pub(super) fn name(code: u8) -> Cow<'static, str> {
    match code {
        0x60..=0x7f => format!("PUSH{}", code - 0x5f).into(),
        0x80..=0x8f => format!("DUP{}", code - 0x7f).into(),
        0x90..=0x9f => format!("SWAP{}", code - 0x8f).into(),
        0xa0..=0xa4 => format!("LOG{}", code - 0xa0).into(),
        _ => RULES[usize::from(code)].map_or("null", |rule| rule.name).into(),
    }
}

/// revm's own prices: none, except that a call hands on at most 63/64 of what is left and what it sends comes with a
/// stipend.
pub(super) fn free_of_charge() -> GasParams {
    static FREE: LazyLock<GasParams> = LazyLock::new(|| {
        let mut params = GasParams::new(Arc::new([0; 256]));
        params.override_gas([
            (GasId::call_stipend(), STIPEND),
            (GasId::call_stipend_reduction(), 64),
            // A divisor.
            (GasId::memory_quadratic_reduction(), u64::MAX),
        ]);
        params
    });
    FREE.clone()
}
