//! The router: takes what the mesh brings and hands it to whoever deals with it. It waits for none of them: what cannot be
//! taken now is refused, but for gossip, which waits in the mesh until the driver has room. Requests pass it by, so that a
//! node that is busy with blocks still answers pings.

use std::pin::Pin;
use std::sync::Arc;

use lucid_consensus::replica::Input;
use lucid_p2p::{Event, Events, Protocol, Responder as Reply};
use lucid_types::codec::encode;
use lucid_types::id::{NodeId, PublicKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::chain::serve::SyncServer;
use crate::commands::CommandDesk;
use crate::gate::Passed;
use crate::health::Health;
use crate::history::metrics::Keeper;
use crate::payout::cosign::Cosigner;
use crate::probe::{Offer, ResponderHandle, StorageHandle, StorageOffer, Validations};

/// Peers' questions that are being answered at a time; further ones are refused. Half of the room is for validators alone, so that
/// others cannot keep them from hearing of each other.
const ANSWERS: usize = 32;
const VALIDATORS_ANSWERS: usize = 32;
/// The same of questions to a treasury signer, which pushers ask.
const COSIGN_ANSWERS: usize = 32;
/// The same of commands to be taken over.
const COMMAND_ANSWERS: usize = 64;
/// The same of validations, of which one begins a second and takes a few.
const VALIDATION_ANSWERS: usize = 16;

/// A message on its way to the driver. It keeps its place in the driver's queue while requests pass it by.
type Sending = Pin<Box<dyn Future<Output = ()> + Send>>;

fn send(driver: &mpsc::Sender<Box<Input>>, input: Box<Input>) -> Sending {
    let driver = driver.clone();
    Box::pin(async move {
        // If the driver has ended, so will this task.
        let _ended = driver.send(input).await;
    })
}

/// The mesh's next event. While a message waits for the driver there is no gossip among them, so that no more than one does.
/// Cancel-safe.
async fn next(events: &mut Events<Passed>, sending: &mut Option<Sending>) -> Option<Event<Passed>> {
    if let Some(message) = sending {
        tokio::select! {
            () = message => *sending = None,
            event = events.next_besides_gossip() => return event,
        }
    }
    events.next().await
}

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
    /// Takes chunks and returns ranges of them; only on workers.
    pub storage: Option<StorageHandle>,
    /// Answers `/cosign/1`; only on treasury signers.
    pub cosigner: Option<Arc<Cosigner>>,
    /// Answers `/command/1`.
    pub commands: Arc<CommandDesk>,
    /// Answers `/validate/1`; only on validators.
    pub validations: Option<Arc<Validations>>,
    /// Hears of itself.
    pub health: Arc<Health>,
    /// Keeps attestations.
    pub metrics: Arc<Keeper>,
    /// Whose keys peers have.
    pub head: watch::Receiver<Head>,
}

/// What a peer asks.
struct Question {
    peer: PublicKey,
    protocol: Protocol,
    bytes: Vec<u8>,
}

/// The room for answers.
struct Room {
    anybody: Arc<Semaphore>,
    validators: Arc<Semaphore>,
    cosign: Arc<Semaphore>,
    command: Arc<Semaphore>,
    validation: Arc<Semaphore>,
}

impl Room {
    /// Room for one answer, if there is any for this peer.
    fn take(&self, is_validator: bool) -> Option<OwnedSemaphorePermit> {
        permit(&self.anybody).or_else(|| is_validator.then(|| permit(&self.validators)).flatten())
    }
}

fn permit(room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(room).try_acquire_owned().ok()
}

