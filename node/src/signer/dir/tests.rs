//! The folder: made once, opened by one process, and only if nobody else can write it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::signer::fixture;

fn written_genesis(folder: &Path) -> PathBuf {
    let path = folder.join("source.toml");
    fs::write(&path, toml::to_string(&fixture::start().genesis).unwrap()).unwrap();
    path
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_folder_is_made_once_and_opened_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let genesis = written_genesis(folder.path());
    let dir = SignerDir::new(&folder.path().join("signer"), None);
    assert!(matches!(dir.open(&KeyForm::Plain), Err(DirError::Missing(_))));
    let address = dir.create(&KeyForm::Plain, Some(&genesis)).unwrap();
    assert_eq!(mode(dir.root()), 0o700);
    for path in [dir.key_file(&KeyForm::Plain), dir.watermark().file, dir.watermark().copy] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    let key = fs::read(dir.key_file(&KeyForm::Plain)).unwrap();
    assert!(matches!(dir.create(&KeyForm::Plain, None), Err(DirError::Exists(_))));
    assert_eq!(fs::read(dir.key_file(&KeyForm::Plain)).unwrap(), key);

    let opened = dir.open(&KeyForm::Plain).unwrap();
    assert_eq!(opened.core.status().address, address);
    let error = dir.open(&KeyForm::Plain).unwrap_err();
    assert!(error.to_string().contains(&format!("({})", std::process::id())), "{error}");
    assert!(matches!(dir.make_copy(false), Err(DirError::Locked { .. })));
    drop(opened);
    dir.open(&KeyForm::Plain).unwrap();
}

#[test]
fn without_a_genesis_it_is_made_but_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let dir = SignerDir::new(&folder.path().join("signer"), None);
    dir.create(&KeyForm::Plain, None).unwrap();
    let error = dir.open(&KeyForm::Plain).unwrap_err();
    assert!(matches!(error, DirError::NoGenesis(_)), "{error}");
    fs::copy(written_genesis(folder.path()), dir.genesis_file()).unwrap();
    dir.open(&KeyForm::Plain).unwrap();

    // Another genesis, with validators of somebody's choice, is another network.
    let mut other = fixture::start().genesis;
    other.name = "other".to_owned();
    fs::write(dir.genesis_file(), toml::to_string(&other).unwrap()).unwrap();
    let error = dir.open(&KeyForm::Plain).unwrap_err();
    assert!(matches!(error, DirError::Watermark(WatermarkError::OtherNetwork { .. })), "{error}");
}

#[test]
fn what_others_can_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let genesis = written_genesis(folder.path());
    let dir = SignerDir::new(&folder.path().join("signer"), None);
    dir.create(&KeyForm::Plain, Some(&genesis)).unwrap();
    for loose in [0o770, 0o702, 0o777] {
        fs::set_permissions(dir.root(), Permissions::from_mode(loose)).unwrap();
        let error = dir.open(&KeyForm::Plain).unwrap_err().to_string();
        assert!(error.contains(&format!("{loose:04o}")) && error.contains("chmod go-w"), "{error}");
    }
    fs::set_permissions(dir.root(), Permissions::from_mode(0o750)).unwrap();
    dir.open(&KeyForm::Plain).unwrap();
    fs::set_permissions(dir.key_file(&KeyForm::Plain), Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(dir.open(&KeyForm::Plain), Err(DirError::Key(KeyError::Mode { .. }))));
}

#[test]
fn nothing_is_left_of_a_folder_that_could_not_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let dir = SignerDir::new(&folder.path().join("signer"), None);
    let empty = folder.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    fs::set_permissions(&empty, Permissions::from_mode(0o600)).unwrap();
    let form = KeyForm::Keystore(PassphraseSource::File(empty));
    let error = dir.create(&form, None).unwrap_err();
    assert!(matches!(&error, DirError::Keystore(e) if matches!(**e, KeystoreError::EmptyPassphrase)), "{error}");
    assert_eq!(fs::read_dir(dir.root()).unwrap().count(), 0);
    assert!(dir.create(&KeyForm::Plain, Some(&folder.path().join("none"))).is_err());
    dir.create(&KeyForm::Plain, None).unwrap();
    assert!(matches!(dir.open(&form), Err(DirError::NoGenesis(_))));
}

#[test]
fn a_lost_copy_is_made_anew_only_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let genesis = written_genesis(folder.path());
    let other_disk = folder.path().join("other");
    fs::create_dir(&other_disk).unwrap();
    let dir = SignerDir::new(&folder.path().join("signer"), Some(&other_disk.join("copy")));
    dir.create(&KeyForm::Plain, Some(&genesis)).unwrap();
    fs::remove_file(other_disk.join("copy")).unwrap();
    let error = dir.open(&KeyForm::Plain).unwrap_err().to_string();
    assert!(error.contains("lucid signer copy"), "{error}");
    dir.make_copy(false).unwrap();
    let opened = dir.open(&KeyForm::Plain).unwrap();
    assert!(opened.core.status().pools.is_empty(), "no pool has this key yet");
}
