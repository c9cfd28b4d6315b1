//! Host and group of an IP address: what one party cheaply has many addresses of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One machine or one household: an IPv4 address, or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Host(IpAddr);

/// What one provider gives to one customer: an IPv4 /24, or an IPv6 /48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Group(IpAddr);

impl Host {
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(masked(ip, 32, 64))
    }
}

impl Group {
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(masked(ip, 24, 48))
    }

    /// The address bytes, for hashing.
    pub(super) fn bytes(&self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        }
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0, if self.0.is_ipv4() { 24 } else { 48 })
    }
}

/// The address with only its first bits. An IPv4 address written as IPv6 is one of IPv4.
fn masked(ip: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(u32::BITS.saturating_sub(v4_bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(ip) & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(u128::BITS.saturating_sub(v6_bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(ip) & mask))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_groups_are_what_is_cheap_to_have() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (a, b, one_host, one_group) in [
            ("192.0.2.1", "192.0.2.1", true, true),
            ("192.0.2.1", "192.0.2.2", false, true),
            ("192.0.2.1", "192.0.3.1", false, false),
            ("192.0.2.1", "::ffff:192.0.2.1", true, true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true, true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false, true),
            ("2001:db8:1:2::1", "2001:db8:2:2::1", false, false),
        ] {
            let (a, b) = (ip(a), ip(b));
            assert_eq!((Host::of(a) == Host::of(b), Group::of(a) == Group::of(b)), (one_host, one_group), "{a} {b}");
        }
        assert_eq!(Group::of(ip("192.0.2.1")).to_string(), "192.0.2.0/24");
    }
}
