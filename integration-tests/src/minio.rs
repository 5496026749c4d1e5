//! MinIO, an object store that speaks S3.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::node::Node;
use crate::servers::Server;

/// A running MinIO, and a bucket in it that belongs to one test.
#[derive(Clone, Debug)]
pub struct MinIo {
    address: SocketAddr,
    access_key: String,
    secret_key: String,
    data: PathBuf,
    bucket: String,
}

// === impl MinIo ===

impl MinIo {
    /// The one that all tests share, with a bucket of one's own that is not made yet.
    pub fn shared() -> MinIo {
        static BUCKETS: AtomicU32 = AtomicU32::new(0);
        let shown = Server::new("minio", "", &[]).up();
        let text = |name: &str| shown[name].as_str().unwrap_or_else(|| panic!("{name}: {shown}")).to_owned();
        let url = text("url");
        let address =
            url.strip_prefix("http://").expect("an address").parse().expect("an address and a port");
        let log = PathBuf::from(text("log"));
        let number = BUCKETS.fetch_add(1, Ordering::Relaxed);
        MinIo {
            address,
            access_key: text("access_key"),
            secret_key: text("secret_key"),
            data: log.parent().expect("a folder").join("data"),
            bucket: format!("test-{}-{number}-{:08x}", std::process::id(), rand::random::<u32>()),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of the test's bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Writes the keys into a node's files, and returns what stands under `object_store` for this endpoint, as YAML in
    /// one line without its braces.
    pub fn configuration(&self, node: &Node, endpoint: &str) -> String {
        let access = node.write("access-key", format!("{}\n", self.access_key));
        let secret = node.write("secret-key", format!("{}\n", self.secret_key));
        format!(
            "endpoint: '{endpoint}', bucket: {}, create_bucket: true, access_key: {{file: {}}}, secret_key: {{file: {}}}",
            self.bucket,
            access.display(),
            secret.display()
        )
    }

    /// Both halves of what requests are signed with.
    pub fn keys_to_sign_with(&self) -> (String, String) {
        (self.access_key.clone(), self.secret_key.clone())
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The keys of all objects in the test's bucket, from the server's own folder.
    pub fn keys(&self) -> Vec<String> {
        let bucket = self.data.join(&self.bucket);
        let mut keys = Vec::new();
        collect(&bucket, &bucket, &mut keys);
        keys.sort();
        keys
    }

    /// Those of segments.
    pub fn segments(&self) -> Vec<String> {
        self.keys().into_iter().filter(|key| key.ends_with(".seg")).collect()
    }
}

/// Each object is a folder with its key as the path, and a file of this name in it.
fn collect(root: &Path, folder: &Path, keys: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name() == "xl.meta" {
            let key = folder.strip_prefix(root).expect("within the bucket");
            keys.push(key.to_string_lossy().into_owned());
        } else if path.is_dir() {
            collect(root, &path, keys);
        }
    }
}
