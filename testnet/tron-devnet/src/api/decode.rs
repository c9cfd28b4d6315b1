//! Hex, base58check and base64 as java-tron reads them (`ByteArray.fromHexString`, `Commons.decodeFromBase58Check`).

use crate::address;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE58: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// No address is longer, and decoding takes time quadratic in the length.
const MAX_BASE58: usize = 128;

/// Bytes in hex: `0x` may stand before, a leading zero may be missing, white space does not count.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut padded = String::with_capacity(digits.len().saturating_add(1));
    if digits.encode_utf16().count() % 2 == 1 {
        padded.push('0');
    }
    padded.extend(digits.chars().filter(|c| !matches!(c, ' ' | '\t' | '\r' | '\n')));
    hex::decode(padded).ok()
}

/// The 21 bytes of an address in base58check; none if it is not one, and an error if not even base58.
pub(crate) fn base58(text: &str) -> Result<Option<Vec<u8>>, String> {
    if let Some((at, wrong)) = text.chars().enumerate().find(|(_, c)| !BASE58.contains(*c)) {
        return Err(format!("Illegal character {wrong} at {at}"));
    }
    if text.len() > MAX_BASE58 {
        return Ok(None);
    }
    Ok(address::from_base58(text).ok().map(|address| address::to_wire(address).to_vec()))
}

/// Bytes in base64; empty if it is not.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| BASE64.iter().position(|known| *known == c).and_then(|at| u32::try_from(at).ok());
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let Some(bits) = group.iter().try_fold(0, |bits, c| Some(bits << 6 | digit(*c)?)) else { return Vec::new() };
        let padded = bits << (6 * (4 - group.len()));
        bytes.extend_from_slice(&padded.to_be_bytes()[1..group.len()]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_leniently() {
        assert_eq!(hex("0x0a0B"), Some(vec![10, 11]));
        assert_eq!(hex("a0b"), Some(vec![10, 11]));
        assert_eq!(hex("0a 0b\n"), Some(vec![10, 11]));
        assert_eq!(hex(""), Some(vec![]));
        assert_eq!(hex("0xzz"), None);
        assert_eq!(hex("0x0x"), None);
    }

    #[test]
    fn base64_is_read() {
        assert_eq!(base64("QQ=="), b"A");
        assert_eq!(base64("QUI="), b"AB");
        assert_eq!(base64("QUJDRA=="), b"ABCD");
        assert_eq!(base64("Q?=="), b"");
    }

    #[test]
    fn base58_tells_what_is_wrong() {
        assert_eq!(base58("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u"), Ok(None), "checksum");
        assert_eq!(base58(""), Ok(None));
        assert_eq!(base58("T0"), Err("Illegal character 0 at 1".to_owned()));
        assert_eq!(base58(&"T".repeat(1_000_000)), Ok(None));
        let usdt = base58("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t");
        assert_eq!(
            usdt.map(|a| a.map(|a| hex::encode(&a))),
            Ok(Some("41a614f803b6fd780986a42c78ec9c7f77e6ded13c".to_owned()))
        );
    }
}
