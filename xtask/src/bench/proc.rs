//! What Linux says of a process that runs: /proc/PID/stat and /proc/PID/status.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::error::{Error, IoContext, Result};

/// The kernel counts CPU time for user space in hundredths of a second on every architecture.
const TICKS_PER_SECOND: u64 = 100;

/// A process at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was looked at.
    pub at: Instant,
    /// CPU time in user mode so far, of all threads.
    pub user: Duration,
    /// CPU time in the kernel so far.
    pub system: Duration,
    /// Resident memory now.
    pub rss_mib: f64,
    /// The highest resident memory so far.
    pub peak_rss_mib: f64,
}

impl Sample {
    /// User and system.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// Looks at a process.
pub fn sample(pid: u32) -> Result<Sample> {
    let read = |name: &str| {
        let path = PathBuf::from(format!("/proc/{pid}/{name}"));
        fs::read_to_string(&path).while_doing("read", &path)
    };
    let at = Instant::now();
    let stat = read("stat")?;
    let status = read("status")?;
    parse(at, &stat, &status).ok_or_else(|| Error::failed(format!("/proc/{pid} has an unknown form")))
}

fn parse(at: Instant, stat: &str, status: &str) -> Option<Sample> {
    // The program's name is in parentheses and may hold spaces and parentheses; field 3 follows the last one.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = |field: usize| {
        let ticks: u64 = fields.split(' ').nth(field - 3)?.parse().ok()?;
        Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    };
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib / 1024.0)
    };
    Some(Sample {
        at,
        user: ticks(14)?,
        system: ticks(15)?,
        rss_mib: mib("VmRSS")?,
        peak_rss_mib: mib("VmHWM")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_whatever_the_program_is_called() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 9 1000 20 0";
        let status = "Name:\ta\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        let sample = parse(Instant::now(), stat, status).unwrap();
        assert_eq!(sample.user, Duration::from_millis(2_500));
        assert_eq!(sample.cpu(), Duration::from_secs(3));
        assert_eq!((sample.rss_mib, sample.peak_rss_mib), (1.0, 2.0));
        assert!(parse(Instant::now(), "garbage", status).is_none());
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let sample = sample(std::process::id()).unwrap();
        assert!(sample.rss_mib > 0.0 && sample.peak_rss_mib >= sample.rss_mib);
    }
}
