//! Policies as the state has them.

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::{Rows as _, State};
use lucid_types::policy::Policy;
use lucid_types::time::Epoch;

use crate::api::model::{NextPolicyView, PolicyView};

/// The policy of an epoch, or of the open one. Of epochs that are far ahead it is as far as it is decided.
pub(crate) fn view(spec: &ChainSpec, state: &State, epoch: Option<Epoch>) -> PolicyView {
    let epoch = epoch.unwrap_or_else(|| state.closed().next());
    let policies = state.policies();
    let next = policies.iter().filter(|(from, _)| *from > epoch);
    let next = next.map(|(from, policy)| NextPolicyView { from, hash: policy.hash(), policy: Policy::clone(policy) });
    let from = policies.iter().map(|(from, _)| from).take_while(|from| *from <= epoch).last();
    let policy = policies.at(epoch);
    PolicyView {
        epoch,
        from: from.unwrap_or_else(|| policies.first_epoch()),
        hash: policy.hash(),
        policy: Policy::clone(policy),
        next: next.collect(),
        genesis: spec.genesis().policy.clone(),
    }
}
