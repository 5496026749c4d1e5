//! Debian's packages, for what a command needs beyond cargo: installed when missing, with the reason said first.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::run_within;
use crate::progress::Progress;

/// apt waits this long for another apt, and a whole installation (about 150 MB) may take twice that.
const LOCK_SECONDS: u64 = 300;
const INSTALL_LIMIT: Duration = Duration::from_secs(2 * LOCK_SECONDS);

/// Whether every one of `packages` is installed.
pub fn has(packages: &[&str]) -> bool {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat=${db:Status-Status}\n"]).args(packages);
    let Ok(output) = command.stdin(Stdio::null()).stderr(Stdio::null()).output() else { return false };
    let installed = output.stdout.split(|&byte| byte == b'\n').filter(|line| line == b"installed").count();
    installed == packages.len()
}

/// Installs `packages`; `why` completes the announcement. The error completes the sentence "X: …".
pub fn install(packages: &[&str], why: &str, progress: &dyn Progress) -> Result<(), String> {
    let why = format!("{} {why}", packages.join(", "));
    let mut work = || {
        // A package list that is already there may do, so a failed update is not the end.
        if let Err(cause) = apt(&["update", "-qq"]) {
            progress.note(&format!("apt-get update: {cause}"));
        }
        let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
        install.extend(packages);
        apt(&install).map(|()| "installed".to_owned())
    };
    progress.step("apt-get install", &why, &mut work).map(drop)
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.args(["-o", &format!("DPkg::Lock::Timeout={LOCK_SECONDS}")]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    run_within(&mut command, INSTALL_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_nobody_made_is_not_installed() {
        assert!(!has(&["weir-no-such-package"]));
    }
}
