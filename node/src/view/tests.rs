//! What is known of epochs without any record of them.

use std::time::Duration;

use lucid_consensus::ledger::table::Draws;

use super::*;
use crate::chain::fixture::Growing;

#[test]
fn the_state_alone_tells_how_far_every_epoch_is() {
    let mut chain = Growing::new();
    let stages = |state: &State| (1..=6).map(|epoch| stage(state, Epoch::new(epoch))).collect::<Vec<_>>();
    use EpochStage::{Closed, Final, Open, Unmeasured};
    assert_eq!(stages(&chain.state), [Open; 6]);
    chain.grow();
    assert_eq!(stages(&chain.state), [Closed, Open, Open, Open, Open, Open]);
    // Its windows end before the next epoch does.
    while stage(&chain.state, Epoch::new(1)) == Closed {
        let soon = chain.state.next_time(&chain.spec);
        chain.grow_at(soon);
    }
    assert_eq!(stages(&chain.state), [Final, Open, Open, Open, Open, Open]);
    // So late that the one after cannot be measured, and neither can those that end with it.
    let late = chain.spec.genesis().epoch_end(Epoch::new(4)).after(Duration::from_millis(1_500));
    chain.grow_at(late);
    assert_eq!(stages(&chain.state), [Final, Closed, Unmeasured, Unmeasured, Open, Open]);
    assert!(!chain.state.has::<Draws>(&Epoch::new(5)));
    chain.grow();
    assert_eq!(stages(&chain.state)[4..], [Unmeasured, Open]);
    // As this node knows it that has taken the state from a peer.
    let rows: Vec<_> = chain.state.encoded_from(std::ops::Bound::Unbounded).map(|(k, v)| (k.to_vec(), v)).collect();
    let taken = State::from_rows(chain.state.block(), rows).unwrap();
    assert_eq!(stages(&taken), stages(&chain.state));
}
