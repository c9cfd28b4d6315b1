//! Validations out of turn over real meshes: whoever asks, an honest worker and a silent one, and who is not answered.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::replica::Offers;
use lucid_node::chain::head::Head;
use lucid_node::clock::{Clock, SystemClock};
use lucid_node::config::ProbeConfig;
use lucid_node::history::validations;
use lucid_node::probe::{EchoGrant, Responder, ResponderParts, Served, ValidationParts, Validations};
use lucid_node::validations::{NotValidated, ValidationDesk, shares_operator};
use lucid_p2p::{Event, Events, Mesh, Protocol, RequestError};
use lucid_storage::Store;
use lucid_types::codec::{decode, encode};
use lucid_types::id::NodeId;
use lucid_types::key::NodeKey;
use lucid_types::network_group::NetworkGroup;
use lucid_types::signed::Signed;
use lucid_types::validation::{ValidationReply, ValidationRequest, ValidationResult};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fixture::start::Start;
use crate::fixture::{genesis, node, policy_of, pool, within, worker};
use crate::mesh::{Peer, dispatch, peer};

const VALIDATOR: u8 = 1;
/// A validator that says what it likes.
const LIAR: u8 = 2;
/// A validator that is not there.
const ABSENT: u8 = 3;
const HONEST: u8 = 10;
/// Is a member, and answers nothing.
const MUTE: u8 = 11;
/// Is in no pool.
const POOLLESS: u8 = 12;
/// Is run by the operator of the validator.
const OWN: u8 = 13;
/// A node that asks, and another one.
const ASKER: u8 = 20;
const OTHER_ASKER: u8 = 21;
/// A node that is none of these.
const NOBODY: u8 = 30;

