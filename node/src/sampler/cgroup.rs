//! What control groups leave of the machine to this process: the limits of CPU and memory that a container runs under, and how much of
//! them is in use. Pure but for the reading of files, which the caller does.
//!
//! Version 2 only, as the kernel's documentation `admin-guide/cgroup-v2.rst` has it. A group is limited by its own files and by those of
//! all groups above it, so the tightest limit counts, and what is in use is counted in the group that sets it. Of two that are equally
//! tight the outer one counts, because more processes share it. A system with version 1 has no limits here.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Reads a whole file, as [`std::fs::read_to_string`].
pub type ReadFile = dyn Fn(&Path) -> io::Result<String> + Send;

/// Files of control groups that do not say what they should. The machine's own figures are right then, or the best there are.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file that should be there cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file has another form than it should.
    #[error("{} has an unknown form: {text:?}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        text: String,
    },
    /// The process is in a group outside of what is mounted here.
    #[error("the control group {group} is outside of the mounted hierarchies")]
    Outside {
        /// The group, as `/proc/self/cgroup` has it.
        group: String,
    },
}

/// What control groups allow, and what is in use of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU; `None` if it is not limited.
    pub cpu: Option<CpuUsage>,
    /// Memory; `None` if it is not limited.
    pub memory: Option<MemoryUsage>,
}

/// CPU time of the group whose limit is the tightest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuUsage {
    /// Thousandths of a CPU, at least 1.
    pub limit_millis: u32,
    /// Which group it is, so that differences are taken between readings of one.
    pub group: PathBuf,
    /// CPU time that the group has used so far.
    pub used: Duration,
}

/// Memory of the group whose limit is the tightest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Bytes.
    pub limit: u64,
    /// Bytes in use, without the part of the file cache that the kernel drops first.
    pub used: u64,
}

/// The folders of a process's group and of all groups above it, as far as they are mounted here, its own first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(Vec<PathBuf>);

impl Groups {
    /// Those of this process. None where the system has no control groups of version 2.
    ///
    /// # Errors
    /// When the process has a group, but its folder is not to be found.
    pub fn find(read: &ReadFile) -> Result<Self, CgroupError> {
        let Some(own) = optional(read, Path::new("/proc/self/cgroup"))? else { return Ok(Self::default()) };
        let Some(mounts) = optional(read, Path::new("/proc/self/mountinfo"))? else { return Ok(Self::default()) };
        Self::parse(&own, &mounts)
    }

    /// From the text of `/proc/self/cgroup` and that of `/proc/self/mountinfo` (`proc(5)`).
    fn parse(own: &str, mounts: &str) -> Result<Self, CgroupError> {
        let Some(group) = own.lines().find_map(|line| line.strip_prefix("0::")) else { return Ok(Self::default()) };
        let mut mounts = mounts.lines().filter_map(parse_mount).peekable();
        if mounts.peek().is_none() {
            return Ok(Self::default());
        }
        let within = mounts.find_map(|(root, folder)| Some((Path::new(group).strip_prefix(root).ok()?, folder)));
        match within {
            Some((within, folder)) if within.components().all(|part| matches!(part, Component::Normal(_))) => {
                Ok(Self(within.ancestors().map(|part| folder.join(part)).collect()))
            }
            _ => Err(CgroupError::Outside { group: group.to_owned() }),
        }
    }

    /// The limits that are in force now, and what is in use of them.
    ///
    /// # Errors
    /// When a file of a group is broken: then neither limit is known.
    pub fn usage(&self, read: &ReadFile) -> Result<Usage, CgroupError> {
        let cpu = self.tightest(read, "cpu.max", parse_cpu_max)?;
        let memory = self.tightest(read, "memory.max", parse_memory_max)?;
        Ok(Usage {
            cpu: cpu.map(|(limit_millis, group)| cpu_usage(read, limit_millis, group)).transpose()?,
            memory: memory.map(|(limit, group)| memory_usage(read, limit, group)).transpose()?,
        })
    }

    /// The least limit, and whose it is. The group at the top of the machine has none of these files, and neither has one without the
    /// controller.
    fn tightest<T: Copy + Ord>(
        &self,
        read: &ReadFile,
        name: &str,
        parse: impl Fn(&str) -> Option<Max<T>>,
    ) -> Result<Option<(T, &Path)>, CgroupError> {
        let mut least: Option<(T, &Path)> = None;
        for group in &self.0 {
            let path = group.join(name);
            let Some(text) = optional(read, &path)? else { continue };
            match parse(&text).ok_or_else(|| form(path, &text))? {
                Max::Limit(limit) if least.is_none_or(|(least, _)| limit <= least) => least = Some((limit, group)),
                Max::Limit(_) | Max::Unlimited => {}
            }
        }
        Ok(least)
    }
}

