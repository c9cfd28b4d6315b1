//! What a node does in each of its roles: the tasks of a worker, a validator and a treasury signer, and their wiring.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use lucid_consensus::ledger::state::{Rows, State};
use lucid_consensus::ledger::table::Draws;
use lucid_consensus::replica::Restore;
use lucid_p2p::{Limits, Topic};
use lucid_score::draw::ScoredWorker;
use lucid_score::storage::{committee, term_start};
use lucid_storage::{OwnKind, StorageError, Store};
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::providers::Providers;
use lucid_types::attestation::Capacity;
use lucid_types::codec::encode;
use lucid_types::id::{NetworkId, NodeId, PayoutAddress};
use lucid_types::time::{Height, UnixMillis};
use lucid_types::validator_key::ValidatorKey;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::api::model::EnrolmentView;
use crate::caps::{Caps, CapsParts, Month};
use crate::chain::head::Head;
use crate::chain::persist;
use crate::chain::report::Reporter;
use crate::chain::watermark::Watermark;
use crate::chunks::{ChunkStore, Owner};
use crate::commands::CommandDesk;
use crate::config::{Config, LimitsConfig, Role};
use crate::enrolment::{Enrolment, EnrolmentParts};
use crate::history::metrics::Attestation;
use crate::home::Home;
use crate::node::standing::{self, Me};
use crate::node::{Assembly, Wires};
use crate::payout::cosign::{Cosigner, OwnSigners, Treasury};
use crate::payout::push::{Conditions, Lead, LeadParts, Leader, NotPushing, PushParts, PushTask, Pushing};
use crate::payout::reader::{Reader, ReaderParts};
use crate::probe::schedule::{Assigned, Assignment};
use crate::probe::{
    Assignments, EchoGrant, EchoGrants, KeyOf, PolicyOf, ProbeCounters, Prober, ProberParts, Responder,
    ResponderHandle, ResponderParts, StorageGrants, StorageHandle, StorageSecret, StorageServer, StorageServerParts,
    StoredAt, ValidationParts, Validations,
};
use crate::sampler::{Attester, AttesterParts};
use crate::signer::client::RemoteSigner;
use crate::stage::Stage;
use crate::validations::shares_operator;

/// How often it is looked whether the key of the gas account is there, if it was not.
const RETRY: Duration = Duration::from_secs(10);
/// Reports that wait to be committed to.
const REPORTS: usize = 8;

impl Assembly {
    /// A treasury signer's side of `/cosign/1`, and the address of its key if that is known.
    pub(super) fn cosigner(&self, wires: &Wires) -> anyhow::Result<Option<(Arc<Cosigner>, Option<PayoutAddress>)>> {
        if !self.config.has(Role::Treasury) {
            return Ok(None);
        }
        let (treasury, address) = if self.config.holds_signer_key() {
            let key = self.home.load_signer_key(&self.config)?;
            let address = key.address();
            (Treasury::InProcess(OwnSigners::new(self.me.account, key, self.store.clone())), Some(address))
        } else {
            self.remote_signer()
        };
        let cosigner = Cosigner::new(Arc::clone(&self.spec), wires.head.clone(), Arc::clone(&wires.vaults), treasury);
        Ok(Some((Arc::new(cosigner), address)))
    }

    /// The key is in another process, which may be started later than this one.
    fn remote_signer(&self) -> (Treasury, Option<PayoutAddress>) {
        let remote =
            RemoteSigner::new(&self.home.signer_socket(&self.config), *self.spec.id()).with_store(self.store.clone());
        let asked = block_in_place(|| Handle::current().block_on(remote.status()));
        let asked = asked.inspect_err(|error| {
            tracing::warn!(error = error as &dyn std::error::Error, "the treasury signer does not answer yet");
        });
        (Treasury::Remote(remote), asked.ok().map(|status| status.address))
    }

    /// Says how the registry has this node, whenever that changes.
    pub(super) fn standing(&self, work: &mut Stage, wires: &Wires, signer: Option<PayoutAddress>) {
        let me = Me {
            identity: self.me.clone(),
            spec: Arc::clone(&self.spec),
            keys: wires.keys.clone(),
            keys_dir: self.home.validator_keys_dir(),
            roles: self.config.roles.iter().copied().collect(),
            signer,
        };
        let told = standing::tell(me, wires.head.clone(), work.stop.clone());
        work.spawn_plain("watch of the registry", told);
    }

