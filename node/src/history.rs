//! Records for queries. Nothing that nodes agree on is read from here.
//!
//! [`epochs`] and [`ledger`] hold what blocks say of epochs and payouts, written with the block that says it; [`vault`] what the
//! payment network says of vaults, written as it is read.

pub mod epochs;
pub mod ledger;
pub mod vault;
