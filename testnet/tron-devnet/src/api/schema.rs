//! The protocol's messages, as far as the HTTP API reads or prints them: `Tron.proto`, `api.proto` and
//! `core/contract/*.proto`. Which `bytes` are addresses or texts is `HttpSelfFormatFieldName`'s.

use super::message::Kind::{Address, Bool, Bytes, Enum as OneOf, Int32, Int64, Many, Message, Name, Text};
use super::message::{Enum, Field, Schema};

macro_rules! messages {
    ($($(#[$meta:meta])* $name:ident $text:literal { $($number:literal $field:literal $kind:expr),* })*) => {
        $($(#[$meta])* pub(crate) static $name: Schema =
            Schema { name: $text, fields: &[$(Field($number, $field, $kind)),*] };)*
    };
}

/// The schema of a contract's parameter, by the name of the contract type.
pub(crate) fn contract(name: &str) -> Option<&'static Schema> {
    CONTRACTS.iter().copied().find(|schema| schema.name == name)
}

/// Number of a contract type, by its name.
pub(crate) fn contract_number(name: &str) -> Option<i32> {
    CONTRACT_TYPE.1.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// Name of a contract type, by its number.
pub(crate) fn contract_name(number: i64) -> Option<&'static str> {
    CONTRACT_TYPE.1.iter().find(|(known, _)| i64::from(*known) == number).map(|(_, name)| *name)
}

/// Parameters of contracts. Left out: shielded transfers, and proposals, whose parameters are a map.
static CONTRACTS: [&Schema; 36] = [
    &ACCOUNT_CREATE,
    &TRANSFER,
    &TRANSFER_ASSET,
    &VOTE_WITNESS,
    &WITNESS_CREATE,
    &ASSET_ISSUE,
    &WITNESS_UPDATE,
    &PARTICIPATE_ASSET_ISSUE,
    &ACCOUNT_UPDATE,
    &FREEZE_BALANCE,
    &UNFREEZE_BALANCE,
    &WITHDRAW_BALANCE,
    &UNFREEZE_ASSET,
    &UPDATE_ASSET,
    &PROPOSAL_APPROVE,
    &PROPOSAL_DELETE,
    &SET_ACCOUNT_ID,
    &CREATE_SMART,
    &TRIGGER_SMART,
    &UPDATE_SETTING,
    &EXCHANGE_CREATE,
    &EXCHANGE_INJECT,
    &EXCHANGE_WITHDRAW,
    &EXCHANGE_TRANSACTION,
    &UPDATE_ENERGY_LIMIT,
    &ACCOUNT_PERMISSION_UPDATE,
    &CLEAR_ABI,
    &UPDATE_BROKERAGE,
    &MARKET_SELL_ASSET,
    &MARKET_CANCEL_ORDER,
    &FREEZE_BALANCE_V2,
    &UNFREEZE_BALANCE_V2,
    &WITHDRAW_EXPIRE_UNFREEZE,
    &DELEGATE_RESOURCE,
    &UNDELEGATE_RESOURCE,
    &CANCEL_ALL_UNFREEZE_V2,
];

messages! {
    ACCOUNT_CREATE "AccountCreateContract" {
        1 "owner_address" Address, 2 "account_address" Address, 3 "type" OneOf(&ACCOUNT_TYPE)
    }
    TRANSFER "TransferContract" { 1 "owner_address" Address, 2 "to_address" Address, 3 "amount" Int64 }
    TRANSFER_ASSET "TransferAssetContract" {
        1 "asset_name" Name, 2 "owner_address" Address, 3 "to_address" Address, 4 "amount" Int64
    }
    VOTE_WITNESS "VoteWitnessContract" { 1 "owner_address" Address, 2 "votes" Many(&Message(&VOTE)), 3 "support" Bool }
    VOTE "VoteWitnessContract.Vote" { 1 "vote_address" Address, 2 "vote_count" Int64 }
    WITNESS_CREATE "WitnessCreateContract" { 1 "owner_address" Address, 2 "url" Name }
    ASSET_ISSUE "AssetIssueContract" {
        1 "owner_address" Address, 2 "name" Name, 3 "abbr" Name, 4 "total_supply" Int64,
        5 "frozen_supply" Many(&Message(&FROZEN_SUPPLY)), 6 "trx_num" Int32, 7 "precision" Int32, 8 "num" Int32,
        9 "start_time" Int64, 10 "end_time" Int64, 11 "order" Int64, 16 "vote_score" Int32, 20 "description" Name,
        21 "url" Name, 22 "free_asset_net_limit" Int64, 23 "public_free_asset_net_limit" Int64,
        24 "public_free_asset_net_usage" Int64, 25 "public_latest_free_net_time" Int64, 41 "id" Text
    }
    FROZEN_SUPPLY "AssetIssueContract.FrozenSupply" { 1 "frozen_amount" Int64, 2 "frozen_days" Int64 }
    WITNESS_UPDATE "WitnessUpdateContract" { 1 "owner_address" Address, 12 "update_url" Name }
    PARTICIPATE_ASSET_ISSUE "ParticipateAssetIssueContract" {
        1 "owner_address" Address, 2 "to_address" Address, 3 "asset_name" Name, 4 "amount" Int64
    }
    ACCOUNT_UPDATE "AccountUpdateContract" { 1 "account_name" Name, 2 "owner_address" Address }
    FREEZE_BALANCE "FreezeBalanceContract" {
        1 "owner_address" Address, 2 "frozen_balance" Int64, 3 "frozen_duration" Int64, 10 "resource" OneOf(&RESOURCE),
        15 "receiver_address" Address
    }
    UNFREEZE_BALANCE "UnfreezeBalanceContract" {
        1 "owner_address" Address, 10 "resource" OneOf(&RESOURCE), 15 "receiver_address" Address
    }
    WITHDRAW_BALANCE "WithdrawBalanceContract" { 1 "owner_address" Address }
    UNFREEZE_ASSET "UnfreezeAssetContract" { 1 "owner_address" Address }
    UPDATE_ASSET "UpdateAssetContract" {
        1 "owner_address" Address, 2 "description" Name, 3 "url" Name, 4 "new_limit" Int64, 5 "new_public_limit" Int64
    }
    PROPOSAL_APPROVE "ProposalApproveContract" {
        1 "owner_address" Address, 2 "proposal_id" Int64, 3 "is_add_approval" Bool
    }
    PROPOSAL_DELETE "ProposalDeleteContract" { 1 "owner_address" Address, 2 "proposal_id" Int64 }
    SET_ACCOUNT_ID "SetAccountIdContract" { 1 "account_id" Name, 2 "owner_address" Address }
    CREATE_SMART "CreateSmartContract" {
        1 "owner_address" Address, 2 "new_contract" Message(&SMART_CONTRACT), 3 "call_token_value" Int64,
        4 "token_id" Int64
    }
    TRIGGER_SMART "TriggerSmartContract" {
        1 "owner_address" Address, 2 "contract_address" Address, 3 "call_value" Int64, 4 "data" Bytes,
        5 "call_token_value" Int64, 6 "token_id" Int64
    }
    UPDATE_SETTING "UpdateSettingContract" {
        1 "owner_address" Address, 2 "contract_address" Address, 3 "consume_user_resource_percent" Int64
    }
    EXCHANGE_CREATE "ExchangeCreateContract" {
        1 "owner_address" Address, 2 "first_token_id" Name, 3 "first_token_balance" Int64, 4 "second_token_id" Name,
        5 "second_token_balance" Int64
    }
    EXCHANGE_INJECT "ExchangeInjectContract" {
        1 "owner_address" Address, 2 "exchange_id" Int64, 3 "token_id" Name, 4 "quant" Int64
    }
    EXCHANGE_WITHDRAW "ExchangeWithdrawContract" {
        1 "owner_address" Address, 2 "exchange_id" Int64, 3 "token_id" Name, 4 "quant" Int64
    }
    EXCHANGE_TRANSACTION "ExchangeTransactionContract" {
        1 "owner_address" Address, 2 "exchange_id" Int64, 3 "token_id" Name, 4 "quant" Int64, 5 "expected" Int64
    }
    UPDATE_ENERGY_LIMIT "UpdateEnergyLimitContract" {
        1 "owner_address" Address, 2 "contract_address" Address, 3 "origin_energy_limit" Int64
    }
    ACCOUNT_PERMISSION_UPDATE "AccountPermissionUpdateContract" {
        1 "owner_address" Address, 2 "owner" Message(&PERMISSION), 3 "witness" Message(&PERMISSION),
        4 "actives" Many(&Message(&PERMISSION))
    }
    CLEAR_ABI "ClearABIContract" { 1 "owner_address" Address, 2 "contract_address" Address }
    UPDATE_BROKERAGE "UpdateBrokerageContract" { 1 "owner_address" Address, 2 "brokerage" Int32 }
    MARKET_SELL_ASSET "MarketSellAssetContract" {
        1 "owner_address" Address, 2 "sell_token_id" Name, 3 "sell_token_quantity" Int64, 4 "buy_token_id" Name,
        5 "buy_token_quantity" Int64
    }
    MARKET_CANCEL_ORDER "MarketCancelOrderContract" { 1 "owner_address" Address, 2 "order_id" Bytes }
    FREEZE_BALANCE_V2 "FreezeBalanceV2Contract" {
        1 "owner_address" Address, 2 "frozen_balance" Int64, 3 "resource" OneOf(&RESOURCE)
    }
    UNFREEZE_BALANCE_V2 "UnfreezeBalanceV2Contract" {
        1 "owner_address" Address, 2 "unfreeze_balance" Int64, 3 "resource" OneOf(&RESOURCE)
    }
    WITHDRAW_EXPIRE_UNFREEZE "WithdrawExpireUnfreezeContract" { 1 "owner_address" Address }
    DELEGATE_RESOURCE "DelegateResourceContract" {
        1 "owner_address" Address, 2 "resource" OneOf(&RESOURCE), 3 "balance" Int64, 4 "receiver_address" Address,
        5 "lock" Bool, 6 "lock_period" Int64
    }
    UNDELEGATE_RESOURCE "UnDelegateResourceContract" {
        1 "owner_address" Address, 2 "resource" OneOf(&RESOURCE), 3 "balance" Int64, 4 "receiver_address" Address
    }
    CANCEL_ALL_UNFREEZE_V2 "CancelAllUnfreezeV2Contract" { 1 "owner_address" Address }

    PERMISSION "Permission" {
        1 "type" OneOf(&PERMISSION_TYPE), 2 "id" Int32, 3 "permission_name" Text, 4 "threshold" Int64,
        5 "parent_id" Int32, 6 "operations" Bytes, 7 "keys" Many(&Message(&KEY))
    }
    KEY "Key" { 1 "address" Address, 2 "weight" Int64 }
    SMART_CONTRACT "SmartContract" {
        1 "origin_address" Address, 2 "contract_address" Address, 3 "abi" Message(&ABI), 4 "bytecode" Bytes,
        5 "call_value" Int64, 6 "consume_user_resource_percent" Int64, 7 "name" Text, 8 "origin_energy_limit" Int64,
        9 "code_hash" Bytes, 10 "trx_hash" Bytes, 11 "version" Int32
    }
    ABI "SmartContract.ABI" { 1 "entrys" Many(&Message(&ABI_ENTRY)) }
    ABI_ENTRY "SmartContract.ABI.Entry" {
        1 "anonymous" Bool, 2 "constant" Bool, 3 "name" Text, 4 "inputs" Many(&Message(&ABI_PARAM)),
        5 "outputs" Many(&Message(&ABI_PARAM)), 6 "type" OneOf(&ABI_TYPE), 7 "payable" Bool,
        8 "stateMutability" OneOf(&ABI_MUTABILITY)
    }
    ABI_PARAM "SmartContract.ABI.Entry.Param" { 1 "indexed" Bool, 2 "name" Text, 3 "type" Text }

    TRANSACTION "Transaction" {
        1 "raw_data" Message(&TRANSACTION_RAW), 2 "signature" Many(&Bytes), 5 "ret" Many(&Message(&TRANSACTION_RESULT))
    }
    TRANSACTION_RAW "Transaction.raw" {
        1 "ref_block_bytes" Bytes, 3 "ref_block_num" Int64, 4 "ref_block_hash" Bytes, 8 "expiration" Int64,
        10 "data" Bytes, 11 "contract" Many(&Message(&TRANSACTION_CONTRACT)), 12 "scripts" Bytes, 14 "timestamp" Int64,
        18 "fee_limit" Int64
    }
    TRANSACTION_CONTRACT "Transaction.Contract" {
        1 "type" OneOf(&CONTRACT_TYPE), 2 "parameter" Message(&ANY), 3 "provider" Bytes, 4 "ContractName" Name,
        5 "Permission_id" Int32
    }
    ANY "Any" { 1 "type_url" Text, 2 "value" Bytes }
    TRANSACTION_RESULT "Transaction.Result" {
        1 "fee" Int64, 2 "ret" OneOf(&RESULT_CODE), 3 "contractRet" OneOf(&CONTRACT_RESULT), 14 "assetIssueID" Text,
        15 "withdraw_amount" Int64, 16 "unfreeze_amount" Int64, 18 "exchange_received_amount" Int64,
        19 "exchange_inject_another_amount" Int64, 20 "exchange_withdraw_another_amount" Int64, 21 "exchange_id" Int64,
        22 "shielded_transaction_fee" Int64, 25 "orderId" Bytes, 27 "withdraw_expire_amount" Int64
    }
    BLOCK_HEADER "BlockHeader" { 1 "raw_data" Message(&BLOCK_HEADER_RAW), 2 "witness_signature" Bytes }
    BLOCK_HEADER_RAW "BlockHeader.raw" {
        1 "timestamp" Int64, 2 "txTrieRoot" Bytes, 3 "parentHash" Bytes, 7 "number" Int64, 8 "witness_id" Int64,
        9 "witness_address" Address, 10 "version" Int32, 11 "accountStateRoot" Bytes
    }

    /// What is asked for an account.
    ACCOUNT "Account" { 3 "address" Address }
    DELEGATED_RESOURCE "DelegatedResourceMessage" { 1 "fromAddress" Address, 2 "toAddress" Address }
    CAN_DELEGATE "CanDelegatedMaxSizeRequestMessage" { 1 "type" Int32, 2 "owner_address" Address }
    UNFREEZE_COUNT "GetAvailableUnfreezeCountRequestMessage" { 1 "owner_address" Address }
    CAN_WITHDRAW "CanWithdrawUnfreezeAmountRequestMessage" { 1 "owner_address" Address, 2 "timestamp" Int64 }
    NUMBER "NumberMessage" { 1 "num" Int64 }
    BYTES "BytesMessage" { 1 "value" Bytes }
    BLOCK_REQUEST "BlockReq" { 1 "id_or_num" Text, 2 "detail" Bool }
    BLOCK_LIMIT "BlockLimit" { 1 "startNum" Int64, 2 "endNum" Int64 }
}

static ACCOUNT_TYPE: Enum = Enum("protocol.AccountType", &[(0, "Normal"), (1, "AssetIssue"), (2, "Contract")]);
static RESOURCE: Enum = Enum("protocol.ResourceCode", &[(0, "BANDWIDTH"), (1, "ENERGY"), (2, "TRON_POWER")]);
static PERMISSION_TYPE: Enum =
    Enum("protocol.Permission.PermissionType", &[(0, "Owner"), (1, "Witness"), (2, "Active")]);
static ABI_TYPE: Enum = Enum(
    "protocol.SmartContract.ABI.Entry.EntryType",
    &[
        (0, "UnknownEntryType"),
        (1, "Constructor"),
        (2, "Function"),
        (3, "Event"),
        (4, "Fallback"),
        (5, "Receive"),
        (6, "Error"),
    ],
);
static ABI_MUTABILITY: Enum = Enum(
    "protocol.SmartContract.ABI.Entry.StateMutabilityType",
    &[(0, "UnknownMutabilityType"), (1, "Pure"), (2, "View"), (3, "Nonpayable"), (4, "Payable")],
);
static RESULT_CODE: Enum = Enum("protocol.Transaction.Result.code", &[(0, "SUCESS"), (1, "FAILED")]);
static CONTRACT_RESULT: Enum = Enum(
    "protocol.Transaction.Result.contractResult",
    &[
        (0, "DEFAULT"),
        (1, "SUCCESS"),
        (2, "REVERT"),
        (3, "BAD_JUMP_DESTINATION"),
        (4, "OUT_OF_MEMORY"),
        (5, "PRECOMPILED_CONTRACT"),
        (6, "STACK_TOO_SMALL"),
        (7, "STACK_TOO_LARGE"),
        (8, "ILLEGAL_OPERATION"),
        (9, "STACK_OVERFLOW"),
        (10, "OUT_OF_ENERGY"),
        (11, "OUT_OF_TIME"),
        (12, "JVM_STACK_OVER_FLOW"),
        (13, "UNKNOWN"),
        (14, "TRANSFER_FAILED"),
        (15, "INVALID_CODE"),
    ],
);
static CONTRACT_TYPE: Enum = Enum(
    "protocol.Transaction.Contract.ContractType",
    &[
        (0, "AccountCreateContract"),
        (1, "TransferContract"),
        (2, "TransferAssetContract"),
        (3, "VoteAssetContract"),
        (4, "VoteWitnessContract"),
        (5, "WitnessCreateContract"),
        (6, "AssetIssueContract"),
        (8, "WitnessUpdateContract"),
        (9, "ParticipateAssetIssueContract"),
        (10, "AccountUpdateContract"),
        (11, "FreezeBalanceContract"),
        (12, "UnfreezeBalanceContract"),
        (13, "WithdrawBalanceContract"),
        (14, "UnfreezeAssetContract"),
        (15, "UpdateAssetContract"),
        (16, "ProposalCreateContract"),
        (17, "ProposalApproveContract"),
        (18, "ProposalDeleteContract"),
        (19, "SetAccountIdContract"),
        (20, "CustomContract"),
        (30, "CreateSmartContract"),
        (31, "TriggerSmartContract"),
        (32, "GetContract"),
        (33, "UpdateSettingContract"),
        (41, "ExchangeCreateContract"),
        (42, "ExchangeInjectContract"),
        (43, "ExchangeWithdrawContract"),
        (44, "ExchangeTransactionContract"),
        (45, "UpdateEnergyLimitContract"),
        (46, "AccountPermissionUpdateContract"),
        (48, "ClearABIContract"),
        (49, "UpdateBrokerageContract"),
        (51, "ShieldedTransferContract"),
        (52, "MarketSellAssetContract"),
        (53, "MarketCancelOrderContract"),
        (54, "FreezeBalanceV2Contract"),
        (55, "UnfreezeBalanceV2Contract"),
        (56, "WithdrawExpireUnfreezeContract"),
        (57, "DelegateResourceContract"),
        (58, "UnDelegateResourceContract"),
        (59, "CancelAllUnfreezeV2Contract"),
    ],
);
