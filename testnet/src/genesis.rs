//! The genesis of a local network. Pure: everything that is chosen elsewhere is an argument.

use std::time::Duration;

use anyhow::Result;
use lucid_types::genesis::{Genesis, PaymentNetwork};
use lucid_types::id::{PayoutAddress, SolidBlockId};
use lucid_types::policy::Policy;
use lucid_types::time::UnixMillis;
use lucid_types::validator::Validator;

/// From writing the genesis to the start of epoch 1.
const LEAD: Duration = Duration::from_secs(3);
/// The genesis time is a multiple of this, in milliseconds.
const ROUNDING_MS: u64 = 100;
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
    /// The validators.
    pub validators: Vec<Validator>,
}

/// Builds the genesis and checks it as every node will.
///
/// # Errors
/// Names the parameter or entry that is refused.
pub fn build(parts: Parts) -> Result<Genesis> {
    let genesis = Genesis {
        name: parts.name,
        genesis_time: start(parts.now),
        tron: PaymentNetwork { network: "local".into(), genesis_block: parts.tron_genesis_block, usdt: parts.usdt },
        policy: parts.policy,
        validators: parts.validators,
        // Who works, and for which pool, is a matter of commands.
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
    use lucid_types::id::NodeId;
    use lucid_types::validator_key::ValidatorKey;

    use super::*;

    fn validator(byte: u8) -> Validator {
        let node = NodeId::from_bytes([byte; 32]);
        Validator { node, power: 1, operator: node, keys: ValidatorKey::from_seed(&[byte; 32]).keys(&node) }
    }

    fn parts() -> Parts {
        Parts {
            name: "local".into(),
            now: UnixMillis::new(1_700_000_000_001),
            policy: Policy::local(Duration::from_secs(5), 2, Some(3)),
            tron_genesis_block: SolidBlockId::from_bytes([9; 32]),
            usdt: PayoutAddress::from_hash20([1; 20]),
            validators: [1, 2].map(validator).to_vec(),
        }
    }

    #[test]
    fn the_text_form_reads_back_to_the_same_network() {
        let genesis = build(parts()).unwrap();
        let text = toml::to_string(&genesis).unwrap();
        let read: Genesis = toml::from_str(&text).unwrap();
        assert_eq!(read, genesis);
        assert_eq!(read.network_id(), genesis.network_id());
        assert!(text.contains("[[validator]]"), "{text}");
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
