//! The libp2p mesh: discovery, gossip, request-response and streams.
//!
//! The only crate that names libp2p. Its interface carries node keys, multiaddresses as text, and bytes; what the
//! bytes mean is decided by the [`Gate`] and by whoever takes the [`Events`].
//!
//! ```text
//!  Mesh (handle) --commands--> MeshTask (event loop: swarm, peer manager, outbox) --> Events
//!                                   |  gossip messages                                  ^
//!                                   v                                                   |
//!                              gate threads: Gate::admit -------- accepted items -------+
//! ```
//!
//! The event loop never waits for the application and never verifies a signature. Every queue is bounded; what
//! happens when one is full is written beside it. A node key and its peer id are the same ed25519 key.

mod addr;
mod behaviour;
mod bucket;
mod budget;
mod config;
mod counters;
mod echo;
mod error;
mod events;
mod frame;
mod gate;
mod gossip;
mod guard;
mod identity;
mod listen;
mod manager;
mod mesh;
mod outbox;
mod protocol;
mod rpc;
mod start;
mod task;
mod topic;
mod transport;
mod trusted;

pub use addr::{Transport, address_group, bootstrap_node, is_private_address};
pub use config::{Limits, MeshConfig};
pub use counters::Counter;
pub use echo::EchoStream;
pub use error::{PublishError, RequestError, StartError, StreamError};
pub use events::{Event, Events, Responder};
pub use gate::{Admission, Gate};
pub use identity::peer_id_string;
pub use listen::wait_until_free;
pub use mesh::{Direction, Mesh, PeerClass, PeerInfo, PeerWhy, Published};
pub use protocol::{Protocol, ProtocolLimits};
pub use start::{Started, start};
pub use task::MeshTask;
pub use topic::Topic;
