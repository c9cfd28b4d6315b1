//! What somebody has asked for with `lucid join` and the chain does not show yet: `HOME/join.toml`.

use lucid_types::attestation::Capacity;
use lucid_types::id::{PayoutAddress, PublicKey};
use lucid_types::join::{JoinPool, JoinString};
use serde::{Deserialize, Serialize};

/// An entry into a network that is under way. It is kept until the chain shows the account registered, and a member of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// The join string, which names the pool and may hold an invite's secret.
    #[serde(with = "text")]
    pub string: JoinString,
    /// Where the account is to be paid; `None` if it should be registered already.
    pub payout_address: Option<PayoutAddress>,
    /// A key kept elsewhere, without whose signature the payout address never changes.
    pub payout_key: Option<PublicKey>,
    /// The account that pays for transactions; `None` for that of the home's gas key.
    pub gas_address: Option<PayoutAddress>,
    /// What is offered of the machine.
    #[serde(default, skip_serializing_if = "CapacityLimits::is_none")]
    pub limits: CapacityLimits,
}

impl Intent {
    /// Where it enters; `None` for the network alone.
    pub const fn pool(&self) -> Option<&JoinPool> {
        self.string.pool.as_ref()
    }
}

/// What a node offers of its machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct CapacityLimits {
    /// CPUs that it offers [default: those of this machine]
    #[arg(long, value_name = "N")]
    pub cores: Option<u32>,
    /// Memory that it offers, in bytes [default: that of this machine]
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<u64>,
    /// Disk that it offers, in bytes [default: what is free where the home is]
    #[arg(long, value_name = "BYTES")]
    pub disk: Option<u64>,
    /// Bandwidth that it offers, in kbit/s [default: 0]
    #[arg(long, value_name = "KBIT_S")]
    pub bandwidth: Option<u64>,
}

impl CapacityLimits {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What is given here, and for the rest what is known.
    pub fn of(self, known: Capacity) -> Capacity {
        Capacity {
            cores: self.cores.unwrap_or(known.cores),
            memory_bytes: self.memory.unwrap_or(known.memory_bytes),
            disk_bytes: self.disk.unwrap_or(known.disk_bytes),
            bandwidth_kbit_s: self.bandwidth.unwrap_or(known.bandwidth_kbit_s),
        }
    }

    /// These, and where one is missing the other's.
    pub fn or(self, other: Self) -> Self {
        Self {
            cores: self.cores.or(other.cores),
            memory: self.memory.or(other.memory),
            disk: self.disk.or(other.disk),
            bandwidth: self.bandwidth.or(other.bandwidth),
        }
    }
}

/// A join string as people see it.
mod text {
    use lucid_types::join::JoinString;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(string: &JoinString, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(string)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JoinString, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