    /// Enters the account into the network and a pool, if `lucid join` was asked to and that is not done.
    pub(super) fn enrolment(
        &self,
        work: &mut Stage,
        commands: &Arc<CommandDesk>,
        best_seen: watch::Receiver<Height>,
        progress: watch::Sender<Option<EnrolmentView>>,
    ) -> anyhow::Result<()> {
        let Some(intent) = self.home.load_intent()? else { return Ok(()) };
        let (network, wanted) = (self.spec.id(), intent.string.network);
        if wanted != *network {
            return Err(anyhow!(
                "{} is of the network {wanted}, and the home of {network}: move it away, and `lucid join` again",
                self.home.intent_file().display()
            ));
        }
        let enrolment = Enrolment::new(EnrolmentParts {
            spec: Arc::clone(&self.spec),
            clock: Arc::clone(&self.clock),
            home: self.home.clone(),
            me: self.me.clone(),
            intent,
            gas_address: self.home.load_gas_key(&self.config)?.map(|key| key.address()),
            pinned: self.config.sync.pin().map_or(Height::ZERO, |pin| pin.height),
            commands: Arc::clone(commands),
            head: commands.head.clone(),
            best_seen,
            progress,
        })?;
        work.spawn("enrolment", enrolment.run(work.stop.clone()));
        Ok(())
    }

    /// Keeps to the limits of a worker's owner that maintenance keeps to.
    ///
    /// # Errors
    /// The store could not be read.
    pub(super) fn caps(
        &self,
        work: &mut Stage,
        wires: &Wires,
        commands: &Arc<CommandDesk>,
        month: watch::Sender<Month>,
    ) -> anyhow::Result<()> {
        if !self.config.has(Role::Worker) {
            return Ok(());
        }
        let parts = CapsParts {
            spec: Arc::clone(&self.spec),
            clock: Arc::clone(&self.clock),
            store: self.store.clone(),
            me: self.me.clone(),
            limits: self.config.limits.clone(),
            line: Arc::clone(&wires.line),
            commands: Arc::clone(commands),
            head: wires.head.clone(),
            month,
        };
        let caps = block_in_place(|| Caps::new(parts))?;
        work.spawn("owner's limits", caps.run(work.stop.clone()));
        Ok(())
    }

    /// Reads what the pools' vaults do, if there are providers.
    pub(super) fn reader(&self, work: &mut Stage, wires: &Wires, providers: Option<&Arc<Providers>>) {
        let Some(providers) = providers else { return };
        let reader = Reader::new(ReaderParts {
            spec: Arc::clone(&self.spec),
            clock: Arc::clone(&self.clock),
            store: self.store.clone(),
            providers: Arc::clone(providers),
            head: wires.head.clone(),
            vaults: Arc::clone(&wires.vaults),
        });
        work.spawn("reader", reader.run(work.stop.clone()));
    }

    /// Pushes the payouts of this worker's pool, while it can lead.
    pub(super) fn pusher(
        &self,
        work: &mut Stage,
        wires: &Wires,
        providers: Option<&Arc<Providers>>,
        cosigner: Option<Arc<Cosigner>>,
    ) {
        if !self.config.has(Role::Worker) {
            return;
        }
        let (home, config, providers) = (self.home.clone(), self.config.clone(), providers.cloned());
        let (spec, me, clock, store) =
            (Arc::clone(&self.spec), self.me.clone(), Arc::clone(&self.clock), self.store.clone());
        let (mesh, head, vaults, table) =
            (wires.mesh.clone(), wires.head.clone(), Arc::clone(&wires.vaults), Arc::clone(&wires.pushed));
        let max_trx_per_day = self.config.bridge.max_trx_per_day;
        let push = move |lead: Lead, stop: CancellationToken| {
            let no_providers =
                || "this worker can lead, but tron.providers is empty: it pushes no payouts of its pool".to_owned();
            let providers = providers.as_ref().ok_or_else(|| NotPushing::Missing(no_providers()))?;
            let gas = gas_key(&home, &config, &lead.gas).map_err(NotPushing::Missing)?;
            let task = PushTask::new(PushParts {
                spec: Arc::clone(&spec),
                lead,
                me: me.clone(),
                gas,
                max_trx_per_day,
                clock: Arc::clone(&clock),
                mesh: mesh.clone(),
                store: store.clone(),
                providers: Arc::clone(providers),
                head: head.clone(),
                vaults: Arc::clone(&vaults),
                cosigner: cosigner.clone(),
                table: Arc::clone(&table),
                conditions: Conditions::default(),
            })?;
            Ok(Box::pin(task.run(stop)) as Pushing)
        };
        let (node, head, table) = (self.me.account, wires.head.clone(), Arc::clone(&wires.pushed));
        let leader = Leader::new(LeadParts { node, head, table, retry: RETRY, push });
        work.spawn("pusher", leader.run(work.stop.clone()));
    }

