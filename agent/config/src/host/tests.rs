//! Tests of the surroundings, on machines made of a few files.

use super::*;

type Files<'a> = &'a [(&'a str, &'a str)];

/// A machine with these files.
fn host(files: Files<'_>, variables: &[(&str, &str)]) -> (Host, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let file = root.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    (Host::at(root.path(), variables), root)
}

#[test]
fn the_memory_limit_is_the_least_around_the_agent() {
    const MIB: u64 = 1 << 20;
    let cases: &[(Files<'_>, Option<u64>)] = &[
        (&[], None),
        (&[("sys/fs/cgroup/memory.max", "max\n")], None),
        (&[("sys/fs/cgroup/memory.max", "268435456\n")], Some(256 * MIB)),
        (&[("sys/fs/cgroup/memory.max", "0\n")], None),
        (
            &[
                ("proc/self/cgroup", "0::/kubepods/pod1/c1\n"),
                ("sys/fs/cgroup/kubepods/memory.max", "1073741824\n"),
                ("sys/fs/cgroup/kubepods/pod1/memory.max", "134217728\n"),
                ("sys/fs/cgroup/kubepods/pod1/c1/memory.max", "max\n"),
            ],
            Some(128 * MIB),
        ),
        (&[("proc/self/cgroup", "0::/../../x\n"), ("sys/fs/cgroup/memory.max", "1048576")], Some(MIB)),
        (&[("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], None),
        (
            &[
                ("proc/self/cgroup", "9:cpu,cpuacct:/a\n5:memory:/docker/c1\n0::/\n"),
                ("sys/fs/cgroup/memory/docker/c1/memory.limit_in_bytes", "67108864\n"),
            ],
            Some(64 * MIB),
        ),
    ];
    for (files, expected) in cases {
        assert_eq!(host(files, &[]).0.memory_limit(), *expected, "{files:?}");
    }
}

#[test]
fn the_cpu_limit_is_rounded_up() {
    let all = std::thread::available_parallelism().unwrap().get();
    let cases: &[(Files<'_>, usize)] = &[
        (&[], all),
        (&[("sys/fs/cgroup/cpu.max", "max 100000\n")], all),
        (&[("sys/fs/cgroup/cpu.max", "150000 100000\n")], 2),
        (&[("sys/fs/cgroup/cpu.max", "20000 100000\n")], 1),
        (&[("sys/fs/cgroup/cpu.max", "100000 0\n")], all),
        (&[("sys/fs/cgroup/cpu.max", "nonsense\n")], all),
        (
            &[
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ],
            3,
        ),
        (
            &[
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ],
            all,
        ),
    ];
    for (files, expected) in cases {
        assert_eq!(host(files, &[]).0.cpus().get(), *expected, "{files:?}");
    }
}

#[test]
fn the_node_is_named_by_the_environment_then_by_the_host() {
    let hostname = [("proc/sys/kernel/hostname", "worker-7\n")];
    assert_eq!(host(&hostname, &[("NODE_NAME", "node-1")]).0.node().as_deref(), Some("node-1"));
    assert_eq!(host(&hostname, &[("NODE_NAME", "")]).0.node().as_deref(), Some("worker-7"));
    assert_eq!(host(&hostname, &[]).0.node().as_deref(), Some("worker-7"));
    assert_eq!(host(&[], &[]).0.node(), None);
}

#[test]
fn a_variable_with_an_impossible_name_is_not_set() {
    for name in ["", "a=b", "a\0b"] {
        assert_eq!(Host::this().variable(name), None);
    }
}
