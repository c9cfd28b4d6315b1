//! Validators: how they change, and for how long those of before are remembered.
//!
//! What a block changes is in force two heights later: until then the headers of both heights between commit to it. Changes are
//! proposed and approved of by commands, but for a validator's other keys, which it gives itself; whoever has proved to equivocate is removed by
//! the block that proves it, as far as the epoch's limit goes.

use lucid_types::codec::Wire;
use lucid_types::command::ValidatorChange;
use lucid_types::id::{Hash, NodeId, ValidatorId};
use lucid_types::time::{Epoch, Height};
use lucid_types::validator::{Validator, ValidatorSet, ValidatorSetError};
use lucid_types::validator_key::{ValidatorKeyError, ValidatorKeys};
use lucid_types::validator_sets::SET_DELAY;
use serde::{Deserialize, Serialize};

use crate::chain_spec::ChainSpec;
use crate::ledger::event::Event;
use crate::ledger::proposals::ProposedChange;
use crate::ledger::state::{Equivocation, Overlay, Rows, State};
use crate::ledger::table::{Draws, Equivocations, Nodes, ProposedChanges, UsedKeys, Validators};

/// A key with which a validator has signed. It stays the account's for ever: nobody else may use it, and the account itself not once it
/// has given it up for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedKey {
    /// Whose it is.
    pub account: NodeId,
    /// Whether the account has other keys instead.
    pub is_given_up: bool,
}

impl Wire for UsedKey {
    const MAX_BYTES: usize = 33;
}

impl UsedKey {
    pub(crate) const fn of(account: NodeId) -> Self {
        Self { account, is_given_up: false }
    }
}

impl State {
    /// The account of a validator that signs or has signed with this key.
    pub fn validator_account(&self, key: &ValidatorId) -> Option<NodeId> {
        self.get::<UsedKeys>(key).map(|used| used.account)
    }

    /// The key with which a validator signs its report of an epoch that is drawn.
    pub fn reporter(&self, epoch: Epoch, account: &NodeId) -> Option<ValidatorId> {
        let reporters = &self.get::<Draws>(&epoch)?.reporters;
        reporters.iter().copied().find(|key| self.validator_account(key).as_ref() == Some(account))
    }

    /// The rotation of a validator's keys that waits, with its id.
    pub fn rotation(&self, account: &NodeId) -> Option<(Hash, &ProposedChange)> {
        rotation(self, account)
    }
}

/// Why a change of the validators cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It is one already.
    #[error("{0} is a validator already")]
    IsValidator(NodeId),
    /// It is none.
    #[error("{0} is no validator")]
    NoValidator(NodeId),
    /// It has this power already.
    #[error("validator {0} has this power already")]
    SamePower(NodeId),
    /// It is not registered, or has retired.
    #[error("{0} is not registered; a new validator first registers its node")]
    NotRegistered(NodeId),
    /// It is registered with another operator.
    #[error("{node} is registered with the operator {operator}, not with the one that is proposed")]
    Operator {
        /// The node.
        node: NodeId,
        /// With whom it is registered.
        operator: NodeId,
    },
    /// Its key is or was another validator's, or one that it has given up.
    #[error(
        "the key {0} has been used by a validator before; make another one: a validator with `lucid validator rotate-key`, any other node \
         with `lucid validator keys --new`"
    )]
    UsedKey(ValidatorId),
    /// Another change that waits has its key.
    #[error(
        "the key {0} is in a change of another validator that waits; make another one: a validator with `lucid validator rotate-key`, any \
         other node with `lucid validator keys --new`"
    )]
    WaitingKey(ValidatorId),
    /// Its keys prove nothing.
    #[error("the keys of {0}: {1}")]
    Keys(NodeId, ValidatorKeyError),
    /// It has signed two different messages for one step.
    #[error("{0} has equivocated: it is a validator no more, and cannot become one again")]
    Equivocated(NodeId),
    /// The set that it leads to is none.
    #[error(transparent)]
    Set(#[from] ValidatorSetError),
}

