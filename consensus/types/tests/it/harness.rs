//! What is demanded of the encoding of every record, whatever it says.
//!
//! Golden files hold a sample's bytes in hex, its hash and its signature. A change of any is a change of the network's
//! protocol or of the store's format: regenerate only on purpose, with `LUCID_GOLDEN=write`, and say so in the
//! changelog.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

use lucid_types::codec::{DecodeError, MAX_MESSAGE_BYTES, Wire, decode, encode};

use crate::meter::peak;

/// Something that is done with every sample.
pub(crate) trait Visitor {
    /// `facts` are hashes and signatures that belong to the sample, each with its name.
    fn visit<T: Wire + Debug + PartialEq>(&mut self, name: &str, value: &T, facts: &[(&str, &[u8])]);
}

/// Compares every sample with its file.
#[derive(Default)]
pub(crate) struct Golden {
    seen: BTreeSet<String>,
    problems: Vec<String>,
}

const REGENERATE: &str = "If the change is meant, it is a new version of the protocol or the store: run the test again \
                          with LUCID_GOLDEN=write, look at the difference, and say so in the changelog.";

impl Visitor for Golden {
    fn visit<T: Wire + Debug + PartialEq>(&mut self, name: &str, value: &T, facts: &[(&str, &[u8])]) {
        let bytes = encode(value);
        self.facts(name, &[&[("bytes", bytes.as_slice())], facts].concat());
    }
}

impl Golden {
    /// Compares named byte strings that are no record of their own with their file.
    pub(crate) fn facts(&mut self, name: &str, facts: &[(&str, &[u8])]) {
        assert!(self.seen.insert(name.to_owned()), "two samples are called {name}");
        let text = render(facts);
        if writing() {
            write(name, &text);
            return;
        }
        match read(name) {
            None => self.problems.push(format!("{name}: there is no golden file")),
            Some(golden) if golden != text => {
                let line = golden.lines().zip(text.lines()).take_while(|(old, new)| old == new).count() + 1;
                self.problems.push(format!("{name}: differs from line {line} of its golden file"));
            }
            Some(_) => {}
        }
    }

    /// Fails if a sample differs from its file, or a file has no sample.
    pub(crate) fn finish(mut self) {
        for name in files() {
            if !self.seen.contains(&name) {
                self.problems.push(format!("{name}: the golden file has no sample"));
            }
        }
        assert!(self.problems.is_empty(), "\n  {}\n{REGENERATE}\n", self.problems.join("\n  "));
    }
}

/// Demands that every sample has one encoding and that nothing near it is taken for it.
pub(crate) struct OneEncoding;

impl Visitor for OneEncoding {
    fn visit<T: Wire + Debug + PartialEq>(&mut self, name: &str, value: &T, _: &[(&str, &[u8])]) {
        let bytes = encode(value);
        assert!(bytes.len() <= T::MAX_BYTES, "{name}: {} bytes, the limit is {}", bytes.len(), T::MAX_BYTES);
        assert_eq!(decode::<T>(&bytes).unwrap(), *value, "{name}");
        for end in 0..bytes.len() {
            assert!(decode::<T>(&bytes[..end]).is_err(), "{name}: the first {end} bytes are enough");
        }
        for extra in [0, 1, 0xff] {
            let longer = [bytes.as_slice(), &[extra]].concat();
            let error = decode::<T>(&longer).unwrap_err();
            let fits = longer.len() <= T::MAX_BYTES;
            let expected = if fits {
                matches!(error, DecodeError::TrailingBytes(1))
            } else {
                matches!(error, DecodeError::TooLong { .. })
            };
            assert!(expected, "{name}: a byte too many gives {error}");
        }
        for i in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[i] ^= 1 << (i % 8);
            if let Ok(other) = decode::<T>(&flipped) {
                assert_ne!(other, *value, "{name}: byte {i} does not count");
                assert_eq!(encode(&other), flipped, "{name}: byte {i}");
            }
        }
    }
}

/// Writes huge lengths over every place of every sample: whatever was a length there must not be believed.
pub(crate) struct HostileLengths;

impl Visitor for HostileLengths {
    fn visit<T: Wire + Debug + PartialEq>(&mut self, name: &str, value: &T, _: &[(&str, &[u8])]) {
        let bytes = encode(value);
        for length in [u64::MAX, 1 << 63, 1 << 40, 1 << 32, (16 << 20) - 1, 1 << 16] {
            for at in 0..bytes.len().saturating_sub(7) {
                let mut hostile = bytes.clone();
                hostile[at..at + 8].copy_from_slice(&length.to_le_bytes());
                let held = peak(|| decode::<T>(&hostile));
                // A text's room is taken before its bytes are read; that of a list grows with its items.
                let limit = MAX_MESSAGE_BYTES + 64 * bytes.len();
                assert!(held <= limit, "{name}: length {length} at byte {at} makes the decoder hold {held} bytes");
            }
        }
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden")
}

#[expect(clippy::disallowed_methods, reason = "writing the golden files is asked for by the environment")]
pub(crate) fn writing() -> bool {
    std::env::var("LUCID_GOLDEN").is_ok_and(|value| value == "write")
}

#[expect(
    clippy::disallowed_methods,
    reason = "golden files are read one by one, so that one without a sample is found"
)]
fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(directory().join(format!("{name}.hex"))).ok()
}

#[expect(clippy::disallowed_methods, reason = "only when the golden files are regenerated on purpose")]
fn write(name: &str, text: &str) {
    std::fs::write(directory().join(format!("{name}.hex")), text).unwrap();
}

fn files() -> Vec<String> {
    let entries = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let hex = entries.filter(|path| path.extension().is_some_and(|extension| extension == "hex"));
    hex.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// Each fact's name on a line, then its bytes in hex, 32 on a line.
fn render(facts: &[(&str, &[u8])]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    let fact = |(name, bytes): &(&str, &[u8])| format!("{name}\n") + &bytes.chunks(32).map(hex).collect::<String>();
    facts.iter().map(fact).collect()
}
