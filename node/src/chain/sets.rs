//! The validators as far as this node knows them: those in its state, and beyond it those that peers have shown.
//!
//! ```text
//!  state ──▶ validators up to two heights above the tip     certain
//!  peers ──▶ changes above, each certified by the validators before it     as certain as these validators, until the state is there
//! ```
//!
//! What a peer shows is followed from the state on, never from what another has shown, so that no peer can spoil what others say. It
//! replaces what was known before only if it explains something that this did not. Blocks that are fetched by it are executed in
//! order, by the validators in the state.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lucid_p2p::{Mesh, Protocol, RequestError};
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::{NetworkId, PublicKey};
use lucid_types::sync::{SyncRequest, SyncResponse};
use lucid_types::time::Height;
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_sets::{SET_DELAY, SetChange, ValidatorSets};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::chain::head::Head;
use lucid_consensus::ledger::state::Rows as _;

/// How long a peer has for a page of changes.
const ANSWER: Duration = Duration::from_secs(15);
/// Changes above the state that are followed. A network that changes its validators every day has as many in eleven years.
const MAX_SHOWN: usize = 4_096;
/// A page of changes after which more follow has more bytes than this: another change did not fit.
const LEAST_PAGE_BYTES: usize = SyncResponse::PAGE_BYTES - SetChange::MAX_BYTES;

/// Why a peer's changes are of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// It has too much to do, or was asked too often.
    #[error("it is busy")]
    Busy,
    /// It gave no answer.
    #[error("no answer: {0}")]
    Silent(String),
    /// They do not follow.
    #[error("{0}")]
    Lie(&'static str),
}

/// Why something that a peer gave is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused<E> {
    /// The validators that are known refuse it, and the peer shows no others.
    NotShown(NotShown),
    /// The validators that the peer shows refuse it too.
    Judged(E),
}

/// Validators from a state on.
#[derive(Clone, Debug)]
pub struct Known {
    sets: ValidatorSets,
    /// What has led there from the state, by height.
    changes: Vec<Arc<SetChange>>,
}

impl Known {
    const fn of(sets: ValidatorSets) -> Self {
        Self { sets, changes: Vec::new() }
    }

    /// The validators.
    pub const fn sets(&self) -> &ValidatorSets {
        &self.sets
    }

    /// The changes above the state, up to the block of this height.
    pub fn changes_through(&self, height: Height) -> Vec<Arc<SetChange>> {
        self.changes.iter().filter(|change| change.block.header.height <= height).map(Arc::clone).collect()
    }

    fn is_same(&self, other: &Self) -> bool {
        let hashes = |known: &Self| known.sets.iter().map(|(from, set)| (from, set.hash())).collect::<Vec<_>>();
        hashes(self) == hashes(other)
    }
}

/// What this node knows of the validators. Shared by all that judge what peers say of heights beyond the state.
pub struct KnownSets {
    network: NetworkId,
    /// The validators in the newest state.
    own: Box<dyn Fn() -> ValidatorSets + Send + Sync>,
    /// From some earlier state on.
    shown: Mutex<Arc<Known>>,
}

impl KnownSets {
    /// Nothing is known yet but what the state says.
    pub fn new(network: NetworkId, own: impl Fn() -> ValidatorSets + Send + Sync + 'static) -> Self {
        let shown = Mutex::new(Arc::new(Known::of(own())));
        Self { network, own: Box::new(own), shown }
    }

    /// The same of a node with this newest block.
    pub fn of_node(network: NetworkId, head: watch::Receiver<Head>) -> Self {
        Self::new(network, move || head.borrow().state.sets().clone())
    }

