//! The treasury signers: the bridge's signer with a memory that can be set back, and signers who do what they like.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::signer::{SignError, Signer, SignerAccount, Stored, Watermark, WatermarkStore};
use lucid_tron_bridge::vault::VaultDomain;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::{CosignReply, CosignRequest, SettlementRoot, TreasurySignature};
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::vault::SignerSet;

use super::base::{Keys, N_SIGNERS, signer_node};
use super::ledger::{Change, Head, Ledger, POOL};
use super::random::Random;
use super::stats::Coverage;
use super::violation::{Rule, Violation};

/// What survives a signer's restart.
#[derive(Debug, Default)]
struct Memory {
    watermark: Watermark,
    /// Sequence of the newest record by the second copy, if it has one.
    newest: Option<u64>,
    backup: Watermark,
}

#[derive(Clone, Debug, Default)]
struct MemoryStore(Rc<RefCell<Memory>>);

impl WatermarkStore for MemoryStore {
    type Error = Infallible;

    fn load(&mut self) -> Result<Stored, Infallible> {
        let memory = self.0.borrow();
        let found = memory.watermark.sequence;
        Ok(match memory.newest.filter(|newest| found < *newest) {
            Some(newest) => Stored::RolledBack { found, newest },
            None => Stored::Watermark(memory.watermark.clone()),
        })
    }

    fn record(&mut self, watermark: &Watermark) -> Result<(), Infallible> {
        let mut memory = self.0.borrow_mut();
        memory.watermark = watermark.clone();
        if let Some(newest) = &mut memory.newest {
            *newest = watermark.sequence;
        }
        Ok(())
    }
}

/// A treasury signer.
#[derive(Debug)]
struct Member {
    key: TronKey,
    signer: Signer<MemoryStore>,
    memory: Rc<RefCell<Memory>>,
    /// Number of the ledger's state that its node has finalized.
    known: usize,
    is_up: bool,
    is_evil: bool,
    /// It was restored from a backup and cannot know it: of such signers, as of evil ones, there may be k-1.
    is_set_back: bool,
}