impl Router {
    /// Routes until `stop`, or until the mesh has ended.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut answers = JoinSet::new();
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let room = Room {
            anybody: semaphore(ANSWERS),
            validators: semaphore(VALIDATORS_ANSWERS),
            cosign: semaphore(COSIGN_ANSWERS),
            command: semaphore(COMMAND_ANSWERS),
            validation: semaphore(VALIDATION_ANSWERS),
        };
        let mut sending = None;
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                Some(_ended) = answers.join_next() => continue,
                event = next(&mut self.events, &mut sending) => match event {
                    Some(event) => event,
                    None => return,
                },
            };
            match event {
                Event::Gossip { item: Passed::Chain(input), .. } => {
                    sending = Some(send(&self.driver, input));
                }
                Event::Gossip { item: Passed::Attestation(attestation), .. } => {
                    self.health.heard(&attestation);
                    self.metrics.keep(&attestation);
                }
                Event::Request { peer, protocol, bytes, reply } => {
                    self.request(&mut answers, &room, Question { peer, protocol, bytes }, reply);
                }
                Event::Echo { peer, stream } => {
                    if let (Some(responder), Some(peer)) = (&self.responder, self.account_of(&peer)) {
                        responder.offer(Offer::Echo { peer, stream });
                    }
                }
                Event::PeerConnected(peer) => tracing::debug!(%peer, "connected"),
                Event::PeerDisconnected(peer) => tracing::debug!(%peer, "disconnected"),
                Event::Listening(address) => tracing::info!(address, "listening"),
            }
        }
    }

    /// Whose node key a peer has in the newest state; `None` of one that has given its key up.
    fn account_of(&self, peer: &PublicKey) -> Option<NodeId> {
        self.head.borrow().state.account_of(peer)
    }

    /// A question that nobody answers is dropped, which its peer hears at once; one for which there is no room hears "busy".
    fn request(&self, answers: &mut JoinSet<()>, room: &Room, question: Question, reply: Reply) {
        let Question { peer, protocol, bytes } = question;
        match protocol {
            Protocol::Probe => {
                if let (Some(responder), Some(peer)) = (&self.responder, self.account_of(&peer)) {
                    responder.offer(Offer::Ping { peer, bytes, reply });
                }
            }
            Protocol::Storage => {
                if let (Some(storage), Some(peer)) = (&self.storage, self.account_of(&peer)) {
                    storage.offer(StorageOffer { peer, bytes, reply });
                }
            }
            Protocol::Sync => {
                let Some(room) = room.take(self.head.borrow().state.is_validator(&peer)) else { return reply.refuse() };
                let sync = Arc::clone(&self.sync);
                answers.spawn_blocking(move || {
                    let _room = room;
                    sync.answer(&bytes, reply);
                });
            }
            Protocol::Cosign => {
                let Some(cosigner) = self.cosigner.clone() else { return };
                let Some(room) = permit(&room.cosign) else { return reply.refuse() };
                answers.spawn(async move {
                    let _room = room;
                    if let Some(answer) = cosigner.answer(peer, &bytes).await {
                        reply.respond(encode(&answer));
                    }
                });
            }
            Protocol::Command => {
                let Some(room) = permit(&room.command) else { return reply.refuse() };
                let commands = Arc::clone(&self.commands);
                answers.spawn(async move {
                    let _room = room;
                    reply.respond(encode(&commands.answer(&bytes).await));
                });
            }
            Protocol::Validate => {
                let Some(validations) = self.validations.clone() else { return };
                let Some(room) = permit(&room.validation) else { return reply.refuse() };
                answers.spawn(async move {
                    let _room = room;
                    if let Some(answer) = validations.answer(peer, &bytes).await {
                        reply.respond(encode(&answer));
                    }
                });
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests {
    use lucid_p2p::{Admission, Gate, Topic};
    use lucid_types::id::NetworkId;

    use super::*;
    use crate::chain::fixture::peers::{mesh, mesh_with, within};

    /// Takes everything for something that the driver waits for.
    struct ForDriver;

    impl Gate for ForDriver {
        type Item = Passed;
        fn admit(&self, _: PublicKey, _: Topic, _: &[u8]) -> Admission<Passed> {
            Admission::Accept(Passed::Chain(Box::new(Input::Tick)))
        }
    }

    /// Takes the next event, and what it brings for the driver.
    async fn turn(
        events: &mut Events<Passed>,
        driver: &mpsc::Sender<Box<Input>>,
        sending: &mut Option<Sending>,
    ) -> Event<Passed> {
        match within(next(events, sending)).await.unwrap() {
            Event::Gossip { topic, from, item: Passed::Chain(input) } => {
                assert!(sending.is_none(), "one waits already");
                *sending = Some(send(driver, input));
                Event::Gossip { topic, from, item: Passed::Chain(Box::new(Input::Tick)) }
            }
            event => event,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn requests_pass_by_what_waits_for_the_driver() {
        let network = NetworkId::from_bytes([1; 32]);
        let (own, mut events, _own_stop) = mesh_with(&network, 1, vec![], ForDriver).await;
        let (peer, _peer_events, _peer_stop) = mesh(&network, 2, own.listen_addresses()).await;
        assert!(within(peer.wait_for_peers(|peers| peers.len() == 1)).await);
        let (driver, mut inbox) = mpsc::channel(1);
        let mut sending = None;
        for n in 0..3 {
            peer.publish(Topic::Commitments, vec![n]).await.unwrap();
        }
        // The driver is full, a second message waits for it, and the third one behind that.
        let mut taken = 0;
        while taken < 2 {
            let event = turn(&mut events, &driver, &mut sending).await;
            taken += usize::from(matches!(event, Event::Gossip { .. }));
        }
        // Whoever waited for the driver now would wait for ever.
        assert!(driver.try_send(Box::new(Input::Tick)).is_err());
        let asked = peer.request(own.public_key(), Protocol::Probe, b"ping".to_vec());
        let answers = async {
            loop {
                match turn(&mut events, &driver, &mut sending).await {
                    Event::Request { bytes, reply, .. } => return reply.respond(bytes),
                    Event::Gossip { .. } => panic!("there is no room for it"),
                    _ => {}
                }
            }
        };
        let (answer, ()) = within(async { tokio::join!(asked, answers) }).await;
        assert_eq!(answer.unwrap(), b"ping");
        assert!(sending.is_some() && driver.capacity() == 0);
        // What has waited goes to the driver before what came later is taken.
        assert!(within(inbox.recv()).await.is_some());
        loop {
            if let Event::Gossip { .. } = turn(&mut events, &driver, &mut sending).await {
                break;
            }
        }
        assert_eq!(driver.capacity(), 0);
    }

    #[test]
    fn others_leave_room_for_validators() {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let room = Room {
            anybody: semaphore(2),
            validators: semaphore(1),
            cosign: semaphore(1),
            command: semaphore(1),
            validation: semaphore(1),
        };
        let held = [room.take(false), room.take(false)];
        assert!(held.iter().all(Option::is_some));
        assert!(room.take(false).is_none());
        let of_validator = room.take(true);
        assert!(of_validator.is_some() && room.take(true).is_none());
        drop(held);
        assert!(room.take(false).is_some());
    }
}
