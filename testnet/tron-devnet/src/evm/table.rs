//! What each instruction costs on TRON: java-tron's `EnergyCost` and `OperationRegistry` as revm's two gas tables.
//!
//! Against Ethereum: no warm and cold access, no refunds, no cost before the first instruction, copies without a base
//! price, memory words at 1 plus expansion. Rules that depend on more than the instruction (SSTORE, SELFDESTRUCT) are in
//! [`super::instructions`].

use revm::bytecode::opcode;
use revm::context_interface::cfg::{GasId, GasParams};
use revm::interpreter::instructions::{GasTable, gas_table};
use revm::primitives::hardfork::SpecId;

/// The rule set whose instructions TRON has (up to MCOPY, TLOAD and TSTORE).
pub(crate) const SPEC: SpecId = SpecId::CANCUN;

/// Energy for each byte of deployed code.
pub(crate) const CODE_BYTE: u64 = 200;
/// Energy for bringing an account to life by a call or a self-destruction.
pub(crate) const NEW_ACCOUNT: u64 = 25_000;
/// SSTORE of a non-zero value into a slot that held nothing.
pub(crate) const SSTORE_SET: u64 = 20_000;
/// Every other SSTORE.
pub(crate) const SSTORE_RESET: u64 = 5_000;
/// Memory of one call frame may not grow past this many bytes.
pub(crate) const MEMORY_LIMIT: u64 = 3 * 1024 * 1024;
/// Calls inside calls.
pub(crate) const MAX_DEPTH: usize = 64;

/// Fixed costs by instruction.
pub(crate) fn static_costs() -> GasTable {
    let mut table = gas_table();
    for (code, cost) in [
        (opcode::MLOAD, 1),
        (opcode::MSTORE, 1),
        (opcode::MSTORE8, 1),
        (opcode::CALLDATACOPY, 0),
        (opcode::CODECOPY, 0),
        (opcode::RETURNDATACOPY, 0),
        (opcode::SLOAD, 50),
        (opcode::SSTORE, 0),
        (opcode::BALANCE, 20),
        (opcode::EXTCODESIZE, 20),
        (opcode::EXTCODECOPY, 20),
        (opcode::EXTCODEHASH, 400),
        (opcode::CALL, 40),
        (opcode::CALLCODE, 40),
        (opcode::DELEGATECALL, 40),
        (opcode::STATICCALL, 40),
        (opcode::SELFDESTRUCT, 0),
        (opcode::TLOAD, 100),
        (opcode::TSTORE, 100),
    ] {
        table[usize::from(code)] = cost;
    }
    table
}

/// Costs that depend on sizes and circumstances.
pub(crate) fn dynamic_costs() -> GasParams {
    let mut params = GasParams::new_spec(SpecId::FRONTIER);
    params.override_gas([
        (GasId::exp_byte_gas(), 10),
        (GasId::initcode_per_word(), 0),
        (GasId::create(), 32_000),
        (GasId::code_deposit_cost(), CODE_BYTE),
        (GasId::transfer_value_cost(), 9_000),
        (GasId::call_stipend(), 2_300),
        (GasId::new_account_cost(), NEW_ACCOUNT),
        // Charged by our own SELFDESTRUCT and SSTORE.
        (GasId::new_account_cost_for_selfdestruct(), 0),
        (GasId::sstore_static(), 0),
        (GasId::sstore_set_without_load_cost(), 0),
        (GasId::sstore_reset_without_cold_load_cost(), 0),
        (GasId::selfdestruct_refund(), 0),
        (GasId::sstore_clearing_slot_refund(), 0),
        (GasId::sstore_set_refund(), 0),
        (GasId::sstore_reset_refund(), 0),
        (GasId::tx_base_stipend(), 0),
        (GasId::tx_token_cost(), 0),
    ]);
    params
}
