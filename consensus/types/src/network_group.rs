//! Where workers were seen on the Internet: what one machine's many names have in common.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::bytes;

/// The IPv4 address or the IPv6 /48 at which a worker was seen, in 6 bytes: `0.0.a.b.c.d`, or the first 6 of the IPv6 address. They
/// have no common ones, since every IPv6 address that is routed begins with 0x20 to 0x3f.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkGroup([u8; 6]);

/// Text that is no network group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither \"none\" nor a globally routed IPv4 address or IPv6 /48")]
pub struct ParseGroupError(String);

impl NetworkGroup {
    /// Nowhere that tells machines apart: a private address, or one that is a relay's.
    pub const NONE: Self = Self([0; 6]);
    /// The length of the encoding.
    pub const BYTES: usize = 6;

    /// The group of an address; [`Self::NONE`] of one that is not routed globally.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) if is_global_v4(ip) => {
                let [a, b, c, d] = ip.octets();
                Self([0, 0, a, b, c, d])
            }
            IpAddr::V6(ip) if is_global_v6(ip) => Self(ip.octets().first_chunk().copied().unwrap_or_default()),
            IpAddr::V4(_) | IpAddr::V6(_) => Self::NONE,
        }
    }

    /// The group of these bytes, whether or not [`Self::is_canonical`].
    pub const fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 6] {
        &self.0
    }

    /// The bytes as a big-endian number: groups are in the order of their numbers.
    #[inline]
    pub fn number(&self) -> u64 {
        self.0.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The group of a number, of which the lower 48 bits count.
    pub const fn from_number(number: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = number.to_be_bytes();
        Self([a, b, c, d, e, f])
    }

    /// Whether it is a place that tells machines apart.
    pub fn is_some(&self) -> bool {
        *self != Self::NONE
    }

    /// Whether [`Self::of`] returns it for some address.
    pub fn is_canonical(&self) -> bool {
        Self::of(self.first_address()) == *self
    }

    /// The IPv4 address, or the first one of the /48.
    fn first_address(&self) -> IpAddr {
        let [a, b, c, d, e, f] = self.0;
        if a == 0 && b == 0 {
            IpAddr::V4(Ipv4Addr::new(c, d, e, f))
        } else {
            let segment = |high, low| u16::from_be_bytes([high, low]);
            IpAddr::V6(Ipv6Addr::new(segment(a, b), segment(c, d), segment(e, f), 0, 0, 0, 0, 0))
        }
    }
}

/// The special ranges are those of the IANA registries.
fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let is_this_network = a == 0;
    let is_shared = a == 100 && b & 0xc0 == 64;
    let is_benchmarking = a == 198 && b & 0xfe == 18;
    let is_multicast_or_reserved = a >= 224;
    let is_special = is_this_network || is_shared || is_benchmarking || is_multicast_or_reserved;
    !is_special && !ip.is_private() && !ip.is_loopback() && !ip.is_link_local() && !ip.is_documentation()
}

/// Inside 2000::/3 and outside 2001:db8::/32. Addresses of tunnels count as what they are.
fn is_global_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0xdb8)
}

impl fmt::Display for NetworkGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first_address() {
            _ if !self.is_some() => f.write_str("none"),
            IpAddr::V4(ip) => write!(f, "{ip}"),
            IpAddr::V6(ip) => write!(f, "{ip}/48"),
        }
    }
}

impl fmt::Debug for NetworkGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkGroup({self})")
    }
}

impl FromStr for NetworkGroup {
    type Err = ParseGroupError;

    /// Takes what [`Display`](fmt::Display) gives for canonical groups, and nothing else.
    fn from_str(text: &str) -> Result<Self, ParseGroupError> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        let address = text.strip_suffix("/48").unwrap_or(text);
        let group = address.parse().map_or(Self::NONE, Self::of);
        let is_its_text = group.is_some() && group.to_string() == text;
        if is_its_text { Ok(group) } else { Err(ParseGroupError(text.to_owned())) }
    }
}

impl Serialize for NetworkGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            bytes::serialize("NetworkGroup", &self.0, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for NetworkGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            bytes::deserialize("NetworkGroup", deserializer).map(Self)
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(ip: &str) -> NetworkGroup {
        NetworkGroup::of(ip.parse().unwrap())
    }

    #[test]
    fn groups_by_hand() {
        assert_eq!(of("9.8.7.6").as_bytes(), &[0, 0, 9, 8, 7, 6]);
        assert_eq!(of("::ffff:9.8.7.6"), of("9.8.7.6"), "an IPv4 address in IPv6");
        assert_eq!(of("2a00:1450:4001:82a::200e").as_bytes(), &[0x2a, 0, 0x14, 0x50, 0x40, 0x01]);
        assert_eq!(of("2a00:1450:4001::1"), of("2a00:1450:4001:ffff::2"), "one /48");
        assert_eq!(
            (of("9.8.7.6").to_string(), of("2a00:1450:4001::1").to_string()),
            ("9.8.7.6".into(), "2a00:1450:4001::/48".into())
        );
        let nowhere = [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "198.18.0.1",
            "198.19.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "4000::1",
            "::ffff:10.0.0.1",
        ];
        assert!(nowhere.into_iter().all(|ip| of(ip) == NetworkGroup::NONE));
        for ip in [
            "100.63.255.255",
            "100.128.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:db9::1",
            "3fff:ffff::1",
        ] {
            assert!(of(ip).is_some(), "{ip}");
        }
    }

    #[test]
    fn only_the_text_of_a_group_is_read() {
        for text in ["none", "9.8.7.6", "2a00:1450:4001::/48"] {
            assert_eq!(text.parse::<NetworkGroup>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "None",
            "10.0.0.1",
            "9.8.7.6/48",
            "9.8.7.06",
            "2a00:1450:4001::",
            "2a00:1450:4001:1::/48",
            "2001:db8::/48",
        ] {
            assert!(text.parse::<NetworkGroup>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_group_of_any_address_is_canonical(v4: u32, v6: u128) {
            let routed = Ipv6Addr::from(v6 >> 3 | 1 << 125);
            for ip in [IpAddr::from(Ipv4Addr::from(v4)), Ipv6Addr::from(v6).into(), routed.into()] {
                let group = NetworkGroup::of(ip);
                prop_assert!(group.is_canonical());
                prop_assert_eq!(group.to_string().parse::<NetworkGroup>().unwrap(), group);
            }
        }

        #[test]
        fn what_is_not_canonical_is_no_address(bytes: [u8; 6]) {
            let group = NetworkGroup::from_bytes(bytes);
            prop_assert_eq!(group.is_canonical(), !group.is_some() || group.to_string().parse() == Ok(group));
        }
    }
}
