//! Values as people write and read them: amounts, addresses, durations, times. Every refusal says what would be right.

use std::fmt::{self, Display};
use std::str::FromStr;

use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{NodeId, ParseBytesError, PayoutAddress};
use lucid_types::vault::TreasurySigner;

use super::output::millionths;

pub(super) use crate::utc::{duration_of, iso_8601, utc};

/// Decimals of USDT and of TRX.
const DECIMALS: usize = 6;
const MILLION: u64 = 1_000_000;

pub(super) fn usdt_of(amount: MicroUsdt) -> String {
    format!("{} USDT", millionths(amount.get()))
}

pub(super) fn trx_of(amount: Sun) -> String {
    format!("{} TRX", millionths(amount.get()))
}

/// An amount of USDT, for example `12.5`.
pub(super) fn usdt(text: &str) -> Result<MicroUsdt, String> {
    decimal(text, "USDT").map(MicroUsdt::new)
}

/// As [`usdt`], but more than nothing.
pub(super) fn some_usdt(text: &str) -> Result<MicroUsdt, String> {
    usdt(text)
        .and_then(|amount| if amount == MicroUsdt::ZERO { Err("more than 0 is expected".into()) } else { Ok(amount) })
}

/// An amount of TRX, for example `100` or `0.5`.
pub(super) fn trx(text: &str) -> Result<Sun, String> {
    decimal(text, "TRX").map(Sun::new)
}

/// Millionths of a number in decimal notation.
fn decimal(text: &str, unit: &str) -> Result<u64, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.starts_with('-') {
        return Err(format!(
            "an amount cannot be negative: write the {unit} as a plain number, for example 1250 or 12.5"
        ));
    }
    if whole.is_empty() || (text.contains('.') && part.is_empty()) || !is_digits(whole) || !is_digits(part) {
        return Err(format!("write the {unit} as a plain number with a point, for example 1250 or 12.5"));
    }
    if part.len() > DECIMALS {
        return Err(format!("{unit} has {DECIMALS} decimals, and this number has {}", part.len()));
    }
    let too_much = || format!("that is more {unit} than there can be");
    let whole: u64 = whole.parse().map_err(|_| too_much())?;
    let part: u64 = format!("{part:0<DECIMALS$}").parse().map_err(|_| too_much())?;
    whole.checked_mul(MILLION).and_then(|whole| whole.checked_add(part)).ok_or_else(too_much)
}

/// A TRON address in its `T...` form.
pub(super) fn address(text: &str) -> Result<PayoutAddress, String> {
    let is_hex = |digits: &str, n| digits.len() == n && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.strip_prefix("0x").or(text.strip_prefix("0X")).is_some_and(|digits| is_hex(digits, 40)) {
        return Err(
            "that is an address in Ethereum's form; TRON's start with T and have 34 characters. Take the address \
                    that the TRON wallet shows"
                .into(),
        );
    }
    if let Some(digits) = text.strip_prefix("41").filter(|digits| is_hex(digits, 40)) {
        let mut hash = [0; 20];
        let same = hex::decode_to_slice(digits, &mut hash).map(|()| PayoutAddress::from_hash20(hash));
        return Err(match same {
            Ok(address) => {
                format!("that is a TRON address in hex, which has no check sum; write it as {address} if that is meant")
            }
            Err(error) => error.to_string(),
        });
    }
    text.parse().map_err(|ParseBytesError { problem, .. }: ParseBytesError| {
        if problem.contains("another chain") {
            return format!("{problem}; TRON's start with T and have 34 characters");
        }
        format!("{problem}: a character is missing or mistyped; copy it again")
    })
}

/// The beginning of an id in hex, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdPrefix(String);

impl IdPrefix {
    /// Fewer would meet another id too soon.
    const MIN_DIGITS: usize = 4;
    const MAX_DIGITS: usize = 64;

    /// The id, if all of it was given.
    pub(super) fn whole<T: FromStr>(&self) -> Option<T> {
        (self.0.len() == Self::MAX_DIGITS).then(|| self.0.parse().ok()).flatten()
    }

    /// Whether an id begins so.
    pub(super) fn matches(&self, id: &impl Display) -> bool {
        id.to_string().starts_with(&self.0)
    }
}

impl Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An id, or enough of its first digits.
pub(super) fn id_prefix(text: &str) -> Result<IdPrefix, String> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !(IdPrefix::MIN_DIGITS..=IdPrefix::MAX_DIGITS).contains(&text.len()) {
        return Err(format!(
            "an id of {} hex digits is expected, or its first {} or more",
            IdPrefix::MAX_DIGITS,
            IdPrefix::MIN_DIGITS
        ));
    }
    Ok(IdPrefix(text.to_ascii_lowercase()))
}

