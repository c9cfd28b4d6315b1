use std::collections::BTreeMap;

use super::*;

#[test]
fn seats_by_hand() {
    let counts = |powers: &[u64], offset, seats| -> Vec<u8> {
        systematic(powers.iter().copied(), powers.iter().sum(), offset, seats).collect()
    };
    // Powers on a line of 10, each stretched by 4; seats stand at 0, 10, 20, 30 after the offset.
    // 1 covers 0..4, 2 covers 4..12, 3 covers 12..24, 4 covers 24..40.
    assert_eq!(counts(&[1, 2, 3, 4], 0, 4), [1, 1, 1, 1], "at 0, 10, 20, 30");
    assert_eq!(counts(&[1, 2, 3, 4], 3, 4), [1, 0, 2, 1], "at 3, 13, 23, 33");
    assert_eq!(counts(&[1, 2, 3, 4], 4, 4), [0, 1, 1, 2], "at 4, 14, 24, 34");
    assert_eq!(counts(&[1, 2, 3, 4], 14, 4), [0, 1, 1, 2], "the offset is taken modulo the power");
    assert_eq!(counts(&[7], u128::MAX, 21), [21]);
    assert_eq!(counts(&[1, 1 << 59], 0, 100), [1, 99]);
}

/// Every order of five is as likely as any other, and independent of where the seats begin.
#[test]
fn shuffles_are_uniform() {
    let trials = 120_000;
    let mut lots = Lots::new(Hash::from_bytes([1; 32]), 5);
    let (mut orders, mut halves) = (BTreeMap::<[u8; 5], u32>::new(), BTreeMap::<(u8, bool), u32>::new());
    for number in 0..trials {
        lots.draw(&NodeId::from_bytes(*Hash::derive("test node", &[&u32::to_le_bytes(number)]).as_bytes()));
        let mut items = [0, 1, 2, 3, 4];
        lots.shuffle(&mut items);
        *orders.entry(items).or_default() += 1;
        *halves.entry((items[0], lots.offset() >> 127 == 1)).or_default() += 1;
    }
    // 1,000 expected of each order, standard deviation 31.5; 12,000 of each first and half, standard deviation 104.
    assert!(orders.len() == 120 && orders.values().all(|times| (840..1_160).contains(times)), "{orders:?}");
    assert!(halves.len() == 10 && halves.values().all(|times| (11_480..12_520).contains(times)), "{halves:?}");
}

/// In a large set each validator comes to each place as often.
#[test]
fn every_validator_comes_to_every_place() {
    let (n, trials) = (100usize, 40_000);
    let mut lots = Lots::new(Hash::from_bytes([2; 32]), n);
    let mut times = vec![0u32; n * n];
    for number in 0..trials {
        lots.draw(&NodeId::from_bytes(*Hash::derive("test node", &[&u32::to_le_bytes(number)]).as_bytes()));
        let mut items: Vec<_> = (0..n).collect();
        lots.shuffle(&mut items);
        items.iter().enumerate().for_each(|(place, item)| times[place * n + item] += 1);
    }
    // 400 expected, standard deviation 20. Sum of squared differences by expectation: 9,801 by chi-squared, deviation 140.
    assert!(times.iter().all(|times| (290..510).contains(times)));
    let squares: u64 = times.iter().map(|times| u64::from(times.abs_diff(400)).pow(2)).sum();
    assert!((9_100..10_500).contains(&(squares / 400)), "{}", squares / 400);
}
