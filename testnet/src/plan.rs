//! Which nodes a local network has: names, roles, homes. Pure; the rule is `local-network`'s "Nodes".

use std::path::{Path, PathBuf};

pub use lucid_node::config::Role;

/// The name under which the local TRON network is listed, killed and started.
pub const TRON: &str = "tron";

/// One node of the network, before it has keys or ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// `validator-1`, `worker-6`; also the name of its home below DIR.
    pub name: String,
    /// What it does.
    pub roles: Vec<Role>,
}

impl NodePlan {
    /// Its home directory.
    pub fn home(&self, dir: &Path) -> PathBuf {
        dir.join(&self.name)
    }

    /// Whether it votes.
    pub fn is_validator(&self) -> bool {
        self.roles.contains(&Role::Validator)
    }

    /// Whether it is measured and paid.
    pub fn is_worker(&self) -> bool {
        self.roles.contains(&Role::Worker)
    }
}

/// Validators first, then workers; the order of the ports. The first validator is bootstrap and treasury signer too.
pub fn nodes(n_validators: u16, n_workers: u16) -> Vec<NodePlan> {
    let validators = (1..=n_validators).map(|i| NodePlan {
        name: format!("validator-{i}"),
        roles: if i == 1 { vec![Role::Validator, Role::Bootstrap, Role::Treasury] } else { vec![Role::Validator] },
    });
    let workers = (1..=n_workers).map(|i| NodePlan { name: format!("worker-{i}"), roles: vec![Role::Worker] });
    validators.chain(workers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validators_come_first_and_the_first_one_has_the_special_roles() {
        let nodes = nodes(2, 2);
        let names: Vec<_> = nodes.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["validator-1", "validator-2", "worker-1", "worker-2"]);
        assert_eq!(nodes[0].roles, [Role::Validator, Role::Bootstrap, Role::Treasury]);
        assert_eq!(nodes[1].roles, [Role::Validator]);
        assert_eq!(nodes[2].roles, [Role::Worker]);
        assert!(nodes[0].is_validator() && !nodes[0].is_worker());
        assert!(!nodes[3].is_validator() && nodes[3].is_worker());
    }
}
