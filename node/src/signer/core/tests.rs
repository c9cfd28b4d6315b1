//! Whatever a node shows, nothing is signed that is not final, and never two roots for one settlement.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use lucid_tron_bridge::signature::recover;
use lucid_tron_bridge::vault::{limits_digest, root_digest, signers_digest};
use lucid_types::amount::MicroUsdt;
use lucid_types::genesis::SignerSet;
use lucid_types::id::NetworkId;
use lucid_types::payout::{PoolCommand, SettlementRoot};
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::vote::VoteKind;

use super::*;
use crate::signer::fixture::{Chain, command, limits, set_of, signers, tron_key, validator};
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

    fn ask(&mut self, ask: Ask) -> SignerReply {
        let request = SignerRequest { network: *self.chain.spec.id(), ask };
        check(&self.chain.spec, request).map_or_else(|refusal| refusal, |checked| self.core.answer(&checked))
    }

    fn sign(&mut self, request: CosignRequest, decided: CertifiedBlock) -> SignerReply {
        self.ask(Ask::Sign { request, decided: Box::new(decided) })
    }

    fn show(&mut self, decided: CertifiedBlock) -> SignerReply {
        self.ask(Ask::Note(Box::new(decided)))
    }

    fn request(&self, settlement: u64) -> CosignRequest {
        CosignRequest::Root { pool: self.chain.pool, settlement }
    }

    /// Asks for the root in a block of its own.
    fn root_at(&mut self, height: u64, root: SettlementRoot) -> SignerReply {
        let decided = self.chain.certified(height, vec![root], vec![]);
        self.sign(self.request(root.settlement), decided)
    }

    fn domain(&self) -> VaultDomain {
        VaultDomain::new(&self.chain.spec.genesis().tron.genesis_block, self.chain.root(1, 1).vault)
    }

    fn rotation(&self, nonce: u32, next: SignerSet) -> PoolCommand {
        command(self.chain.pool, PoolChange::Signers { nonce, next })
    }
}

fn places(folder: &tempfile::TempDir) -> Places {
    Places { file: folder.path().join("watermark"), copy: folder.path().join("watermark.copy") }
}

