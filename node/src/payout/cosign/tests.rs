//! What is signed, for whom, and what is not.

use std::collections::{BTreeMap, BTreeSet};

use lucid_consensus::ledger::pool::{VaultChange, VaultTerms};
use lucid_consensus::ledger::table::{Nodes, Pools};
use lucid_consensus::replica::Offers;
use lucid_tron_bridge::signature::recover;
use lucid_tron_bridge::transaction::Reference;
use lucid_tron_bridge::vault::{VaultDomain, limits_digest, root_digest, signers_digest};
use lucid_types::amount::MicroUsdt;
use lucid_types::codec::encode;
use lucid_types::id::SolidBlockId;
use lucid_types::payout::{SettlementRoot, VaultLimits};
use lucid_types::time::UnixMillis;

use super::*;
use crate::payout::testing::{
    OWNER, SIGNERS, WORKERS, address, network, node, node_key, pool_id, root, signer_set, snapshot, state, tron_key,
};
use crate::payout::vaults::SolidVault;

/// A signer, the first if no other is named, with a state of the tests' choice.
struct Fixture {
    network: Arc<ChainSpec>,
    head: watch::Sender<Head>,
    vaults: Arc<Vaults>,
    cosigner: Cosigner,
    _folder: tempfile::TempDir,
}

fn domain(network: &ChainSpec) -> VaultDomain {
    VaultDomain::new(&network.genesis().tron.genesis_block, root(network, 1, 1).vault)
}

fn fixture(first: SettlementRoot) -> Fixture {
    fixture_of(SIGNERS[0], first)
}

fn fixture_of(seed: u8, first: SettlementRoot) -> Fixture {
    let (network, folder) = (network(), tempfile::tempdir().unwrap());
    let (head, seen) = watch::channel(Head {
        state: state(&network, first),
        block: None,
        adopted_at: UnixMillis::new(1),
        round: None,
        unreported: Vec::new(),
        offers: Offers::default(),
    });
    let store = Store::open(folder.path(), *network.id()).unwrap();
    let own = OwnSigners::new(node(seed), tron_key(seed), store);
    let vaults = Arc::<Vaults>::default();
    let cosigner = Cosigner::new(Arc::clone(&network), seen, Arc::clone(&vaults), Treasury::InProcess(own));
    Fixture { network, head, vaults, cosigner, _folder: folder }
}

impl Fixture {
    fn change(&self, act: impl FnOnce(&mut PoolState)) {
        self.head.send_modify(|head| {
            head.state = head.state.changed(|rows| act(rows.get_mut::<Pools>(&pool_id(&self.network)).unwrap()));
        });
    }

    async fn ask(&self, asker: u8, request: CosignRequest) -> CosignReply {
        let key = node_key(asker);
        let bytes = encode(&*key.sign_cosign(self.network.id(), request));
        self.cosigner.answer(key.public_key(), &bytes).await.unwrap()
    }

    fn root_request(&self, settlement: u64) -> CosignRequest {
        CosignRequest::Root { pool: pool_id(&self.network), settlement }
    }
}

