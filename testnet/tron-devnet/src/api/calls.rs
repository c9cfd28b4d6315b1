//! All calls of the full node's API, and how they are answered.

use serde_json::{Value, json};

use super::request::{BadRequest, Request};
use super::{Call, Tree, account, broadcast, constant, make, query, schema, sign, stake};
use crate::chain::absent;
use crate::faults::Plan;
use crate::node::Node;

/// What a call does.
pub(super) type Handler = fn(&Call<'_>) -> Result<Value, BadRequest>;

/// Calls of `/wallet` and `/walletsolidity`.
static BOTH: &[(&str, Handler)] = &[
    ("estimateenergy", constant::estimate),
    ("getaccount", account::account),
    ("getavailableunfreezecount", stake::unfreeze_count),
    ("getbandwidthprices", |call| query::prices(call.node.chain().params().bandwidth_price)),
    ("getblock", query::block),
    ("getblockbyid", query::block_by_id),
    ("getblockbylatestnum", query::latest_blocks),
    ("getblockbylimitnext", query::blocks_from),
    ("getblockbynum", query::block_by_number),
    ("getburntrx", query::burnt),
    ("getcandelegatedmaxsize", stake::delegatable),
    ("getcanwithdrawunfreezeamount", stake::withdrawable),
    ("getdelegatedresourceaccountindexv2", stake::partners),
    ("getdelegatedresourcev2", stake::delegations),
    ("getenergyprices", |call| query::prices(call.node.chain().params().energy_price)),
    ("getnodeinfo", query::node_info),
    ("getnowblock", query::now_block),
    ("gettransactionbyid", query::transaction),
    ("gettransactioncountbyblocknum", query::transaction_count),
    ("gettransactioninfobyblocknum", query::transaction_infos),
    ("gettransactioninfobyid", query::transaction_info),
    ("listwitnesses", query::witnesses),
    ("triggerconstantcontract", constant::call),
    // Full nodes have it only in the other tree.
    ("validateaddress", query::validate_address),
];

/// Calls of `/wallet` alone.
static HEAD: &[(&str, Handler)] = &[
    ("accountpermissionupdate", |call| make::system(call, &schema::ACCOUNT_PERMISSION_UPDATE)),
    ("broadcasthex", broadcast::hex),
    ("broadcasttransaction", broadcast::transaction),
    ("cancelallunfreezev2", |call| make::system(call, &schema::CANCEL_ALL_UNFREEZE_V2)),
    ("clearabi", |call| make::system(call, &schema::CLEAR_ABI)),
    ("createaccount", |call| make::system(call, &schema::ACCOUNT_CREATE)),
    ("createCommonTransaction", make::common),
    ("createtransaction", make::transfer),
    ("delegateresource", |call| make::system(call, &schema::DELEGATE_RESOURCE)),
    ("deploycontract", make::deploy),
    ("freezebalancev2", |call| make::system(call, &schema::FREEZE_BALANCE_V2)),
    ("getaccountnet", account::account_net),
    ("getaccountresource", account::account_resource),
    ("getapprovedlist", sign::approved_list),
    ("getchainparameters", query::chain_parameters),
    ("getcontract", query::contract),
    ("getcontractinfo", query::contract_info),
    ("getmemofee", |call| query::prices(call.node.chain().params().memo_fee)),
    ("getpendingsize", |call| Ok(json!({ "pendingSize": call.node.chain().pending() }))),
    ("getsignweight", sign::sign_weight),
    ("gettransactionfrompending", query::pending_transaction),
    ("gettransactionlistfrompending", query::pending_list),
    ("totaltransaction", query::total_transactions),
    ("triggersmartcontract", make::trigger),
    ("undelegateresource", |call| make::system(call, &schema::UNDELEGATE_RESOURCE)),
    ("unfreezebalancev2", |call| make::system(call, &schema::UNFREEZE_BALANCE_V2)),
    ("updateaccount", |call| make::system(call, &schema::ACCOUNT_UPDATE)),
    ("updateenergylimit", |call| make::system(call, &schema::UPDATE_ENERGY_LIMIT)),
    ("updatesetting", |call| make::system(call, &schema::UPDATE_SETTING)),
    ("withdrawexpireunfreeze", |call| make::system(call, &schema::WITHDRAW_EXPIRE_UNFREEZE)),
];

/// Calls about what this network has none of, and what they answer.
static NOTHING: &[(&str, Handler)] = &[
    ("getaccountbyid", |_| Ok(query::none())),
    ("getassetissuebyaccount", |_| Ok(query::none())),
    ("getassetissuebyid", |_| Ok(query::none())),
    ("getassetissuebyname", |_| Ok(query::none())),
    ("getassetissuelist", |_| Ok(query::none())),
    ("getassetissuelistbyname", |_| Ok(query::none())),
    ("getexchangebyid", |_| Ok(query::none())),
    ("getpaginatedassetissuelist", |_| Ok(query::none())),
    ("getpaginatedexchangelist", |_| Ok(query::none())),
    ("getpaginatedproposallist", |_| Ok(query::none())),
    ("getproposalbyid", |_| Ok(query::none())),
    ("getBrokerage", |_| Ok(json!({ "brokerage": 20 }))),
    ("getReward", |_| Ok(json!({ "reward": 0 }))),
    ("listexchanges", |_| Ok(query::none())),
    ("listnodes", |_| Ok(query::none())),
    ("listproposals", |_| Ok(query::none())),
];

/// Calls that build transactions which this network does not carry out, with the contract type. They answer what broadcasting
/// one is answered.
static ABSENT: &[(&str, i32)] = &[
    ("createassetissue", 6),
    ("createwitness", 5),
    ("exchangecreate", 41),
    ("exchangeinject", 42),
    ("exchangetransaction", 44),
    ("exchangewithdraw", 43),
    ("freezebalance", 11),
    ("marketcancelorder", 53),
    ("marketsellasset", 52),
    ("participateassetissue", 9),
    ("proposalapprove", 17),
    ("proposalcreate", 16),
    ("proposaldelete", 18),
    ("setaccountid", 19),
    ("transferasset", 2),
    ("unfreezeasset", 14),
    ("unfreezebalance", 12),
    ("updateasset", 15),
    ("updateBrokerage", 49),
    ("updatewitness", 8),
    ("votewitnessaccount", 4),
    ("withdrawbalance", 13),
];

/// These say why they were refused in `result` instead of `Error`.
const REFUSED_IN_RESULT: [&str; 3] = ["triggersmartcontract", "triggerconstantcontract", "estimateenergy"];

/// These do not look into a body, whatever is in it.
const BODY_UNREAD: [&str; 11] = [
    "getbandwidthprices",
    "getburntrx",
    "getchainparameters",
    "getenergyprices",
    "getmemofee",
    "getnodeinfo",
    "getnowblock",
    "getpendingsize",
    "listnodes",
    "listwitnesses",
    "totaltransaction",
];

/// The calls of a tree, without those that are only there to be refused.
pub(super) fn calls(tree: Tree) -> impl Iterator<Item = &'static (&'static str, Handler)> {
    BOTH.iter().chain(NOTHING).chain(if tree == Tree::Head { HEAD } else { &[] })
}

/// None if there is no such call.
pub(super) fn answer(
    node: &Node,
    tree: Tree,
    name: &str,
    request: &Result<Request, BadRequest>,
    plan: &Plan,
) -> Option<Value> {
    let Some((_, handler)) = calls(tree).find(|(known, _)| *known == name) else {
        let (_, contract_type) = ABSENT.iter().find(|(absent, _)| tree == Tree::Head && *absent == name)?;
        return absent(*contract_type).map(|refusal| make::refused(&refusal).to_value());
    };
    let unread = Request::default();
    let answered = match request {
        Ok(request) => handler(&Call { node, tree, request, plan }),
        Err(_) if BODY_UNREAD.contains(&name) => handler(&Call { node, tree, request: &unread, plan }),
        Err(bad) => Err(bad.clone()),
    };
    Some(answered.unwrap_or_else(|bad| {
        if REFUSED_IN_RESULT.contains(&name) {
            let style = request.as_ref().map(Request::style).unwrap_or_default();
            return constant::refused(&bad, style);
        }
        bad.to_value()
    }))
}
