//! Validations out of turn that this node asks for: of a validator that it is connected to, or of itself, if it is one. What comes back is checked
//! and kept.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::State;
use lucid_p2p::{Mesh, Protocol};
use lucid_storage::Store;
use lucid_types::codec::{decode, encode};
use lucid_types::id::{NodeId, PublicKey};
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::UnixMillis;
use lucid_types::validation::{ValidationReply, ValidationRequest, ValidationResult};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::chain::head::Head;
use crate::clock::Clock;
use crate::history::validations;
use crate::probe::{LONGEST_VALIDATION, SHORTEST_VALIDATION, Validations};
use crate::utc::duration_of;

/// How long validators are asked; the API's own limit is longer.
const PATIENCE: Duration = LONGEST_VALIDATION.saturating_add(Duration::from_millis(1_000));
/// After so long without an answer another one is asked as well: a second after one whose worker answers would have answered.
const SILENCE: Duration = SHORTEST_VALIDATION.saturating_add(Duration::from_millis(1_000));
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
    /// Has a worker validated: by one validator, or by the first of all that does. They are asked in a random order, this node first, if it is
    /// one, and the next whenever one refuses or says nothing for a while.
    ///
    /// # Errors
    /// Why nobody does.
    pub async fn ask(
        &self,
        worker: NodeId,
        by: Option<NodeId>,
    ) -> Result<Verified<Signed<ValidationResult>>, NotValidated> {
        let deadline = Instant::now() + PATIENCE;
        let answer =
            first_answer(self.candidates(&worker, by)?, SILENCE, |asked| self.ask_one(asked, worker, deadline));
        let answer = answer.await?;
        self.keep(answer).await
    }

    /// Whom to ask: this node first, the others in a random order, so that no validator has all requests and none holds up all.
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
        let mut peers: Vec<_> = self.mesh.peers().into_iter().map(|peer| peer.key).collect();
        peers.sort_by_cached_key(|_| getrandom::u32().unwrap_or(0));
        let connected = own.chain(peers);
        let known = connected.filter_map(|key| Some(Asked { account: state.account_of(&key)?, key }));
        let wanted = |asked: &Asked| is_validator(&asked.account) && by.is_none_or(|by| by == asked.account);
        let (own, wanted): (Vec<_>, Vec<_>) =
            known.filter(wanted).partition(|asked| shares_operator(&state, &asked.account, worker));
        match by.filter(|_| wanted.is_empty()) {
            Some(by) if !own.is_empty() => Err(NotValidated::Refused(format!(
                "validator {by} is run by the operator of the worker, whom it does not measure"
            ))),
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
                    NotValidated::Unavailable(format!(
                        "the answer of validator {} does not decode: {error}",
                        asked.account
                    ))
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

/// The first answer of candidates that are asked in their order: the next one when one has failed, or has said nothing for `silence`. Those
/// before it are still listened to.
async fn first_answer<T, F: Future<Output = Result<T, NotValidated>>>(
    candidates: Vec<Asked>,
    silence: Duration,
    ask: impl Fn(Asked) -> F,
) -> Result<T, NotValidated> {
    let (mut refusal, mut candidates) = (None, candidates.into_iter());
    let (mut answers, mut next_at) = (FuturesUnordered::new(), Instant::now());
    loop {
        let is_time = answers.is_empty() || next_at <= Instant::now();
        if let Some(asked) = candidates.as_slice().first().copied().filter(|_| is_time) {
            candidates.next();
            answers.push(ask(asked));
            next_at = Instant::now() + silence;
        }
        tokio::select! {
            answer = answers.next() => match answer {
                Some(Ok(answer)) => return Ok(answer),
                // The first reason says more than that the last one has no time left.
                Some(Err(problem)) => {
                    refusal = refusal.or(Some(problem));
                    next_at = Instant::now();
                }
                None => break,
            },
            () = sleep_until(next_at), if !candidates.as_slice().is_empty() => {}
        }
    }
    Err(refusal.unwrap_or_else(|| {
        NotValidated::Unavailable(
            "this node is connected to no validator that measures the worker, and is no such validator itself"
                .to_owned(),
        )
    }))
}

/// Whether a validator is run by the operator of a worker, whom it does not measure then.
pub fn shares_operator(state: &State, validator: &NodeId, worker: &NodeId) -> bool {
    let operator = state.next_validators().of(validator).map(|it| it.operator);
    operator.is_some() && operator == state.node(worker).map(|row| row.operator)
}

/// What a validator says, if it is what was asked of it: of any time in an epoch, for it pings a worker once in one.
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
                "validator {account} has validated lately: again in {wait}. It does so for one node once a minute, and once a second in all"
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
    let epoch = spec.fixed().epoch();
    if signed.signer != key || validator != account {
        return Err(wrong("another one's"));
    }
    if found != worker {
        return Err(wrong("of another worker"));
    }
    if !signed.record.is_possible() || time > now.after(CLOCKS) || time < now.before(CLOCKS.saturating_add(epoch)) {
        return Err(wrong("not possible"));
    }
    signed.verify(spec.id()).map_err(|_| wrong("not signed by it"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
