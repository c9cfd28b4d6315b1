//! Whatever a node shows, nothing is signed that is not final, and never two roots for one settlement.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use lucid_consensus::ledger::pool::{PoolState, VaultChange};
use lucid_consensus::ledger::proof::RowProof;
use lucid_consensus::ledger::table::{Heads, Pools};
use lucid_tron_bridge::signature::recover;
use lucid_tron_bridge::vault::{VaultDomain, limits_digest, root_digest, signers_digest};
use lucid_types::amount::MicroUsdt;
use lucid_types::codec::{decode, encode};
use lucid_types::id::{Hash, NetworkId, PayoutAddress};
use lucid_types::payout::SettlementRoot;
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::proof::OtherLeaf;
use lucid_types::vault::SignerSet;
use lucid_types::vote::VoteKind;

use super::*;
use crate::signer::fixture::{Chain, change, limits, put_change, put_vault, set_of, signers, start, tron_key};
use crate::signer::watermark::Places;

/// A signer with key `n` in a folder of its own.
struct Bench {
    chain: Chain,
    folder: tempfile::TempDir,
    key: u8,
    core: SignerCore,
}

impl Bench {
    fn new(key: u8) -> Self {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let address = tron_key(key).address();
        WatermarkFile::create(&Disk, &places(&folder), address, Some(*chain.spec.id())).unwrap();
        let core = open(&chain, &folder, key);
        Self { chain, folder, key, core }
    }

    /// Another process on the same files.
    fn restart(&mut self) {
        self.core = open(&self.chain, &self.folder, self.key);
    }

    /// Another process that has lost what it was shown, but not what it has signed.
    fn restart_without_rows(&mut self) {
        std::fs::remove_file(self.folder.path().join("shown")).unwrap();
        self.restart();
    }

    fn ask(&mut self, ask: Ask) -> SignerReply {
        let request = SignerRequest { network: *self.chain.spec.id(), ask };
        check(&self.chain.spec, &self.core.sets().clone(), request)
            .map_or_else(|refusal| refusal, |checked| self.core.answer(&checked))
    }

    fn sign(&mut self, request: CosignRequest, proof: PoolProof) -> SignerReply {
        self.ask(Ask::Sign { request, proof: Box::new(proof) })
    }

    /// Shows a row and asks for what it holds.
    fn sign_in(&mut self, request: CosignRequest, height: u64, row: &PoolState) -> SignerReply {
        let proof = self.chain.proof(height, row);
        self.sign(request, proof)
    }

    fn request(&self, settlement: u64) -> CosignRequest {
        CosignRequest::Root { pool: self.chain.pool, settlement }
    }

    fn signers(&self, nonce: u32) -> CosignRequest {
        CosignRequest::Signers { pool: self.chain.pool, nonce }
    }

    fn limits(&self, nonce: u32) -> CosignRequest {
        CosignRequest::Limits { pool: self.chain.pool, nonce }
    }

    /// Asks for the root, which is the newest one of the pool after the block of this height.
    fn root_at(&mut self, height: u64, root: SettlementRoot) -> SignerReply {
        let row = self.chain.row(Some(root));
        self.sign_in(self.request(root.settlement), height, &row)
    }

    /// Shows a row without asking for anything that it holds.
    #[track_caller]
    fn show(&mut self, height: u64, row: &PoolState) {
        let reason = refusal(self.sign_in(self.request(99), height, row));
        assert!(reason.contains("payout root"), "{reason}");
    }

    fn domain(&self) -> VaultDomain {
        VaultDomain::new(&self.chain.spec.genesis().tron.genesis_block, self.chain.root(1, 1).vault)
    }
}

fn places(folder: &tempfile::TempDir) -> Places {
    Places { file: folder.path().join("watermark"), copy: folder.path().join("watermark.copy") }
}

