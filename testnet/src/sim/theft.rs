//! Thieves with enough keys to post a root of their own, and what is done about it: an honest signer pauses the vault, owner and
//! signers replace the signers, and the pool books the loss.

use std::collections::BTreeMap;

use lucid_tron_bridge::vault;
use lucid_types::amount::MicroUsdt;
use lucid_types::payout::SettlementRoot;
use lucid_types::payout_tree::{OwedAccount, PayoutTree};

use super::ledger::account_id;
use super::plan::Action;
use super::violation::Violation;
use super::world::World;

/// The account that thieves make up.
pub(super) const THIEF: usize = 200;

/// How a theft goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theft {
    /// Thieves post and take; a signer notices after so many blocks.
    Under(u64),
    /// The vault is paused, the signers are replaced.
    Stopped,
    /// The loss is booked.
    Booked,
}

impl World {
    /// Numbers of the signers whose keys thieves have copied: as many as can post a root.
    fn stolen(&self) -> Vec<usize> {
        (0..usize::from(self.tron.base.kind.threshold)).collect()
    }

    pub(super) fn loot(&self) -> Vec<OwedAccount> {
        let to = self.tron.base.keys.villain.address();
        vec![OwedAccount { id: account_id(THIEF), to, owed: MicroUsdt::new(1 << 60) }]
    }

    /// Thieves post a root in which everything is theirs, or take what it gives.
    pub(super) fn steal(&mut self) -> Result<(), Violation> {
        let vault = self.tron.head().state.vault().clone();
        let loot = self.loot();
        let Ok(tree) = PayoutTree::new(&loot) else { return Ok(()) };
        let villain = self.tron.base.keys.villain.clone();
        if vault.root == Some(tree.root()) {
            let data = vault::pay_range(vault.settlement, 0, &loot, &[]);
            return self.call_vault(&villain, "thieves take", data);
        }
        if vault.era != 1 {
            return Ok(());
        }
        let signatures = |root: &SettlementRoot| -> BTreeMap<_, _> {
            self.stolen().into_iter().filter_map(|number| self.treasury.bare_signature(number, root)).collect()
        };
        let settlement = vault.settlement + 1_000;
        let root = SettlementRoot { settlement, total: MicroUsdt::new(1 << 61), ..self.evil_root(tree.root()) };
        let data = vault::post_root(&root, &signatures(&root));
        self.call_vault(&villain, "thieves post a root", data)
    }

    /// An owner ends the pause before the loss is booked, and workers take what they can get.
    fn hurry(&mut self) -> Result<(), Violation> {
        let vault = self.tron.head().state.vault();
        let is_rotated = vault.era == self.ledger.current().signers.era;
        if is_rotated && vault.is_paused(self.now / 1_000) && self.random.percent(10) {
            self.act(Action::OwnerUnpauses)?;
        }
        if is_rotated && self.random.percent(50) {
            let account = self.random.index(self.plan.n_accounts);
            self.act(Action::Claim(account))?;
        }
        Ok(())
    }

    pub(super) fn follow_theft(&mut self) -> Result<(), Violation> {
        match self.theft {
            None | Some(Theft::Booked) => Ok(()),
            Some(Theft::Under(0)) => {
                self.theft = Some(Theft::Stopped);
                let honest = usize::from(self.tron.base.kind.threshold);
                self.signer_pauses(honest)?;
                let stolen = self.stolen();
                let next = self.next_signers(&stolen);
                self.ledger.rotate(next);
                self.publish();
                Ok(())
            }
            Some(Theft::Under(n)) => {
                self.theft = Some(Theft::Under(n - 1));
                self.steal()
            }
            Some(Theft::Stopped) => {
                self.steal()?;
                self.hurry()?;
                let state = &self.tron.solid(0).state;
                let vault = state.vault();
                if vault.era == self.ledger.current().signers.era {
                    let stolen = state.paid.get(&account_id(THIEF)).map_or(0, |paid| paid.get());
                    let (fees, _) = self.ledger.allowance();
                    let loss = stolen + vault.fees_paid.get().saturating_sub(fees);
                    self.note(format_args!("{loss} are lost"));
                    self.ledger.book_losses(loss);
                    self.theft = Some(Theft::Booked);
                    self.publish();
                }
                Ok(())
            }
        }
    }
}