/// Refuses recipients that cannot use what they get.
pub(super) fn check_recipient(
    to: &PayoutAddress,
    token: &PayoutAddress,
    vaults: &[PayoutAddress],
) -> anyhow::Result<()> {
    let what = if to.hash20() == [0; 20] {
        "is the zero address"
    } else if to == token {
        "is the token's contract"
    } else if vaults.contains(to) {
        "is the vault itself"
    } else {
        return Ok(());
    };
    anyhow::bail!("{to} {what}: USDT sent there is lost or goes in a circle; give an account of your own")
}

/// A treasury signer: `ADDRESS`, or `NODE_ID=ADDRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SignerArg {
    pub(super) node: Option<NodeId>,
    pub(super) key_address: PayoutAddress,
}

pub(super) fn signer(text: &str) -> Result<SignerArg, String> {
    let Some((node, key_address)) = text.split_once('=') else {
        return Ok(SignerArg { node: None, key_address: address(text)? });
    };
    let node = node.parse().map_err(|e: ParseBytesError| format!("{e}; NODE_ID=ADDRESS is expected"))?;
    Ok(SignerArg { node: Some(node), key_address: address(key_address)? })
}

/// As [`signer`], with its node.
pub(super) fn treasury_signer(text: &str) -> Result<TreasurySigner, String> {
    let SignerArg { node, key_address } = signer(text)?;
    let expected = "NODE_ID=ADDRESS is expected: the node that is asked for the signature, and the address of its key";
    Ok(TreasurySigner { node: node.ok_or(expected)?, key_address })
}

/// A duration in seconds: `90`, `90s`, `15m`, `36h`, `3d`.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    let expected = || "a duration such as 90s, 15m, 36h or 3d is expected".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits) {
        Some("" | "s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        _ => return Err(expected()),
    };
    let number: u32 = digits.parse().map_err(|_| expected())?;
    number.checked_mul(unit).ok_or_else(|| "that is longer than 136 years".to_owned())
}

/// A time, as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// So many seconds ago.
    Ago(u32),
    /// A Unix time in seconds.
    At(u64),
}

impl Moment {
    /// The Unix time in seconds.
    pub(super) fn seconds(self, now: u64) -> u64 {
        match self {
            Self::Ago(ago) => now.saturating_sub(u64::from(ago)),
            Self::At(at) => at,
        }
    }
}

/// A time: `6h` is six hours ago, `2026-11-29` and `2026-11-29T00:37` are in UTC.
pub(super) fn moment(text: &str) -> Result<Moment, String> {
    let expected =
        "a time is expected: 6h for six hours ago (s, m, h, d), or a date in UTC as 2026-11-29 or 2026-11-29T00:37";
    if let Some(at) = crate::utc::parse(text) {
        return Ok(Moment::At(at));
    }
    let is_duration = text.ends_with(['s', 'm', 'h', 'd']);
    is_duration.then(|| seconds(text).ok()).flatten().map(Moment::Ago).ok_or_else(|| expected.to_owned())
}