fn open(chain: &Chain, folder: &tempfile::TempDir, key: u8) -> SignerCore {
    let (network, key) = (Arc::clone(&chain.spec), tron_key(key));
    let watermark = WatermarkFile::open(Disk, places(folder), key.address(), *network.id()).unwrap();
    let shown = ShownPools::open(Disk, &folder.path().join("shown"), *network.id()).unwrap();
    let sets = LearnedSets::open(Disk, &folder.path().join("validators"), &network).unwrap();
    SignerCore::new(network, key, watermark, shown, sets)
}

#[track_caller]
fn signature(reply: SignerReply) -> TreasurySignature {
    match reply {
        SignerReply::Signed(signature) => signature,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refusal(reply: SignerReply) -> String {
    match reply {
        SignerReply::Refused(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_proved_root_is_signed_for_its_vault_and_again_with_the_same_bytes() {
    let mut bench = Bench::new(2);
    let root = bench.chain.root(1, 100);
    let first = signature(bench.root_at(4, root));
    assert_eq!(recover(&first, &root_digest(&bench.domain(), &root)), Ok(tron_key(2).address()));
    assert_eq!(signature(bench.root_at(4, root)), first);
    assert_eq!(signature(bench.root_at(9, root)), first, "a later state that has it still");
    bench.restart();
    assert_eq!(signature(bench.root_at(4, root)), first, "and an earlier one");
    let status =
        SignerStatus { address: tron_key(2).address(), pools: vec![(bench.chain.pool, 1)], sets_through: Height::ZERO };
    assert_eq!(bench.ask(Ask::Status), SignerReply::Status(status));
}

#[test]
fn nothing_is_signed_that_the_validators_did_not_decide() {
    let mut bench = Bench::new(1);
    let (root, request) = (bench.chain.root(1, 100), bench.request(1));
    let state = bench.chain.state(4, &bench.chain.row(Some(root)));
    let prove = |block| PoolProof::new(&state, &block, &bench.chain.pool).unwrap();
    let by = |validators: &[u8]| prove(bench.chain.certified(bench.chain.header(&state), validators));
    let good = by(&[1, 2, 3]);

    let mut none = good.clone();
    none.proof.block.certificate.signatures.clear();
    let mut wrong = good.clone();
    wrong.proof.block.certificate.signatures[1].1 = good.proof.block.certificate.signatures[0].1;
    let mut other_height = good.clone();
    other_height.proof.block.certificate.height = Height::new(5);
    // A header of a state in which the thief's row is.
    let thief = bench.chain.state(4, &bench.chain.row(Some(SettlementRoot { total: MicroUsdt::new(101), ..root })));
    let mut other_header = PoolProof::new(&thief, &good.proof.block, &bench.chain.pool).unwrap();
    other_header.proof.block.header.state_root = thief.root();
    let mut rehashed = other_header.clone();
    rehashed.proof.block.certificate.block = rehashed.proof.block.header.hash();
    let prevotes = prove(bench.chain.signed(bench.chain.header(&state), &[1, 2, 3], VoteKind::Prevote));
    for (forged, why) in [
        (by(&[1, 2]), "power 2 of 4"),
        (none, "power 0 of 4"),
        (by(&[1, 2, 2]), "not in ascending order"),
        (by(&[1, 2, 77]), "is no validator"),
        (wrong, "is wrong"),
        (prevotes, "is wrong"),
        (other_height, "for another block"),
        (other_header, "for another block"),
        (rehashed, "is wrong"),
    ] {
        let reason = refusal(bench.sign(request, forged));
        assert!(reason.contains("is not proved by this signer's validators") && reason.contains(why), "{reason}");
    }
    let proof = Box::new(good.clone());
    let elsewhere = SignerRequest { network: NetworkId::from_bytes([9; 32]), ask: Ask::Sign { request, proof } };
    let reason = refusal(check(&bench.chain.spec, bench.core.sets(), elsewhere).unwrap_err());
    assert!(reason.contains("give both the same genesis"), "{reason}");
    assert!(bench.core.shown.get(&bench.chain.pool).is_none(), "nothing of it was believed");
    signature(bench.sign(request, good));
}

/// The same validators, the same pool, the same row: only the network is another.
#[test]
fn a_proof_of_another_network_proves_nothing() {
    let mut bench = Bench::new(1);
    let other = {
        let mut start = start();
        start.genesis.name = "other".to_owned();
        Chain::of(&start)
    };
    let row = other.row(Some(bench.chain.root(1, 100)));
    let reason = refusal(bench.sign(bench.request(1), other.proof(4, &row)));
    assert!(reason.contains("the signature of") && reason.contains("is wrong"), "{reason}");
    // Had the validators signed it for this network, the row would still be of another pool: its id is of the other network.
    let state = other.state(4, &row);
    let block = bench.chain.certified(other.header(&state), &[1, 2, 3]);
    let reason = refusal(bench.sign(bench.request(1), PoolProof::new(&state, &block, &other.pool).unwrap()));
    assert!(reason.contains("does not have this row of pool"), "{reason}");
}

#[test]
fn a_row_that_is_not_in_the_state_is_refused() {
    let mut bench = Bench::new(1);
    let (chain, request) = (&bench.chain, bench.request(1));
    let row = chain.row(Some(chain.root(1, 100)));
    let good = chain.proof(4, &row);

    let mut other_row = good.clone();
    other_row.pool.newest.as_mut().unwrap().total = MicroUsdt::new(101);
    let mut cut = good.clone();
    cut.proof.path.steps.pop();
    let mut turned = good.clone();
    turned.proof.path.steps[0].bit += 1;
    // The row is there, and this says that it is not.
    let mut absent = good.clone();
    absent.proof.path.other = Some(OtherLeaf { key: vec![9], value: Hash::from_bytes([9; 32]) });
    // The row is not there, and the proof of that is right.
    let state = chain.state(4, &row).changed(|rows| rows.remove::<Pools>(&chain.pool));
    let block = chain.certified(chain.header(&state), &[1, 2, 3]);
    let path = RowProof::new::<Pools>(&state, block, &chain.pool);
    path.check::<Pools>(chain.spec.id(), &chain.spec.first_sets(), &chain.pool, None).unwrap();
    let removed = PoolProof { pool: row.clone(), proof: path };
    // The path of another table's row.
    let state = chain.state(4, &row);
    let block = chain.certified(chain.header(&state), &[1, 2, 3]);
    let other_table = PoolProof { pool: row, proof: RowProof::new::<Heads>(&state, block, &()) };
    for forged in [other_row, cut, turned, absent, removed, other_table] {
        let reason = refusal(bench.sign(request, forged));
        assert!(reason.contains("the state after block 4 does not have this row of pool"), "{reason}");
    }
    signature(bench.sign(request, good));
}

/// Two pools of one signer: the row of one says nothing of the other, however it is presented.
#[test]
fn a_proof_of_another_pool_proves_nothing() {
    let mut bench = Bench::new(1);
    let mut two = start();
    let mut second = two.pools[0].clone();
    second.name = "second".to_owned();
    second.vault.address = PayoutAddress::from_hash20([77; 20]);
    two.pools.push(second);
    bench.chain = Chain::of(&two);
    std::fs::remove_file(places(&bench.folder).file).unwrap();
    std::fs::remove_file(places(&bench.folder).copy).unwrap();
    WatermarkFile::create(&Disk, &places(&bench.folder), tron_key(1).address(), None).unwrap();
    bench.restart();
    let second = PoolId::derive(bench.chain.spec.id(), "second");
    let proof = bench.chain.proof(4, &bench.chain.row(Some(bench.chain.root(1, 100))));
    let elsewhere = CosignRequest::Root { pool: second, settlement: 1 };
    let reason = refusal(bench.sign(elsewhere, proof.clone()));
    assert!(reason.contains(&format!("does not have this row of pool {second}")), "{reason}");
    // A state in which the second pool's row is the first one's, newest root and all.
    let state = bench.chain.first.changed(|rows| {
        rows.head.height = Height::new(5);
        rows.put::<Pools>(&second, proof.pool.clone());
    });
    let block = bench.chain.certified(bench.chain.header(&state), &[1, 2, 3]);
    let reason = refusal(bench.sign(elsewhere, PoolProof::new(&state, &block, &second).unwrap()));
    assert!(reason.contains(&format!("this signer signs for pool {second}")), "{reason}");
    signature(bench.sign(bench.request(1), proof));
    assert_eq!(bench.core.status().pools.len(), 2);
}

/// What the vault checks does not name the pool: of two pools that name one vault, the second gets nothing.
#[test]
fn a_vault_is_signed_for_as_one_pools_alone() {
    let mut bench = Bench::new(1);
    let root = bench.chain.root(1, 100);
    signature(bench.root_at(4, root));
    let thief = PoolId::derive(bench.chain.spec.id(), "thief");
    let stolen = SettlementRoot {
        pool: thief,
        settlement: 2,
        total: MicroUsdt::new(900),
        promised: MicroUsdt::new(900),
        ..root
    };
    let row = |vault| {
        let mut row = PoolState { settled: 2, name: "thief".to_owned(), ..bench.chain.row(None) };
        row.vault.address = vault;
        row.newest = Some(SettlementRoot { vault, ..stolen });
        row
    };
    let show = |chain: &Chain, row: PoolState| {
        let state = chain.first.changed(|rows| {
            rows.head.height = Height::new(5);
            rows.put::<Pools>(&thief, row);
        });
        PoolProof::new(&state, &chain.certified(chain.header(&state), &[1, 2, 3]), &thief).unwrap()
    };
    let request = CosignRequest::Root { pool: thief, settlement: 2 };
    let (same, own) =
        (show(&bench.chain, row(root.vault)), show(&bench.chain, row(PayoutAddress::from_hash20([77; 20]))));
    // Its file of rows may be lost: what it has signed is in another.
    for _ in 0..2 {
        assert_eq!(refusal(bench.sign(request, same.clone())), "the signer failed; its log says why");
        bench.restart_without_rows();
    }
    signature(bench.sign(request, own));
}

/// A pool with which the key has nothing to do leaves no trace, and the first row that names the key makes it known.
#[test]
fn a_pool_is_known_by_the_first_proved_row_that_names_the_key() {
    let mut bench = Bench::new(4);
    let root = bench.chain.root(1, 100);
    let reason = refusal(bench.root_at(3, root));
    assert!(reason.contains("is not a signer of era 1"), "{reason}");
    assert!(bench.core.shown.get(&bench.chain.pool).is_none() && !bench.folder.path().join("shown").exists());
    let mut row = bench.chain.row(Some(SettlementRoot { era: 2, vault: PayoutAddress::from_hash20([55; 20]), ..root }));
    row.vault.address = PayoutAddress::from_hash20([55; 20]);
    put_change(&mut row, 0, change(signers(1, 2), set_of(2, 2, &[2, 3, 4])));
    let made = signature(bench.sign_in(bench.request(1), 4, &row));
    let domain = VaultDomain { vault: row.vault.address, ..bench.domain() };
    assert_eq!(recover(&made, &root_digest(&domain, &row.newest.unwrap())), Ok(tron_key(4).address()));
    assert_eq!(bench.core.status().pools, [(bench.chain.pool, 2)]);
    // A row with another vault that does not follow this one is of no history with it, and what was signed keeps the key from signing.
    let other = PayoutAddress::from_hash20([56; 20]);
    let mut moved = PoolState { settled: 2, commands: row.commands + 1, ..row.clone() };
    moved.vault.address = other;
    moved.newest = Some(SettlementRoot { settlement: 2, vault: other, ..row.newest.unwrap() });
    let reason = refusal(bench.sign_in(bench.request(2), 6, &moved));
    assert!(reason.contains("cannot both be of one chain"), "{reason}");
    bench.restart_without_rows();
    let reason = refusal(bench.sign_in(bench.request(2), 6, &moved));
    assert!(reason.contains(&row.vault.address.to_string()), "{reason}");
}

/// A vault that a command has named is signed for, and nothing is for the one before it any more, whatever the node shows.
#[test]
fn another_vault_takes_over_for_good() {
    let mut bench = Bench::new(1);
    let mut first = bench.chain.row(Some(bench.chain.root(1, 100)));
    put_change(&mut first, 0, change(signers(1, 2), limits(5)));
    signature(bench.sign_in(bench.request(1), 3, &first));
    signature(bench.sign_in(bench.limits(0), 3, &first));
    let next = PayoutAddress::from_hash20([55; 20]);
    let mut second = first.clone();
    put_vault(&mut second, next, signers(1, 2));
    // The newest root, issued again for the next vault.
    let root = second.newest.unwrap();
    let made = signature(bench.sign_in(bench.request(1), 5, &second));
    let domain = VaultDomain { vault: next, ..bench.domain() };
    assert_eq!(recover(&made, &root_digest(&domain, &root)), Ok(tron_key(1).address()));
    // Its changes are numbered anew.
    let mut changed = second.clone();
    put_change(&mut changed, 0, change(signers(1, 2), limits(9)));
    signature(bench.sign_in(bench.limits(0), 6, &changed));

    let mut later = PoolState { settled: 2, ..first.clone() };
    later.newest = Some(bench.chain.root(2, 150));
    for forget in [false, true] {
        if forget {
            bench.restart_without_rows();
        }
        for (request, row) in [(bench.request(1), &first), (bench.request(2), &later), (bench.limits(0), &first)] {
            refusal(bench.sign_in(request, 4, row));
        }
    }
    // Sums go on from one vault to the next: none is signed that promises less, or more than the pool has put up.
    let mut bench_of = |total: u64, promised: u64| {
        let mut row = changed.clone();
        let root = SettlementRoot { settlement: 2, promised: MicroUsdt::new(promised), ..bench.chain.root(2, total) };
        row.newest = Some(SettlementRoot { vault: next, ..root });
        row.settled = 2;
        row.commands += 1;
        bench.restart_without_rows();
        bench.sign_in(bench.request(2), 8, &row)
    };
    assert!(refusal(bench_of(99, 100)).contains("the total fell from"));
    assert!(refusal(bench_of(201, 200)).contains("grew by"));
    signature(bench_of(150, 150));
}

/// The vaults of a pool are one row of successors: each row that was shown is on it, before or after the newest.
#[test]
fn a_vault_that_comes_back_or_is_left_out_is_of_another_history() {
    let mut bench = Bench::new(1);
    let [second, third] = [55, 56].map(|n| PayoutAddress::from_hash20([n; 20]));
    let rows: Vec<_> = std::iter::successors(Some(bench.chain.row(Some(bench.chain.root(1, 100)))), |row| {
        let mut next = row.clone();
        put_vault(&mut next, if row.former_vaults.is_empty() { second } else { third }, signers(1, 2));
        Some(next)
    })
    .take(3)
    .collect();
    signature(bench.sign_in(bench.request(1), 4, &rows[1]));
    let mut wrong = rows[2].clone();
    wrong.former_vaults = vec![rows[0].vault.address];
    let mut back = rows[2].clone();
    (back.vault.address, back.newest) = (rows[0].vault.address, rows[0].newest);
    for row in [&wrong, &back] {
        let reason = refusal(bench.sign_in(bench.request(1), 6, row));
        assert!(reason.contains("cannot both be of one chain"), "{reason}");
    }
    signature(bench.sign_in(bench.request(1), 6, &rows[2]));
}

#[test]
fn what_the_row_does_not_hold_is_not_signed() {
    let mut bench = Bench::new(1);
    let mut row = bench.chain.row(Some(bench.chain.root(1, 100)));
    put_change(&mut row, 0, change(signers(1, 2), limits(5)));
    let proof = bench.chain.proof(4, &row);
    let other_pool = PoolId::from_bytes([9; 32]);
    for (request, wanted) in [
        (bench.request(2), "the newest payout root of this pool after block 4 is of settlement 1, not 2"),
        (CosignRequest::Root { pool: other_pool, settlement: 1 }, "does not have this row of pool"),
        (bench.signers(0), "no change 0 of signers is among the newest 4"),
        (bench.signers(1), "no change 1 of signers"),
        (bench.limits(1), "no change 1 of limits"),
    ] {
        let reason = refusal(bench.sign(request, proof.clone()));
        assert!(reason.contains(wanted), "{reason}");
    }
    let mut bench = Bench::new(1);
    let row = bench.chain.row(None);
    let reason = refusal(bench.sign_in(bench.request(1), 4, &row));
    assert!(reason.contains("has no payout root after block 4"), "{reason}");
}

#[test]
fn no_second_root_no_older_settlement_and_no_smaller_total() {
    let mut bench = Bench::new(1);
    signature(bench.root_at(8, bench.chain.root(2, 100)));
    bench.restart_without_rows();
    // Two thirds of the validators certified each of these: finality itself was forged.
    let forged = |bench: &mut Bench, root: SettlementRoot| {
        let row = PoolState { settled: 2, ..bench.chain.row(Some(root)) };
        refusal(bench.sign_in(bench.request(root.settlement), 9, &row))
    };
    let other = SettlementRoot { root: PayoutRoot::from_bytes([99; 32]), ..bench.chain.root(2, 100) };
    let smaller = bench.chain.root(2, 99);
    let older = bench.chain.root(1, 100);
    for (root, wanted) in
        [(other, "two states differ"), (smaller, "the total fell from"), (older, "older than settlement 2")]
    {
        let reason = forged(&mut bench, root);
        assert!(reason.contains(wanted), "{reason}");
        bench.restart_without_rows();
    }
    // As after losses were booked: the same root with a higher total.
    let raised = PoolState { commands: 1, ..bench.chain.row(Some(bench.chain.root(2, 150))) };
    signature(bench.sign_in(bench.request(2), 10, &raised));
    let reason = refusal(bench.root_at(8, bench.chain.root(2, 100)));
    assert!(reason.contains("block 10 was shown before, after which the pool has a newer root"), "{reason}");
    bench.restart_without_rows();
    let reason = refusal(bench.root_at(8, bench.chain.root(2, 100)));
    assert!(reason.contains("the total fell from"), "{reason}");
}

#[test]
fn a_root_is_not_signed_once_a_newer_one_was_shown() {
    let mut bench = Bench::new(1);
    let raised = PoolState { commands: 1, ..bench.chain.row(Some(bench.chain.root(1, 120))) };
    bench.show(5, &raised);
    for _ in 0..2 {
        let reason = refusal(bench.root_at(4, bench.chain.root(1, 100)));
        assert!(reason.contains("block 5 was shown before"), "{reason}");
        assert!(reason.contains("of settlement 1 and era 1"), "{reason}");
        bench.restart();
    }
    signature(bench.sign_in(bench.request(1), 5, &raised));
    // An older state that says the same is as good.
    signature(bench.sign_in(bench.request(1), 4, &raised));

    // Nothing was signed of era 1 here. Its signers were replaced since, which the signer has seen.
    let mut bench = Bench::new(2);
    let old = bench.chain.row(Some(bench.chain.root(1, 100)));
    let mut replaced = bench.chain.row(Some(SettlementRoot { era: 2, ..bench.chain.root(1, 100) }));
    put_change(&mut replaced, 0, change(signers(1, 2), set_of(2, 2, &[1, 3, 4])));
    bench.show(7, &replaced);
    bench.restart();
    let reason = refusal(bench.sign_in(bench.request(1), 6, &old));
    assert!(reason.contains("block 7 was shown before") && reason.contains("era 2"), "{reason}");
    // Without that memory it would have been signed: the rows are what prevents it.
    bench.restart_without_rows();
    signature(bench.sign_in(bench.request(1), 6, &old));
}

#[test]
fn a_change_of_signers_is_signed_by_those_whom_it_replaces() {
    let next = set_of(2, 2, &[2, 3, 4]);
    // Key 1 leaves, key 2 stays, key 4 comes.
    for (key, signs_change, signs_root) in [(1, true, false), (2, true, true), (4, false, true)] {
        let mut bench = Bench::new(key);
        let root = SettlementRoot { era: 2, ..bench.chain.root(1, 100) };
        let mut row = bench.chain.row(Some(root));
        put_change(&mut row, 0, change(signers(1, 2), next.clone()));
        for height in [3, 5] {
            match bench.sign_in(bench.signers(0), height, &row) {
                SignerReply::Signed(made) => {
                    let digest = signers_digest(&bench.domain(), 1, 0, &next);
                    assert!(signs_change && recover(&made, &digest) == Ok(tron_key(key).address()));
                }
                other => assert!(!signs_change && refusal(other).contains("is not a signer of era 1")),
            }
            match bench.sign_in(bench.request(1), height, &row) {
                SignerReply::Signed(_) => assert!(signs_root),
                other => assert!(!signs_root && refusal(other).contains("is not a signer of era 2")),
            }
            // Who leaves is a signer until nothing is left for it to sign.
            assert_eq!(bench.core.status().pools, [(bench.chain.pool, 2)]);
            bench.restart();
        }
    }
}

/// The signer was never shown the eras between: the state names those who sign.
#[test]
fn a_root_of_a_later_era_needs_no_chain_of_changes() {
    let mut bench = Bench::new(1);
    let root = SettlementRoot { era: 3, ..bench.chain.root(1, 100) };
    let mut row = bench.chain.row(Some(root));
    put_change(&mut row, 0, change(signers(1, 2), signers(2, 3)));
    put_change(&mut row, 1, change(signers(2, 3), signers(3, 2)));
    let made = signature(bench.sign_in(bench.request(1), 6, &row));
    assert_eq!(recover(&made, &root_digest(&bench.domain(), &root)), Ok(tron_key(1).address()));
    assert_eq!(bench.core.status().pools, [(bench.chain.pool, 3)]);
    signature(bench.sign_in(bench.signers(0), 6, &row));
    // A row that contradicts itself is not one of an honest chain; the rules refuse it all the same.
    let mut forged = PoolState { settled: 2, newest: Some(bench.chain.root(2, 100)), ..row.clone() };
    let reason = refusal(bench.sign_in(bench.request(2), 7, &forged));
    assert!(reason.contains("those of era 3 are in force"), "{reason}");
    // Change 0 is no longer among the newest.
    forged.newest = row.newest;
    forged.commands += 1;
    forged.changes.remove(&0);
    bench.show(8, &forged);
    let reason = refusal(bench.sign_in(bench.signers(0), 6, &row));
    assert!(reason.contains("block 8 was shown before, after which the pool's row does not hold this"), "{reason}");
}

#[test]
fn limits_are_signed_by_the_signers_of_their_era_even_after_a_rotation() {
    let mut bench = Bench::new(1);
    let next = limits(5_000);
    let mut row = bench.chain.row(None);
    put_change(&mut row, 0, change(signers(1, 2), next));
    let second = set_of(2, 2, &[2, 3, 4]);
    put_change(&mut row, 1, change(signers(1, 2), second.clone()));
    put_change(&mut row, 2, change(second, next));

    let made = signature(bench.sign_in(bench.limits(0), 5, &row));
    assert_eq!(recover(&made, &limits_digest(&bench.domain(), 1, 0, &next)), Ok(tron_key(1).address()));
    assert!(refusal(bench.sign_in(bench.limits(2), 5, &row)).contains("is not a signer of era 2"));

    let mut forged = row.clone();
    forged.changes.insert(0, change(signers(1, 2), limits(9)));
    assert!(refusal(bench.sign_in(bench.limits(0), 6, &forged)).contains("certified two histories"));
    bench.restart_without_rows();
    assert!(refusal(bench.sign_in(bench.limits(0), 6, &forged)).contains("another change with the number 0"));
    bench.restart_without_rows();
    assert_eq!(signature(bench.sign_in(bench.limits(0), 5, &row)), made);
}

#[test]
fn two_histories_are_an_alarm() {
    let mut bench = Bench::new(1);
    let with = |bench: &Bench, next: SignerSet| {
        let mut row = bench.chain.row(Some(SettlementRoot { era: 2, ..bench.chain.root(1, 100) }));
        put_change(&mut row, 0, change(signers(1, 2), next));
        row
    };
    let row = with(&bench, signers(2, 2));
    bench.show(3, &row);
    let other_signers = with(&bench, signers(2, 3));
    let other_change = {
        let VaultChange { next, .. } = row.changes[&0].clone();
        let mut other = row.clone();
        other.changes.insert(0, VaultChange { by: signers(1, 3), next });
        other
    };
    let fewer_commands = PoolState { commands: 0, ..row.clone() };
    let older_settlement = PoolState { settled: 0, ..row.clone() };
    for (height, forged) in [
        (3, PoolState { budgets: MicroUsdt::new(1), ..row.clone() }),
        (4, other_signers.clone()),
        (2, other_signers),
        (4, other_change),
        (4, fewer_commands),
        (4, older_settlement),
        (4, bench.chain.row(row.newest)),
        (2, PoolState { settled: 2, ..row.clone() }),
    ] {
        let reason = refusal(bench.sign_in(bench.request(1), height, &forged));
        assert!(reason.contains("certified two histories"), "{height}: {reason}");
        bench.restart();
    }
    signature(bench.sign_in(bench.request(1), 3, &row));
}

#[test]
fn a_watermark_that_goes_back_in_time_stops_the_signer() {
    let mut bench = Bench::new(1);
    let Places { file, copy } = places(&bench.folder);
    let empty = std::fs::read(&file).unwrap();
    signature(bench.root_at(4, bench.chain.root(1, 100)));
    let newest = std::fs::read(&file).unwrap();
    // The whole folder was restored while the process runs.
    std::fs::write(&file, &empty).unwrap();
    std::fs::write(&copy, &empty).unwrap();
    let reason = refusal(bench.root_at(5, bench.chain.root(2, 200)));
    assert!(reason.contains("record 0, but record 1 was made"), "{reason}");
    // The file only.
    std::fs::write(&copy, &newest).unwrap();
    assert!(refusal(bench.root_at(5, bench.chain.root(2, 200))).contains("record 0, but record 1 was made"));
    let network = *bench.chain.spec.id();
    let opened = WatermarkFile::open(Disk, places(&bench.folder), tron_key(1).address(), network);
    assert!(matches!(opened, Err(WatermarkError::RolledBack { found: 0, newest: 1 })));
    // A disk that is gone: no signature, and no reason that tells a peer about it.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(refusal(bench.root_at(5, bench.chain.root(2, 200))), "the signer failed; its log says why");
    std::fs::write(&file, &newest).unwrap();
    signature(bench.root_at(5, bench.chain.root(2, 200)));
}

/// Whichever byte of an honest proof is changed: nothing is signed but what was proved.
#[test]
fn no_changed_byte_of_a_proof_is_signed() {
    let mut bench = Bench::new(1);
    let good = bench.chain.proof(4, &bench.chain.row(Some(bench.chain.root(1, 100))));
    let bytes = encode(&good);
    let mut n_refused = 0;
    for place in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[place] ^= 1;
        let Ok(changed) = decode::<PoolProof>(&bytes) else { continue };
        let reason = refusal(bench.sign(bench.request(1), changed));
        assert!(reason.contains("is not proved by") || reason.contains("does not have this row"), "{place}: {reason}");
        n_refused += 1;
    }
    assert!(n_refused > bytes.len() / 2, "most of them are proofs of something");
    signature(bench.sign(bench.request(1), good));
}
