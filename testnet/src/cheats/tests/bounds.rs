//! The bounds that follow from chance, computed beside the simulations: what is expected, and four standard deviations of the sample.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use lucid_score::score::quality;

use super::*;
use crate::cheats::world::SETTLE_EVERY;

/// Where 32 of 96 validators act together, of whom each holds one of a worker's 21 seats or none.
const VALIDATORS: u32 = 96;
const THEIRS: u32 = 32;
const SEATS: u32 = 21;
/// What they hold on average.
const SHARE: f64 = 7.0;

fn choose(n: u32, k: u32) -> f64 {
    (0..k).map(|i| f64::from(n - i) / f64::from(i + 1)).product()
}

/// How likely they are to hold so many seats: as in any draw without replacement.
fn likely(held: u32) -> f64 {
    choose(THEIRS, held) * choose(VALIDATORS - THEIRS, SEATS - held) / choose(VALIDATORS, SEATS)
}

/// The sum over the seats that they may hold.
fn sum(of: impl Fn(u32) -> f64) -> f64 {
    (0..=SEATS).map(of).sum()
}

/// An expected value and its variance.
#[derive(Clone, Copy)]
struct Moments {
    mean: f64,
    variance: f64,
}

impl Moments {
    /// Of something whose mean is `mean(f)` for each `f` of the seats.
    fn of(mean: impl Fn(&dyn Fn(f64) -> f64) -> f64) -> Self {
        let first = mean(&|held| held);
        Self { mean: first, variance: mean(&|held| held * held) - first * first }
    }

    /// The standard deviation of the ratio of two samples of so many, this one's to the other's.
    fn deviation_beside(self, other: Self, n: f64) -> f64 {
        let relative = |it: Self| it.variance / n / (it.mean * it.mean);
        self.mean / other.mean * (relative(self) + relative(other)).sqrt()
    }
}

/// Seats in the end, if `theirs` of `all` validators that are left in the order of the rounds pass their turn on where they would hold
/// fewer than their share.
fn passed_on(theirs: u32, all: u32, f: &dyn Fn(f64) -> f64) -> f64 {
    let any = sum(|held| likely(held) * f(held.into()));
    if theirs == 0 {
        return any;
    }
    let enough = |held: &u32| f64::from(*held) >= SHARE;
    let taken = sum(|held| if enough(&held) { likely(held) * f(held.into()) } else { 0.0 });
    let passed = sum(|held| if enough(&held) { 0.0 } else { likely(held) });
    let is_theirs = f64::from(theirs) / f64::from(all);
    (1.0 - is_theirs) * any + is_theirs * (taken + passed * passed_on(theirs - 1, all - 1, f))
}

/// The same if they take the best of 16 draws. That is hardly ever less than their share.
fn best_of_16(f: &dyn Fn(f64) -> f64) -> f64 {
    let any = sum(|held| likely(held) * f(held.into()));
    let up_to = |held: u32| (0..=held).map(likely).sum::<f64>();
    let best = |held: u32| up_to(held).powi(16) - held.checked_sub(1).map_or(0.0, |less| up_to(less).powi(16));
    (2.0 * any + sum(|held| best(held) * f(held.into()))) / 3.0
}

fn ppm(ratio: f64) -> f64 {
    ratio * 1_000_000.0
}

fn number(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap())
}

/// That a ratio is what is expected, up to chance.
fn assert_near(found: u64, expected: f64, deviation: f64) {
    let off = number(found) - ppm(expected);
    assert!(off.abs() < 4.0 * ppm(deviation), "{found} ppm where {expected} is expected, deviation {deviation}");
}

