//! Runs the pusher for as long as this node can lead, and for the pool that it can lead: which that is, the newest state says.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture};
use lucid_consensus::ledger::state::State;
use lucid_types::id::{NodeId, PayoutAddress, PoolId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{PushError, PushTable};
use crate::chain::head::Head;

/// What a node leads with: it is a member of a pool, or was when that ended, and its row names a gas account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The pool.
    pub pool: PoolId,
    /// The pool's vault.
    pub vault: PayoutAddress,
    /// The account that pays for transactions.
    pub gas: PayoutAddress,
}

impl Lead {
    fn of(state: &State, node: &NodeId) -> Option<Self> {
        let gas = state.node(node)?.gas_address?;
        let pool = state.pushes_for(node)?;
        Some(Self { pool, vault: state.pool(&pool)?.vault.address, gas })
    }
}

/// A pusher that runs until it is stopped.
pub type Pushing = BoxFuture<'static, ()>;

/// Why no pusher runs for a node that could lead.
#[derive(Debug)]
pub enum NotPushing {
    /// Something is missing: what, and what its operator has to do.
    Missing(String),
    /// The pusher cannot go on from what it stored.
    Failed(PushError),
}

impl From<PushError> for NotPushing {
    fn from(error: PushError) -> Self {
        Self::Failed(error)
    }
}

/// What a leader works with.
pub struct LeadParts<P> {
    /// This node.
    pub node: NodeId,
    /// The newest block.
    pub head: watch::Receiver<Head>,
    /// Takes what is shown.
    pub table: Arc<PushTable>,
    /// How often it is looked again whether what is missing is there.
    pub retry: Duration,
    /// Makes a pusher that runs until the token is cancelled.
    pub push: P,
}

/// Starts the pusher, stops it, and starts it anew for another pool, vault or account. [`Self::run`] it.
pub struct Leader<P> {
    parts: LeadParts<P>,
    /// What the newest state says.
    lead: Option<Lead>,
    pushing: Option<(CancellationToken, Pushing)>,
    /// What keeps this node from leading.
    problem: Option<String>,
}

