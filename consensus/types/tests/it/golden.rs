//! One sample of every record against its committed bytes.

use lucid_types::codec::encode;
use lucid_types::id::{Hash, NetworkId, NodeId, PayoutId, PoolId};
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::AccountId;

use crate::harness::{Golden, HostileLengths, OneEncoding};
use crate::samples;

#[test]
fn every_record_has_the_committed_bytes() {
    let mut golden = Golden::default();
    samples::each(&mut golden);
    let (network, worker) = (samples::network(), NodeId::from_bytes([3; 32]));
    let pool = PoolId::derive(&network, "pool");
    let account = AccountId::derive(&network, &pool, AccountKind::Worker, &worker);
    let commission = AccountId::derive(&network, &pool, AccountKind::Commission, &worker);
    let validator = AccountId::derive(&network, &pool, AccountKind::Validator, &worker);
    golden.facts(
        "derived",
        &[
            ("node id of the seed 01..01", samples::key(1).account().as_bytes()),
            ("hash under a context", Hash::derive("lucid test 1", &[b"a", b"b"]).as_bytes()),
            ("pool id", pool.as_bytes()),
            ("worker's account", account.as_bytes()),
            ("commission's account", commission.as_bytes()),
            ("validator's account", validator.as_bytes()),
            ("payout id", PayoutId::derive(&account, 7).as_bytes()),
            ("validator set", &encode(&samples::validators().members().to_vec())),
            ("validator set hash", samples::validators().hash().as_bytes()),
            ("stamp of 12 bits", &samples::commands::stamp().nonce.to_le_bytes()),
        ],
    );
    golden.finish();
}

#[test]
fn every_record_has_one_encoding() {
    samples::each(&mut OneEncoding);
}

#[test]
fn invariant_7_lengths_that_lie_allocate_nothing() {
    samples::each(&mut HostileLengths);
}

#[test]
fn every_signed_sample_holds_for_its_network_only() {
    let (here, elsewhere) = (samples::network(), NetworkId::from_bytes([0x55; 32]));
    let block = samples::block();
    block.clone().verify(&here).unwrap();
    block.verify(&elsewhere).unwrap_err();
    let decided = samples::decided();
    decided.clone().verify(&here, &samples::validators()).unwrap();
    decided.verify(&elsewhere, &samples::validators()).unwrap_err();
    samples::attestation().check(&here).unwrap();
    samples::attestation().check(&elsewhere).unwrap_err();
    samples::probe_reply().check(&here).unwrap();
    samples::probe_reply().check(&elsewhere).unwrap_err();
    samples::validation_result().check(&here).unwrap();
    samples::validation_result().check(&elsewhere).unwrap_err();
    for (_, request) in samples::cosign_requests() {
        request.check(&here).unwrap();
        request.check(&elsewhere).unwrap_err();
    }
    samples::proposal().check(&here).unwrap();
    samples::proposal().check(&elsewhere).unwrap_err();
    for item in samples::rebroadcast_items() {
        samples::rebroadcast(item.clone()).check(&here).unwrap();
        samples::rebroadcast(item).check(&elsewhere).unwrap_err();
    }
}
