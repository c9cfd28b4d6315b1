//! A ledger that settles with 1,000 workers of one pool, of whom one can lead.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lucid_consensus::commands::PendingCommands;
use lucid_consensus::ledger::archive::MemoryArchive;
use lucid_consensus::ledger::build::build;
use lucid_consensus::ledger::execute::{Applied, Event};
use lucid_consensus::ledger::state::State;
use lucid_consensus::network::Network;
use lucid_consensus::reports::Reports;
use lucid_types::amount::Ppm;
use lucid_types::commit::Commit;
use lucid_types::genesis::{PaymentNetwork, Vault};
use lucid_types::id::{PayoutAddress, PoolId, SolidBlockId};
use lucid_types::key::NodeKey;
use lucid_types::payout_tree::{AccountId, OwedAccount};
use lucid_types::time::{EpochNumber, UnixMillis};
use lucid_types::validator::Validator;

use crate::thousand::{genesis, leader, policy, reveal};

/// The block that makes the first settlement.
const SETTLES: u64 = 3;

/// What the payment network gives.
pub(crate) struct Parts {
    pub(crate) genesis_block: SolidBlockId,
    pub(crate) usdt: PayoutAddress,
    pub(crate) vault: Vault,
    pub(crate) gas: PayoutAddress,
    /// The only validator.
    pub(crate) validator: NodeKey,
}

/// The state before the first settlement's block, and what that block does.
pub(crate) struct Payday {
    pub(crate) network: Arc<Network>,
    pub(crate) pool: PoolId,
    pub(crate) before: Arc<State>,
    pub(crate) after: Arc<State>,
    pub(crate) events: Vec<Event>,
    pub(crate) settlement: u64,
    pub(crate) leaves: Vec<OwedAccount>,
}

fn network(parts: &Parts) -> Network {
    let node = parts.validator.node_id();
    let tron = PaymentNetwork { network: "local".into(), genesis_block: parts.genesis_block, usdt: parts.usdt };
    let mut genesis = genesis(vec![Validator { node, power: 1, operator: node }], tron, parts.vault.clone());
    // The settlement's block is of about now.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let begun = now.checked_sub(policy().epoch() * u32::try_from(SETTLES).unwrap()).unwrap();
    genesis.genesis_time = UnixMillis::new(u64::try_from(begun.as_millis()).unwrap());
    genesis.pools[0].commission = Ppm::ZERO;
    for worker in &mut genesis.workers {
        worker.gas_address = (worker.node == leader().node_id()).then_some(parts.gas);
    }
    Network::new(genesis).unwrap()
}

impl Payday {
    pub(crate) fn new(parts: Parts) -> Self {
        let network = network(&parts);
        let Parts { validator: key, vault, .. } = parts;
        let (mut state, mut archive) = (State::genesis(&network), MemoryArchive::default());
        loop {
            let epoch = state.height.next();
            assert!(epoch.get() <= SETTLES, "no settlement by block {SETTLES}");
            let mut reports = Reports::default();
            let report = reveal(epoch, 1).commitment(network.id(), &key.node_id());
            let commit = Commit { epoch, report, time: network.genesis().epoch_end(epoch) };
            reports.add_commit(&network, &state, key.sign_commit(network.id(), commit));
            if state.height > EpochNumber::ZERO {
                reports.add_reveal(&network, &state, key.sign_report(network.id(), reveal(state.height, 1)));
            }
            let commands = PendingCommands::default();
            let (block, applied) = build(&network, &state, &reports, &commands, key.node_id(), &archive).unwrap();
            let Applied { state: next, rows, events, .. } = applied;
            let settled = events.iter().find_map(|event| match event {
                Event::Settled(settled) => Some((settled.root.settlement, settled.leaves.clone())),
                Event::Elected { .. } | Event::Reissued(_) => None,
            });
            if let Some((settlement, leaves)) = settled {
                let (pool, _) = next.pools.iter().find(|(_, pool)| pool.vault.address == vault.address).unwrap();
                let (pool, before, after) = (*pool, Arc::new(state), Arc::new(next));
                return Self { network: Arc::new(network), pool, before, after, events, settlement, leaves };
            }
            archive.keep(block, rows);
            state = next;
        }
    }

    /// Accounts that are owed the threshold or more.
    pub(crate) fn due(&self) -> Vec<AccountId> {
        let threshold = policy().payout_threshold;
        self.leaves.iter().filter(|leaf| leaf.owed >= threshold).map(|leaf| leaf.id).collect()
    }
}
