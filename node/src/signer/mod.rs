//! `lucid signer`: a treasury signer in a process of its own, which signs for a node over a unix socket.
//!
//! With each request the node shows the pool's row of its newest final state, with the row's path to the state root and the block's
//! header and certificate, which prove it to the validators of the signer's own genesis. The row holds all that is ever signed: the
//! pool's newest payout root, its vault's signers in force, and the vault's newest changes with those who must sign them. So a node
//! that is broken into cannot make the signer sign anything that is not final. What it signs of final records, and that it never
//! signs two roots for one settlement, are the rules of [`lucid_tron_bridge::signer`].
//!
//! An old state is certified as well, so a broken node could show one in which signers are in force that were replaced since, or
//! in which a root is the newest for which another was issued since. The signer therefore keeps the newest row that it was shown
//! of each pool, in a file: of an older row it signs only what that one still says. No chain of changes is followed to learn who
//! signs, since the state names them, and its proof stands for all blocks before. Two rows that cannot both be of one chain are
//! refused, and say so: more than two thirds of the validators' power, or their keys, have certified two histories.
//!
//! Not prevented: a node can withhold newer states from a signer that it never showed them to, and ask for a root that was final
//! earlier, which a vault takes only until the newer one is posted; and whoever acts as this process's user can replace its genesis
//! and its files. Run it as a user of its own, and let the node's user reach the socket through the socket's group.
//!
//! | module | |
//! |---|---|
//! | [`core`] | what is answered to a request: no sockets, no clock |
//! | [`proof`] | a pool's row with its proof |
//! | [`record`] | what a request names in a pool's row, and how it is signed |
//! | [`shown`] | the newest row of each pool that was shown, in a file |
//! | [`watermark`] | what was signed last, in a file and its second copy |
//! | [`files`] | files that survive a power failure |
//! | [`dir`] | the signer's folder: key, genesis, files, lock |
//! | [`passphrase`] | where the keystore's passphrase comes from |
//! | [`protocol`] | requests, replies, frames |
//! | [`server`] | the socket |
//! | [`client`] | the node's side |

pub mod client;
pub mod core;
pub mod dir;
pub mod files;
pub mod passphrase;
pub mod proof;
pub mod protocol;
pub mod record;
pub mod server;
pub mod sets;
pub mod shown;
pub mod watermark;

#[cfg(test)]
pub(crate) mod fixture;
