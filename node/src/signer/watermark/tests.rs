//! The watermark on a disk that fails, and that loses power, at every single step.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use lucid_tron_bridge::signer::{Refusal, SignError, Signer, SignerAccount};
use lucid_tron_bridge::vault::VaultDomain;
use lucid_types::payout::{SettlementRoot, TreasurySignature};
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::pool::MAX_POOLS;

use super::*;
use crate::signer::fixture::{Chain, signers, tron_key};

/// What happens at the step that the fuse counts down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The step fails, and nothing was done.
    Lost,
    /// The step fails, and yet it was done.
    Done,
    /// Power fails before the step is done; then everything fails until the next start.
    Power,
}

/// What a power failure leaves of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsynced {
    Gone,
    Kept,
    /// Names are kept, bytes are not.
    Torn,
}

type Names = BTreeMap<PathBuf, usize>;

/// Files have bytes, folders have names; each has a durable side and one that a process sees.
#[derive(Debug, Default)]
struct State {
    seen: Names,
    durable: Names,
    /// By file: the bytes, and how many of them are synced.
    bytes: Vec<(Vec<u8>, usize)>,
    fuse: Option<(usize, Fault)>,
    steps: usize,
    is_off: bool,
}

#[derive(Clone, Debug, Default)]
struct Lossy(Arc<Mutex<State>>);

impl Lossy {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

fn off() -> io::Error {
    io::Error::other("the power is off")
}

impl State {
    /// Does a step that changes something, unless the fuse says otherwise.
    fn step(&mut self, change: impl FnOnce(&mut Self)) -> io::Result<()> {
        if self.is_off {
            return Err(off());
        }
        self.steps += 1;
        let fault = self.fuse.filter(|(at, _)| *at == self.steps).map(|(_, fault)| fault);
        if matches!(fault, None | Some(Fault::Done)) {
            change(self);
        }
        self.is_off = fault == Some(Fault::Power);
        fault.map_or(Ok(()), |_| Err(off()))
    }

    /// The power comes back.
    fn start(&mut self, unsynced: Unsynced) {
        for (bytes, synced) in &mut self.bytes {
            if unsynced != Unsynced::Kept {
                bytes.truncate(*synced);
            }
            *synced = bytes.len();
        }
        if unsynced == Unsynced::Gone {
            self.seen = self.durable.clone();
        }
        self.durable = self.seen.clone();
        (self.is_off, self.fuse) = (false, None);
    }
}

impl Files for Lossy {
    fn read(&self, path: &Path, _max: usize) -> io::Result<Vec<u8>> {
        let state = self.state();
        if state.is_off {
            return Err(off());
        }
        let file = state.seen.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.bytes[*file].0.clone())
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if state.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.bytes.len();
        state.step(|state| {
            state.bytes.push((Vec::new(), 0));
            state.seen.insert(path.into(), file);
        })?;
        state.step(|state| state.bytes[file].0 = bytes[..bytes.len() / 2].to_vec())?;
        state.step(|state| state.bytes[file].0 = bytes.to_vec())?;
        state.step(|state| state.bytes[file].1 = bytes.len())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().step(|state| {
            let file = state.seen.remove(from).unwrap();
            state.seen.insert(to.into(), file);
        })
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.state().step(|state| state.durable = state.seen.clone())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.seen.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.step(|state| {
            state.seen.remove(path);
        })
    }
}

fn places() -> Places {
    Places { file: "/a/watermark".into(), copy: "/b/watermark".into() }
}

fn address() -> PayoutAddress {
    tron_key(1).address()
}

fn network() -> NetworkId {
    NetworkId::from_bytes([8; 32])
}

/// A disk with the files of a new key.
fn fresh() -> Lossy {
    let disk = Lossy::default();
    WatermarkFile::create(&disk, &places(), address(), Some(network())).unwrap();
    disk.state().start(Unsynced::Gone);
    disk
}

type Signing = Signer<PoolWatermark<Lossy>>;

fn start(disk: &Lossy, chain: &Chain) -> Result<Signing, WatermarkError> {
    let file = WatermarkFile::open(disk.clone(), places(), address(), network())?;
    let domain = VaultDomain { chain_id: 7, vault: chain.root(1, 1).vault };
    let account = SignerAccount { pool: chain.pool, domain, predecessors: Vec::new() };
    Ok(Signer::new(tron_key(1), account, PoolWatermark::new(Arc::new(Mutex::new(file)), chain.pool)))
}

