//! A ledger that settles with 1,000 workers of one pool, of whom one can lead.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::event::Event;
use lucid_consensus::ledger::execute::Execution;
use lucid_consensus::ledger::state::State;
use lucid_types::amount::Ppm;
use lucid_types::genesis::PaymentNetwork;
use lucid_types::id::{PayoutAddress, PoolId, SolidBlockId};
use lucid_types::key::NodeKey;
use lucid_types::payout_tree::{AccountId, OwedAccount};
use lucid_types::time::UnixMillis;
use lucid_types::vault::Vault;

use crate::thousand::start::Start;
use crate::thousand::{leader, next_block, policy, start, validator_of};

/// Epochs of the first settlement.
const EPOCHS: u64 = 2;

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
    pub(crate) spec: Arc<ChainSpec>,
    pub(crate) pool: PoolId,
    pub(crate) before: State,
    pub(crate) after: State,
    pub(crate) events: Vec<Event>,
    pub(crate) settlement: u64,
    pub(crate) leaves: Vec<OwedAccount>,
}

fn network(parts: &Parts) -> Start {
    let tron = PaymentNetwork { network: "local".into(), genesis_block: parts.genesis_block, usdt: parts.usdt };
    let mut start = start(vec![validator_of(&parts.validator)], tron, parts.vault.clone());
    // The settlement's block is of about now.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let begun = now.checked_sub(policy().epoch() * u32::try_from(EPOCHS).unwrap()).unwrap();
    start.genesis.genesis_time = UnixMillis::new(u64::try_from(begun.as_millis()).unwrap());
    start.pools[0].commission = Ppm::ZERO;
    for worker in &mut start.workers {
        worker.gas_address = (worker.node == leader().account()).then_some(parts.gas);
    }
    start
}

impl Payday {
    pub(crate) fn new(parts: Parts) -> Self {
        let start = network(&parts);
        let network = ChainSpec::new(start.genesis.clone()).unwrap();
        let Parts { validator: key, vault, .. } = parts;
        let mut state = start.state(&network);
        loop {
            let (_, applied) = next_block(&network, &state, std::slice::from_ref(&key));
            assert!(state.closed().get() <= EPOCHS, "no settlement after {EPOCHS} epochs");
            let Execution { state: next, events, .. } = applied;
            let settled = events.iter().find_map(|event| match event {
                Event::Settled(settled) => Some((settled.root.settlement, settled.leaves.clone())),
                _ => None,
            });
            if let Some((settlement, leaves)) = settled {
                let (pool, _) = next.pools().find(|(_, pool)| pool.vault.address == vault.address).unwrap();
                return Self { spec: Arc::new(network), pool, before: state, after: next, events, settlement, leaves };
            }
            state = next;
        }
    }

    /// Accounts that are owed the threshold or more.
    pub(crate) fn due(&self) -> Vec<AccountId> {
        let threshold = policy().payout_threshold;
        self.leaves.iter().filter(|leaf| leaf.owed >= threshold).map(|leaf| leaf.id).collect()
    }
}