fn open(chain: &Chain, folder: &tempfile::TempDir, key: u8) -> SignerCore {
    let (network, key) = (Arc::clone(&chain.spec), tron_key(key));
    let watermark = WatermarkFile::open(Disk, places(folder), key.address(), *network.id()).unwrap();
    let sets = SignerSets::open(Disk, &folder.path().join("signers"), &network).unwrap();
    SignerCore::new(network, key, watermark, sets)
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
fn a_certified_root_is_signed_for_its_vault_and_again_with_the_same_bytes() {
    let mut bench = Bench::new(2);
    let root = bench.chain.root(1, 100);
    let first = signature(bench.root_at(4, root));
    assert_eq!(recover(&first, &root_digest(&bench.domain(), &root)), Ok(tron_key(2).address()));
    assert_eq!(signature(bench.root_at(4, root)), first);
    bench.restart();
    assert_eq!(signature(bench.root_at(4, root)), first);
    let status = SignerStatus { address: tron_key(2).address(), pools: vec![(bench.chain.pool, 1)] };
    assert_eq!(bench.ask(Ask::Status), SignerReply::Status(status));
}

#[test]
fn nothing_is_signed_that_the_validators_did_not_decide() {
    let mut bench = Bench::new(1);
    let (root, request) = (bench.chain.root(1, 100), bench.request(1));
    let block = || bench.chain.block(4, vec![root], vec![]);
    let good = bench.chain.certified_by(block(), &[1, 2, 3]);

    let two_of_four = bench.chain.certified_by(block(), &[1, 2]);
    let stranger = bench.chain.certified_by(block(), &[1, 2, 77]);
    let mut none = good.clone();
    none.certificate.signatures.clear();
    let mut other_content = good.clone();
    other_content.block.header.payout_roots[0].total = MicroUsdt::new(101);
    let mut rehashed = other_content.clone();
    rehashed.certificate.block = rehashed.block.hash();
    let mut other_height = good.clone();
    other_height.certificate.height = Height::new(5);
    let mut prevotes = good.clone();
    let vote = lucid_types::vote::Vote { kind: VoteKind::Prevote, ..prevotes.certificate.vote() };
    for (n, (_, signature)) in prevotes.certificate.signatures.iter_mut().enumerate() {
        let signer = good.certificate.signatures[n].0;
        let key = (1..=3).map(validator).find(|key| key.node_id() == signer).unwrap();
        *signature = key.sign_vote(bench.chain.spec.id(), vote).into_inner().signature;
    }
    for forged in [two_of_four, stranger, none, other_content, rehashed, other_height, prevotes] {
        let reason = refusal(bench.sign(request, forged.clone()));
        assert!(reason.contains("is not proved by this signer's validators"), "{reason}");
        assert_eq!(refusal(bench.show(forged)), reason);
    }
    let elsewhere = SignerRequest {
        network: NetworkId::from_bytes([9; 32]),
        ask: Ask::Sign { request, decided: Box::new(good.clone()) },
    };
    let reason = refusal(check(&bench.chain.spec, elsewhere).unwrap_err());
    assert!(reason.contains("give both the same genesis"), "{reason}");
    signature(bench.sign(request, good));
}

#[test]
fn what_the_block_does_not_hold_is_not_signed() {
    let mut bench = Bench::new(1);
    let pool = bench.chain.pool;
    let block = bench.chain.certified(4, vec![bench.chain.root(1, 100)], vec![bench.rotation(0, signers(2, 2))]);
    let other_pool = PoolId::from_bytes([9; 32]);
    for (request, wanted) in [
        (bench.request(2), "issues no payout root of settlement 2"),
        (CosignRequest::Root { pool: other_pool, settlement: 1 }, "has no such pool"),
        (CosignRequest::Signers { pool, nonce: 1 }, "holds no such change 1"),
        (CosignRequest::Limits { pool, nonce: 0 }, "holds no such change 0"),
    ] {
        let reason = refusal(bench.sign(request, block.clone()));
        assert!(reason.contains(wanted), "{reason}");
    }
}

#[test]
fn no_second_root_no_older_settlement_and_no_smaller_total() {
    let mut bench = Bench::new(1);
    signature(bench.root_at(8, bench.chain.root(2, 100)));
    bench.restart();
    // Two thirds of the validators certified each of these: finality itself was forged.
    let other = SettlementRoot { root: PayoutRoot::from_bytes([99; 32]), ..bench.chain.root(2, 100) };
    let reason = refusal(bench.root_at(9, other));
    assert!(reason.contains("two states differ"), "{reason}");
    let reason = refusal(bench.root_at(9, bench.chain.root(2, 99)));
    assert!(reason.contains("the total fell from"), "{reason}");
    let reason = refusal(bench.root_at(9, bench.chain.root(1, 100)));
    assert!(reason.contains("older than settlement 2"), "{reason}");
    // As after losses were booked: the same root with a higher total.
    let raised = bench.chain.root(2, 150);
    signature(bench.root_at(10, raised));
    let reason = refusal(bench.root_at(8, bench.chain.root(2, 100)));
    assert!(reason.contains("has issued a newer root"), "{reason}");
}

#[test]
fn a_root_is_not_signed_once_a_newer_one_was_shown() {
    let mut bench = Bench::new(1);
    let raised = bench.chain.certified(5, vec![bench.chain.root(1, 120)], vec![]);
    assert_eq!(bench.show(raised.clone()), SignerReply::Noted);
    let reason = refusal(bench.root_at(4, bench.chain.root(1, 100)));
    assert!(reason.contains("block 5 has issued a newer root, of settlement 1"), "{reason}");
    signature(bench.sign(bench.request(1), raised));
}

#[test]
fn a_rotation_is_followed_block_by_block() {
    let mut bench = Bench::new(1);
    let pool = bench.chain.pool;
    let second = bench.chain.certified(3, vec![], vec![bench.rotation(0, signers(2, 3))]);
    let third = bench.chain.certified(5, vec![], vec![bench.rotation(1, signers(3, 2))]);
    let root = SettlementRoot { era: 3, ..bench.chain.root(1, 100) };
    let carrier = bench.chain.certified(6, vec![root], vec![]);
    let ask = |bench: &mut Bench| bench.sign(bench.request(1), carrier.clone());

    assert_eq!(ask(&mut bench), SignerReply::MissingEra { pool, era: 2 });
    assert_eq!(bench.show(third.clone()), SignerReply::Noted);
    assert_eq!(ask(&mut bench), SignerReply::MissingEra { pool, era: 2 }, "no era is skipped");
    assert_eq!(bench.show(second), SignerReply::Noted);
    bench.restart();
    assert_eq!(ask(&mut bench), SignerReply::MissingEra { pool, era: 3 });
    assert_eq!(bench.show(third), SignerReply::Noted);
    let made = signature(ask(&mut bench));
    assert_eq!(recover(&made, &root_digest(&bench.domain(), &root)), Ok(tron_key(1).address()));

    let reason = refusal(bench.root_at(7, bench.chain.root(2, 100)));
    assert!(reason.contains("those of era 3 are in force"), "{reason}");
}

#[test]
fn a_change_of_signers_is_signed_by_those_whom_it_replaces() {
    let next = set_of(2, 2, &[2, 3, 4]);
    // Key 1 leaves, key 2 stays, key 4 comes.
    for (key, signs_change, signs_root) in [(1, true, false), (2, true, true), (4, false, true)] {
        let mut bench = Bench::new(key);
        let pool = bench.chain.pool;
        let root = SettlementRoot { era: 2, ..bench.chain.root(1, 100) };
        let block = bench.chain.certified(3, vec![root], vec![bench.rotation(0, next.clone())]);
        let change = CosignRequest::Signers { pool, nonce: 0 };
        for _ in 0..2 {
            match bench.sign(change, block.clone()) {
                SignerReply::Signed(made) => {
                    let digest = signers_digest(&bench.domain(), 1, 0, &next);
                    assert!(signs_change && recover(&made, &digest) == Ok(tron_key(key).address()));
                }
                other => assert!(!signs_change && refusal(other).contains("is not a signer of era 1")),
            }
            match bench.sign(bench.request(1), block.clone()) {
                SignerReply::Signed(_) => assert!(signs_root),
                other => assert!(!signs_root && refusal(other).contains("is not a signer of era 2")),
            }
            bench.restart();
        }
    }
}

#[test]
fn limits_are_signed_by_the_signers_of_their_era_even_after_a_rotation() {
    let mut bench = Bench::new(1);
    let pool = bench.chain.pool;
    let next = limits(5_000);
    let of_era = |era, nonce| command(pool, PoolChange::Limits { era, nonce, next });
    let block = bench.chain.certified(3, vec![], vec![of_era(1, 0)]);
    let later = bench.chain.certified(5, vec![], vec![of_era(2, 2)]);
    let request = |nonce| CosignRequest::Limits { pool, nonce };

    assert_eq!(bench.sign(request(2), later.clone()), SignerReply::MissingEra { pool, era: 2 });
    let rotation = bench.rotation(1, set_of(2, 2, &[2, 3, 4]));
    assert_eq!(bench.show(bench.chain.certified(4, vec![], vec![rotation])), SignerReply::Noted);
    let made = signature(bench.sign(request(0), block.clone()));
    assert_eq!(recover(&made, &limits_digest(&bench.domain(), 1, 0, &next)), Ok(tron_key(1).address()));
    assert!(refusal(bench.sign(request(2), later)).contains("is not a signer of era 2"));

    let other = command(pool, PoolChange::Limits { era: 1, nonce: 0, next: limits(9) });
    let forged = bench.chain.certified(6, vec![], vec![other]);
    assert!(refusal(bench.sign(request(0), forged)).contains("another change with the number 0"));
    assert_eq!(signature(bench.sign(request(0), block)), made);
}

#[test]
fn two_histories_are_an_alarm() {
    let mut bench = Bench::new(1);
    let show = |bench: &mut Bench, next| {
        let decided = bench.chain.certified(3, vec![], vec![bench.rotation(0, next)]);
        bench.show(decided)
    };
    assert_eq!(show(&mut bench, signers(2, 2)), SignerReply::Noted);
    let reason = refusal(show(&mut bench, signers(2, 3)));
    assert!(reason.contains("certified two histories"), "{reason}");
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
