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
    /// Sun for a memo in a transaction.
    pub memo_fee: u64,
    /// Sun burnt instead of bandwidth when a transfer creates its recipient.
    pub create_account_bandwidth_fee: u64,
    /// Most bytes, signatures apart, of a transaction that creates an account.
    pub create_account_bytes: usize,
    /// Sun for the new account itself.
    pub create_account_fee: u64,
    /// Sun for a permission update.
    pub permission_update_fee: u64,
    /// Highest fee limit, in sun.
    pub max_fee_limit: u64,
    /// Energy limit of constant calls without a fee limit.
    pub constant_energy_limit: u64,
    /// Bytes a day that all stakes for bandwidth divide among them.
    pub total_net_limit: u64,
    /// Energy a day that all stakes for energy divide among them.
    pub total_energy_limit: u64,
    /// Whole TRX that others have staked for bandwidth from the beginning, so that a stake yields what it does on the main
    /// network: 1.6 bytes a day for 1 TRX.
    pub genesis_net_weight: u64,
    /// Whole TRX that others have staked for energy from the beginning: about 9.5 energy a day for 1 TRX.
    pub genesis_energy_weight: u64,
    /// Days that unstaking takes.
    pub unfreeze_delay_days: u64,
    /// Longest lock of a delegation of resources, in slots of 3 seconds.
    pub max_delegate_lock_period: u64,
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
            create_account_bytes: 1_000,
            create_account_fee: 1_000_000,
            permission_update_fee: 100_000_000,
            max_fee_limit: 15_000_000_000,
            constant_energy_limit: 100_000_000,
            total_net_limit: 43_200_000_000,
            total_energy_limit: 180_000_000_000,
            genesis_net_weight: 27_000_000_000,
            genesis_energy_weight: 19_000_000_000,
            unfreeze_delay_days: 14,
            max_delegate_lock_period: 864_000,
            max_pending: 20_000,
        }
    }
}

/// Largest transaction, in bytes.
pub(crate) const MAX_TRANSACTION_BYTES: usize = 500 * 1024;
/// What java-tron reserves for a transaction's result when it counts bandwidth.
pub(crate) const RESULT_BYTES: u64 = 64;
/// What java-tron allows in a result for how a contract ended.
pub(crate) const CONTRACT_RESULT_BYTES: usize = 2;
/// Transactions wait for a block while they have fewer bytes than this in all, of [`MAX_TRANSACTION_BYTES`] at most each.
/// Decoded, they take a few times as much memory.
pub(crate) const MAX_PENDING_BYTES: usize = 256 * 1024 * 1024;
/// A block holds transactions up to about this many bytes.
pub(crate) const MAX_BLOCK_BYTES: usize = 2_000_000;
/// An expiration may lie this many milliseconds after the head.
pub(crate) const MAX_EXPIRATION: u64 = 24 * 60 * 60 * 1000;
/// Bytes of a signature.
pub(crate) const SIGNATURE_BYTES: usize = 65;
/// Signatures on one transaction.
pub(crate) const MAX_SIGNATURES: usize = 5;
/// A reference block is found by the last 16 bits of its number, so it may be this many blocks old.
pub(crate) const REF_BLOCK_RING: u64 = 65_536;
/// Milliseconds of the slots in which bandwidth is counted.
pub(crate) const SLOT_MS: u64 = 3_000;
/// Slots after which used bandwidth is free again: a day.
pub(crate) const WINDOW_SLOTS: u64 = 28_800;

impl Params {
    /// Sun per energy; without a price, java-tron's own.
    pub fn sun_per_energy(&self) -> u64 {
        if self.energy_price == 0 { 100 } else { self.energy_price }
    }

