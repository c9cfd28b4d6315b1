//! The event loop of one mesh. It owns the swarm and everything that changes, waits for nothing but its inputs, and
//! does nothing long: signatures are the gate's business, answers the application's.

mod bootstrap;
mod discovery;
mod gossip;
mod peers;
mod reach;
mod requests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use libp2p::gossipsub::MessageId;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::behaviour::{Behaviour, BehaviourEvent, Names};
use crate::config::{MeshConfig, Timing};
use crate::counters::Counters;
use crate::events::Event;
use crate::gate::Pool;
use crate::gossip::Topics;
use crate::guard::PeerManager;
use crate::mesh::{Command, Snapshot};
use crate::outbox::Outbox;
use crate::protocol::Protocol;
use crate::topic::Topic;
use crate::trusted::Trusted;
use crate::{echo, identity};
use bootstrap::Bootstraps;
use discovery::Lookups;
use peers::Peer;
use reach::Reaching;
use requests::{Answering, AnsweringCounts, Outgoing, Waiting};

/// Between two looks at deadlines, redials and lookups.
const TICK: Duration = Duration::from_millis(200);
/// Between two looks at what a peer's score and round trip have become.
const SNAPSHOT: Duration = Duration::from_secs(1);
/// How long a mesh that stops tells its peers so.
const GOODBYE: Duration = Duration::from_millis(500);

/// Says which message a verdict is about.
pub(crate) type Ticket = (MessageId, PeerId);

/// What [`crate::start`] has made.
pub(crate) struct Parts<T> {
    pub(crate) swarm: Box<Swarm<Behaviour>>,
    pub(crate) config: MeshConfig,
    pub(crate) names: Names,
    pub(crate) topics: Topics,
    pub(crate) trusted: Trusted,
    pub(crate) bootstrap: Vec<(PeerId, Multiaddr)>,
    pub(crate) pool: Pool<Ticket>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: mpsc::Sender<Event<T>>,
    pub(crate) snapshot: watch::Sender<Snapshot>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) stop: DropGuard,
}

/// The running mesh. Whoever holds it owns the mesh; dropping it closes every connection.
pub struct MeshTask<T> {
    /// Some kilobytes; boxed, so that the task can be moved and awaited like any other.
    swarm: Box<Swarm<Behaviour>>,
    config: MeshConfig,
    timing: Timing,
    names: Names,
    topics: Topics,
    trusted: Trusted,
    pool: Pool<Ticket>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event<T>>,
    snapshot: watch::Sender<Snapshot>,
    counters: Arc<Counters>,
    /// Wakes gate threads that wait for the application.
    _stop: DropGuard,

    peers: HashMap<PeerId, Peer>,
    rates: HashMap<PeerId, peers::Rates>,
    /// Peers that were said to run twice.
    twins: BTreeSet<PeerId>,
    listening: Vec<String>,
    lookups: Lookups,
    bootstraps: Bootstraps,
    reaching: Reaching,
    outbox: Outbox<Topic>,
    /// What waits for a connection, by peer.
    waiting: HashMap<PeerId, Waiting>,
    outgoing: Outgoing,
    /// Requests of peers that the application has not answered.
    answers: FuturesUnordered<Answering>,
    answering: AnsweringCounts,
    next_snapshot: Instant,
}