/// What a `*.max` file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Max<T> {
    Unlimited,
    Limit(T),
}

fn cpu_usage(read: &ReadFile, limit_millis: u32, group: &Path) -> Result<CpuUsage, CgroupError> {
    let used = field(read, group.join("cpu.stat"), "usage_usec")?;
    Ok(CpuUsage { limit_millis, group: group.to_path_buf(), used: Duration::from_micros(used) })
}

fn memory_usage(read: &ReadFile, limit: u64, group: &Path) -> Result<MemoryUsage, CgroupError> {
    let path = group.join("memory.current");
    let text = required(read, &path)?;
    let current: u64 = text.trim().parse().map_err(|_| form(path, &text))?;
    let droppable = field(read, group.join("memory.stat"), "inactive_file")?;
    Ok(MemoryUsage { limit, used: current.saturating_sub(droppable) })
}

/// `cpu.max`: microseconds of CPU time in each period of so many microseconds. The result is in thousandths of a CPU.
fn parse_cpu_max(text: &str) -> Option<Max<u32>> {
    let (quota, period) = text.trim().split_once(' ')?;
    let period: u64 = period.parse().ok()?;
    if quota == "max" {
        return Some(Max::Unlimited);
    }
    let millis = quota.parse::<u64>().ok()?.checked_mul(1_000)?.checked_div(period)?;
    Some(Max::Limit(u32::try_from(millis).unwrap_or(u32::MAX).max(1)))
}

/// `memory.max`: bytes.
fn parse_memory_max(text: &str) -> Option<Max<u64>> {
    match text.trim() {
        "max" => Some(Max::Unlimited),
        bytes => bytes.parse().ok().map(Max::Limit),
    }
}

/// The root within the hierarchy and the folder of a mount of version 2; `None` for all other mounts.
fn parse_mount(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (mount, file_system) = line.split_once(" - ")?;
    if file_system.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    Some((unescape(fields.next()?).into(), unescape(fields.next()?).into()))
}

