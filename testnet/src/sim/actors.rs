//! Everybody but pushers, thieves and the villain: the vault's owner, the token's issuer, workers, strangers.

use std::collections::BTreeMap;

use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::signature::recover;
use lucid_tron_bridge::vault;
use lucid_tron_types::abi::{address_word, call, word_of};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::{CosignReply, CosignRequest, VaultLimits};
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutTree, TreeHash};
use lucid_types::vault::SignerSet;

use super::base::{ENERGY_PRICE, N_SIGNERS, TRX, TokenKind, USDT, signer_set};
use super::describe::sent_text;
use super::ledger::{Change, Issued, account_id};
use super::plan::Action;
use super::theft::Theft;
use super::treasury::Treasury;
use super::violation::Violation;
use super::world::{Event, World};

/// Call data with which a worker takes what this leaf still lacks.
pub(super) fn claim(issued: &Issued, index: usize) -> Option<Vec<u8>> {
    let leaf = *issued.leaves.get(index)?;
    let proof = PayoutTree::new(&issued.leaves).ok()?.range_proof(index, 1)?;
    Some(vault::pay(issued.root.settlement, &[(leaf, proof)]))
}

/// Neighbouring leaves with their proof.
pub(super) fn range(issued: &Issued, start: usize, n: usize) -> Option<(Vec<OwedAccount>, Vec<TreeHash>)> {
    let items = issued.leaves.get(start..start.checked_add(n)?)?.to_vec();
    Some((items, PayoutTree::new(&issued.leaves).ok()?.range_proof(start, n)?))
}

impl World {
    pub(super) fn call_vault(&mut self, by: &TronKey, what: &'static str, data: Vec<u8>) -> Result<(), Violation> {
        let to = self.tron.base.domain.vault;
        self.call_contract(by, to, what, data)
    }

    fn call_token(&mut self, what: &'static str, signature: &str, words: &[[u8; 32]]) -> Result<(), Violation> {
        let (by, to) = (self.tron.base.keys.issuer.clone(), self.tron.base.token);
        self.call_contract(&by, to, what, call(signature, words))
    }

    fn call_contract(
        &mut self,
        by: &TronKey,
        to: PayoutAddress,
        what: &'static str,
        data: Vec<u8>,
    ) -> Result<(), Violation> {
        let outcome = self.tron.send(by, to, what, data)?;
        self.note(format_args!("{what}: {}", sent_text(Some(&outcome))));
        Ok(())
    }

    /// The root in the vault, if the ledger issued it.
    pub(super) fn posted(&self) -> Option<&Issued> {
        let vault = self.tron.head().state.vault();
        self.ledger.issued(vault.settlement, &vault.root?)
    }

    // ---- actions ---------------------------------------------------------------------------------------------------

