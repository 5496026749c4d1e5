//! A plugin in JavaScript: ComponentizeJS puts the module into a component with its engine.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use weir_toolchain::{Progress, run_within};

use super::guest::{COMPONENT_LIMIT, ensure, fetch, tool};
use super::{BuildError, io_error};
use crate::project::Project;

/// The version that the fixtures were run with.
const PACKAGE: &str = "@bytecodealliance/componentize-js@0.23.0";
const FOLDER: &str = "componentize-js-0.23.0";
const SCRIPT: &str = "componentize.mjs";
const SCRIPT_TEXT: &str = include_str!("componentize.mjs");
const MODULE: &str = "src/plugin.js";

pub(super) fn build(project: &Project, progress: &dyn Progress) -> Result<Vec<u8>, BuildError> {
    ensure("node", &["nodejs"], progress)?;
    ensure("npm", &["npm"], progress)?;
    let tool = tool(FOLDER, "makes components of JavaScript", progress, |folder| {
        fetch(
            Command::new("npm")
                .args(["install", "--silent", "--no-fund", "--no-audit", "--prefix"])
                .arg(folder)
                .arg(PACKAGE),
        )
    })?;
    // The script has to lie beside what it imports.
    let script = tool.join(SCRIPT);
    fs::write(&script, SCRIPT_TEXT).map_err(io_error("write", &script))?;
    let out = tempfile::NamedTempFile::new().map_err(io_error("create", Path::new("a temporary file")))?;
    let mut work = || {
        let mut node = Command::new("node");
        node.arg(&script).arg(project.folder.join(MODULE)).arg(project.folder.join("wit")).arg(out.path());
        node.stdout(Stdio::null());
        run_within(&mut node, COMPONENT_LIMIT).map(|()| "built".to_owned())
    };
    let why = format!("{} and a JavaScript engine to a component", project.name);
    let outcome = progress.step("componentize-js", &why, &mut work);
    outcome.map_err(|problem| BuildError::Failed { what: "componentize-js".to_owned(), problem })?;
    fs::read(out.path()).map_err(io_error("read", out.path()))
}
