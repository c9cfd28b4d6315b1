//! Several provider groups as independent witnesses of one network.
//!
//! Transactions go to all of them. What a vault has paid is what every group that answers confirms, so a provider that lies can
//! delay a payment or mislead a screen, and no more: the vault itself pays nothing twice. Where groups contradict each other this
//! is reported as data; what to make of it is the caller's.
//!
//! Groups see the chain at different times, so not every difference is a contradiction. What can only grow must not be less in
//! a later view than in an earlier one, and two views of the same block must be the same.

use std::fmt;

use futures::future::join_all;
use lucid_types::id::PayoutAddress;
use lucid_types::payout_tree::AccountId;

use crate::client::{BroadcastOutcome, Client, ClientError};
use crate::transaction::Reference;
use crate::vault::VaultSnapshot;

/// The provider groups of a node.
#[derive(Debug)]
pub struct Providers {
    groups: Vec<Client>,
}

/// A vault's solidified state as the groups see it.
#[derive(Clone, Debug)]
pub struct WitnessedSnapshot {
    /// What each account has had is the least that any group says; all else is from the group whose solidified view is oldest.
    pub snapshot: VaultSnapshot,
    /// That group's newest solidified block just before.
    pub block: Reference,
    /// How each group answered, in the configured order.
    pub groups: Vec<GroupAnswer>,
    /// What groups contradict each other in.
    pub contradictions: Vec<Contradiction>,
}

/// How a group answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupAnswer {
    /// Its endpoints.
    pub group: String,
    /// Its newest solidified block, or why it gave no answer.
    pub block: Result<Reference, String>,
}

/// Two groups cannot both be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The groups' endpoints.
    pub groups: [String; 2],
    /// What they say differently.
    pub about: Difference,
}

/// What two groups say differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The block of this number: one of them is on a fork, or lies.
    Block(u64),
    /// A property of the vault.
    Vault(&'static str),
    /// What this account has had.
    Paid(AccountId),
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = &self.groups;
        write!(f, "the TRON providers {a} and {b} contradict each other on ")?;
        match &self.about {
            Difference::Block(number) => write!(f, "solidified block {number}"),
            Difference::Vault(what) => write!(f, "the vault's {what}"),
            Difference::Paid(id) => write!(f, "what account {id} has been paid"),
        }
    }
}

impl Providers {
    /// Of these groups.
    ///
    /// # Errors
    /// There is none.
    pub fn new(groups: Vec<Client>) -> Result<Self, ClientError> {
        if groups.is_empty() { Err(ClientError::NoEndpoint) } else { Ok(Self { groups }) }
    }

    /// The groups, in the configured order.
    pub fn groups(&self) -> &[Client] {
        &self.groups
    }

    /// The answer of the first group that gives one.
    ///
    /// # Errors
    /// None did; the first one's error.
    pub async fn first<'a, T, F>(&'a self, ask: impl Fn(&'a Client) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut first_error = None;
        for group in &self.groups {
            match ask(group).await {
                Ok(answer) => return Ok(answer),
                Err(error) => first_error.get_or_insert(error),
            };
        }
        Err(first_error.unwrap_or(ClientError::NoEndpoint))
    }

    /// Sends an encoded, signed transaction to every group, and returns the best news.
    ///
    /// # Errors
    /// No group gave an answer. That does not mean that none took it.
    pub async fn broadcast(&self, transaction: &[u8]) -> Result<BroadcastOutcome, ClientError> {
        let answers = join_all(self.groups.iter().map(|group| group.broadcast(transaction))).await;
        let (answers, errors): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        let first_error = errors.into_iter().find_map(Result::err);
        answers.into_iter().flatten().min().ok_or_else(|| first_error.unwrap_or(ClientError::NoEndpoint))
    }

    /// The solidified state of a vault, and what these accounts have had, as every group that answers confirms.
    ///
    /// # Errors
    /// No group answered.
    pub async fn vault_snapshot(
        &self,
        vault: &PayoutAddress,
        ids: &[AccountId],
    ) -> Result<WitnessedSnapshot, ClientError> {
        let observe = async |group: &Client| observe(group, group.solid_head().await?, true, vault, ids).await;
        let answers = join_all(self.groups.iter().map(observe)).await;
        witnessed(self.groups.iter().zip(answers).collect())
    }
}

/// As [`Providers::vault_snapshot`], of groups whose newest solidified blocks were read just before. One group is asked for the
/// snapshot alone; several are also asked how far they are after it, which tells whether they contradict each other.
///
/// # Errors
/// No group answered.
pub async fn vault_snapshot_of(
    groups: &[(&Client, Reference)],
    vault: &PayoutAddress,
    ids: &[AccountId],
) -> Result<WitnessedSnapshot, ClientError> {
    let asks_after = groups.len() > 1;
    let answers = groups.iter().map(|(group, before)| observe(group, *before, asks_after, vault, ids));
    let answers = join_all(answers).await;
    witnessed(groups.iter().map(|(group, _)| *group).zip(answers).collect())
}

