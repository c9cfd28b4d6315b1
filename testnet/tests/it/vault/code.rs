//! The compiled contracts that the tests deploy (`scripts/contracts` makes them from their sources).

use serde_json::Value;

const VAULT: &[u8] = include_bytes!("../../../../tron-bridge/contracts/PayoutVault.bin");
const VAULT_JSON: &str = include_str!("../../../../tron-bridge/contracts/PayoutVault.json");
const VARIANTS: &[u8] = include_bytes!("../../../../tron-bridge/contracts/variants.bin");
const VARIANTS_JSON: &str = include_str!("../../../../tron-bridge/contracts/variants.json");

/// A token for tests, whose constructor takes the supply.
pub(super) const HOSTILE_TOKEN: &[u8] = include_bytes!("../../../../tron-bridge/contracts/test/HostileToken.bin");
/// As above; its `transfer` returns nothing.
pub(super) const OLD_TOKEN: &[u8] = include_bytes!("../../../../tron-bridge/contracts/test/OldToken.bin");
/// As above; its `transfer` returns false.
pub(super) const OLD_FALSE_TOKEN: &[u8] = include_bytes!("../../../../tron-bridge/contracts/test/OldFalseToken.bin");

/// Creation code of the vault or of a broken variant of it.
#[derive(Clone, Debug)]
pub(crate) struct Code(pub(crate) Vec<u8>);

impl Code {
    /// The vault.
    pub(crate) fn genuine() -> Self {
        Self(VAULT.to_vec())
    }
}

/// A variant of the vault that leaves a rule out.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) name: String,
    /// Name of the check that must fail; none for the vault itself.
    pub(super) caught_by: String,
    pub(crate) code: Code,
}

/// All of them; the first is the vault itself, compiled as they are.
pub(crate) fn variants() -> Vec<Variant> {
    let list: Vec<Value> = serde_json::from_str(VARIANTS_JSON).unwrap();
    let variant = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        let number = |key: &str| usize::try_from(entry[key].as_u64().unwrap()).unwrap();
        let code = VARIANTS[number("offset")..number("offset") + number("length")].to_vec();
        Variant { name: text("name"), caught_by: text("caughtBy"), code: Code(code) }
    };
    list.iter().map(variant).collect()
}

/// What the committed description of the vault says.
pub(super) fn description() -> Value {
    serde_json::from_str(VAULT_JSON).unwrap()
}
