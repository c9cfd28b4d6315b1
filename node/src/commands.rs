//! Commands on their way from whoever gives them to a block.
//!
//! A validator takes a command over: its replica keeps it for a block, and it stands on the disk before anybody hears so. A node that
//! is no validator hands it to one (`/command/1`) and says to which; it never takes one over itself.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::commands::admit;
use lucid_consensus::ledger::command::{CommandRefused, SignedCommand, check_unsigned};
use lucid_consensus::ledger::state::State;
use lucid_consensus::replica::Input;
use lucid_p2p::{Mesh, Protocol, Topic};
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::command::{Command, CommandReply};
use lucid_types::id::NodeId;
use lucid_types::signed::{SignedRecord, Verified};
use lucid_types::time::UnixMillis;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::chain::head::Head;
use crate::clock::Clock;

/// Commands that wait for the driver to take them over.
pub const SUBMISSIONS: usize = 64;
/// How long validators are asked, one after the other, and for how long one of them; the API's own limit is longer.
const PATIENCE: Duration = Duration::from_secs(8);
const PATIENCE_WITH_ONE: Duration = Duration::from_secs(3);
/// The longest text of a refusal that fits its message.
const MAX_REASON: usize = 900;

/// A command for the driver, and whom to tell what comes of it. Dropped without a word, the node stops.
#[derive(Debug)]
pub struct Submission {
    /// The command.
    pub command: Verified<SignedCommand>,
    /// Hears whether it is taken over, when it is durable.
    pub answer: oneshot::Sender<Result<(), CommandRefused>>,
}

/// Why a command is not taken over by anybody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// No block could hold it, or there is no room.
    #[error("{0}")]
    Refused(String),
    /// Nobody can be asked now.
    #[error("{0}")]
    Unavailable(String),
}

/// What commands are judged by and handed to.
pub struct CommandDesk {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// This node.
    pub me: NodeId,
    /// Whether this node votes where it is listed.
    pub may_vote: bool,
    /// The newest state, and what waits.
    pub head: watch::Receiver<Head>,
    /// To validators and to everybody.
    pub mesh: Mesh,
    /// To this node's own replica.
    pub driver: mpsc::Sender<Box<Input>>,
    /// The same for what it is to take over.
    pub submissions: mpsc::Sender<Submission>,
}

impl CommandDesk {
    /// Finds a validator that takes a command over; this node, if it is one. Handing in the same command again is no error.
    ///
    /// # Errors
    /// Why no validator has taken it over.
    pub async fn hand_in(&self, command: SignedCommand) -> Result<NodeId, NotTaken> {
        if self.is_validator(&self.me) {
            self.take_over(command).await?;
            return Ok(self.me);
        }
        let command = self.admit(command)?;
        let bytes = encode::<SignedCommand>(&command);
        let taken = self.ask_validators(&bytes).await;
        if !matches!(taken, Err(NotTaken::Refused(_))) {
            // This node's replica only keeps it for its peers: what it lacks, it hears of in the block.
            let _stopped = self.driver.send(Box::new(Input::Command(command))).await;
            let _not_sent = self.mesh.publish(Topic::Commands, bytes).await;
        }
        taken
    }

    /// Answers `/command/1`.
    pub async fn answer(&self, bytes: &[u8]) -> CommandReply {
        let taken = match decode(bytes) {
            Err(problem) => Err(NotTaken::Refused(format!("these bytes are no command: {problem}"))),
            Ok(_) if !self.is_validator(&self.me) => Err(NotTaken::Refused("this node is no validator".to_owned())),
            Ok(command) => self.take_over(command).await,
        };
        match taken {
            Ok(()) => CommandReply::Accepted,
            Err(NotTaken::Refused(why) | NotTaken::Unavailable(why)) => CommandReply::Refused(shortened(why)),
        }
    }

    /// Whether the next block could carry a command once those have signed who must, after those of its account that wait here.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, command: &Command) -> Result<(), NotTaken> {
        let (state, offers) = {
            let head = self.head.borrow();
            (head.state.clone(), head.offers.clone())
        };
        command.check_inner(self.spec.id()).map_err(refused)?;
        let waiting = offers.commands(&command.account);
        check_unsigned(&self.spec, &state, waiting, command, self.time(&state)).map_err(refused)
    }

    /// The time of the next block, as far as this node knows.
    fn time(&self, state: &State) -> UnixMillis {
        self.clock.now().max(state.next_time(&self.spec))
    }

    fn is_validator(&self, node: &NodeId) -> bool {
        let is_member = self.head.borrow().state.next_validators().of(node).is_some();
        is_member && (*node != self.me || self.may_vote)
    }

    fn admit(&self, command: SignedCommand) -> Result<Verified<SignedCommand>, NotTaken> {
        let state = self.head.borrow().state.clone();
        admit(&self.spec, &state, &command, self.time(&state)).map_err(refused)?;
        command.verify(self.spec.id()).map_err(refused)
    }

    /// Makes this node keep a command for a block. It is durable when this returns.
    async fn take_over(&self, command: SignedCommand) -> Result<(), NotTaken> {
        let command = self.admit(command)?;
        let (answer, answered) = oneshot::channel();
        let stopping = || NotTaken::Unavailable("the node is stopping".to_owned());
        self.submissions.send(Submission { command, answer }).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?.map_err(refused)
    }

    /// Asks the connected validators in turn, until one takes the command over.
    async fn ask_validators(&self, command: &[u8]) -> Result<NodeId, NotTaken> {
        let state = self.head.borrow().state.clone();
        let peers = self.mesh.peers().into_iter();
        let known = peers.filter_map(|peer| Some((state.account_of(&peer.key)?, peer.key)));
        let validators: Vec<_> = known.filter(|(account, _)| self.is_validator(account)).collect();
        let deadline = Instant::now() + PATIENCE;
        let mut refusal = None;
        for (validator, key) in &validators {
            let asked = self.mesh.request(*key, Protocol::Command, command.to_vec());
            let Ok(reply) = timeout_at(deadline.min(Instant::now() + PATIENCE_WITH_ONE), asked).await else { continue };
            match reply.map(|bytes| decode(&bytes)) {
                Ok(Ok(CommandReply::Accepted)) => return Ok(*validator),
                Ok(Ok(CommandReply::Refused(why))) => refusal = Some(format!("validator {validator}: {why}")),
                Ok(Err(error)) => tracing::debug!(%validator, %error, "a validator's answer to a command is none"),
                Err(error) => tracing::debug!(%validator, %error, "a validator does not answer to a command"),
            }
        }
        Err(refusal.map_or_else(
            || {
                let asked = if validators.is_empty() {
                    "this node is connected to no validator".to_owned()
                } else {
                    format!("none of the {} validators that this node is connected to answers", validators.len())
                };
                NotTaken::Unavailable(format!(
                    "{asked}: nobody has taken the command over. It was sent to this node's other peers, and a block may hold it all the \
                     same; hand it in again later, which does no harm"
                ))
            },
            NotTaken::Refused,
        ))
    }
}

fn refused(why: impl std::error::Error) -> NotTaken {
    NotTaken::Refused(why.to_string())
}

/// Cut to what its message has room for.
fn shortened(mut why: String) -> String {
    const { assert!(MAX_REASON + 16 < CommandReply::MAX_BYTES, "a reason must fit its message") };
    if why.len() > MAX_REASON {
        why.truncate(why.floor_char_boundary(MAX_REASON));
    }
    why
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
