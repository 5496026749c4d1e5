//! A real OpenSearch on a machine without a container engine.
//!
//! 1. It is laid out once for each variant (with and without the security plugin) by Maven, outside the checkout,
//!    and never changed afterwards; each instance has its own configuration, data and log.
//! 2. A layout that was interrupted is not taken for a finished one: it gets its name last.
//! 3. It listens on loopback only.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    http,
    instance::{self, Identity, Instance, State},
    java, modules, ports,
};
use crate::{
    error::{Error, IoContext, Result},
    files::{copy_tree, empty},
    process,
    repository::Repository,
    ui::{self, Step},
};

/// As in integration-tests/servers/opensearch/pom.xml, where a test compares it.
const VERSION: &str = "2.19.4";
/// Changes with every change of what a layout is made of, so that an old one is not taken for it.
const LAYOUT: u32 = 1;
const POM: &str = "integration-tests/servers/opensearch/pom.xml";
/// What OpenSearch runs as where we are root, which it refuses: nobody on every Linux.
const UNPRIVILEGED: u32 = 65534;
const MAVEN_LIMIT: Duration = Duration::from_secs(900);
const DEMO_LIMIT: Duration = Duration::from_secs(180);
/// 12 to 40 s on an idle machine of two cores; a busy one is given its time.
const START_LIMIT: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const SAY_EVERY: Duration = Duration::from_secs(20);
/// For requests, as configs/opensearch.yaml has it, and between nodes.
const PORTS: [Option<u16>; 2] = [Some(9200), None];
const ADMIN: &str = "admin";

/// How a server is asked to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// With TLS, users and roles.
    pub security: bool,
    /// The Java heap.
    pub heap_mib: u64,
    /// Lines of opensearch.yml, beyond or instead of ours.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Options { security: false, heap_mib: 512, settings: Vec::new() }
    }
}

/// A finished layout.
struct Layout {
    home: PathBuf,
    /// Of the user `admin`, in the variant with security.
    password: Option<String>,
}

/// Where one instance keeps its things.
struct Places {
    config: PathBuf,
    data: PathBuf,
    logs: PathBuf,
    scratch: PathBuf,
    output: PathBuf,
}

/// Starts the server unless it runs, waits until it answers, and returns what is to be printed of it.
pub fn up(repository: &Repository, instance: &Instance, name: &str, options: &Options) -> Result<Value> {
    let places = Places::of(instance.folder());
    let known = instance.state();
    if let Some(state) = &known
        && let Some(process) = state.processes.first().filter(|process| process.is_alive())
    {
        if state.options != options.to_json() {
            return Err(Error::failed(format!(
                "it runs already, with other options: {}. Stop it with `cargo xtask servers down opensearch`, or \
                 give this one a name of its own with --instance",
                state.options
            )));
        }
        // A start that was interrupted is seen through to its end.
        wait_until_ready(state, &places, options, || {
            (!process.is_alive()).then(|| "it has ended".to_owned())
        })?;
        return Ok(state.shown.clone());
    }
    let java = java::java_home()?;
    let layout = lay_out(repository, options.security, &java)?;
    let ports = ports::choose(name, &PORTS, &known.map_or(Vec::new(), |state| state.ports))?;
    configure(&places, &layout, options, &ports)?;

    let step =
        Step::start("opensearch", format!("{VERSION} on port {}, ready in half a minute", port(&ports, 0)));
    let mut child = spawn(&places, &layout, &java)?;
    let started =
        Identity::of(child.id()).map_err(|_gone| Error::failed(instance::last_words(&places.output)))?;
    let shown = shown(name, options, &layout, &places, &ports, &started);
    let options_json = options.to_json();
    let state = State { processes: vec![started], ports, options: options_json, shown };
    instance.keep(&state)?;
    let has_ended = || match child.try_wait() {
        Ok(None) => None,
        Ok(Some(status)) => Some(format!("it ended with {status}")),
        Err(cause) => Some(cause.to_string()),
    };
    match wait_until_ready(&state, &places, options, has_ended) {
        Ok(()) => {
            step.done(format!("{} answers", state.shown["url"].as_str().unwrap_or_default()));
            Ok(state.shown)
        }
        Err(error) => {
            step.failed("it did not come up");
            Err(error)
        }
    }
}

