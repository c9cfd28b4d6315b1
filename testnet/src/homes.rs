//! The homes of a network's nodes and of its pool's owner, and the keys that no node has: those of payouts and of the vault's
//! owner.

use std::path::Path;

use anyhow::{Context as _, Result};
use lucid_tron_bridge::key::TronKey;
use lucid_types::id::PayoutAddress;
use lucid_types::vault::{SignerSet, TreasurySigner};

use crate::lucid::{HomePlan, Identity, Lucid, bootstrap_address};
use crate::plan::{self, NodePlan, Quorum};
use crate::ports::NodePorts;
use crate::setup::Node;

/// File with the key that deploys the vault and directs it, in the owner's home.
const OWNER_KEY: &str = "vault-owner.key";
/// File with the key of the account that a worker is paid to.
const PAYOUT_KEY: &str = "payout.key";
const ANY_PORTS: NodePorts = NodePorts { p2p: 0, api: 0, metrics: 0 };

/// All homes.
#[derive(Debug)]
pub struct Homes {
    /// In the order of the plan.
    pub nodes: Vec<Node>,
    /// The pool's owner.
    pub owner: Identity,
    /// Deploys the vault and directs it.
    pub owner_key: TronKey,
}

/// Makes every home.
///
/// # Errors
/// `lucid init` refuses one, or a key cannot be written.
pub async fn make(
    dir: &Path,
    plan: Vec<NodePlan>,
    ports: &[NodePorts],
    lucid: &Lucid,
    tron_url: &str,
) -> Result<Homes> {
    let mut nodes: Vec<Node> = Vec::with_capacity(plan.len());
    for (plan, ports) in plan.into_iter().zip(ports) {
        let home = plan.home(dir);
        let identity = init(lucid, &home, &plan, *ports, nodes.first(), tron_url).await?;
        let payout_key = if plan.is_worker() { Some(new_key(&home.join(PAYOUT_KEY))?) } else { None };
        let payout_address = payout_key.map(|key| key.address());
        nodes.push(Node { plan, ports: *ports, identity, payout_address });
    }
    let plan = plan::owner();
    let home = plan.home(dir);
    // No process runs there: its commands ask the first node.
    let ports = NodePorts { api: nodes.first().map_or(0, |first| first.ports.api), ..ANY_PORTS };
    let owner = init(lucid, &home, &plan, ports, nodes.first(), tron_url).await?;
    let owner_key = new_key(&home.join(OWNER_KEY))?;
    Ok(Homes { nodes, owner, owner_key })
}

async fn init(
    lucid: &Lucid,
    home: &Path,
    plan: &NodePlan,
    ports: NodePorts,
    first: Option<&Node>,
    tron: &str,
) -> Result<Identity> {
    let bootstrap = first.map(|first| bootstrap_address(first.ports, &first.identity));
    let bootstrap = bootstrap.as_deref();
    lucid.init(&HomePlan { home, name: &plan.name, roles: &plan.roles, ports, bootstrap, tron }).await
}

fn new_key(path: &Path) -> Result<TronKey> {
    let key = TronKey::generate()?;
    key.save_new(path)?;
    Ok(key)
}

/// The vault's first signers.
///
/// # Errors
/// `lucid init` made no key for one of them.
pub fn signers(nodes: &[Node], quorum: Quorum) -> Result<SignerSet> {
    let signer = |node: &Node| {
        let key_address = made(node, node.identity.signer_address, "signer's key")?;
        Ok(TreasurySigner { node: node.identity.node_id, key_address })
    };
    let members = nodes.iter().filter(|node| node.plan.is_signer()).map(signer).collect::<Result<_>>()?;
    Ok(SignerSet { era: 1, threshold: quorum.threshold, members })
}

/// The accounts from which workers pay for transactions.
///
/// # Errors
/// `lucid init` made none for one of them.
pub fn gas_accounts(nodes: &[Node]) -> Result<Vec<PayoutAddress>> {
    let workers = nodes.iter().filter(|node| node.plan.is_worker());
    workers.map(|node| made(node, node.identity.gas_address, "gas account")).collect()
}

fn made(node: &Node, address: Option<PayoutAddress>, what: &str) -> Result<PayoutAddress> {
    address.with_context(|| format!("the home of {} has no {what}", node.plan.name))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::fixtures::node as id;

    fn node(plan: NodePlan, byte: u8) -> Node {
        let address = PayoutAddress::from_hash20([byte; 20]);
        let identity = Identity {
            node_id: id(byte),
            peer_id: "12D3".into(),
            gas_address: plan.is_worker().then_some(address),
            signer_address: plan.is_signer().then_some(address),
            validator: None,
        };
        let payout_address = plan.is_worker().then_some(PayoutAddress::from_hash20([byte + 100; 20]));
        Node { plan, ports: ANY_PORTS, identity, payout_address }
    }

    fn nodes() -> Vec<Node> {
        plan::nodes(4, 2, 3).into_iter().zip(1..).map(|(plan, byte)| node(plan, byte)).collect()
    }

    #[test]
    fn signers_are_the_treasury_nodes_in_the_order_of_the_plan() {
        let set = signers(&nodes(), Quorum { threshold: 2, signers: 3 }).unwrap();
        set.check().unwrap();
        assert_eq!((set.era, set.threshold), (1, 2));
        assert_eq!(set.members.iter().map(|signer| signer.node).collect::<Vec<_>>(), [id(1), id(2), id(3)]);
    }

    #[test]
    fn a_home_without_its_key_is_named() {
        let mut nodes = nodes();
        nodes[1].identity.signer_address = None;
        nodes[5].identity.gas_address = None;
        let error = signers(&nodes, Quorum { threshold: 2, signers: 3 }).unwrap_err().to_string();
        assert_eq!(error, "the home of validator-2 has no signer's key");
        assert_eq!(gas_accounts(&nodes).unwrap_err().to_string(), "the home of worker-2 has no gas account");
    }

    #[test]
    fn a_new_key_is_private_and_never_overwrites_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(OWNER_KEY);
        let key = new_key(&path).unwrap();
        assert_eq!(TronKey::load(&path).unwrap().address(), key.address());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(new_key(&path).is_err());
    }
}
