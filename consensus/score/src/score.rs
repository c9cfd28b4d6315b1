//! The PoOT score: seven factors, each in parts per million, weighted.

use lucid_types::amount::{Credits, Ppm};
use lucid_types::policy::{Policy, ScoreWeights};
use serde::{Deserialize, Serialize};

/// What the seven components are computed from. A factor that nothing has measured is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factors {
    /// Reachable seconds in the history window.
    pub session_seconds: u64,
    /// Credits in the credits window.
    pub credits: Credits,
    /// Proved share of the declared resources.
    pub utilisation: Ppm,
    /// Measured bandwidth in kbit/s.
    pub kbit_s: u64,
    /// Reachable share of the credits window.
    pub uptime: Ppm,
    /// Probe success, lowered by slow answers: see [`quality`].
    pub quality: Ppm,
    /// Moving average of probes passed: see [`next_trust`].
    pub trust: Ppm,
}

/// The seven components, each at most 10^6 ppm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Components {
    /// `full_session_s` of the policy are full marks: ten hours on the public mesh.
    pub session_time: Ppm,
    /// `full_credits` are full marks: 10,000 on the public mesh.
    pub work_credits: Ppm,
    /// As measured.
    pub utilisation: Ppm,
    /// `full_kbit_s` is full marks: 1 Gbit/s.
    pub bandwidth: Ppm,
    /// As measured.
    pub uptime: Ppm,
    /// As measured.
    pub quality: Ppm,
    /// As measured.
    pub trust: Ppm,
}

/// Up to this round trip answers are as good as can be.
pub const FULL_RTT_US: u64 = 50_000;

/// Trust before any probe.
pub const INITIAL_TRUST: Ppm = Ppm::new(500_000);

impl Factors {
    /// The components, by the full marks of the policy.
    pub fn components(&self, policy: &Policy) -> Components {
        Components {
            session_time: Ppm::ratio(self.session_seconds, policy.full_session_s),
            work_credits: Ppm::ratio(self.credits.get(), policy.full_credits),
            utilisation: self.utilisation.min(Ppm::ONE),
            bandwidth: Ppm::ratio(self.kbit_s, policy.full_kbit_s),
            uptime: self.uptime.min(Ppm::ONE),
            quality: self.quality.min(Ppm::ONE),
            trust: self.trust.min(Ppm::ONE),
        }
    }
}

impl Components {
    /// What they are called, in the order of [`Self::all`].
    pub const NAMES: [&str; 7] =
        ["session time", "work credits", "utilisation", "bandwidth", "uptime", "quality", "trust"];

    /// All of them, in the order of [`ScoreWeights::all`].
    pub const fn all(&self) -> [Ppm; 7] {
        let Self { session_time, work_credits, utilisation, bandwidth, uptime, quality, trust } = *self;
        [session_time, work_credits, utilisation, bandwidth, uptime, quality, trust]
    }

    /// Those that these are.
    pub const fn of(all: [Ppm; 7]) -> Self {
        let [session_time, work_credits, utilisation, bandwidth, uptime, quality, trust] = all;
        Self { session_time, work_credits, utilisation, bandwidth, uptime, quality, trust }
    }

    /// `floor(sum(weight * component) / 10^6)`.
    pub fn score(&self, weights: &ScoreWeights) -> Ppm {
        let terms = weights.all().into_iter().zip(self.all());
        let sum: u64 = terms.map(|(weight, part)| u64::from(weight.get()) * u64::from(part.get())).sum();
        Ppm::ratio(sum / 1_000_000, 1_000_000)
    }
}

/// Probe success; above a median round trip of 50 ms, `floor(success * 50,000 / RTT in us)`.
pub fn quality(success: Ppm, rtt_us: u64) -> Ppm {
    if rtt_us > FULL_RTT_US { Ppm::ratio(u64::from(success.get()) * FULL_RTT_US / rtt_us, 1_000_000) } else { success }
}

/// The moving average with weight 1/16 for the newest epoch: `floor((15 * trust + success) / 16)`.
pub fn next_trust(trust: Ppm, success: Ppm) -> Ppm {
    let next = (15 * u64::from(trust.get()) + u64::from(success.get())) / 16;
    Ppm::ratio(next, 1_000_000)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn vectors() {
        let file: Value = serde_json::from_str(include_str!("../tests/data/poot_scores.json")).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert!(cases.len() >= 10, "the file holds the cases");
        for case in cases {
            let number = |key: &str| case["in"][key].as_u64().unwrap();
            let ppm = |key: &str| Ppm::new(u32::try_from(number(key)).unwrap());
            let factors = Factors {
                session_seconds: number("session_seconds"),
                credits: Credits::new(number("credits")),
                utilisation: ppm("utilisation_ppm"),
                kbit_s: number("kbit_s"),
                uptime: ppm("uptime_ppm"),
                quality: ppm("quality_ppm"),
                trust: ppm("trust_ppm"),
            };
            let score = factors.components(&Policy::default()).score(&ScoreWeights::default());
            assert_eq!(u64::from(score.get()), case["score_ppm"].as_u64().unwrap(), "{case}");
        }
    }

    #[test]
    fn slow_answers_lower_the_quality() {
        let success = Ppm::new(900_000);
        assert_eq!((quality(success, 0), quality(success, 50_000)), (success, success));
        assert_eq!(quality(success, 100_000).get(), 450_000);
        assert_eq!(quality(success, u64::MAX).get(), 0);
    }

    #[test]
    fn trust_moves_by_a_sixteenth() {
        assert_eq!(next_trust(INITIAL_TRUST, Ppm::ONE).get(), 531_250);
        assert_eq!(next_trust(INITIAL_TRUST, Ppm::ZERO).get(), 468_750);
        let mut trust = Ppm::ZERO;
        for _ in 0..500 {
            trust = next_trust(trust, Ppm::ONE);
        }
        assert!(trust.get() > 999_900 && trust <= Ppm::ONE);
    }
}
