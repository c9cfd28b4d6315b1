//! The worker's side: signs answers to pings and returns echo streams, for validators only and within limits.
//!
//! Echoes are for validators that hold a seat for this worker in an epoch in which the draw gives it an echo, of the bytes that
//! the draw says: nobody else has a use for them, and each takes bandwidth and a slot.
//!
//! A worker gives each validator twice what the policy assigns for an epoch, and a validation out of turn: a validator that restarts does not
//! know what it has sent. Everything beyond is refused and counted. Of echoes that come at once some wait for a slot: a refusal counts against
//! the worker, and a moment's wait hardly does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use lucid_p2p::{EchoStream, Responder as Reply};
use lucid_types::codec::{decode, encode};
use lucid_types::genesis::Genesis;
use lucid_types::id::{NetworkId, NodeId};
use lucid_types::key::NodeKey;
use lucid_types::policy::Policy;
use lucid_types::report::{ProbeReply, ProbeRequest};
use lucid_types::time::{Epoch, UnixMillis};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counts::Served;
use super::echo;
use super::limits::{VALIDATION_PINGS, clock_tolerance, echo_timeout};
use super::line::Line;
use crate::clock::Clock;
use crate::config::ProbeConfig;

/// Probes that may wait to be looked at. When that many wait, further ones are refused and counted.
const INBOX: usize = 1_024;
/// Echoes that a validator sends in an epoch of echo.
const ECHOES_PER_EPOCH: u32 = 1;
/// How often a validator is served all the probes of an epoch.
const PROBE_QUOTA_FACTOR: u32 = 2;
/// How long an echo waits for a slot before it is refused: as long as a few others take.
const ECHO_WAIT: Duration = Duration::from_secs(1);

/// Whether a node is a validator now. Called for every probe; must not block.
pub type IsValidator = Arc<dyn Fn(&NodeId) -> bool + Send + Sync>;

/// What the draw of an epoch says of a validator's echo to this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoGrant {
    /// The block that draws for the epoch is not here yet.
    Unknown,
    /// The validator has no echo to send.
    Nothing,
    /// An echo of so many bytes.
    Bytes(u64),
}

/// What the draw of an epoch says of a validator's echo. Called for every echo; must not block.
pub type EchoGrants = Arc<dyn Fn(&NodeId, Epoch) -> EchoGrant + Send + Sync>;

/// The policy of an epoch, as far as it is known. That of the next one is, to whoever is less than an epoch behind. Called for every probe;
/// must not block.
pub type PolicyOf = Arc<dyn Fn(Epoch) -> Arc<Policy> + Send + Sync>;

/// What a responder needs.
pub struct ResponderParts {
    /// Signs the answers.
    pub key: NodeKey,
    /// Bounds of epochs.
    pub genesis: Arc<Genesis>,
    /// How much is asked for in an epoch.
    pub policy_of: PolicyOf,
    /// Tells which epochs are plausible.
    pub clock: Arc<dyn Clock>,
    /// Who may ask.
    pub is_validator: IsValidator,
    /// Who may send how much.
    pub echo_grants: EchoGrants,
    /// How many echoes are served at a time.
    pub limits: ProbeConfig,
    /// What they may take of the line.
    pub line: Arc<Line>,
    /// Counts what is served; read by the sampler and for metrics.
    pub served: Arc<Served>,
}

/// A probe as it comes from the mesh.
#[derive(Debug)]
pub enum Offer {
    /// A request of [`lucid_p2p::Protocol::Probe`].
    Ping {
        /// The account that asks.
        peer: NodeId,
        /// What.
        bytes: Vec<u8>,
        /// For the answer; dropped, the peer hears that there is none.
        reply: Reply,
    },
    /// An echo stream.
    Echo {
        /// The account that opened it.
        peer: NodeId,
        /// The stream; dropped, it is reset.
        stream: EchoStream,
    },
}

/// Hands probes to a running responder. Cheap to clone.
#[derive(Clone)]
pub struct ResponderHandle {
    inbox: mpsc::Sender<Offer>,
    served: Arc<Served>,
}

impl ResponderHandle {
    /// Hands over a probe. Never waits: with a full inbox, or a responder that has ended, the probe is refused.
    pub fn offer(&self, probe: Offer) {
        if self.inbox.try_send(probe).is_err() {
            self.served.refuse();
        }
    }
}

/// What one validator has had in one epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    pings: u32,
    echoes: u32,
}

