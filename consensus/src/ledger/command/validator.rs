//! What validators do.

use lucid_types::command::{ValidatorAction, ValidatorChange};
use lucid_types::id::Hash;
use lucid_types::validator::ValidatorSet;

use crate::ledger::command::{Applying, CommandRefused};
use crate::ledger::pool::MAX_FORMING_TIME;
use crate::ledger::state::Rows;
use crate::ledger::table::ProposedChanges;
use crate::ledger::validators::{self, MAX_PROPOSED, ProposedChange};

impl Applying<'_, '_> {
    /// The validators that decide the block.
    pub(super) fn validators(&self) -> &ValidatorSet {
        let sets = self.rows.sets();
        sets.at(self.rows.head.height).unwrap_or_else(|| sets.newest().1)
    }

    pub(super) fn validator(&mut self, action: &ValidatorAction) -> Result<(), CommandRefused> {
        if self.validators().get(&self.account).is_none() {
            return Err(CommandRefused::NotValidator);
        }
        match action {
            ValidatorAction::ApprovePool(id) => self.approve_pool(id),
            ValidatorAction::Propose(change) => self.propose(change),
            ValidatorAction::Approve(id) => {
                let mut proposal = self.proposal(id)?;
                match proposal.approvals.binary_search(&self.account) {
                    Ok(_) => return Err(CommandRefused::ChangeApproved),
                    Err(place) => proposal.approvals.insert(place, self.account),
                }
                validators::changed(self.rows, &proposal.change)?;
                self.rows.put::<ProposedChanges>(id, proposal);
                validators::carry_out(self.rows, id);
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
            ValidatorAction::Resign => Ok(validators::change(self.rows, &ValidatorChange::Remove(self.account))?),
        }
    }

    fn proposal(&self, id: &Hash) -> Result<ProposedChange, CommandRefused> {
        let proposal = self.rows.get::<ProposedChanges>(id).filter(|proposal| proposal.until >= self.now());
        proposal.cloned().ok_or(CommandRefused::NoProposal(*id))
    }

    fn propose(&mut self, change: &ValidatorChange) -> Result<(), CommandRefused> {
        let id = change.id();
        if self.proposal(&id).is_ok() {
            return Err(CommandRefused::Proposed(id));
        }
        let own = self.rows.all::<ProposedChanges>().filter(|(_, it)| it.by == self.account && it.until >= self.now());
        if own.count() >= MAX_PROPOSED {
            return Err(CommandRefused::TooManyProposals);
        }
        validators::changed(self.rows, change)?;
        let from = match change {
            ValidatorChange::Add(validator) => {
                let proof = validator.bls_key.check_proof(&validator.node, &validator.bls_proof);
                proof.map_err(|error| CommandRefused::Malformed(format!("validator {}: {error}", validator.node)))?;
                self.counts_from()
            }
            ValidatorChange::Remove(_) | ValidatorChange::Power { .. } => self.rows.head.closed.next(),
        };
        let until = self.now().after(MAX_FORMING_TIME);
        let approvals = vec![self.account];
        self.rows
            .put::<ProposedChanges>(&id, ProposedChange { change: *change, by: self.account, from, until, approvals });
        validators::carry_out(self.rows, &id);
        Ok(())
    }
}