impl Options {
    fn to_json(&self) -> Value {
        let settings: serde_json::Map<String, Value> =
            self.settings.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        json!({"security": self.security, "heap_mib": self.heap_mib, "settings": settings})
    }
}

impl Places {
    fn of(folder: &Path) -> Self {
        Places {
            config: folder.join("config"),
            data: folder.join("data"),
            logs: folder.join("logs"),
            scratch: folder.join("tmp"),
            output: folder.join("output.log"),
        }
    }
}

fn shown(
    name: &str,
    options: &Options,
    layout: &Layout,
    places: &Places,
    ports: &[u16],
    process: &Identity,
) -> Value {
    let scheme = if options.security { "https" } else { "http" };
    let mut shown = json!({
        "name": "opensearch",
        "instance": name,
        "url": format!("{scheme}://127.0.0.1:{}", port(ports, 0)),
        "pid": process.pid(),
        "version": VERSION,
        "data": places.data,
        "log": places.output,
    });
    if let Some(password) = &layout.password {
        let certificate = |name: &str| json!(places.config.join(name));
        shown["username"] = json!(ADMIN);
        shown["password"] = json!(password);
        shown["ca"] = certificate("root-ca.pem");
        // The client certificate that is an administrator.
        shown["client_cert"] = certificate("kirk.pem");
        shown["client_key"] = certificate("kirk-key.pem");
    }
    shown
}

/// Has Maven lay the server out, unless that was done before.
fn lay_out(repository: &Repository, security: bool, java: &Path) -> Result<Layout> {
    let builds = instance::servers_folder()?.join("builds");
    let variant = if security { "-security" } else { "" };
    let finished = builds.join(format!("opensearch-{VERSION}{variant}-{LAYOUT}"));
    let _one_at_a_time = instance::lock(&finished)?;
    if !finished.is_dir() {
        java::ensure_maven()?;
        let step = Step::start("maven", format!("OpenSearch {VERSION}{variant}, once: about 100 MB"));
        let unfinished = instance::beside(&finished, "unfinished");
        empty(&unfinished)?;
        if let Err(error) = assemble(repository, security, java, &unfinished) {
            step.failed("no server");
            return Err(error);
        }
        fs::rename(&unfinished, &finished).while_doing("name", &finished)?;
        step.done(finished.display());
    }
    let password = if security {
        let path = finished.join("password");
        Some(fs::read_to_string(&path).while_doing("read", &path)?)
    } else {
        None
    };
    Ok(Layout { home: home(&finished), password })
}

/// The published archive has one folder inside.
fn home(layout: &Path) -> PathBuf {
    layout.join(format!("opensearch-{VERSION}"))
}

fn assemble(repository: &Repository, security: bool, java: &Path, folder: &Path) -> Result<()> {
    let mut maven = Command::new("mvn");
    maven
        .args(["--batch-mode", "--quiet", "--file"])
        .arg(repository.root().join(POM))
        .arg(format!("-Dweir.home={}", folder.display()))
        .args(security.then_some("-Psecurity"))
        .arg("process-resources")
        .env("JAVA_HOME", java)
        .stdout(io::stderr());
    process::run_within(&mut maven, MAVEN_LIMIT)
        .map_err(|cause| Error::failed(format!("cannot fetch OpenSearch {VERSION}: {cause}")))?;
    let home = home(folder);
    modules::describe(&home.join("modules"), VERSION)?;
    if security {
        let password = generate_password()?;
        set_up_security(&home, java, &password)?;
        let path = folder.join("password");
        instance::write_private(&path, password.as_bytes()).while_doing("write", &path)?;
    }
    Ok(())
}

/// The plugin's own tool makes certificates and users. It reports nothing when it fails.
fn set_up_security(home: &Path, java: &Path, password: &str) -> Result<()> {
    let plugin = home.join("plugins/opensearch-security");
    let config = home.join("config/opensearch-security");
    copy_tree(&plugin.join("config"), &config).while_doing("copy to", &config)?;
    let mut tool = Command::new("bash");
    tool.arg(plugin.join("tools/install_demo_configuration.sh"))
        .args(["-y", "-i"])
        .env("JAVA_HOME", java)
        .env_remove("OPENSEARCH_JAVA_HOME")
        .env("OPENSEARCH_HOME", home)
        .env("OPENSEARCH_INITIAL_ADMIN_PASSWORD", password)
        .stdout(Stdio::null());
    process::run_within(&mut tool, DEMO_LIMIT)
        .map_err(|cause| Error::failed(format!("the security plugin's demo configuration: {cause}")))?;
    for expected in ["esnode.pem", "root-ca.pem", "kirk.pem"] {
        if !home.join("config").join(expected).is_file() {
            return Err(Error::failed(format!("the security plugin's tool made no {expected}")));
        }
    }
    Ok(())
}

