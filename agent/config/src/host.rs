//! What the machine and the container say: the node's name, limits of memory and CPU, environment variables.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Where the defaults come from that a configuration leaves to its surroundings.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    variables: Variables,
}

#[derive(Clone, Debug)]
enum Variables {
    Process,
    Fixed(BTreeMap<String, String>),
}

/// Limits from here on mean "none": cgroup v1 says so with a number near 2^63.
const NO_LIMIT_BYTES: u64 = 1 << 60;

impl Host {
    /// This machine and this process.
    pub fn this() -> Host {
        Host { root: PathBuf::from("/"), variables: Variables::Process }
    }

    /// A machine whose `/sys` and `/proc` are under `root`, with these environment variables: for tests.
    pub fn at(root: impl Into<PathBuf>, variables: BTreeMap<String, String>) -> Host {
        Host { root: root.into(), variables: Variables::Fixed(variables) }
    }

    /// An environment variable; `None` where it is not set or not text.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        match &self.variables {
            // The standard library panics on names that cannot be.
            Variables::Process if name.is_empty() || name.contains(['=', '\0']) => None,
            Variables::Process => std::env::var(name).ok(),
            Variables::Fixed(variables) => variables.get(name).cloned(),
        }
    }

    /// The node's name: `NODE_NAME`, else the host's name.
    pub(crate) fn node(&self) -> Option<String> {
        let host_name = || std::fs::read_to_string(self.root.join("proc/sys/kernel/hostname")).ok();
        let named = self.variable("NODE_NAME").filter(|name| !name.is_empty()).or_else(host_name)?;
        let named = named.trim();
        (!named.is_empty()).then(|| named.to_string())
    }

    /// The memory limit of the agent's cgroup in bytes, the least of its own and those around it.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        let v2 = self.cgroup_folders("").into_iter().map(|folder| folder.join("memory.max"));
        let v1 = self.cgroup_folders("memory").into_iter().map(|folder| folder.join("memory.limit_in_bytes"));
        let limits = v2.chain(v1).filter_map(|file| read_number(&file));
        limits.filter(|limit| (1..NO_LIMIT_BYTES).contains(limit)).min()
    }

    /// The CPU limit of the agent's cgroup rounded up, else the number of CPUs that it may run on.
    pub(crate) fn cpus(&self) -> NonZeroUsize {
        let v2 = self.cgroup_folders("").into_iter().filter_map(|folder| {
            let text = std::fs::read_to_string(folder.join("cpu.max")).ok()?;
            let (quota, period) = text.trim().split_once(' ')?;
            Some((quota.parse().ok()?, period.parse().ok()?))
        });
        let v1 = self.cgroup_folders("cpu").into_iter().chain(self.cgroup_folders("cpu,cpuacct"));
        let v1 = v1.filter_map(|folder| {
            Some((
                read_number(&folder.join("cpu.cfs_quota_us"))?,
                read_number(&folder.join("cpu.cfs_period_us"))?,
            ))
        });
        let limits = v2.chain(v1).filter(|(quota, period): &(u64, u64)| *quota > 0 && *period > 0);
        let least = limits.map(|(quota, period)| quota.div_ceil(period)).min();
        let all = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        least.and_then(|cpus| usize::try_from(cpus).ok()).and_then(NonZeroUsize::new).unwrap_or(all)
    }

    /// The folders of the agent's cgroup and of those around it, in a hierarchy: "" is that of version 2. Inside a
    /// container with a cgroup namespace that is the top folder alone.
    fn cgroup_folders(&self, hierarchy: &str) -> Vec<PathBuf> {
        let top = self.root.join("sys/fs/cgroup").join(hierarchy);
        let own = std::fs::read_to_string(self.root.join("proc/self/cgroup")).unwrap_or_default();
        let own = own.lines().find_map(|line| cgroup_path(line, hierarchy)).unwrap_or_default();
        let own = Path::new(own.trim_start_matches('/'));
        // A path out of the namespace begins with `..`; there is nothing to be read there.
        let is_inside = own.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let ancestors = own.ancestors().filter(|_| is_inside);
        let mut folders: Vec<PathBuf> = ancestors.map(|folder| top.join(folder)).collect();
        if !is_inside {
            folders.push(top);
        }
        folders
    }
}

/// The path in a line `ID:CONTROLLERS:PATH` of /proc/self/cgroup, if it is of this hierarchy.
fn cgroup_path<'a>(line: &'a str, hierarchy: &str) -> Option<&'a str> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let is_meant = controllers == hierarchy || controllers.split(',').any(|name| name == hierarchy);
    is_meant.then_some(path)
}

/// The number in a file; `None` for "max", "-1" and files that are not there.
fn read_number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
