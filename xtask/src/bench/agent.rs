//! One run of the agent: its folder, its configuration, what it used and what it says it delivered.

use std::{
    fs::{self, File},
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{
    bulk::BulkServer,
    generator::Generator,
    perf,
    workload::{Places, Workload, configuration},
};
use crate::{
    error::{Error, IoContext, Result},
    files::{copy_tree, empty},
    process::{self, Usage},
    ui,
};

/// Lines of the warm-up, after which every plugin lies compiled in the data folder.
const WARM_UP_LINES: u64 = 200;

/// What a null sink prints when the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NullSink {
    /// Documents taken.
    pub events: u64,
    /// Their bytes, newlines included or not as the agent counts.
    pub bytes: u64,
    /// The wrapping sum of xxh3_64 over the documents, in hexadecimal.
    pub checksum: u64,
}

impl NullSink {
    /// Finds the report among the lines on stdout.
    pub fn find(stdout: &str) -> Option<Self> {
        stdout.lines().find_map(|line| {
            let report: Value = serde_json::from_str(line).ok()?;
            report["sink"].as_str()?;
            Some(NullSink {
                events: report["events"].as_u64()?,
                bytes: report["bytes"].as_u64()?,
                checksum: u64::from_str_radix(report["checksum"].as_str()?, 16).ok()?,
            })
        })
    }
}

/// What a workload is run with.
#[derive(Clone, Copy, Debug)]
pub struct Programs<'a> {
    /// The agent.
    pub weir: &'a Path,
    /// The folder of NAME.wasm.
    pub plugins: &'a Path,
    /// Answers bulk requests, for the workloads that send them.
    pub bulk_server: Option<&'a Path>,
}

/// What one run used, and what came of it.
#[derive(Debug)]
pub struct Ran {
    /// Of reading the whole input.
    pub usage: Usage,
    /// Of delivering what lay in the disk buffer afterwards, for the workload that has nobody to send to at first.
    pub replay: Option<Usage>,
    /// What the sink printed, or the server that the documents went to.
    pub report: String,
}

/// A workload's place on disk, prepared so that a run starts with compiled plugins and no checkpoint.
#[derive(Debug)]
pub struct Bench<'a> {
    workload: Workload,
    programs: Programs<'a>,
    folder: PathBuf,
    /// In memory, for the workload whose disk buffer is not to be held up by a disk.
    in_memory: Option<MemoryFolder>,
}

/// A folder on a file system that is kept in memory. It goes when this goes.
#[derive(Debug)]
struct MemoryFolder(PathBuf);

impl<'a> Bench<'a> {
    /// Empties `folder` and lets the agent run there once on a few lines, so that it compiles its plugins. Every
    /// measured run then starts from a copy of the data folder that this leaves.
    pub fn prepare(workload: Workload, programs: Programs<'a>, folder: PathBuf) -> Result<Self> {
        empty(&folder)?;
        let in_memory = if workload == Workload::W3Away { MemoryFolder::make()? } else { None };
        let bench = Bench { workload, programs, folder, in_memory };
        let input = bench.warm_up_input()?;
        let data = bench.template();
        let server = bench.bulk_server()?;
        let mut command = bench.command(&input, data, server.as_ref().map(BulkServer::url))?;
        command.arg("--once");
        let usage = process::measure(&mut command).map_err(|cause| bench.cannot_start(&cause))?;
        bench.expect_success(usage.status)?;
        Ok(bench)
    }

    /// Runs over a whole input.
    pub fn run(&self, input: &Path) -> Result<Ran> {
        if self.workload == Workload::W3Away {
            return self.run_away(input);
        }
        let server = self.bulk_server()?;
        let mut command = self.fresh(input, server.as_ref().map(BulkServer::url))?;
        let usage = process::measure(command.arg("--once")).map_err(|cause| self.cannot_start(&cause))?;
        self.expect_success(usage.status)?;
        let report = server.map_or_else(|| self.stdout(), BulkServer::end)?;
        Ok(Ran { usage, replay: None, report })
    }