#[test]
fn who_chooses_among_seeds_gains_as_computed() {
    let found = found("choose-seeds");
    let epochs = (FOUND["choose-seeds"].0.world)(Side::Honest).epochs - SETTLE_EVERY;
    assert_eq!(epochs, 1_008);
    let honest = Moments::of(|f| sum(|held| likely(held) * f(held.into())));
    assert!((honest.mean - SHARE).abs() < 1e-9);
    let chosen = Moments::of(|f| passed_on(THEIRS, VALIDATORS, f));
    let best = Moments::of(best_of_16);
    let n = number(epochs);
    let (gain, deviation) = (chosen.mean / SHARE, chosen.deviation_beside(honest, n));
    assert!((1.041..1.042).contains(&gain) && (0.012..0.0125).contains(&deviation), "{gain} {deviation}");
    assert_near(found.ratio_ppm, gain, deviation);
    let (gain_without, deviation_without) = (best.mean / SHARE, best.deviation_beside(honest, n));
    assert_near(found.undefended_ppm.unwrap(), gain_without, deviation_without);
    let bound = number(found.bound_ppm);
    let is_tight = (4.0..4.5).contains(&((bound - ppm(gain)) / ppm(deviation)));
    assert!(is_tight, "four deviations from what is expected");
    let is_beyond = ppm(gain_without - 4.0 * deviation_without) > bound;
    assert!(is_beyond, "without the defence it is beyond the bound, whatever the seed: {gain_without}");
    // What is said of what it costs.
    let passed = 720.0 / f64::from(VALIDATORS) * sum(|held| if f64::from(held) < SHARE { likely(held) } else { 0.0 });
    assert!((2.9..3.1).contains(&passed) && passed < 0.05 * 720.0, "{passed} turns of more than 720 duties");
}

#[test]
fn censors_hit_as_many_epochs_as_computed() {
    let found = found("censor");
    let epochs = (FOUND["censor"].0.world)(Side::Honest).epochs - SETTLE_EVERY;
    assert_eq!((epochs, found.honest), (120, 120));
    // Every block of a window is theirs, of either window.
    let measured = |blocks: i32| (1.0 - (1.0f64 / 3.0).powi(blocks)).powi(2);
    let deviation = |measured: f64| (measured * (1.0 - measured) / number(epochs)).sqrt();
    let [five, one] = [5, 1].map(measured);
    assert!((0.991..0.992).contains(&five), "{five}");
    assert_near(found.ratio_ppm, five, deviation(five));
    assert_near(found.undefended_ppm.unwrap(), one, deviation(one));
    let margin = (ppm(five) - number(found.bound_ppm)) / ppm(deviation(five));
    assert!((3.9..4.5).contains(&margin), "{margin} deviations from what is expected");
    assert!(ppm(one + 4.0 * deviation(one)) < number(found.bound_ppm));
}

/// Eight seats of 21 that are silent leave no quorum.
fn voided() -> f64 {
    sum(|held| if 3 * (SEATS - held) < 2 * SEATS { likely(held) } else { 0.0 })
}

#[test]
fn who_is_silent_voids_as_many_epochs_as_computed() {
    let void = voided();
    assert!((0.39..0.392).contains(&void), "{void}");
    let row = found("withhold-for-nothing");
    assert_eq!(row.honest, 144, "six workers in two settlements");
    let deviation = |n: f64| (void * (1.0 - void) / n).sqrt();
    assert_near(row.undefended_ppm.unwrap(), 1.0 - void, deviation(144.0));
    // One epoch of twelve.
    assert_near(row.ratio_ppm, 1.0 - void / 12.0, deviation(12.0) / 12.0);
    // What one of six members earns, of whose epochs so many are void, and whose score of 71 lacks its credits in part.
    let earned = |void: f64| {
        let part = (1.0 - void) * (1.0 - 0.2 * void / 0.71);
        6.0 * part / (5.0 + part)
    };
    let row = found("leave-out");
    let epochs = (FOUND["leave-out"].0.world)(Side::Honest).epochs - SETTLE_EVERY;
    assert_eq!(epochs, 108);
    let ratio = number(row.ratio_ppm) / 1_000_000.0;
    let bounds = [4.0, -4.0].map(|deviations| earned(void + deviations * deviation(108.0)));
    assert!((bounds[0]..bounds[1]).contains(&ratio), "{ratio} where {} is expected", earned(void));
    assert!((ppm(bounds[0]) - number(row.bound_ppm)).abs() < 5_000.0, "{bounds:?}");
}