/// Everything that nodes of the network know.
struct Network {
    spec: Arc<ChainSpec>,
    head: watch::Receiver<Head>,
    _head: watch::Sender<Head>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl Network {
    fn new() -> Self {
        let genesis = genesis(Duration::from_secs(60), &[VALIDATOR, LIAR, ABSENT]);
        let seeds = [HONEST, MUTE, POOLLESS, OWN];
        let members = [HONEST, MUTE, OWN].map(node).to_vec();
        let mut workers = seeds.map(|seed| worker(node(seed), seed)).to_vec();
        workers[3].operator = node(VALIDATOR);
        let start = Start { genesis: genesis.clone(), workers, pools: vec![pool(VALIDATOR, members, 1, vec![])] };
        let spec = Arc::new(ChainSpec::new(genesis).unwrap());
        let head = Head {
            state: start.state(&spec),
            block: None,
            adopted_at: SystemClock.now(),
            offers: Offers::default(),
            round: None,
            unreported: vec![],
        };
        let (sender, head) = watch::channel(head);
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        Self { spec, head, _head: sender, tasks: JoinSet::new(), stop, _stop: guard }
    }

    async fn peer(&self, seed: u8, bootstrap: &[String]) -> (Peer, Events<()>) {
        peer(*self.spec.id(), seed, bootstrap.to_vec()).await
    }

    fn validations(&self, mesh: &Mesh, seed: u8) -> Arc<Validations> {
        let (validators, members, operators, me) =
            (self.head.clone(), self.head.clone(), self.head.clone(), node(seed));
        Arc::new(Validations::new(ValidationParts {
            mesh: mesh.clone(),
            me,
            key: NodeKey::from_seed(&[seed; 32]),
            genesis: Arc::new(self.spec.genesis().clone()),
            clock: Arc::new(SystemClock),
            key_of: Arc::new(|account| Some(account.first_key())),
            is_worker: Arc::new(move |node| members.borrow().state.pool_of(node).is_some()),
            is_own_worker: Arc::new(move |node| shares_operator(&operators.borrow().state, &me, node)),
            is_validator: Arc::new(move || validators.borrow().state.next_validators().of(&me).is_some()),
        }))
    }

    /// A node that answers validations as the router does.
    async fn validator(&mut self, seed: u8, bootstrap: &[String]) -> Peer {
        let (peer, mut events) = self.peer(seed, bootstrap).await;
        let validations = self.validations(&peer.mesh, seed);
        self.tasks.spawn(async move {
            let mut answers = JoinSet::new();
            while let Some(event) = events.next().await {
                let Event::Request { peer, protocol: Protocol::Validate, bytes, reply } = event else { continue };
                let validations = Arc::clone(&validations);
                answers.spawn(async move {
                    if let Some(answer) = validations.answer(peer, &bytes).await {
                        reply.respond(encode(&answer));
                    }
                });
            }
        });
        peer
    }

    /// The real responder of a worker.
    async fn worker(&mut self, seed: u8, bootstrap: &[String]) -> (Peer, Arc<Served>) {
        let (peer, events) = self.peer(seed, bootstrap).await;
        let (served, genesis) = (Arc::<Served>::default(), Arc::new(self.spec.genesis().clone()));
        let (handle, responder) = Responder::new(ResponderParts {
            key: NodeKey::from_seed(&[seed; 32]),
            genesis: Arc::clone(&genesis),
            clock: Arc::new(SystemClock),
            is_validator: Arc::new(|id| [VALIDATOR, LIAR, ABSENT].map(node).contains(id)),
            echo_grants: Arc::new(|_, _| EchoGrant::Nothing),
            policy_of: policy_of(&genesis),
            limits: ProbeConfig::default(),
            line: Arc::default(),
            served: Arc::clone(&served),
        });
        self.tasks.spawn(responder.run(self.stop.clone()));
        self.tasks.spawn(dispatch(events, handle));
        (peer, served)
    }

    fn desk(&self, mesh: &Mesh, seed: u8, store: &Store, own: Option<Arc<Validations>>) -> ValidationDesk {
        ValidationDesk {
            spec: Arc::clone(&self.spec),
            clock: Arc::new(SystemClock),
            me: node(seed).first_key(),
            head: self.head.clone(),
            mesh: mesh.clone(),
            store: store.clone(),
            own,
        }
    }
}

async fn connected(of: &Peer, to: &[u8]) {
    let keys: Vec<_> = to.iter().map(|seed| node(*seed).first_key()).collect();
    let all = |peers: &[lucid_p2p::PeerInfo]| keys.iter().all(|key| peers.iter().any(|peer| peer.key == *key));
    assert!(within(of.mesh.wait_for_peers(all)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_pings_for_whoever_asks_and_not_too_often() {
    let mut network = Network::new();
    let validator = network.validator(VALIDATOR, &[]).await;
    let bootstrap = validator.mesh.listen_addresses();
    let (_honest, served) = network.worker(HONEST, &bootstrap).await;
    let (_mute, _silent) = network.peer(MUTE, &bootstrap).await;
    let (asker, _events) = network.peer(ASKER, &bootstrap).await;
    let (other, _events) = network.peer(OTHER_ASKER, &bootstrap).await;
    connected(&validator, &[HONEST, MUTE, ASKER, OTHER_ASKER]).await;
    connected(&asker, &[VALIDATOR]).await;
    connected(&other, &[VALIDATOR]).await;

    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), *network.spec.id()).unwrap();
    let (first, second) =
        (network.desk(&asker.mesh, ASKER, &store, None), network.desk(&other.mesh, OTHER_ASKER, &store, None));
    let signed = within(first.ask(node(HONEST), None)).await.unwrap();
    let ValidationResult { validator: by, worker, pings_sent, pings_answered, rtt_us, group, .. } = signed.record;
    assert_eq!((by, worker, pings_sent, pings_answered), (node(VALIDATOR), node(HONEST), 4, 4));
    assert_eq!((rtt_us.value() > 0, group), (true, Some(NetworkGroup::NONE)), "loopback is nowhere");
    assert_eq!(served.snapshot().pings, 4, "the worker saw pings as all others");
    let kept = validations::of(&store, &node(HONEST), 9, SystemClock.now()).unwrap();
    assert_eq!(kept, [Signed::clone(&signed)]);

    // In this epoch everybody has the same result, and in this minute this asker no other.
    for desk in [&second, &first] {
        assert_eq!(within(desk.ask(node(HONEST), None)).await.unwrap(), signed);
    }
    let error = within(first.ask(node(MUTE), None)).await.unwrap_err();
    assert!(matches!(&error, NotValidated::Refused(why) if why.contains("has validated lately")), "{error}");
    assert_eq!(served.snapshot().pings, 4);
    // That nobody answers is a result, too.
    let signed = within(second.ask(node(MUTE), Some(node(VALIDATOR)))).await.unwrap();
    let ValidationResult { pings_sent, pings_answered, rtt_us, group, .. } = signed.record;
    assert_eq!((pings_sent, pings_answered, rtt_us.value(), group), (4, 0, 0, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_worker_is_not_pinged_and_who_is_no_validator_does_not_answer() {
    let mut network = Network::new();
    let validator = network.validator(VALIDATOR, &[]).await;
    let bootstrap = validator.mesh.listen_addresses();
    let nobody = network.validator(NOBODY, &bootstrap).await;
    let (_worker, served) = network.worker(POOLLESS, &bootstrap).await;
    let (asker, _events) = network.peer(ASKER, &[bootstrap, nobody.mesh.listen_addresses()].concat()).await;
    connected(&asker, &[VALIDATOR, NOBODY]).await;

    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), *network.spec.id()).unwrap();
    let desk = network.desk(&asker.mesh, ASKER, &store, None);
    for (worker, by, why) in [(POOLLESS, None, "there is no worker"), (HONEST, Some(NOBODY), "there is no validator")] {
        let error = within(desk.ask(node(worker), by.map(node))).await.unwrap_err();
        assert!(matches!(&error, NotValidated::Unknown(found) if found.contains(why)), "{error}");
    }
    let error = within(desk.ask(node(HONEST), Some(node(ABSENT)))).await.unwrap_err();
    assert!(matches!(&error, NotValidated::Unavailable(why) if why.contains("not connected to validator")), "{error}");

    // The same of a peer that does not look first, and requests that are none.
    let ask = |to: u8, bytes| within(asker.mesh.request(node(to).first_key(), Protocol::Validate, bytes));
    let about = |seed| encode(&ValidationRequest { worker: node(seed) });
    let unknown = ask(VALIDATOR, about(POOLLESS)).await.unwrap();
    assert_eq!(decode::<ValidationReply>(&unknown).unwrap(), ValidationReply::Unknown);
    let oneself = ask(VALIDATOR, about(VALIDATOR)).await.unwrap();
    assert_eq!(decode::<ValidationReply>(&oneself).unwrap(), ValidationReply::Unknown, "it is no worker");
    for bytes in [vec![], vec![0; 31], vec![0; 33], vec![0xff; 64]] {
        assert_eq!(ask(VALIDATOR, bytes).await, Err(RequestError::NoAnswer));
    }
    assert_eq!(ask(NOBODY, about(HONEST)).await, Err(RequestError::NoAnswer));
    assert_eq!(served.snapshot().pings, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_measures_neither_its_operators_workers_nor_anybody_while_it_is_alone() {
    let mut network = Network::new();
    let validator = network.validator(VALIDATOR, &[]).await;
    let own = network.validations(&validator.mesh, VALIDATOR);
    let about = |seed| encode(&ValidationRequest { worker: node(seed) });
    let ask = async |seed| within(own.answer(node(ASKER).first_key(), &about(seed))).await;
    assert_eq!(ask(HONEST).await, Some(ValidationReply::NotSent));

    let bootstrap = validator.mesh.listen_addresses();
    let (_own, served) = network.worker(OWN, &bootstrap).await;
    let (_mute, _silent) = network.peer(MUTE, &bootstrap).await;
    let (asker, _events) = network.peer(ASKER, &bootstrap).await;
    connected(&validator, &[OWN, MUTE, ASKER]).await;
    connected(&asker, &[VALIDATOR]).await;
    assert_eq!((ask(OWN).await, served.snapshot().pings), (Some(ValidationReply::NotSent), 0));
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), *network.spec.id()).unwrap();
    let desk = network.desk(&asker.mesh, ASKER, &store, None);
    let error = within(desk.ask(node(OWN), Some(node(VALIDATOR)))).await.unwrap_err();
    assert!(matches!(&error, NotValidated::Refused(why) if why.contains("the operator of the worker")), "{error}");
    // Neither has taken anything from the asker.
    assert!(matches!(ask(MUTE).await, Some(ValidationReply::Done(_))));
}

/// Two of three validators say nothing, however long one waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_that_says_nothing_holds_up_no_other() {
    let mut network = Network::new();
    let validator = network.validator(VALIDATOR, &[]).await;
    let mut bootstrap = validator.mesh.listen_addresses();
    let mut silent = Vec::new();
    for seed in [LIAR, ABSENT] {
        let (peer, mut events) = network.peer(seed, &[]).await;
        bootstrap.extend(peer.mesh.listen_addresses());
        network.tasks.spawn(async move {
            let mut kept = Vec::new();
            while let Some(event) = events.next().await {
                kept.push(event);
            }
        });
        silent.push(peer);
    }
    let (_honest, _served) = network.worker(HONEST, &validator.mesh.listen_addresses()).await;
    let (asker, _events) = network.peer(ASKER, &bootstrap).await;
    connected(&validator, &[HONEST]).await;
    connected(&asker, &[VALIDATOR, LIAR, ABSENT]).await;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), *network.spec.id()).unwrap();
    let desk = network.desk(&asker.mesh, ASKER, &store, None);
    let signed = within(desk.ask(node(HONEST), None)).await.unwrap();
    assert_eq!((signed.record.validator, signed.record.pings_answered), (node(VALIDATOR), 4));
}

