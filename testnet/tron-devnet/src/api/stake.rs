//! Reading what accounts have delegated, may delegate, and are unstaking.

use revm::primitives::Address;
use serde_json::Value;

use super::json::Out;
use super::message::{Message, Schema};
use super::query::none;
use super::request::BadRequest;
use super::{Call, schema};
use crate::address;
use crate::chain::Resource;

/// The request, and whose account it is about if it is an address.
fn wanted(call: &Call<'_>, schema: &'static Schema) -> Result<(Message, Option<Address>), BadRequest> {
    let read = call.request.read(schema)?;
    let owner = address::from_wire(read.bytes("owner_address")).ok();
    Ok((read, owner))
}

fn one(call: &Call<'_>, name: &str, value: u64) -> Value {
    Out::new(call.request.style()).long(name, value).build()
}

/// `getdelegatedresourcev2`: `fromAddress`, `toAddress`. What is open and what is locked, if there is any.
pub(crate) fn delegations(call: &Call<'_>) -> Result<Value, BadRequest> {
    let read = call.request.read(&schema::DELEGATED_RESOURCE)?;
    let style = call.request.style();
    let [from, to] = ["fromAddress", "toAddress"].map(|name| read.bytes(name));
    let chain = call.node.chain();
    let delegations = match (address::from_wire(from), address::from_wire(to)) {
        (Ok(from), Ok(to)) => call.tree.view(&chain).delegations(from, to),
        _ => None,
    };
    let Some(delegations) = delegations else { return Ok(none()) };
    let pair = || Out::new(style).address("from", from).address("to", to);
    let (bandwidth, energy) = (delegations.of(Resource::Bandwidth), delegations.of(Resource::Energy));
    let mut list = Vec::new();
    if bandwidth.open > 0 || energy.open > 0 {
        let out = pair().long("frozen_balance_for_bandwidth", bandwidth.open);
        list.push(out.long("frozen_balance_for_energy", energy.open).build());
    }
    if bandwidth.locked > 0 || energy.locked > 0 {
        let out = pair()
            .long("frozen_balance_for_bandwidth", bandwidth.locked)
            .long("frozen_balance_for_energy", energy.locked)
            .long("expire_time_for_bandwidth", bandwidth.locked_until)
            .long("expire_time_for_energy", energy.locked_until);
        list.push(out.build());
    }
    Ok(Out::new(style).list("delegatedResource", list).build())
}

/// `getdelegatedresourceaccountindexv2`: `value`, an address.
pub(crate) fn partners(call: &Call<'_>) -> Result<Value, BadRequest> {
    let wire = call.request.address("value")?;
    let Ok(address) = address::from_wire(&wire) else { return Ok(none()) };
    let style = call.request.style();
    let print = |addresses: Vec<Address>| addresses.iter().map(|a| style.address(&address::to_wire(*a))).collect();
    let (receivers, delegators) = call.tree.view(&call.node.chain()).delegation_partners(address);
    Ok(Out::new(style)
        .address("account", &wire)
        .list("fromAccounts", print(delegators))
        .list("toAccounts", print(receivers))
        .build())
}

/// `getcandelegatedmaxsize`: `owner_address`, `type`.
pub(crate) fn delegatable(call: &Call<'_>) -> Result<Value, BadRequest> {
    let (read, owner) = wanted(call, &schema::CAN_DELEGATE)?;
    let resource = i32::try_from(read.int("type")).ok().and_then(Resource::from_wire);
    let chain = call.node.chain();
    let view = call.tree.view(&chain);
    let delegatable = owner.zip(resource).map_or(0, |(owner, resource)| view.delegatable(owner, resource));
    Ok(one(call, "max_size", delegatable))
}

/// `getavailableunfreezecount`: `owner_address`.
pub(crate) fn unfreeze_count(call: &Call<'_>) -> Result<Value, BadRequest> {
    let (_, owner) = wanted(call, &schema::UNFREEZE_COUNT)?;
    let chain = call.node.chain();
    let view = call.tree.view(&chain);
    let owner = owner.filter(|owner| view.account(*owner).is_some());
    let count = owner.map_or(0, |owner| view.available_unfreezes(owner));
    Ok(one(call, "count", u64::try_from(count).unwrap_or(u64::MAX)))
}

/// `getcanwithdrawunfreezeamount`: `owner_address`, and `timestamp`, the head's without.
pub(crate) fn withdrawable(call: &Call<'_>) -> Result<Value, BadRequest> {
    let (read, owner) = wanted(call, &schema::CAN_WITHDRAW)?;
    let Ok(time) = u64::try_from(read.int("timestamp")) else { return Ok(none()) };
    let chain = call.node.chain();
    let view = call.tree.view(&chain);
    let time = if time == 0 { view.block().time() } else { time };
    let account = owner.and_then(|owner| view.account(owner));
    Ok(one(call, "amount", account.map_or(0, |account| account.withdrawable(time))))
}