/// What a signer put its name to, beside sums that may grow.
type Signed = (PayoutRoot, Option<PayoutAddress>, u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Treasury {
    domain: VaultDomain,
    members: Vec<Member>,
    /// By signer, era and settlement.
    signed: BTreeMap<(usize, u32, u64), Signed>,
    /// A broken signer: it remembers nothing.
    is_forgetful: bool,
    /// Why signers refused.
    pub(super) seen: Coverage,
}

impl Treasury {
    pub(super) fn new(domain: VaultDomain, keys: &Keys, is_forgetful: bool) -> Self {
        let member = |key: &TronKey| {
            let store = MemoryStore::default();
            let memory = Rc::clone(&store.0);
            let signer = Signer::new(key.clone(), account(domain), store);
            Member { key: key.clone(), signer, memory, known: 0, is_up: true, is_evil: false, is_set_back: false }
        };
        Self {
            domain,
            members: keys.signers.iter().map(member).collect(),
            signed: BTreeMap::new(),
            is_forgetful,
            seen: Coverage::default(),
        }
    }

    /// The number of the signer whose node this is.
    pub(super) fn number(node: &lucid_types::id::NodeId) -> Option<usize> {
        (0..N_SIGNERS).find(|number| signer_node(*number) == *node)
    }

    /// A signer's node has finalized this state of the ledger.
    pub(super) fn learn(&mut self, number: usize, state: usize) {
        if let Some(member) = self.members.get_mut(number) {
            member.known = member.known.max(state);
        }
    }

    pub(super) fn set_up(&mut self, number: usize, is_up: bool) {
        if let Some(member) = self.members.get_mut(number) {
            member.is_up = is_up;
        }
    }

    pub(super) fn set_evil(&mut self, number: usize, is_evil: bool) {
        if let Some(member) = self.members.get_mut(number) {
            member.is_evil = is_evil;
        }
    }

    pub(super) fn is_evil(&self, number: usize) -> bool {
        self.members.get(number).is_some_and(|member| member.is_evil)
    }

    /// From now on its memory has a second copy.
    pub(super) fn keep_second_copy(&mut self, number: usize) {
        if let Some(member) = self.members.get(number) {
            let mut memory = member.memory.borrow_mut();
            memory.newest = Some(memory.watermark.sequence);
        }
    }

    pub(super) fn back_up(&mut self, number: usize) {
        if let Some(member) = self.members.get(number) {
            let mut memory = member.memory.borrow_mut();
            memory.backup = memory.watermark.clone();
        }
    }

    /// The signer starts again from the backup. With a second copy it notices. Returns whether it had signed anything since.
    pub(super) fn restore_backup(&mut self, number: usize) -> bool {
        let domain = self.domain;
        let Some(member) = self.members.get_mut(number) else { return false };
        let mut memory = member.memory.borrow_mut();
        let backup = memory.backup.clone();
        let forgets = backup.sequence < memory.watermark.sequence;
        member.is_set_back |= memory.newest.is_none();
        memory.watermark = backup;
        drop(memory);
        member.signer = Signer::new(member.key.clone(), account(domain), MemoryStore(Rc::clone(&member.memory)));
        forgets
    }

    /// An operator believes the ledger where the second copy says that the memory is too old: it enters the newest root as signed.
    pub(super) fn repair(&mut self, number: usize, ledger: &Ledger) {
        let Some(member) = self.members.get(number) else { return };
        let mut memory = member.memory.borrow_mut();
        if let Some(newest) = memory.newest.filter(|newest| memory.watermark.sequence < *newest) {
            memory.watermark.sequence = newest;
            memory.watermark.root = ledger.current().newest.or(memory.watermark.root);
        }
    }

    // ---- signing ---------------------------------------------------------------------------------------------------

    /// What a signer's node answers to a request, by the state that it has finalized. `None`: nothing.
    pub(super) fn answer(
        &mut self,
        number: usize,
        request: &CosignRequest,
        ledger: &Ledger,
        random: &mut Random,
    ) -> Result<Option<CosignReply>, Violation> {
        let Some(member) = self.members.get(number).filter(|member| member.is_up) else { return Ok(None) };
        let head = ledger.head(member.known).clone();
        let CosignRequest::Root { settlement, .. } = *request else { return Ok(Some(CosignReply::NotFinal)) };
        if member.is_evil && random.percent(80) {
            return Ok(self.evil_answer(number, &head, random));
        }
        let Some(newest) = head.newest.filter(|newest| newest.settlement == settlement) else {
            return Ok(Some(CosignReply::NotFinal));
        };
        self.sign_root(number, &newest, &head.signers).map(Some)
    }

    /// The newest root by the state that its node has finalized.
    pub(super) fn newest(&self, number: usize, ledger: &Ledger) -> Option<SettlementRoot> {
        ledger.head(self.members.get(number)?.known).newest
    }

    /// What the real signer does when it is told that this root is final.
    pub(super) fn sign_root(
        &mut self,
        number: usize,
        root: &SettlementRoot,
        signers: &SignerSet,
    ) -> Result<CosignReply, Violation> {
        let (domain, is_forgetful) = (self.domain, self.is_forgetful);
        let Some(member) = self.members.get_mut(number) else { return Ok(CosignReply::NotFinal) };
        if is_forgetful {
            member.signer = Signer::new(member.key.clone(), account(domain), MemoryStore::default());
        }
        match member.signer.sign_root(root, signers) {
            Ok(signature) => {
                if !member.is_evil && !member.is_set_back && !is_forgetful {
                    self.note(number, root)?;
                }
                Ok(CosignReply::Signed(signature))
            }
            Err(SignError::Refused(refusal)) => {
                self.seen.count_variant("signer refuses", &refusal);
                Ok(CosignReply::Refused(refusal.to_string()))
            }
            Err(error) => Err(Rule::Setup.broken(error.to_string())),
        }
    }

    /// An honest signer signs one root for a settlement and era.
    fn note(&mut self, number: usize, root: &SettlementRoot) -> Result<(), Violation> {
        let signed = (root.root, root.leader, root.until);
        let first = self.signed.entry((number, root.era, root.settlement)).or_insert(signed);
        if *first == signed {
            return Ok(());
        }
        let (era, settlement) = (root.era, root.settlement);
        let detail = format!("signer {number}, era {era}, settlement {settlement}: {} after {}", root.root, first.0);
        Err(Rule::TwoRoots.broken(detail))
    }

    fn evil_answer(&mut self, number: usize, head: &Head, random: &mut Random) -> Option<CosignReply> {
        let newest = head.newest?;
        self.seen.count("evil signer", "answers");
        let member = self.members.get(number)?;
        match random.below(4) {
            0 => None,
            1 => Some(CosignReply::Refused("I do not like it".into())),
            2 => Some(CosignReply::Signed(TreasurySignature::from_bytes([7; 65]))),
            _ => {
                let other = SettlementRoot { total: MicroUsdt::new(newest.total.get() + 1), ..newest };
                member.key.sign_root(&self.domain, &other).ok().map(CosignReply::Signed)
            }
        }
    }

    /// A signature by the bare key, as thieves and evil signers make it.
    pub(super) fn bare_signature(
        &self,
        number: usize,
        root: &SettlementRoot,
    ) -> Option<(PayoutAddress, TreasurySignature)> {
        let key = &self.members.get(number)?.key;
        Some((key.address(), key.sign_root(&self.domain, root).ok()?))
    }

    /// Signatures over a change, as its owner collects them: of all who give one.
    pub(super) fn sign_change(&mut self, change: &Change) -> BTreeMap<PayoutAddress, TreasurySignature> {
        let by = match change {
            Change::Signers { by, .. } | Change::Limits { by, .. } => by.clone(),
        };
        let members = by.members.iter().filter_map(|member| Self::number(&member.node)).collect::<Vec<_>>();
        let mut signatures = BTreeMap::new();
        for number in members {
            let Some(member) = self.members.get_mut(number).filter(|member| member.is_up && !member.is_evil) else {
                continue;
            };
            let signature = match change {
                Change::Signers { nonce, by, next } => member.signer.sign_signers(&POOL, *nonce, by, next),
                Change::Limits { nonce, by, next } => member.signer.sign_limits(&POOL, *nonce, by, next),
            };
            signatures.extend(signature.ok().map(|signature| (member.key.address(), signature)));
        }
        while signatures.len() > by.needed() {
            signatures.pop_last();
        }
        signatures
    }

    /// A key for a signer's own transactions.
    pub(super) fn key(&self, number: usize) -> Option<TronKey> {
        self.members.get(number).map(|member| member.key.clone())
    }
}

fn account(domain: VaultDomain) -> SignerAccount {
    SignerAccount { pool: POOL, domain, predecessors: Vec::new() }
}
