//! Everybody but pushers: the vault's owner, the token's issuer, workers, strangers, thieves; and a villain that calls the vault
//! with whatever it can think of.

use std::collections::BTreeMap;

use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::vault;
use lucid_tron_types::abi::{address_word, call, word_of};
use lucid_types::amount::MicroUsdt;
use lucid_types::genesis::SignerSet;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::{CosignReply, CosignRequest, SettlementRoot, TreasurySignature, VaultLimits};
use lucid_types::payout_tree::{OwedAccount, PayoutRoot, PayoutTree};

use super::base::{N_SIGNERS, TRX, TokenKind, USDT, signer_set};
use super::ledger::{Change, Issued, account_id};
use super::plan::Action;
use super::treasury::Treasury;
use super::violation::Violation;
use super::world::{Event, THIEF, World};

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

/// Call data with which a worker takes what this leaf still lacks.
pub(super) fn claim(issued: &Issued, index: usize) -> Option<Vec<u8>> {
    let leaf = *issued.leaves.get(index)?;
    let proof = PayoutTree::new(&issued.leaves).ok()?.range_proof(index, 1)?;
    Some(vault::pay(issued.root.settlement, &[(leaf, proof)]))
}

fn range(
    issued: &Issued,
    start: usize,
    n: usize,
) -> Option<(Vec<OwedAccount>, Vec<lucid_types::payout_tree::TreeHash>)> {
    let items = issued.leaves.get(start..start.checked_add(n)?)?.to_vec();
    Some((items, PayoutTree::new(&issued.leaves).ok()?.range_proof(start, n)?))
}

impl World {
    fn call_vault(&mut self, by: &TronKey, what: &str, data: Vec<u8>) -> Result<(), Violation> {
        let to = self.tron.base.domain.vault;
        self.call_contract(by, to, what, data)
    }

    fn call_token(&mut self, what: &str, signature: &str, words: &[[u8; 32]]) -> Result<(), Violation> {
        let (by, to) = (self.tron.base.keys.issuer.clone(), self.tron.base.token);
        self.call_contract(&by, to, what, call(signature, words))
    }

    fn call_contract(&mut self, by: &TronKey, to: PayoutAddress, what: &str, data: Vec<u8>) -> Result<(), Violation> {
        let outcome = self.tron.send(by, to, data)?;
        self.note(format_args!("{what}: {}", super::describe::sent_text(Some(&outcome))));
        Ok(())
    }

    /// The root in the vault, if the ledger issued it.
    fn posted(&self) -> Option<&Issued> {
        let vault = self.tron.head().state.vault();
        self.ledger.issued(vault.settlement, &vault.root?)
    }

    // ---- actions ---------------------------------------------------------------------------------------------------

    pub(super) fn act(&mut self, action: Action) -> Result<(), Violation> {
        self.note(format_args!("{action:?}"));
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
                let words = if is_on { [word_of(15), word_of(40)] } else { [word_of(0), word_of(0)] };
                self.call_token("the token's fee is set", "setParams(uint256,uint256)", &words)
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
                self.treasury.restore_backup(signer);
                Ok(())
            }
            Action::Forge(signer) => self.forge(signer),
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

