//! `lucid signer`: a treasury signer in a process of its own, which signs for a node over a unix socket.
//!
//! The node shows it blocks with their certificates. It verifies each against the validators of its own genesis and takes the
//! payout root or the vault's change out of the block itself, so a node that is broken into cannot make it sign anything that
//! is not final. What it signs of final records, and that it never signs two roots for one settlement, are the rules of
//! [`lucid_tron_bridge::signer`].
//!
//! Not prevented: a node can withhold newer blocks and ask for a root that was final earlier, which a vault takes only until
//! the newer one is posted; and whoever acts as this process's user can replace its genesis and its files. Run it as a user of
//! its own, and let the node's user reach the socket through the socket's group.
//!
//! | module | |
//! |---|---|
//! | [`core`] | what is answered to a request: no sockets, no clock |
//! | [`sets`] | the signers in force, followed from the genesis through certified blocks |
//! | [`watermark`] | what was signed last, in a file and its second copy |
//! | [`files`] | files that survive a power failure |
//! | [`dir`] | the signer's folder: key, genesis, files, lock |
//! | [`passphrase`] | where the keystore's passphrase comes from |
//! | [`protocol`] | requests, replies, frames |
//! | [`server`] | the socket |
//! | [`client`] | the node's side |
//! | [`blocks`] | which block the node has to show |

pub mod blocks;
pub mod client;
pub mod core;
pub mod dir;
pub mod files;
pub mod passphrase;
pub mod protocol;
pub mod server;
pub mod sets;
pub mod watermark;

#[cfg(test)]
mod fixture;