/// The validators to come: those that the newest block or this one has changed to.
pub(crate) fn newest<'a>(rows: &'a Overlay<'_>) -> &'a ValidatorSet {
    rows.get::<Validators>(&in_force_from(rows)).unwrap_or_else(|| rows.sets().newest().1)
}

/// The first height that a change by the block decides.
fn in_force_from(rows: &Overlay<'_>) -> Height {
    rows.head.height.plus(SET_DELAY)
}

/// The validators to come after a change.
///
/// # Errors
/// Why it cannot be.
pub(crate) fn changed(rows: &Overlay<'_>, change: &ValidatorChange) -> Result<ValidatorSet, ChangeError> {
    let set = newest(rows);
    let node = change.validator();
    let mut members = set.members().to_vec();
    let place = members.iter().position(|member| member.node == node);
    match (*change, place) {
        (ValidatorChange::Add(_), Some(_)) => return Err(ChangeError::IsValidator(node)),
        (ValidatorChange::Add(validator), None) => {
            let row = rows.get::<Nodes>(&node).filter(|row| !row.is_retired).ok_or(ChangeError::NotRegistered(node))?;
            if row.operator != validator.operator {
                return Err(ChangeError::Operator { node, operator: row.operator });
            }
            let known = rows.get::<UsedKeys>(&validator.keys.id);
            if known.is_some_and(|used| used.account != node || used.is_given_up) {
                return Err(ChangeError::UsedKey(validator.keys.id));
            }
            if rows.has::<Equivocations>(&node) {
                return Err(ChangeError::Equivocated(node));
            }
            members.push(validator);
        }
        (_, None) => return Err(ChangeError::NoValidator(node)),
        (ValidatorChange::Remove(_), Some(place)) => drop(members.remove(place)),
        (ValidatorChange::Power { power, .. }, Some(place)) => {
            if members[place].power == power {
                return Err(ChangeError::SamePower(node));
            }
            members[place].power = power;
        }
        (ValidatorChange::Keys { keys, .. }, Some(place)) => {
            if rows.has::<UsedKeys>(&keys.id) {
                return Err(ChangeError::UsedKey(keys.id));
            }
            members[place].keys = keys;
        }
    }
    Ok(ValidatorSet::new(members)?)
}

/// Carries out a change.
///
/// # Errors
/// Why it cannot be.
pub(crate) fn change(rows: &mut Overlay<'_>, change: &ValidatorChange) -> Result<(), ChangeError> {
    let set = changed(rows, change)?;
    let account = change.validator();
    if let Some(keys) = change.keys() {
        // The one that it has, or had when it was a validator last.
        let is_former =
            |id: &ValidatorId, used: &UsedKey| used.account == account && !used.is_given_up && *id != keys.id;
        let former: Vec<_> =
            rows.all::<UsedKeys>().filter(|(id, used)| is_former(id, used)).map(|(id, _)| id).collect();
        for id in former {
            rows.put::<UsedKeys>(&id, UsedKey { account, is_given_up: true });
        }
        rows.put::<UsedKeys>(&keys.id, UsedKey::of(account));
    }
    rows.put::<Validators>(&in_force_from(rows), set);
    Ok(())
}

/// Checks keys that a change gives to an account: that whoever announces them holds the secret, and that no change of another account that
/// waits has one of them. Whether they are new is for [`changed`] to say.
///
/// # Errors
/// What is wrong.
pub(crate) fn check_keys(rows: &impl Rows, account: &NodeId, keys: &ValidatorKeys) -> Result<(), ChangeError> {
    keys.check(account).map_err(|error| ChangeError::Keys(*account, error))?;
    let waiting = rows.all::<ProposedChanges>().filter_map(|(_, row)| row.change.validators());
    let of_others = waiting.filter(|change| change.validator() != *account);
    let is_shared = |other: &ValidatorKeys| other.id == keys.id || other.bls_key == keys.bls_key;
    if of_others.filter_map(ValidatorChange::keys).any(is_shared) {
        return Err(ChangeError::WaitingKey(keys.id));
    }
    Ok(())
}

