//! Errors of the mesh, named after the operation that failed.

use std::io;

/// Why a mesh did not start. Nothing runs after one of these.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The seed is not one of an ed25519 key.
    #[error("the node key cannot be used as a libp2p identity")]
    Key(#[source] libp2p::identity::DecodingError),
    /// `start` needs the reactor of a running tokio runtime.
    #[error("the mesh must be started inside a tokio runtime")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
    /// An address in the configuration cannot be read.
    #[error("{field}: {address:?} is not usable: {problem}")]
    Address {
        /// The configuration key.
        field: &'static str,
        /// The text as configured.
        address: String,
        /// What is wrong, and what is wanted.
        problem: String,
    },
    /// Somebody else listens there.
    #[error(
        "cannot listen on {address}: the port is in use; stop the program that holds it or choose another port \
         (port 0 takes a free one)"
    )]
    PortInUse {
        /// The address that was asked for.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused the address for another reason.
    #[error("cannot listen on {address}; check that this machine has the address and that the port is allowed")]
    Listen {
        /// The address that was asked for.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A transport could not be set up.
    #[error("cannot set up the {transport} transport: {problem}")]
    Transport {
        /// Which transport.
        transport: &'static str,
        /// What libp2p said.
        problem: String,
    },
    /// The gossip settings were refused.
    #[error("cannot set up gossip: {problem}")]
    Gossip {
        /// What libp2p said.
        problem: String,
    },
    /// The operating system gave no thread or no randomness.
    #[error("cannot {operation}")]
    System {
        /// What was wanted.
        operation: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The message is larger than its topic allows.
    #[error("the message has {bytes} bytes; topic {topic} allows {max}")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Size of the message.
        bytes: usize,
        /// The cap of the topic.
        max: usize,
    },
    /// The same bytes went through this topic in the last minute; they are not sent again.
    #[error("the same message was published or received before")]
    Duplicate,
    /// Nobody to send to, and as many messages wait for somebody as may wait.
    #[error("no peer takes the topic and the outbox is full")]
    OutboxFull,
    /// The queues to all peers are full; the message went nowhere.
    #[error("the queues to all peers are full")]
    QueuesFull,
    /// This node neither takes part in the topic nor is it one that every node knows.
    #[error("topic {0} is not known to this node")]
    UnknownTopic(String),
    /// The mesh has stopped.
    #[error("the mesh has stopped")]
    Stopped,
}

/// Why a request brought no response. Whether the peer acted on it is unknown unless said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request is larger than its protocol allows; it was not sent.
    #[error("the request has {bytes} bytes; {protocol} allows {max}")]
    TooLarge {
        /// The protocol.
        protocol: &'static str,
        /// Size of the request.
        bytes: usize,
        /// The cap of the protocol.
        max: usize,
    },
    /// Too many requests of this protocol wait for this peer; it was not sent.
    #[error("too many requests wait for this peer")]
    TooManyPending,
    /// The node key is this node's own, or no key of a node.
    #[error("no request can be sent to this node key")]
    NotAPeer,
    /// There is no connection to the peer, and none was to be made; it was not sent.
    #[error("the peer is not connected")]
    NotConnected,
    /// No address of the peer is known, or none answered; it was not sent.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// The peer belongs to another network; it was not sent.
    #[error("the peer belongs to another network")]
    OtherNetwork,
    /// A limit of this node's own, or its ban of the peer, refuses the connection; nothing was sent, and it says nothing of the peer.
    #[error("this node refuses the connection: {0}")]
    Denied(String),
    /// The peer took part in the protocol but did not answer in time: in that of the protocol, or, where the room for answers was
    /// needed for others, in 2 s.
    #[error("no response in time")]
    TimedOut,
    /// The connection ended before the response came.
    #[error("the connection ended before the response: {0}")]
    Disconnected(String),
    /// The peer does not speak the protocol.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// The peer refused because it, or our rate, is over a limit; it did not act on the request.
    #[error("the peer is busy or our requests are too many")]
    Busy,
    /// The peer took the request and gave no answer.
    #[error("the peer gave no answer")]
    NoAnswer,
    /// The response breaks the frame format or its cap.
    #[error("the response is malformed: {0}")]
    Malformed(String),
    /// The mesh has stopped.
    #[error("the mesh has stopped")]
    Stopped,
}

/// Why no stream was opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The node key is this node's own, or no key of a node.
    #[error("no stream can be opened to this node key")]
    NotAPeer,
    /// Too many connections or streams wait to be opened.
    #[error("too many connections or streams wait to be opened")]
    TooManyPending,
    /// There is no connection to the peer, and a stream makes none.
    #[error("the peer is not connected")]
    NotConnected,
    /// No address of the peer is known, or none answered.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// A limit of this node's own, or its ban of the peer, refuses the connection; it says nothing of the peer.
    #[error("this node refuses the connection: {0}")]
    Denied(String),
    /// The peer does not speak the protocol.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// The connection ended, or the negotiation did not finish in time.
    #[error("the stream was not opened: {0}")]
    Failed(String),
    /// The mesh has stopped.
    #[error("the mesh has stopped")]
    Stopped,
}