    /// What a worker does: answers probes and attests.
    pub(super) fn worker(&self, work: &mut Stage, wires: &Wires) -> anyhow::Result<Option<ResponderHandle>> {
        if !self.config.has(Role::Worker) {
            return Ok(None);
        }
        let genesis = Arc::new(self.spec.genesis().clone());
        let (responder, task) = Responder::new(ResponderParts {
            key: self.me.key.clone(),
            genesis: Arc::clone(&genesis),
            clock: Arc::clone(&self.clock),
            is_validator: self.is_validator(wires.head.clone()),
            echo_grants: self.echo_grants(wires.head.clone()),
            policy_of: policy_of(wires.head.clone()),
            limits: self.config.probe.clone(),
            line: Arc::clone(&wires.line),
            served: Arc::clone(&wires.served),
        });
        work.spawn_plain("responder", task.run(work.stop.clone()));

        // A few attestations fit; with more waiting, gossip is down and a newer one follows.
        let (out, mut attested) = mpsc::channel(4);
        let (store, clock) = (self.store.clone(), Arc::clone(&self.clock));
        let attester = Attester::new(AttesterParts {
            key: self.me.key.clone(),
            genesis,
            clock: Arc::clone(&self.clock),
            newest: wires.newest.clone(),
            capacity: self.capacity(wires.head.clone()),
            served: Arc::clone(&wires.served),
            echo_slots: self.config.probe.echo_sessions,
            next_sequence: move || next_sequence(&store, clock.now()),
            out,
        });
        work.spawn_plain("attester", attester.run(work.stop.clone()));
        let (gossip, metrics, health) = (wires.gossip.clone(), wires.metrics.clone(), wires.health.clone());
        let account = self.me.account;
        work.spawn_plain("attestation publisher", async move {
            while let Some(attestation) = attested.recv().await {
                let bytes = encode(&*attestation);
                let attestation = Attestation { account, signed: attestation };
                health.sent(&attestation);
                metrics.keep(&attestation);
                if gossip.send((Topic::Attestations(0), bytes)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Some(responder))
    }

    /// What a worker does beside: takes the chunks of its storage committees, and returns ranges of them.
    pub(super) fn storage(&self, work: &mut Stage, wires: &Wires) -> anyhow::Result<Option<StorageHandle>> {
        if !self.config.has(Role::Worker) {
            return Ok(None);
        }
        let owner = Owner { network: *self.spec.id(), worker: self.me.account };
        let store = block_in_place(|| ChunkStore::open(&self.home.chunks_dir(), owner))?;
        let mut head = wires.head.clone();
        let (settlement, settlements) = watch::channel(open_settlement(&head.borrow().state));
        let stop = work.stop.clone();
        work.spawn_plain("watch of settlements", async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = head.changed() => if changed.is_err() { return },
                }
                let open = open_settlement(&head.borrow_and_update().state);
                settlement.send_if_modified(|told| std::mem::replace(told, open) != open);
            }
        });
        let (storage, task) = StorageServer::new(StorageServerParts {
            store,
            policy: self.spec.genesis().policy.fixed(),
            is_validator: self.is_validator(wires.head.clone()),
            grants: Arc::new(Committees {
                me: self.me.account,
                head: wires.head.clone(),
                limits: self.config.limits.clone(),
            }),
            settlement: settlements,
            min_free_bytes: self.config.limits.min_free_bytes,
            line: Arc::clone(&wires.line),
            served: Arc::clone(&wires.served),
        });
        work.spawn_plain("storage server", task.run(work.stop.clone()));
        Ok(Some(storage))
    }

