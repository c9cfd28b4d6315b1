//! How much of the random beacon a coalition of proposers can choose: `cargo run -p lucid-types --example beacon`.
//!
//! A proposer contributes what it must, or gives up its turn. At a height at which the coalition has the first *j* turns it can so choose
//! among *j* + 1 contributions; the last is somebody else's, which it cannot know beforehand, so the choices counted here are a little
//! more than it has. It knows the outcome only of choices with nobody else's block after them. Of the three heights that end with the one
//! that closes an epoch, the beacon of the first also draws the turns of the last.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]
#![expect(clippy::unwrap_used, reason = "the set is written here")]

use lucid_types::bls::{BlsPublicKey, BlsSignature};
use lucid_types::id::{Hash, NodeId, ValidatorId};
use lucid_types::signed::Signature;
use lucid_types::time::Height;
use lucid_types::validator::{Validator, ValidatorSet};
use lucid_types::validator_key::ValidatorKeys;

const VALIDATORS: usize = 100;
const EPOCHS: u64 = 100_000;
/// Blocks among which a coalition may choose the one before whose end the epoch is closed.
const WAITS: u64 = 20;

/// Validators of equal power. Nothing is signed here, so their keys are none.
fn set() -> ValidatorSet {
    let member = |number: usize| {
        let node = NodeId::from_bytes(*Hash::derive("validator", &[&number.to_le_bytes()]).as_bytes());
        let keys = ValidatorKeys {
            id: ValidatorId::from_bytes(*node.as_bytes()),
            proof: Signature::from_bytes([0; 64]),
            bls_key: BlsPublicKey::from_bytes([node.as_bytes().as_slice(); 3].concat().try_into().unwrap()),
            bls_proof: BlsSignature::from_bytes([0; 48]),
        };
        Validator { node, power: 1, operator: node, keys }
    };
    ValidatorSet::new((0..VALIDATORS).map(member).collect()).unwrap()
}

struct Coalition<'a> {
    set: &'a ValidatorSet,
    /// The first of the set.
    liars: usize,
}

impl Coalition<'_> {
    /// How many of the first turns are its own.
    fn turns(&self, beacon: Hash, height: u64) -> u64 {
        let order = self.set.proposers(beacon, Height::new(height)).order(8);
        u64::try_from(order.iter().take_while(|place| **place < self.liars).count()).unwrap()
    }

    /// Outcomes among which it can choose when this height closes an epoch.
    fn outcomes(&self, close: u64) -> u64 {
        let beacon = |name: &'static str, part: u64| Hash::derive(name, &[&close.to_le_bytes(), &part.to_le_bytes()]);
        let first = self.turns(beacon("two heights before", 0), close - 2);
        let second = self.turns(beacon("a height before", 0), close - 1);
        // What it contributes to the first of the three draws the turns of the last.
        let last = (0..=first).map(|choice| self.turns(beacon("of the first of the three", choice), close));
        let of_last = |turns: u64| if turns == 0 { 1 } else { (turns + 1) * (second + 1) };
        match second {
            // Somebody else's block lies between: only the turns of the last can be chosen beforehand.
            0 => last.map(of_last).max().unwrap_or(1),
            _ => last.filter(|turns| *turns > 0).map(of_last).sum::<u64>().max(1),
        }
    }
}

fn row(found: &[u64]) -> String {
    let percent = |least: u64| {
        let count = found.iter().filter(|outcomes| **outcomes >= least).count();
        let hundredths = u64::try_from(count * 10_000 / found.len()).unwrap();
        format!("{}.{:02} %", hundredths / 100, hundredths % 100)
    };
    let bits = found.iter().map(|outcomes| thousandths_of_bits(*outcomes)).sum::<u64>() / EPOCHS;
    format!("{}.{:02} bits | {} | {}", bits / 1_000, bits % 1_000 / 10, percent(4), percent(32))
}

fn main() {
    let set = set();
    println!(
        "| power | mean choice | at least 2 bits | at least 5 bits | with 20 blocks: mean | at least 2 bits | at least 5 bits |"
    );
    println!("|---|---|---|---|---|---|---|");
    for liars in [10, 20, 33] {
        let coalition = Coalition { set: &set, liars };
        // Epochs far enough from each other that they share no height.
        let epochs = (1..=EPOCHS).map(|epoch| 1_000 * epoch);
        let once: Vec<u64> = epochs.clone().map(|close| coalition.outcomes(close)).collect();
        let best = |close: u64| (0..WAITS).map(|wait| coalition.outcomes(close + wait)).max();
        let waiting: Vec<u64> = epochs.filter_map(best).collect();
        println!("| {liars} % | {} | {} |", row(&once), row(&waiting));
    }
}

/// 1,000 times the logarithm to base 2, by squaring.
fn thousandths_of_bits(number: u64) -> u64 {
    let mut thousandths = 1_000 * u64::from(number.ilog2());
    let mut fraction = (u128::from(number) << 60) >> number.ilog2();
    for step in [500, 250, 125, 63, 31, 16, 8, 4, 2, 1] {
        fraction = (fraction * fraction) >> 60;
        if fraction >= 2 << 60 {
            fraction >>= 1;
            thousandths += step;
        }
    }
    thousandths
}
