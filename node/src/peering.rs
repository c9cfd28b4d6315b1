//! Names the validators to the mesh, as they change: they alone take part in the topics for them, each directly with each.

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
