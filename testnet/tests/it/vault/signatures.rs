//! What k of n signatures are good for.

use lucid_tron_devnet::{Address, U256, token};
use lucid_tron_types::keccak256;

use super::abi::{self, Arg, Word, call, word};
use super::code::Code;
use super::tree::{Place, Root};
use super::world::{Setup, Who, World, signers_args};

const BAD: &str = "BadSignatures";

pub(super) fn digests_are_the_specified_ones(code: &Code) {
    let mut world = World::new(code);
    for era in 1..=3 {
        let place = world.place();
        assert_eq!(place.era, era);
        let root = Root { fees: 3, until: 1_700_000_999, ..world.root(77, &[10, 20]) };
        assert_eq!(world.root_digest(&root), place.root_digest(&root));
        let next = world.signer_addresses(&[3, 1, 4]);
        let digest = word(&world.read("signersDigest(address[],uint8)", &signers_args(&next, 2)), 0);
        assert_eq!(digest, place.signers_digest(era - 1, 2, &next));
        let limits = Arg::Words([5, 6].map(token::number_word).to_vec());
        let digest = word(&world.read("limitsDigest((uint64,uint64))", &[limits]), 0);
        assert_eq!(digest, place.limits_digest(era - 1, 5, 6));
        world.rotate(&[0, 1, 2], 2).unwrap();
    }
}

pub(super) fn exactly_k_in_order(code: &Code) {
    let mut world = World::with(code, Setup { signers: 5, k: 3, ..Setup::default() });
    let root = world.root(1, &[10, 20]);
    let digest = world.root_digest(&root);
    let mut refused = |signers: &[usize]| {
        let signatures = world.sign(signers, &digest);
        assert_eq!(world.post_signed(&root, &signatures), Err(BAD.into()), "{signers:?}");
    };
    for signers in [
        &[0][..],
        &[],
        &[0, 1],
        &[0, 1, 2, 3],
        &[0, 1, 2, 3, 4],
        &[1, 0, 2],
        &[0, 2, 1],
        &[2, 1, 0],
        &[0, 0, 0],
        &[0, 0, 1],
        &[0, 1, 1],
        &[0, 1, 5],
        &[5, 6, 7],
    ] {
        refused(signers);
    }
    let signatures = world.sign(&[0, 2, 4], &digest);
    for bytes in [&signatures[..194], &[signatures.as_slice(), &[0]].concat(), &[0; 195]] {
        assert_eq!(world.post_signed(&root, bytes), Err(BAD.into()));
    }
    world.post_signed(&root, &signatures).unwrap();
    let third = Root { settlement: 2, ..root };
    let signatures = world.sign(&[1, 2, 3], &world.root_digest(&third));
    world.post_signed(&third, &signatures).unwrap();
}

