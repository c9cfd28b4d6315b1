//! The network's parameters: prices and limits, with the values of TRON's main network, and how clients are told.

/// Prices and limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// Sun per energy.
    pub energy_price: u64,
    /// Sun per byte of bandwidth.
    pub bandwidth_price: u64,
    /// Free bytes a day for every account.
    pub free_bandwidth: u64,
    /// Sun for more than one signature.
    pub multi_sign_fee: u64,
    /// Sun for a note in a transaction.
    pub memo_fee: u64,
    /// Sun burnt instead of bandwidth when a transfer creates its recipient.
    pub create_account_bandwidth_fee: u64,
    /// Sun for the new account itself.
    pub create_account_fee: u64,
    /// Sun for a permission update.
    pub permission_update_fee: u64,
    /// Highest fee limit, in sun.
    pub max_fee_limit: u64,
    /// Energy limit of constant calls without a fee limit.
    pub constant_energy_limit: u64,
    /// Transactions that may wait for a block; more are refused as `SERVER_BUSY`.
    pub max_pending: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            energy_price: 100,
            bandwidth_price: 1_000,
            free_bandwidth: 600,
            multi_sign_fee: 1_000_000,
            memo_fee: 1_000_000,
            create_account_bandwidth_fee: 100_000,
            create_account_fee: 1_000_000,
            permission_update_fee: 100_000_000,
            max_fee_limit: 15_000_000_000,
            constant_energy_limit: 100_000_000,
            max_pending: 20_000,
        }
    }
}

/// Largest transaction, in bytes.
pub(crate) const MAX_TRANSACTION_BYTES: usize = 500 * 1024;
/// What java-tron reserves for a transaction's result when it counts bandwidth.
pub(crate) const RESULT_BYTES: u64 = 64;
/// A block holds transactions up to about this many bytes.
pub(crate) const MAX_BLOCK_BYTES: usize = 2_000_000;
/// An expiration may lie this many milliseconds after the head.
pub(crate) const MAX_EXPIRATION: u64 = 24 * 60 * 60 * 1000;
/// Signatures on one transaction.
pub(crate) const MAX_SIGNATURES: usize = 5;
/// A reference block is found by the last 16 bits of its number, so it may be this many blocks old.
pub(crate) const REF_BLOCK_RING: u64 = 65_536;
/// Milliseconds of the slots in which bandwidth is counted.
pub(crate) const SLOT_MS: u64 = 3_000;
/// Slots after which used bandwidth is free again: a day.
pub(crate) const WINDOW_SLOTS: u64 = 28_800;

impl Params {
    /// Name and value pairs as `getchainparameters` lists them.
    pub fn listed(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("getMaintenanceTimeInterval", 21_600_000),
            ("getAccountUpgradeCost", 9_999_000_000),
            ("getCreateAccountFee", self.create_account_bandwidth_fee),
            ("getTransactionFee", self.bandwidth_price),
            ("getAssetIssueFee", 1_024_000_000),
            ("getCreateNewAccountFeeInSystemContract", self.create_account_fee),
            ("getCreateNewAccountBandwidthRate", 1),
            ("getAllowCreationOfContracts", 1),
            ("getEnergyFee", self.energy_price),
            ("getMaxCpuTimeOfOneTx", 80),
            ("getAllowSameTokenName", 1),
            ("getAllowDelegateResource", 1),
            ("getTotalEnergyLimit", 180_000_000_000),
            ("getAllowTvmTransferTrc10", 1),
            ("getTotalEnergyCurrentLimit", 180_000_000_000),
            ("getAllowMultiSign", 1),
            ("getAllowAdaptiveEnergy", 0),
            ("getTotalEnergyTargetLimit", 6_250_000),
            ("getTotalEnergyAverageUsage", 0),
            ("getUpdateAccountPermissionFee", self.permission_update_fee),
            ("getMultiSignFee", self.multi_sign_fee),
            ("getAllowTvmConstantinople", 1),
            ("getAllowTvmSolidity059", 1),
            ("getAllowTvmIstanbul", 1),
            ("getFreeNetLimit", self.free_bandwidth),
            ("getTotalNetLimit", 43_200_000_000),
            ("getAllowTvmLondon", 1),
            ("getAllowTvmCompatibleEvm", 1),
            ("getMaxFeeLimit", self.max_fee_limit),
            ("getMemoFee", self.memo_fee),
            ("getAllowTvmShangHai", 1),
            ("getAllowTvmCancun", 1),
        ]
    }
}
