//! A visit to a network that this machine is no part of yet: fetches the network's genesis by its hash, and compares what its nodes show
//! as the chain.
//!
//! A visitor is a mesh with a key that nobody sees again. It listens nowhere, takes part in no gossip and answers nothing. The genesis
//! needs no trust: the network's id is the hash of its bytes, so the first that has this hash is the right one, and whoever gives
//! another is asked no more. Peers are asked beside each other, so that silent ones cost no time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use lucid_consensus::chain_spec::ChainSpec;
use lucid_p2p::{Admission, Gate, Limits, Mesh, MeshConfig, Protocol, RequestError, StartError, Topic};
use lucid_types::certificate::Certificate;
use lucid_types::codec::{decode, encode};
use lucid_types::genesis::Genesis;
use lucid_types::id::{BlockHash, NetworkId, PublicKey};
use lucid_types::sync::{CertifiedHeader, SyncRequest, SyncResponse};
use lucid_types::time::Height;
use lucid_types::validator_sets::ValidatorSets;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::chain::sets::KnownSets;
use crate::config::Pin;

/// Peers that are asked for the genesis at a time.
const MAX_ASKED: usize = 4;
/// How long a connected peer has for an answer; a request to one that is not waits for the connection besides.
const ANSWER: Duration = Duration::from_secs(15);
/// How long whoever gave nothing is not asked again.
const REST: Duration = Duration::from_secs(1);
/// Between two looks at who is connected.
const LOOK: Duration = Duration::from_millis(200);
/// Peers that are remembered, and told of when nobody had the genesis.
const MAX_REMEMBERED: usize = 64;
/// Peers whose chains are compared.
const MAX_COMPARED: usize = 8;

/// A connection to a network. [`Self::leave`] it, or it breaks off when this is dropped.
pub struct Visitor {
    network: NetworkId,
    bootstrap: Vec<(PublicKey, String)>,
    mesh: Mesh,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// Why nobody can be visited.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// The system's random source does not work.
    #[error("the operating system gives no random bytes for a key")]
    Random(#[source] getrandom::Error),
    /// An address cannot be used, or the mesh does not start.
    #[error("cannot connect to the network")]
    Mesh(#[from] StartError),
}

/// Nobody gave the genesis. Its text has a line for each peer that was asked.
#[derive(Clone, Debug)]
pub struct NoGenesis {
    network: NetworkId,
    waited: Duration,
    /// Who was asked, as they are known to the reader, and what came of it.
    answers: Vec<(String, Fault)>,
}

/// Why a peer brought no genesis.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// It could not be asked, or did not answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It has not answered in time.
    #[error("no answer in {} s", ANSWER.as_secs())]
    Silent,
    /// It said something that cannot be so.
    #[error("it answered wrongly: {0}")]
    Lie(&'static str),
    /// It gave the genesis, which this version cannot use.
    #[error("it gave the genesis, and this version cannot use it: {0}")]
    Unusable(String),
}

impl Fault {
    /// Whether to ask again is of no use.
    const fn is_final(&self) -> bool {
        matches!(self, Self::Lie(_) | Self::Unusable(_) | Self::Request(RequestError::OtherNetwork))
    }
}

impl fmt::Display for NoGenesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nobody gave the genesis of the network {} in {} s:", self.network, self.waited.as_secs())?;
        for (peer, fault) in &self.answers {
            write!(f, "\n  {peer}: {fault}")?;
        }
        let is_foreign = |fault: &Fault| matches!(fault, Fault::Request(RequestError::OtherNetwork));
        f.write_str(if self.answers.iter().any(|(_, fault)| is_foreign(fault)) {
            "\nThe network id and the addresses do not belong together. Ask whoever made the join string for another one"
        } else if self.answers.iter().any(|(_, fault)| matches!(fault, Fault::Unusable(_))) {
            "\nInstall the newest version of lucid"
        } else {
            "\nSee that this machine reaches these addresses, or ask for a join string with others. A peer that hangs up is full, or \
             belongs to another network"
        })
    }
}

impl std::error::Error for NoGenesis {}

/// What is known of a peer that was asked.
struct Asked {
    fault: Fault,
    /// When it may be asked again.
    again: Instant,
}

/// What several peers show as the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Nobody shows a block: the chain has none yet, or nobody answers.
    NoBlock,
    /// All show the same certified block at this height.
    Same {
        /// The block.
        block: Pin,
        /// How many show it.
        peers: usize,
    },
    /// Certified blocks of one height contradict each other: more than a third of the validators have signed both.
    Different {
        /// The height.
        height: Height,
        /// Who shows which.
        blocks: BTreeMap<BlockHash, Vec<PublicKey>>,
    },
}

