//! The genesis of a local network. Pure: everything that is chosen elsewhere is an argument.

use std::time::Duration;

use anyhow::Result;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::genesis::{Genesis, GenesisPool, GenesisWorker, PaymentNetwork, SplitRule, Vault};
use lucid_types::id::{NodeId, PayoutAddress, SolidBlockId};
use lucid_types::policy::Policy;
use lucid_types::time::UnixMillis;
use lucid_types::validator::Validator;

/// Name of the one pool that all workers are in.
pub const POOL: &str = "local";
/// What the pool shares out for each settlement: 120 USDT.
pub const BUDGET: MicroUsdt = MicroUsdt::new(120_000_000);
/// From writing the genesis to the start of epoch 1.
const LEAD: Duration = Duration::from_secs(3);
/// The genesis time is a multiple of this, in milliseconds.
const ROUNDING_MS: u64 = 100;
/// What every local worker declares: a small share of the machine that all of them run on.
const DECLARED: Capacity =
    Capacity { cores: 1, memory_bytes: 256 << 20, disk_bytes: 1 << 30, bandwidth_kbit_s: 100_000 };

/// A worker of the genesis.
#[derive(Clone, Copy, Debug)]
pub struct WorkerEntry {
    /// Its key.
    pub node: NodeId,
    /// Where it is paid.
    pub payout_address: PayoutAddress,
    /// What its bridge pays transactions from.
    pub gas_address: PayoutAddress,
}

/// What a local network's genesis depends on.
#[derive(Clone, Debug)]
pub struct Parts {
    /// For people.
    pub name: String,
    /// When it is written; epoch 1 starts about three seconds later.
    pub now: UnixMillis,
    /// The parameters.
    pub policy: Policy,
    /// Block 0 of the local TRON network.
    pub tron_genesis_block: SolidBlockId,
    /// The USDT contract.
    pub usdt: PayoutAddress,
    /// The contract that pays, as it was deployed.
    pub vault: Vault,
    /// Owns the pool.
    pub owner: NodeId,
    /// Takes the pool's commission, which is none.
    pub commission_address: PayoutAddress,
    /// The validators.
    pub validators: Vec<Validator>,
    /// The workers.
    pub workers: Vec<WorkerEntry>,
}

/// Builds the genesis and checks it as every node will.
///
/// # Errors
/// Names the parameter or entry that is refused.
pub fn build(parts: Parts) -> Result<Genesis> {
    let pool = GenesisPool {
        name: POOL.into(),
        owner: parts.owner,
        members: parts.workers.iter().map(|w| w.node).collect(),
        budget: BUDGET,
        split: SplitRule::CreditsTimesScore,
        commission: Ppm::ZERO,
        commission_address: parts.commission_address,
        vault: parts.vault,
    };
    let worker = |w: &WorkerEntry| GenesisWorker {
        node: w.node,
        operator: w.node,
        payout_address: w.payout_address,
        gas_address: Some(w.gas_address),
        capacity: DECLARED,
    };
    let genesis = Genesis {
        name: parts.name,
        genesis_time: start(parts.now),
        tron: PaymentNetwork { network: "local".into(), genesis_block: parts.tron_genesis_block, usdt: parts.usdt },
        policy: parts.policy,
        validators: parts.validators,
        workers: parts.workers.iter().map(worker).collect(),
        pools: vec![pool],
    };
    genesis.check()?;
    Ok(genesis)
}

fn start(now: UnixMillis) -> UnixMillis {
    UnixMillis::new(now.after(LEAD).get().div_ceil(ROUNDING_MS).saturating_mul(ROUNDING_MS))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::genesis::{SignerSet, TreasurySigner};
    use lucid_types::key::NodeKey;
    use lucid_types::payout::VaultLimits;

    use super::*;

    fn parts() -> Parts {
        let node = |byte| NodeId::from_bytes([byte; 32]);
        let address = |byte| PayoutAddress::from_hash20([byte; 20]);
        let signer = |byte| TreasurySigner { node: node(byte), key_address: address(byte) };
        let worker =
            |byte| WorkerEntry { node: node(byte), payout_address: address(byte), gas_address: address(byte + 100) };
        Parts {
            name: "local".into(),
            now: UnixMillis::new(1_700_000_000_001),
            policy: Policy::local(Duration::from_secs(5), 2, Some(3)),
            tron_genesis_block: SolidBlockId::from_bytes([9; 32]),
            usdt: address(1),
            vault: Vault {
                address: address(2),
                nonce: 0,
                limits: VaultLimits { cap: MicroUsdt::new(5), push_fee: MicroUsdt::new(1) },
                signers: SignerSet { era: 1, threshold: 2, members: vec![signer(1), signer(2)] },
            },
            owner: node(9),
            commission_address: address(3),
            validators: [1, 2]
                .map(|byte| NodeKey::from_seed(&[byte; 32]))
                .map(|key| key.validator(1, key.node_id()))
                .to_vec(),
            workers: vec![worker(11), worker(12)],
        }
    }

    #[test]
    fn the_text_form_reads_back_to_the_same_network() {
        let genesis = build(parts()).unwrap();
        let text = toml::to_string(&genesis).unwrap();
        let read: Genesis = toml::from_str(&text).unwrap();
        assert_eq!(read, genesis);
        assert_eq!(read.network_id(), genesis.network_id());
        assert!(text.contains("[[validator]]") && text.contains("[[worker]]") && text.contains("[[pool]]"), "{text}");
    }

    #[test]
    fn the_owner_is_no_validator_and_every_worker_can_lead() {
        let genesis = build(parts()).unwrap();
        let pool = &genesis.pools[0];
        assert_eq!((pool.owner, &pool.vault), (NodeId::from_bytes([9; 32]), &parts().vault));
        assert!(genesis.workers.iter().all(|worker| worker.gas_address.is_some()));
    }

    #[test]
    fn a_vault_that_could_not_stand_is_refused() {
        let mut parts = parts();
        parts.vault.signers.threshold = 1;
        let error = build(parts).unwrap_err().to_string();
        assert!(error.contains("threshold 1 of 2 signers"), "{error}");
    }

    #[test]
    fn epoch_1_starts_three_seconds_later() {
        assert_eq!(build(parts()).unwrap().genesis_time, UnixMillis::new(1_700_000_003_100));
    }

    #[test]
    fn a_parameter_out_of_bounds_is_named() {
        let policy = Policy::local(Duration::from_secs(1), 2, None);
        let error = build(Parts { policy, ..parts() }).unwrap_err().to_string();
        assert!(error.contains("epoch_ms = 1000"), "{error}");
    }
}
