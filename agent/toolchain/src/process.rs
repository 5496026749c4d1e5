//! Other programs, which must end within a limit.

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a child that has a time limit is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs `command` without stdin; past `limit` it is killed. The error completes the sentence "X: …".
pub fn run_within(command: &mut Command, limit: Duration) -> Result<(), String> {
    let mut child = match command.stdin(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(cause) => return Err(format!("{} cannot be started: {cause}", program(command))),
    };
    match wait_until(&mut child, Instant::now() + limit) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("{} ended with {status}", program(command))),
        Ok(None) => {
            let _already_gone = child.kill();
            let _status = child.wait();
            Err(format!("{} did not end within {} s", program(command), limit.as_secs()))
        }
        Err(cause) => Err(cause.to_string()),
    }
}

/// The child's status, or `None` if it still runs at `deadline`.
pub fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let started = Instant::now();
        let error = run_within(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(error.contains("did not end within"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_says_so() {
        let limit = Duration::from_secs(60);
        assert_eq!(run_within(&mut Command::new("true"), limit), Ok(()));
        assert!(run_within(&mut Command::new("false"), limit).unwrap_err().contains("exit status: 1"));
        let missing = run_within(&mut Command::new("weir-no-such-program"), limit);
        assert!(missing.unwrap_err().contains("cannot be started"));
    }
}