fn sign(signing: &mut Signing, root: &SettlementRoot) -> Result<TreasurySignature, SignError<WatermarkError>> {
    signing.sign_root(root, &signers(1, 2))
}

/// One settlement has two roots, as if finality had been forged; a signer that has signed one never signs the other.
fn rival(root: &SettlementRoot) -> SettlementRoot {
    SettlementRoot { root: PayoutRoot::from_bytes([250; 32]), ..*root }
}

#[test]
fn no_fault_at_any_step_makes_the_signer_forget() {
    let chain = Chain::new();
    let mut signed_in_spite = 0;
    for restarts in [false, true] {
        let steps = {
            let disk = fresh();
            let before = disk.state().steps;
            assert_eq!(ask(&disk, &chain, restarts).len(), 2);
            disk.state().steps - before
        };
        assert!(steps >= 48, "{steps}");
        for fault in [Fault::Lost, Fault::Done, Fault::Power] {
            for unsynced in [Unsynced::Gone, Unsynced::Kept, Unsynced::Torn] {
                for at in 1..=steps {
                    signed_in_spite += usize::from(survives(&chain, fault, unsynced, at, restarts));
                }
            }
        }
    }
    assert!(signed_in_spite > 0, "some faults came after the first signature");
}

fn two_roots(chain: &Chain) -> [SettlementRoot; 2] {
    [chain.root(1, 10), chain.root(2, 20)]
}

/// Asks for two roots, for each twice: the same process or, if it `restarts`, the next. The signatures that were given.
fn ask(disk: &Lossy, chain: &Chain, restarts: bool) -> BTreeMap<u64, TreasurySignature> {
    let mut given = BTreeMap::new();
    for root in two_roots(chain) {
        let mut process = start(disk, chain);
        for _ in 0..2 {
            if let Ok(signature) = process.as_mut().map_or(Err(()), |signing| sign(signing, &root).map_err(|_| ())) {
                given.insert(root.settlement, signature);
            }
            if restarts {
                process = start(disk, chain);
            }
        }
    }
    given
}

/// Signs two roots with a fault at one step, then loses power. Whether the first signature was given.
fn survives(chain: &Chain, fault: Fault, unsynced: Unsynced, at: usize, restarts: bool) -> bool {
    let place = || format!("{fault:?} {unsynced:?} at {at}, restarts {restarts}");
    let disk = fresh();
    let now = disk.state().steps;
    disk.state().fuse = Some((now + at, fault));
    let given = ask(&disk, chain, restarts);
    disk.state().start(unsynced);
    let newest = given.keys().last().copied().unwrap_or(0);
    // Every signature is in both files, so that a file that is restored later is found to be older.
    for path in [places().file, places().copy] {
        let root = read(&disk, &path).unwrap().unwrap().of(&chain.pool).root;
        assert!(root.map_or(0, |root| root.settlement) >= newest, "{}: {}", place(), path.display());
    }
    let mut signing = start(&disk, chain).unwrap_or_else(|error| panic!("{}: {error}", place()));
    for root in two_roots(chain).iter().filter(|root| given.contains_key(&root.settlement)) {
        let refused = sign(&mut signing, &rival(root));
        assert!(matches!(refused, Err(SignError::Refused(_))), "{}: {refused:?}", place());
        if root.settlement == newest {
            match sign(&mut signing, root) {
                Ok(signature) => assert_eq!(signature, given[&newest], "{}", place()),
                // The second root was recorded, and the fault came before its signature.
                Err(SignError::Refused(Refusal::OldSettlement { .. })) => assert_eq!(newest, 1, "{}", place()),
                Err(error) => panic!("{}: {error}", place()),
            }
        }
    }
    sign(&mut signing, &chain.root(3, 30)).unwrap_or_else(|error| panic!("{}: {error}", place()));
    given.contains_key(&1)
}

/// The negative control: a signature before its record is durable is found by the same test.
#[test]
fn a_record_that_is_not_durable_would_be_found() {
    let chain = Chain::new();
    let disk = fresh();
    let mut signing = start(&disk, &chain).unwrap();
    sign(&mut signing, &chain.root(1, 10)).unwrap();
    // As if neither folder had ever been synced.
    let undone = fresh();
    let before = undone.state().durable.clone();
    disk.state().durable = before;
    disk.state().start(Unsynced::Gone);
    let mut signing = start(&disk, &chain).unwrap();
    assert!(sign(&mut signing, &rival(&chain.root(1, 10))).is_ok());
}

