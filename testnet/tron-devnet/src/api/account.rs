//! Reading accounts and their resources.

use revm::primitives::Address;
use serde_json::{Value, json};

use super::json::{Out, Style};
use super::query::none;
use super::request::BadRequest;
use super::{Call, print, schema};
use crate::address;
use crate::chain::params::SLOT_MS;
use crate::chain::resource::TRX;
use crate::chain::{Resource, View};

/// `getaccount`: `address`.
pub(crate) fn account(call: &Call<'_>) -> Result<Value, BadRequest> {
    let read = call.request.read(&schema::ACCOUNT)?;
    let Ok(address) = address::from_wire(read.bytes("address")) else { return Ok(none()) };
    let chain = call.node.chain();
    Ok(print_account(call.tree.view(&chain), address, call.request.style()).unwrap_or_else(none))
}

fn print_account(view: View<'_>, address: Address, style: Style) -> Option<Value> {
    let account = view.account(address)?;
    let [bandwidth, energy] = Resource::ALL.map(|resource| view.staked_usage(address, resource));
    // Slots are counted from the genesis; never is 0.
    let genesis = view.block_by_number(0).map_or(0, |block| block.time());
    let time = |slot: u64| if slot == 0 { 0 } else { genesis.saturating_add(slot.saturating_mul(SLOT_MS)) };
    let account_resource = Out::new(style)
        .long("energy_usage", energy.amount)
        .long("latest_consume_time_for_energy", time(account.energy.usage.slot))
        .long("energy_window_size", energy.window())
        .long("delegated_frozenV2_balance_for_energy", account.energy.delegated)
        .long("acquired_delegated_frozenV2_balance_for_energy", account.energy.acquired)
        .value("energy_window_optimized", true);
    let unstaking = account.unstaking.iter().map(|part| {
        Out::new(style)
            .text("type", resource_name(part.resource))
            .long("unfreeze_amount", part.amount)
            .long("unfreeze_expire_time", part.free_at)
            .build()
    });
    let mut out = Out::new(style)
        .name("account_name", &account.name)
        .text("type", if account.is_contract { "Contract" } else { "" })
        .address("address", &address::to_wire(address))
        .long("balance", account.balance)
        .long("net_usage", bandwidth.amount)
        .long("create_time", account.created_at)
        .long("latest_opration_time", account.last_operation)
        .long("free_net_usage", view.free_bandwidth_used(address))
        .long("latest_consume_time", time(account.bandwidth.usage.slot))
        .long("latest_consume_free_time", time(account.free_net_slot))
        .long("net_window_size", bandwidth.window())
        .value("net_window_optimized", true)
        .value("account_resource", account_resource.build())
        .value(
            "frozenV2",
            vec![
                Out::new(style).long("amount", account.bandwidth.own).build(),
                Out::new(style).text("type", "ENERGY").long("amount", account.energy.own).build(),
                json!({ "type": "TRON_POWER" }),
            ],
        )
        .list("unfrozenV2", unstaking.collect())
        .long("delegated_frozenV2_balance_for_bandwidth", account.bandwidth.delegated)
        .long("acquired_delegated_frozenV2_balance_for_bandwidth", account.bandwidth.acquired)
        // A full node rearranges an account's tokens when it first writes it for good.
        .flag("asset_optimized", view.chain().solid().account(address).is_some());
    if !account.is_contract {
        let (owner, actives) = view.permissions(address);
        out = out.value("owner_permission", print::proto(&schema::PERMISSION, &owner, style)).list(
            "active_permission",
            actives.iter().map(|active| print::proto(&schema::PERMISSION, active, style)).collect(),
        );
    }
    Some(out.build())
}

/// Bandwidth is the default, and so left out.
fn resource_name(resource: Resource) -> &'static str {
    if resource == Resource::Bandwidth { "" } else { resource.name() }
}

/// `getaccountnet`: `address`.
pub(crate) fn account_net(call: &Call<'_>) -> Result<Value, BadRequest> {
    let read = call.request.read(&schema::ACCOUNT)?;
    let chain = call.node.chain();
    let out = net(call.tree.view(&chain), read.bytes("address"), call.request.style());
    Ok(out.map_or_else(none, |(out, _)| out.build()))
}

/// The address comes along.
fn net(view: View<'_>, wire: &[u8], style: Style) -> Option<(Out, Address)> {
    let address = address::from_wire(wire).ok().filter(|address| view.account(*address).is_some())?;
    let pool = view.pool(Resource::Bandwidth);
    let out = Out::new(style)
        .long("freeNetUsed", view.free_bandwidth_used(address))
        .long("freeNetLimit", view.chain().params().free_bandwidth)
        .long("NetUsed", view.staked_usage(address, Resource::Bandwidth).amount)
        .long("NetLimit", view.staked_limit(address, Resource::Bandwidth))
        .long("TotalNetLimit", pool.limit)
        .long("TotalNetWeight", pool.weight);
    Some((out, address))
}

/// `getaccountresource`: `address`.
pub(crate) fn account_resource(call: &Call<'_>) -> Result<Value, BadRequest> {
    let wire = call.request.address("address")?;
    let chain = call.node.chain();
    let view = call.tree.view(&chain);
    let Some((out, address)) = net(view, &wire, call.request.style()) else { return Ok(none()) };
    // What is staked could vote, delegated or not.
    let staked = |resource| {
        view.account(address).map_or(0, |a| a.stake(resource).own.saturating_add(a.stake(resource).delegated))
    };
    let power = Resource::ALL.map(staked).into_iter().fold(0, u64::saturating_add) / TRX;
    let pool = view.pool(Resource::Energy);
    Ok(out
        .long("tronPowerLimit", power)
        .long("EnergyUsed", view.staked_usage(address, Resource::Energy).amount)
        .long("EnergyLimit", view.staked_limit(address, Resource::Energy))
        .long("TotalEnergyLimit", pool.limit)
        .long("TotalEnergyWeight", pool.weight)
        .build())
}