    pub(super) fn act(&mut self, action: Action) -> Result<(), Violation> {
        self.note(format_args!("{action:?}"));
        self.stats.seen.count_variant("action", &action);
        let is_usdt = self.tron.base.kind.token == TokenKind::Usdt;
        let vault = address_word(&self.tron.base.domain.vault.hash20());
        match action {
            Action::Stall(for_ms) => {
                self.tron.set_solidifies(false);
                self.schedule(for_ms, Event::Solidify);
                Ok(())
            }
            Action::SignerPauses(signer) => self.signer_pauses(signer),
            Action::OwnerPauses => {
                let owner = self.tron.base.keys.owner.clone();
                self.call_vault(&owner, "the owner pauses", vault::pause())
            }
            Action::OwnerUnpauses => {
                let owner = self.tron.base.keys.owner.clone();
                self.call_vault(&owner, "the owner unpauses", vault::unpause())
            }
            Action::SignerUnpauses(signer) => match self.treasury.key(signer) {
                Some(key) => self.call_vault(&key, "a signer unpauses", vault::unpause()),
                None => Ok(()),
            },
            Action::TokenPaused(true) if is_usdt => self.call_token("the token is paused", "pause()", &[]),
            Action::TokenPaused(false) if is_usdt => self.call_token("the token is unpaused", "unpause()", &[]),
            Action::TokenFee(is_on) if is_usdt => {
                let (what, words) = if is_on {
                    ("the token takes a fee", [word_of(15), word_of(40)])
                } else {
                    ("the token takes no fee", [word_of(0), word_of(0)])
                };
                self.call_token(what, "setParams(uint256,uint256)", &words)
            }
            Action::Frozen(true) if is_usdt => {
                self.call_token("the vault is frozen", "addBlackList(address)", &[vault])
            }
            Action::Frozen(false) if is_usdt => {
                self.call_token("the vault is unfrozen", "removeBlackList(address)", &[vault])
            }
            Action::Refused(account) if !is_usdt => {
                let victim = account.and_then(|account| self.ledger.accounts.get(account)).map(|account| account.to);
                self.refuse(victim)
            }
            Action::TokenPaused(_) | Action::TokenFee(_) | Action::Frozen(_) | Action::Refused(_) => Ok(()),
            Action::Fund(micro_usdt) => self.fund(micro_usdt),
            Action::EnergyFactor(factor) => {
                self.tron.set_energy_factor(factor);
                Ok(())
            }
            Action::EnergyPrice(sun) => {
                if sun == 10 * ENERGY_PRICE {
                    self.stats.seen.count("fault", "energy costs ten times as much");
                }
                self.tron.set_energy_price(sun);
                Ok(())
            }
            Action::Gas { node, sun } => {
                if let Some(node) = self.nodes.get(node) {
                    self.tron.set_gas(&node.config.gas_address, sun);
                }
                Ok(())
            }
            Action::Claim(account) => self.claim(account),
            Action::Push => self.push_something(),
            Action::Villainy => self.villainy(),
            Action::NodeDown { node, for_ms, loses_disk } => {
                self.crash(node, for_ms);
                if loses_disk {
                    self.wipe(node);
                }
                Ok(())
            }
            Action::SignerDown { signer, for_ms } => {
                self.treasury.set_up(signer, false);
                self.schedule(for_ms, Event::SignerUp { signer });
                Ok(())
            }
            Action::BackUp(signer) => {
                self.treasury.back_up(signer);
                Ok(())
            }
            Action::Restore(signer) => {
                if self.treasury.restore_backup(signer) {
                    self.stats.seen.count("fault", "a signer's memory is set back");
                }
                Ok(())
            }
            Action::Forge(signer) => match self.ledger.current().newest {
                Some(newest) => self.forge(signer, &newest),
                None => Ok(()),
            },
            Action::Limits { cap, push_fee } => {
                if self.is_unchanged() {
                    let limits = VaultLimits { cap: MicroUsdt::new(cap), push_fee: MicroUsdt::new(push_fee) };
                    self.ledger.set_limits(limits);
                    self.publish();
                }
                Ok(())
            }
            Action::Rotate => {
                if self.is_unchanged() {
                    let next = self.next_signers(&[]);
                    self.ledger.rotate(next);
                    self.publish();
                }
                Ok(())
            }
            Action::Losses(amount) => {
                self.ledger.book_losses(amount);
                self.publish();
                Ok(())
            }
            Action::Address(account) => {
                self.move_account(account);
                Ok(())
            }
            Action::Steal => {
                if self.theft.is_none() {
                    self.theft = Some(Theft::Under(self.random.between(3, 20)));
                }
                self.steal()
            }
        }
    }

    fn refuse(&mut self, victim: Option<PayoutAddress>) -> Result<(), Violation> {
        const REFUSE: u64 = 5;
        let (mode, who) = victim.map_or((0, [0; 32]), |victim| (REFUSE, address_word(&victim.hash20())));
        self.call_token("the token refuses somebody", "set(uint8,address,uint256)", &[word_of(mode), who, word_of(0)])
    }

    pub(super) fn signer_pauses(&mut self, signer: usize) -> Result<(), Violation> {
        let Some(key) = self.treasury.key(signer) else { return Ok(()) };
        self.call_vault(&key, "a signer pauses", vault::pause())
    }

    fn claim(&mut self, account: usize) -> Result<(), Violation> {
        let id = account_id(account);
        let data = self.posted().and_then(|issued| claim(issued, issued.leaves.iter().position(|leaf| leaf.id == id)?));
        let stranger = self.tron.base.keys.stranger.clone();
        data.map_or(Ok(()), |data| self.call_vault(&stranger, "a worker claims", data))
    }

    fn push_something(&mut self) -> Result<(), Violation> {
        let Some((settlement, n_leaves)) = self.posted().map(|i| (i.root.settlement, i.leaves.len())) else {
            return Ok(());
        };
        let start = self.random.index(n_leaves);
        let n = self.random.index(n_leaves - start) + 1;
        let Some((items, proof)) = self.posted().and_then(|issued| range(issued, start, n)) else { return Ok(()) };
        let data = vault::pay_range(settlement, u64::try_from(start).unwrap_or_default(), &items, &proof);
        let stranger = self.tron.base.keys.stranger.clone();
        self.call_vault(&stranger, "a stranger pushes", data)
    }

    // ---- signers and limits ----------------------------------------------------------------------------------------

    /// The vault has seen every change.
    fn is_unchanged(&self) -> bool {
        self.tron.solid(0).state.vault().nonce == self.ledger.current().nonce
    }

    /// Other signers than those, of whom enough are honest.
    pub(super) fn next_signers(&mut self, not: &[usize]) -> SignerSet {
        let current = &self.ledger.current().signers;
        let (era, threshold, n) = (current.era + 1, current.threshold, current.members.len());
        let mut numbers: Vec<_> =
            (0..N_SIGNERS).filter(|number| !not.contains(number) && !self.treasury.is_evil(*number)).collect();
        self.random.shuffle(&mut numbers);
        numbers.truncate(n);
        signer_set(&self.tron.base.keys, era, threshold, &numbers)
    }

