use bech32::primitives::decode::CheckedHrpstring;

use super::*;

const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn bearer() -> BearerInvite {
    let invite = Invite {
        pool: PoolId::from_bytes([2; 32]),
        key: key(0x5a).public_key(),
        until: UnixMillis::new(1_800_000_000_000),
        uses: 3,
    };
    BearerInvite::new(key(4).sign_invite(&NETWORK, invite).into_inner(), &key(0x5a)).unwrap()
}

fn bootstrap(addresses: &[&str]) -> Result<Bootstrap, BootstrapError> {
    Bootstrap::new(addresses.iter().map(|address| (*address).to_owned()).collect())
}

fn invitation() -> JoinString {
    JoinString {
        network: NETWORK,
        bootstrap: bootstrap(&["/dnsaddr/seeds.example.org"]).unwrap(),
        pool: Some(JoinPool::Invited(bearer())),
        pin: Some(Pin {
            height: Height::new(77),
            block: BlockHash::from_bytes([6; 32]),
            time: UnixMillis::new(1_799_999_999_000),
        }),
    }
}

fn parse_error(text: &str) -> JoinStringError {
    text.parse::<JoinString>().unwrap_err()
}

/// Bech32m of these bytes, whatever they are.
fn text_of(data: &[u8]) -> String {
    bech32::encode::<LongBech32m>(HRP, data).unwrap()
}

/// As a string of `version` with this body.
fn text_with(version: u8, body: &[u8]) -> String {
    text_of(&[&[version], u16::try_from(body.len()).unwrap().to_le_bytes().as_slice(), body].concat())
}

#[test]
fn the_checksum_is_bech32m() {
    LongBech32m::sanity_check();
    let text = JoinString { pool: None, pin: None, ..invitation() }.to_string();
    assert!(text.len() < Bech32m::CODE_LENGTH);
    assert!(CheckedHrpstring::new::<Bech32m>(&text).is_ok());
}

#[test]
fn text_round_trips_in_either_case_and_with_space_around() {
    let join = invitation();
    let text = join.to_string();
    assert!(text.starts_with("lucid1"));
    for text in [text.clone(), text.to_uppercase(), format!("  {text}\n"), format!("\t{text}\r\n")] {
        assert_eq!(text.parse::<JoinString>().unwrap(), join);
    }
    let parsed: JoinString = text.parse().unwrap();
    let pool = parsed.pool.unwrap();
    assert_eq!(pool.id(), PoolId::from_bytes([2; 32]));
    assert_eq!(pool.invite().unwrap().key().seed(), &[0x5a; 32]);
    assert_eq!(pool.invite().unwrap().invite(), bearer().invite());
    assert_eq!(JoinPool::Named(pool.id()).invite(), None);
}

#[test]
fn every_changed_character_is_found() {
    let text = invitation().to_string();
    let others = "qpzry9x8gf2tvdw0s3jn54khce6mua7l1bio QPZRY\n!\u{e9}\0";
    for (at, old) in text.char_indices() {
        for new in others.chars().filter(|new| *new != old) {
            let changed = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            assert!(changed.parse::<JoinString>().is_err(), "{old} at {at} changed to {new:?}");
        }
    }
}

#[test]
fn a_string_that_is_not_whole_says_so() {
    let text = invitation().to_string();
    for found in 0..text.len() {
        let error = parse_error(&text[..found]);
        let is_told = match error {
            JoinStringError::Prefix => found < 6,
            JoinStringError::CutOff(n) => (6..17).contains(&found) && n == found,
            JoinStringError::Length { found: n, expected } => n == found && expected == text.len(),
            _ => false,
        };
        assert!(is_told, "{found} characters: {error}");
    }
    let twice = format!("{text}{}", &text[6..]);
    assert!(matches!(parse_error(&twice), JoinStringError::Length { .. }));
    assert!(matches!(parse_error(&text[1..]), JoinStringError::Prefix));
}

#[test]
fn wrong_text_says_what_is_wrong_and_what_to_do() {
    let text = invitation().to_string();
    let half = text.len() / 2;
    let broken = format!("{}\n{}", &text[..half], &text[half..]);
    let mixed = format!("{}{}", &text[..half], text[half..].to_uppercase());
    let foreign = format!("{}b{}", &text[..half], &text[half + 1..]);
    let last = if text.ends_with('q') { 'p' } else { 'q' };
    let changed = format!("{}{last}", &text[..text.len() - 1]);
    for (text, told) in [
        ("", "a join string starts with lucid1: copy it from there on"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "a join string starts with lucid1: copy it from there on"),
        (&broken, "the join string is broken by a space or a new line: paste it as one word"),
        (&mixed, "the join string mixes capital and small letters: copy it again"),
        (&foreign, "no join string has the character 'b': copy it again"),
        (&changed, "a character of the join string is wrong: copy it again"),
        ("lucid1qqqq", "the join string is cut off after 10 characters: copy all of it"),
    ] {
        assert_eq!(parse_error(text).to_string(), told);
    }
}

