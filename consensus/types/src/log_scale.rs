//! Measured quantities in 16 bits: exact where they are small, and to one part in 2,048 where they are large.

use serde::{Deserialize, Serialize};

/// A quantity from 0 to [`LogScale::MAX`] on a logarithmic scale, rounded down.
///
/// Like a floating-point number without sign: the upper 5 bits of the code are an exponent `e`, the lower 11 a mantissa `m`. The value
/// is `m` if `e` is 0, else `(2048 + m) << (e - 1)`. So every value has one code, codes are in the order of their values, and up to 4,096
/// the code is the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogScale(u16);

const MANTISSA_BITS: u32 = 11;
const LEADING: u64 = 1 << MANTISSA_BITS;

impl LogScale {
    /// The value 0.
    pub const ZERO: Self = Self(0);
    /// The greatest value: about 2^42.
    pub const MAX: u64 = (2 * LEADING - 1) << 30;

    /// The greatest code whose value is at most `value`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 42 bits: the exponent is below 32, the mantissa below 2048"
    )]
    pub const fn encode(value: u64) -> Self {
        let value = if value > Self::MAX { Self::MAX } else { value };
        if value < LEADING {
            return Self(value as u16);
        }
        let exponent = u64::BITS - value.leading_zeros() - MANTISSA_BITS;
        let mantissa = (value >> (exponent - 1)) - LEADING;
        Self(((exponent as u16) << MANTISSA_BITS) | mantissa as u16)
    }

    /// The value of this code.
    #[inline]
    pub const fn value(self) -> u64 {
        let (exponent, mantissa) = (self.0 >> MANTISSA_BITS, self.0 as u64 % LEADING);
        match exponent.checked_sub(1) {
            None => mantissa,
            Some(shift) => (LEADING + mantissa) << shift,
        }
    }

    /// The code itself.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// The scale's value of a code.
    pub const fn from_code(code: u16) -> Self {
        Self(code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_code_is_the_only_one_of_its_value_and_in_its_order() {
        let all = || (0..=u16::MAX).map(LogScale::from_code);
        assert!(all().all(|code| LogScale::encode(code.value()) == code));
        assert!(all().zip(all().skip(1)).all(|(low, high)| low.value() < high.value()));
        assert_eq!(LogScale::from_code(u16::MAX).value(), LogScale::MAX);
    }

    #[test]
    fn values_by_hand() {
        let round = |value| LogScale::encode(value).value();
        assert!((0..=4_096).all(|value| round(value) == value), "small ones are exact");
        for exact in [256 << 10, 5 << 20, 16 << 20, 1 << 31, 3 << 40] {
            assert_eq!(round(exact), exact);
        }
        assert_eq!(round(2_000_000), 1_999_872);
        assert_eq!(round(u64::MAX), LogScale::MAX);
    }

    proptest! {
        #[test]
        fn the_error_is_below_one_part_in_2048(value in 1..=LogScale::MAX) {
            let rounded = LogScale::encode(value).value();
            prop_assert!(rounded <= value && 2_048 * (value - rounded) < value);
        }

        #[test]
        fn the_scale_is_monotone(a: u64, b: u64) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(LogScale::encode(low) <= LogScale::encode(high));
        }
    }
}
