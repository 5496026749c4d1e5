//! One server's place on disk and the processes behind it.
//!
//! 1. A folder belongs to one kind and one instance name, and one command at a time works on it.
//! 2. What runs is known by its process id together with its start and the machine's boot: a process that was
//!    given the same id later is never taken for the server, and never signalled.
//! 3. The state names a process as soon as it is started, so that a start which is interrupted can still be
//!    stopped. Ports stay when the process goes, so that a server comes back where it was.

use std::{
    env,
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    error::{Error, IoContext, Result},
    process, ui,
};

const STATE: &str = "state.json";
/// Servers write out what they hold in memory when they are asked to stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);
const KILL_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process, told apart from every other one that this machine ever ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pid: u32,
    /// Clock ticks between the boot and its start.
    started: u64,
    /// The boot.
    boot: String,
}

/// A server's folder, held by this command.
#[derive(Debug)]
pub struct Instance {
    folder: PathBuf,
    _lock: File,
}

/// What the folder knows of its server.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// There as long as nobody stopped the server, in the order of their start; they may have died meanwhile.
    pub processes: Vec<Identity>,
    /// The server's ports, in an order that its kind knows.
    pub ports: Vec<u16>,
    /// How it was asked to run, to be compared with what is asked for later.
    pub options: Value,
    /// What is printed of it.
    pub shown: Value,
}

impl Identity {
    /// The identity of a process that lives.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        match start_and_state(&stat) {
            // A zombie has ended; only its parent does not know yet.
            Some((_, 'Z' | 'X')) | None => Err(io::Error::from(io::ErrorKind::NotFound)),
            Some((started, _)) => Ok(Identity { pid, started, boot: boot.trim_end().to_owned() }),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether exactly this process still runs.
    pub fn is_alive(&self) -> bool {
        Identity::of(self.pid).is_ok_and(|now| now == *self)
    }

    fn ends_within(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= end {
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
        true
    }

    fn to_json(&self) -> Value {
        json!({"pid": self.pid, "started": self.started, "boot": self.boot})
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Identity {
            pid: u32::try_from(value["pid"].as_u64()?).ok()?,
            started: value["started"].as_u64()?,
            boot: value["boot"].as_str()?.to_owned(),
        })
    }
}

/// Fields 22 and 3 of /proc/PID/stat. The second field is the program's name in parentheses and may hold anything.
fn start_and_state(stat: &str) -> Option<(u64, char)> {
    let behind_name = stat.rsplit_once(") ")?.1;
    let mut fields = behind_name.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((fields.nth(18)?.parse().ok()?, state))
}

impl Instance {
    /// Takes the folder for this command; another command that works on it is waited for.
    pub fn hold(folder: &Path) -> Result<Self> {
        let lock = lock(folder)?;
        fs::create_dir_all(folder).while_doing("create", folder)?;
        Ok(Instance { folder: folder.to_owned(), _lock: lock })
    }

    /// Where everything of it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps what is known of the server.
    pub fn keep(&self, state: &State) -> Result<()> {
        let path = self.folder.join(STATE);
        let temporary = self.folder.join("state.json.tmp");
        // It may hold a password.
        write_private(&temporary, format!("{:#}\n", state.to_json()).as_bytes())
            .while_doing("write", &temporary)?;
        fs::rename(&temporary, &path).while_doing("replace", &path)
    }

    /// What is known of the server.
    pub fn state(&self) -> Option<State> {
        State::read(&self.folder)
    }

    /// Stops all processes of the server, politely at first. Returns whether there was one.
    pub fn stop(&self) -> Result<bool> {
        let Some(mut state) = self.state() else { return Ok(false) };
        if state.processes.is_empty() {
            return Ok(false);
        }
        let mut was_alive = false;
        // What was started last needs what was started before.
        for process in state.processes.iter().rev().filter(|process| process.is_alive()) {
            was_alive = true;
            end(process)?;
        }
        state.processes.clear();
        self.keep(&state)?;
        Ok(was_alive)
    }

    /// Removes everything of a server that does not run.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).while_doing("remove", &self.folder)
    }
}

/// Holds `folder`, which need not be there, for this command; another command that does is waited for. The lock lies
/// beside it, so that the folder can be removed or renamed while it is held.
pub fn lock(folder: &Path) -> Result<File> {
    let path = beside(folder, "lock");
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).while_doing("create", parent)?;
    }
    let lock = File::create(&path).while_doing("create", &path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            ui::note(format!("waiting: another command works on {}", folder.display()));
            lock.lock().while_doing("lock", &path)?;
        }
        Err(TryLockError::Error(cause)) => return Err(Error::io("lock", &path, &cause)),
    }
    Ok(lock)
}

