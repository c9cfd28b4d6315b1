//! The router: takes what the mesh brings and hands it to whoever deals with it. Never blocks on one of them for
//! long: what cannot be taken now is refused.

use std::sync::Arc;

use lucid_consensus::replica::Input;
use lucid_p2p::{Event, Events, Protocol, Responder as Reply};
use lucid_types::codec::encode;
use lucid_types::id::NodeId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chain::serve::SyncServer;
use crate::gate::Passed;
use crate::payout::cosign::Cosigner;
use crate::probe::{Offer, ResponderHandle};

/// Peers' questions that are being answered at a time; further ones are refused.
const ANSWERS: usize = 64;

/// Where things go.
pub struct Router {
    /// The mesh's events.
    pub events: Events<Passed>,
    /// The chain.
    pub driver: mpsc::Sender<Box<Input>>,
    /// Answers `/sync/1`.
    pub sync: Arc<SyncServer>,
    /// Answers probes; only on workers.
    pub responder: Option<ResponderHandle>,
    /// Answers `/cosign/1`; only on treasury signers.
    pub cosigner: Option<Arc<Cosigner>>,
}

impl Router {
    /// Routes until `stop`, or until the mesh has ended.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut answers = JoinSet::new();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                Some(_ended) = answers.join_next() => continue,
                event = self.events.next() => match event {
                    Some(event) => event,
                    None => return,
                },
            };
            match event {
                Event::Gossip { item, .. } => self.gossip(item).await,
                Event::Request { peer, protocol, bytes, reply } => {
                    self.request(&mut answers, peer, protocol, bytes, reply);
                }
                Event::Echo { peer, stream } => {
                    if let Some(responder) = &self.responder {
                        responder.offer(Offer::Echo { peer, stream });
                    }
                }
                Event::PeerConnected(peer) => tracing::debug!(%peer, "connected"),
                Event::PeerDisconnected(peer) => tracing::debug!(%peer, "disconnected"),
                Event::Listening(address) => tracing::info!(address, "listening"),
            }
        }
    }

    /// Waits for the driver if it is behind: the mesh then drops and counts what does not fit its queue.
    async fn gossip(&self, item: Passed) {
        match item {
            // The gate has put it into the table.
            Passed::Attestation(_) => {}
            Passed::Chain(input) => {
                // If the driver has ended, so will this task.
                let _ended = self.driver.send(input).await;
            }
        }
    }

    /// A question that nobody answers is dropped, which its peer hears at once.
    fn request(&self, answers: &mut JoinSet<()>, peer: NodeId, protocol: Protocol, bytes: Vec<u8>, reply: Reply) {
        match protocol {
            Protocol::Probe => {
                if let Some(responder) = &self.responder {
                    responder.offer(Offer::Ping { peer, bytes, reply });
                }
            }
            Protocol::Sync if answers.len() < ANSWERS => {
                let sync = Arc::clone(&self.sync);
                answers.spawn_blocking(move || sync.answer(&bytes, reply));
            }
            Protocol::Cosign if answers.len() < ANSWERS => {
                let Some(cosigner) = self.cosigner.clone() else { return };
                answers.spawn(async move {
                    if let Some(answer) = cosigner.answer(peer, &bytes).await {
                        reply.respond(encode(&answer));
                    }
                });
            }
            Protocol::Sync | Protocol::Cosign | Protocol::Command => {}
        }
    }
}
