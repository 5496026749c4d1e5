//! Where the `weir` binary and the plugins are: as `cargo xtask test` says in the environment, else in the target
//! directory that this test lies in.

use std::env;
use std::path::{Path, PathBuf};

const BINARY_VARIABLE: &str = "WEIR_BIN";
const PLUGINS_VARIABLE: &str = "WEIR_PLUGINS_DIR";

/// The agent.
pub fn weir() -> PathBuf {
    let path = from_environment(BINARY_VARIABLE).unwrap_or_else(|| profile_folder().join("weir"));
    let help = "build it with `cargo build --release -p weir`, or let `cargo xtask test` do all of it";
    assert!(
        path.is_file(),
        "no weir binary at {}; {help}, or say in {BINARY_VARIABLE} where it is",
        path.display()
    );
    path
}

/// The folder with `NAME.wasm` of each plugin.
pub fn plugins() -> PathBuf {
    let beside = || profile_folder().parent().expect("a target directory").join("plugins");
    let path = from_environment(PLUGINS_VARIABLE).unwrap_or_else(beside);
    let help = "build them with `cargo xtask plugins --all`, or let `cargo xtask test` do all of it";
    assert!(
        path.is_dir(),
        "no plugins in {}; {help}, or say in {PLUGINS_VARIABLE} where they are",
        path.display()
    );
    path
}

/// One plugin.
pub fn plugin(name: &str) -> PathBuf {
    let path = plugins().join(name).with_extension("wasm");
    assert!(path.is_file(), "no plugin {}; build it with `cargo xtask plugins --all`", path.display());
    path
}

/// Where compiled plugins are kept from one test to the next.
pub(crate) fn compiled() -> PathBuf {
    profile_folder().parent().expect("a target directory").join("tmp").join("compiled-plugins")
}

/// The top of the checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace around this crate")
}

fn from_environment(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A program that was built beside the tests.
pub(crate) fn beside(name: &str) -> PathBuf {
    profile_folder().join(name)
}

/// `release` in the target directory: tests lie in its folder `deps`.
fn profile_folder() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    test.ancestors().nth(2).expect("a folder for each profile").to_owned()
}