    /// Nobody answers until everything lies in the disk buffer; then it is delivered from there.
    fn run_away(&self, input: &Path) -> Result<Ran> {
        let nobody = format!("http://{}", closed_port()?);
        let mut command = self.fresh(input, Some(&nobody))?;
        let usage = process::measure(command.arg("--once")).map_err(|cause| self.cannot_start(&cause))?;
        // What could not be delivered makes a single run a failure.
        if usage.status.code() != Some(1) {
            return Err(Error::failed(format!("W3-away: weir ended with {}, not with 1", usage.status)));
        }
        let server = self.bulk_server()?;
        let mut command = self.command(input, self.data(), server.as_ref().map(BulkServer::url))?;
        let replay = process::measure(command.arg("--once")).map_err(|cause| self.cannot_start(&cause))?;
        self.expect_success(replay.status)?;
        let report = server.map_or_else(|| self.stdout(), BulkServer::end)?;
        Ok(Ran { usage, replay: Some(replay), report })
    }

    /// Counts the instructions of one run, where the machine can.
    pub fn instructions(&self, input: &Path) -> Result<Option<u64>> {
        let server = self.bulk_server()?;
        let mut command = self.fresh(input, server.as_ref().map(BulkServer::url))?;
        Ok(perf::instructions(command.arg("--once"), &self.folder.join("perf")))
    }

    /// The command that follows its files until it is told to stop.
    pub fn command_with_fresh_data(&self, input: &Path) -> Result<Command> {
        self.fresh(input, None)
    }

    /// A server for one run, for the workloads that need one.
    fn bulk_server(&self) -> Result<Option<BulkServer>> {
        match self.programs.bulk_server.filter(|_| self.workload.sends_bulks()) {
            Some(program) => BulkServer::start(program).map(Some),
            None => Ok(None),
        }
    }

    fn fresh(&self, input: &Path, endpoint: Option<&str>) -> Result<Command> {
        empty(&self.run_folder())?;
        let data = self.data();
        empty(&data)?;
        copy_tree(&self.template(), &data).while_doing("copy to", &data)?;
        self.command(input, data, endpoint)
    }

    /// The agent's own folder in a measured run.
    fn data(&self) -> PathBuf {
        self.in_memory.as_ref().map_or_else(|| self.run_folder(), |folder| folder.0.clone()).join("data")
    }

    /// Where the workload's documents go, if they go to a file.
    pub fn output(&self) -> PathBuf {
        self.run_folder().join("out.ndjson")
    }

    /// What the agent has printed in the run that ended last.
    pub fn stdout(&self) -> Result<String> {
        let path = self.folder.join("stdout");
        fs::read_to_string(&path).while_doing("read", &path)
    }

    /// Fails unless the agent ended well, with its last words.
    pub fn expect_success(&self, status: std::process::ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let path = self.folder.join("stderr");
        let log = fs::read_to_string(&path).unwrap_or_default();
        let mut last: Vec<&str> = log.lines().rev().take(5).collect();
        last.reverse();
        Err(Error::failed(format!(
            "{}: weir ended with {status}; its log is {}\n{}",
            self.workload.name(),
            path.display(),
            last.join("\n")
        )))
    }

    fn command(&self, input: &Path, data: PathBuf, endpoint: Option<&str>) -> Result<Command> {
        let plugins = self.programs.plugins;
        let places = Places { input, plugins, data, output: self.output(), endpoint };
        let path = self.folder.join("weir.yaml");
        fs::write(&path, format!("{:#}\n", configuration(self.workload, &places)))
            .while_doing("write", &path)?;
        let create = |name: &str| {
            let path = self.folder.join(name);
            File::create(&path).while_doing("create", &path)
        };
        let mut command = Command::new(self.programs.weir);
        command.args(["run", "-c"]).arg(path).stdout(create("stdout")?).stderr(create("stderr")?);
        Ok(command)
    }

    fn warm_up_input(&self) -> Result<PathBuf> {
        let input = self.folder.join("warm-up");
        let file = if self.workload.runs_once() {
            input.clone()
        } else {
            input.join("bench_warm-up_00000000-0000-0000-0000-000000000000/app/0.log")
        };
        let mut generator = Generator::new(0);
        let mut lines = Vec::new();
        for left in (0..WARM_UP_LINES).rev() {
            generator.line(left == 0, &mut lines);
        }
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).while_doing("create", parent)?;
        }
        fs::write(&file, lines).while_doing("write", &file)?;
        Ok(input)
    }

    /// Emptied before every run.
    fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// The data folder as the warm-up left it.
    fn template(&self) -> PathBuf {
        self.folder.join("template")
    }

    fn cannot_start(&self, cause: &io::Error) -> Error {
        Error::io("run", self.programs.weir, cause)
    }
}

