//! Which compiler makes WebAssembly components of Rust here, chosen by itself and said aloud.
//!
//! 1. rustup's `wasm32-unknown-unknown`, if it is there.
//! 2. Debian's own compiler, if it is already installed complete: a second run must start at once.
//! 3. `rustup target add`, where rustup can be had and reaches its server in time.
//! 4. Debian's packages, installed now, where apt-get and root are there.
//!
//! Either way the linker is `wasm-component-ld`, which turns the core module and wit-bindgen's custom section
//! into a component; nothing else is needed.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::debian;
use crate::error::Error;
use crate::process::run_within;
use crate::progress::Progress;

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
    /// Where the compiler's own programs lie.
    tools: PathBuf,
    /// The linker that wasm-component-ld calls, the same on both routes.
    wasm_ld: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Rustup,
    Debian,
}

// === impl Toolchain ===

impl Toolchain {
    /// Finds the toolchain that a build in `folder` would use, installing one if need be.
    pub fn choose(folder: &Path, progress: &dyn Progress) -> Result<Toolchain, Error> {
        let forced = forced_route(env::var(ROUTE_VARIABLE).ok().as_deref())?;
        let (rustc, route, why) = match Rustc::ask(compiler(), folder) {
            Ok(rustc) => {
                let (route, why) = match forced {
                    Some(Route::Rustup) => rustup(folder, &rustc, progress)?,
                    Some(Route::Debian) => (Route::Debian, debian::ensure(progress)?),
                    None => first_that_works(folder, &rustc, progress)?,
                };
                (rustc, route, why)
            }
            Err(Error::Start { source, .. }) if source.kind() == ErrorKind::NotFound => {
                progress.note("no rustc in PATH");
                let why = debian::ensure(progress)?;
                (Rustc::ask(debian::RUSTC.into(), folder)?, Route::Debian, why)
            }
            Err(error) => return Err(error),
        };
        let tools = rustc.tools();
        let wasm_ld = wasm_ld(&tools)?;
        Ok(Toolchain { route, why, tools, wasm_ld })
    }

    /// Turns a `cargo build` into one that makes a component.
    pub fn prepare(&self, cargo: Command) -> Command {
        let mut command = match self.route {
            Route::Rustup => cargo,
            Route::Debian => debian::command(cargo),
        };
        command
            .args(["--target", TARGET])
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
            format!("-Clink-arg=--wasm-ld-path={}", self.wasm_ld.display()),
            format!("-Clink-arg=-zstack-size={STACK_BYTES}"),
            "-Ctarget-feature=+simd128,+bulk-memory".to_owned(),
        ]
    }
}

/// What a compiler says of itself.
struct Rustc {
    sysroot: PathBuf,
    host: String,
}

// === impl Rustc ===

impl Rustc {
    /// Asked in the folder of the build: rustup's compiler depends on it.
    fn ask(program: OsString, folder: &Path) -> Result<Rustc, Error> {
        let ask = |arguments: &[&str]| {
            let shown = || program.to_string_lossy().into_owned();
            let failed = |problem| Error::Ask { program: shown(), arguments: arguments.join(" "), problem };
            let mut command = Command::new(&program);
            command.current_dir(folder).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
            let output = command.output().map_err(|source| Error::Start { program: shown(), source })?;
            if !output.status.success() {
                return Err(failed(format!("it ended with {}", output.status)));
            }
            String::from_utf8(output.stdout)
                .map_err(|_| failed("it wrote bytes that are not UTF-8".to_owned()))
        };
        let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?.trim_end());
        let version = ask(&["-vV"])?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.ok_or_else(|| Error::Ask {
            program: program.to_string_lossy().into_owned(),
            arguments: "-vV".to_owned(),
            problem: "it names no host".to_owned(),
        })?;
        Ok(Rustc { sysroot, host: host.to_owned() })
    }

    /// Where wasm-component-ld lies.
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

fn compiler() -> OsString {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// rustup's toolchains bring one; Debian's lies in PATH.
fn wasm_ld(tools: &Path) -> Result<PathBuf, Error> {
    let beside = tools.join("gcc-ld/wasm-ld");
    if beside.is_file() {
        return Ok(beside);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join("wasm-ld")).find(|file| file.is_file());
    found.ok_or(Error::NoLinker { beside })
}

fn forced_route(value: Option<&str>) -> Result<Option<Route>, Error> {
    match value {
        None | Some("") => Ok(None),
        Some("rustup") => Ok(Some(Route::Rustup)),
        Some("debian") => Ok(Some(Route::Debian)),
        Some(other) => Err(Error::Route { variable: ROUTE_VARIABLE, value: other.to_owned() }),
    }
}

fn first_that_works(folder: &Path, rustc: &Rustc, progress: &dyn Progress) -> Result<(Route, String), Error> {
    if !rustc.has_target() && debian::is_complete() {
        return Ok((Route::Debian, "Debian's compiler, as rustup lacks the target".to_owned()));
    }
    match rustup(folder, rustc, progress) {
        Ok(found) => Ok(found),
        Err(refused) => {
            progress.note(&format!("{refused}; trying Debian's compiler instead"));
            Ok((Route::Debian, debian::ensure(progress)?))
        }
    }
}

fn rustup(folder: &Path, rustc: &Rustc, progress: &dyn Progress) -> Result<(Route, String), Error> {
    if rustc.has_target() {
        return Ok((Route::Rustup, format!("the toolchain has {TARGET}")));
    }
    let why = format!("the toolchain lacks {TARGET}, which plugins need");
    let mut add = || {
        let mut command = Command::new("rustup");
        command.current_dir(folder).args(["target", "add", TARGET]);
        run_within(&mut command, TARGET_ADD_LIMIT)?;
        if !rustc.has_target() {
            return Err("it added the target to another toolchain than the one in use".to_owned());
        }
        Ok("added".to_owned())
    };
    progress
        .step("rustup target add", &why, &mut add)
        .map_err(|problem| Error::TargetAdd { target: TARGET, problem })?;
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
        assert!(forced_route(Some("nix")).unwrap_err().is_usage());
    }

    #[test]
    fn both_routes_use_the_same_wasm_ld() {
        for route in [Route::Rustup, Route::Debian] {
            let tools = PathBuf::from("/s/lib/rustlib/x86_64-unknown-linux-gnu/bin");
            let wasm_ld = tools.join("gcc-ld/wasm-ld");
            let flags = Toolchain { route, why: String::new(), tools, wasm_ld }.flags().join(" ");
            assert!(flags.contains("--wasm-ld-path=/s/lib/rustlib/"), "{flags}");
            assert!(flags.contains("bin/wasm-component-ld"), "{flags}");
        }
    }
}
