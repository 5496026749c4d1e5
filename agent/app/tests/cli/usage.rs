//! Exit codes and streams.

use std::fs::File;
use std::process::Stdio;

use crate::support::{Ended, Folder};

#[test]
fn wrong_usage_ends_with_2_and_is_told_on_stderr() {
    let folder = Folder::new(&[]);
    for arguments in [&[][..], &["run"], &["chekc", "-c", "x"], &["check", "-c", "x", "--output", "yaml"]] {
        let ended = folder.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.contains("Usage: weir") || ended.stderr.starts_with("error: "), "{ended:?}");
    }
}

#[test]
fn help_goes_to_stdout() {
    let ended = Folder::new(&[]).run(&["--help"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.contains("Exit codes:") && !ended.stdout.contains('\x1b'), "{ended:?}");
}

#[test]
fn the_schema_is_printed() {
    let ended = Folder::new(&[]).run(&["config", "schema"]);
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.json()["title"], "Weir configuration");
}

/// As in `weir config schema | head -1`.
#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let folder = Folder::new(&[]);
    let ended: Ended =
        folder.command(&["config", "schema"]).stdout(writer).stderr(Stdio::piped()).output().unwrap().into();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let folder = Folder::new(&[]);
    let ended: Ended = folder.command(&["config", "schema"]).stdout(full).output().unwrap().into();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot write to standard output: No space left"), "{ended:?}");
}

#[test]
fn a_compiling_child_without_its_limits_fails() {
    let ended = Folder::new(&[]).run(&["__compile-plugin"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(70), ""), "{}", ended.stderr);
}
