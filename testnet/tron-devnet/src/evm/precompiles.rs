//! Precompiled contracts: Ethereum's 1 to 8 at their Istanbul prices, except that TRON's 3 is not RIPEMD-160; that one is at
//! 0x20003, and BLAKE2 at 0x20009.
//!
//! TRON's own (signature batches at 9 and 10, shielded transfers, staking queries) are not here: calling such an address
//! is a call to an account without code.

use revm::context_interface::ContextTr;
use revm::handler::PrecompileProvider;
use revm::interpreter::{CallInputs, Gas, InstructionResult, InterpreterResult};
use revm::precompile::{PrecompileSpecId, Precompiles};
use revm::primitives::{Address, AddressSet, Bytes, address, hardfork::SpecId};
use sha2::{Digest, Sha256};

use revm::handler::precompile_output_to_interpreter_result;

/// See the module.
#[derive(Debug)]
pub(crate) struct TronPrecompiles {
    istanbul: &'static Precompiles,
    addresses: AddressSet,
}

impl TronPrecompiles {
    pub(crate) fn new() -> Self {
        Self {
            istanbul: Precompiles::new(PrecompileSpecId::ISTANBUL),
            addresses: (1..=8).map(Address::with_last_byte).chain([RIPEMD160, BLAKE2]).collect(),
        }
    }
}

const RIPEMD160: Address = address!("0000000000000000000000000000000000020003");
const BLAKE2: Address = address!("0000000000000000000000000000000000020009");

/// Where Ethereum has what TRON has at `address`.
fn on_ethereum(address: Address) -> Address {
    match address {
        RIPEMD160 => Address::with_last_byte(3),
        BLAKE2 => Address::with_last_byte(9),
        same => same,
    }
}

impl<CTX: ContextTr> PrecompileProvider<CTX> for TronPrecompiles {
    type Output = InterpreterResult;

    fn set_spec(&mut self, _spec: <CTX::Cfg as revm::context_interface::Cfg>::Spec) -> bool
    where
        <CTX::Cfg as revm::context_interface::Cfg>::Spec: Into<SpecId>,
    {
        false
    }

    fn run(&mut self, context: &mut CTX, inputs: &CallInputs) -> Result<Option<InterpreterResult>, String> {
        if !self.addresses.contains(&inputs.bytecode_address) {
            return Ok(None);
        }
        let data = inputs.input.bytes(context);
        if inputs.bytecode_address == Address::with_last_byte(3) {
            return Ok(Some(sha256_of_shortened_sha256(&data, inputs.gas_limit)));
        }
        let Some(precompile) = self.istanbul.get(&on_ethereum(inputs.bytecode_address)) else {
            return Ok(None);
        };
        let output = precompile.execute(&data, inputs.gas_limit, inputs.reservoir).map_err(|e| e.to_string())?;
        Ok(Some(precompile_output_to_interpreter_result(output, inputs.gas_limit)))
    }

    fn warm_addresses(&self) -> &AddressSet {
        &self.addresses
    }
}

/// What java-tron computes at address 3: the SHA-256 of the first 20 bytes of the input's SHA-256.
fn sha256_of_shortened_sha256(data: &[u8], energy_limit: u64) -> InterpreterResult {
    let words = u64::try_from(data.len().div_ceil(32)).unwrap_or(u64::MAX);
    let energy = words.saturating_mul(120).saturating_add(600);
    let mut gas = Gas::new(energy_limit);
    if !gas.record_regular_cost(energy) {
        gas.spend_all();
        return InterpreterResult::new(InstructionResult::PrecompileOOG, Bytes::new(), gas);
    }
    let inner = Sha256::digest(data);
    let outer = Sha256::digest(&inner[..20]);
    InterpreterResult::new(InstructionResult::Return, Bytes::copy_from_slice(&outer), gas)
}