    /// The owner carries out what the ledger has recorded.
    fn carry_out_change(&mut self) -> Result<(), Violation> {
        let head = self.ledger.current();
        let (Some(change), nonce) = (head.change.clone(), head.nonce) else { return Ok(()) };
        if self.tron.pending_state()?.vault().nonce == nonce {
            return Ok(());
        }
        let signatures = self.treasury.sign_change(&change);
        let data = match &change {
            Change::Signers { by, next, .. } if signatures.len() == by.needed() => {
                vault::set_signers(next, &signatures)
            }
            Change::Limits { by, next, .. } if signatures.len() == by.needed() => vault::set_limits(next, &signatures),
            _ => return Ok(()),
        };
        let owner = self.tron.base.keys.owner.clone();
        self.call_vault(&owner, "the owner changes signers or limits", data)
    }

    // ---- with every block ------------------------------------------------------------------------------------------

    /// What people do who watch the chain.
    pub(super) fn after_block(&mut self) -> Result<(), Violation> {
        let is_faulty = self.is_faulty();
        self.follow_theft()?;
        if !is_faulty || self.random.percent(15) {
            self.carry_out_change()?;
        }
        if !is_faulty { self.mend() } else { Ok(()) }
    }

    /// What can be mended at once when faults end.
    pub(super) fn mend_once(&mut self) -> Result<(), Violation> {
        self.tron.set_solidifies(true);
        self.tron.set_energy_factor(10_000);
        self.tron.set_energy_price(ENERGY_PRICE);
        for node in &self.nodes {
            self.tron.set_gas(&node.config.gas_address, 100_000 * TRX);
        }
        self.let_token_pay()
    }

    /// The token refuses nobody any more.
    pub(super) fn let_token_pay(&mut self) -> Result<(), Violation> {
        if self.tron.base.kind.token == TokenKind::Hostile { self.refuse(None) } else { Ok(()) }
    }

    /// Workers have the newest root posted and claim for themselves.
    pub(super) fn claim_for_all(&mut self, open: &[AccountId]) -> Result<(), Violation> {
        let stranger = self.tron.base.keys.stranger.clone();
        let Some(issued) = self.ledger.newest_issued().cloned() else { return Ok(()) };
        let signers = self.ledger.current().signers.clone();
        let vault = self.tron.pending_state()?.vault().clone();
        if vault.era != signers.era {
            return Ok(());
        }
        if (vault.settlement, vault.root, vault.total)
            != (issued.root.settlement, Some(issued.root.root), issued.root.total)
        {
            let request = CosignRequest::Root { pool: issued.root.pool, settlement: issued.root.settlement };
            let mut signatures = BTreeMap::new();
            for signer in &signers.members {
                let Some(number) = Treasury::number(&signer.node) else { continue };
                let reply = self.treasury.answer(number, &request, &self.ledger, &mut self.random)?;
                let digest = vault::root_digest(&self.tron.base.domain, &issued.root);
                if let Some(CosignReply::Signed(signature)) = reply
                    && recover(&signature, &digest) == Ok(signer.key_address)
                    && signatures.len() < signers.needed()
                {
                    signatures.insert(signer.key_address, signature);
                }
            }
            let data = vault::post_root(&issued.root, &signatures);
            return self.call_vault(&stranger, "a worker posts the root", data);
        }
        for id in open.iter().take(4) {
            let index = issued.leaves.iter().position(|leaf| leaf.id == *id);
            if let Some(data) = index.and_then(|index| claim(&issued, index)) {
                self.call_vault(&stranger, "a worker claims", data)?;
            }
        }
        Ok(())
    }

    /// Owner and issuer put right what is wrong with vault and token.
    fn mend(&mut self) -> Result<(), Violation> {
        let state = self.tron.pending_state()?;
        let (flags, vault) = (state.token, state.vault().clone());
        if flags.paused {
            self.act(Action::TokenPaused(false))?;
        }
        if flags.fee {
            self.act(Action::TokenFee(false))?;
        }
        if flags.blacklisted {
            self.act(Action::Frozen(false))?;
        }
        let is_thief_at_work = matches!(self.theft, Some(Theft::Under(_) | Theft::Stopped));
        if (vault.owner_pause_from != 0 || vault.is_paused(self.now / 1_000)) && !is_thief_at_work {
            self.act(Action::OwnerUnpauses)?;
        }
        let total = self.ledger.current().newest.map_or(0, |newest| newest.total.get());
        let needed = total.saturating_sub(vault.paid_out.get());
        if vault.funds.get() < needed && !flags.paused {
            self.fund(needed - vault.funds.get() + 10 * USDT)?;
        }
        Ok(())
    }
}
