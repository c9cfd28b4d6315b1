//! What the API takes as commands, and what it answers about them and about who may give them.

use lucid_types::block::ItemId;
use lucid_types::command::Command;
use lucid_types::id::{NodeId, PublicKey};
use lucid_types::time::{Epoch, Height, UnixMillis};
use serde::{Deserialize, Serialize};

/// Body of `POST /api/v1/commands`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandBody {
    /// A command with the signatures that it needs, in the codec's bytes, in hex.
    pub signed_command: String,
}

/// `POST /api/v1/commands`: a validator has taken the command over and keeps it for a block. It counts once a block holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenView {
    /// The id under which proposals name it.
    pub id: ItemId,
    /// Who gives the command.
    pub account: NodeId,
    /// Its number.
    pub nonce: u64,
    /// The validator that holds it durably.
    pub durable: NodeId,
}

/// Body of `POST /api/v1/commands/check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsignedBody {
    /// A command in the codec's bytes, in hex, without signatures.
    pub command: String,
}

/// `POST /api/v1/commands/check`: the next block could carry the command, once those have signed who must.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedView {
    /// Who gives the command.
    pub account: NodeId,
    /// Its number.
    pub nonce: u64,
}

/// What an account may give. `GET /api/v1/accounts/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// The account; nothing says that there is one.
    pub account: NodeId,
    /// The node key that signs for it; `null` if there can be no such account, because the key of the same bytes is or was another's.
    pub key: Option<PublicKey>,
    /// The number of the next command that a block takes.
    pub nonce: u64,
    /// How many commands blocks take before another epoch is closed.
    pub allowance: u8,
    /// The numbers of those that wait for a block, as far as this node knows.
    pub waiting: Vec<u64>,
}

/// How far a command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandStage {
    /// Nothing is known of it here.
    Unknown,
    /// It waits for a block.
    Waiting,
    /// A block holds one of this number.
    Included,
}

/// The command of an account that has this number, as this node knows it. `GET /api/v1/commands/{account}/{nonce}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandView {
    /// Who gives it.
    pub account: NodeId,
    /// Its number.
    pub nonce: u64,
    /// How far it is.
    pub stage: CommandStage,
    /// The block that holds it; `null` if none does, or none that this node was there for.
    pub height: Option<Height>,
    /// That block's time.
    pub time: Option<UnixMillis>,
    /// The epoch that covers that time. What the command changes of who takes part counts from the second after.
    pub epoch: Option<Epoch>,
    /// The command, without its signatures; `null` if neither it nor its block is here.
    pub command: Option<Command>,
}
