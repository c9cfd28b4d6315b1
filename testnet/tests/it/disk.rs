//! A validator whose disk is full, and one whose disk fails. It stops with the reason, signs nothing any more, and goes on with the
//! same home when the disk is well again.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lucid_testnet::process::last_lines;
use tempfile::TempDir;

use crate::harness::{Network, lucid, room, until};

/// The validator with the bad disk.
const VICTIM: &str = "validator-4";
/// Of its disk: room for the store of a short chain, and none for files that RocksDB reserves ahead.
const DISK: &str = "2m";

/// A file system of a few megabytes, in a mount namespace of its own: it vanishes with the process that holds it, however that
/// ends, and no other process of the machine sees it.
struct SmallDisk {
    holder: Child,
    mounted_on: PathBuf,
}

impl SmallDisk {
    fn mount(on: &Path) -> Self {
        std::fs::create_dir(on).unwrap();
        let mut unshare = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        let script = format!("mount -t tmpfs -o size={DISK} lucid-it \"$0\" && echo mounted && exec cat");
        let mut holder = unshare
            .args(["--mount", "sh", "-c", &script])
            .arg(on)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run unshare(1) of util-linux: {error}"));
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(
            said.trim(),
            "mounted",
            "this test mounts a small file system: run it as root, or where users may make namespaces \
             (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
        );
        Self { holder, mounted_on: on.to_path_buf() }
    }

    /// What a shell must put before a command that is to see it.
    fn enter(&self) -> String {
        let user = if nix::unistd::geteuid().is_root() { "" } else { "--user --preserve-credentials " };
        format!("nsenter --target {} {user}--mount", self.holder.id())
    }

    fn ballast(&self) -> PathBuf {
        let inside = self.mounted_on.strip_prefix("/").unwrap().join("ballast");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside)
    }

    /// Fills it to the last page.
    fn fill(&self) {
        let mut file = File::create(self.ballast()).unwrap();
        let full = loop {
            if let Err(error) = file.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A library that makes fsync fail while the file at `flag` exists.
fn failing_fsync(dir: &Path, flag: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/eio.c");
    let library = dir.join("eio.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror"])
        .arg(format!("-DFLAG=\"{}\"", flag.display()))
        .arg("-o")
        .args([&library, &source])
        .status()
        .unwrap_or_else(|error| panic!("cannot run the C compiler cc: {error}"));
    assert!(compiled.success(), "cc: {compiled}");
    library
}

/// A network whose victim keeps its store on a small disk that can be made to fail.
struct BadDisk {
    net: Network,
    disk: SmallDisk,
    flag: PathBuf,
    _dir: TempDir,
}

impl BadDisk {
    fn up() -> Self {
        let place = room();
        let dir = TempDir::with_prefix("lucid-it-").unwrap();
        let disk = SmallDisk::mount(&dir.path().join("disk"));
        let flag = dir.path().join("fsync-fails");
        let library = failing_fsync(dir.path(), &flag);
        let executable = dir.path().join("lucid");
        let (lucid, store, enter) = (lucid(), &disk.mounted_on, disk.enter());
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = run ] && [ \"${{3##*/}}\" = {VICTIM} ]; then\n    \
             [ -e \"$3/db\" ] || ln -s '{store}' \"$3/db\"\n    \
             exec {enter} env 'LD_PRELOAD={library}' '{lucid}' \"$@\"\nfi\nexec '{lucid}' \"$@\"\n",
            store = store.display(),
            library = library.display(),
            lucid = lucid.display()
        );
        std::fs::write(&executable, script).unwrap();
        std::fs::set_permissions(&executable, PermissionsExt::from_mode(0o755)).unwrap();
        let arguments = ["--workers", "2", "--epoch-length", "2s", "--lucid", executable.to_str().unwrap()];
        let mut net = Network::up_in(place, &arguments);
        net.ready();
        Self { net, disk, flag, _dir: dir }
    }

    fn log(&self) -> PathBuf {
        self.net.home(VICTIM).join("node.log")
    }

    /// Waits until the victim has ended. Its last line, which `up` shows too, must say all of `reasons`.
    #[track_caller]
    fn ended(&mut self, reasons: &[&str]) {
        self.net
            .line("the victim's end", |line| line.starts_with(&format!("error: {VICTIM} ended with exit status: 1;")));
        let last = last_lines(&self.log(), 1);
        let last = last.trim();
        assert!(last.starts_with("lucid: "), "{last}");
        for reason in reasons {
            assert!(last.contains(reason), "{reason:?} is not in {last:?}");
        }
        self.net.line("the reason", |line| line.trim() == last);
        assert!(!std::fs::read_to_string(self.log()).unwrap().contains("panicked"));
    }

    /// The height of the newest block that the victim has stored.
    fn stored(&self) -> u64 {
        let log = std::fs::read_to_string(self.log()).unwrap();
        let mut heights = log.lines().filter_map(|line| line.split_once("block decided height=")?.1.split(' ').next());
        heights.next_back().unwrap().parse().unwrap()
    }

    /// The others decide on; none of their certificates has a vote of the victim for a block after the one that it could not
    /// store.
    fn signs_nothing(&self) {
        let (victim, stored) = (self.net.validator_key(VICTIM), self.stored());
        until("blocks without the victim", || {
            (self.net.status_number("validator-1", "height")? >= stored + 4).then_some(())
        });
        for height in stored + 2..=stored + 4 {
            for name in ["validator-1", "validator-2"] {
                assert!(!self.net.voters(name, height).contains(&victim), "a vote for {height} on {name}");
            }
        }
    }

    /// Starts the victim and waits until it has what the others have, and votes again.
    fn recovers(&self) {
        let height = self.net.status_number("validator-1", "height").unwrap();
        self.net.start_again(&[VICTIM]);
        until("the victim's blocks", || (self.net.status_number(VICTIM, "height")? > height).then_some(()));
        let victim = self.net.validator_key(VICTIM);
        let mut looked_at = height;
        until("a vote of the victim", || {
            let now = self.net.status_number("validator-1", "height")?;
            let voted = (looked_at + 1..=now).any(|height| self.net.voters("validator-1", height).contains(&victim));
            looked_at = now;
            voted.then_some(())
        });
    }
}

#[test]
fn a_full_or_failing_disk_stops_a_validator_with_the_reason_until_it_is_well_again() {
    let mut bad = BadDisk::up();
    bad.net.node_final_through(VICTIM, 1);

    bad.disk.fill();
    bad.ended(&["cannot write", "No space left on device", "/db/", "make room there and start again"]);
    bad.signs_nothing();
    // As long as there is none it does not start.
    bad.net.start_again(&[VICTIM]);
    bad.ended(&["cannot open the store", "No space left on device", "make room there and start again"]);
    bad.disk.make_room();
    bad.recovers();

    OpenOptions::new().create_new(true).write(true).open(&bad.flag).unwrap();
    bad.ended(&["cannot write", "Input/output error", "/db/", "the disk fails: see the system's log"]);
    bad.signs_nothing();
    std::fs::remove_file(&bad.flag).unwrap();
    bad.recovers();

    assert!(!bad.net.agreed_blocks().is_empty());
    bad.net.command(&["down"]);
    bad.net.succeeded();
}
