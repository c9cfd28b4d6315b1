//! Validations out of turn that this node asks for: of a validator that it is connected to, or of itself, if it is one. What comes back is checked
//! and kept.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_p2p::{Mesh, Protocol};
use lucid_storage::Store;
use lucid_types::codec::{decode, encode};
use lucid_types::id::{NodeId, PublicKey};
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::UnixMillis;
use lucid_types::validation::{ValidationReply, ValidationRequest, ValidationResult};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::chain::head::Head;
use crate::clock::Clock;
use crate::history::validations;
use crate::probe::{LONGEST_VALIDATION, Validations};
use crate::utc::duration_of;

/// How long validators are asked, one after the other; the API's own limit is longer. All but one answer at once.
const PATIENCE: Duration = LONGEST_VALIDATION.saturating_add(Duration::from_millis(1_000));
/// How far a validator's clock may be from this node's.
const CLOCKS: Duration = Duration::from_mins(5);

/// Why nobody has validated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotValidated {
    /// There is no such worker, or no such validator.
    #[error("{0}")]
    Unknown(String),
    /// Not now.
    #[error("{0}")]
    Refused(String),
    /// Nobody answers.
    #[error("{0}")]
    Unavailable(String),
    /// The result cannot be kept.
    #[error("the result cannot be kept: {0}")]
    NotKept(String),
}

/// What validators are asked with.
pub struct ValidationDesk {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The key of this node.
    pub me: PublicKey,
    /// Who validates, and who is a worker.
    pub head: watch::Receiver<Head>,
    /// To validators.
    pub mesh: Mesh,
    /// Keeps what comes.
    pub store: Store,
    /// This node's own side, if it may be a validator.
    pub own: Option<Arc<Validations>>,
}

/// A validator that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    account: NodeId,
    key: PublicKey,
}

impl ValidationDesk {
    /// Has a worker validated: by one validator, or by the first of all that does.
    ///
    /// # Errors
    /// Why nobody does.
    pub async fn ask(
        &self,
        worker: NodeId,
        by: Option<NodeId>,
    ) -> Result<Verified<Signed<ValidationResult>>, NotValidated> {
        let candidates = self.candidates(&worker, by)?;
        let deadline = Instant::now() + PATIENCE;
        let mut refusal = None;
        for asked in candidates {
            match self.ask_one(asked, worker, deadline).await {
                Ok(signed) => return self.keep(signed).await,
                // The first reason says more than that the last one has no time left.
                Err(problem) => refusal = refusal.or(Some(problem)),
            }
        }
        Err(refusal.unwrap_or_else(|| {
            NotValidated::Unavailable("this node is connected to no validator, and is none itself".to_owned())
        }))
    }

    /// Whom to ask, this node first.
    fn candidates(&self, worker: &NodeId, by: Option<NodeId>) -> Result<Vec<Asked>, NotValidated> {
        let state = self.head.borrow().state.clone();
        if state.pool_of(worker).is_none() {
            return Err(NotValidated::Unknown(format!("there is no worker {worker} that is a member of a pool")));
        }
        let is_validator = |account: &NodeId| state.next_validators().of(account).is_some();
        if let Some(by) = by.filter(|by| !is_validator(by)) {
            return Err(NotValidated::Unknown(format!("there is no validator {by}")));
        }
        let own = self.own.iter().map(|_| self.me);
        let connected = own.chain(self.mesh.peers().into_iter().map(|peer| peer.key));
        let known = connected.filter_map(|key| Some(Asked { account: state.account_of(&key)?, key }));
        let wanted = |asked: &Asked| is_validator(&asked.account) && by.is_none_or(|by| by == asked.account);
        let wanted: Vec<_> = known.filter(wanted).collect();
        match by.filter(|_| wanted.is_empty()) {
            Some(by) => Err(NotValidated::Unavailable(format!("this node is not connected to validator {by}"))),
            None => Ok(wanted),
        }
    }

    async fn ask_one(
        &self,
        asked: Asked,
        worker: NodeId,
        deadline: Instant,
    ) -> Result<Verified<Signed<ValidationResult>>, NotValidated> {
        let no_answer = || NotValidated::Unavailable(format!("validator {} does not answer", asked.account));
        let request = encode(&ValidationRequest { worker });
        let reply = match self.own.as_ref().filter(|_| asked.key == self.me) {
            Some(own) => timeout_at(deadline, own.answer(self.me, &request)).await.ok().flatten(),
            None => {
                let sent = self.mesh.request(asked.key, Protocol::Validate, request);
                let bytes = timeout_at(deadline, sent).await.map_err(|_| no_answer())?;
                let bytes = bytes.map_err(|error| {
                    NotValidated::Unavailable(format!("validator {} does not answer: {error}", asked.account))
                })?;
                let reply = decode(&bytes).map_err(|error| {
                    NotValidated::Unavailable(format!("the answer of validator {} is none: {error}", asked.account))
                })?;
                Some(reply)
            }
        };
        judge(reply.ok_or_else(no_answer)?, &self.spec, asked, worker, self.clock.now())
    }

    async fn keep(
        &self,
        signed: Verified<Signed<ValidationResult>>,
    ) -> Result<Verified<Signed<ValidationResult>>, NotValidated> {
        let (store, record) = (self.store.clone(), validations::record(self.clock.now(), &signed));
        let written = spawn_blocking(move || store.write_history(&[record], &[])).await;
        let not_kept = |error: &dyn std::error::Error| NotValidated::NotKept(error.to_string());
        match written {
            Ok(Ok(())) => Ok(signed),
            Ok(Err(error)) => Err(not_kept(&error)),
            Err(panic) => Err(not_kept(&panic)),
        }
    }
}

/// What a validator says, if it is what was asked of it.
fn judge(
    reply: ValidationReply,
    spec: &ChainSpec,
    Asked { account, key }: Asked,
    worker: NodeId,
    now: UnixMillis,
) -> Result<Verified<Signed<ValidationResult>>, NotValidated> {
    let wrong = |what: &str| NotValidated::Unavailable(format!("the answer of validator {account} is {what}"));
    let signed = match reply {
        ValidationReply::Done(signed) => signed,
        ValidationReply::Later { millis } => {
            let wait = duration_of(millis.div_ceil(1_000));
            return Err(NotValidated::Refused(format!(
                "validator {account} has validated lately: again in {wait}. It does so for one worker once an epoch, and for one node once a \
                 minute"
            )));
        }
        ValidationReply::Unknown => {
            return Err(NotValidated::Refused(format!("validator {account} knows no such worker")));
        }
        ValidationReply::NotSent => {
            return Err(NotValidated::Unavailable(format!("validator {account} could not send a ping")));
        }
    };
    let ValidationResult { validator, worker: found, time, .. } = signed.record;
    if signed.signer != key || validator != account {
        return Err(wrong("another one's"));
    }
    if found != worker {
        return Err(wrong("of another worker"));
    }
    if !signed.record.is_possible() || time > now.after(CLOCKS) || time < now.before(CLOCKS) {
        return Err(wrong("not possible"));
    }
    signed.verify(spec.id()).map_err(|_| wrong("not signed by it"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
