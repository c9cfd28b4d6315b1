//! Quantities that nodes must agree on: integers with a unit, and no silent overflow.

use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name($int);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// Wraps a plain integer of this unit.
            #[inline]
            pub const fn new(value: $int) -> Self {
                Self(value)
            }

            /// The plain integer.
            #[inline]
            pub const fn get(self) -> $int {
                self.0
            }

            /// The sum, or `None` if it does not fit.
            #[inline]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The difference, or `None` if it would be negative.
            #[inline]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Some(Self(difference)),
                    None => None,
                }
            }

            /// The sum, at most the greatest value.
            #[inline]
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference, at least zero.
            #[inline]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}
pub(crate) use quantity;

quantity!(
    /// 10^-6 USDT.
    MicroUsdt, u64
);
quantity!(
    /// 10^-6 TRX, the payment network's smallest unit for fees.
    Sun, u64
);
quantity!(
    /// Parts per million: 1,000,000 is the whole.
    Ppm, u32
);
quantity!(
    /// Work credits; they saturate at [`Credits::MAX`].
    Credits, u64
);

impl Ppm {
    /// The whole, 10^6.
    pub const ONE: Self = Self(1_000_000);

    /// `floor(part * 10^6 / whole)`, at most the whole; zero when `whole` is zero.
    pub fn ratio(part: u64, whole: u64) -> Self {
        if whole == 0 {
            return Self::ZERO;
        }
        let (part, one) = (part.min(whole), u64::from(Self::ONE.0));
        let ppm = match part.checked_mul(one) {
            Some(parts) => parts / whole,
            None => u64::try_from(u128::from(part) * u128::from(one) / u128::from(whole)).unwrap_or(one),
        };
        u32::try_from(ppm).map_or(Self::ONE, Self)
    }
}

impl Credits {
    /// The greatest number of credits, 2^40 (protocol: "credits saturate at 2^40").
    pub const MAX: Self = Self(1 << 40);

    /// `value` credits, at most [`Self::MAX`].
    pub const fn capped(value: u64) -> Self {
        if value > Self::MAX.0 { Self::MAX } else { Self(value) }
    }
}

impl MicroUsdt {
    /// The sum of all amounts, or `None` if it does not fit.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ratio_is_a_floor_and_never_more_than_the_whole(part: u64, whole: u64) {
            let ppm = u128::from(Ppm::ratio(part, whole).get());
            prop_assert!(ppm <= 1_000_000);
            if whole > 0 && part <= whole {
                prop_assert!(ppm * u128::from(whole) <= u128::from(part) * 1_000_000);
                prop_assert!((ppm + 1) * u128::from(whole) > u128::from(part) * 1_000_000);
            }
        }

        #[test]
        fn sums_never_wrap(a: u64, b: u64) {
            let sum = MicroUsdt::new(a).checked_add(MicroUsdt::new(b)).map(MicroUsdt::get);
            prop_assert_eq!(sum, a.checked_add(b));
            prop_assert_eq!(MicroUsdt::sum([MicroUsdt::new(a), MicroUsdt::new(b)]).map(MicroUsdt::get), sum);
        }
    }
}
