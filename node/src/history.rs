//! Records for queries. Nothing that nodes agree on is read from here.
//!
//! [`ledger`] holds what blocks say of payouts, written with the block that says it; [`vault`] what the payment network says of
//! vaults, written as it is read.

pub mod ledger;
pub mod vault;
