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
pub struct Start {
    /// The genesis.
    pub genesis: Genesis,
    /// The nodes.
    pub workers: Vec<Worker>,
    /// The pools.
    pub pools: Vec<Pool>,
}

/// A registered node.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its account.
    pub node: NodeId,
    /// Who runs it.
    pub operator: NodeId,
    /// Where it is paid.
    pub payout_address: PayoutAddress,
    /// Where its bridge pays from; it can lead with one.
    pub gas_address: Option<PayoutAddress>,
    /// What it declares.
    pub capacity: Capacity,
}

/// An open pool, active from epoch 1 on.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Who directs it.
    pub owner: NodeId,
    /// Its members from epoch 1 on.
    pub members: Vec<NodeId>,
    /// For each settlement.
    pub budget: MicroUsdt,
    /// How members share.
    pub split: SplitRule,
    /// The owner's part of what is shared out.
    pub commission: Ppm,
    /// Where that is paid.
    pub commission_address: PayoutAddress,
    /// Where the money is.
    pub vault: Vault,
}

impl Start {
    /// The state before block 1, given what the genesis specifies.
    pub fn state(&self, spec: &ChainSpec) -> State {
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