impl<P> Leader<P>
where
    P: FnMut(Lead, CancellationToken) -> Result<Pushing, NotPushing> + Send,
{
    /// A leader that pushes nothing yet.
    pub const fn new(parts: LeadParts<P>) -> Self {
        Self { parts, lead: None, pushing: None, problem: None }
    }

    /// Leads until `stop`.
    ///
    /// # Errors
    /// A pusher cannot go on from what it stored.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), PushError> {
        let mut head = self.parts.head.clone();
        loop {
            let state = head.borrow_and_update().state.clone();
            self.follow(Lead::of(&state, &self.parts.node)).await?;
            let pushing = OptionFuture::from(self.pushing.as_mut().map(|(_, pushing)| pushing));
            tokio::select! {
                () = stop.cancelled() => break,
                // It ends by itself only when the chain has.
                Some(()) = pushing => {
                    self.pushing = None;
                    break;
                }
                changed = head.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(self.parts.retry), if self.problem.is_some() => self.start()?,
            }
        }
        self.stop().await;
        Ok(())
    }

    async fn follow(&mut self, lead: Option<Lead>) -> Result<(), PushError> {
        if lead == self.lead {
            return Ok(());
        }
        self.stop().await;
        self.lead = lead;
        self.problem = None;
        self.parts.table.clear();
        self.start()
    }

    async fn stop(&mut self) {
        if let Some((stop, pushing)) = self.pushing.take() {
            stop.cancel();
            pushing.await;
            tracing::info!("payouts are not pushed from here any more");
        }
    }

    fn start(&mut self) -> Result<(), PushError> {
        let Some(lead) = self.lead else { return Ok(()) };
        let stop = CancellationToken::new();
        match (self.parts.push)(lead, stop.clone()) {
            Ok(pushing) => {
                self.tell(None);
                self.pushing = Some((stop, pushing));
                tracing::info!(pool = %lead.pool.short(), gas = %lead.gas, "ready to push the pool's payouts");
            }
            Err(NotPushing::Missing(problem)) => self.tell(Some(problem)),
            Err(NotPushing::Failed(error)) => return Err(error),
        }
        Ok(())
    }

    fn tell(&mut self, problem: Option<String>) {
        if let Some(problem) = problem.as_ref().filter(|problem| self.problem.as_ref() != Some(problem)) {
            tracing::warn!("{problem}");
        }
        self.parts.table.set_alerts(problem.iter().cloned().collect());
        self.problem = problem;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and wait for their tasks")]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use lucid_consensus::ledger::pool::PoolStatus;
    use lucid_consensus::ledger::registry::{Membership, Node};
    use lucid_consensus::ledger::table::{Nodes, Pools};
    use lucid_types::time::Epoch;
    use tokio::sync::mpsc;

    use super::*;
    use crate::payout::testing::{self, WORKERS, address, node, tron_key};

    const SECOND: PoolId = PoolId::from_bytes([2; 32]);

    #[derive(Debug, PartialEq, Eq)]
    enum Told {
        Started(Lead),
        Stopped(Lead),
    }

    type Keys = Arc<Mutex<BTreeSet<PayoutAddress>>>;

    /// A leader on the first worker, with keys that the test puts there and takes away.
    struct Bench {
        head: watch::Sender<Head>,
        keys: Keys,
        table: Arc<PushTable>,
        told: mpsc::Receiver<Told>,
        stop: CancellationToken,
        leader: tokio::task::JoinHandle<Result<(), PushError>>,
    }

    impl Bench {
        fn new(known: &[u8]) -> Self {
            let spec = testing::network();
            // A second pool, with a vault of its own.
            let state = testing::first(&spec).changed(|rows| {
                let mut pool = rows.get_mut::<Pools>(&testing::pool_id(&spec)).unwrap().clone();
                pool.vault.address = address(222);
                rows.put::<Pools>(&SECOND, pool);
                rows.get_mut::<Nodes>(&node(WORKERS[0])).unwrap().gas_address = Some(gas(1));
            });
            let (head, seen) = watch::channel(testing::head(state));
            let keys: Keys = Arc::new(Mutex::new(known.iter().map(|seed| gas(*seed)).collect()));
            let (out, told) = mpsc::channel(4);
            let (table, stop, held) = (Arc::<PushTable>::default(), CancellationToken::new(), Arc::clone(&keys));
            let leader = Leader::new(LeadParts {
                node: node(WORKERS[0]),
                head: seen,
                table: Arc::clone(&table),
                retry: Duration::from_millis(5),
                push: move |lead: Lead, stop: CancellationToken| {
                    if !held.lock().unwrap().contains(&lead.gas) {
                        return Err(NotPushing::Missing(format!("the key of {} is missing", lead.gas)));
                    }
                    let out = out.clone();
                    out.try_send(Told::Started(lead)).unwrap();
                    let pushing: Pushing = Box::pin(async move {
                        stop.cancelled().await;
                        out.try_send(Told::Stopped(lead)).unwrap();
                    });
                    Ok(pushing)
                },
            });
            let leader = tokio::spawn(leader.run(stop.clone()));
            Self { head, keys, table, told, stop, leader }
        }

        fn change(&self, act: impl FnOnce(&mut Node)) {
            self.head.send_modify(|head| {
                head.state = head.state.changed(|rows| act(rows.get_mut::<Nodes>(&node(WORKERS[0])).unwrap()));
            });
        }

        async fn next(&mut self) -> Told {
            self.told.recv().await.unwrap()
        }
    }

    fn gas(seed: u8) -> PayoutAddress {
        tron_key(seed).address()
    }

    fn first() -> Lead {
        Lead { pool: testing::pool_id(&testing::network()), vault: address(202), gas: gas(1) }
    }

    #[tokio::test]
    async fn the_pusher_follows_the_pool_the_vault_and_the_gas_account() {
        let mut bench = Bench::new(&[1, 2]);
        assert_eq!(bench.next().await, Told::Started(first()));
        // Nothing that matters has changed.
        bench.change(|row| row.payout_address = address(77));

        bench.change(|row| row.gas_address = Some(gas(2)));
        let second = Lead { gas: gas(2), ..first() };
        assert_eq!([bench.next().await, bench.next().await], [Told::Stopped(first()), Told::Started(second)]);
        bench.change(|row| row.membership = Some(Membership { pool: SECOND, from: Epoch::new(1), until: None }));
        let third = Lead { pool: SECOND, vault: address(222), ..second };
        assert_eq!([bench.next().await, bench.next().await], [Told::Stopped(second), Told::Started(third)]);
        bench.head.send_modify(|head| {
            head.state =
                head.state.changed(|rows| rows.get_mut::<Pools>(&SECOND).unwrap().vault.address = address(223));
        });
        let fourth = Lead { vault: address(223), ..third };
        assert_eq!([bench.next().await, bench.next().await], [Told::Stopped(third), Told::Started(fourth)]);

        // Of a pool that has ended, those who were members push what it owes still.
        let ended =
            |from, until| Some(Membership { pool: SECOND, from: Epoch::new(from), until: Some(Epoch::new(until)) });
        bench.change(|row| row.membership = ended(1, 1));
        assert_eq!(bench.next().await, Told::Stopped(fourth));
        bench.head.send_modify(|head| {
            let until = Epoch::new(1);
            head.state = head.state.changed(|rows| {
                rows.get_mut::<Pools>(&SECOND).unwrap().status = PoolStatus::Disbanded { from: until, until };
            });
        });
        assert_eq!(bench.next().await, Told::Started(fourth));

        // Who cannot lead pushes nothing.
        bench.change(|row| row.membership = None);
        assert_eq!(bench.next().await, Told::Stopped(fourth));
        bench.change(|row| row.membership = Some(Membership { pool: SECOND, from: Epoch::new(9), until: None }));
        assert_eq!(bench.next().await, Told::Started(fourth));
        bench.change(|row| row.gas_address = None);
        assert_eq!(bench.next().await, Told::Stopped(fourth));
        bench.head.send_modify(|head| {
            head.state = head.state.changed(|rows| rows.remove::<Nodes>(&node(WORKERS[0])));
        });
        bench.stop.cancel();
        bench.leader.await.unwrap().unwrap();
        assert_eq!(bench.told.recv().await, None);
    }

    #[tokio::test]
    async fn a_key_that_does_not_fit_is_an_alert_until_it_does() {
        let mut bench = Bench::new(&[]);
        while bench.table.alerts().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.table.alerts(), [format!("the key of {} is missing", gas(1))]);
        assert!(bench.told.try_recv().is_err());
        // It is put there while the node runs.
        bench.keys.lock().unwrap().insert(gas(1));
        assert_eq!(bench.next().await, Told::Started(first()));
        assert!(bench.table.alerts().is_empty());
        // Another account is registered, whose key is not here.
        bench.change(|row| row.gas_address = Some(gas(3)));
        assert_eq!(bench.next().await, Told::Stopped(first()));
        bench.stop.cancel();
        bench.leader.await.unwrap().unwrap();
        assert_eq!(bench.table.alerts(), [format!("the key of {} is missing", gas(3))]);
    }
}
