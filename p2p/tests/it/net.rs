//! The harness: nodes of one network on loopback, and waiting with a limit.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use lucid_p2p::{Admission, Event, Events, Gate, Mesh, MeshConfig, MeshTask, Topic, start};
use lucid_types::id::{NetworkId, PublicKey};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Nothing here takes longer on a working machine; a test that waits this long has failed.
const LIMIT: Duration = Duration::from_secs(40);

pub(crate) const NETWORK: NetworkId = NetworkId::from_bytes([7; 32]);
pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Ignores what starts with `ignore`, rejects what starts with `reject`, and accepts the rest.
pub(crate) struct ByPrefix;

impl Gate for ByPrefix {
    type Item = Vec<u8>;
    fn admit(&self, _: PublicKey, _: Topic, bytes: &[u8]) -> Admission<Vec<u8>> {
        if bytes.starts_with(b"ignore") {
            Admission::Ignore("stale")
        } else if bytes.starts_with(b"reject") {
            Admission::Reject("signature")
        } else {
            Admission::Accept(bytes.to_vec())
        }
    }
}

/// A running node. Dropping it stops it, without waiting for it.
pub(crate) struct Node {
    pub(crate) mesh: Mesh,
    pub(crate) events: Events<Vec<u8>>,
    cancel: CancellationToken,
    _cancel_on_drop: DropGuard,
    frozen: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

pub(crate) fn config() -> MeshConfig {
    MeshConfig { listen: vec![TCP.to_owned(), QUIC.to_owned()], local: true, ..MeshConfig::new(NETWORK) }
}

impl Node {
    /// Starts a node with the key of `seed` and waits until it listens.
    pub(crate) async fn start(seed: u8, config: MeshConfig) -> Self {
        Self::start_with(seed, config, ByPrefix).await
    }

    /// A node with a gate of its own.
    pub(crate) async fn start_with(seed: u8, config: MeshConfig, gate: impl Gate<Item = Vec<u8>>) -> Self {
        let listeners = config.listen.len();
        let (mesh, events, task) = start(config, &[seed; 32], Arc::new(gate)).unwrap();
        let node = Self::run(mesh, events, task);
        within(node.mesh.wait_for_listeners(listeners)).await;
        node
    }

    /// A node with the default configuration that knows `bootstrap`.
    pub(crate) async fn join(seed: u8, bootstrap: &Self) -> Self {
        Self::start(seed, MeshConfig { bootstrap: bootstrap.mesh.listen_addresses(), ..config() }).await
    }

    fn run(mesh: Mesh, events: Events<Vec<u8>>, task: MeshTask<Vec<u8>>) -> Self {
        let cancel = CancellationToken::new();
        let frozen = Arc::new(AtomicBool::new(false));
        let mut running = Box::pin(task.run(cancel.clone()));
        let is_frozen = Arc::clone(&frozen);
        let task = tokio::spawn(std::future::poll_fn(move |cx| {
            if is_frozen.load(Ordering::Relaxed) { Poll::Pending } else { running.as_mut().poll(cx) }
        }));
        Self { mesh, events, _cancel_on_drop: cancel.clone().drop_guard(), cancel, frozen, task }
    }

    pub(crate) fn id(&self) -> PublicKey {
        self.mesh.public_key()
    }

    /// The event loop stops; sockets and connections stay open, as in a process that hangs.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// Stops the node as the daemon does.
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        within(self.task).await.unwrap();
    }

    /// Ends the node without a word to anybody.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(within(self.task).await.unwrap_err().is_cancelled());
    }

    pub(crate) async fn wait_for_peers(&self, n: usize) {
        assert!(within(self.mesh.wait_for_peers(|peers| peers.len() == n)).await);
    }

    /// The next event that `pick` takes; others are dropped.
    #[track_caller]
    pub(crate) fn next<R>(&mut self, mut pick: impl FnMut(Event<Vec<u8>>) -> Option<R>) -> impl Future<Output = R> {
        within(async move {
            loop {
                match self.events.next().await {
                    Some(event) => {
                        if let Some(picked) = pick(event) {
                            return picked;
                        }
                    }
                    None => panic!("the mesh has stopped"),
                }
            }
        })
    }

    pub(crate) async fn next_gossip(&mut self) -> (Topic, Vec<u8>) {
        self.next(|event| match event {
            Event::Gossip { topic, item, .. } => Some((topic, item)),
            _ => None,
        })
        .await
    }

    /// The count of one group and reason.
    pub(crate) fn count(&self, group: &str, reason: &str) -> u64 {
        let counters = self.mesh.counters();
        counters.iter().find(|c| c.group == group && c.reason == reason).map_or(0, |c| c.count)
    }

    /// Waits until a count has reached `n`.
    pub(crate) async fn wait_for_count(&self, group: &str, reason: &str, n: u64) {
        within(until(|| self.count(group, reason) >= n)).await;
    }
}

/// Waits for a condition that no event announces.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    while !condition() {
        look.tick().await;
    }
}

/// Fails the test when `future` takes longer than anything should.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(LIMIT, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened within {LIMIT:?} at {caller}"),
        }
    }
}