/// Hears nothing, and blames nobody for it.
struct Deaf;

impl Gate for Deaf {
    type Item = ();
    fn admit(&self, _: PublicKey, _: Topic, _: &[u8]) -> Admission<()> {
        Admission::Ignore("visitor")
    }
}

impl Visitor {
    /// Starts to connect to a network, by the addresses of nodes that end in `/p2p/<peer id>`. In a `local` network private addresses
    /// that peers tell of are dialled too. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// An address is none, or the system refuses something.
    pub fn connect(network: NetworkId, bootstrap: &[String], local: bool) -> Result<Self, VisitError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(VisitError::Random)?;
        let limits = Limits { target_peers: MAX_COMPARED, min_peers: MAX_ASKED, gate_threads: 1, ..Limits::default() };
        let config = MeshConfig {
            bootstrap: bootstrap.to_vec(),
            kad_server: false,
            local,
            limits,
            topics: BTreeSet::new(),
            ..MeshConfig::new(network)
        };
        let nodes = bootstrap.iter().map(|address| Ok((lucid_p2p::bootstrap_node(address)?, address.clone())));
        let bootstrap = nodes.collect::<Result<_, StartError>>()?;
        let (mesh, mut events, task) = lucid_p2p::start(config, &seed, std::sync::Arc::new(Deaf))?;
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(task.run(stop.clone()));
        // A question that is dropped hears so at once.
        tasks.spawn(async move { while events.next().await.is_some() {} });
        Ok(Self { network, bootstrap, mesh, tasks, stop })
    }

    /// Tells the peers that the visit is over.
    pub async fn leave(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// How many nodes of the network are connected.
    pub fn peer_count(&self) -> usize {
        self.mesh.peer_count()
    }

    /// The network's genesis, checked, from whichever peer gives it first.
    ///
    /// # Errors
    /// Nobody gave it for as long as `patience`, or until all that are known have shown that they never will.
    pub async fn genesis(&self, patience: Duration) -> Result<Genesis, NoGenesis> {
        let begun = Instant::now();
        let mut asked = BTreeMap::<PublicKey, Asked>::new();
        let (mut under_way, mut downloads) = (BTreeSet::new(), FuturesUnordered::new());
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            for peer in self.candidates(&asked) {
                if downloads.len() < MAX_ASKED && under_way.insert(peer) {
                    downloads.push(async move { (peer, self.download(peer).await) });
                }
            }
            tokio::select! {
                Some((peer, outcome)) = downloads.next() => {
                    under_way.remove(&peer);
                    match outcome {
                        Ok(genesis) => return Ok(genesis),
                        Err(fault) => {
                            tracing::debug!(%peer, %fault, "no genesis from a peer");
                            // All others have the same one.
                            let is_over = matches!(fault, Fault::Unusable(_));
                            asked.insert(peer, Asked { fault, again: Instant::now() + REST });
                            if is_over {
                                break;
                            }
                        }
                    }
                }
                _ = look.tick() => {}
                () = sleep_until(begun + patience) => break,
            }
            let is_final =
                |(node, _): &(PublicKey, String)| asked.get(node).is_some_and(|asked| asked.fault.is_final());
            let has_more =
                self.mesh.peers().iter().any(|peer| !asked.get(&peer.key).is_some_and(|it| it.fault.is_final()));
            if downloads.is_empty() && self.bootstrap.iter().all(is_final) && !has_more {
                break;
            }
        }
        Err(self.no_genesis(begun.elapsed(), &asked))
    }

    /// Whom to ask next: bootstrap nodes, and those who are connected by now. Whoever brought nothing comes after the others.
    fn candidates(&self, asked: &BTreeMap<PublicKey, Asked>) -> Vec<PublicKey> {
        let now = Instant::now();
        let connected = self.mesh.peers().into_iter().map(|peer| peer.key);
        let known = self.bootstrap.iter().map(|(node, _)| *node).chain(connected);
        let may_be_asked = |node: &PublicKey| {
            asked.get(node).map_or(asked.len() < MAX_REMEMBERED, |it| !it.fault.is_final() && it.again <= now)
        };
        let mut candidates: Vec<_> = known.filter(may_be_asked).collect();
        candidates.sort_by_key(|node| asked.get(node).map(|asked| asked.again));
        candidates
    }

    fn no_genesis(&self, waited: Duration, asked: &BTreeMap<PublicKey, Asked>) -> NoGenesis {
        let silent = || Fault::Request(RequestError::Unreachable("no connection in time".to_owned()));
        let fault_of = |node: &PublicKey| asked.get(node).map_or_else(silent, |asked| asked.fault.clone());
        let mut answers: Vec<_> =
            self.bootstrap.iter().map(|(node, address)| (address.clone(), fault_of(node))).collect();
        let others = asked.iter().filter(|(node, _)| !self.bootstrap.iter().any(|(known, _)| known == *node));
        answers.extend(others.map(|(node, asked)| (format!("node {node}"), asked.fault.clone())));
        NoGenesis { network: self.network, waited, answers }
    }

    /// The genesis of one peer.
    async fn download(&self, peer: PublicKey) -> Result<Genesis, Fault> {
        match self.ask(peer, &SyncRequest::Genesis).await? {
            SyncResponse::Genesis(bytes) => self.checked(&bytes),
            _ => Err(Fault::Lie("an answer to another question")),
        }
    }

    fn checked(&self, bytes: &[u8]) -> Result<Genesis, Fault> {
        if blake3::hash(bytes).as_bytes() != self.network.as_bytes() {
            return Err(Fault::Lie("bytes that do not have the network's id"));
        }
        let genesis: Genesis = decode(bytes).map_err(|error| Fault::Unusable(error.to_string()))?;
        genesis.check().map_err(|error| Fault::Unusable(error.to_string()))?;
        Ok(genesis)
    }

    /// Asks several peers for the newest block, and those who have it for the block at the greatest height that two of them have.
    /// Waits until `wanted` peers are connected, at most for so long as `patience`.
    pub async fn compare(&self, spec: &ChainSpec, wanted: usize, patience: Duration) -> Comparison {
        // With fewer, those who are there are asked.
        let _in_time = timeout(patience, self.mesh.wait_for_peers(|peers| peers.len() >= wanted)).await;
        let peers: Vec<_> = self.mesh.peers().into_iter().take(MAX_COMPARED).map(|peer| peer.key).collect();
        let first = spec.first_sets();
        let sets = KnownSets::new(*spec.id(), move || first.clone());
        let newest = join_all(peers.iter().map(|peer| self.newest(&sets, *peer))).await;
        let mut newest: Vec<_> =
            peers.into_iter().zip(newest).filter_map(|(peer, height)| Some((height?, peer))).collect();
        newest.sort_unstable();
        // The second from the top, or the only one.
        let Some((height, _)) = newest.iter().rev().take(2).next_back().copied() else { return Comparison::NoBlock };
        let having = newest.into_iter().filter(|(newest, _)| *newest >= height).map(|(_, peer)| peer);
        let headers = join_all(having.map(async |peer| Some((self.header(&sets, peer, height).await?, peer)))).await;
        let mut blocks = BTreeMap::<BlockHash, Vec<PublicKey>>::new();
        for (block, peer) in headers.into_iter().flatten() {
            blocks.entry(block).or_default().push(peer);
        }
        match blocks.first_key_value() {
            None => Comparison::NoBlock,
            Some((block, peers)) if blocks.len() == 1 => {
                Comparison::Same { block: Pin { height, block: *block }, peers: peers.len() }
            }
            Some(_) => Comparison::Different { height, blocks },
        }
    }

    /// The height of a peer's newest block, which its certificate proves.
    async fn newest(&self, sets: &KnownSets, peer: PublicKey) -> Option<Height> {
        let SyncResponse::Head { newest, .. } = self.ask(peer, &SyncRequest::Head).await.ok()? else { return None };
        let certificate: Certificate = newest?;
        let height = certificate.height;
        let judge =
            |sets: &ValidatorSets| certificate.clone().verify(&self.network, sets.at(height).ok_or(())?).map_err(drop);
        sets.judge(&self.mesh, peer, judge).await.ok().map(|_| height)
    }

    /// The block of a height that a peer has a certificate for.
    async fn header(&self, sets: &KnownSets, peer: PublicKey, height: Height) -> Option<BlockHash> {
        let SyncResponse::Header(header) = self.ask(peer, &SyncRequest::Header(height)).await.ok()? else {
            return None;
        };
        let header: CertifiedHeader = *header?;
        let judge =
            |sets: &ValidatorSets| header.clone().verify(&self.network, sets.at(height).ok_or(())?).map_err(drop);
        let verified = sets.judge(&self.mesh, peer, judge).await.ok()?;
        (verified.header.height == height).then(|| verified.header.hash())
    }

    async fn ask(&self, peer: PublicKey, request: &SyncRequest) -> Result<SyncResponse, Fault> {
        let answer = timeout(ANSWER, self.mesh.request(peer, Protocol::Sync, encode(request))).await;
        decode(&answer.map_err(|_| Fault::Silent)??).map_err(|_| Fault::Lie("no answer of this version"))
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").field("network", &self.network).finish_non_exhaustive()
    }
}