    /// Name and value pairs in the order in which `getchainparameters` lists them. What this network does not have is as it
    /// is on the main network.
    pub fn listed(&self) -> Vec<(&'static str, i64)> {
        let int = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        vec![
            ("getMaintenanceTimeInterval", 21_600_000),
            ("getAccountUpgradeCost", 9_999_000_000),
            ("getCreateAccountFee", int(self.create_account_bandwidth_fee)),
            ("getTransactionFee", int(self.bandwidth_price)),
            ("getAssetIssueFee", 1_024_000_000),
            ("getWitnessPayPerBlock", 8_000_000),
            ("getWitnessStandbyAllowance", 115_200_000_000),
            ("getCreateNewAccountFeeInSystemContract", int(self.create_account_fee)),
            ("getCreateNewAccountBandwidthRate", 1),
            ("getAllowCreationOfContracts", 1),
            ("getRemoveThePowerOfTheGr", -1),
            ("getEnergyFee", int(self.energy_price)),
            ("getExchangeCreateFee", 1_024_000_000),
            ("getMaxCpuTimeOfOneTx", 80),
            ("getAllowUpdateAccountName", 0),
            ("getAllowSameTokenName", 1),
            ("getAllowDelegateResource", 1),
            ("getTotalEnergyLimit", int(self.total_energy_limit)),
            ("getAllowTvmTransferTrc10", 1),
            ("getTotalEnergyCurrentLimit", int(self.total_energy_limit)),
            ("getAllowMultiSign", 1),
            ("getAllowAdaptiveEnergy", 0),
            ("getTotalEnergyTargetLimit", int(self.total_energy_limit) / 28_800),
            ("getTotalEnergyAverageUsage", 0),
            ("getUpdateAccountPermissionFee", int(self.permission_update_fee)),
            ("getMultiSignFee", int(self.multi_sign_fee)),
            ("getAllowAccountStateRoot", 0),
            ("getAllowProtoFilterNum", 0),
            ("getAllowTvmConstantinople", 1),
            ("getAllowTvmSolidity059", 1),
            ("getAllowTvmIstanbul", 1),
            ("getAllowShieldedTRC20Transaction", 1),
            ("getForbidTransferToContract", 1),
            ("getAdaptiveResourceLimitTargetRatio", 10),
            ("getAdaptiveResourceLimitMultiplier", 1_000),
            ("getChangeDelegation", 1),
            ("getWitness127PayPerBlock", 128_000_000),
            ("getAllowMarketTransaction", 0),
            ("getMarketSellFee", 0),
            ("getMarketCancelFee", 0),
            ("getAllowPBFT", 0),
            ("getAllowTransactionFeePool", 0),
            ("getMaxFeeLimit", int(self.max_fee_limit)),
            ("getAllowOptimizeBlackHole", 1),
            ("getAllowNewResourceModel", 0),
            ("getAllowTvmFreeze", 0),
            ("getAllowTvmVote", 1),
            ("getAllowTvmLondon", 1),
            ("getAllowTvmCompatibleEvm", 1),
            ("getAllowAccountAssetOptimization", 0),
            ("getFreeNetLimit", int(self.free_bandwidth)),
            ("getTotalNetLimit", int(self.total_net_limit)),
            ("getAllowHigherLimitForMaxCpuTimeOfOneTx", 1),
            ("getAllowAssetOptimization", 1),
            ("getAllowNewReward", 1),
            ("getMemoFee", int(self.memo_fee)),
            ("getAllowDelegateOptimization", 1),
            ("getUnfreezeDelayDays", int(self.unfreeze_delay_days)),
            ("getAllowOptimizedReturnValueOfChainId", 1),
            ("getAllowDynamicEnergy", 1),
            ("getDynamicEnergyThreshold", 5_000_000_000),
            ("getDynamicEnergyIncreaseFactor", 2_000),
            ("getDynamicEnergyMaxFactor", 34_000),
            ("getAllowTvmShangHai", 1),
            ("getAllowCancelAllUnfreezeV2", 1),
            ("getMaxDelegateLockPeriod", int(self.max_delegate_lock_period)),
            ("getAllowOldRewardOpt", 1),
            ("getAllowEnergyAdjustment", 1),
            ("getMaxCreateAccountTxSize", i64::try_from(self.create_account_bytes).unwrap_or(i64::MAX)),
            ("getAllowStrictMath", 1),
            ("getConsensusLogicOptimization", 1),
            ("getAllowTvmCancun", 1),
            ("getAllowTvmBlob", 1),
        ]
    }
}
