//! What validators do.

use lucid_types::change::NetworkChange;
use lucid_types::command::{ValidatorAction, ValidatorChange};
use lucid_types::id::Hash;
use lucid_types::time::Epoch;
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_key::ValidatorKeys;

use crate::ledger::command::{Applying, CommandRefused};
use crate::ledger::pool::MAX_FORMING_TIME;
use crate::ledger::proposals::{self, MAX_PROPOSED, ProposedChange};
use crate::ledger::state::Rows;
use crate::ledger::table::ProposedChanges;
use crate::ledger::validators;

impl Applying<'_, '_> {
    /// The validators that decide the block.
    pub(super) fn validators(&self) -> &ValidatorSet {
        let sets = self.rows.sets();
        sets.at(self.rows.head.height).unwrap_or_else(|| sets.newest().1)
    }

    pub(super) fn validator(&mut self, action: &ValidatorAction) -> Result<(), CommandRefused> {
        if self.validators().of(&self.account).is_none() {
            return Err(CommandRefused::NotValidator);
        }
        match action {
            ValidatorAction::ApprovePool(id) => self.approve_pool(id),
            ValidatorAction::Propose(change) => self.propose(change),
            ValidatorAction::Approve(id) => {
                let mut proposal = self.proposal(id)?;
                if !proposal.change.needs_approval() {
                    return Err(CommandRefused::NeedsNoApproval);
                }
                match proposal.approvals.binary_search(&self.account) {
                    Ok(_) => return Err(CommandRefused::ChangeApproved),
                    Err(place) => proposal.approvals.insert(place, self.account),
                }
                proposals::check(self.spec, self.rows, &proposal.change)?;
                self.rows.put::<ProposedChanges>(id, proposal);
                proposals::carry_out(self.spec, self.rows, id, self.events);
                Ok(())
            }
            ValidatorAction::Withdraw(id) => {
                let mut proposal = self.proposal(id)?;
                let place = proposal.approvals.binary_search(&self.account);
                proposal.approvals.remove(place.map_err(|_| CommandRefused::ChangeNotApproved)?);
                if proposal.approvals.is_empty() {
                    self.rows.remove::<ProposedChanges>(id);
                } else {
                    self.rows.put::<ProposedChanges>(id, proposal);
                }
                Ok(())
            }
            ValidatorAction::RotateKey(keys) => self.rotate_key(keys),
            ValidatorAction::Resign => Ok(validators::change(self.rows, &ValidatorChange::Remove(self.account))?),
        }
    }

    fn proposal(&self, id: &Hash) -> Result<ProposedChange, CommandRefused> {
        let proposal = self.rows.get::<ProposedChanges>(id).filter(|proposal| proposal.until >= self.now());
        proposal.cloned().ok_or(CommandRefused::NoProposal(*id))
    }

    fn propose(&mut self, change: &NetworkChange) -> Result<(), CommandRefused> {
        let id = change.id();
        if self.proposal(&id).is_ok() {
            return Err(CommandRefused::Proposed(id));
        }
        let is_own = |row: &ProposedChange| row.by == self.account && row.until >= self.now();
        let own = self.rows.all::<ProposedChanges>().filter(|(_, row)| is_own(row) && row.change.needs_approval());
        if own.count() >= MAX_PROPOSED {
            return Err(CommandRefused::TooManyProposals);
        }
        proposals::check(self.spec, self.rows, change)?;
        let from = match change {
            NetworkChange::Validators(ValidatorChange::Add(validator)) => {
                validators::check_keys(self.rows, &validator.node, &validator.keys)?;
                self.counts_from()
            }
            _ => self.rows.head.closed.next(),
        };
        let until = self.now().after(MAX_FORMING_TIME);
        let approvals = vec![self.account];
        let row = ProposedChange { change: change.clone(), by: self.account, from, until, approvals };
        self.rows.put::<ProposedChanges>(&id, row);
        proposals::carry_out(self.spec, self.rows, &id, self.events);
        Ok(())
    }

    /// Other keys of the validator itself. They count from an epoch whose beacons nobody can know yet, as those of a new validator do, and
    /// from the beginning of a settlement: all rotations of a settlement are one change of the set, however often validators rotate. Of
    /// such changes each is kept for ever by everybody, and shown to everybody who joins.
    fn rotate_key(&mut self, keys: &ValidatorKeys) -> Result<(), CommandRefused> {
        let keys_change = ValidatorChange::Keys { validator: self.account, keys: *keys };
        let change = NetworkChange::from(keys_change);
        let id = change.id();
        let waiting = validators::rotation(self.rows, &self.account).map(|(id, _)| id);
        if waiting == Some(id) {
            return Err(CommandRefused::Rotates);
        }
        validators::changed(self.rows, &keys_change)?;
        validators::check_keys(self.rows, &self.account, keys)?;
        if let Some(waiting) = waiting {
            self.rows.remove::<ProposedChanges>(&waiting);
        }
        let settle_every = self.spec.fixed().settle_every;
        let settlements = self.counts_from().get().saturating_sub(1).div_ceil(settle_every);
        let from = Epoch::new(settlements.saturating_mul(settle_every).saturating_add(1));
        // It is over when it is carried out, not before.
        let until = self.now().after(MAX_FORMING_TIME).max(self.spec.genesis().epoch_start(from));
        let row = ProposedChange { change, by: self.account, from, until, approvals: vec![self.account] };
        self.rows.put::<ProposedChanges>(&id, row);
        Ok(())
    }
}
