//! The chain as far as it is decided: the newest state.

use lucid_types::block::Block;
use lucid_types::signed::Verified;
use lucid_types::time::{Height, UnixMillis};

use crate::chain_spec::ChainSpec;
use crate::ledger::check::InvalidBlock;
use crate::ledger::execute::{Execution, validate};
use crate::ledger::state::State;
use crate::replica::types::FinalizedBlock;

/// The decided chain.
pub(super) struct Chain {
    state: State,
    /// When the newest block was adopted, by the local clock.
    adopted_at: UnixMillis,
}

impl Chain {
    pub(super) const fn new(state: State, now: UnixMillis) -> Self {
        Self { state, adopted_at: now }
    }

    /// The state after the newest block.
    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// The height under way.
    pub(super) const fn next(&self) -> Height {
        self.state.height().next()
    }

    pub(super) fn execute(&self, spec: &ChainSpec, block: &Verified<Block>) -> Result<Execution, InvalidBlock> {
        validate(spec, &self.state, block)
    }

    /// From when on the next height can be started, by the local clock.
    pub(super) fn earliest_start(&self, spec: &ChainSpec) -> UnixMillis {
        self.adopted_at.max(self.state.next_time(spec))
    }

    /// A clock that was set back takes what waits with it.
    pub(super) fn clock_set_back(&mut self, by: std::time::Duration) {
        self.adopted_at = self.adopted_at.before(by);
    }

    /// Goes on from a later state.
    pub(super) fn take_over(&mut self, now: UnixMillis, state: State) {
        (self.state, self.adopted_at) = (state, now);
    }

    /// Makes a decided block the newest.
    pub(super) fn advance(&mut self, now: UnixMillis, stored: &FinalizedBlock) {
        self.state = stored.applied.state.clone();
        self.adopted_at = now;
    }
}
