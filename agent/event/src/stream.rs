//! Streams: where events come from. A stream's part of every document is rendered once, here.

use std::sync::Arc;

/// The names that the envelope owns at the top level of a document. An event's own members of these names move
/// into the object `event`.
pub const ENVELOPE_NAMES: [&str; 7] =
    ["@timestamp", "cluster", "node", "kubernetes", "stream", "log", "event"];

/// The stream attributes that a plan may ask for.
pub const ATTRIBUTE_NAMES: [&str; 10] =
    ["source", "cluster", "node", "namespace", "pod", "container", "uid", "stream", "path", "tag"];

/// What is known of a stream. Empty strings are absent attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The source's name in the configuration.
    pub source: String,
    /// The cluster's name in the configuration.
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Pod name.
    pub pod: String,
    /// Container name.
    pub container: String,
    /// Pod uid.
    pub uid: String,
    /// `stdout` or `stderr`, for container logs.
    pub stream: String,
    /// The file's path as it was discovered, for `file` sources.
    pub path: String,
    /// What the sender calls it, for `forward` sources.
    pub tag: String,
    /// The family of metrics that the stream's samples belong to; `None` for events.
    pub family: Option<Box<Family>>,
}

/// A family of metrics, as whoever exposes it describes it. Empty strings say that nobody said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// Its type in small letters, as in OpenMetrics: `counter`, `gauge`, `histogram`, `gaugehistogram`, `summary`, `info`,
    /// `stateset`, `unknown`.
    pub kind: String,
    /// Its unit.
    pub unit: String,
    /// What it says.
    pub help: String,
}

/// Where events come from: one file or connection, and for container logs one of its two output streams.
#[derive(Debug)]
pub struct Stream {
    attributes: Attributes,
    incarnation: u64,
    envelope: Vec<u8>,
}

impl Stream {
    /// A stream, with its share of the envelope rendered. `incarnation` is the first part of its events' ids
    /// (see [`crate::identity`]).
    pub fn new(attributes: Attributes, incarnation: u64) -> Arc<Stream> {
        let envelope = render_envelope(&attributes);
        Arc::new(Stream { attributes, incarnation, envelope })
    }

    /// What is known of it.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The first part of its events' ids.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The members `cluster` to `log.offset`'s key: everything of the envelope between the time and the offset.
    pub(crate) fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// The attribute of this name, `None` where it is empty or unknown.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let a = &self.attributes;
        let value = match name {
            "source" => &a.source,
            "cluster" => &a.cluster,
            "node" => &a.node,
            "namespace" => &a.namespace,
            "pod" => &a.pod,
            "container" => &a.container,
            "uid" => &a.uid,
            "stream" => &a.stream,
            "path" => &a.path,
            "tag" => &a.tag,
            _ => return None,
        };
        (!value.is_empty()).then_some(value.as_str())
    }
}

fn render_envelope(a: &Attributes) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut member = |name: &str, value: &str| {
        if !value.is_empty() {
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            crate::json::write_string(&mut out, value);
            out.push(b',');
        }
    };
    member("cluster", &a.cluster);
    member("node", &a.node);
    let pod = [("namespace", &a.namespace), ("pod", &a.pod), ("container", &a.container), ("uid", &a.uid)];
    if pod.iter().any(|(_, value)| !value.is_empty()) {
        out.extend_from_slice(b"\"kubernetes\":{");
        for (name, value) in pod.iter().filter(|(_, value)| !value.is_empty()) {
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            crate::json::write_string(&mut out, value);
            out.push(b',');
        }
        out.pop();
        out.extend_from_slice(b"},");
    }
    if !a.stream.is_empty() {
        out.extend_from_slice(b"\"stream\":");
        crate::json::write_string(&mut out, &a.stream);
        out.push(b',');
    }
    out.extend_from_slice(b"\"log\":{");
    if !a.path.is_empty() {
        out.extend_from_slice(b"\"file\":{\"path\":");
        crate::json::write_string(&mut out, &a.path);
        out.extend_from_slice(b"},");
    }
    if !a.tag.is_empty() {
        out.extend_from_slice(b"\"tag\":");
        crate::json::write_string(&mut out, &a.tag);
        out.push(b',');
    }
    out.extend_from_slice(b"\"offset\":");
    out
}
