//! Who may connect: the first behaviour of the stack, asked before any other.
//!
//! It bounds connections in all, of one peer, from one address, in either direction and in their handshakes, and
//! shuts out peers for a while. Unlike libp2p's own limits it keeps nothing about a peer that has left, and makes
//! room for a peer that comes back while its old connections still look alive. It speaks no protocol.

mod table;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::addr;
use crate::counters::Counters;
use crate::identity::to_public_key;
pub(crate) use table::{Bounds, Refusal};
use table::{Direction, Table};

/// The behaviour around the table.
pub(crate) struct Behaviour {
    table: Table<ConnectionId, PeerId>,
    counters: Arc<Counters>,
    /// At most one a refused connection, taken out at the next poll.
    closing: VecDeque<(PeerId, ConnectionId)>,
}

impl Behaviour {
    pub(crate) fn new(bounds: Bounds, counters: Arc<Counters>) -> Self {
        Self { table: Table::new(bounds), counters, closing: VecDeque::new() }
    }

    /// Shuts `peer` out for `period`. Its connections are not closed here.
    pub(crate) fn ban(&mut self, peer: PeerId, period: Duration) {
        let now = Instant::now();
        self.table.ban(peer, now + period, now);
    }

    fn check(&self, result: Result<(), Refusal>) -> Result<(), ConnectionDenied> {
        result.map_err(|refusal| {
            self.counters.add("connections", refusal.reason());
            ConnectionDenied::new(refusal)
        })
    }

    fn established(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        direction: Direction,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        self.table.handshake_ended(&id);
        if to_public_key(&peer).is_none() {
            self.check(Err(Refusal::KeyType))?;
        }
        let result = self.table.may_establish(&peer, addr::ip(remote), direction, Instant::now());
        if result == Err(Refusal::PerPeer) {
            // Only the holder of the peer's key gets here: it wants a new connection more than its oldest one.
            self.closing.extend(self.table.oldest_of(&peer).map(|oldest| (peer, oldest)));
        }
        self.check(result)?;
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
        let result = self.table.handshake_begins(id, addr::ip(remote), Direction::Inbound);
        self.check(result)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer
            && self.table.is_banned(&peer, Instant::now())
        {
            return Err(ConnectionDenied::new(Refusal::Banned));
        }
        let result = self.table.handshake_begins(id, None, Direction::Outbound);
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
        self.established(id, peer, remote, Direction::Inbound)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.established(id, peer, remote, Direction::Outbound)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, endpoint, .. }) => {
                let direction = match endpoint {
                    ConnectedPoint::Listener { .. } => Direction::Inbound,
                    ConnectedPoint::Dialer { .. } => Direction::Outbound,
                };
                let ip = addr::ip(endpoint.get_remote_address());
                self.table.establish(connection_id, peer_id, ip, direction);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => self.table.close(&connection_id),
            FromSwarm::DialFailure(DialFailure { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.table.handshake_ended(&connection_id);
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
