//! Configurations of several files, and what files may be.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common;

const BASE: &str =
    "version: 1\ncluster: dev\nsources:\n  apps: {type: kubernetes_logs}\nsinks:\n  out: {type: console}\n";
const TEAM: &str = "sinks:\n  mine: {type: blackhole}\npipelines:\n  team: {from: [apps], to: [mine, out]}\n";

fn errors_of(path: &Path) -> Vec<String> {
    let errors = weir_config::load_on(path, &common::host()).unwrap_err();
    errors.0.iter().map(|error| error.to_string().replace(&path.display().to_string(), "PATH")).collect()
}

#[test]
fn the_files_of_a_folder_are_one_configuration() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("20-team.yml"), TEAM).unwrap();
    fs::write(folder.path().join("10-base.yaml"), BASE).unwrap();
    fs::write(folder.path().join("README.md"), "not: [a configuration").unwrap();
    fs::write(folder.path().join(".hidden.yaml"), "not: [a configuration").unwrap();
    fs::write(folder.path().join("empty.yaml"), "# nothing\n").unwrap();
    fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    let (config, _) = weir_config::load_on(folder.path(), &common::host()).unwrap();
    assert_eq!(config.sinks.keys().map(|name| &**name).collect::<Vec<_>>(), ["mine", "out"]);
    assert_eq!(config.pipelines["team"].from.len(), 1);
    assert_eq!(config.base_dir, folder.path());
}

/// As the kubelet mounts a ConfigMap: files are links into `..data`, which is a link to a folder with a date.
#[test]
fn a_mounted_config_map_is_read_as_one_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (state, cluster) in [("..2026_01_01", "old"), ("..2026_01_02", "new")] {
        fs::create_dir(path.join(state)).unwrap();
        fs::write(path.join(state).join("base.yaml"), BASE.replace("dev", cluster)).unwrap();
        fs::write(path.join(state).join("team.yaml"), TEAM).unwrap();
    }
    symlink("..2026_01_01", path.join("..data")).unwrap();
    symlink("..data/base.yaml", path.join("base.yaml")).unwrap();
    symlink("..data/team.yaml", path.join("team.yaml")).unwrap();
    let (old, _) = weir_config::load_on(path, &common::host()).unwrap();
    assert_eq!((old.cluster.as_str(), old.base_dir.as_path()), ("old", path));
    // The kubelet swaps the states by renaming a new link over the old one.
    symlink("..2026_01_02", path.join("..data_tmp")).unwrap();
    fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    let (new, _) = weir_config::load_on(path, &common::host()).unwrap();
    assert_eq!(new.cluster, "new");
    assert_ne!(new.hash, old.hash);
}

#[test]
fn errors_name_the_file_as_it_is_mounted() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("..state")).unwrap();
    fs::write(folder.path().join("..state/base.yaml"), BASE.to_string() + "colour: blue\n").unwrap();
    symlink("..state", folder.path().join("..data")).unwrap();
    symlink("..data/base.yaml", folder.path().join("base.yaml")).unwrap();
    assert_eq!(
        errors_of(folder.path()),
        [
            "PATH/base.yaml:7:1: unknown key `colour`; known keys: version, cluster, node, data_dir, memory, workers, \
         sources, plugins, registries, pipelines, sinks, buffers, admin"
        ]
    );
}

#[test]
fn the_hash_is_that_of_names_and_bytes() {
    let hash = |files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        weir_config::load_on(folder.path(), &common::host()).unwrap().0.hash
    };
    let plain = hash(&[("a.yaml", BASE)]);
    assert_eq!(plain.len(), 32);
    assert_eq!(plain, hash(&[("a.yaml", BASE)]));
    assert_ne!(plain, hash(&[("b.yaml", BASE)]));
    assert_ne!(plain, hash(&[("a.yaml", &(BASE.to_string() + "#\n"))]));
    assert_ne!(plain, hash(&[("a.yaml", BASE), ("b.yaml", "")]));
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        errors_of(&folder.path().join("none.yaml")),
        ["PATH: cannot read: No such file or directory (os error 2)"]
    );
    symlink("nowhere", folder.path().join("broken.yaml")).unwrap();
    assert_eq!(
        errors_of(folder.path()),
        ["PATH/broken.yaml: cannot read: No such file or directory (os error 2)"]
    );
}

#[test]
fn a_file_of_the_greatest_length_is_read_and_a_longer_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    let comment = "#".repeat((1 << 20) - BASE.len());
    fs::write(&file, BASE.to_string() + &comment).unwrap();
    assert!(weir_config::load_on(&file, &common::host()).is_ok());
    fs::write(&file, BASE.to_string() + &comment + "#").unwrap();
    assert_eq!(
        errors_of(&file),
        ["PATH: the file is larger than 1024 KiB; split it into several files in a folder"]
    );
}

#[test]
fn too_many_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..257 {
        fs::write(folder.path().join(format!("{number}.yaml")), "").unwrap();
    }
    assert_eq!(errors_of(folder.path()), ["PATH: more than 256 files in this folder"]);
}

#[test]
fn a_byte_order_mark_and_windows_lines_are_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    fs::write(&file, format!("\u{feff}{}", BASE.replace('\n', "\r\n"))).unwrap();
    assert_eq!(weir_config::load_on(&file, &common::host()).unwrap().0.cluster, "dev");
}
