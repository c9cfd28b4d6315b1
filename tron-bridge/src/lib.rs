//! TRON for Lucid: transactions built and signed locally, sent, and followed until they are solidified.
//!
//! The only product crate that names TRON, secp256k1 or an HTTP client for it. It decides nothing about work or shares, and it
//! stores nothing: durable state is the node's.
//!
//! | module | |
//! |---|---|
//! | [`address`] | addresses: of keys, of contracts, as words |
//! | [`key`] | a TRON key, with one signing method for each purpose |
//! | [`keystore`] | a TRON key in a file that a passphrase opens |
//! | [`signature`] | who signed a digest |
//! | [`signer`] | what a treasury signer signs, and what it never signs |
//! | [`transaction`] | builds contract calls, contract creations and transfers of TRX |
//! | [`trc20`] | calls of a token |
//! | [`vault`] | the payout vault: calls, digests, snapshot, events, errors, code |
//! | [`client`] | one provider group: endpoints that stand in for each other |
//! | [`providers`] | several provider groups as independent witnesses |
//! | [`pusher`] | gets a pool's roots posted and its accounts paid |
//! | [`sender`] | a person's or a set-up's transactions, from the estimate to the solidified receipt |

pub mod address;
pub mod client;
pub mod key;
pub mod keystore;
pub mod providers;
pub mod pusher;
pub mod sender;
pub mod signature;
pub mod signer;
pub mod transaction;
pub mod trc20;
pub mod vault;
