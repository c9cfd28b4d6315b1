//! A network as its genesis fixes it, with the look-ups that every block needs.

use std::collections::BTreeMap;

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
    /// Workers that are in a pool, with their operators and pools.
    members: BTreeMap<NodeId, (NodeId, PoolId)>,
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
        let pool_of: BTreeMap<NodeId, PoolId> = members.collect();
        let in_pool = |worker: &GenesisWorker| Some((worker.node, (worker.operator, *pool_of.get(&worker.node)?)));
        let members = genesis.workers.iter().filter_map(in_pool).collect();
        Ok(Self { id, validators, workers, pools, pool_of, members, genesis, rules: &Standard })
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

    /// The workers that may be scored, by id: members of pools.
    pub fn members(&self) -> impl Iterator<Item = NodeId> {
        self.members.keys().copied()
    }

    /// What the draw has to know of one of them: its operator and its pool.
    pub fn member(&self, node: &NodeId) -> Option<(NodeId, PoolId)> {
        self.members.get(node).copied()
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