/// Nobody can make a second encoding of the same signatures.
pub(super) fn have_one_form(code: &Code) {
    let mut world = World::new(code);
    let root = world.root(1, &[10, 20]);
    let signatures = world.sign(&[0, 1], &world.root_digest(&root));
    let order =
        U256::from_be_slice(&hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").unwrap());
    let mut high = signatures.clone();
    let s = U256::from_be_slice(&high[32..64]);
    high[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    high[64] = 27 + 28 - high[64];
    assert_eq!(world.post_signed(&root, &high), Err(BAD.into()), "the other s");
    for v in [0, 1, 2, 26, 29, 30, 31, 255] {
        let mut other = signatures.clone();
        other[64] = v;
        assert_eq!(world.post_signed(&root, &other), Err(BAD.into()), "v = {v}");
    }
    let mut other = signatures.clone();
    other[64] = 27 + 28 - other[64];
    assert_eq!(world.post_signed(&root, &other), Err(BAD.into()), "the other v");
    world.post_signed(&root, &signatures).unwrap();
}

pub(super) fn sign_every_field(code: &Code) {
    let mut world = World::new(code);
    let root = Root { fees: 2, total: 50, until: 9, ..world.root(4, &[10, 20]) };
    let signatures = world.sign(&[0, 1], &world.root_digest(&root));
    for other in [
        Root { settlement: 5, ..root },
        Root { root: [9; 32], ..root },
        Root { total: 51, ..root },
        Root { fees: 3, ..root },
        Root { leader: world.at(Who::Stranger), ..root },
        Root { until: 10, ..root },
    ] {
        assert_eq!(world.post_signed(&other, &signatures), Err(BAD.into()), "{other:?}");
    }
    world.post_signed(&root, &signatures).unwrap();
}

pub(super) fn are_good_for_one_vault(code: &Code) {
    let mut world = World::new(code);
    let first = world.vault;
    let other = world.deploy(&world.deployment()).unwrap();
    let root = world.root(1, &[10, 20]);
    world.vault = other;
    let signatures = world.sign(&[0, 1], &world.root_digest(&root));
    world.vault = first;
    assert_eq!(world.post_signed(&root, &signatures), Err(BAD.into()), "another vault's");
    let place = world.place();
    for wrong in [
        Place { chain_id: place.chain_id ^ 1, ..place },
        Place { chain_id: 0, ..place },
        Place { vault: Address::ZERO, ..place },
        Place { vault: world.token, ..place },
        Place { era: 0, ..place },
        Place { era: 2, ..place },
    ] {
        let signatures = world.sign(&[0, 1], &wrong.root_digest(&root));
        assert_eq!(world.post_signed(&root, &signatures), Err(BAD.into()), "{wrong:?}");
    }
    let signatures = world.sign(&[0, 1], &place.root_digest(&root));
    world.post_signed(&root, &signatures).unwrap();
}

pub(super) fn are_good_for_one_purpose(code: &Code) {
    let mut world = World::new(code);
    let root = world.root(1, &[10, 20]);
    let place = world.place();
    // The fields of one purpose under the name of another.
    let under = |purpose: &str, fields: &[Word]| {
        let place = [
            keccak256(purpose.as_bytes()),
            token::number_word(place.chain_id),
            token::address_word(place.vault),
            token::number_word(place.era),
        ];
        keccak256([place.as_slice(), fields].concat().as_flattened())
    };
    let number = token::number_word;
    let fields = [
        number(root.settlement),
        root.root,
        number(root.total),
        number(root.fees),
        token::address_word(root.leader),
        number(root.until),
    ];
    assert_eq!(under("PayoutVault root", &fields), world.root_digest(&root));
    for purpose in ["PayoutVault signers", "PayoutVault limits", "PayoutVault", ""] {
        let signatures = world.sign(&[0, 1], &under(purpose, &fields));
        assert_eq!(world.post_signed(&root, &signatures), Err(BAD.into()), "{purpose}");
    }
    let limits = [0, 5, 6].map(number);
    for purpose in ["PayoutVault root", "PayoutVault signers"] {
        let signatures = world.sign(&[0, 1], &under(purpose, &limits));
        let args = [Arg::Words(limits[1..].to_vec()), abi::bytes(&signatures)];
        let data = call("setLimits((uint64,uint64),bytes)", &args);
        assert_eq!(world.call(Who::Owner, world.vault, data), Err(BAD.into()), "{purpose}");
    }
    let next = world.signer_addresses(&[2, 3, 4]);
    let list: Vec<Word> = next.iter().map(|signer| token::address_word(*signer)).collect();
    let fields = [number(0), number(2), keccak256(list.as_flattened())];
    for purpose in ["PayoutVault root", "PayoutVault limits"] {
        let signatures = world.sign(&[0, 1], &under(purpose, &fields));
        let args = [signers_args(&next, 2), vec![abi::bytes(&signatures)]].concat();
        let data = call("setSigners(address[],uint8,bytes)", &args);
        assert_eq!(world.call(Who::Owner, world.vault, data), Err(BAD.into()), "{purpose}");
    }
}

pub(super) fn of_an_earlier_era_are_void(code: &Code) {
    let mut world = World::new(code);
    let root = world.root(9, &[10, 20]);
    let first_era = world.root_digest(&root);
    let unused = world.sign(&[0, 1], &first_era);
    // Two of the three stay.
    world.rotate(&[0, 1, 5], 2).unwrap();
    assert_eq!(world.post_signed(&root, &unused), Err(BAD.into()), "signed in the first era");
    let second_era = world.root_digest(&root);
    assert_ne!(first_era, second_era);
    let gone = world.sign(&[0, 2], &second_era);
    assert_eq!(world.post_signed(&root, &gone), Err(BAD.into()), "signer 2 is no more");
    world.rotate(&[3, 4, 5], 2).unwrap();
    let gone = world.sign(&[0, 1], &world.root_digest(&root));
    assert_eq!(world.post_signed(&root, &gone), Err(BAD.into()), "none of the first is left");
    let signatures = world.sign(&[3, 5], &world.root_digest(&root));
    world.post_signed(&root, &signatures).unwrap();
}
