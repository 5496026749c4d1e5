//! A ConfigMap as the kubelet mounts it: every file is a link through `..data`, which is pointed to another folder when
//! the ConfigMap changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A mounted ConfigMap.
#[derive(Debug)]
pub struct ConfigMap {
    folder: PathBuf,
    swaps: u64,
}

// === impl ConfigMap ===

impl ConfigMap {
    /// Mounts one with these files, as (name, content).
    pub fn mount(folder: &Path, files: &[(&str, &str)]) -> ConfigMap {
        fs::create_dir_all(folder).expect("a folder");
        let mut map = ConfigMap { folder: folder.to_owned(), swaps: 0 };
        map.swap(files);
        map
    }

    /// What a change does: a new folder, a new link to it that takes the place of the old one in one step, links of
    /// files that come or go, and the old folder removed.
    pub fn swap(&mut self, files: &[(&str, &str)]) {
        let data = self.folder.join("..data");
        let before = fs::read_link(&data).ok();
        self.swaps += 1;
        let name = format!("..2026_11_22_10_00_00.{:010}", self.swaps);
        fs::create_dir(self.folder.join(&name)).expect("a folder");
        for (file, content) in files {
            fs::write(self.folder.join(&name).join(file), content).expect("a file");
        }
        let temporary = self.folder.join("..data_tmp");
        symlink(&name, &temporary).expect("a link");
        fs::rename(&temporary, &data).expect("the link in its place");
        for (file, _) in files {
            let link = self.folder.join(file);
            if !link.is_symlink() {
                symlink(Path::new("..data").join(file), link).expect("a link");
            }
        }
        for entry in fs::read_dir(&self.folder).expect("the folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name();
            let is_wanted = files.iter().any(|(file, _)| name == *file);
            if !is_wanted && !name.to_string_lossy().starts_with('.') {
                fs::remove_file(entry.path()).expect("a link that is gone");
            }
        }
        if let Some(before) = before {
            fs::remove_dir_all(self.folder.join(before)).expect("the old folder");
        }
    }
}
