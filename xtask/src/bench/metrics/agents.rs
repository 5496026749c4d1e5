//! The agents that M1 and M2 compare, each as its users would run it: nothing set but what it is to do.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use super::vmagent;
use crate::{
    error::{Error, IoContext, Result},
    files::empty,
    repository::Repository,
    servers::observability,
};

/// An agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// Ours.
    Weir,
    /// Prometheus in agent mode.
    Prometheus,
    /// VictoriaMetrics' agent.
    Vmagent,
}

/// All of them, in the order of their turns.
pub const ALL: [Agent; 3] = [Agent::Weir, Agent::Prometheus, Agent::Vmagent];

/// What an agent is to do.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// As `HOST:PORT`.
    pub targets: &'a [String],
    /// Seconds between scrapes.
    pub interval: u64,
    /// Where it writes to.
    pub url: &'a str,
}

impl Agent {
    /// The name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Agent::Weir => "weir",
            Agent::Prometheus => "prometheus",
            Agent::Vmagent => "vmagent",
        }
    }

    /// The agent with this name.
    pub fn named(name: &str) -> Result<Agent> {
        ALL.into_iter().find(|agent| agent.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            let known = ALL.map(Agent::name).join(", ");
            Error::Usage(format!("no agent `{name}`; there is {known}"))
        })
    }

    /// Its program, built or fetched where it is missing. `weir` is that of ours.
    pub fn program(self, repository: &Repository, weir: Option<&Path>) -> Result<PathBuf> {
        match self {
            Agent::Weir => weir.map(Path::to_owned).ok_or_else(|| Error::failed("weir was not built")),
            Agent::Prometheus => Ok(observability::programs(repository)?.join("prometheus")),
            Agent::Vmagent => vmagent::find(),
        }
    }

    /// Starts it in this folder, which is emptied.
    pub fn start(self, program: &Path, task: &Task<'_>, folder: &Path) -> Result<Child> {
        empty(folder)?;
        let config = folder.join("config.yaml");
        fs::write(&config, format!("{:#}\n", self.configuration(task, &folder.join("data"))))
            .while_doing("write", &config)?;
        let mut command = self.command(program, task, &config, &folder.join("data"));
        let log = folder.join("log");
        let output = File::create(&log).while_doing("create", &log)?;
        let errors = output.try_clone().while_doing("open", &log)?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        command.spawn().while_doing("run", program)
    }

    fn command(self, program: &Path, task: &Task<'_>, config: &Path, data: &Path) -> Command {
        let mut command = Command::new(program);
        match self {
            Agent::Weir => {
                command.args(["run", "-c"]).arg(config);
            }
            Agent::Prometheus => {
                command.args(["--agent", "--web.listen-address=127.0.0.1:0", "--log.level=warn"]);
                command.arg("--config.file").arg(config).arg("--storage.agent.path").arg(data);
            }
            Agent::Vmagent => {
                command.args(["-httpListenAddr=127.0.0.1:0", "-loggerLevel=WARN"]);
                command.arg(format!("-promscrape.config={}", config.display()));
                command.arg(format!("-remoteWrite.tmpDataPath={}", data.display()));
                command.arg(format!("-remoteWrite.url={}", task.url));
            }
        }
        command
    }

    /// As JSON, which is YAML too.
    fn configuration(self, task: &Task<'_>, data: &Path) -> Value {
        let Task { targets, interval, url } = task;
        let interval = format!("{interval}s");
        let scraped = json!([{"job_name": "target", "static_configs": [{"targets": targets}]}]);
        let global = json!({"scrape_interval": interval, "scrape_timeout": interval});
        match self {
            Agent::Weir => json!({
                "version": 1,
                "cluster": "bench",
                "node": "bench",
                "data_dir": data,
                "sources": {"target": {"type": "scrape", "targets": targets, "interval": interval}},
                "pipelines": {"metrics": {"from": ["target"], "to": ["out"]}},
                "sinks": {"out": {"type": "remote_write", "url": url, "protocol": 1.0}},
            }),
            Agent::Prometheus => {
                json!({"global": global, "scrape_configs": scraped, "remote_write": [{"url": url}]})
            }
            Agent::Vmagent => json!({"global": global, "scrape_configs": scraped}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agent_is_told_what_to_scrape_and_where_to_write() {
        let targets = ["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
        let task = Task { targets: &targets, interval: 2, url: "http://127.0.0.1:3/api/v1/write" };
        for agent in ALL {
            assert_eq!(Agent::named(agent.name()).unwrap(), agent);
            let configuration = agent.configuration(&task, Path::new("/data")).to_string();
            let command = agent.command(Path::new("agent"), &task, Path::new("/config"), Path::new("/data"));
            let told = format!("{configuration} {command:?}");
            for wanted in ["127.0.0.1:1", "127.0.0.1:2", "2s", task.url, "/config", "/data"] {
                assert!(told.contains(wanted), "{}: {wanted} in {told}", agent.name());
            }
        }
        assert_eq!(Agent::named("telegraf").unwrap_err().exit_code(), 2);
    }
}
