//! Epochs and heights: when epochs are closed, which are measured, and what one block can close.

use lucid_types::amount::MicroUsdt;
use lucid_types::time::{Epoch, UnixMillis};

use super::chain::{BUDGET, Chain, all_good, start, start_with};
use crate::ledger::state::Rows;
use crate::ledger::table::{Draws, PendingEpochs, Workers};

fn end(chain: &Chain, epoch: u64) -> UnixMillis {
    chain.spec.genesis().epoch_end(Epoch::new(epoch))
}

/// Adopts an empty block of this time.
fn at(chain: &mut Chain, time: UnixMillis) {
    let block = chain.at(time);
    chain.apply(block);
}

#[test]
fn blocks_in_between_close_nothing() {
    let mut chain = Chain::new(start());
    let before = end(&chain, 1).get() - 1;
    for time in [before - 1_000, before - 500, before] {
        at(&mut chain, UnixMillis::new(time));
    }
    assert_eq!((chain.state.height().get(), chain.state.closed()), (3, Epoch::ZERO));
    assert!(chain.state.pending().next().is_none() && chain.state.open().is_some());
    let least = chain.state.next_time(&chain.spec);
    at(&mut chain, least);
    assert_eq!((chain.state.height().get(), chain.state.closed()), (4, Epoch::new(1)));
    assert_eq!(chain.state.get::<PendingEpochs>(&Epoch::new(1)).unwrap().closed_in, chain.state.height());
}

#[test]
fn an_epoch_is_measured_if_the_one_before_was_closed_in_time() {
    for (late, is_measured) in [(0, true), (2_500, true), (2_501, false), (4_999, false)] {
        let mut chain = Chain::new(start());
        let close = UnixMillis::new(end(&chain, 1).get() + late);
        at(&mut chain, close);
        assert_eq!(chain.state.open().is_some(), is_measured, "{late} ms late");
        let draw = chain.state.open().cloned();
        while chain.state.pending().next().is_some() {
            chain.block(all_good);
        }
        assert_eq!(chain.state.head().scored, Epoch::new(1));
        let second = end(&chain, 2).max(chain.state.next_time(&chain.spec));
        at(&mut chain, second);
        let pending = chain.state.get::<PendingEpochs>(&Epoch::new(2));
        let drawn = pending.and_then(|_| chain.state.get::<Draws>(&Epoch::new(2)));
        assert_eq!(drawn, draw.as_ref(), "{late} ms late");
        assert_eq!(chain.state.final_through(), Epoch::new(if is_measured { 1 } else { 2 }));
    }
}

/// After a long stall one block closes everything that has ended, and carries the budgets of the settlements that nobody could
/// be measured in.
#[test]
fn one_block_closes_all_epochs_of_a_stall() {
    let stall = 1_000_000;
    let mut chain = Chain::grown(start(), 3);
    let (settled, scored) = (chain.pool().settled, chain.state.head().scored);
    let after = end(&chain, stall);
    at(&mut chain, after);
    assert_eq!(chain.state.closed(), Epoch::new(stall));
    assert!(chain.state.pending().map(|(epoch, _)| epoch).eq([scored.next()]), "only the first was measured");
    assert_eq!(chain.pool().settled, settled, "its scores are not final");
    let before = chain.pool().clone();
    while chain.state.pending().next().is_some() {
        chain.block(all_good);
    }
    let pool = chain.pool();
    assert_eq!((chain.state.final_through().get(), pool.settled), (stall, stall / 2));
    let budgets = (stall / 2 - settled) * BUDGET;
    assert_eq!(pool.budgets.get() - before.budgets.get(), budgets);
    assert_eq!(pool.carried.get(), budgets - BUDGET, "the first of them was measured");
    assert_eq!(pool.election.as_ref().unwrap().settlement, settled + 1, "the others elect nobody");
    // What was carried is shared out as soon as somebody earns again.
    chain.step(all_good);
    chain.step(all_good);
    assert_eq!(chain.pool().carried, MicroUsdt::ZERO);
}

#[test]
fn settlements_of_a_stall_end_with_the_last() {
    let mut chain = Chain::new(start_with(|start| start.genesis.policy.last_settlement = Some(7)));
    let after = end(&chain, 1_000);
    at(&mut chain, after);
    while chain.state.pending().next().is_some() {
        chain.block(all_good);
    }
    assert_eq!((chain.pool().settled, chain.pool().budgets.get()), (7, 7 * BUDGET));
}

/// What leaves a window after a stall leaves it whole.
#[test]
fn windows_slide_over_epochs_that_nobody_measured() {
    let mut chain = Chain::grown(start(), 6);
    let stall = end(&chain, 9);
    at(&mut chain, stall);
    while chain.state.pending().next().is_some() {
        chain.block(all_good);
    }
    // Epoch 7 was measured; 8 and 9 were not, and 10 is the next that is.
    assert_eq!(chain.state.head().scored, Epoch::new(7));
    let sums = |chain: &Chain| {
        let stats = chain.state.all::<Workers>().next().unwrap().1;
        stats.sums(chain.state.policy_in_force(), chain.state.head().scored)
    };
    assert_eq!(sums(&chain).epochs, 4, "epochs 4 to 7");
    chain.step(all_good);
    assert_eq!((chain.state.head().scored.get(), sums(&chain).epochs), (10, 2), "epochs 7 and 10");
    assert_eq!(sums(&chain).credits.get(), 2 * 4, "a credit for each seat");
}