impl MemoryFolder {
    /// `None` where the machine has none: then the figures are those of a disk too.
    fn make() -> Result<Option<Self>> {
        let shared = Path::new("/dev/shm");
        if !shared.is_dir() {
            ui::warning("there is no /dev/shm: what W3-away stores goes to the disk");
            return Ok(None);
        }
        let folder = shared.join(format!("weir-bench-{}", std::process::id()));
        empty(&folder)?;
        Ok(Some(MemoryFolder(folder)))
    }
}

impl Drop for MemoryFolder {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.0);
    }
}

/// An address at which nobody listens.
fn closed_port() -> Result<SocketAddr> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound.map_err(|cause| Error::failed(format!("no free port: {cause}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that stands in for the agent: it writes a cache into its data folder and a report to stdout.
    pub fn fake_agent(folder: &Path, body: &str) -> PathBuf {
        let path = folder.join("fake-weir");
        let script = format!("#!/bin/sh\nset -eu\nfolder=$(dirname \"$3\")\n{body}\n");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_null_sinks_report_is_found_among_other_lines() {
        let stdout = "{\"ledger\":[]}\n{\"sink\":\"output\",\"events\":5,\"bytes\":70,\"checksum\":\"00000000000000ff\"}\n";
        assert_eq!(NullSink::find(stdout), Some(NullSink { events: 5, bytes: 70, checksum: 255 }));
        for other in ["", "text", "{\"sink\":\"null\"}", "{\"sink\":\"file\",\"events\":1}"] {
            assert_eq!(NullSink::find(other), None, "{other}");
        }
    }

    fn programs<'a>(weir: &'a Path, bulk_server: Option<&'a Path>) -> Programs<'a> {
        Programs { weir, plugins: Path::new("/plugins"), bulk_server }
    }

    #[test]
    fn what_a_server_got_is_what_counts() {
        let folder = tempfile::tempdir().unwrap();
        let agent = fake_agent(folder.path(), "mkdir -p \"$folder/template\"\ngrep -q 127.0.0.1:9 \"$3\"");
        let server = folder.path().join("server");
        let report = r#"{"sink":"bulk","events":7,"bytes":70,"checksum":"ff","problems":[]}"#;
        fs::write(&server, format!("#!/bin/sh\necho http://127.0.0.1:9\ncat >&2\necho '{report}'\n"))
            .unwrap();
        fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
        let programs = programs(&agent, Some(&server));
        let bench = Bench::prepare(Workload::W3, programs, folder.path().join("W3")).unwrap();
        let ran = bench.run(Path::new("/input")).unwrap();
        assert_eq!(NullSink::find(&ran.report), Some(NullSink { events: 7, bytes: 70, checksum: 255 }));
    }

    #[test]
    fn every_run_starts_with_what_the_warm_up_compiled_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let body = "mkdir -p \"$folder/template/cache\"\n\
            for data in \"$folder/template\" \"$folder/run/data\"; do [ -d \"$data\" ] && last=$data; done\n\
            ls \"$last\"\n\
            if [ \"$last\" = \"$folder/run/data\" ]; then touch \"$last/checkpoint\"; fi";
        let agent = fake_agent(folder.path(), body);
        let bench = Bench::prepare(Workload::W0, programs(&agent, None), folder.path().join("W0")).unwrap();
        for _ in 0..2 {
            let ran = bench.run(Path::new("/input")).unwrap();
            assert!(ran.usage.status.success());
            assert_eq!(ran.report, "cache\n");
        }
    }

    #[test]
    fn an_agent_that_fails_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let agent = fake_agent(folder.path(), "echo 'no such plugin' >&2; exit 1");
        let bench = Bench::prepare(Workload::W1, programs(&agent, None), folder.path().join("W1"));
        assert!(bench.unwrap_err().to_string().contains("no such plugin"));
    }
}
