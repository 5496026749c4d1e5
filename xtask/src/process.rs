//! Other programs: one whose CPU time and memory are measured, one that is told to stop.

use std::{
    io,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

pub use weir_toolchain::{run_within, wait_until};

/// What a finished child used, its own children that it waited for included.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// From start to end.
    pub wall: Duration,
    /// CPU time in user mode, of all threads.
    pub user: Duration,
    /// CPU time in the kernel on behalf of the child.
    pub system: Duration,
    /// The highest resident set.
    pub peak_rss_bytes: u64,
    /// How it ended.
    pub status: ExitStatus,
}

/// Runs `command` to its end and measures it.
pub fn measure(command: &mut Command) -> io::Result<Usage> {
    let started = Instant::now();
    let child = command.stdin(Stdio::null()).spawn()?;
    let (status, usage) = wait4(&child)?;
    Ok(Usage {
        wall: started.elapsed(),
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        // Linux counts in KiB.
        peak_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or_default() * 1024,
        status,
    })
}

/// Sends SIGTERM, the polite way to end an agent.
pub fn terminate(child: &Child) -> io::Result<()> {
    // The child has not been waited for, so its id is not anybody else's yet.
    signal(child.id(), libc::SIGTERM)
}

/// Sends a signal to a process that the caller has made sure of.
#[allow(unsafe_code, reason = "the standard library can only send SIGKILL, and only to children")]
pub fn signal(process: u32, signal: i32) -> io::Result<()> {
    let process = libc::pid_t::try_from(process).map_err(io::Error::other)?;
    // SAFETY: kill takes two integers and touches no memory.
    if unsafe { libc::kill(process, signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has `command` start in a session of its own, with no descriptor but the three that it names: neither the end of
/// the caller's terminal nor a pipe that somebody reads to its end is tied to it.
#[allow(unsafe_code, reason = "the standard library knows no session and keeps what was inherited open")]
pub fn detach(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    let leave = || {
        // SAFETY: setsid takes nothing.
        if unsafe { libc::setsid() } < 0 {
            return Err(io::Error::last_os_error());
        }
        // Marked, not closed: the standard library still needs its own pipe until the program is there.
        // SAFETY: three integers; descriptors from 3 on are only marked.
        let marked = unsafe {
            libc::syscall(libc::SYS_close_range, 3_u32, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
        };
        if marked < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec only two system calls are made; nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(leave) };
}

/// The standard library's `wait` gives no resource usage; `getrusage(RUSAGE_CHILDREN)` mixes all children.
#[allow(unsafe_code, reason = "no safe wrapper of wait4 is among the dependencies")]
fn wait4(child: &Child) -> io::Result<(ExitStatus, libc::rusage)> {
    use std::os::unix::process::ExitStatusExt;

    let pid = pid(child)?;
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live, writable values of the types that wait4 asks for.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if waited == pid {
            // SAFETY: all-zero bytes are a valid rusage, and wait4 has filled it in by now.
            return Ok((ExitStatus::from_raw(status), unsafe { usage.assume_init() }));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn pid(child: &Child) -> io::Result<libc::pid_t> {
    libc::pid_t::try_from(child.id()).map_err(io::Error::other)
}

fn time(value: libc::timeval) -> Duration {
    let seconds = u64::try_from(value.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(value.tv_usec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_and_memory_are_the_childs() {
        let script = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; exit 3";
        let usage = measure(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(usage.status.code(), Some(3));
        assert!(usage.user > Duration::ZERO);
        assert!(usage.peak_rss_bytes > 100 * 1024);
    }

    #[test]
    fn a_child_is_told_to_stop() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        terminate(&child).unwrap();
        let status = wait_until(&mut child, Instant::now() + Duration::from_secs(30)).unwrap();
        assert!(!status.unwrap().success());
    }
}
