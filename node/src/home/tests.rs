//! Tests of homes: what is made, what is refused, and that nothing is overwritten.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use lucid_types::policy::Policy;
use lucid_types::validator::Validator;

use super::*;
use crate::config::load::load;
use crate::payout::testing;

fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("home"));
    (folder, home)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The entry of a validator, as text.
fn entry(validator: &Validator) -> String {
    let list = toml::Value::try_from(vec![validator]).unwrap();
    toml::to_string(&toml::Table::from_iter([("validator".to_owned(), list)])).unwrap()
}

/// A genesis of one validator, as text.
fn genesis() -> String {
    let (node, entry) = ("11".repeat(32), entry(&testing::validator(1)));
    format!(
        "name = \"t\"\ngenesis_time = 1000\n[tron]\nnetwork = \"local\"\ngenesis_block = \"{node}\"\nusdt = \
         \"TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t\"\n[policy]\n{}{entry}",
        policy()
    )
}

/// The policy as TOML below its header.
fn policy() -> String {
    let table = toml::Table::try_from(Policy::local(Duration::from_secs(5), 2, None)).unwrap();
    let (tables, values): (Vec<_>, Vec<_>) = table.into_iter().partition(|(_, value)| value.is_table());
    let line = |(key, value): (String, toml::Value)| format!("{key} = {value}\n");
    values.into_iter().chain(tables).map(line).collect()
}

#[test]
fn a_new_home_has_a_private_key_a_configuration_and_the_given_genesis() {
    let (folder, home) = home();
    let source = folder.path().join("g.toml");
    fs::write(&source, genesis()).unwrap();
    let config = Config { name: "one".to_owned(), ..Config::default() };
    let made = home.create(&config, Some(&source)).unwrap();
    let key = made.key;
    assert_eq!((made.gas_address, made.signer_address), (None, None), "an observer has neither");
    assert_eq!((mode(&home.key_file()), mode(home.root())), (0o600, 0o700));
    assert_eq!(home.load_key().unwrap().account(), key.account());
    assert_eq!(load(&home.config_file(), [], &[]).unwrap().config, config);
    let loaded = home.load_genesis().unwrap();
    assert_eq!(loaded.network_id, loaded.genesis.network_id());
    assert_eq!(loaded.validators.members().len(), 1);
    let (_other_folder, other) = self::home();
    assert_ne!(other.create(&config, None).unwrap().key.account(), key.account(), "every home has its own key");
}

#[test]
fn nothing_is_overwritten() {
    for existing in ["node.key", "config.toml", "genesis.toml"] {
        let (folder, home) = home();
        let source = folder.path().join("g.toml");
        fs::write(&source, genesis()).unwrap();
        fs::create_dir(home.root()).unwrap();
        fs::write(home.root().join(existing), "mine").unwrap();
        let error = home.create(&Config::default(), Some(&source)).unwrap_err().to_string();
        assert!(error.contains(existing) && error.contains("left as it is"), "{error}");
        assert_eq!(fs::read_to_string(home.root().join(existing)).unwrap(), "mine");
        assert_eq!(fs::read_dir(home.root()).unwrap().count(), 1, "nothing else was made");
    }
}

#[test]
fn workers_and_treasury_signers_get_keys_of_their_own() {
    let (_folder, home) = home();
    let roles = [Role::Worker, Role::Treasury].into();
    let config = Config { roles, ..Config::default() };
    let made = home.create(&config, None).unwrap();
    let gas = home.load_gas_key(&config).unwrap().unwrap();
    let signer = home.load_signer_key(&config).unwrap();
    assert_eq!((made.gas_address, made.signer_address), (Some(gas.address()), Some(signer.address())));
    assert_ne!(gas.address(), signer.address());
    for file in [home.gas_key_file(&config), home.signer_key_file(&config)] {
        assert_eq!(mode(&file), 0o600);
        set_mode(&file, 0o640);
    }
    for error in [home.load_gas_key(&config).unwrap_err(), home.load_signer_key(&config).unwrap_err()] {
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    let (_folder, plain) = self::home();
    plain.create(&Config::default(), None).unwrap();
    assert!(plain.load_gas_key(&config).unwrap().is_none());
    fs::write(plain.root().join("gas.key"), "mine").unwrap();
    let error = Home::new(plain.root()).create(&config, None).unwrap_err().to_string();
    assert!(error.contains("left as it is"), "{error}");
}

#[test]
fn validators_get_a_key_of_their_own_and_find_those_that_are_added() {
    let (_folder, home) = home();
    let config = Config { roles: [Role::Validator].into(), ..Config::default() };
    let made = home.create(&config, None).unwrap();
    let (account, first) = (made.key.account(), made.validator_key.unwrap());
    let ids = || home.validator_keys().unwrap().into_iter().map(|(_, key)| key.id()).collect::<Vec<_>>();
    assert_eq!(ids(), [first.id()]);
    assert_eq!((mode(&home.validator_keys_dir()), mode(&home.validator_key_file(&first.id()))), (0o700, 0o600));

    let next = new_validator_key().unwrap();
    let file = home.write_validator_key(&next).unwrap();
    assert_eq!((mode(&file), file.clone()), (0o600, home.validator_key_file(&next.id())));
    let error = home.write_validator_key(&next).unwrap_err().to_string();
    assert!(error.contains("left as it is"), "{error}");
    fs::write(home.validator_keys_dir().join("notes.txt"), "no key").unwrap();
    assert_eq!(ids().len(), 2);
    let ring = home.keyring(account).unwrap();
    assert_eq!(ring.get(&next.id()).unwrap().keys(&account), next.keys(&account));

    set_mode(&file, 0o644);
    let error = home.validator_keys().unwrap_err().to_string();
    assert!(error.contains(&format!("chmod 600 {}", file.display())), "{error}");
    set_mode(&file, 0o600);
    fs::write(&file, "ab12").unwrap();
    let error = home.validator_keys().unwrap_err().to_string();
    assert!(error.contains("4 were found") && error.contains("backup"), "{error}");
    fs::remove_file(&file).unwrap();
    assert_eq!(ids(), [first.id()]);
    fs::remove_dir_all(home.validator_keys_dir()).unwrap();
    assert_eq!(ids(), [], "a home without keys is that of a follower");

    let (_folder, plain) = self::home();
    assert!(plain.create(&Config::default(), None).unwrap().validator_key.is_none());
    assert!(!plain.validator_keys_dir().exists());
    assert!(matches!(Home::new("/nowhere").write_validator_key(&next), Err(HomeError::Missing(_))));
}

#[test]
fn a_link_that_leads_nowhere_is_no_free_place() {
    let (folder, home) = home();
    fs::create_dir(home.root()).unwrap();
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), home.key_file()).unwrap();
    assert!(matches!(home.create(&Config::default(), None), Err(HomeError::Exists(_))));
    assert!(!folder.path().join("elsewhere").exists());
}

