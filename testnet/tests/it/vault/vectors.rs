//! The vectors that `tron-bridge/contracts/vectors.py` computes from the specification, and the committed description of
//! the vault.

use lucid_tron_devnet::wallet::Wallet;
use lucid_tron_devnet::{Address, address};
use lucid_tron_types::keccak256;
use serde_json::Value;

use super::abi::{self, Word};
use super::code::{self, Code};
use super::tree::{Item, Place, Root, Tree};
use super::world::World;

const VECTORS: &str = include_str!("../../../../tron-bridge/tests/data/payout_root.json");

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

#[test]
fn trees_and_their_ranges() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let mut n_ranges = 0;
    for tree in list(&vectors["trees"]) {
        let item = |account: &Value| {
            let to = Address::from(bytes::<20>(&account["to_hex"]));
            assert_eq!(address::to_base58(to), account["to"]);
            Item { id: bytes(&account["id"]), to, owed: number(&account["owed_micro_usdt"]) }
        };
        let items: Vec<Item> = list(&tree["accounts"]).iter().map(item).collect();
        let made = Tree::new(&items);
        assert_eq!(made.root(), bytes(&tree["root"]));
        for range in list(&tree["ranges"]) {
            let place = |key: &str| usize::try_from(number(&range[key])).unwrap();
            let proof: Vec<Word> = list(&range["proof"]).iter().map(bytes).collect();
            assert_eq!(made.range(place("start"), place("length")), proof);
            n_ranges += 1;
        }
    }
    assert_eq!(n_ranges, 1 + 3 + 6 + 15 + 36);
}

#[test]
fn digests_and_signatures() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let keys: Vec<Wallet> =
        list(&vectors["keys"]).iter().map(|key| Wallet::from_secret(&bytes(key)).unwrap()).collect();
    assert!(keys.is_sorted_by_key(Wallet::address));
    let vault = Address::from(bytes::<20>(&vectors["vault"]));
    for entry in list(&vectors["digests"]) {
        let field = |name: &str| number(&entry[name]);
        let place = Place { chain_id: number(&vectors["chain_id"]), vault, era: field("era") };
        let digest = match entry["purpose"].as_str().unwrap() {
            "root" => place.root_digest(&Root {
                settlement: field("settlement"),
                root: bytes(&entry["root"]),
                total: field("total"),
                fees: field("fees"),
                leader: Address::from(bytes::<20>(&entry["leader"])),
                until: field("until"),
            }),
            "signers" => {
                let signers: Vec<Address> =
                    list(&entry["signers"]).iter().map(|signer| Address::from(bytes::<20>(signer))).collect();
                place.signers_digest(field("nonce"), field("threshold"), &signers)
            }
            "limits" => place.limits_digest(field("nonce"), field("cap"), field("push_fee")),
            other => panic!("{other}"),
        };
        assert_eq!(digest, bytes(&entry["digest"]));
        let signatures: Vec<[u8; 65]> = keys.iter().map(|key| key.sign_hash(&digest).unwrap()).collect();
        assert_eq!(hex::encode(signatures.concat()), entry["signatures"]);
    }
}

#[test]
fn description_says_what_is_deployed() {
    let description = code::description();
    let code = Code::genuine();
    assert_eq!(hex::encode(&code.0), description["bytecode"]);
    let deployed = hex::decode(description["deployedBytecode"].as_str().unwrap()).unwrap();
    assert_eq!(keccak256(&deployed), bytes(&description["codeHash"]));
    // Every vault has the same code, whatever it was deployed with.
    let mut world = World::new(&code);
    assert_eq!(world.code_hash(), bytes(&description["codeHash"]));
    let mut deployment = world.deployment();
    (deployment.period, deployment.delay, deployment.owner) = (1, 2, world.token);
    world.vault = world.deploy(&deployment).unwrap();
    assert_eq!(world.code_hash(), bytes(&description["codeHash"]));
}

#[test]
fn these_tests_know_every_error_and_event() {
    let description = code::description();
    assert_eq!(abi::named(&description["abi"], "error"), abi::errors());
    assert_eq!(
        abi::named(&description["abi"], "event"),
        [
            "CloseCancelled()",
            "ClosedFrom(uint64)",
            "FeePaid(address,uint256)",
            "LimitsChanged(uint64,uint64)",
            "OwnerPaused(uint64)",
            "Paid(bytes32,address,uint256,uint256)",
            "RootPosted(uint64,bytes32,uint64,uint64,address,uint64)",
            "SignerPaused(address,uint64)",
            "SignersChanged(uint32,uint256,address[])",
            "Skipped(bytes32,uint8)",
            "UnpauseWanted(address)",
            "Unpaused()",
            "WithdrawalAsked(address,uint256,uint64)",
            "WithdrawalCancelled()",
            "Withdrawn(address,uint256)",
        ]
    );
}
