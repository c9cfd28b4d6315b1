//! Records for queries. Nothing that nodes agree on is read from here.
//!
//! [`epochs`], [`reports`], [`scores`] and [`ledger`] hold what blocks say of epochs and payouts, written with the block that says it; [`vault`] what
//! the payment network says of vaults, written as it is read; [`metrics`] what nodes say of their machines, [`resources`] how this
//! node's own went, and [`validations`] what validators found when this node asked them to ping a worker. Scores, and the stats from which they
//! follow, are kept for a year, metrics, resources and validations for 90 days and reports for 7; what is said of payouts, vaults and epochs stays.

pub mod epochs;
pub mod expiry;
pub mod ledger;
pub mod metrics;
pub mod reports;
pub mod resources;
pub mod scores;
pub mod validations;
pub mod vault;

use std::time::Duration;

use lucid_types::time::UnixMillis;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When records are read that never expire: any time is right.
const ANY_TIME: UnixMillis = UnixMillis::ZERO;
