//! What a process costs: resident memory and processor time, from `/proc`.

use std::time::Duration;

/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// What a process uses and has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Resident bytes now.
    pub resident: u64,
    /// Processor time, user and system, of all threads since it started.
    pub cpu: Duration,
}

/// Reads a process; `None` when it has ended, or where there is no `/proc`.
pub fn of(pid: u32) -> Option<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(Usage { resident: resident(&status)?, cpu: cpu(&stat)? })
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Fields 14 and 15; the second field is a name in parentheses that may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    TICK.checked_mul(user.checked_add(system)?)
}

/// A node's most expensive sibling: who, and how much.
#[derive(Clone, Debug, PartialEq)]
pub struct Greatest {
    /// Its name.
    pub name: String,
    /// How much, in the unit of what was compared.
    pub value: f64,
}

/// The greatest value, with its name.
pub fn greatest(values: impl IntoIterator<Item = (String, f64)>) -> Option<Greatest> {
    values.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, value)| Greatest { name, value })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   1024 kB\nThreads:\t1\n"), Some(1 << 20));
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 5 1 2 3";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu("nonsense"), None);
    }

    #[test]
    fn this_process_has_memory_and_a_dead_one_nothing() {
        assert!(of(std::process::id()).unwrap().resident > 1 << 20);
        assert_eq!(of(u32::MAX), None);
    }

    #[test]
    fn the_greatest_is_named() {
        let values = [("a".to_owned(), 1.0), ("b".to_owned(), 3.0), ("c".to_owned(), 2.0)];
        assert_eq!(greatest(values), Some(Greatest { name: "b".into(), value: 3.0 }));
        assert_eq!(greatest([]), None);
    }
}