#[test]
fn a_copy_that_lags_is_brought_up_and_one_that_is_ahead_stops_the_signer() {
    let chain = Chain::new();
    let disk = fresh();
    let get = |path: &Path| disk.read(path, 0).unwrap();
    let put = |path: &Path, bytes: &[u8]| replace(&disk, path, bytes).unwrap();
    let Places { file, copy } = places();
    let first = get(&file);
    sign(&mut start(&disk, &chain).unwrap(), &chain.root(1, 10)).unwrap();
    let second = get(&file);
    assert_eq!(get(&copy), second);

    put(&copy, &first);
    start(&disk, &chain).unwrap();
    assert_eq!(get(&copy), second);

    put(&file, &first);
    let error = start(&disk, &chain).unwrap_err();
    assert!(matches!(error, WatermarkError::RolledBack { found: 0, newest: 1 }), "{error}");
    assert!(error.to_string().contains("record 0, but its second copy is record 1"), "{error}");
    assert_eq!((get(&file), get(&copy)), (first, second), "nothing is overwritten");

    // Another process signed something else with a backup of the empty file.
    let other = fresh();
    sign(&mut start(&other, &chain).unwrap(), &rival(&chain.root(1, 10))).unwrap();
    put(&file, &other.read(&file, 0).unwrap());
    assert!(matches!(start(&disk, &chain), Err(WatermarkError::Differ(1))));
}

#[test]
fn a_missing_file_is_never_an_empty_one() {
    let chain = Chain::new();
    let Places { file, copy } = places();
    for (path, wanted) in [(&file, "/a/watermark is missing"), (&copy, "is its disk mounted?")] {
        let disk = fresh();
        let mut signing = start(&disk, &chain).unwrap();
        sign(&mut signing, &chain.root(1, 10)).unwrap();
        disk.remove(path).unwrap();
        assert!(matches!(sign(&mut signing, &chain.root(2, 20)), Err(SignError::Store(_))));
        let error = start(&disk, &chain).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let disk = fresh();
    assert!(
        matches!(WatermarkFile::make_copy(&disk, &places(), false), Err(WatermarkError::Exists(path)) if path == copy)
    );
    disk.remove(&copy).unwrap();
    WatermarkFile::make_copy(&disk, &places(), false).unwrap();
    start(&disk, &chain).unwrap();
    let again = WatermarkFile::create(&disk, &places(), address(), None);
    assert!(matches!(again, Err(WatermarkError::Exists(path)) if path == file));
}

#[test]
fn files_of_another_key_or_network_and_damaged_ones_are_refused() {
    let disk = fresh();
    let open = |key, network| WatermarkFile::open(disk.clone(), places(), key, network).map(|_| ());
    assert!(matches!(open(tron_key(2).address(), network()), Err(WatermarkError::OtherKey { .. })));
    let elsewhere = open(address(), NetworkId::from_bytes([1; 32]));
    assert!(matches!(elsewhere, Err(WatermarkError::OtherNetwork { .. })));
    open(address(), network()).unwrap();

    let Places { file, copy } = places();
    for path in [file, copy] {
        let good = disk.read(&path, 0).unwrap();
        for n in [0, 31, 32, good.len() - 1] {
            let mut bad = good.clone();
            bad[n] ^= 1;
            replace(&disk, &path, &bad).unwrap();
            assert!(matches!(open(address(), network()), Err(WatermarkError::Damaged { .. })), "{n}");
        }
        replace(&disk, &path, &good).unwrap();
    }
    open(address(), network()).unwrap();
}

#[test]
fn the_first_start_binds_the_signer_to_its_network() {
    let disk = Lossy::default();
    WatermarkFile::create(&disk, &places(), address(), None).unwrap();
    let open = |byte| WatermarkFile::open(disk.clone(), places(), address(), NetworkId::from_bytes([byte; 32]));
    open(1).unwrap();
    assert!(matches!(open(2), Err(WatermarkError::OtherNetwork { .. })));
    open(1).unwrap();
}

#[test]
fn the_longest_file_fits() {
    let watermark = Watermark { sequence: 1, root: Some(Chain::new().root(1, 1)), changes: Vec::new() };
    let pool = |n: usize| PoolId::from_bytes([u8::try_from(n % 256).unwrap(); 32]);
    let pools = (0..MAX_POOLS).map(|n| (pool(n), watermark.clone())).collect();
    let whole = Watermarks { key: address(), network: Some(network()), pools };
    assert_eq!(unseal::<Watermarks>(PURPOSE, &seal(PURPOSE, &whole)).unwrap(), whole);
}
