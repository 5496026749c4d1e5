//! The server that W3 is sent to: another process, so that its CPU time is nobody else's.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    error::{Error, Result},
    process,
};

/// It has nothing to do but to print its report.
const END_LIMIT: Duration = Duration::from_secs(30);

/// A server that answers bulk requests and counts. It is killed when it is dropped.
#[derive(Debug)]
pub struct BulkServer {
    child: Child,
    stdout: BufReader<ChildStdout>,
    url: String,
}

impl BulkServer {
    /// Starts the program and waits for its first line, the URL.
    pub fn start(program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|cause| Error::io("start", program, &cause))?;
        let Some(stdout) = child.stdout.take() else {
            return Err(Error::failed("the bulk server has no output"));
        };
        let mut server = BulkServer { child, stdout: BufReader::new(stdout), url: String::new() };
        let read = server.stdout.read_line(&mut server.url);
        read.map_err(|cause| Error::failed(format!("the bulk server said nothing: {cause}")))?;
        server.url = server.url.trim_end().to_owned();
        if server.url.is_empty() {
            return Err(Error::failed("the bulk server ended before it listened"));
        }
        Ok(server)
    }

    /// Where it listens, as `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends it, and returns what it counted: one line of JSON. What it found wrong is an error.
    pub fn end(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let mut report = String::new();
        let read = self.stdout.read_to_string(&mut report);
        read.map_err(|cause| Error::failed(format!("the bulk server has no report: {cause}")))?;
        match process::wait_until(&mut self.child, Instant::now() + END_LIMIT) {
            Ok(Some(status)) if status.success() => {}
            other => return Err(Error::failed(format!("the bulk server ended badly: {other:?}"))),
        }
        let value: Value = serde_json::from_str(&report)
            .map_err(|cause| Error::failed(format!("the bulk server's report: {cause}: {report}")))?;
        match value["problems"].as_array().map(Vec::as_slice) {
            Some([]) => Ok(report),
            problems => Err(Error::failed(format!("the bulk server found wrong: {problems:?}"))),
        }
    }
}

impl Drop for BulkServer {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn reported(report: &str) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("server");
        fs::write(&program, format!("#!/bin/sh\necho http://127.0.0.1:9\ncat >&2\necho '{report}'\n"))
            .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let server = BulkServer::start(&program).unwrap();
        assert_eq!(server.url(), "http://127.0.0.1:9");
        server.end()
    }

    #[test]
    fn what_was_counted_is_returned_unless_something_is_wrong() {
        let good = r#"{"sink":"bulk","events":3,"problems":[]}"#;
        assert_eq!(reported(good).unwrap().trim_end(), good);
        assert!(reported(r#"{"sink":"bulk","events":3,"problems":["twice"]}"#).is_err());
        assert!(reported(r#"{"sink":"bulk"}"#).is_err());
        assert!(reported("").is_err());
    }

    #[test]
    fn a_server_that_ends_at_once_is_an_error() {
        assert!(BulkServer::start(Path::new("true")).is_err());
        assert!(BulkServer::start(Path::new("/no/such/server")).is_err());
    }
}
