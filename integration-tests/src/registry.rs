//! A real registry with real tools around it: crane, which pushes and pulls, and cosign, which signs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::servers::Server;

/// A registry that runs.
#[derive(Debug)]
pub struct Registry {
    address: String,
    crane: PathBuf,
    cosign: PathBuf,
}

/// A pair of keys of cosign.
#[derive(Debug)]
pub struct KeyPair {
    folder: TempDir,
}

/// Where cosign writes a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureLayout {
    /// Behind the tag `sha256-….sig`.
    Tag,
    /// As a bundle among the referrers.
    Bundle,
}

// === impl Registry ===

impl Registry {
    /// That of crane, which lists referrers behind a tag.
    pub fn of_crane() -> Registry {
        let up = Server::new("registry", "", &["--cosign"]).up();
        Registry::new(&up, &up)
    }

    /// One with the referrers API.
    pub fn with_referrers() -> Registry {
        let tools = Server::new("registry", "", &["--cosign"]).up();
        Registry::new(&Server::new("registry", "-referrers", &["--referrers"]).up(), &tools)
    }

    fn new(server: &Value, tools: &Value) -> Registry {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let url = text(&server["url"]);
        let address = url.strip_prefix("http://").expect("plain HTTP").to_owned();
        Registry { address, crane: text(&tools["crane"]).into(), cosign: text(&tools["cosign"]).into() }
    }

    /// Its address.
    pub fn socket(&self) -> SocketAddr {
        self.address.parse().expect("an address and a port")
    }

    /// The name of a repository of this run: the registry may hold what earlier runs pushed.
    pub fn name(name: &str) -> String {
        static RUN: LazyLock<u128> =
            LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos());
        format!("run-{:x}/{name}", *RUN)
    }

    /// The same as crane and cosign name it.
    pub fn repository(&self, name: &str) -> String {
        format!("{}/{}", self.address, Registry::name(name))
    }

    /// Runs crane and returns what it prints.
    #[track_caller]
    pub fn crane(&self, arguments: &[&str]) -> Vec<u8> {
        run(Command::new(&self.crane).args(arguments))
    }

    /// A new pair of ECDSA keys.
    pub fn generate_keys(&self) -> KeyPair {
        let keys = KeyPair { folder: tempfile::tempdir().expect("a folder") };
        run(self.cosign().current_dir(keys.folder.path()).arg("generate-key-pair"));
        keys
    }

    /// A new pair of Ed25519 keys, which openssl makes and cosign takes over.
    pub fn generate_ed25519_keys(&self) -> KeyPair {
        let keys = KeyPair { folder: tempfile::tempdir().expect("a folder") };
        let folder = keys.folder.path();
        run(Command::new("openssl").current_dir(folder).args([
            "genpkey",
            "-algorithm",
            "ed25519",
            "-out",
            "raw.key",
        ]));
        let import = ["import-key-pair", "--key", "raw.key", "--output-key-prefix", "cosign"];
        run(self.cosign().current_dir(folder).args(import));
        keys
    }

    /// Has cosign sign the artefact with this digest.
    #[track_caller]
    pub fn sign(&self, repository: &str, digest: &str, keys: &KeyPair, layout: SignatureLayout) {
        let mut command = self.cosign();
        command.current_dir(keys.folder.path()).args(["sign", "--key", "cosign.key", "--tlog-upload=false"]);
        command.args(["--allow-http-registry", "--yes"]);
        command.args((layout == SignatureLayout::Bundle).then_some("--new-bundle-format"));
        run(command.arg(format!("{}@{digest}", self.repository(repository))));
    }

    /// Has crane push a component in the standard layout, which this test lays out itself. Returns the digest.
    #[track_caller]
    pub fn push_by_crane(&self, name: &str, component: &[u8]) -> String {
        let layout = tempfile::tempdir().expect("a folder");
        let blob = |bytes: &[u8]| {
            let hex = sha256(layout.path(), bytes);
            let folder = layout.path().join("blobs/sha256");
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join(&hex), bytes).expect("a blob");
            (format!("sha256:{hex}"), bytes.len())
        };
        let (layer, layer_size) = blob(component);
        let config = json!({"created": "2026-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2",
            "layerDigests": [layer], "component": {"imports": [], "exports": []}});
        let (config, config_size) = blob(config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": config, "size": config_size},
            "layers": [{"mediaType": "application/wasm", "digest": layer, "size": layer_size}],
        });
        let (digest, size) = blob(manifest.to_string().as_bytes());
        let entry = json!({"mediaType": manifest["mediaType"], "digest": digest, "size": size});
        let write = |name: &str, content: Value| fs::write(layout.path().join(name), content.to_string());
        write("index.json", json!({"schemaVersion": 2, "manifests": [entry]})).expect("an index");
        write("oci-layout", json!({"imageLayoutVersion": "1.0.0"})).expect("a layout");
        let folder = layout.path().to_str().expect("a path that is text");
        self.crane(&["push", "--insecure", folder, &self.repository(name)]);
        digest
    }

    fn cosign(&self) -> Command {
        let mut command = Command::new(&self.cosign);
        command.env("COSIGN_PASSWORD", "").env("COSIGN_YES", "true");
        command
    }
}

// === impl KeyPair ===

impl KeyPair {
    /// The file of the public key.
    pub fn public(&self) -> PathBuf {
        self.folder.path().join("cosign.pub")
    }
}

/// By a tool that is none of ours.
fn sha256(scratch: &Path, bytes: &[u8]) -> String {
    let file = scratch.join("hashed");
    fs::write(&file, bytes).expect("a file");
    let printed = run(Command::new("sha256sum").arg(&file));
    String::from_utf8(printed).expect("text").split(' ').next().expect("a digest").to_owned()
}

#[track_caller]
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    output.stdout
}
