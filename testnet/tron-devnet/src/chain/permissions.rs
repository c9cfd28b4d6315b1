//! The rules for a permission update: java-tron's `AccountPermissionUpdateActuator`.

use lucid_tron_types::proto::{self, PermissionType};

use super::account::Permissions;
use super::params::MAX_SIGNATURES;
use super::refusal::Refusal;
use crate::address;

/// Contract types that the main network has, one bit each.
const AVAILABLE_TYPES: [u8; 8] = [0x7f, 0xff, 0x1f, 0xc0, 0x03, 0x7e, 0xc3, 0x0f];

/// The permissions that `message` sets, if they follow the rules.
pub(crate) fn checked(message: &proto::AccountPermissionUpdateContract) -> Result<Permissions, Refusal> {
    let Some(owner) = &message.owner else {
        return Err(Refusal::invalid("owner permission is missed"));
    };
    if message.witness.is_some() {
        return Err(Refusal::invalid("account isn't witness can't set witness permission"));
    }
    if message.actives.is_empty() {
        return Err(Refusal::invalid("active permission is missed"));
    }
    if message.actives.len() > 8 {
        return Err(Refusal::invalid("active permission is too many"));
    }
    if owner.r#type != i32::from(PermissionType::Owner) {
        return Err(Refusal::invalid("owner permission type is error"));
    }
    check(owner)?;
    let mut actives = Vec::with_capacity(message.actives.len());
    for (active, id) in message.actives.iter().zip(2..) {
        if active.r#type != i32::from(PermissionType::Active) {
            return Err(Refusal::invalid("active permission type is error"));
        }
        check(active)?;
        actives.push(proto::Permission { id, ..active.clone() });
    }
    Ok(Permissions { owner: proto::Permission { id: 0, ..owner.clone() }, actives })
}

fn check(permission: &proto::Permission) -> Result<(), Refusal> {
    let name = PermissionType::try_from(permission.r#type).map_or("UNRECOGNIZED", PermissionType::name);
    if permission.keys.len() > MAX_SIGNATURES {
        return Err(Refusal::invalid(format_args!(
            "number of keys in permission should not be greater than {MAX_SIGNATURES}"
        )));
    }
    if permission.keys.is_empty() {
        return Err(Refusal::invalid("key's count should be greater than 0"));
    }
    if permission.threshold <= 0 {
        return Err(Refusal::invalid("permission's threshold should be greater than 0"));
    }
    // Java counts UTF-16 units.
    if permission.permission_name.encode_utf16().count() > 32 {
        return Err(Refusal::invalid("permission's name is too long"));
    }
    if permission.parent_id != 0 {
        return Err(Refusal::invalid("permission's parent should be owner"));
    }
    let mut sum = 0i64;
    for (i, key) in permission.keys.iter().enumerate() {
        if permission.keys.iter().take(i).any(|earlier| earlier.address == key.address) {
            return Err(Refusal::invalid(format_args!("address should be distinct in permission {name}")));
        }
    }
    for key in &permission.keys {
        if address::from_wire(&key.address).is_err() {
            return Err(Refusal::invalid("key is not a validate address"));
        }
        if key.weight <= 0 {
            return Err(Refusal::invalid("key's weight should be greater than 0"));
        }
        sum = sum.checked_add(key.weight).ok_or_else(Refusal::overflow)?;
    }
    if sum < permission.threshold {
        return Err(Refusal::invalid(format_args!(
            "sum of all key's weight should not be less than threshold in permission {name}"
        )));
    }
    if permission.r#type != i32::from(PermissionType::Active) {
        return if permission.operations.is_empty() {
            Ok(())
        } else {
            Err(Refusal::invalid(format_args!("{name} permission needn't operations")))
        };
    }
    if permission.operations.len() != 32 {
        return Err(Refusal::invalid("operations size must 32"));
    }
    for (i, byte) in permission.operations.iter().enumerate() {
        let unknown = byte & !AVAILABLE_TYPES.get(i).copied().unwrap_or(0);
        if unknown != 0 {
            let bit = i * 8 + usize::try_from(unknown.trailing_zeros()).unwrap_or(0);
            return Err(Refusal::invalid(format_args!("{bit} isn't a validate ContractType")));
        }
    }
    Ok(())
}