/// The rotation of an account's keys that waits, with its id: there is one at most.
pub(crate) fn rotation<'a>(rows: &'a impl Rows, account: &NodeId) -> Option<(Hash, &'a ProposedChange)> {
    let is_it = |row: &ProposedChange| !row.change.needs_approval() && row.by == *account;
    rows.all::<ProposedChanges>().find(|(_, row)| is_it(row))
}

/// What follows from the block for the validators, after its commands, the epochs that it closes and the proposals that are carried out.
pub(crate) fn follow(spec: &ChainSpec, rows: &mut Overlay<'_>, events: &mut Vec<Event>) {
    let from = in_force_from(rows);
    remove_equivocators(rows);
    forget(spec, rows);
    if let Some(after) = rows.get::<Validators>(&from) {
        events.extend(differences(rows.sets().newest().1, after, from));
    }
}

/// Removes validators against which blocks hold evidence, those first that were proved first: at most a third of the power in an
/// epoch, and never the last.
fn remove_equivocators(rows: &mut Overlay<'_>) {
    let epoch = rows.head.closed.next();
    let rows_of = |rows: &Overlay<'_>| rows.all::<Equivocations>().map(|(node, row)| (node, *row)).collect::<Vec<_>>();
    let equivocations = rows_of(rows);
    let power_of =
        |row: &Equivocation| row.removed.filter(|(removed, _)| *removed == epoch).map_or(0, |(_, power)| power);
    let mut removed = equivocations.iter().map(|(_, row)| power_of(row)).fold(0, u64::saturating_add);
    let mut waiting: Vec<_> = equivocations.into_iter().filter(|(_, row)| row.removed.is_none()).collect();
    waiting.sort_by_key(|(node, row)| (row.proved_in, *node));
    for (node, row) in waiting {
        let set = newest(rows);
        let (power, total) = (set.of(&node).map_or(0, |member| member.power), set.total().saturating_add(removed));
        let within = 3 * u128::from(removed.saturating_add(power)) <= u128::from(total);
        if power == 0 {
            // It has resigned, and cannot come back.
            rows.put::<Equivocations>(&node, Equivocation { removed: Some((epoch, 0)), ..row });
            continue;
        }
        if !within || change(rows, &ValidatorChange::Remove(node)).is_err() {
            continue;
        }
        removed = removed.saturating_add(power);
        rows.put::<Equivocations>(&node, Equivocation { removed: Some((epoch, power)), ..row });
    }
}

/// Forgets the validators of heights of which no block may hold evidence any more.
fn forget(spec: &ChainSpec, rows: &mut Overlay<'_>) {
    let oldest = rows.head.height.next().get().saturating_sub(spec.fixed().evidence_blocks);
    let froms: Vec<_> = rows.sets().iter().map(|(from, _)| from).collect();
    for pair in froms.windows(2).filter(|pair| pair[1].get() <= oldest) {
        rows.remove::<Validators>(&pair[0]);
    }
}

/// Who has another power or another key in the second set than in the first, which is in force from this height on.
fn differences<'a>(
    before: &'a ValidatorSet,
    after: &'a ValidatorSet,
    from: Height,
) -> impl Iterator<Item = Event> + use<'a> {
    let gone = before.members().iter().filter(|it| after.of(&it.node).is_none());
    let gone = gone.map(move |it| Event::Validator { node: it.node, key: it.keys.id, power: 0, from });
    let is_other = |it: &&Validator| before.get(&it.keys.id).is_none_or(|known| known.power != it.power);
    let other = after.members().iter().filter(is_other);
    gone.chain(other.map(move |it| Event::Validator { node: it.node, key: it.keys.id, power: it.power, from }))
}