#[test]
fn a_genesis_that_is_none_makes_no_home() {
    let (folder, home) = home();
    let source = folder.path().join("g.toml");
    fs::write(&source, genesis().replace("power = 1", "power = 0")).unwrap();
    let error = home.create(&Config::default(), Some(&source)).unwrap_err().to_string();
    assert!(error.contains("g.toml") && error.contains("has no power"), "{error}");
    assert!(!home.root().exists());
}

#[test]
fn mistakes_in_a_genesis_name_file_line_key_and_value() {
    let (_folder, home) = home();
    home.create(&Config::default(), None).unwrap();
    let error = home.load_genesis().unwrap_err().to_string();
    assert!(error.contains("genesis.toml is missing") && error.contains("lucid init --genesis"), "{error}");
    for (from, to, wanted) in [
        ("power = 1", "power = \"all\"", "validator[0].power = \"all\": invalid type: string \"all\", expected u64"),
        ("power = 1", "power = 1\nvotes = 2", "validator[0].votes = 2: unknown field `votes`, expected one of"),
        ("epoch_ms = 5000", "epoch_ms = 1", "policy.epoch_ms = 1 is outside 2000..=300000"),
        ("epoch_ms = 5000\n", "", "policy: missing field `epoch_ms`"),
        ("usdt = \"TR7", "usdt = \"TR8", "tron.usdt = \"TR8NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t\": PayoutAddress: "),
    ] {
        let text = genesis();
        assert!(text.contains(from), "{from}");
        fs::write(home.genesis_file(), text.replace(from, to)).unwrap();
        let error = home.load_genesis().unwrap_err().to_string();
        assert!(error.contains("genesis.toml") && error.contains(wanted), "\nfound  {error}\nwanted {wanted}");
    }
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_remedy() {
    let (_folder, home) = home();
    home.create(&Config::default(), None).unwrap();
    for bits in [0o644, 0o640, 0o604, 0o620] {
        set_mode(&home.key_file(), bits);
        let error = home.load_key().unwrap_err().to_string();
        assert!(error.contains(&format!("chmod 600 {}", home.key_file().display())), "{error}");
        assert!(error.contains(&format!("mode {bits:04o}")), "{error}");
    }
    set_mode(&home.key_file(), 0o400);
    home.load_key().unwrap();
}

#[test]
fn a_broken_key_is_named_and_not_shown() {
    let (_folder, home) = home();
    assert!(matches!(home.load_key(), Err(HomeError::Missing(_))));
    home.create(&Config::default(), None).unwrap();
    let good = fs::read_to_string(home.key_file()).unwrap();
    for (text, wanted) in [
        (String::new(), "0 were found"),
        ("ab12".to_owned(), "4 were found"),
        (format!("{}xx", &good[..62]), "other characters"),
        (format!("{}00", good.trim()), "more were found"),
        (format!("{good}{good}"), "more were found"),
    ] {
        fs::write(home.key_file(), &text).unwrap();
        let error = home.load_key().unwrap_err().to_string();
        assert!(error.contains("node.key") && error.contains(wanted) && error.contains("backup"), "{error}");
        assert!(!error.contains(&good[..8]), "{error}");
    }
    fs::remove_file(home.key_file()).unwrap();
    let error = home.load_key().unwrap_err().to_string();
    assert!(error.contains("node.key is missing"), "{error}");
    let error = home.load_signer_key(&Config::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("treasury.key is missing") && error.contains("roles"), "{error}");
}