/// What is withheld within `max_forfeits` costs no more than the pay for it: at most a third's twelfth, if no epoch is void for that, and nothing
/// if all are, since then nobody is paid for them.
#[test]
fn what_is_withheld_for_nothing_costs_nothing_else() {
    let row = FOUND["withhold-for-nothing"].0;
    let pay = |side| number(run(&(row.world)(side), row.seed).validating);
    let kept = pay(Side::Attack) / pay(Side::Honest);
    let least = 3.0 * 11.0 / (11.0 + 24.0);
    assert!((least..1.0).contains(&kept), "{kept}");
    let withhold = found("withhold");
    assert!(withhold.earned == 0 && withhold.undefended_ppm.unwrap().abs_diff(600_000) <= 1, "{withhold:?}");
}

/// The best round trip and throughput that honest validators measured of a worker in Europe, beside the median: points of a score of about 50.
#[test]
fn honest_measurements_differ_by_less_than_a_tenth_of_the_score() {
    let of = |rtt_us| f64::from(quality(Ppm::ONE, rtt_us).get());
    let points = 0.1 * (of(18_000) - of(92_000)) + 0.1 * ppm((40.0 - 25.0) / 400.0);
    assert!((0.09..0.1).contains(&(points / 500_000.0)), "{points}");
    assert_eq!((found("praise").bound_ppm, found("two-of-16-percent").bound_ppm), (1_100_000, 1_100_000));
}

/// Beside the same machine without the lies, the bound is what one earns that is always up.
#[test]
fn lies_do_not_make_an_unreliable_machine_a_reliable_one() {
    let [reliable, unreliable] = ["praise-half", "praise-half-gain"].map(|name| number(found(name).honest));
    let bound = number(found("praise-half-gain").bound_ppm);
    assert!((0.0..2_000.0).contains(&(ppm(reliable / unreliable) - bound)), "{reliable} {unreliable}");
}

/// What the row shows is no chance of its seed: two strong validators can do what a third can, and are all there is where power counts twice.
#[test]
fn two_strong_validators_move_medians_whatever_the_seed() {
    let row = FOUND["two-of-16-percent"].0;
    for seed in 191..=193 {
        let of = |side| number(Figure::Earned.of(&run(&(row.world)(side), seed)));
        let [honest, attack, without] = [Side::Honest, Side::Attack, Side::Undefended].map(of);
        assert!((1.05..1.1).contains(&(attack / honest)), "{seed}: {honest} {attack}");
        assert!(without > 5.0 * honest, "{seed}: {honest} {without}");
    }
}

/// A bound that holds without the defence is no bound of the attack.
#[test]
fn without_its_defence_every_row_is_beyond_its_bound() {
    for row in rows() {
        let found = found(row.name);
        let Some(without) = found.undefended_ppm else { continue };
        let is_beyond = if found.is_harm { without < found.bound_ppm } else { without > found.bound_ppm };
        // A small disk earns less by the credits that it lacks, too: its bound is what the whole disk earns.
        assert_eq!(is_beyond, row.name != "tiny-disk", "{found:?}");
    }
}

/// An attack that is none fails its row, and so does a comparison with those who are not honest.
#[test]
fn an_attack_that_does_nothing_is_found() {
    let idle = Row { world: |_| World::new(), ..*FOUND["smear"].0 };
    let found = idle.run();
    assert!(found.holds && !found.changes && !found.acted && found.acts == 0, "{found:?}");
    let alike = Row { world: |_| (FOUND["smear"].0.world)(Side::Attack), ..*FOUND["smear"].0 };
    let found = alike.run();
    assert!(found.acts > 0 && !found.acted, "whom it is compared with is not honest: {found:?}");
}
