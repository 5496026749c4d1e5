//! The file sink against a real file system, a full disk included.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use weir_config::Size;

use super::*;
use crate::sinks::tests::documents;

/// Set in the process that runs [`a_full_disk_leaves_no_part_of_a_segment`] with a limit of file sizes.
const LIMITED: &str = "WEIR_TEST_LIMITED_PATH";

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs/out.ndjson");
    (folder, path)
}

fn file(path: &Path) -> File {
    File::new(&FileSink { path: path.to_owned(), rotate: None }).unwrap()
}

fn rotating(path: &Path, bytes: u64, keep: u16) -> File {
    let rotate = Some(Rotation { size: Size::of_bytes(bytes), keep });
    File::new(&FileSink { path: path.to_owned(), rotate }).unwrap()
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn documents_are_appended_and_folders_made() {
    let (_folder, path) = folder();
    let mut sink = file(&path);
    sink.append(&documents(&["1", "2"])).unwrap();
    sink.append(&documents(&["3"])).unwrap();
    sink.append(&documents(&[])).unwrap();
    sink.finish();
    file(&path).append(&documents(&["4"])).unwrap();
    assert_eq!(text(&path), "1\n2\n3\n4\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn documents_that_come_again_are_not_written_again() {
    let (_folder, path) = folder();
    let mut sink = file(&path);
    let documents = documents(&["1"]);
    sink.append(&documents).unwrap();
    sink.append(&documents).unwrap();
    assert_eq!(text(&path), "1\n");
}

#[test]
fn a_removed_file_is_made_anew_at_once() {
    let (_folder, path) = folder();
    let mut sink = file(&path);
    sink.append(&documents(&["1"])).unwrap();
    fs::remove_file(&path).unwrap();
    sink.append(&documents(&["2"])).unwrap();
    assert_eq!(text(&path), "2\n");
}

#[test]
fn a_moved_file_is_left_alone_after_the_next_look() {
    let (folder, path) = folder();
    let mut sink = file(&path);
    sink.append(&documents(&["1"])).unwrap();
    let moved = folder.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    sink.target.as_mut().unwrap().looked -= LOOK_EVERY;
    sink.append(&documents(&["2"])).unwrap();
    assert_eq!((text(&moved), text(&path)), ("1\n".into(), "2\n".into()));
}

#[test]
fn a_file_that_somebody_empties_goes_on_at_its_beginning() {
    let (_folder, path) = folder();
    let mut sink = file(&path);
    sink.append(&documents(&["1"])).unwrap();
    fs::write(&path, "").unwrap();
    sink.append(&documents(&["2"])).unwrap();
    assert_eq!(text(&path), "2\n");
}

#[test]
fn what_an_earlier_run_left_unfinished_is_seen_to() {
    let long = format!("{{\"a\":\"{}", "x".repeat(200_000));
    let cases = [
        ("", ""),
        ("{}\n", "{}\n"),
        ("{}\n{\"a\":", "{}\n"),
        ("{\"a\":", ""),
        ("{\"a\":{}", ""),
        (long.as_str(), ""),
        ("{\"a\":{}}", "{\"a\":{}}\n"),
        ("notes of somebody", "notes of somebody\n"),
        ("{}\nnotes", "{}\nnotes\n"),
    ];
    for (before, kept) in cases {
        let (_folder, path) = folder();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, before).unwrap();
        file(&path).append(&documents(&["new"])).unwrap();
        let shown: String = before.chars().take(20).collect();
        assert_eq!(text(&path), format!("{kept}new\n"), "{shown}");
    }
}

#[test]
fn files_rotate_between_documents_and_the_oldest_go() {
    let (_folder, path) = folder();
    let mut sink = rotating(&path, 10, 2);
    // Six bytes each with the newline: one to a file.
    sink.append(&documents(&["aaaaa", "bbbbb", "ccccc"])).unwrap();
    sink.append(&documents(&["ddddd"])).unwrap();
    let at = |suffix: &str| text(format!("{}{suffix}", path.display()));
    assert_eq!([at(""), at(".1"), at(".2"), at(".3")], ["ddddd\n", "ccccc\n", "bbbbb\n", ""]);
    // Two of five bytes fill a file to the byte.
    sink.append(&documents(&["eeee", "ffff", "g"])).unwrap();
    assert_eq!([at(""), at(".1"), at(".2"), at(".3")], ["g\n", "eeee\nffff\n", "ddddd\n", ""]);
}

#[test]
fn a_document_larger_than_the_limit_has_a_file_of_its_own() {
    let (_folder, path) = folder();
    let mut sink = rotating(&path, 4, 3);
    sink.append(&documents(&["1", "too long for it", "2"])).unwrap();
    let at = |suffix: &str| text(format!("{}{suffix}", path.display()));
    assert_eq!([at(""), at(".1"), at(".2")], ["2\n", "too long for it\n", "1\n"]);
}

#[test]
fn rotated_files_beyond_a_lowered_number_are_removed() {
    let (_folder, path) = folder();
    rotating(&path, 4, 5).append(&documents(&["111", "222", "333", "444", "555"])).unwrap();
    rotating(&path, 4, 2).append(&documents(&["666"])).unwrap();
    let at = |suffix: &str| text(format!("{}{suffix}", path.display()));
    let kept = ["", ".1", ".2", ".3", ".4"].map(at);
    assert_eq!(kept, ["666\n", "555\n", "444\n", "", ""]);
}

#[test]
fn a_device_without_room_is_told_with_path_and_cause() {
    let mut sink = file(Path::new("/dev/full"));
    for _ in 0..2 {
        let error = sink.append(&documents(&["1"])).unwrap_err().to_string();
        assert!(error.starts_with("cannot write to /dev/full: No space left on device"), "{error}");
        assert!(error.contains("free some space"), "{error}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let (folder, _) = folder();
    let file_in_the_way = folder.path().join("taken");
    fs::write(&file_in_the_way, "").unwrap();
    let error = file(&file_in_the_way.join("out.ndjson")).append(&documents(&["1"])).unwrap_err().to_string();
    assert!(error.starts_with("cannot open ") && error.contains("taken/out.ndjson"), "{error}");
}

#[test]
fn a_full_disk_leaves_no_part_of_a_segment() {
    if let Some(path) = std::env::var_os(LIMITED) {
        return fill_the_disk(Path::new(&path));
    }
    let (_folder, path) = folder();
    // A limit of file sizes holds for a whole process, so it is set in one of its own.
    let this =
        format!("{}::a_full_disk_leaves_no_part_of_a_segment", module_path!().split_once("::").unwrap().1);
    let mut command = Command::new(std::env::current_exe().unwrap());
    let ran = command.args(["--exact", &this, "--nocapture"]).env(LIMITED, &path).output().unwrap();
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && printed.contains("1 passed"), "{printed}");
    assert_eq!(text(&path), format!("first\n{}\nlast\n", "x".repeat(60_000)));
}

/// Writes more than fits, finds the file as it was before, then makes room and repeats.
fn fill_the_disk(path: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _entered = runtime.enter();
    // The signal that ends a process which writes beyond the limit.
    let _caught = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(25)).unwrap();
    let mut sink = file(path);
    sink.append(&documents(&["first"])).unwrap();

    let unlimited = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(50_000), ..unlimited }).unwrap();
    let too_much = documents(&[&"x".repeat(60_000), "last"]);
    for _ in 0..2 {
        let error = sink.append(&too_much).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot write to {}: ", path.display())), "{error}");
        assert_eq!(text(path), "first\n");
    }
    setrlimit(Resource::Fsize, unlimited).unwrap();
    sink.append(&too_much).unwrap();
    sink.finish();
}

#[test]
fn what_could_not_be_cut_back_is_cut_before_the_next_write() {
    let (_folder, path) = folder();
    let mut sink = file(&path);
    sink.append(&documents(&["1"])).unwrap();
    let id = sink.target.take().unwrap().id;
    fs::write(&path, "1\n2\n3 and a p").unwrap();
    sink.to_be_cut = Some((id, 2));
    sink.append(&documents(&["2", "3"])).unwrap();
    assert_eq!(text(&path), "1\n2\n3\n");
}

#[test]
fn a_named_pipe_does_not_hang() {
    let (folder, _) = folder();
    let path = folder.path().join("pipe");
    let mut sink = file(&path);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let error = sink.append(&documents(&["1"])).unwrap_err().to_string();
    assert!(error.contains("it is a named pipe, not a file"), "{error}");
}
