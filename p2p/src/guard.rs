//! The peer manager's place among libp2p's behaviours: the first of the stack, asked about a connection before any other. It tells the
//! manager what happens to connections and dials, and does what the manager says. It decides nothing and speaks no protocol.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::addr;
use crate::counters::Counters;
use crate::identity::to_public_key;
use crate::manager::{self, Arrival, Refusal};
use crate::mesh::Direction;

/// The manager of a mesh.
pub(crate) type PeerManager = manager::PeerManager<ConnectionId, PeerId, Multiaddr>;

/// The behaviour around the manager.
pub(crate) struct Behaviour {
    pub(crate) manager: PeerManager,
    counters: Arc<Counters>,
    /// At most those that there are, taken out at the next polls.
    closing: VecDeque<(PeerId, ConnectionId)>,
}

impl Behaviour {
    pub(crate) const fn new(manager: PeerManager, counters: Arc<Counters>) -> Self {
        Self { manager, counters, closing: VecDeque::new() }
    }

    fn check(&self, result: Result<(), Refusal>) -> Result<(), ConnectionDenied> {
        result.map_err(|refusal| {
            self.counters.add("connections", refusal.reason());
            ConnectionDenied::new(refusal)
        })
    }

    fn arrives(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        direction: Direction,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        self.manager.handshake_ended(&id);
        if to_public_key(&peer).is_none() {
            self.check(Err(Refusal::KeyType))?;
        }
        let Arrival { verdict, evicted, close } =
            self.manager.arrives(Instant::now(), peer, addr::ip(remote), direction);
        for peer in evicted {
            tracing::debug!(%peer, "evicted for a newcomer");
            self.counters.add("connections", "evicted");
        }
        self.closing.extend(close);
        self.check(verdict)?;
        Ok(dummy::ConnectionHandler)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let result = self.manager.handshake_begins(Instant::now(), id, addr::ip(remote), Direction::Inbound);
        self.check(result)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let now = Instant::now();
        if let Some(peer) = peer {
            // Kademlia goes on dialling whom it has heard of: nothing to count.
            self.manager.check_ban(now, &peer).map_err(ConnectionDenied::new)?;
        }
        let result = self.manager.handshake_begins(now, id, None, Direction::Outbound);
        self.check(result)?;
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.arrives(id, peer, remote, Direction::Inbound)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.arrives(id, peer, remote, Direction::Outbound)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let now = Instant::now();
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, endpoint, .. }) => {
                let ip = addr::ip(endpoint.get_remote_address());
                let (direction, dialled) = match endpoint {
                    ConnectedPoint::Listener { .. } => (Direction::Inbound, None),
                    ConnectedPoint::Dialer { address, .. } => {
                        (Direction::Outbound, Some(addr::split_peer(address.clone()).1))
                    }
                };
                self.manager.established(now, connection_id, peer_id, ip, direction, dialled);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.manager.closed(now, &connection_id);
            }
            FromSwarm::DialFailure(DialFailure { peer_id, error, connection_id }) => {
                self.manager.handshake_ended(&connection_id);
                match (peer_id, error) {
                    // Somebody else's dial is under way, or has succeeded; its outcome counts.
                    (None, _) | (_, DialError::DialPeerConditionFalse(_)) => {}
                    (Some(peer), DialError::Denied { .. }) => self.manager.dial_not_sent(now, &peer),
                    (Some(peer), _) => self.manager.dial_failed(now, &peer),
                }
            }
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.manager.handshake_ended(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.closing.pop_front() {
            Some((peer_id, id)) => {
                Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) })
            }
            None => Poll::Pending,
        }
    }
}