/// The plugin refuses weak passwords, which it also judges by the kinds of characters.
fn generate_password() -> Result<String> {
    let random = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    File::open(random).and_then(|mut file| file.read_exact(&mut bytes)).while_doing("read", random)?;
    let mut password = "Weir-1.".to_owned();
    for byte in bytes {
        // Writing to a String cannot fail.
        let _infallible = write!(password, "{byte:02x}");
    }
    Ok(password)
}

fn port(ports: &[u16], index: usize) -> u16 {
    ports.get(index).copied().unwrap_or_default()
}

fn configure(places: &Places, layout: &Layout, options: &Options, ports: &[u16]) -> Result<()> {
    empty(&places.config)?;
    empty(&places.scratch)?;
    let original = layout.home.join("config");
    copy_tree(&original, &places.config).while_doing("copy to", &places.config)?;
    for folder in [&places.data, &places.logs, &places.scratch] {
        fs::create_dir_all(folder).while_doing("create", folder)?;
    }
    let edit = |name: &str, change: &dyn Fn(String) -> String| {
        let path = places.config.join(name);
        let text = fs::read_to_string(&path).while_doing("read", &path)?;
        fs::write(&path, change(text)).while_doing("write", &path)
    };
    edit("opensearch.yml", &|given| format!("{given}\n{}", settings(places, options, ports)))?;
    edit("jvm.options", &|given| java_options(&given, options.heap_mib))?;
    open_to_server(places).while_doing("give to the server", &places.data)
}

/// JSON strings are YAML strings, whatever is in them.
fn settings(places: &Places, options: &Options, ports: &[u16]) -> String {
    let mut settings = vec![
        ("cluster.name".to_owned(), json!("weir")),
        ("node.name".to_owned(), json!("weir-1")),
        ("network.host".to_owned(), json!("127.0.0.1")),
        ("http.port".to_owned(), json!(port(ports, 0))),
        ("transport.port".to_owned(), json!(port(ports, 1))),
        ("discovery.type".to_owned(), json!("single-node")),
        ("path.data".to_owned(), json!(places.data)),
        ("path.logs".to_owned(), json!(places.logs)),
        // A development machine's disk is nearly full more often than not.
        ("cluster.routing.allocation.disk.threshold_enabled".to_owned(), json!(false)),
    ];
    for (key, value) in &options.settings {
        settings.retain(|(known, _)| known != key);
        settings.push((key.clone(), json!(value)));
    }
    settings.iter().map(|(key, value)| format!("{key}: {value}\n")).collect()
}

/// What was published, without its heap, its endless log of collections, and its dumps into the layout.
fn java_options(published: &str, heap_mib: u64) -> String {
    const LEFT_OUT: [&str; 5] = ["-Xm", "gc.log", "GCLog", "HeapDump", "ErrorFile"];
    let kept = published.lines().filter(|line| !LEFT_OUT.iter().any(|word| line.contains(word)));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    format!("{kept}-Xms{heap_mib}m\n-Xmx{heap_mib}m\n")
}

/// Whether the server has to run as somebody else than we are.
fn is_root() -> bool {
    // A process's own folder in /proc belongs to its effective user.
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The server writes into its configuration (a keystore), its data, its logs and its scratch folder.
fn open_to_server(places: &Places) -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    for folder in [&places.config, &places.data, &places.logs, &places.scratch] {
        give_away(folder)?;
    }
    Ok(())
}

fn give_away(path: &Path) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            give_away(&entry?.path())?;
        }
    }
    Ok(())
}