    /// What this node declares to offer; nothing while its account has another key.
    fn capacity(&self, head: watch::Receiver<Head>) -> Arc<dyn Fn() -> Option<Capacity> + Send + Sync> {
        let (me, key) = (self.me.account, self.me.public_key());
        Arc::new(move || {
            let state = head.borrow().state.clone();
            state.node(&me).filter(|_| state.key_of(&me) == Some(key)).map(|row| row.capacity)
        })
    }

    /// How many nodes are registered.
    pub(super) fn registered(&self, head: watch::Receiver<Head>) -> Arc<dyn Fn() -> usize + Send + Sync> {
        Arc::new(move || {
            let state = head.borrow().state.clone();
            state.nodes().count()
        })
    }

    /// Whether an account is a validator of the next height.
    pub(super) fn is_validator(&self, head: watch::Receiver<Head>) -> Arc<dyn Fn(&NodeId) -> bool + Send + Sync> {
        Arc::new(move |node| head.borrow().state.next_validators().of(node).is_some())
    }

    /// How often this node has started with the role of a validator, and how far it has signed: it is ready for when it becomes one. Until it
    /// has listened for others, and beyond what its database remembers, it signs nothing.
    pub(super) fn validator_instance(&self, stored: &mut Restore) -> anyhow::Result<Option<(u64, Watermark)>> {
        let head = stored.state.height();
        if !self.config.has(Role::Validator) {
            return Ok(None);
        }
        let boots = persist::boots(&self.store)?;
        let mut watermark = Watermark::open(&self.home.watermark_file(), *self.spec.id(), boots > 0)?;
        let mark = watermark.mark();
        let boot = boots.max(mark.boot).saturating_add(1);
        watermark.boot(boot)?;
        persist::put_boot(&self.store, boot)?;
        stored.is_listening = true;
        stored.silent_through = mark.silent_through(head, u64::try_from(stored.log.len()).unwrap_or(0));
        if stored.silent_through > Height::ZERO {
            tracing::warn!(
                head = head.get(),
                signed = mark.height.get(),
                "the database is older than what this validator has signed, as after a backup was restored: it signs nothing before \
                 block {} is decided",
                mark.height
            );
        }
        Ok(Some((boot, watermark)))
    }

    /// What the draws in the state say of echoes to this worker.
    fn echo_grants(&self, head: watch::Receiver<Head>) -> EchoGrants {
        let me = self.me.account;
        Arc::new(move |validator, epoch| {
            let state = head.borrow().state.clone();
            if epoch > state.closed().next() {
                return EchoGrant::Unknown;
            }
            let key = state.reporter(epoch, validator);
            let bytes = key.and_then(|key| state.get::<Draws>(&epoch)?.echo_of(&key, &me));
            bytes.map_or(EchoGrant::Nothing, |bytes| EchoGrant::Bytes(bytes.value()))
        })
    }

    /// What a validator does: probes and reports.
    ///
    /// # Errors
    /// The secret of its chunks cannot be had.
    pub(super) fn validator(&self, work: &mut Stage, wires: &Wires) -> anyhow::Result<Arc<ProbeCounters>> {
        if !self.config.has(Role::Validator) {
            return Ok(Arc::default());
        }
        let secret = self.home.storage_secret()?;
        let (reports, received) = mpsc::channel(REPORTS);
        let prober = Prober::new(ProberParts {
            mesh: wires.mesh.clone(),
            me: self.me.account,
            key_of: self.key_of(wires.head.clone()),
            genesis: Arc::new(self.spec.genesis().clone()),
            clock: Arc::clone(&self.clock),
            assignments: assignments(wires, (*self.spec.id(), self.me.account), secret.clone()),
            secret,
            reports,
        });
        let counters = prober.counters();
        work.spawn_plain("prober", prober.run(work.stop.clone()));
        let reporter = Reporter::new(wires.keys.clone(), received, wires.head.clone(), wires.driver.clone());
        work.spawn("reporter", reporter.run(work.stop.clone()));
        Ok(counters)
    }

