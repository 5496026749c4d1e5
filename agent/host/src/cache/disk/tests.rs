//! What lies in the directory is read back only if it is beyond doubt.

use std::fs::Permissions;
use std::io::Seek;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

const NAME: &str = "0123-4567.cwasm";
const CODE: &[u8] = b"machine code";

struct Case {
    directory: tempfile::TempDir,
}

impl Case {
    fn new() -> Case {
        let case = Case { directory: tempfile::tempdir().unwrap() };
        case.open().write(NAME, CODE).unwrap();
        case
    }

    fn open(&self) -> Disk {
        Disk::open(&self.cache()).unwrap()
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("data/plugins")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.cache().join(name)
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().mode() & 0o777
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(&self) -> String {
        self.open().open_entry(NAME).unwrap_err().to_string()
    }

    /// The code that the next start would map.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut file = self.open().open_entry(name).unwrap()?;
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes.truncate(bytes.len() - TRAILER_BYTES as usize);
        Some(bytes)
    }
}

#[test]
fn what_is_written_is_read_back_by_the_next_start() {
    let case = Case::new();
    assert_eq!(case.read(NAME).as_deref(), Some(CODE));
    assert_eq!(case.read("other.cwasm"), None);
    assert_eq!([case.mode(""), case.mode(KEY_NAME), case.mode(NAME)], [0o700, 0o600, 0o600]);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let case = Case::new();
    let good = fs::read(case.path(NAME)).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(case.path(NAME), &bad).unwrap();
        case.open().open_entry(NAME).unwrap_err();
    }
    for length in 0..good.len() {
        fs::write(case.path(NAME), &good[..length]).unwrap();
        case.open().open_entry(NAME).unwrap_err();
    }
}

#[test]
fn an_entry_under_another_name_is_not_valid() {
    let case = Case::new();
    fs::rename(case.path(NAME), case.path("other.cwasm")).unwrap();
    assert!(matches!(case.open().open_entry("other.cwasm"), Err(EntryError::Mac)));
}

#[test]
fn a_file_that_others_may_access_is_not_read() {
    for mode in [0o640, 0o604, 0o620, 0o602, 0o777] {
        let case = Case::new();
        case.set_mode(NAME, mode);
        assert!(case.refusal().contains(&format!("mode {mode:o}")), "{mode:o}");
    }
}

#[test]
fn only_regular_files_are_read() {
    let case = Case::new();
    fs::rename(case.path(NAME), case.path("elsewhere")).unwrap();
    symlink(case.path("elsewhere"), case.path(NAME)).unwrap();
    case.refusal();
    fs::remove_file(case.path(NAME)).unwrap();
    fs::create_dir(case.path(NAME)).unwrap();
    assert!(case.refusal().contains("not a regular file"));
}

#[test]
fn a_key_that_others_saw_or_that_is_cut_is_replaced() {
    let damage: [fn(&Case); 3] = [
        |case| case.set_mode(KEY_NAME, 0o644),
        |case| fs::write(case.path(KEY_NAME), b"short").unwrap(),
        |case| fs::remove_file(case.path(KEY_NAME)).unwrap(),
    ];
    for damage in damage {
        let case = Case::new();
        damage(&case);
        assert!(matches!(case.open().open_entry(NAME), Err(EntryError::Mac)));
        assert_eq!((case.mode(KEY_NAME), fs::metadata(case.path(KEY_NAME)).unwrap().len()), (0o600, 64));
    }
}

#[test]
fn a_directory_open_to_others_is_closed() {
    let case = Case::new();
    case.set_mode("", 0o755);
    assert_eq!(case.read(NAME).as_deref(), Some(CODE));
    assert_eq!(case.mode(""), 0o700);
}

#[test]
fn a_directory_that_is_none_is_an_error() {
    let case = Case::new();
    let error = Disk::open(&case.path(NAME)).err().unwrap().to_string();
    assert!(error.contains("failed to open the plugin cache") && error.contains(NAME), "{error}");
}

#[test]
fn old_unfinished_files_go_at_start() {
    let case = Case::new();
    for (name, age) in [("old", 2 * UNFINISHED_AGE), ("new", Duration::ZERO)] {
        let file = fs::File::create(case.path(&format!("{UNFINISHED_PREFIX}{name}"))).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }
    let left = case.open().entries(|name| name.starts_with(UNFINISHED_PREFIX));
    assert_eq!(left.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), [".unfinished-new"]);
}
