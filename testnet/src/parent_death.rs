//! Children that die with their parent, however it dies. The crate's only unsafe code.

use tokio::process::Command;

/// Asks the kernel to kill the child when this thread ends. Call and spawn from the main thread: on Linux the signal
/// comes with the death of the thread that forked, not of the process.
///
/// Elsewhere than on Linux this does nothing; the child then outlives a parent that is killed.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "between fork and exec only prctl and getppid run, which are async-signal-safe")]
pub(crate) fn die_with_parent(command: &mut Command) {
    use nix::sys::{prctl, signal::Signal};
    use nix::unistd::{getpid, getppid};

    let parent = getpid();
    let set_up = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the request was made.
        if getppid() == parent { Ok(()) } else { Err(std::io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: the closure allocates nothing, takes no lock and makes only async-signal-safe calls.
    unsafe { command.pre_exec(set_up) };
}

/// Nothing to ask for on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn die_with_parent(_command: &mut Command) {}
