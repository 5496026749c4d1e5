//! What the program carries: the SDK's source and the WIT from the repository, and what a new plugin begins with.

/// Files of the repository by their path, which they keep in a plugin's folder: the SDK names the WIT by it.
pub(crate) const REPOSITORY: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/carried.rs"));

/// The file of the repository at this path.
pub(crate) fn repository_file(path: &str) -> Option<&'static str> {
    REPOSITORY.iter().find(|(name, _)| *name == path).map(|(_, text)| *text)
}

/// What a plugin in any language begins with.
pub(crate) const SHARED: [(&str, &str); 4] = [
    ("manifest.json", include_str!("../templates/manifest.json")),
    ("fixtures/levels.config.json", include_str!("../templates/fixtures/levels.config.json")),
    ("fixtures/levels.events.ndjson", include_str!("../templates/fixtures/levels.events.ndjson")),
    ("fixtures/levels.expected.ndjson", include_str!("../templates/fixtures/levels.expected.ndjson")),
];

pub(crate) const RUST: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("../templates/rust/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../templates/rust/src/lib.rs.in")),
    ("README.md", include_str!("../templates/rust/README.md")),
    (".gitignore", "target/\n*.wasm\n"),
];

pub(crate) const JAVASCRIPT: [(&str, &str); 4] = [
    ("package.json", include_str!("../templates/javascript/package.json")),
    ("src/plugin.js", include_str!("../templates/javascript/src/plugin.js")),
    ("README.md", include_str!("../templates/javascript/README.md")),
    (".gitignore", "node_modules/\n*.wasm\n"),
];

pub(crate) const PYTHON: [(&str, &str); 4] = [
    ("pyproject.toml", include_str!("../templates/python/pyproject.toml")),
    ("plugin.py", include_str!("../templates/python/plugin.py")),
    ("README.md", include_str!("../templates/python/README.md")),
    (".gitignore", "__pycache__/\n*.wasm\n"),
];
