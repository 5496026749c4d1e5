//! Which compiler makes WebAssembly components here, chosen by itself and said aloud.
//!
//! 1. rustup's `wasm32-unknown-unknown`, if it is there: what plugin authors use.
//! 2. Debian's own compiler, if it is already installed complete: a second run must start at once.
//! 3. `rustup target add`, where rustup can be had and reaches its server in time.
//! 4. Debian's packages, installed now, where apt-get and root are there.
//!
//! Either way the linker is `wasm-component-ld`, which turns the core module and wit-bindgen's custom section
//! into a component; nothing else is needed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    cargo,
    error::{Error, Result},
    plugins::debian,
    process,
    repository::Repository,
    ui::{self, Step},
};

/// The only target that plugins are built for: no WASI, no imports but those of their world.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// Forces a route: `rustup` or `debian`.
pub const ROUTE_VARIABLE: &str = "WEIR_WASM_TOOLCHAIN";
/// A stack for the guest. Plugins do not recurse deeply, and every instance pays for it.
const STACK_BYTES: u32 = 128 * 1024;
/// How long `rustup target add` may take: the download is about 25 MB.
const TARGET_ADD_LIMIT: Duration = Duration::from_secs(180);

/// A compiler that can make components, and how it was come by.
#[derive(Debug)]
pub struct Toolchain {
    route: Route,
    /// Why this route, for people.
    pub why: String,
    /// The pinned toolchain's own programs; its `wasm-ld` is used on both routes.
    tools: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Rustup,
    Debian,
}

impl Toolchain {
    /// Finds a toolchain, installing one if need be.
    pub fn choose(repository: &Repository) -> Result<Self> {
        let rustc = Rustc::ask(repository)?;
        let (route, why) = match forced_route(env::var(ROUTE_VARIABLE).ok().as_deref())? {
            Some(Route::Rustup) => rustup(repository, &rustc)?,
            Some(Route::Debian) => debian::ensure().map(|how| (Route::Debian, how))?,
            None => first_that_works(repository, &rustc)?,
        };
        Ok(Toolchain { route, why, tools: rustc.tools() })
    }

    /// `cargo build` of one crate folder to a component.
    pub fn build_command(&self, repository: &Repository, folder: &Path) -> Command {
        let mut command = cargo::build_command(repository, "build", &repository.guest_target());
        if self.route == Route::Debian {
            command = debian::command(command);
        }
        command
            .args(["--target", TARGET, "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            // Takes precedence over RUSTFLAGS and every config file, and a path may hold spaces.
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags().join("\x1f"))
            .env_remove("RUSTFLAGS");
        command
    }

    /// The compiler's flags. Do not add a linker flavour: wasm-component-ld then gets arguments that it does
    /// not know.
    fn flags(&self) -> Vec<String> {
        let linker = match self.route {
            Route::Rustup => self.tools.join("wasm-component-ld"),
            Route::Debian => debian::linker(&self.tools),
        };
        vec![
            format!("-Clinker={}", linker.display()),
            format!("-Clink-arg=--wasm-ld-path={}", self.tools.join("gcc-ld/wasm-ld").display()),
            format!("-Clink-arg=-zstack-size={STACK_BYTES}"),
            "-Ctarget-feature=+simd128,+bulk-memory".to_owned(),
        ]
    }
}

/// What the pinned compiler says of itself.
struct Rustc {
    sysroot: PathBuf,
    host: String,
}

impl Rustc {
    fn ask(repository: &Repository) -> Result<Self> {
        let ask = |arguments: &[&str]| {
            let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
            cargo::output(command.current_dir(repository.root()).args(arguments), "asking the compiler")
        };
        let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?.trim_end());
        let version = ask(&["-vV"])?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let Some(host) = host else { return Err(Error::failed("rustc -vV names no host")) };
        Ok(Rustc { sysroot, host: host.to_owned() })
    }

    /// Where wasm-component-ld and wasm-ld lie.
    fn tools(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(&self.host).join("bin")
    }

    fn has_target(&self) -> bool {
        let Ok(entries) = fs::read_dir(self.sysroot.join("lib/rustlib").join(TARGET).join("lib")) else {
            return false;
        };
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    }
}

fn forced_route(value: Option<&str>) -> Result<Option<Route>> {
    match value {
        None | Some("") => Ok(None),
        Some("rustup") => Ok(Some(Route::Rustup)),
        Some("debian") => Ok(Some(Route::Debian)),
        Some(other) => Err(Error::Usage(format!("{ROUTE_VARIABLE} is `rustup` or `debian`, not `{other}`"))),
    }
}

fn first_that_works(repository: &Repository, rustc: &Rustc) -> Result<(Route, String)> {
    if !rustc.has_target() && debian::is_complete() {
        return Ok((Route::Debian, "Debian's compiler, as rustup lacks the target".to_owned()));
    }
    match rustup(repository, rustc) {
        Ok(found) => Ok(found),
        Err(refused) => {
            ui::note(format!("{refused}; trying Debian's compiler instead"));
            let how = debian::ensure()?;
            Ok((Route::Debian, how))
        }
    }
}

fn rustup(repository: &Repository, rustc: &Rustc) -> Result<(Route, String)> {
    if rustc.has_target() {
        return Ok((Route::Rustup, format!("the toolchain has {TARGET}")));
    }
    let step = Step::start("rustup target add", format!("the toolchain lacks {TARGET}, which plugins need"));
    let mut command = Command::new("rustup");
    command.current_dir(repository.root()).args(["target", "add", TARGET]);
    let outcome = process::run_within(&mut command, TARGET_ADD_LIMIT);
    if let Err(cause) = outcome {
        step.failed(&cause);
        return Err(Error::failed(format!("rustup cannot add {TARGET}: {cause}")));
    }
    if !rustc.has_target() {
        step.failed("the target is still missing");
        return Err(Error::failed(format!("rustup added {TARGET} to another toolchain than the pinned one")));
    }
    step.done("added");
    Ok((Route::Rustup, format!("rustup added {TARGET}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_can_be_forced_and_a_wrong_one_is_wrong_usage() {
        assert_eq!(forced_route(None).unwrap(), None);
        assert_eq!(forced_route(Some("")).unwrap(), None);
        assert_eq!(forced_route(Some("rustup")).unwrap(), Some(Route::Rustup));
        assert_eq!(forced_route(Some("debian")).unwrap(), Some(Route::Debian));
        assert_eq!(forced_route(Some("nix")).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn both_routes_use_the_pinned_wasm_ld() {
        for route in [Route::Rustup, Route::Debian] {
            let tools = PathBuf::from("/s/lib/rustlib/x86_64-unknown-linux-gnu/bin");
            let flags = Toolchain { route, why: String::new(), tools }.flags().join(" ");
            assert!(flags.contains("--wasm-ld-path=/s/lib/rustlib/"), "{flags}");
            assert!(flags.contains("bin/wasm-component-ld"), "{flags}");
        }
    }
}
