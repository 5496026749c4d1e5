//! `data_dir/admin.json`: where the admin address of the running agent is.
//!
//! `{"address": "http://127.0.0.1:9600", "pid": 4711, "token": "…"}`, mode 0600, replaced as a whole, removed at the agent's end. One
//! that an agent left which was killed is recognised by nobody answering there.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Anything longer is not ours.
const MAX_BYTES: u64 = 4096;

/// Where an agent is, and what shows it that somebody may read its data folder.
#[derive(Serialize, Deserialize)]
pub struct Place {
    /// As `http://127.0.0.1:PORT`.
    pub address: String,
    pid: u32,
    /// To be sent as `Authorization: Bearer TOKEN` where events are shown.
    #[serde(default)]
    pub token: String,
}

/// The file.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.json")
}

/// The address of the agent with this data folder, as `http://127.0.0.1:PORT`; `None` where none is written down.
pub fn read(data_dir: &Path) -> Option<String> {
    Some(find(data_dir)?.address)
}

/// The same with what the agent wants to be shown.
pub fn find(data_dir: &Path) -> Option<Place> {
    let mut text = Vec::new();
    fs::File::open(path(data_dir)).ok()?.take(MAX_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// What to say where no agent is found.
pub fn nobody(data_dir: &Path) -> String {
    format!(
        "no agent runs with the data_dir {}: there is no {} that can be read; start one with `weir run`, or run this as who owns it",
        data_dir.display(),
        path(data_dir).display()
    )
}

/// Writes down where this process listens.
pub(super) fn write(data_dir: &Path, listens: SocketAddr, token: &str) -> io::Result<()> {
    let address = format!("http://{}", reachable(listens));
    let place = Place { address, pid: std::process::id(), token: token.to_owned() };
    let path = path(data_dir);
    let temporary = path.with_extension("json.new");
    // One that an agent left which was killed may have any mode.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let text = serde_json::to_string(&place).map_err(io::Error::other)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    fs::rename(&temporary, &path)
}

/// Removes the file, unless it is another agent's by now.
pub(super) fn remove(data_dir: &Path) {
    let path = path(data_dir);
    let ours = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Place>(&text).ok());
    if ours.is_some_and(|place| place.pid == std::process::id()) {
        let _ = fs::remove_file(&path);
    }
}

/// From this machine: who listens on all addresses listens on the loopback one.
fn reachable(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None);
        let cases = [
            ("127.0.0.1:9600", "http://127.0.0.1:9600"),
            ("0.0.0.0:9600", "http://127.0.0.1:9600"),
            ("[::]:1", "http://[::1]:1"),
            ("10.0.0.7:80", "http://10.0.0.7:80"),
        ];
        for (listens, expected) in cases {
            write(folder.path(), listens.parse().unwrap(), "secret").unwrap();
            assert_eq!(read(folder.path()).as_deref(), Some(expected));
            assert_eq!(find(folder.path()).unwrap().token, "secret");
        }
        let mode = fs::metadata(path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        remove(folder.path());
        assert_eq!(read(folder.path()), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_agents_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(path(folder.path()), r#"{"address":"http://127.0.0.1:1","pid":1}"#).unwrap();
        remove(folder.path());
        assert!(read(folder.path()).is_some());
    }

    #[test]
    fn nonsense_is_no_place() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{}", "[1]", "\0"] {
            fs::write(path(folder.path()), text).unwrap();
            assert_eq!(read(folder.path()), None, "{text:?}");
        }
    }
}