/// A Unix time in seconds as date and time, and how far it is from `now`.
pub(super) fn when(at: u64, now: u64) -> String {
    match at {
        u64::MAX => "never".to_owned(),
        at if at > now => format!("{} (in {})", utc(at), duration_of(at.saturating_sub(now))),
        at => format!("{} ({} ago)", utc(at), duration_of(now.saturating_sub(at))),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn durations_and_times_are_readable() {
        for (text, wanted) in [("90", 90), ("90s", 90), ("15m", 900), ("36h", 129_600), ("3d", 259_200), ("0", 0)] {
            assert_eq!(seconds(text).unwrap(), wanted);
        }
        for text in ["", "h", "1.5h", "-1", "3w", "5000000000", "49711d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        for (seconds, wanted) in
            [(0, "0 s"), (59, "59 s"), (3_600, "1 h"), (90_061, "1 d 1 h"), (259_200, "3 d"), (125, "2 min 5 s")]
        {
            assert_eq!(duration_of(seconds), wanted);
        }
        for (seconds, wanted) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_912_677, "2026-11-29 00:37:57 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (u64::from(u32::MAX), "2106-02-07 06:28:15 UTC"),
        ] {
            assert_eq!(utc(seconds), wanted);
        }
        assert_eq!(iso_8601(1_795_912_677_005), "2026-11-29T00:37:57.005Z");
        assert_eq!(when(1_795_912_677, 1_795_912_600), "2026-11-29 00:37:57 UTC (in 1 min 17 s)");
        assert_eq!(when(1_795_912_677, 1_795_912_678), "2026-11-29 00:37:57 UTC (1 s ago)");
        assert_eq!(when(u64::MAX, 0), "never");
        assert!(!utc(u64::MAX).is_empty());
    }

    #[test]
    fn times_are_dates_or_so_long_ago() {
        for (text, wanted) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400),
            ("2026-11-29T00:37:57Z", 1_795_912_677),
            ("2026-11-29 00:37", 1_795_912_620),
            ("2100-03-01T00:00", 4_107_542_400),
            ("9999-12-31T23:59:59", 253_402_300_799),
        ] {
            assert_eq!(moment(text).unwrap(), Moment::At(wanted), "{text}");
        }
        // Up to the year 9999.
        for days in (0..2_932_896).step_by(97) {
            let date = utc(days * 86_400 + 3_661);
            let at = moment(date.strip_suffix(" UTC").unwrap()).map(|at| at.seconds(0));
            assert_eq!(at, Ok(days * 86_400 + 3_661), "{date}");
        }
        assert_eq!(moment("6h").unwrap().seconds(100_000), 78_400);
        assert_eq!(moment("3d").unwrap().seconds(100), 0);
        for text in [
            "",
            "6",
            "h",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "2026-00-01",
            "2026-11-29T24:00",
            "2026-11-29T1",
            "1969-12-31",
            "-1h",
        ] {
            assert!(moment(text).unwrap_err().contains("a date in UTC"), "{text}");
        }
    }

    #[test]
    fn amounts_are_read_to_the_millionth_and_no_further() {
        for (text, wanted) in [
            ("0", 0),
            ("1250", 1_250_000_000),
            ("12.5", 12_500_000),
            ("0.000001", 1),
            ("18446744073709.551615", u64::MAX),
        ] {
            assert_eq!(usdt(text).unwrap().get(), wanted, "{text}");
        }
        for (text, told) in [
            ("0.0000001", "6 decimals, and this number has 7"),
            ("1,5", "plain number with a point"),
            ("-1", "cannot be negative"),
            ("-0.5", "cannot be negative"),
            ("1e6", "plain number"),
            ("", "plain number"),
            (".5", "plain number"),
            ("5.", "plain number"),
            ("1 000", "plain number"),
            ("18446744073709.551616", "more USDT than there can be"),
            ("99999999999999999999", "more USDT than there can be"),
        ] {
            let error = usdt(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        assert!(some_usdt("0.000000").is_err());
        assert_eq!(trx("1.000001").unwrap(), Sun::new(1_000_001));
    }

    #[test]
    fn what_is_no_tron_address_is_told_from_each_other() {
        let usdt = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";
        assert_eq!(address(usdt).unwrap().to_string(), usdt);
        for (text, told) in [
            (
                "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u",
                "\"TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u\" is no TRON address (its checksum does not match): a character",
            ),
            ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6tTR7N", "too long"),
            ("TR7", "too short"),
            ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj0t", "'0'"),
            ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6", "mistyped"),
            ("0xa614f803b6fd780986a42c78ec9c7f77e6ded13c", "Ethereum"),
            ("41a614f803b6fd780986a42c78ec9c7f77e6ded13c", usdt),
            ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "another chain"),
            ("", "mistyped"),
        ] {
            let error = address(text).unwrap_err();
            assert!(error.contains(told) && !error.contains('['), "{text}: {error}");
        }
    }

    #[test]
    fn ids_may_be_cut_off_but_not_too_early() {
        let node = NodeId::from_bytes([0xab; 32]);
        for text in ["abab", "ABABAB", &node.to_string()] {
            let prefix = id_prefix(text).unwrap();
            assert!(prefix.matches(&node), "{text}");
            assert_eq!(prefix.whole::<NodeId>(), (text.len() == 64).then_some(node), "{text}");
        }
        assert!(!id_prefix("abac").unwrap().matches(&node));
        for text in ["", "aba", "abxy", &"ab".repeat(33), "ab ab"] {
            assert!(id_prefix(text).unwrap_err().contains("its first 4 or more"), "{text}");
        }
    }

    #[test]
    fn recipients_that_swallow_money_are_refused() {
        let address = |byte| PayoutAddress::from_hash20([byte; 20]);
        let check = |to| check_recipient(&address(to), &address(1), &[address(2), address(3)]);
        check(4).unwrap();
        for (to, told) in [(0, "zero address"), (1, "token's contract"), (2, "vault itself"), (3, "vault itself")] {
            let error = check(to).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn signers_are_addresses_with_or_without_their_nodes() {
        let key = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";
        assert_eq!(signer(key).unwrap().node, None);
        let node = NodeId::from_bytes([7; 32]);
        let both = format!("{node}={key}");
        assert_eq!(signer(&both).unwrap(), SignerArg { node: Some(node), key_address: address(key).unwrap() });
        assert_eq!(treasury_signer(&both).unwrap().node, node);
        assert!(treasury_signer(key).unwrap_err().contains("NODE_ID=ADDRESS"));
        assert!(signer(&format!("12={key}")).unwrap_err().contains("64 hex digits"));
    }
}
