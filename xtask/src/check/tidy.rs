//! What the house style asks of every tracked file, in a form that a machine can hold it to.

use std::{fs, path::Path};

use crate::{
    cargo,
    check::{Problem, links},
    error::{IoContext, Result},
    repository::Repository,
};

/// Folders whose Rust files are held to the rules.
const SOURCE_FOLDERS: [&str; 6] = ["agent/", "sdk/", "plugins/", "xtask/", "integration-tests/", "fuzz/"];

/// Longer files cannot be proofread in one sitting. Half of this is where a file is best.
const MAX_LINES: usize = 600;

/// Words that no Rust file may hold: what is left open or passed over. Split, so that this file may.
const OPEN_ENDS: [(&str, &str, &str); 4] = [
    ("to", "do!(", "write it, or return an error"),
    ("unimple", "mented!(", "write it, or return an error"),
    ("#[ig", "nore", "a test that is not run is no test"),
    ("#[should_", "panic", "assert the error that is returned"),
];

/// Folders that exist on one machine only. Split as above.
const MACHINE_PATHS: [(&str, &str); 3] = [("/wo", "rk/"), ("/ro", "ot/"), ("/tmp/ba", "sh_jobs")];

/// A tracked text file.
#[derive(Debug)]
pub struct Source<'a> {
    /// Relative to the checkout, with slashes.
    pub path: &'a str,
    /// The whole file.
    pub text: &'a str,
}

/// Every rule over every tracked file.
pub fn problems(repository: &Repository) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for path in tracked(repository)? {
        problems.extend(forbidden_file(&path));
        let file = repository.root().join(&path);
        // A file that is deleted but not yet committed, and a link to a folder, have no text.
        if !file.is_file() {
            continue;
        }
        let bytes = fs::read(&file).while_doing("read", &file)?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        problems.extend(of_file(repository.root(), &Source { path: &path, text: &text }));
    }
    Ok(problems)
}

fn tracked(repository: &Repository) -> Result<Vec<String>> {
    let mut command = std::process::Command::new("git");
    command.current_dir(repository.root()).args(["ls-files", "-z"]);
    let list = cargo::output(&mut command, "listing the tracked files")?;
    Ok(list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn of_file(root: &Path, source: &Source<'_>) -> Vec<Problem> {
    let mut problems = machine_paths(source);
    if source.path.ends_with(".md") {
        problems.extend(links::problems(root, source));
    }
    let rust = source.path.ends_with(".rs");
    if rust && SOURCE_FOLDERS.iter().any(|folder| source.path.starts_with(folder)) {
        problems.extend(purpose(source));
        problems.extend(size(source));
        problems.extend(open_ends(source));
    }
    problems
}

fn forbidden_file(path: &str) -> Option<Problem> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let text = match name {
        "mod.rs" => "a module lies in NAME.rs beside its folder",
        _ => return None,
    };
    Some(Problem { place: path.to_owned(), text: text.to_owned() })
}

fn purpose(source: &Source<'_>) -> Option<Problem> {
    if source.text.starts_with("//!") {
        return None;
    }
    let text = "the first line is to say what the file is for: //! …".to_owned();
    Some(Problem { place: format!("{}:1", source.path), text })
}

fn size(source: &Source<'_>) -> Option<Problem> {
    let lines = source.text.lines().count();
    if lines <= MAX_LINES {
        return None;
    }
    let text = format!("{lines} lines; split what is more than {MAX_LINES}");
    Some(Problem { place: source.path.to_owned(), text })
}

fn open_ends(source: &Source<'_>) -> Vec<Problem> {
    let words = OPEN_ENDS.map(|(start, end, advice)| (format!("{start}{end}"), advice));
    let mut problems = Vec::new();
    for (number, line) in numbered(source.text) {
        for (word, advice) in &words {
            if line.contains(word) {
                problems.push(at(source, number, format!("{word}: {advice}")));
            }
        }
    }
    problems
}

fn machine_paths(source: &Source<'_>) -> Vec<Problem> {
    let paths = MACHINE_PATHS.map(|(start, end)| format!("{start}{end}"));
    let mut problems = Vec::new();
    for (number, line) in numbered(source.text) {
        if let Some(path) = paths.iter().find(|path| line.contains(path.as_str())) {
            problems.push(at(source, number, format!("{path} exists on one machine only")));
        }
    }
    problems
}

/// Lines with their numbers from 1.
pub fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// A problem in one line of a file.
pub fn at(source: &Source<'_>, line: usize, text: String) -> Problem {
    Problem { place: format!("{}:{line}", source.path), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        let found = of_file(Path::new("/nowhere"), &Source { path, text });
        found.into_iter().map(|problem| format!("{}: {}", problem.place, problem.text)).collect()
    }

    #[test]
    fn the_repository_is_tidy() {
        let problems = problems(&Repository::find().unwrap()).unwrap();
        assert!(problems.is_empty(), "{problems:#?}");
    }

    #[test]
    fn a_source_file_says_what_it_is_for() {
        assert!(check("agent/a/src/lib.rs", "//! Things.\n").is_empty());
        assert_eq!(check("agent/a/src/lib.rs", "use std;\n").len(), 1);
        assert_eq!(check("agent/a/src/lib.rs", "").len(), 1);
        assert!(check("docs/example.rs", "use std;\n").is_empty());
    }

    #[test]
    fn open_ends_are_found_with_their_line() {
        let text = format!("//! A.\nfn a() {{ to{}) }}\n", "do!(");
        let expected = concat!("sdk/rust/src/lib.rs:2: to", "do!(: write it, or return an error");
        assert_eq!(check("sdk/rust/src/lib.rs", &text), [expected]);
    }

    #[test]
    fn machine_paths_are_found_in_any_file() {
        let text = format!("see {}{}notes", "/wo", "rk/");
        assert_eq!(check("docs/a.txt", &text).len(), 1);
        assert!(check("docs/a.txt", "see docs/work-notes").is_empty());
    }

    #[test]
    fn long_files_are_found() {
        let long = format!("//! A.\n{}", "\n".repeat(MAX_LINES));
        assert_eq!(check("plugins/p/src/lib.rs", &long).len(), 1);
        assert!(check("plugins/p/tests/data.json", &long).is_empty());
    }

    #[test]
    fn modules_lie_beside_their_folder() {
        assert!(forbidden_file("agent/a/src/b/mod.rs").is_some());
        assert!(forbidden_file("agent/a/src/b.rs").is_none());
    }
}
