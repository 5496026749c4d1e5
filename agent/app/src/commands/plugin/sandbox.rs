//! Where the commands run plugins: compiled by a child with limits, as the agent does, and kept in the user's cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_host::{ChildCompiler, Compiler};
use weir_plugin_kit::Sandbox;
use weir_plugin_kit::project::Project;

use crate::plugins::COMPILE_COMMAND;

/// A sandbox, or what stands in the way of one.
pub fn open() -> Result<Sandbox, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("cannot find the agent's own program: {error}"))?;
    let compiler = Compiler::Child(ChildCompiler::new(program, [COMPILE_COMMAND]));
    Sandbox::new(compiler, cache_folder().as_deref()).map_err(|error| error.to_string())
}

/// A component's bytes.
pub fn read(path: &Path) -> Result<Arc<[u8]>, String> {
    let bytes = fs::read(path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    Ok(bytes.into())
}

/// The component of a plugin's folder, which must have been built.
pub fn read_component(project: &Project) -> Result<Arc<[u8]>, String> {
    let path = project.component();
    if !path.is_file() {
        let folder = project.folder.display();
        return Err(format!("{} is not there; run `weir plugin build` in {folder}", path.display()));
    }
    read(&path)
}

/// Made with the parents that it needs; without one compiled code is not kept.
fn cache_folder() -> Option<PathBuf> {
    let given = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = given("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let folder = cache.or_else(|| Some(given("HOME")?.join(".cache")))?.join("weir");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("compiled"))
}