    /// What a validator does beside: pings workers for those who ask.
    pub(super) fn validations(&self, wires: &Wires) -> Option<Arc<Validations>> {
        if !self.config.has(Role::Validator) {
            return None;
        }
        let (me, own, head) = (self.me.account, self.me.public_key(), wires.head.clone());
        let (members, operators) = (wires.head.clone(), wires.head.clone());
        let is_validator = move || {
            let state = head.borrow().state.clone();
            state.next_validators().of(&me).is_some() && state.key_of(&me) == Some(own)
        };
        Some(Arc::new(Validations::new(ValidationParts {
            mesh: wires.mesh.clone(),
            me,
            key: self.me.key.clone(),
            genesis: Arc::new(self.spec.genesis().clone()),
            clock: Arc::clone(&self.clock),
            key_of: self.key_of(wires.head.clone()),
            is_worker: Arc::new(move |node| members.borrow().state.pool_of(node).is_some()),
            is_own_worker: Arc::new(move |node| shares_operator(&operators.borrow().state, &me, node)),
            is_validator: Arc::new(is_validator),
        })))
    }

    /// The node key of an account in the newest state.
    fn key_of(&self, head: watch::Receiver<Head>) -> KeyOf {
        Arc::new(move |account| head.borrow().state.key_of(account))
    }
}

/// The policies in the newest state.
fn policy_of(head: watch::Receiver<Head>) -> PolicyOf {
    Arc::new(move |epoch| Arc::clone(head.borrow().state.policy(epoch)))
}

/// File descriptors of a node beside those of its mesh: of the database, the API and the providers.
const OTHER_DESCRIPTORS: usize = 1_024;

