//! What the mesh tells the application.

use lucid_types::id::PublicKey;
use tokio::sync::{mpsc, oneshot};

use crate::echo::EchoStream;
use crate::protocol::Protocol;
use crate::topic::Topic;

/// Something happened that the application may act on.
#[derive(Debug)]
pub enum Event<T> {
    /// A gossip message that the gate accepted.
    Gossip {
        /// The topic it came through.
        topic: Topic,
        /// The peer that sent it to us, not necessarily its author.
        from: PublicKey,
        /// What the gate made of it.
        item: T,
    },
    /// A peer asks something.
    Request {
        /// Who asks; the connection proves it.
        peer: PublicKey,
        /// In which protocol.
        protocol: Protocol,
        /// The request, no larger than the protocol allows.
        bytes: Vec<u8>,
        /// For the answer. Dropped unused, the peer hears that there is none.
        reply: Responder,
    },
    /// A peer opened an echo stream.
    Echo {
        /// Who opened it; the connection proves it.
        peer: PublicKey,
        /// The stream. It occupies a slot until it is dropped.
        stream: EchoStream,
    },
    /// A peer of this network has connected, identified itself and named its topics: what is published from now on
    /// reaches it. (Half a second after its identification if it names none.)
    PeerConnected(PublicKey),
    /// The last connection to a peer has ended. A peer that restarted disconnects first.
    PeerDisconnected(PublicKey),
    /// The node can be reached under this multiaddress, which ends in its peer id.
    Listening(String),
}

/// Answers one request.
#[derive(Debug)]
pub struct Responder {
    reply: oneshot::Sender<Reply>,
}

/// What the application says to a request; nothing at all is no answer.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer(Vec<u8>),
    Busy,
}

impl Responder {
    pub(crate) const fn new(reply: oneshot::Sender<Reply>) -> Self {
        Self { reply }
    }

    /// Sends the answer. An answer larger than the protocol allows is dropped and counted, and the peer hears that
    /// there is none; an answer after the protocol's time-out goes nowhere.
    pub fn respond(self, bytes: Vec<u8>) {
        // Nobody waits any more: the time is over or the mesh has stopped.
        let _unwanted = self.reply.send(Reply::Answer(bytes));
    }

    /// Says "busy": that there is too much to do now, and it may be asked again.
    pub fn refuse(self) {
        let _unwanted = self.reply.send(Reply::Busy);
    }

    /// Whether somebody still waits for the answer.
    pub fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }
}

/// The application's end of the event channels. Gossip waits for the application (the gate stops meanwhile);
/// everything else has [`crate::Limits::events`] places of its own: when those are full, requests are answered
/// `busy`, streams are dropped, and news of peers are lost, each counted under `events`. [`crate::Mesh::peers`] is
/// the truth about peers.
#[derive(Debug)]
pub struct Events<T> {
    pub(crate) gossip: mpsc::Receiver<Event<T>>,
    pub(crate) others: mpsc::Receiver<Event<T>>,
}

impl<T> Events<T> {
    /// The next event; `None` once the mesh has stopped and everything has been taken. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event<T>> {
        tokio::select! {
            biased;
            Some(event) = self.others.recv() => Some(event),
            Some(event) = self.gossip.recv() => Some(event),
            else => None,
        }
    }

    /// The next event that is not gossip, which goes on waiting meanwhile; `None` once the mesh has stopped and all of them have
    /// been taken. Cancel-safe.
    pub async fn next_besides_gossip(&mut self) -> Option<Event<T>> {
        self.others.recv().await
    }
}
