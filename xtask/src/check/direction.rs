//! Dependencies point one way: the crates of the agent form layers, and the check reads the manifests for it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{cargo, check::Problem, error::Result, repository::Repository};

/// Each crate of the workspace and those of ours that it may depend on. `weir`, the app, knows all of them; a
/// crate that is not listed here is a problem, so that a new one gets its place in the picture.
const MAY_USE: [(&str, &[&str]); 20] = [
    ("weir-event", &[]),
    ("weir-manifest", &["weir-event"]),
    ("weir-oci", &[]),
    // The formats of references, without what speaks to registries.
    ("weir-samples", &["weir-event"]),
    ("weir-config", &["weir-event", "weir-samples", "weir-oci"]),
    ("weir-buffer", &["weir-event"]),
    // It implements what the buffers ask of a store.
    ("weir-object", &["weir-buffer"]),
    ("weir-pipeline", &["weir-event", "weir-samples", "weir-buffer"]),
    ("weir-tail", &["weir-event", "weir-buffer", "weir-pipeline"]),
    ("weir-receive", &["weir-event", "weir-samples", "weir-pipeline"]),
    ("weir-scrape", &["weir-event", "weir-samples", "weir-buffer", "weir-pipeline"]),
    ("weir-journal", &["weir-event", "weir-buffer", "weir-pipeline"]),
    ("weir-opensearch", &["weir-event", "weir-buffer", "weir-pipeline"]),
    ("weir-archive", &["weir-event", "weir-buffer", "weir-pipeline"]),
    ("weir-remote-write", &["weir-event", "weir-samples", "weir-buffer", "weir-pipeline"]),
    ("weir-host", &["weir-event", "weir-manifest"]),
    // How a compiler is found; the tool builds plugins the way the agent's command does.
    ("weir-toolchain", &[]),
    ("weir-plugin-kit", &["weir-event", "weir-manifest", "weir-host", "weir-toolchain"]),
    // Tests run the binary and may use any crate to look at what it wrote.
    ("integration-tests", AGENT),
    // The tool compiles in seconds, and its oracle shares no code with what it judges.
    ("xtask", &["weir-toolchain"]),
];

const AGENT: &[&str] = &[
    "weir-event",
    "weir-samples",
    "weir-manifest",
    "weir-oci",
    "weir-config",
    "weir-buffer",
    "weir-object",
    "weir-pipeline",
    "weir-tail",
    "weir-receive",
    "weir-scrape",
    "weir-journal",
    "weir-opensearch",
    "weir-archive",
    "weir-remote-write",
    "weir-host",
    "weir-toolchain",
    "weir-plugin-kit",
];

/// The assembly, which may use every crate of the agent.
const APP: &str = "weir";
/// The crate that may name the WebAssembly engine, which takes minutes to compile.
const ENGINE_OWNER: &str = "weir-host";

/// Every dependency that points the wrong way.
pub fn problems(repository: &Repository) -> Result<Vec<Problem>> {
    let metadata = cargo::metadata(repository, &repository.root().join("Cargo.toml"))?;
    Ok(wrong_edges(&edges(cargo::packages(&metadata))))
}

/// The names of what each package depends on, tests and build scripts included.
fn edges(packages: &[Value]) -> BTreeMap<String, Vec<String>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut edges = BTreeMap::new();
    for package in packages {
        let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
        edges.insert(text(&package["name"]), dependencies.iter().map(|entry| text(&entry["name"])).collect());
    }
    edges
}

fn wrong_edges(edges: &BTreeMap<String, Vec<String>>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (package, dependencies) in edges {
        let Some(allowed) = allowed(package) else {
            problems.push(problem(package, "has no place in xtask/src/check/direction.rs".to_owned()));
            continue;
        };
        for dependency in dependencies {
            if edges.contains_key(dependency) && !allowed.contains(&dependency.as_str()) {
                problems.push(problem(package, format!("may not depend on {dependency}")));
            }
            if dependency.starts_with("wasmtime") && package != ENGINE_OWNER {
                problems.push(problem(package, format!("only {ENGINE_OWNER} may depend on {dependency}")));
            }
        }
    }
    problems
}

fn allowed(package: &str) -> Option<&'static [&'static str]> {
    if package == APP {
        return Some(AGENT);
    }
    MAY_USE.iter().find(|(name, _)| *name == package).map(|(_, allowed)| *allowed)
}

fn problem(package: &str, text: String) -> Problem {
    Problem { place: format!("crate {package}"), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(edges: &[(&str, &[&str])]) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let edges = edges.iter().map(|(name, to)| (name.to_string(), owned(to))).collect();
        wrong_edges(&edges).into_iter().map(|problem| format!("{} {}", problem.place, problem.text)).collect()
    }

    #[test]
    fn the_repository_points_one_way() {
        let problems = problems(&Repository::find().unwrap()).unwrap();
        assert!(problems.is_empty(), "{problems:#?}");
    }

    #[test]
    fn an_edge_against_the_direction_is_found() {
        assert!(check(&[("weir-event", &["memchr"]), ("weir-tail", &["weir-event", "notify"])]).is_empty());
        assert_eq!(
            check(&[("weir-event", &["weir-tail"]), ("weir-tail", &[])]),
            ["crate weir-event may not depend on weir-tail"]
        );
    }

    #[test]
    fn the_engine_belongs_to_the_host() {
        assert!(check(&[("weir-host", &["wasmtime"])]).is_empty());
        assert_eq!(check(&[("weir", &["wasmtime"])]), ["crate weir only weir-host may depend on wasmtime"]);
    }

    #[test]
    fn a_new_crate_needs_its_place() {
        assert_eq!(check(&[("weir-new", &[])]).len(), 1);
    }
}