/// Lets this process open as many files as the mesh of a validator may need, as far as the system allows.
pub(super) fn allow_descriptors(limits: &Limits) {
    let wanted = limits.descriptors().saturating_add(OTHER_DESCRIPTORS);
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let allowed = soft.max(wanted.min(hard));
        setrlimit(Resource::RLIMIT_NOFILE, allowed, hard).map(|()| allowed)
    });
    match allowed {
        Ok(allowed) if allowed >= wanted => {}
        Ok(allowed) => tracing::warn!(
            allowed,
            wanted,
            "this process may open fewer files than a validator needs that measures every worker: raise its limit (ulimit -n, LimitNOFILE)"
        ),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// The settlement of the epoch that is open.
fn open_settlement(state: &State) -> u64 {
    let epoch = state.closed().next();
    state.policy(epoch).settlement_of(epoch)
}

/// What the newest state says of chunks with this worker.
struct Committees {
    me: NodeId,
    head: watch::Receiver<Head>,
    limits: LimitsConfig,
}

impl Committees {
    /// Chunks of all seats of a validator for the term that begins in a settlement: the one that is under way, or one that begins in the next.
    fn of(&self, state: &State, validator: &NodeId, term: u64) -> Option<u32> {
        let epoch = state.closed().next();
        let node = state.node(&self.me).filter(|node| node.pool_in(epoch).is_some())?;
        let (policy, open) = (state.policy(epoch), open_settlement(state));
        let settlement =
            [open, open.saturating_add(1)].into_iter().find(|it| term_start(policy, &self.me, *it) == term)?;
        let seats = committee(policy, &state.storage_terms(), &self.me, &node.operator, settlement);
        let (_, seats) = seats.into_iter().find(|(holder, _)| holder == validator)?;
        let chunks = u32::from(seats).saturating_mul(policy.storage_quota(node.capacity.disk_bytes).into());
        (chunks > 0).then_some(chunks)
    }

    fn state(&self) -> State {
        self.head.borrow().state.clone()
    }
}

impl StorageGrants for Committees {
    fn chunks(&self, validator: &NodeId, term: u64) -> Option<u32> {
        self.of(&self.state(), validator, term)
    }

    fn may_stay(&self, validator: &NodeId, term: u64) -> Option<u32> {
        let state = self.state();
        // Of a node that is behind, the state does not know yet what was deposited since.
        if term > open_settlement(&state).saturating_add(1) { Some(u32::MAX) } else { self.of(&state, validator, term) }
    }

    fn disk_bytes(&self) -> u64 {
        self.limits.disk_of(self.state().node(&self.me).map_or(0, |node| node.capacity.disk_bytes))
    }
}

/// The workers for which this validator holds seats, once the block is here that closes the epoch before: it draws them.
fn assignments(wires: &Wires, (network, me): (NetworkId, NodeId), secret: StorageSecret) -> Assignments {
    let (head, keys) = (wires.head.clone(), wires.keys.clone());
    Arc::new(move |epoch| {
        let (mut head, keys, secret) = (head.clone(), keys.clone(), secret.clone());
        Box::pin(async move {
            let state = head.wait_for(|head| head.state.closed().next() >= epoch).await.ok()?.state.clone();
            let draw = state.open().filter(|_| state.closed().next() == epoch)?;
            let key = keys.borrow().reporter(&state, epoch).map(ValidatorKey::id)?;
            let assigned = |(worker, _): (&ScoredWorker, u8)| {
                let &ScoredWorker { node: worker, echo_bytes, group, .. } = worker;
                Assigned { worker, echo_bytes, group }
            };
            let workers = draw.assignment(&key)?.map(assigned).collect();
            let (policy, open) = (state.policy(epoch), open_settlement(&state));
            let stored_at = |worker: &ScoredWorker, seats, settlement| {
                let term = term_start(policy, &worker.node, settlement);
                let deposit = secret.deposit(&network, &me, &worker.node, term);
                let is_challenged = settlement == open;
                StoredAt { worker: worker.node, seats, quota: worker.quota, deposit, is_challenged }
            };
            let challenged = draw.storage_assignment(&key)?.map(|(worker, seats)| stored_at(worker, seats, open));
            // What is to be proved from the first epoch of a term on has to be there by then.
            let (next, terms) = (open.saturating_add(1), state.storage_terms());
            let begins = |worker: &&ScoredWorker| worker.quota > 0 && term_start(policy, &worker.node, next) == next;
            let ahead = draw.scored.iter().filter(begins).filter_map(|worker| {
                let operator = state.node(&worker.node).map_or(worker.node, |node| node.operator);
                let seats = committee(policy, &terms, &worker.node, &operator, next);
                let (_, seats) = seats.into_iter().find(|(holder, _)| *holder == me)?;
                Some(stored_at(worker, seats, next))
            });
            let stored = challenged.chain(ahead).collect();
            Some(Assignment { workers, policy: Arc::clone(policy), stored })
        })
    })
}

/// The key of the gas account that is registered for this worker, or why it cannot be used.
fn gas_key(home: &Home, config: &Config, registered: &PayoutAddress) -> Result<TronKey, String> {
    let path = home.gas_key_file(config);
    let path = path.display();
    match home.load_gas_key(config) {
        Ok(Some(key)) if key.address() == *registered => Ok(key),
        Ok(Some(key)) => Err(format!(
            "the gas account {registered} is registered for this worker, but {path} is the key of {}: others push the payouts that this \
             worker is elected to push. Put the right key there, or register the other address",
            key.address()
        )),
        Ok(None) => Err(format!(
            "the gas account {registered} is registered for this worker, but its key {path} is missing: others push the payouts that \
             this worker is elected to push. Restore the key from its backup"
        )),
        Err(error) => Err(format!("the key of this worker's gas account cannot be used: {:#}", anyhow!(error))),
    }
}

/// The next sequence of this worker's attestations, durable before it is used. Never below the clock's milliseconds:
/// a worker that has lost its store is believed again at once.
fn next_sequence(store: &Store, now: UnixMillis) -> Result<u64, StorageError> {
    const KEY: &[u8] = b"attestation";
    block_in_place(|| {
        let last =
            store.own(OwnKind::Counter, KEY)?.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
        let next = last.saturating_add(1).max(now.get());
        store.put(OwnKind::Counter, KEY, &next.to_be_bytes())?;
        Ok(next)
    })
}
