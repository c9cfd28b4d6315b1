//! Broken variants of the vault (`tron-bridge/contracts/variants.js`): every one still pays in the plain case, and the check
//! that is named for it notices what it does wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::CHECKS;
use super::code::{Code, variants};

/// The check's complaint, if it has one.
fn complaint(name: &str, code: &Code) -> Option<String> {
    let (_, check) = CHECKS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no check {name}"));
    let failed = catch_unwind(AssertUnwindSafe(|| check(code))).err()?;
    let text = failed.downcast_ref::<String>().cloned();
    Some(text.or_else(|| failed.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}

#[test]
fn variants_are_caught() {
    let variants = variants();
    let (genuine, broken) = variants.split_first().unwrap();
    assert!(genuine.caught_by.is_empty() && broken.len() >= 12);
    // The way in which the variants are compiled is no fault of theirs.
    for (name, _) in CHECKS {
        assert_eq!(complaint(name, &genuine.code), None, "{name}");
    }
    let mut survivors = Vec::new();
    for variant in broken {
        assert_eq!(complaint("plain::a_root_is_pushed", &variant.code), None, "{}", variant.name);
        if complaint(&variant.caught_by, &variant.code).is_none() {
            survivors.push(&variant.name);
        }
    }
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}
