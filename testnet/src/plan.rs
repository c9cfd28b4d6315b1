//! Which nodes a local network has: names, roles, homes, and which of them sign for the vault. Pure; the rule is
//! `local-network`'s "Nodes".

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use lucid_node::config::Role;
use lucid_types::vault::SignerSet;

/// The name under which the local TRON network is listed, killed and started.
pub const TRON: &str = "tron";
/// The home of the pool's owner. No process runs there.
pub const OWNER: &str = "owner";

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

    /// Whether it signs for the vault.
    pub fn is_signer(&self) -> bool {
        self.roles.contains(&Role::Treasury)
    }
}

/// How many treasury signers there are and how many of them must sign: K-of-N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// K: more than half of the signers.
    pub threshold: u8,
    /// N.
    pub signers: u8,
}

impl Quorum {
    /// 2-of-3; with fewer validators the majority of all of them.
    pub fn default_for(n_validators: u16) -> Self {
        let signers = u8::try_from(n_validators).map_or(3, |n| n.min(3));
        Self { threshold: signers / 2 + 1, signers }
    }

    /// Refuses more signers than there are validators.
    ///
    /// # Errors
    /// Says how many validators are needed.
    pub fn check(self, n_validators: u16) -> Result<(), String> {
        if u16::from(self.signers) <= n_validators {
            return Ok(());
        }
        let needed = self.signers;
        Err(format!(
            "--signers {self} needs {needed} validators, there are {n_validators}; give --validators {needed} or fewer \
             signers"
        ))
    }
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.threshold, self.signers)
    }
}

impl FromStr for Quorum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once("-of-").and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
        let (threshold, signers): (u8, u8) = numbers.ok_or("write K-of-N, for example 2-of-3")?;
        if !(1..=SignerSet::MAX).contains(&usize::from(signers)) {
            return Err(format!("a vault has 1 to {} signers", SignerSet::MAX));
        }
        if threshold > signers || threshold <= signers / 2 {
            return Err(format!("{} to {signers} of {signers} signers can be asked for", signers / 2 + 1));
        }
        Ok(Self { threshold, signers })
    }
}

/// Validators first, then workers; the order of the ports. The first validator is the bootstrap node, the first
/// `n_signers` are treasury signers too.
pub fn nodes(n_validators: u16, n_workers: u16, n_signers: u8) -> Vec<NodePlan> {
    let validators = (1..=n_validators).map(|i| {
        let bootstrap = (i == 1).then_some(Role::Bootstrap);
        let treasury = (i <= u16::from(n_signers)).then_some(Role::Treasury);
        let roles = std::iter::once(Role::Validator).chain(bootstrap).chain(treasury).collect();
        NodePlan { name: format!("validator-{i}"), roles }
    });
    let workers = (1..=n_workers).map(|i| NodePlan { name: format!("worker-{i}"), roles: vec![Role::Worker] });
    validators.chain(workers).collect()
}

/// When this epoch is final late workers join.
pub const LATE_AFTER: u64 = 3;
/// An epoch by which they are measured, as entering counts from the second epoch after the block on.
pub const LATE_PAID_FROM: u64 = 8;

/// The home that holds the keys of the pool's owner.
pub fn owner() -> NodePlan {
    NodePlan { name: OWNER.into(), roles: vec![Role::Observer] }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn validators_come_first_and_the_first_ones_have_the_special_roles() {
        let nodes = nodes(3, 2, 2);
        let names: Vec<_> = nodes.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["validator-1", "validator-2", "validator-3", "worker-1", "worker-2"]);
        assert_eq!(nodes[0].roles, [Role::Validator, Role::Bootstrap, Role::Treasury]);
        assert_eq!(nodes[1].roles, [Role::Validator, Role::Treasury]);
        assert_eq!(nodes[2].roles, [Role::Validator]);
        assert_eq!(nodes[3].roles, [Role::Worker]);
        assert!(nodes[0].is_validator() && nodes[0].is_signer() && !nodes[0].is_worker());
        assert!(!nodes[4].is_validator() && !nodes[4].is_signer() && nodes[4].is_worker());
    }

    #[test]
    fn the_default_is_a_majority_of_at_most_three() {
        let shown = |n| Quorum::default_for(n).to_string();
        assert_eq!([1, 2, 3, 4, 100].map(shown), ["1-of-1", "2-of-2", "2-of-3", "2-of-3", "2-of-3"]);
    }

    #[test]
    fn a_quorum_reads_back_and_impossible_ones_say_what_is_possible() {
        for text in ["1-of-1", "2-of-3", "3-of-3", "9-of-16", "16-of-16"] {
            assert_eq!(text.parse::<Quorum>().unwrap().to_string(), text);
        }
        let problem = |text: &str| text.parse::<Quorum>().unwrap_err();
        for text in ["", "3", "2/3", "2-of", "-of-3", "2-of-3-of-4", "x-of-3", "2-of-300"] {
            assert_eq!(problem(text), "write K-of-N, for example 2-of-3", "{text}");
        }
        assert_eq!(problem("2-of-4"), "3 to 4 of 4 signers can be asked for");
        assert_eq!(problem("4-of-3"), "2 to 3 of 3 signers can be asked for");
        assert_eq!(problem("0-of-1"), "1 to 1 of 1 signers can be asked for");
        assert_eq!(problem("9-of-17"), "a vault has 1 to 16 signers");
        assert_eq!(problem("0-of-0"), "a vault has 1 to 16 signers");
    }

    #[test]
    fn signers_are_validators() {
        let quorum = Quorum { threshold: 2, signers: 3 };
        quorum.check(3).unwrap();
        assert_eq!(
            quorum.check(2).unwrap_err(),
            "--signers 2-of-3 needs 3 validators, there are 2; give --validators 3 or fewer signers"
        );
    }
}
