//! Ids, amounts, signed records and the wire codec of Lucid.
//!
//! Everything that nodes send each other, sign, hash or store is defined here, with its bytes. This crate performs
//! no IO, reads no clock and uses no float or hash map, so that every node computes the same from the same bytes.
//! The rules that give the records their meaning live in `lucid-score` and `lucid-consensus`.

pub mod amount;
pub mod attestation;
pub mod block;
pub mod bls;
pub mod certificate;
pub mod change;
pub mod codec;
pub mod command;
pub mod evidence;
pub mod genesis;
pub mod id;
pub mod join;
pub mod key;
pub mod log_scale;
pub mod message;
pub mod network_group;
pub mod payout;
pub mod payout_tree;
pub mod policy;
pub mod pool;
pub mod proof;
pub mod report;
pub mod signed;
pub mod stamp;
pub mod storage;
pub mod sync;
pub mod ticket;
pub mod time;
pub mod validator;
pub mod validator_key;
pub mod validator_sets;
pub mod vault;
pub mod vote;

mod bytes;
