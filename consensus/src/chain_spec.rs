//! A network as its genesis fixes it, with the look-ups that every block needs.

use std::collections::BTreeMap;

use lucid_score::seats::Candidate;
use lucid_types::genesis::{Genesis, GenesisError, GenesisPool, GenesisWorker};
use lucid_types::id::{NetworkId, NodeId, PoolId};
use lucid_types::policy::Policy;
use lucid_types::time::Height;
use lucid_types::validator::ValidatorSet;

use crate::rules::{Rules, Standard};

/// A checked genesis. Immutable.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    id: NetworkId,
    genesis: Genesis,
    validators: ValidatorSet,
    workers: BTreeMap<NodeId, GenesisWorker>,
    pools: BTreeMap<PoolId, GenesisPool>,
    pool_of: BTreeMap<NodeId, PoolId>,
    rules: &'static dyn Rules,
}

impl ChainSpec {
    /// Checks the genesis. Its nodes follow the [`Standard`] rules.
    ///
    /// # Errors
    /// As [`Genesis::check`].
    pub fn new(genesis: Genesis) -> Result<Self, GenesisError> {
        let validators = genesis.check()?;
        let id = genesis.network_id();
        let workers = genesis.workers.iter().map(|worker| (worker.node, worker.clone())).collect();
        let pools: BTreeMap<_, _> = genesis.pools_by_id().into_iter().map(|(id, pool)| (id, pool.clone())).collect();
        let members = pools.iter().flat_map(|(id, pool)| pool.members.iter().map(|member| (*member, *id)));
        let pool_of = members.collect();
        Ok(Self { id, validators, workers, pools, pool_of, genesis, rules: &Standard })
    }

    /// The same network with other rules, for a simulator that shows what comes of them.
    #[must_use]
    pub fn with_rules(self, rules: &'static dyn Rules) -> Self {
        Self { rules, ..self }
    }

    /// The rules that its nodes follow.
    pub const fn rules(&self) -> &'static dyn Rules {
        self.rules
    }

    /// The network's id.
    pub const fn id(&self) -> &NetworkId {
        &self.id
    }

    /// The genesis.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The parameters.
    pub const fn policy(&self) -> &Policy {
        &self.genesis.policy
    }

    /// The validators of a height. The set of height `h` is fixed by block `h - 2`; nothing changes it yet.
    pub const fn validators(&self, _height: Height) -> &ValidatorSet {
        &self.validators
    }

    /// The workers that may be scored: members of pools, with the throughput that was agreed on last.
    pub fn candidates(&self, kbit_s: impl Fn(&NodeId) -> u64) -> impl Iterator<Item = Candidate> {
        self.workers.values().filter_map(move |worker| {
            let GenesisWorker { node, operator, .. } = *worker;
            Some(Candidate { node, operator, pool: *self.pool_of.get(&node)?, kbit_s: kbit_s(&node) })
        })
    }

    /// A registered worker.
    pub fn worker(&self, node: &NodeId) -> Option<&GenesisWorker> {
        self.workers.get(node)
    }

    /// All registered workers by id.
    pub fn workers(&self) -> impl Iterator<Item = &GenesisWorker> {
        self.workers.values()
    }

    /// A pool.
    pub fn pool(&self, id: &PoolId) -> Option<&GenesisPool> {
        self.pools.get(id)
    }

    /// All pools by id.
    pub fn pools(&self) -> impl Iterator<Item = (&PoolId, &GenesisPool)> {
        self.pools.iter()
    }

    /// The pool that a worker is a member of.
    pub fn pool_of(&self, worker: &NodeId) -> Option<&PoolId> {
        self.pool_of.get(worker)
    }
}