impl<T: Send + 'static> MeshTask<T> {
    pub(crate) fn new(parts: Parts<T>) -> Self {
        let Parts {
            swarm,
            config,
            names,
            topics,
            trusted,
            bootstrap,
            pool,
            commands,
            events,
            snapshot,
            counters,
            stop,
        } = parts;
        let timing = config.timing();
        let now = Instant::now();
        Self {
            swarm,
            timing,
            names,
            topics,
            trusted,
            pool,
            commands,
            events,
            snapshot,
            counters,
            _stop: stop,
            peers: HashMap::new(),
            rates: HashMap::new(),
            twins: BTreeSet::new(),
            listening: Vec::new(),
            lookups: Lookups::new(timing.lookup_max, now),
            bootstraps: Bootstraps::new(&bootstrap, timing.bootstrap, now),
            reaching: Reaching::default(),
            outbox: Outbox::new(config.limits.outbox),
            waiting: HashMap::new(),
            outgoing: Outgoing::default(),
            answers: FuturesUnordered::new(),
            answering: AnsweringCounts::default(),
            next_snapshot: now,
            config,
        }
    }

    /// Runs the mesh until `cancel` is cancelled or every [`crate::Mesh`] handle is gone, then says goodbye to the
    /// peers for at most half a second.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                Some((ticket, verdict)) = self.pool.verdict() => self.on_verdict(&ticket, verdict),
                Some(answer) = self.answers.next() => self.on_answer(answer),
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                _ = tick.tick() => self.on_tick(),
            }
        }
        self.say_goodbye().await;
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { topic, bytes, reply } => {
                let outcome = self.publish(topic, bytes);
                // A caller that stopped waiting has published nevertheless.
                let _gone = reply.send(outcome);
            }
            Command::Request { peer, protocol, bytes, dials, reply } => {
                self.request(&peer, protocol, bytes, dials, reply);
            }
            Command::Connect { peer, within, reply } => self.connect(&peer, within, reply),
            Command::OpenEcho { peer, reply } => self.open_echo(&peer, reply),
            Command::Validators { peers, takes_part } => {
                let all: HashSet<_> = peers.iter().filter_map(identity::to_peer_id).collect();
                let own = *self.swarm.local_peer_id();
                let others: HashSet<_> = all.iter().copied().filter(|peer| *peer != own).collect();
                self.manager().set_validators(all);
                self.trusted.name(others.clone());
                self.swarm.behaviour_mut().gossip.set_validators(others, takes_part);
            }
            Command::Why { reply } => {
                let _gone = reply.send(self.why());
            }
        }
    }

    /// Who is who, and who may do what.
    fn manager(&mut self) -> &mut PeerManager {
        &mut self.swarm.behaviour_mut().guard.manager
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
                if self.reaching.ended(connection_id) {
                    self.on_reached(peer_id, connection_id);
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                tracing::debug!(peer = %peer_id, cause = cause.map(tracing::field::display), "connection closed");
                self.on_disconnected(peer_id, connection_id, num_established);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), connection_id, error } => {
                self.on_dial_failed(peer, connection_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                let address = with_peer(address, *self.swarm.local_peer_id());
                tracing::info!(%address, "listening");
                self.listening.push(address.clone());
                self.publish_snapshot();
                self.tell(Event::Listening(address));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                let address = with_peer(address, *self.swarm.local_peer_id());
                self.listening.retain(|known| *known != address);
                self.publish_snapshot();
            }
            SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
                tracing::error!(?addresses, %error, "a listener has ended; nobody reaches this node there any more");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener had a problem"),
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(event) => self.on_ping(event),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Sync(event) => self.on_rpc(Protocol::Sync, event),
            BehaviourEvent::Probe(event) => self.on_rpc(Protocol::Probe, event),
            BehaviourEvent::Command(event) => self.on_rpc(Protocol::Command, event),
            BehaviourEvent::Cosign(event) => self.on_rpc(Protocol::Cosign, event),
            BehaviourEvent::Storage(event) => self.on_rpc(Protocol::Storage, event),
            BehaviourEvent::Validate(event) => self.on_rpc(Protocol::Validate, event),
            BehaviourEvent::Echo(echo::Event::Opened { peer, stream }) => {
                if let Some(peer) = identity::to_public_key(&peer) {
                    self.tell(Event::Echo { peer, stream });
                }
            }
            BehaviourEvent::Echo(echo::Event::Refused) => self.counters.add("echo", "too-many"),
            BehaviourEvent::Guard(never) => match never {},
        }
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        self.expire_waiting(now);
        self.drop_unidentified(now);
        self.announce_ready(now);
        self.retry_outbox(now);
        self.look_around(now);
        self.reach_out();
        if now >= self.next_snapshot {
            self.next_snapshot = now + SNAPSHOT;
            self.forget_rates(now);
            for problem in self.bootstraps.overdue(now) {
                tracing::warn!("{problem}");
            }
            self.send_bad_scores_away(now);
            self.publish_snapshot();
        }
    }

    /// Gives an event to the application; when its queue is full the event is lost and counted.
    fn tell(&self, event: Event<T>) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            let reason = match event {
                Event::Echo { .. } => "echo-dropped",
                Event::Request { .. } => "request-dropped",
                Event::PeerConnected(_) | Event::PeerDisconnected(_) => "peer-news-dropped",
                Event::Listening(_) | Event::Gossip { .. } => "news-dropped",
            };
            self.counters.add("events", reason);
        }
    }

    async fn say_goodbye(&mut self) {
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            // An error means that it has gone first.
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        if tokio::time::timeout(GOODBYE, closed).await.is_err() {
            tracing::debug!("some peers were not told that the mesh stops");
        }
    }
}

impl<T> std::fmt::Debug for MeshTask<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshTask").field("peers", &self.peers.len()).finish_non_exhaustive()
    }
}

/// The text of an address with the peer's id at its end.
fn with_peer(address: Multiaddr, peer: PeerId) -> String {
    crate::addr::split_peer(address).1.with(libp2p::multiaddr::Protocol::P2p(peer)).to_string()
}
