//! Prometheus: it takes remote write, native histograms and exemplars; or its agent mode, which forwards.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::{
    daemon::{self, Daemon, Part},
    instance::Instance,
    observability,
};
use crate::{
    error::{Error, IoContext, Result},
    repository::Repository,
};

/// Its own default.
const KNOWN_PORT: u16 = 9090;
/// Samples of any age that tests give it are kept.
const RETENTION: &str = "10y";

/// How Prometheus is asked to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How much older than the newest sample of its database another may be, as Prometheus writes durations.
    pub out_of_order_window: Option<String>,
    /// Its configuration, which is copied.
    pub config: Option<String>,
    /// Without a database, only to scrape and to forward.
    pub agent: bool,
}

/// Starts Prometheus unless it runs, and returns what is to be printed of it.
pub fn up(repository: &Repository, instance: &Instance, name: &str, options: &Options) -> Result<Value> {
    let config = options.configuration()?;
    let programs = observability::programs(repository)?;
    let path = instance.folder().join("prometheus.yml");
    fs::write(&path, &config).while_doing("write", &path)?;
    let command = |ports: &[u16]| command(&programs, instance.folder(), ports, options.agent);
    let daemon = Daemon {
        name: "prometheus",
        // A configuration that has changed is another one, whatever its file is called.
        asked: json!({"agent": options.agent, "config": config}),
        ports: &[Some(KNOWN_PORT)],
        parts: &[Part { output: "output", ready: (0, "/-/ready"), command: &command }],
        extra: &|ports| {
            let write = format!("http://{}/api/v1/write", daemon::address(ports, 0));
            json!({
                "receive": (!options.agent).then_some(write),
                "promtool": programs.join("promtool"),
                "config": path,
            })
        },
    };
    daemon::up(&daemon, instance, name)
}

fn command(programs: &Path, folder: &Path, ports: &[u16], agent: bool) -> Command {
    let mut command = Command::new(programs.join("prometheus"));
    command.arg("--config.file").arg(folder.join("prometheus.yml"));
    command.args(["--web.listen-address", &daemon::address(ports, 0), "--log.level", "warn"]);
    let data = folder.join("data");
    if agent {
        command.arg("--agent").arg("--storage.agent.path").arg(data);
        return command;
    }
    command.arg("--storage.tsdb.path").arg(data).args(["--storage.tsdb.retention.time", RETENTION]);
    // Native histograms need no feature any more.
    command.args(["--web.enable-remote-write-receiver", "--web.enable-lifecycle"]);
    command.arg("--enable-feature=exemplar-storage");
    command
}

impl Options {
    /// What stands in its file.
    fn configuration(&self) -> Result<String> {
        let mut text = match &self.config {
            Some(path) => {
                let path = Path::new(path);
                fs::read_to_string(path).while_doing("read", path)?
            }
            None => "# Nothing is scraped.\n".to_owned(),
        };
        let Some(window) = &self.out_of_order_window else { return Ok(text) };
        if self.agent {
            return Err(Error::Usage(
                "an agent has no database: --out-of-order-window says nothing".to_owned(),
            ));
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("storage: {{tsdb: {{out_of_order_time_window: {window}}}}}\n"));
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_stands_behind_what_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yml");
        fs::write(&file, "scrape_configs: []").unwrap();
        let config = Some(file.to_str().unwrap().to_owned());
        let options = Options { config, out_of_order_window: Some("2h".to_owned()), agent: false };
        let expected = "scrape_configs: []\nstorage: {tsdb: {out_of_order_time_window: 2h}}\n";
        assert_eq!(options.configuration().unwrap(), expected);
        assert!(Options { agent: true, ..options }.configuration().is_err());
        assert!(
            Options { config: Some("/no/such".to_owned()), ..Options::default() }.configuration().is_err()
        );
    }
}
