//! Carries the SDK's source and the WIT inside the program, so that a plugin's folder builds where there is no checkout.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What a plugin's folder gets of the repository, by its path in both.
const CARRIED: [&str; 3] = ["sdk/README.md", "sdk/rust", "wit"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let mut files = Vec::new();
    for carried in CARRIED {
        println!("cargo::rerun-if-changed={}", root.join(carried).display());
        collect(&root, Path::new(carried), &mut files)?;
    }
    files.sort();
    let mut code = String::from("&[\n");
    for file in &files {
        let (name, path) = (file.to_str().ok_or("a name that is not text")?, root.join(file));
        writeln!(code, "    ({name:?}, include_str!({path:?})),")?;
    }
    code.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("carried.rs"), code)?;
    Ok(())
}

fn collect(root: &Path, at: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if !root.join(at).is_dir() {
        files.push(at.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(root.join(at))? {
        let name = entry?.file_name();
        // Released versions are for the agent's own checks, build output for nobody.
        if name != "target" && name != "released" && !name.to_string_lossy().starts_with('.') {
            collect(root, &at.join(name), files)?;
        }
    }
    Ok(())
}