#[test]
fn another_version_asks_for_an_upgrade_whatever_it_says() {
    for version in [0, 2, 255] {
        let text = text_with(version, b"something that this program does not understand");
        assert!(matches!(parse_error(&text), JoinStringError::Version(found) if found == version));
    }
    // But only if nothing was changed on the way.
    let text = text_with(2, b"something");
    let changed = text.replacen("lucid1qg", "lucid1qc", 1);
    assert_ne!(changed, text);
    assert!(matches!(parse_error(&changed), JoinStringError::Checksum));
}

#[test]
fn contents_that_no_right_program_writes_are_refused() {
    let body = encode(&invitation());
    assert_eq!(text_with(VERSION, &body), invitation().to_string());
    let is_refused = |body: &[u8]| matches!(parse_error(&text_with(VERSION, body)), JoinStringError::Contents(_));
    assert!(is_refused(&[]));
    assert!(is_refused(&body[..body.len() - 1]));
    assert!(is_refused(&[body.as_slice(), &[0]].concat()));
    // Another secret than that of the invite's key.
    let at = body.windows(32).position(|bytes| bytes == [0x5a; 32]).unwrap();
    let mut other = body.clone();
    other[at] ^= 1;
    assert!(is_refused(&other));
    // An address that does not start with a slash.
    let at = body.windows(8).position(|bytes| bytes == b"/dnsaddr").unwrap();
    let mut other = body;
    other[at] = b'.';
    assert!(is_refused(&other));
    // A one among the bits that fill up the last character before the checksum.
    let short = JoinString { pool: None, pin: None, ..invitation() };
    let (text, data) = (short.to_string(), encode(&short).len() + HEAD_BYTES);
    assert_ne!(8 * data % 5, 0, "no bits fill it up");
    let mut characters: Vec<Fe32> =
        text[6..text.len() - 6].chars().map(|character| Fe32::from_char(character).unwrap()).collect();
    let last = characters.pop().unwrap();
    characters.push(Fe32::try_from(last.to_u8() | 1).unwrap());
    let filled: String =
        bech32::Fe32IterExt::with_checksum::<LongBech32m>(characters.into_iter(), &HRP).chars().collect();
    assert_ne!(filled, text);
    let error = parse_error(&filled);
    assert!(matches!(error, JoinStringError::Contents(DecodeError::NotCanonical)), "{error:?}");
}

#[test]
fn an_invite_must_be_signed_for_the_network() {
    let elsewhere = JoinString { network: NetworkId::from_bytes([9; 32]), ..invitation() };
    assert!(matches!(parse_error(&elsewhere.to_string()), JoinStringError::Invite(_)));
    let mut forged = bearer().invite().clone();
    forged.record.uses += 1;
    let forged = BearerInvite::new(forged, &key(0x5a)).unwrap();
    let forged = JoinString { pool: Some(JoinPool::Invited(forged)), ..invitation() };
    assert!(matches!(parse_error(&forged.to_string()), JoinStringError::Invite(_)));
}

#[test]
fn a_bearer_has_the_key_of_the_invite_and_does_not_show_it() {
    assert_eq!(BearerInvite::new(bearer().invite().clone(), &key(0x5b)), Err(WrongSecret));
    let debug = format!("{:?}", invitation());
    assert!(debug.contains("Invite"), "{debug}");
    for hidden in ["90, 90, 90", "5a5a5a5a", "5a, 5a", "secret"] {
        assert!(!debug.contains(hidden), "{debug}");
    }
}

#[test]
fn bootstrap_addresses_are_one_to_five_that_look_like_addresses() {
    let long = format!("/{}", "a".repeat(255));
    assert_eq!(bootstrap(&[long.as_str(); 5]).unwrap().addresses().len(), 5);
    assert_eq!(bootstrap(&[]), Err(BootstrapError::Count(0)));
    assert_eq!(bootstrap(&["/a"; 6]), Err(BootstrapError::Count(6)));
    for wrong in ["", "a", "/a b", "/a\n", "/\u{e9}", &format!("{long}a")] {
        assert_eq!(bootstrap(&["/a", wrong, "/b"]), Err(BootstrapError::Address(2)), "{wrong:?}");
    }
}

#[test]
fn lengths_are_as_stated() {
    let peer = "/ip4/203.0.113.10/tcp/4001/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
    let network = JoinString { bootstrap: bootstrap(&[peer]).unwrap(), pool: None, ..invitation() };
    assert_eq!(network.to_string().len(), 307);
    let invited = JoinString { pool: invitation().pool, ..network };
    assert_eq!(invited.to_string().len(), 640);
    let longest = format!("/{}", "a".repeat(255));
    let longest = JoinString { bootstrap: bootstrap(&[longest.as_str(); 5]).unwrap(), ..invited };
    assert_eq!(longest.to_string().len(), JoinString::MAX_CHARS);
    assert_eq!(JoinString::MAX_CHARS, 2_606);
    assert_eq!(longest.to_string().parse::<JoinString>().unwrap(), longest);
}
