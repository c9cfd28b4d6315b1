//! Says once an epoch, with the worker's signature, what it reads of its machine.

use std::sync::Arc;
use std::time::Duration;

use lucid_types::attestation::{Capacity, ResourceAttestation};
use lucid_types::genesis::Genesis;
use lucid_types::id::NetworkId;
use lucid_types::key::NodeKey;
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::Epoch;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::thread::Newest;
use crate::clock::{Clock, sleep_until};
use crate::probe::Served;

/// What an attester needs.
pub struct AttesterParts<S> {
    /// Signs.
    pub key: NodeKey,
    /// The network's genesis.
    pub genesis: Arc<Genesis>,
    /// Tells the epoch.
    pub clock: Arc<dyn Clock>,
    /// The machine. Without a sample there is no attestation.
    pub newest: Newest,
    /// What the worker declares now; `None` while it is not registered: then nobody takes an attestation of it, and it makes none.
    pub capacity: Arc<dyn Fn() -> Option<Capacity> + Send + Sync>,
    /// What the responder has served.
    pub served: Arc<Served>,
    /// Echoes that the responder serves at a time.
    pub echo_slots: u32,
    /// The next sequence, persisted before it is returned. An error skips this epoch's attestation.
    pub next_sequence: S,
    /// Takes the attestations. When it is full, the attestation is dropped: the next epoch brings a newer one.
    pub out: mpsc::Sender<Verified<Signed<ResourceAttestation>>>,
}

/// Attests once an epoch, and once at its start. [`Self::run`] it.
pub struct Attester<S> {
    parts: AttesterParts<S>,
    network: NetworkId,
    busy_before: Duration,
    last: Instant,
}

impl<S, E> Attester<S>
where
    S: FnMut() -> Result<u64, E> + Send,
    E: std::fmt::Display,
{
    /// An attester that has said nothing yet.
    pub fn new(parts: AttesterParts<S>) -> Self {
        let network = parts.genesis.network_id();
        let busy_before = parts.served.busy_time();
        Self { parts, network, busy_before, last: Instant::now() }
    }

    /// Attests until `stop`: soon after the start of each epoch, at a place in its first quarter that differs from
    /// worker to worker, so that not all attestations travel at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let offset = self.offset();
        tokio::select! {
            () = stop.cancelled() => return,
            _sampled = self.parts.newest.wait_for(Option::is_some) => {}
        }
        loop {
            let epoch = self.parts.genesis.epoch_at(self.parts.clock.now());
            if epoch > Epoch::ZERO {
                self.attest(epoch);
            }
            let next = self.parts.genesis.epoch_start(epoch.next()).after(offset);
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(&*self.parts.clock, next) => {}
            }
        }
    }

    /// Between 0 and a quarter of an epoch, from the node's key.
    fn offset(&self) -> Duration {
        let part = u32::from(self.parts.key.public_key().as_bytes()[0]);
        (self.parts.genesis.policy.epoch() / 4).saturating_mul(part) / 256
    }

    fn attest(&mut self, epoch: Epoch) {
        let Some(capacity) = (self.parts.capacity)() else { return };
        let Some(sample) = self.parts.newest.borrow().clone() else {
            tracing::warn!("the machine cannot be sampled: no attestation in this epoch");
            return;
        };
        let sequence = match (self.parts.next_sequence)() {
            Ok(sequence) => sequence,
            Err(error) => {
                tracing::warn!(%error, "no sequence, so no attestation in this epoch");
                return;
            }
        };
        let (busy, now) = (self.parts.served.busy_time(), Instant::now());
        let context = Context {
            epoch,
            sequence,
            time: self.parts.clock.now(),
            sessions: self.parts.served.snapshot().sessions(),
            capacity,
            elapsed: now.saturating_duration_since(self.last),
            busy: busy.saturating_sub(self.busy_before),
            echo_slots: self.parts.echo_slots,
        };
        (self.busy_before, self.last) = (busy, now);
        let attestation = self.parts.key.sign_attestation(&self.network, sample.attest(&context));
        if let Err(error) = self.parts.out.try_send(attestation) {
            tracing::debug!(epoch = epoch.get(), %error, "nobody takes the attestation");
        }
    }
}
