//! Networks in which nodes and pools are registered before block 1, as if commands had done it long ago. Tests and benchmarks begin with
//! them; the genesis of a real network names validators only.

use std::collections::BTreeMap;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::{Member, PoolState, PoolStatus};
use lucid_consensus::ledger::registry::{Membership, Node};
use lucid_consensus::ledger::state::{State, draw};
use lucid_consensus::ledger::table::{Draws, Members, Nodes, Pools};
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::genesis::Genesis;
use lucid_types::id::{NodeId, PayoutAddress, PoolId};
use lucid_types::network_group::NetworkGroup;
use lucid_types::pool::{JoinPolicy, MAX_MEMBERS, NewPool, PoolTerms, SplitRule};
use lucid_types::time::Epoch;
use lucid_types::vault::Vault;

/// A genesis, and what is registered with it.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) genesis: Genesis,
    pub(crate) workers: Vec<Worker>,
    pub(crate) pools: Vec<Pool>,
}

/// A registered node.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) node: NodeId,
    pub(crate) operator: NodeId,
    pub(crate) payout_address: PayoutAddress,
    pub(crate) gas_address: Option<PayoutAddress>,
    pub(crate) capacity: Capacity,
}

/// An open pool, active from epoch 1 on.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) owner: NodeId,
    pub(crate) members: Vec<NodeId>,
    pub(crate) budget: MicroUsdt,
    pub(crate) split: SplitRule,
    pub(crate) commission: Ppm,
    pub(crate) commission_address: PayoutAddress,
    pub(crate) vault: Vault,
}

impl Start {
    /// The state before block 1, given what the genesis specifies.
    pub(crate) fn state(&self, spec: &ChainSpec) -> State {
        assert_eq!(*spec.id(), self.genesis.network_id(), "the specification of another network");
        State::genesis(spec).changed(|rows| {
            let first = Epoch::new(1);
            let mut memberships = BTreeMap::new();
            for pool in &self.pools {
                let id = PoolId::derive(spec.id(), &pool.name);
                rows.put::<Pools>(&id, pool.row(first));
                for member in &pool.members {
                    rows.put::<Members>(&(id, *member), Member::default());
                    memberships.insert(*member, Membership { pool: id, from: first, until: None });
                }
            }
            for worker in &self.workers {
                rows.put::<Nodes>(&worker.node, worker.row(memberships.get(&worker.node).copied()));
            }
            let draw = draw(rows, first);
            rows.put::<Draws>(&first, draw);
        })
    }
}

impl Pool {
    fn row(&self, from: Epoch) -> PoolState {
        let &Self { budget, split, commission, commission_address, .. } = self;
        let new = NewPool {
            name: self.name.clone(),
            terms: PoolTerms { budget, split, commission, commission_address },
            join: JoinPolicy::Open,
            max_members: u32::try_from(MAX_MEMBERS).unwrap_or(u32::MAX),
            vault: self.vault.clone(),
        };
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        PoolState { members, ..PoolState::new(new, self.owner, PoolStatus::Active { from }, 0) }
    }
}

impl Worker {
    fn row(&self, membership: Option<Membership>) -> Node {
        let &Self { node, operator, payout_address, gas_address, capacity } = self;
        Node {
            key: node.first_key(),
            next_key: None,
            operator,
            payout_address,
            next_payout: None,
            payout_key: None,
            gas_address,
            capacity,
            membership,
            request: None,
            is_retired: false,
            group: NetworkGroup::NONE,
            maintenance: Vec::new(),
        }
    }
}
