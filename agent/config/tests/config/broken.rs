//! Broken configurations and exactly what is said about them: each `broken/NAME.yaml`, or folder `broken/NAME.d`, has
//! a `broken/NAME.err`.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common;

#[test]
fn what_is_said_about_broken_configurations_is_what_is_kept() {
    let folder = common::folder().join("broken");
    let mut seen = BTreeSet::new();
    let mut answered = BTreeSet::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        if path.extension().unwrap() == "err" {
            answered.insert(name);
            continue;
        }
        assert!(seen.insert(name.clone()), "two configurations called {name}");
        common::assert_kept(&format!("broken/{name}.err"), &errors_of(&path));
    }
    assert!(seen.len() > 20, "the folder was not read");
    assert!(answered.is_subset(&seen), "{answered:?} {seen:?}");
}

/// The errors, with the files' names as they are inside the folder, and the system's own words for a missing file.
fn errors_of(path: &Path) -> String {
    let errors = weir_config::load_on(path, &common::host()).expect_err(&path.display().to_string());
    assert!(!errors.0.is_empty());
    let folder = common::folder().join("broken");
    let folder = folder.display().to_string() + "/";
    errors.to_string().replace(&folder, "") + "\n"
}
