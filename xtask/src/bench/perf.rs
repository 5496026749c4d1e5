//! Counting instructions where the machine can: a figure that does not depend on what else runs.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Asks perf for user-mode instructions of one command; `None` where perf or the counters are not there.
pub fn instructions(command: &Command, report: &Path) -> Option<u64> {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x,", "-e", "instructions:u", "-o"]).arg(report).arg("--");
    perf.arg(command.get_program()).args(command.get_args());
    let status = perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    if !status.success() {
        return None;
    }
    parse(&fs::read_to_string(report).ok()?)
}

/// `123456,,instructions:u,…`, or `<not supported>,,instructions:u,…`.
fn parse(report: &str) -> Option<u64> {
    report.lines().find(|line| line.contains("instructions"))?.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_and_its_absence_too() {
        assert_eq!(parse("# started\n\n123456,,instructions:u,99,100.00,,\n"), Some(123_456));
        assert_eq!(parse("<not supported>,,instructions:u,0,100.00,,\n"), None);
        assert_eq!(parse(""), None);
    }
}