fn spawn(places: &Places, layout: &Layout, java: &Path) -> Result<Child> {
    let program = layout.home.join("bin/opensearch");
    let mut command = if is_root() {
        // Root's cache folder is closed to others: of all that root may do, the server keeps passing modes by. The
        // bit keeps access(2), which asks for the real user, from forgetting it.
        let mut command = Command::new("setpriv");
        command
            .args([&format!("--reuid={UNPRIVILEGED}"), &format!("--regid={UNPRIVILEGED}"), "--clear-groups"])
            .args([
                "--securebits=+no_setuid_fixup",
                "--inh-caps=+dac_override",
                "--ambient-caps=+dac_override",
            ])
            .arg(&program);
        command
    } else {
        Command::new(&program)
    };
    let output = File::create(&places.output).while_doing("create", &places.output)?;
    let errors = output.try_clone().while_doing("open", &places.output)?;
    for inherited in ["OPENSEARCH_JAVA_OPTS", "OPENSEARCH_JAVA_HOME", "OPENSEARCH_HOME", "JAVA_TOOL_OPTIONS"]
    {
        command.env_remove(inherited);
    }
    command
        .env("OPENSEARCH_PATH_CONF", &places.config)
        .env("OPENSEARCH_TMPDIR", &places.scratch)
        .env("JAVA_HOME", java)
        .env("HOME", &places.scratch)
        .current_dir(&places.scratch)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    process::detach(&mut command);
    command.spawn().map_err(|cause| Error::io("start", &program, &cause))
}

/// `has_ended` says how the process ended, if it did.
fn wait_until_ready(
    state: &State,
    places: &Places,
    options: &Options,
    mut has_ended: impl FnMut() -> Option<String>,
) -> Result<()> {
    let started = Instant::now();
    let mut said = started;
    let port = port(&state.ports, 0);
    loop {
        if let Some(how) = has_ended() {
            return Err(Error::failed(format!("{how}; {}", instance::last_words(&places.output))));
        }
        if is_ready(port, places, options) {
            return Ok(());
        }
        if started.elapsed() > START_LIMIT {
            let limit = START_LIMIT.as_secs();
            return Err(Error::failed(format!(
                "not ready within {limit} s; {}",
                instance::last_words(&places.output)
            )));
        }
        if said.elapsed() > SAY_EVERY {
            ui::note(format!("still starting after {}", ui::duration(started.elapsed())));
            said = Instant::now();
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Without TLS it is asked. With TLS it says itself when users are known, which is the last thing to be ready; this
/// tool speaks no TLS.
fn is_ready(port: u16, places: &Places, options: &Options) -> bool {
    if options.security {
        return fs::read_to_string(&places.output)
            .is_ok_and(|output| output.contains("Node 'weir-1' initialized"));
    }
    http::status(port, "/_cluster/health?wait_for_status=yellow&timeout=1s").is_ok_and(|status| status == 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_maven_fetches() {
        let pom = Repository::find().unwrap().root().join(POM);
        let text = fs::read_to_string(pom).unwrap();
        assert!(text.contains(&format!("<opensearch.version>{VERSION}</opensearch.version>")));
        assert!(text.contains(&format!("<opensearch.plugin.version>{VERSION}.")));
        modules::tests::assert_fetched(&text);
    }

    #[test]
    fn settings_given_replace_ours() {
        let places = Places::of(Path::new("/s"));
        let given = ("cluster.name".to_owned(), "other: \"x\"".to_owned());
        let options = Options { settings: vec![given], ..Options::default() };
        let settings = settings(&places, &options, &[9200, 9300]);
        assert_eq!(settings.matches("cluster.name").count(), 1);
        assert!(settings.contains("cluster.name: \"other: \\\"x\\\"\"\n"), "{settings}");
        assert!(settings.contains("http.port: 9200\n") && settings.contains("path.data: \"/s/data\"\n"));
    }

    #[test]
    fn the_heap_is_ours_and_the_rest_is_kept() {
        let options =
            java_options("# a\n-Xms1g\n-Xmx1g\n11-:-XX:+UseG1GC\n9-:-Xlog:gc*:file=logs/gc.log\n", 300);
        assert_eq!(options, "# a\n11-:-XX:+UseG1GC\n-Xms300m\n-Xmx300m\n");
    }

    #[test]
    fn passwords_differ_and_satisfy_the_plugin() {
        let password = generate_password().unwrap();
        assert_ne!(password, generate_password().unwrap());
        for kind in [char::is_uppercase, char::is_lowercase, |c: char| c.is_ascii_digit()] {
            assert!(password.contains(kind), "{password}");
        }
        assert!(password.contains('-') && password.len() > 20);
    }
}
