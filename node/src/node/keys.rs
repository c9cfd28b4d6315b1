//! The validator's keys, as its home has them while the node runs: a key is made, or copied here, before the chain lists it.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::state::Rows as _;
use lucid_consensus::replica::Input;
use lucid_types::id::ValidatorId;
use tokio::sync::{mpsc, watch};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::home::Home;

/// How often the folder is read while a key is missing and no block comes: the others may need this validator's vote.
const RETRY: Duration = Duration::from_secs(5);

/// Reads the home's keys again whenever the validators list one that the node does not have.
pub(super) struct KeyWatch {
    pub(super) home: Home,
    /// Shown to the rest of the node.
    pub(super) keys: watch::Sender<Arc<Keyring>>,
    pub(super) head: watch::Receiver<Head>,
    pub(super) driver: mpsc::Sender<Box<Input>>,
    /// Why the folder could not be read the last time.
    pub(super) problem: Option<String>,
}

impl KeyWatch {
    /// Watches until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let missing = self.missing();
            if missing.is_some_and(|id| self.find(&id)) {
                let found = Keyring::clone(&self.keys.borrow());
                let _ended = self.driver.send(Box::new(Input::Keys(found))).await;
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.head.changed() => if changed.is_err() {
                    return stop.cancelled().await;
                },
                () = tokio::time::sleep(RETRY), if missing.is_some() => {}
            }
        }
    }

    /// The key of this node's account in the newest set, which may not be in force yet, or in that of the next height.
    fn missing(&mut self) -> Option<ValidatorId> {
        let state = self.head.borrow_and_update().state.clone();
        let keys = self.keys.borrow();
        [state.sets().newest().1, state.next_validators()].into_iter().find_map(|set| keys.missing(set))
    }

    /// Reads the folder; whether it has the key now.
    fn find(&mut self, id: &ValidatorId) -> bool {
        let account = self.keys.borrow().account();
        match block_in_place(|| self.home.keyring(account)) {
            Ok(found) if found.get(id).is_some() => {
                // One whose file was removed while the node ran goes on signing with it: it may still be in force.
                let kept: Vec<_> = self.keys.borrow().keys().cloned().collect();
                let all = Keyring::new(account, found.keys().cloned().chain(kept));
                self.keys.send_replace(Arc::new(all));
                tracing::info!(key = %id, "the validator's key is here");
                true
            }
            Ok(_) => {
                self.problem = None;
                false
            }
            Err(error) => {
                let problem = Some(error.to_string());
                if self.problem != problem {
                    tracing::error!(error = &error as &dyn std::error::Error, "the validator's keys cannot be read");
                }
                self.problem = problem;
                false
            }
        }
    }
}