    /// The validators from the newest state on.
    pub fn known(&self) -> Known {
        let own = (self.own)();
        let shown = Arc::clone(&self.shown.lock().unwrap_or_else(PoisonError::into_inner));
        let (from, newest) = own.newest();
        let agrees = shown.sets.at(from).is_some_and(|set| set.hash() == newest.hash());
        let mut known = Known::of(own);
        if agrees {
            let later = shown.changes.iter().filter(|change| in_force(change) > from);
            known.changes = later.map(Arc::clone).collect();
            shown.sets.iter().filter(|(at, _)| *at > from).for_each(|(at, set)| known.sets.push(at, Arc::clone(set)));
        }
        known
    }

    /// Judges something of a peer by the validators that are known. If they refuse it, by those that the peer shows, who are known from
    /// then on if they do not.
    ///
    /// # Errors
    /// The peer has not shown that it is so.
    pub async fn judge<T, E>(
        &self,
        mesh: &Mesh,
        peer: PublicKey,
        judge: impl Fn(&ValidatorSets) -> Result<T, E>,
    ) -> Result<T, Refused<E>> {
        let known = self.known();
        let refusal = match judge(&known.sets) {
            Ok(judged) => return Ok(judged),
            Err(refusal) => refusal,
        };
        let shown = self.ask(mesh, peer).await.map_err(Refused::NotShown)?;
        if shown.is_same(&known) {
            return Err(Refused::Judged(refusal));
        }
        let judged = judge(&shown.sets).map_err(Refused::Judged)?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
        Ok(judged)
    }

    /// What a peer shows beyond the newest state.
    async fn ask(&self, mesh: &Mesh, peer: PublicKey) -> Result<Known, NotShown> {
        let mut known = Known::of((self.own)());
        loop {
            let above = Height::new(known.sets.newest().0.get().saturating_sub(SET_DELAY));
            let answer = mesh.request(peer, Protocol::Sync, encode(&SyncRequest::SetChanges { above }));
            let answer = timeout(ANSWER, answer).await.map_err(|_| NotShown::Silent("it takes too long".to_owned()))?;
            let answer = answer.map_err(|error| match error {
                RequestError::Busy | RequestError::TooManyPending | RequestError::Denied(_) => NotShown::Busy,
                RequestError::Malformed(_) => NotShown::Lie("malformed"),
                error => NotShown::Silent(error.to_string()),
            })?;
            let is_last = answer.len() <= LEAST_PAGE_BYTES;
            let Ok(SyncResponse::SetChanges(changes)) = decode(&answer) else {
                return Err(NotShown::Lie("an answer to another question"));
            };
            if known.changes.len().saturating_add(changes.len()) > MAX_SHOWN {
                return Err(NotShown::Lie("more changes of the validators than there can be"));
            }
            let is_over = is_last || changes.is_empty();
            let network = self.network;
            // Thousands of signatures may be in it.
            let followed = spawn_blocking(move || {
                for change in changes {
                    known.sets.follow(&network, change.clone()).ok()?;
                    known.changes.push(Arc::new(change));
                }
                Some(known)
            });
            let followed = followed.await.map_err(|error| NotShown::Silent(error.to_string()))?;
            known = followed.ok_or(NotShown::Lie("a change of the validators that does not follow"))?;
            if is_over {
                return Ok(known);
            }
        }
    }
}

impl std::fmt::Debug for KnownSets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnownSets").field("network", &self.network).finish_non_exhaustive()
    }
}

/// Whether validators are those that a state remembers, as far as both know.
pub fn agree(sets: &ValidatorSets, state: &ValidatorSets) -> bool {
    let is_in = |(from, set): (Height, &Arc<ValidatorSet>), other: &ValidatorSets| {
        other.at(from).is_none_or(|other| other.hash() == set.hash())
    };
    let last = state.newest().0;
    state.iter().all(|entry| is_in(entry, sets))
        && sets.iter().filter(|(from, _)| *from <= last).all(|entry| is_in(entry, state))
}

/// The first height that the validators after a change decide.
const fn in_force(change: &SetChange) -> Height {
    change.block.header.height.plus(SET_DELAY)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