/// `folder` with a further extension; one that it has is kept, since versions have dots.
pub fn beside(folder: &Path, extension: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

fn end(process: &Identity) -> Result<()> {
    for (signal, limit) in [(libc::SIGTERM, STOP_LIMIT), (libc::SIGKILL, KILL_LIMIT)] {
        match process::signal(process.pid(), signal) {
            Ok(()) => {}
            Err(_) if !process.is_alive() => return Ok(()),
            Err(cause) => {
                return Err(Error::failed(format!("cannot stop process {}: {cause}", process.pid())));
            }
        }
        if process.ends_within(limit) {
            return Ok(());
        }
        ui::warning(format!("process {} did not end within {} s", process.pid(), limit.as_secs()));
    }
    Err(Error::failed(format!("process {} does not end", process.pid())))
}

impl State {
    /// What a folder knows; `None` where no server was ever started.
    pub fn read(folder: &Path) -> Option<State> {
        let value: Value = serde_json::from_slice(&fs::read(folder.join(STATE)).ok()?).ok()?;
        let ports = value["ports"].as_array()?;
        let first = Identity::from_json(&value["process"]);
        let companions = value["companions"].as_array().map(Vec::as_slice).unwrap_or_default();
        Some(State {
            processes: first.into_iter().chain(companions.iter().filter_map(Identity::from_json)).collect(),
            ports: ports.iter().filter_map(|port| u16::try_from(port.as_u64()?).ok()).collect(),
            options: value["options"].clone(),
            shown: value["shown"].clone(),
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "process": self.processes.first().map(Identity::to_json),
            "companions": self.processes.iter().skip(1).map(Identity::to_json).collect::<Vec<_>>(),
            "ports": self.ports,
            "options": self.options,
            "shown": self.shown,
        })
    }

    /// Whether all of its processes run.
    pub fn is_running(&self) -> bool {
        !self.processes.is_empty() && self.processes.iter().all(Identity::is_alive)
    }
}

/// The end of what the server printed, for a person.
pub fn last_words(output: &Path) -> String {
    const BYTES: u64 = 4096;
    let mut text = Vec::new();
    let read = File::open(output).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        file.read_to_end(&mut text)
    });
    if read.is_err() {
        return "it printed nothing".to_owned();
    }
    format!("the end of {}:\n{}", output.display(), String::from_utf8_lossy(&text).trim_end())
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};

    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)
}

/// The user's cache for servers: what was built for them, and their data.
pub fn servers_folder() -> Result<PathBuf> {
    let given = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(cache) = given("XDG_CACHE_HOME").filter(|cache| cache.is_absolute()) {
        return Ok(cache.join("weir/servers"));
    }
    match given("HOME") {
        Some(home) => Ok(home.join(".cache/weir/servers")),
        None => Err(Error::failed("no place for servers: neither XDG_CACHE_HOME nor HOME is set")),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn state(processes: Vec<Identity>) -> State {
        State { processes, ports: vec![1, 2], options: json!({"a": 1}), shown: json!({"url": "u"}) }
    }

    #[test]
    fn a_state_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::hold(&folder.path().join("one")).unwrap();
        let state = state(vec![Identity::of(std::process::id()).unwrap()]);
        instance.keep(&state).unwrap();
        assert_eq!(instance.state().unwrap(), state);
        assert!(instance.state().unwrap().is_running());
        instance.remove().unwrap();
        assert_eq!(State::read(&folder.path().join("one")), None);
    }

    #[test]
    fn a_server_is_stopped_and_keeps_its_ports() {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::hold(&folder.path().join("one")).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        instance.keep(&state(vec![Identity::of(child.id()).unwrap()])).unwrap();
        assert!(instance.stop().unwrap());
        assert!(!child.wait().unwrap().success());
        assert_eq!(instance.state().unwrap(), state(Vec::new()));
        assert!(!instance.stop().unwrap());
    }

    #[test]
    fn a_stranger_with_the_same_id_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::hold(&folder.path().join("one")).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let real = Identity::of(child.id()).unwrap();
        let earlier = Identity { started: real.started - 1, ..real.clone() };
        let other_boot = Identity { boot: "another".to_owned(), ..real };
        for stranger in [earlier, other_boot] {
            instance.keep(&state(vec![stranger])).unwrap();
            assert!(!instance.state().unwrap().is_running());
            assert!(!instance.stop().unwrap());
        }
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_name_with_parentheses_hides_nothing() {
        let fields = (4..=21).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        let stat = format!("7 (a) b (c) S {fields} 4711 0");
        assert_eq!(start_and_state(&stat), Some((4711, 'S')));
        assert_eq!(start_and_state("7"), None);
    }
}