fn signed(reply: CosignReply) -> TreasurySignature {
    match reply {
        CosignReply::Signed(signature) => signature,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_root_is_signed_for_all_who_have_to_do_with_the_pool() {
    let first = root(&network(), 3, 100);
    let fixture = fixture(first);
    let expected = tron_key(SIGNERS[0]).address();
    for asker in [SIGNERS[0], SIGNERS[1], OWNER, WORKERS[0]] {
        let signature = signed(fixture.ask(asker, fixture.root_request(3)).await);
        assert_eq!(recover(&signature, &root_digest(&domain(&fixture.network), &first)), Ok(expected), "{asker}");
    }
    // The other worker is in no pool, and nobody knows the last.
    for asker in [WORKERS[1], 99] {
        let reply = fixture.ask(asker, fixture.root_request(3)).await;
        assert!(matches!(&reply, CosignReply::Refused(why) if why.contains("may ask")), "{reply:?}");
    }
    for settlement in [2, 4] {
        assert_eq!(fixture.ask(OWNER, fixture.root_request(settlement)).await, CosignReply::NotFinal);
    }
    fixture.change(|pool| pool.newest = None);
    assert_eq!(fixture.ask(OWNER, fixture.root_request(3)).await, CosignReply::NotFinal);
}

/// What the reader says of a vault.
fn read(network: &ChainSpec, address: PayoutAddress, succession: Succession) -> SolidVault {
    SolidVault {
        address,
        succession,
        snapshot: Arc::new(snapshot(network, &root(network, 3, 100), 0)),
        as_of: Reference { number: 5, id: SolidBlockId::from_bytes([5; 32]), time: UnixMillis::new(1) },
        time: UnixMillis::new(1),
        root_of: None,
        alerts: Vec::new(),
    }
}

/// The certified row says that another vault follows; it is signed for when this node has seen the same on TRON, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_follows_another_is_signed_for_once_it_is_seen_to() {
    let first = root(&network(), 3, 100);
    let fixture = fixture(first);
    let (pool, next) = (pool_id(&fixture.network), address(55));
    signed(fixture.ask(OWNER, fixture.root_request(3)).await);
    fixture.vaults.set(pool, read(&fixture.network, first.vault, Succession::Sound));
    let taken_over = SettlementRoot { vault: next, ..first };
    fixture.change(|row| {
        row.former_vaults.push(row.vault.address);
        row.vault.address = next;
        row.newest = Some(taken_over);
    });
    let why = |reply: CosignReply| match reply {
        CosignReply::Refused(why) => why,
        other => panic!("{other:?}"),
    };
    // What was read is of the former vault still.
    assert!(why(fixture.ask(OWNER, fixture.root_request(3)).await).contains("has not read the vault"));
    let broken = Succession::Broken("it has no predecessor".to_owned());
    fixture.vaults.set(pool, read(&fixture.network, next, broken));
    assert_eq!(why(fixture.ask(OWNER, fixture.root_request(3)).await), "it has no predecessor");
    fixture.vaults.set(pool, read(&fixture.network, next, Succession::Sound));
    let signature = signed(fixture.ask(OWNER, fixture.root_request(3)).await);
    let digest = root_digest(&VaultDomain { vault: next, ..domain(&fixture.network) }, &taken_over);
    assert_eq!(recover(&signature, &digest), Ok(tron_key(SIGNERS[0]).address()));
    // The former one is over, even if a state named it again.
    fixture.change(|row| {
        row.vault.address = first.vault;
        row.former_vaults.clear();
        row.newest = Some(SettlementRoot { settlement: 4, ..first });
    });
    assert!(why(fixture.ask(OWNER, fixture.root_request(4)).await).contains(&next.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_roots_of_one_settlement_are_never_signed() {
    let first = root(&network(), 3, 100);
    let fixture = fixture(first);
    let once = signed(fixture.ask(OWNER, fixture.root_request(3)).await);
    assert_eq!(signed(fixture.ask(WORKERS[0], fixture.root_request(3)).await), once, "the same again");
    let other = SettlementRoot { root: root(&fixture.network, 9, 1).root, ..first };
    fixture.change(|pool| pool.newest = Some(other));
    let reply = fixture.ask(OWNER, fixture.root_request(3)).await;
    assert!(matches!(&reply, CosignReply::Refused(why) if why.contains("two states differ")), "{reply:?}");
    // Raised for losses, it is another record of the same root.
    let raised = SettlementRoot { total: MicroUsdt::new(150), promised: MicroUsdt::new(150), ..first };
    fixture.change(|pool| pool.newest = Some(raised));
    assert_ne!(signed(fixture.ask(OWNER, fixture.root_request(3)).await), once);
    // And back again it goes only for somebody who rolled the state back.
    fixture.change(|pool| pool.newest = Some(first));
    let reply = fixture.ask(OWNER, fixture.root_request(3)).await;
    assert!(matches!(&reply, CosignReply::Refused(why) if why.contains("fell")), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_vault_are_signed_by_those_whom_they_replace() {
    let fixture = fixture(root(&network(), 3, 100));
    let pool = pool_id(&fixture.network);
    let (by, next) = (signer_set(1, SIGNERS), signer_set(2, [4, 5, 6]));
    let limits = VaultLimits { cap: MicroUsdt::new(5), push_fee: MicroUsdt::ZERO };
    let signers = |nonce| CosignRequest::Signers { pool, nonce };
    let limit = |nonce| CosignRequest::Limits { pool, nonce };
    assert_eq!(fixture.ask(OWNER, signers(0)).await, CosignReply::NotFinal);
    assert_eq!(fixture.ask(OWNER, limit(0)).await, CosignReply::NotFinal);
    fixture.change(|accounts| {
        accounts.changes = BTreeMap::from([
            (0, VaultChange { by: by.clone(), next: VaultTerms::Limits(limits) }),
            (1, VaultChange { by: by.clone(), next: VaultTerms::Signers(next.clone()) }),
        ]);
        accounts.vault.signers = next.clone();
        accounts.vault.nonce = 2;
    });
    let expected = tron_key(SIGNERS[0]).address();
    let domain = domain(&fixture.network);
    let signature = signed(fixture.ask(OWNER, limit(0)).await);
    assert_eq!(recover(&signature, &limits_digest(&domain, 1, 0, &limits)), Ok(expected));
    let signature = signed(fixture.ask(OWNER, signers(1)).await);
    assert_eq!(recover(&signature, &signers_digest(&domain, 1, 1, &next)), Ok(expected));
    assert_eq!(fixture.ask(OWNER, signers(0)).await, CosignReply::NotFinal, "another number");
    assert_eq!(fixture.ask(OWNER, limit(1)).await, CosignReply::NotFinal, "another kind");
    // A root of the next era is the new signers' to sign.
    fixture.change(|accounts| accounts.newest = accounts.newest.map(|root| SettlementRoot { era: 2, ..root }));
    let reply = fixture.ask(OWNER, fixture.root_request(3)).await;
    assert!(matches!(&reply, CosignReply::Refused(why) if why.contains("not a signer of era 2")), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_for_another_and_no_unknown_pool_is_signed_for() {
    let fixture = fixture(root(&network(), 3, 100));
    let bytes = encode(&*node_key(OWNER).sign_cosign(fixture.network.id(), fixture.root_request(3)));
    assert_eq!(fixture.cosigner.answer(node_key(WORKERS[0]).public_key(), &bytes).await, None, "another's request");
    assert_eq!(fixture.cosigner.answer(node_key(OWNER).public_key(), &bytes[1..]).await, None);
    let elsewhere = CosignRequest::Root { pool: PoolId::from_bytes([1; 32]), settlement: 3 };
    let reply = fixture.ask(OWNER, elsewhere).await;
    assert!(matches!(&reply, CosignReply::Refused(why) if why.contains("no such pool")), "{reply:?}");
}

/// Whoever is entered as a signer while its node runs signs without a restart, and nothing once it is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_is_entered_later_signs_and_one_that_is_replaced_does_not() {
    let first = root(&network(), 3, 100);
    let fixture = fixture_of(4, first);
    let refused = |reply: &CosignReply| matches!(reply, CosignReply::Refused(why) if why.contains("does not sign for"));
    assert!(refused(&fixture.ask(OWNER, fixture.root_request(3)).await));
    let enter = |signers: SignerSet| {
        fixture.change(|row| {
            row.newest = row.newest.map(|root| SettlementRoot { era: signers.era, ..root });
            row.vault.signers = signers;
        });
    };
    enter(signer_set(2, [4, 5, 6]));
    let signature = signed(fixture.ask(OWNER, fixture.root_request(3)).await);
    let expected = root_digest(&domain(&fixture.network), &SettlementRoot { era: 2, ..first });
    assert_eq!(recover(&signature, &expected), Ok(tron_key(4).address()));
    enter(signer_set(3, [1, 5, 6]));
    assert!(refused(&fixture.ask(OWNER, fixture.root_request(3)).await));
}

/// What was signed for one vault of a pool keeps the key from signing for another: the pool's new vault would pay everything again.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_for_a_second_vault_of_a_pool() {
    let fixture = fixture(root(&network(), 3, 100));
    signed(fixture.ask(OWNER, fixture.root_request(3)).await);
    let other = PayoutAddress::from_hash20([222; 20]);
    fixture.change(|row| {
        row.vault.address = other;
        row.newest = row.newest.map(|root| SettlementRoot { vault: other, ..root });
    });
    let reply = fixture.ask(OWNER, fixture.root_request(3)).await;
    assert!(matches!(&reply, CosignReply::Refused(why) if why.contains("vault")), "{reply:?}");
}

/// Members ask for as long as they are members.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_ask_follows_the_registry() {
    let fixture = fixture(root(&network(), 3, 100));
    let [member, other] = WORKERS;
    let may_ask = async |asker| !matches!(fixture.ask(asker, fixture.root_request(3)).await, CosignReply::Refused(_));
    assert!(may_ask(member).await && !may_ask(other).await);
    fixture.head.send_modify(|head| {
        head.state = head.state.changed(|rows| {
            let membership = rows.get_mut::<Nodes>(&node(member)).unwrap().membership.take();
            rows.get_mut::<Nodes>(&node(other)).unwrap().membership = membership;
        });
    });
    assert!(!may_ask(member).await && may_ask(other).await);
}

#[test]
fn a_signer_is_known_by_node_and_key_until_its_change_is_over() {
    let network = network();
    let state = state(&network, root(&network, 3, 100));
    let pool = pool_id(&network);
    let of = |state: &State, seed: u8, key: u8| pools_of_signer(state, &node(seed), &tron_key(key).address());
    assert_eq!(of(&state, 1, 1), [pool]);
    assert!(of(&state, 1, 2).is_empty() && of(&state, 4, 4).is_empty());
    let (by, next) = (signer_set(1, SIGNERS), signer_set(2, [4, 5, 6]));
    let state = state.changed(|rows| {
        let row = rows.get_mut::<Pools>(&pool).unwrap();
        row.vault.signers = next.clone();
        row.changes = BTreeMap::from([(0, VaultChange { by, next: VaultTerms::Signers(next.clone()) })]);
    });
    assert_eq!((of(&state, 1, 1), of(&state, 4, 4)), (vec![pool], vec![pool]), "it still signs its replacement");
    let third = VaultTerms::Signers(signer_set(3, [4, 5, 7]));
    let changes = BTreeMap::from([(1, VaultChange { by: next, next: third })]);
    let state = state.changed(|rows| rows.get_mut::<Pools>(&pool).unwrap().changes = changes);
    let known: BTreeSet<_> = (1..=7).filter(|seed| !of(&state, *seed, *seed).is_empty()).collect();
    assert_eq!(known, BTreeSet::from([4, 5, 6]), "the set in force, and the one being replaced");
}