/// The responder. [`Self::run`] it.
pub struct Responder {
    parts: ResponderParts,
    network: NetworkId,
    inbox: mpsc::Receiver<Offer>,
    /// At most one entry for each validator and plausible epoch.
    used: BTreeMap<(Epoch, NodeId), Used>,
    sessions: JoinSet<()>,
    /// Echoes that wait for a slot, in the order in which they came.
    waiting: VecDeque<WaitingEcho>,
    /// Validators with an echo that is served or waits; it holds the other end until it is over.
    echoing: BTreeMap<NodeId, Weak<()>>,
}

/// Why a probe is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NotAValidator,
    Malformed,
    OtherEpoch,
    NoSeat,
    TooMany,
    /// The owner's bytes of this month.
    UsedUp,
}

impl Responder {
    /// A responder and the handle through which it gets its probes.
    pub fn new(parts: ResponderParts) -> (ResponderHandle, Self) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let handle = ResponderHandle { inbox: sender, served: Arc::clone(&parts.served) };
        let network = parts.genesis.network_id();
        (
            handle,
            Self {
                parts,
                network,
                inbox,
                used: BTreeMap::new(),
                sessions: JoinSet::new(),
                waiting: VecDeque::new(),
                echoing: BTreeMap::new(),
            },
        )
    }

    /// Serves until `stop`, or until every handle is gone. Running echoes end with it.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.serve_waiting();
            let patience = self.waiting.front().map(|echo| echo.until);
            tokio::select! {
                () = stop.cancelled() => return,
                // A session has counted itself; one that panicked has been logged by its thread.
                Some(_ended) = self.sessions.join_next() => {}
                () = tokio::time::sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {}
                offer = self.inbox.recv() => match offer {
                    Some(offer) => self.take(offer),
                    None => return,
                },
            }
        }
    }

    fn take(&mut self, offer: Offer) {
        let now = self.parts.clock.now();
        let (peer, refused) = match offer {
            Offer::Ping { peer, bytes, reply } => match self.answer(peer, &bytes, now) {
                Ok(answer) => {
                    reply.respond(answer);
                    return;
                }
                Err(refusal) => (peer, refusal),
            },
            Offer::Echo { peer, stream } => match self.admit_echo(peer, now) {
                Ok(echo) => {
                    self.waiting.push_back(WaitingEcho { until: Instant::now() + ECHO_WAIT, peer, stream, echo });
                    return;
                }
                Err(refusal) => (peer, refusal),
            },
        };
        self.refuse(peer, refused);
    }

    fn refuse(&self, peer: NodeId, reason: Refusal) {
        self.parts.served.refuse();
        tracing::debug!(peer = %peer.short(), ?reason, "a probe is refused");
    }

    /// Serves those that have slots, and refuses those that have waited for too long.
    fn serve_waiting(&mut self) {
        // What has ended has given its slot back.
        while self.sessions.try_join_next().is_some() {}
        let slots = usize::try_from(self.parts.limits.echo_sessions).unwrap_or(usize::MAX);
        // More than the owner's pace serves in time would all fail.
        let slots = slots.min(self.parts.line.echoes(self.parts.genesis.policy.echo_min_bytes));
        while self.sessions.len() < slots
            && let Some(WaitingEcho { stream, echo, .. }) = self.waiting.pop_front()
        {
            self.serve(stream, echo);
        }
        let now = Instant::now();
        while let Some(WaitingEcho { peer, .. }) = self.waiting.pop_front_if(|echo| echo.until <= now) {
            self.refuse(peer, Refusal::TooMany);
        }
    }

    /// The signed answer to a ping.
    fn answer(&mut self, peer: NodeId, bytes: &[u8], now: UnixMillis) -> Result<Vec<u8>, Refusal> {
        if !(self.parts.is_validator)(&peer) {
            return Err(Refusal::NotAValidator);
        }
        let request: ProbeRequest = decode(bytes).map_err(|_| Refusal::Malformed)?;
        if !self.plausible(now).contains(&request.epoch) {
            return Err(Refusal::OtherEpoch);
        }
        let pings = (self.parts.policy_of)(request.epoch).pings;
        let most = pings.saturating_add(VALIDATION_PINGS).saturating_mul(PROBE_QUOTA_FACTOR);
        let used = self.used(request.epoch, peer, now);
        if used.pings >= most {
            return Err(Refusal::TooMany);
        }
        used.pings += 1;
        self.parts.served.ping();
        let reply = ProbeReply { validator: peer, epoch: request.epoch, nonce: request.nonce };
        let answer = encode(&*self.parts.key.sign_probe_reply(&self.network, reply));
        self.parts.line.count(bytes.len() + answer.len());
        Ok(answer)
    }

    fn admit_echo(&mut self, peer: NodeId, now: UnixMillis) -> Result<AdmittedEcho, Refusal> {
        if !(self.parts.is_validator)(&peer) {
            return Err(Refusal::NotAValidator);
        }
        let bytes = self.granted(&peer, now).ok_or(Refusal::NoSeat)?;
        if self.parts.line.is_used_up() {
            return Err(Refusal::UsedUp);
        }
        self.echoing.retain(|_, session| session.strong_count() > 0);
        if self.echoing.contains_key(&peer) {
            return Err(Refusal::TooMany);
        }
        let epoch = self.parts.genesis.epoch_at(now);
        let used = self.used(epoch, peer, now);
        if used.echoes >= ECHOES_PER_EPOCH * PROBE_QUOTA_FACTOR {
            return Err(Refusal::TooMany);
        }
        used.echoes += 1;
        let running = Arc::new(());
        self.echoing.insert(peer, Arc::downgrade(&running));
        Ok(AdmittedEcho { bytes, running })
    }

    /// Bytes of the echo that a validator may send now.
    fn granted(&self, peer: &NodeId, now: UnixMillis) -> Option<u64> {
        let grants = &self.parts.echo_grants;
        let epochs = self.plausible(now);
        let epochs = (epochs.start().get()..=epochs.end().get()).map(Epoch::new);
        let drawn = epochs.filter_map(|epoch| match grants(peer, epoch) {
            EchoGrant::Bytes(bytes) => Some(bytes),
            EchoGrant::Nothing | EchoGrant::Unknown => None,
        });
        let genesis = &self.parts.genesis;
        // Blocks come to some a little later than to others. Until the epoch's draw is here any validator may hold a seat.
        let is_unknown = || grants(peer, genesis.epoch_at(now)) == EchoGrant::Unknown;
        drawn.max().or_else(|| is_unknown().then(|| (self.parts.policy_of)(genesis.epoch_at(now)).echo_max_bytes))
    }

    fn serve(&mut self, stream: EchoStream, AdmittedEcho { bytes: most, running }: AdmittedEcho) {
        let timeout = echo_timeout(&self.parts.genesis.policy.fixed(), most);
        let (line, session) = (Arc::clone(&self.parts.line), Session::begin(&self.parts.served));
        self.sessions.spawn(async move {
            let _running = running;
            let echo = Box::pin(echo::echo(stream, most, &line));
            match tokio::time::timeout(timeout, echo).await {
                Ok(Ok(bytes)) => session.end(bytes),
                Ok(Err(error)) => tracing::debug!(%error, "an echo failed"),
                Err(_) => tracing::debug!("an echo took too long"),
            }
        });
    }

    /// Epochs in which a validator may be whose clock is within the tolerance of ours.
    fn plausible(&self, now: UnixMillis) -> std::ops::RangeInclusive<Epoch> {
        let genesis = &self.parts.genesis;
        let tolerance = clock_tolerance(&genesis.policy.fixed());
        let millis = u64::try_from(tolerance.as_millis()).unwrap_or(u64::MAX);
        let first = genesis.epoch_at(now.saturating_sub(UnixMillis::new(millis)));
        first.max(Epoch::new(1))..=genesis.epoch_at(now.after(tolerance))
    }

    fn used(&mut self, epoch: Epoch, peer: NodeId, now: UnixMillis) -> &mut Used {
        let oldest = *self.plausible(now).start();
        self.used.retain(|(epoch, _), _| *epoch >= oldest);
        self.used.entry((epoch, peer)).or_default()
    }
}

/// An echo that may be served.
#[derive(Debug)]
struct AdmittedEcho {
    bytes: u64,
    running: Arc<()>,
}

/// An echo that may be served and has no slot yet.
#[derive(Debug)]
struct WaitingEcho {
    /// Then it is refused.
    until: Instant,
    peer: NodeId,
    stream: EchoStream,
    echo: AdmittedEcho,
}

/// An echo in the counts. However it ends, it stops being busy.
struct Session {
    served: Arc<Served>,
    bytes: Option<u64>,
}

impl Session {
    fn begin(served: &Arc<Served>) -> Self {
        served.echo_begins();
        Self { served: Arc::clone(served), bytes: None }
    }

    /// Served to the end.
    fn end(mut self, bytes: u64) {
        self.bytes = Some(bytes);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.served.echo_ends(self.bytes);
    }
}

#[cfg(test)]
mod tests;