/// The liar is connected first, and asked first or not: what it says does not count, and the next one is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_are_neither_kept_nor_shown() {
    let mut network = Network::new();
    let (liar, mut events) = network.peer(LIAR, &[]).await;
    let id = *network.spec.id();
    network.tasks.spawn(async move {
        let key = NodeKey::from_seed(&[LIAR; 32]);
        let honest = |worker: NodeId| ValidationResult {
            validator: node(LIAR),
            worker,
            time: SystemClock.now(),
            pings_sent: 4,
            pings_answered: 0,
            rtt_us: lucid_types::log_scale::LogScale::ZERO,
            group: None,
        };
        let mut n = 0;
        while let Some(event) = events.next().await {
            let Event::Request { bytes, reply, .. } = event else { continue };
            let ValidationRequest { worker } = decode(&bytes).unwrap();
            let result = match n {
                0 => ValidationResult { pings_answered: 9, ..honest(worker) },
                1 => ValidationResult { worker: node(MUTE), ..honest(worker) },
                _ => ValidationResult { validator: node(VALIDATOR), ..honest(worker) },
            };
            n += 1;
            reply.respond(encode(&ValidationReply::Done(key.sign_validation(&id, result).into_inner())));
        }
    });
    let bootstrap = liar.mesh.listen_addresses();
    let (validator, _events) = network.peer(VALIDATOR, &bootstrap).await;
    let (_honest, _served) = network.worker(HONEST, &validator.mesh.listen_addresses()).await;
    connected(&validator, &[LIAR, HONEST]).await;

    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), *network.spec.id()).unwrap();
    let own = network.validations(&validator.mesh, VALIDATOR);
    let desk = network.desk(&validator.mesh, VALIDATOR, &store, Some(own));
    for _ in 0..3 {
        let error = within(desk.ask(node(HONEST), Some(node(LIAR)))).await.unwrap_err();
        assert!(matches!(&error, NotValidated::Unavailable(why) if why.contains("the answer of validator")), "{error}");
    }
    assert_eq!(validations::of(&store, &node(HONEST), 9, SystemClock.now()).unwrap(), []);
    // A validator asks itself first.
    let signed = within(desk.ask(node(HONEST), None)).await.unwrap();
    assert_eq!((signed.record.validator, signed.record.pings_answered), (node(VALIDATOR), 4));
    assert_eq!(validations::of(&store, &node(HONEST), 9, SystemClock.now()).unwrap().len(), 1);
}
