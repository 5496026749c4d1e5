//! A plugin in Python: componentize-py puts the module into a component with its interpreter.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use weir_toolchain::{Progress, run_within};

use super::guest::{COMPONENT_LIMIT, ensure, fetch, tool};
use super::{BuildError, io_error};
use crate::project::Project;

/// The version that the fixtures were run with.
const PACKAGE: &str = "componentize-py==0.25.0";
const FOLDER: &str = "componentize-py-0.25.0";
const MODULE: &str = "plugin";

pub(super) fn build(project: &Project, progress: &dyn Progress) -> Result<Vec<u8>, BuildError> {
    ensure("python3", &["python3", "python3-venv"], progress)?;
    let tool = tool(FOLDER, "makes components of Python", progress, |folder| {
        fetch(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        fetch(pip.args(["install", "--quiet", "--disable-pip-version-check", PACKAGE]))
    })?;
    let out = tempfile::NamedTempFile::new().map_err(io_error("create", Path::new("a temporary file")))?;
    let mut work = || {
        let mut componentize = Command::new(tool.join("bin/componentize-py"));
        componentize
            .current_dir(&project.folder)
            .args(["-d", "wit", "-w", "transform", "componentize", "--stub-wasi", MODULE, "-o"])
            .arg(out.path())
            .stdout(Stdio::null());
        run_within(&mut componentize, COMPONENT_LIMIT).map(|()| "built".to_owned())
    };
    let why = format!("{} and a Python interpreter to a component", project.name);
    let outcome = progress.step("componentize-py", &why, &mut work);
    outcome.map_err(|problem| BuildError::Failed { what: "componentize-py".to_owned(), problem })?;
    fs::read(out.path()).map_err(io_error("read", out.path()))
}
