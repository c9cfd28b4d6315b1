//! A villain that calls the vault with whatever it can think of, as a leader or as anybody, with signers that sign anything.

use std::collections::BTreeMap;

use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::vault;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::{CosignReply, SettlementRoot, TreasurySignature, VaultLimits};
use lucid_types::payout_tree::{OwedAccount, PayoutRoot, PayoutTree, TreeHash};

use super::actors::range;
use super::base::{N_SIGNERS, USDT};
use super::ledger::{Elected, Issued, POOL, account_id};
use super::theft::THIEF;
use super::violation::Violation;
use super::world::World;

impl World {
    pub(super) fn evil_root(&self, root: PayoutRoot) -> SettlementRoot {
        let head = self.ledger.current();
        let like = head.newest.unwrap_or(SettlementRoot {
            pool: POOL,
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
    pub(super) fn villainy(&mut self) -> Result<(), Violation> {
        let villain = self.tron.base.keys.villain.clone();
        let Some(issued) = self.posted().cloned() else { return self.evil_post(&villain) };
        let n_leaves = issued.leaves.len();
        let start = self.random.index(n_leaves);
        let n = self.random.index(n_leaves - start) + 1;
        let Some((mut items, mut proof)) = range(&issued, start, n) else { return Ok(()) };
        let at = self.random.index(items.len());
        let mut settlement = issued.root.settlement;
        let what = match self.random.below(14) {
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
            3 => return self.pay_with_a_bad_item(&villain, &issued),
            4 => {
                let old = self.ledger.all_issued().filter(|old| old.root.settlement < settlement).last().cloned();
                let Some(old) = old else { return Ok(()) };
                settlement = if self.random.percent(50) { settlement } else { old.root.settlement };
                let Some(whole) = range(&old, 0, old.leaves.len()) else { return Ok(()) };
                (items, proof) = whole;
                "an older root's range"
            }
            5 => {
                proof.push(TreeHash::from_bytes([3; 32]));
                "a longer proof"
            }
            6 => return self.pay_twice(&issued),
            7 => return self.evil_post(&villain),
            8 => {
                let evil = self.plan.evil_signers.clone();
                return self.random.pick(&evil).map_or(Ok(()), |signer| self.signer_pauses(signer));
            }
            9 => return self.usurp(&villain),
            10 => return self.replay(),
            11 | 12 => return self.evil_post(&villain),
            _ => "a range as it should be",
        };
        let data = vault::pay_range(settlement, u64::try_from(start).unwrap_or_default(), &items, &proof);
        self.attempt(what, data)
    }

    /// The villain calls the vault.
    fn attempt(&mut self, what: &'static str, data: Vec<u8>) -> Result<(), Violation> {
        let leads = self.ledger.current().order.first() == Some(&Elected::Villain);
        self.stats.seen.count(if leads { "evil leader" } else { "villain" }, what);
        let villain = self.tron.base.keys.villain.clone();
        self.call_vault(&villain, what, data)
    }

    /// One call that names the same leaf several times.
    fn pay_twice(&mut self, issued: &Issued) -> Result<(), Violation> {
        let index = self.random.index(issued.leaves.len());
        let (leaf, proof) = match range(issued, index, 1) {
            Some((items, proof)) => (items, proof),
            None => return Ok(()),
        };
        let items: Vec<_> =
            std::iter::repeat_n((leaf, proof), 3).filter_map(|(leaf, proof)| Some((*leaf.first()?, proof))).collect();
        let data = vault::pay(issued.root.settlement, &items);
        self.attempt("the same leaf three times", data)
    }

    /// 49 claims as they should be, and one that is not.
    fn pay_with_a_bad_item(&mut self, villain: &TronKey, issued: &Issued) -> Result<(), Violation> {
        let claim = |index| {
            let (items, proof) = range(issued, index, 1)?;
            Some((*items.first()?, proof))
        };
        let good: Vec<_> = (0..issued.leaves.len()).filter_map(claim).collect();
        let bad = OwedAccount { id: account_id(THIEF), to: villain.address(), owed: MicroUsdt::new(USDT) };
        let proof = good.first().map(|(_, proof)| proof.clone()).unwrap_or_default();
        let items: Vec<_> = good.into_iter().cycle().take(49).chain([(bad, proof)]).collect();
        self.attempt("a batch of 50 with a bad item", vault::pay(issued.root.settlement, &items))
    }

    /// A root of its own with the signatures of all evil signers. As they are too few, others are made up.
    fn evil_post(&mut self, villain: &TronKey) -> Result<(), Violation> {
        let loot = self.loot();
        let Ok(tree) = PayoutTree::new(&loot) else { return Ok(()) };
        let mut root = self.evil_root(tree.root());
        match self.random.below(10) {
            0..=6 => root.settlement += self.random.between(1, 2),
            7 => {}
            _ => {
                root = self.ledger.current().newest.unwrap_or(root);
                root.total = MicroUsdt::new(root.total.get() + USDT);
            }
        }
        let evil = self.plan.evil_signers.clone();
        let real: BTreeMap<PayoutAddress, TreasurySignature> =
            evil.iter().filter_map(|number| self.treasury.bare_signature(*number, &root)).collect();
        let needed = self.ledger.current().signers.needed();
        if real.len() + 1 == needed {
            self.stats.seen.count("fault", "all signers that may be evil sign the villain's root");
        }
        let mut signatures = real.clone();
        let what = match self.random.below(5) {
            0 => {
                let own = villain.sign_root(&self.tron.base.domain, &root).ok();
                signatures.extend(own.map(|own| (villain.address(), own)));
                "a root with the villain's own signature"
            }
            1 | 2 => {
                // Keys only order signatures: each comes again right after itself.
                for (key, signature) in real.iter().cycle().take(needed.saturating_sub(real.len()) * real.len().min(1))
                {
                    signatures.insert(next_address(key), *signature);
                }
                "a root that a signer signed twice"
            }
            3 => {
                for (key, signature) in real.iter().take(needed.saturating_sub(real.len())) {
                    signatures.insert(next_address(key), other_form(signature));
                }
                "a root with both forms of a signature"
            }
            _ => "a root with too few signatures",
        };
        self.attempt(what, vault::post_root(&root, &signatures))
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
        self.attempt("what only others can do", data)
    }

    /// An older root that was issued, signed by whoever signs anything.
    fn replay(&mut self) -> Result<(), Violation> {
        let n = self.ledger.all_issued().count();
        let at = self.random.index(n);
        let Some(old) = self.ledger.all_issued().nth(at).map(|issued| issued.root) else { return Ok(()) };
        let signatures =
            (0..N_SIGNERS).filter_map(|number| self.treasury.bare_signature(number, &old)).collect::<BTreeMap<_, _>>();
        let needed = self.ledger.current().signers.needed();
        let current: Vec<_> = self.ledger.current().signers.members.iter().map(|member| member.key_address).collect();
        // Signatures over issued roots are no secret.
        let signatures = signatures.into_iter().filter(|(key, _)| current.contains(key)).take(needed).collect();
        self.attempt("an older root", vault::post_root(&old, &signatures))
    }

    /// A node that was broken into tells its signer that another root is final than `root`. If enough signers fall for it, the
    /// villain posts that root at once.
    pub(super) fn forge(&mut self, signer: usize, root: &SettlementRoot) -> Result<(), Violation> {
        let head = self.ledger.current().clone();
        let Ok(tree) = PayoutTree::new(&self.loot()) else { return Ok(()) };
        let forged = SettlementRoot { root: tree.root(), ..*root };
        let reply = self.treasury.sign_root(signer, &forged, &head.signers)?;
        let is_signed = matches!(reply, CosignReply::Signed(_));
        self.note(format_args!("signer {signer} is told another root, and signs: {is_signed}"));
        self.stats.seen.count("told another root", if is_signed { "signs" } else { "refuses" });
        if !is_signed || head.signers.era != root.era {
            return Ok(());
        }
        let signers = self.forged.entry((root.era, root.settlement)).or_default();
        signers.insert(signer);
        let signers = signers.iter().chain(&self.plan.evil_signers);
        let signatures: BTreeMap<_, _> = signers
            .filter_map(|number| self.treasury.bare_signature(*number, &forged))
            .take(head.signers.needed())
            .collect();
        if signatures.len() < head.signers.needed() {
            return Ok(());
        }
        self.attempt("a root that signers were told", vault::post_root(&forged, &signatures))
    }
}

/// The address after this one.
fn next_address(address: &PayoutAddress) -> PayoutAddress {
    let mut bytes = address.hash20();
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    PayoutAddress::from_hash20(bytes)
}

/// The other signature that holds for the same key and digest: with the order of secp256k1 less s, and the other v.
fn other_form(signature: &TreasurySignature) -> TreasurySignature {
    const ORDER: [u8; 32] = *b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\
        \xba\xae\xdc\xe6\xaf\x48\xa0\x3b\xbf\xd2\x5e\x8c\xd0\x36\x41\x41";
    let mut bytes = *signature.as_bytes();
    let [_, s @ .., v] = &mut bytes;
    let mut borrow = false;
    for (s, order) in s.iter_mut().rev().take(32).zip(ORDER.iter().rev()) {
        let (less, under) = order.overflowing_sub(*s);
        let (less, under_by_one) = less.overflowing_sub(u8::from(borrow));
        (*s, borrow) = (less, under || under_by_one);
    }
    *v = 55 - *v;
    TreasurySignature::from_bytes(bytes)
}

fn set(items: &mut [OwedAccount], at: usize, change: impl FnOnce(&mut OwedAccount)) {
    if let Some(item) = items.get_mut(at) {
        change(item);
    }
}