    fn signer_pauses(&mut self, signer: usize) -> Result<(), Violation> {
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
    fn next_signers(&mut self, not: &[usize]) -> SignerSet {
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
        for node in &self.nodes {
            self.tron.set_gas(&node.config.gas_address, 100_000 * TRX);
        }
        if self.tron.base.kind.token == TokenKind::Hostile { self.refuse(None) } else { Ok(()) }
    }

    /// Workers have the newest root posted and claim for themselves.
    pub(super) fn claim_for_all(&mut self, open: &[lucid_types::payout_tree::AccountId]) -> Result<(), Violation> {
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
                    && lucid_tron_bridge::signature::recover(&signature, &digest) == Ok(signer.key_address)
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

    // ---- theft -----------------------------------------------------------------------------------------------------

    /// Numbers of the signers whose keys thieves have copied: as many as can post a root.
    fn stolen(&self) -> Vec<usize> {
        (0..usize::from(self.tron.base.kind.threshold)).collect()
    }

    fn loot(&self) -> Vec<OwedAccount> {
        let to = self.tron.base.keys.villain.address();
        vec![OwedAccount { id: account_id(THIEF), to, owed: MicroUsdt::new(1 << 60) }]
    }

    /// Thieves post a root in which everything is theirs, or take what it gives.
    fn steal(&mut self) -> Result<(), Violation> {
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

    fn follow_theft(&mut self) -> Result<(), Violation> {
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

    // ---- the villain -----------------------------------------------------------------------------------------------

    fn evil_root(&self, root: PayoutRoot) -> SettlementRoot {
        let head = self.ledger.current();
        let like = head.newest.unwrap_or(SettlementRoot {
            pool: super::ledger::POOL,
            settlement: 1,
            vault: self.tron.base.domain.vault,
            era: head.signers.era,
            root,
            total: MicroUsdt::new(1 << 40),
            fees: MicroUsdt::ZERO,
            promised: MicroUsdt::new(1 << 40),
            leader: None,
            until: 0,
        });
        SettlementRoot { root, ..like }
    }

    /// Tries to get money that is not its own, or to get in the way.
    fn villainy(&mut self) -> Result<(), Violation> {
        let villain = self.tron.base.keys.villain.clone();
        let Some(issued) = self.posted().cloned() else { return self.evil_post(&villain) };
        let n_leaves = issued.leaves.len();
        let start = self.random.index(n_leaves);
        let n = self.random.index(n_leaves - start) + 1;
        let Some((mut items, mut proof)) = range(&issued, start, n) else { return Ok(()) };
        let at = self.random.index(items.len());
        let mut settlement = issued.root.settlement;
        let what = match self.random.below(12) {
            0 => {
                set(&mut items, at, |item| item.to = villain.address());
                "another recipient"
            }
            1 => {
                let more = self.random.between(1, 1_000);
                set(&mut items, at, |item| item.owed = MicroUsdt::new(item.owed.get() + more));
                "another amount"
            }
            2 => {
                items.reverse();
                "another order"
            }
            3 => {
                let bad = OwedAccount { id: account_id(THIEF), to: villain.address(), owed: MicroUsdt::new(USDT) };
                items = std::iter::repeat_n(items, 50).flatten().take(49).chain([bad]).collect();
                "a batch of 50 with a bad item"
            }
            4 => {
                let old = self.ledger.all_issued().filter(|old| old.root.settlement < settlement).last().cloned();
                let Some(old) = old else { return Ok(()) };
                settlement = if self.random.percent(50) { settlement } else { old.root.settlement };
                let Some(whole) = range(&old, 0, old.leaves.len()) else { return Ok(()) };
                (items, proof) = whole;
                "an older root's range"
            }
            5 => {
                proof.push(lucid_types::payout_tree::TreeHash::from_bytes([3; 32]));
                "a longer proof"
            }
            6 => return self.pay_twice(&villain, &issued),
            7 => return self.evil_post(&villain),
            8 => {
                let evil = self.plan.evil_signers.clone();
                return self.random.pick(&evil).map_or(Ok(()), |signer| self.signer_pauses(signer));
            }
            9 => return self.usurp(&villain),
            10 => return self.replay(&villain),
            _ => "a range as it should be",
        };
        let data = vault::pay_range(settlement, u64::try_from(start).unwrap_or_default(), &items, &proof);
        self.call_vault(&villain, what, data)
    }

    /// One call that names the same leaf several times.
    fn pay_twice(&mut self, villain: &TronKey, issued: &Issued) -> Result<(), Violation> {
        let index = self.random.index(issued.leaves.len());
        let (leaf, proof) = match range(issued, index, 1) {
            Some((items, proof)) => (items, proof),
            None => return Ok(()),
        };
        let items: Vec<_> =
            std::iter::repeat_n((leaf, proof), 3).filter_map(|(leaf, proof)| Some((*leaf.first()?, proof))).collect();
        let data = vault::pay(issued.root.settlement, &items);
        self.call_vault(villain, "the same leaf three times", data)
    }

    /// A root of its own, with the signatures of all evil signers and its own.
    fn evil_post(&mut self, villain: &TronKey) -> Result<(), Violation> {
        let loot = self.loot();
        let Ok(tree) = PayoutTree::new(&loot) else { return Ok(()) };
        let mut root = self.evil_root(tree.root());
        if self.random.percent(50) {
            root.settlement += self.random.below(3);
        }
        if self.random.percent(20) {
            root = self.ledger.current().newest.unwrap_or(root);
            root.total = MicroUsdt::new(root.total.get() + USDT);
        }
        let evil = self.plan.evil_signers.clone();
        let mut signatures: BTreeMap<PayoutAddress, TreasurySignature> =
            evil.iter().filter_map(|number| self.treasury.bare_signature(*number, &root)).collect();
        signatures.extend(villain.sign_root(&self.tron.base.domain, &root).ok().map(|own| (villain.address(), own)));
        self.call_vault(villain, "a root of evil signers", vault::post_root(&root, &signatures))
    }

    /// What only owner or signers can do.
    fn usurp(&mut self, villain: &TronKey) -> Result<(), Violation> {
        let none = BTreeMap::new();
        let next = self.ledger.current().signers.clone();
        let limits = VaultLimits { cap: MicroUsdt::new(u64::MAX), push_fee: MicroUsdt::new(u64::MAX) };
        let data = match self.random.below(6) {
            0 => vault::set_signers(&next, &none),
            1 => vault::set_limits(&limits, &none),
            2 => vault::close(),
            3 => vault::ask_withdrawal(&villain.address(), MicroUsdt::new(USDT)),
            4 => vault::withdraw(),
            _ => vault::unpause(),
        };
        self.call_vault(villain, "what only others can do", data)
    }

    /// An older root that was issued, signed by whoever signs anything.
    fn replay(&mut self, villain: &TronKey) -> Result<(), Violation> {
        let n = self.ledger.all_issued().count();
        let at = self.random.index(n);
        let Some(old) = self.ledger.all_issued().nth(at).map(|issued| issued.root) else { return Ok(()) };
        let signatures =
            (0..N_SIGNERS).filter_map(|number| self.treasury.bare_signature(number, &old)).collect::<BTreeMap<_, _>>();
        let needed = self.ledger.current().signers.needed();
        let current: Vec<_> = self.ledger.current().signers.members.iter().map(|member| member.key_address).collect();
        // Signatures over issued roots are no secret.
        let signatures = signatures.into_iter().filter(|(key, _)| current.contains(key)).take(needed).collect();
        self.call_vault(villain, "an older root", vault::post_root(&old, &signatures))
    }

    /// A node that was broken into tells its signer that another root is final.
    fn forge(&mut self, signer: usize) -> Result<(), Violation> {
        let head = self.ledger.current().clone();
        let Some(newest) = head.newest else { return Ok(()) };
        let Ok(tree) = PayoutTree::new(&self.loot()) else { return Ok(()) };
        let forged = SettlementRoot { root: tree.root(), ..newest };
        let reply = self.treasury.sign_root(signer, &forged, &head.signers)?;
        let is_signed = matches!(reply, CosignReply::Signed(_));
        self.note(format_args!("signer {signer} is told another root, and signs: {is_signed}"));
        Ok(())
    }
}

fn set(items: &mut [OwedAccount], at: usize, change: impl FnOnce(&mut OwedAccount)) {
    if let Some(item) = items.get_mut(at) {
        change(item);
    }
}
