//! Paths of a configuration are relative to its folder.

use std::path::{Component, Path, PathBuf};

use crate::error::Complaint;
use crate::types::{Format, Glob};

/// The path without `.` and `..`, as it is compared with others. Links are not followed.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(result.pop()),
            other => result.push(other),
        }
    }
    result
}

/// The pattern, with the folder in front of it if it is relative, and without `.` and `..`.
pub(super) fn absolute_glob(base_dir: &Path, pattern: &Glob) -> Result<Glob, Complaint> {
    let text = pattern.as_str();
    let is_plain = text.starts_with('/') && text.split('/').all(|part| part != "." && part != "..");
    if is_plain {
        return Ok(pattern.clone());
    }
    let base = match text.starts_with('/') {
        true => String::new(),
        // The folder's name is not a pattern.
        false => globset::escape(&base_dir.to_string_lossy()),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(text.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    Glob::parse(&format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_pattern_gets_the_folder_in_front() {
        let cases = [
            ("/etc/weir", "/var/log/*.log", "/var/log/*.log"),
            ("/etc/weir", "/var/log/../x/*.log", "/var/x/*.log"),
            ("/etc/weir", "logs/**/*.log", "/etc/weir/logs/**/*.log"),
            ("/etc/weir", "./a.log", "/etc/weir/a.log"),
            ("/etc/weir", "../../../a.log", "/a.log"),
            ("/etc/we[i]r", "*.log", "/etc/we[[]i[]]r/*.log"),
        ];
        for (base_dir, pattern, expected) in cases {
            let pattern = Glob::parse(pattern).unwrap();
            assert_eq!(absolute_glob(Path::new(base_dir), &pattern).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn a_path_is_compared_without_dots() {
        for (path, expected) in [("/a/./b/../c", "/a/c"), ("/../a", "/a"), ("a/b", "a/b")] {
            assert_eq!(normal(Path::new(path)), Path::new(expected));
        }
    }
}
