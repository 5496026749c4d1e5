//! What the process uses, by the names that Prometheus' own libraries have for it.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::exposition::{Exposition, Sample};
use super::families as f;

/// Adds what this process uses. What the system does not tell is left out.
pub fn process(out: &mut Exposition, started: SystemTime) {
    out.add(&f::PROCESS_CPU, [Sample::new([], cpu_seconds())]);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    out.add(&f::PROCESS_RESIDENT, bytes(&status, "VmRSS:"));
    out.add(&f::PROCESS_RESIDENT_PEAK, bytes(&status, "VmHWM:"));
    out.add(&f::PROCESS_VIRTUAL, bytes(&status, "VmSize:"));
    out.add(&f::PROCESS_THREADS, number(&status, "Threads:").map(|count| Sample::count([], count)));
    // One of them is the folder that is looked into.
    let open = fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1) as u64);
    out.add(&f::PROCESS_FDS, open.map(|count| Sample::count([], count)));
    let most = getrlimit(Resource::Nofile).current;
    out.add(&f::PROCESS_MAX_FDS, most.map(|count| Sample::count([], count)));
    let started = started.duration_since(UNIX_EPOCH).ok();
    out.add(&f::PROCESS_START, started.map(|since| Sample::new([], since.as_secs_f64())));
}

/// CPU time that this process used so far.
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Memory of this process in RAM; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    number(&status, "VmRSS:").unwrap_or_default() * 1024
}

/// A line `KEY NUMBER kB` of /proc/self/status.
fn bytes(status: &str, key: &str) -> Option<Sample<'static>> {
    number(status, key).map(|kibibytes| Sample::count([], kibibytes * 1024))
}

fn number(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_by_its_keys() {
        let status = "Name:\tweir\nVmHWM:\t    2000 kB\nVmRSS:\t    1000 kB\nThreads:\t4\n";
        let cases =
            [("VmRSS:", Some(1000)), ("VmHWM:", Some(2000)), ("Threads:", Some(4)), ("VmSwap:", None)];
        for (key, expected) in cases {
            assert_eq!(number(status, key), expected, "{key}");
        }
    }

    #[test]
    fn cpu_time_is_that_of_the_process() {
        let before = cpu_seconds();
        let mut sum = 0_u64;
        while cpu_seconds() < before + 0.01 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_seconds() - before < 60.0);
    }
}
