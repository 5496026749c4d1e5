//! Compiled code is kept, and believed only if it is beyond doubt.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_host::{Cache, ChildCompiler, CompileError, Compiler, LoadError, Plugin};

use crate::guest::Guest;
use crate::support::{engine, run, spec};

/// Fails, so that a load that succeeds took its code from the cache.
fn no_compiler() -> Compiler {
    Compiler::Child(ChildCompiler::new("/nonexistent/weir", ["compile"]))
}

fn load(cache: &Cache, compiler: &Compiler) -> Result<Arc<Plugin>, LoadError> {
    Plugin::load(engine(), cache, compiler, spec(Guest::by_row().build()))
}

fn entry(directory: &Path) -> PathBuf {
    let is_entry = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "cwasm");
    let entries: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).filter(is_entry).collect();
    assert_eq!(entries.len(), 1);
    entries[0].clone()
}

#[test]
fn the_next_start_needs_no_compiler() {
    let directory = tempfile::tempdir().unwrap();
    load(&Cache::open(directory.path()).unwrap(), &Compiler::InProcess).unwrap();
    let plugin = load(&Cache::open(directory.path()).unwrap(), &no_compiler()).unwrap();
    assert_eq!(run(&mut plugin.instance(), &["keep", "drop"]).outcome.verdicts, [0, 1]);
    let name = entry(directory.path()).file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with(&format!("{}-", plugin.digest())), "{name}");
}

#[test]
fn another_plugin_of_the_same_artefact_shares_its_code() {
    let cache = Cache::in_memory();
    let first = load(&cache, &Compiler::InProcess).unwrap();
    load(&cache, &no_compiler()).unwrap();
    drop(first);
    assert!(matches!(load(&cache, &no_compiler()), Err(LoadError::Compile(CompileError::Start { .. }))));
}

#[test]
fn what_is_in_doubt_is_compiled_again_and_replaced() {
    let damage: [fn(&Path); 5] = [
        |entry| flip(entry, |length| length / 2),
        |entry| flip(entry, |_| 9),
        |entry| flip(entry, |length| length - 1),
        |entry| fs::write(entry, fs::read(entry).unwrap().split_at(1000).0).unwrap(),
        |entry| fs::set_permissions(entry, fs::Permissions::from_mode(0o644)).unwrap(),
    ];
    for damage in damage {
        let directory = tempfile::tempdir().unwrap();
        load(&Cache::open(directory.path()).unwrap(), &Compiler::InProcess).unwrap();
        damage(&entry(directory.path()));
        let doubted = load(&Cache::open(directory.path()).unwrap(), &no_compiler());
        assert!(matches!(doubted, Err(LoadError::Compile(CompileError::Start { .. }))));
        load(&Cache::open(directory.path()).unwrap(), &Compiler::InProcess).unwrap();
        load(&Cache::open(directory.path()).unwrap(), &no_compiler()).unwrap();
    }
}

fn flip(entry: &Path, at: fn(usize) -> usize) {
    let mut bytes = fs::read(entry).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0x10;
    fs::write(entry, bytes).unwrap();
}

#[test]
fn a_full_disk_keeps_no_plugin_from_running() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(&directory.path().join("cache")).unwrap();
    fs::remove_dir_all(directory.path().join("cache")).unwrap();
    load(&cache, &Compiler::InProcess).unwrap();
}
