//! Names the validators to the mesh, as they change: room is kept for them, and they alone take part in the topics for them, each directly with
//! each.

use std::collections::BTreeSet;

use lucid_consensus::ledger::state::{Rows, State};
use lucid_p2p::Mesh;
use lucid_types::id::PublicKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;

/// Names them until `stop`, or until the chain or the mesh has ended.
pub async fn follow(mesh: Mesh, mut head: watch::Receiver<Head>, stop: CancellationToken) {
    let mut named = None;
    loop {
        let validators = validators(&head.borrow_and_update().state);
        if named.as_ref() != Some(&validators) {
            let takes_part = validators.contains(&mesh.public_key());
            if !mesh.set_validators(validators.clone(), takes_part).await {
                return;
            }
            named = Some(validators);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = head.changed() => if changed.is_err() { return },
        }
    }
}

/// The node keys of the validators of the next height, and of those of later heights that are known: a peer may be a block ahead.
fn validators(state: &State) -> BTreeSet<PublicKey> {
    let (next, sets) = (state.height().next(), state.sets());
    let later = sets.iter().filter(|(from, _)| *from > next).map(|(_, set)| &**set);
    let members = later.chain([state.next_validators()]).flat_map(|set| set.members());
    members.filter_map(|validator| state.key_of(&validator.node)).collect()
}

#[cfg(test)]
mod tests {
    use lucid_consensus::ledger::table::Validators;
    use lucid_types::time::Height;

    use super::*;
    use crate::chain::fixture::Turnover;

    #[test]
    fn those_of_the_next_height_and_those_that_follow_are_named() {
        let genesis = State::genesis(&Turnover::new(0).chain.spec);
        let from = |height| genesis.changed(|rows| rows.put::<Validators>(&Height::new(height), Turnover::set(2)));
        let keys = |n_changes| -> BTreeSet<PublicKey> {
            let set = Turnover::set(n_changes);
            set.members().iter().map(|member| PublicKey::from_bytes(*member.node.as_bytes())).collect()
        };
        let (old, new) = (keys(0), keys(2));
        assert_ne!(old, new);
        assert_eq!(validators(&genesis), old);
        assert_eq!(validators(&from(2)), &old | &new, "the change is not in force yet");
        assert_eq!(validators(&from(1)), new);
    }
}