/// Blanks, tabs, line ends and backslashes stand there as three octal digits.
fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// A number in a file of lines with a name and a number each.
fn field(read: &ReadFile, path: PathBuf, name: &str) -> Result<u64, CgroupError> {
    let text = required(read, &path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
    value.ok_or_else(|| form(path, &text))
}

/// A file that need not be there.
fn optional(read: &ReadFile, path: &Path) -> Result<Option<String>, CgroupError> {
    match required(read, path) {
        Err(CgroupError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn required(read: &ReadFile, path: &Path) -> Result<String, CgroupError> {
    read(path).map_err(|source| CgroupError::Read { path: path.to_path_buf(), source })
}

fn form(path: PathBuf, text: &str) -> CgroupError {
    CgroupError::Form { path, text: text.chars().take(80).collect() }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Reads these files and no others.
    fn files(files: &[(&str, &str)]) -> Box<ReadFile> {
        let files: BTreeMap<PathBuf, String> =
            files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
        Box::new(move |path| files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()))
    }

    const MOUNT: &str = "\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
31 22 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
";

    fn folders(own: &str, mounts: &str) -> Vec<String> {
        let Groups(found) = Groups::parse(own, mounts).unwrap();
        found.iter().map(|path| path.to_str().unwrap().trim_end_matches('/').to_owned()).collect()
    }

    #[test]
    fn the_groups_of_a_process_are_found() {
        let own = "0::/system.slice/lucid.service\n";
        let expected = ["/sys/fs/cgroup/system.slice/lucid.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"];
        assert_eq!(folders(own, MOUNT), expected);
        // A container with a namespace of its own.
        assert_eq!(folders("0::/\n", MOUNT), ["/sys/fs/cgroup"]);
        // One without: what is mounted is its part of the hierarchy.
        let part = "9 8 0:28 /docker/c1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(folders("0::/docker/c1/job\n", part), ["/sys/fs/cgroup/job", "/sys/fs/cgroup"]);
        let blank = "9 8 0:28 / /mnt/a\\040b ro - cgroup2 none rw\n";
        assert_eq!(folders("0::/\n", blank), ["/mnt/a b"]);
    }

    #[test]
    fn a_system_without_version_2_has_no_limits() {
        let v1 = "31 22 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(folders("4:memory:/box\n1:cpu:/box\n", v1), [""; 0]);
        assert_eq!(folders("4:memory:/box\n0::/box\n", v1), [""; 0], "it is not mounted");
        let none = files(&[]);
        let groups = Groups::find(&*none).unwrap();
        assert_eq!((&groups, groups.usage(&*none).unwrap()), (&Groups::default(), Usage::default()));
    }

    #[test]
    fn a_group_that_is_not_mounted_is_named() {
        let part = "9 8 0:28 /docker/c1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        for own in ["0::/other\n", "0::/../sibling\n", "0::/docker/c1/../c2\n"] {
            let error = Groups::parse(own, if own.contains("sibling") { MOUNT } else { part }).unwrap_err();
            assert!(matches!(error, CgroupError::Outside { .. }), "{own}: {error}");
        }
    }

    const NESTED: [(&str, &str); 8] = [
        ("/c/a/b/cpu.max", "max 100000\n"),
        ("/c/a/b/memory.max", "8589934592\n"),
        ("/c/a/cpu.max", "150000 100000\n"),
        ("/c/a/cpu.stat", "usage_usec 7000000\nuser_usec 6000000\nsystem_usec 1000000\n"),
        ("/c/a/memory.max", "1073741824\n"),
        ("/c/a/memory.current", "500\n"),
        ("/c/a/memory.stat", "anon 100\ninactive_file 120\nfile 400\n"),
        ("/c/memory.max", "max\n"),
    ];

    fn nested() -> Groups {
        Groups(["/c/a/b", "/c/a", "/c"].map(PathBuf::from).to_vec())
    }

    fn changed(path: &'static str, text: &'static str) -> Result<Usage, CgroupError> {
        let kept = NESTED.into_iter().filter(|(it, _)| *it != path);
        nested().usage(&*files(&kept.chain([(path, text)]).collect::<Vec<_>>()))
    }

    #[test]
    fn the_tightest_limit_counts_and_its_group_is_looked_at() {
        let usage = nested().usage(&*files(&NESTED)).unwrap();
        let cpu = CpuUsage { limit_millis: 1_500, group: "/c/a".into(), used: Duration::from_secs(7) };
        assert_eq!(usage, Usage { cpu: Some(cpu), memory: Some(MemoryUsage { limit: 1 << 30, used: 380 }) });
        // Of equals the outer one.
        let usage = changed("/c/a/b/cpu.max", "300000 200000\n").unwrap();
        assert_eq!(usage.cpu.unwrap().group, Path::new("/c/a"));
        // Without any limit nothing is wrong with files that are not there.
        let unlimited = files(&[("/c/a/cpu.max", "max 100000\n"), ("/c/a/memory.max", "max\n")]);
        assert_eq!(nested().usage(&*unlimited).unwrap(), Usage::default());
    }

    #[test]
    fn broken_files_are_named() {
        for (path, text) in [
            ("/c/a/cpu.max", ""),
            ("/c/a/cpu.max", "150000\n"),
            ("/c/a/cpu.max", "150000 0\n"),
            ("/c/a/cpu.max", "-1 100000\n"),
            ("/c/a/cpu.max", "max many\n"),
            ("/c/memory.max", "1G\n"),
            ("/c/a/memory.current", "\n"),
            ("/c/a/memory.stat", "anon 100\n"),
            ("/c/a/cpu.stat", "usage_usecs 7\n"),
        ] {
            let error = changed(path, text).unwrap_err();
            assert!(matches!(&error, CgroupError::Form { .. }) && error.to_string().contains(path), "{error}");
        }
        // A limit without its figures.
        let error = nested().usage(&*files(&[("/c/memory.max", "5\n")])).unwrap_err();
        assert!(error.to_string().contains("/c/memory.current"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(own: String, mounts: String, texts: [String; 3]) {
            let _ = Groups::parse(&own, &mounts);
            let _ = Groups::parse(&format!("0::{own}"), &format!("1 2 3 {mounts} - cgroup2 x"));
            let paths = ["/c/cpu.max", "/c/cpu.stat", "/c/memory.max"];
            let all: Vec<_> = paths.into_iter().zip(texts.iter().map(String::as_str)).collect();
            let _ = Groups(vec!["/c".into()]).usage(&*files(&all));
        }

        #[test]
        fn cpu_limits_are_in_thousandths(quota in 1_000..=1u64 << 40, period in 1_000..=1_000_000u64) {
            let millis = u32::try_from((quota * 1_000 / period).max(1)).unwrap_or(u32::MAX);
            prop_assert_eq!(parse_cpu_max(&format!("{quota} {period}\n")), Some(Max::Limit(millis)));
        }
    }
}