fn witnessed(answers: Vec<(&Client, Result<Observation, ClientError>)>) -> Result<WitnessedSnapshot, ClientError> {
    let groups = answers.iter().map(|(group, answer)| GroupAnswer {
        group: group.label(),
        block: answer.as_ref().map(|seen| seen.before).map_err(ToString::to_string),
    });
    let groups = groups.collect();
    let (seen, errors): (Vec<_>, Vec<_>) = answers.into_iter().map(|(_, answer)| answer).partition(Result::is_ok);
    let seen: Vec<_> = seen.into_iter().flatten().collect();
    let contradictions = contradictions(&seen);
    let Some((block, snapshot)) = agreed(seen) else {
        return Err(errors.into_iter().find_map(Result::err).unwrap_or(ClientError::NoEndpoint));
    };
    Ok(WitnessedSnapshot { snapshot, block, groups, contradictions })
}

/// What a group says of a vault.
struct Observation {
    group: String,
    /// The newest solidified block before the snapshot was taken.
    before: Reference,
    /// And after.
    after: Reference,
    snapshot: VaultSnapshot,
}

async fn observe(
    group: &Client,
    before: Reference,
    asks_after: bool,
    vault: &PayoutAddress,
    ids: &[AccountId],
) -> Result<Observation, ClientError> {
    let snapshot = group.vault_snapshot(vault, ids).await?;
    let after = if asks_after { group.solid_head().await? } else { before };
    Ok(Observation { group: group.label(), before, after, snapshot })
}

/// The oldest state, with the least that any group says each account has had.
fn agreed(seen: Vec<Observation>) -> Option<(Reference, VaultSnapshot)> {
    let oldest = seen.iter().min_by_key(|o| o.before.number)?;
    let (block, mut snapshot) = (oldest.before, oldest.snapshot.clone());
    for observation in &seen {
        for (id, paid) in &mut snapshot.paid {
            // An account is missing nowhere: every snapshot has all that were asked for.
            *paid = observation.snapshot.paid_of(id).map_or(*paid, |other| other.min(*paid));
        }
    }
    Some((block, snapshot))
}

fn contradictions(seen: &[Observation]) -> Vec<Contradiction> {
    let mut found = Vec::new();
    for (i, a) in seen.iter().enumerate() {
        for b in seen.iter().skip(i.saturating_add(1)) {
            let differences = differences(a, b);
            found.extend(
                differences
                    .into_iter()
                    .map(|about| Contradiction { groups: [a.group.clone(), b.group.clone()], about }),
            );
        }
    }
    found
}

fn differences(a: &Observation, b: &Observation) -> Vec<Difference> {
    let blocks = [a.before, a.after].into_iter().flat_map(|x| [b.before, b.after].map(|y| (x, y)));
    let forked = blocks.into_iter().find(|(x, y)| x.number == y.number && x.id != y.id);
    let mut found: Vec<_> = forked.into_iter().map(|(x, _)| Difference::Block(x.number)).collect();
    let (x, y) = (&a.snapshot, &b.snapshot);
    for (what, is_same) in [
        ("token", x.token == y.token),
        ("owner", x.owner == y.owner),
        ("predecessor", x.previous == y.previous),
        ("period", x.period == y.period),
        ("delay", x.delay == y.delay),
    ] {
        if !is_same {
            found.push(Difference::Vault(what));
        }
    }
    if a.after.number <= b.before.number {
        found.extend(shrunk(x, y));
    }
    if b.after.number <= a.before.number {
        let again = shrunk(y, x).into_iter().filter(|difference| !found.contains(difference)).collect::<Vec<_>>();
        found.extend(again);
    }
    let is_one_block = a.before == a.after && b.before == b.after && a.before == b.before;
    if is_one_block && found.is_empty() && x != y {
        found.push(Difference::Vault("state"));
    }
    found
}

/// What is less in the later of two snapshots although it never shrinks.
fn shrunk(earlier: &VaultSnapshot, later: &VaultSnapshot) -> Vec<Difference> {
    let place = |s: &VaultSnapshot| (s.era, s.settlement);
    let (e, l) = (earlier, later);
    let is_same_root = place(e) == place(l);
    let of_vault = [
        ("newest settlement", place(e) <= place(l)),
        ("changes of signers and limits", e.nonce <= l.nonce),
        ("payout root", !is_same_root || e.root == l.root),
        ("root's total", !is_same_root || (e.total <= l.total && e.fees <= l.fees)),
        ("payments", e.paid_out <= l.paid_out && e.fees_paid <= l.fees_paid),
    ];
    let of_vault = of_vault.into_iter().filter(|(_, grows)| !grows).map(|(what, _)| Difference::Vault(what));
    let paid = e.paid.iter().filter(|(id, paid)| l.paid_of(id).is_some_and(|later| later < **paid));
    of_vault.chain(paid.map(|(id, _)| Difference::Paid(*id))).collect()
}

#[cfg(test)]
mod tests;
