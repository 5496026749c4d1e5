//! Where things are: files, artifacts, addresses.

use std::net::SocketAddr;
use std::path::PathBuf;

use weir_oci::{Reference, ReferencePrefix};

use super::Format;
use crate::error::Complaint;
use crate::text::quoted;

/// The path of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePath(pub PathBuf);

/// Where a plugin's component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Artifact {
    File(PathBuf),
    Oci(Reference),
}

/// A registry, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RegistryPrefix(pub ReferencePrefix);

/// An IP address and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub SocketAddr);

impl Format for FilePath {
    const NAME: &'static str = "FilePath";
    const DESCRIPTION: &'static str = "A path, absolute or relative to the configuration file's folder.";
    const EXPECTED: &'static str = "a path such as /var/lib/weir";

    fn parse(text: &str) -> Result<FilePath, Complaint> {
        if text.is_empty() {
            return Err(Complaint::new(format!("expected {}, found an empty text", FilePath::EXPECTED)));
        }
        if text.contains('\0') {
            return Err(Complaint::new("a path cannot contain a NUL character"));
        }
        Ok(FilePath(PathBuf::from(text)))
    }
}

impl Format for Artifact {
    const NAME: &'static str = "Artifact";
    const DESCRIPTION: &'static str = "Where a plugin's component is: `file:` and a path, absolute or relative to \
                                       the configuration file's folder, or `oci://host[:port]/repository` with a \
                                       `:tag`, a `@sha256:…` or both; with both, the digest decides.";
    const PATTERN: Option<&'static str> = Some("^(file:.+|oci://[^/]+/.+)$");
    const EXPECTED: &'static str = "an artifact such as file:plugins/sampler.wasm";

    fn parse(text: &str) -> Result<Artifact, Complaint> {
        if let Some(path) = text.strip_prefix("file:") {
            // `file:///plugins/x.wasm` names an empty host; what follows is the path.
            let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
            return FilePath::parse(path).map(|path| Artifact::File(path.0));
        }
        if text.starts_with("oci:") {
            return text.parse().map(Artifact::Oci).map_err(|error: weir_oci::ReferenceError| {
                Complaint::new(format!("{} is no reference to an artefact: {error}", quoted(text)))
            });
        }
        let complaint = Complaint::new(format!("{} does not say where the plugin is", quoted(text)));
        let is_path = !text.is_empty() && !text.contains("://");
        Err(match is_path {
            true => complaint.help(format!("did you mean {}?", quoted(&format!("file:{text}")))),
            false => complaint.help(format!("write {}", Artifact::EXPECTED)),
        })
    }
}

impl Format for RegistryPrefix {
    const NAME: &'static str = "RegistryPrefix";
    const DESCRIPTION: &'static str = "A registry, such as `registry.example` or `127.0.0.1:5000`, or the repositories of \
                                       one that begin alike, such as `registry.example/team-a`.";
    // Without capitals and blanks; what exactly a host is, no pattern says.
    const PATTERN: Option<&'static str> = Some("^[a-z0-9\\[][a-z0-9._:\\[\\]/-]*$");
    const EXPECTED: &'static str = "a registry such as registry.example/team-a";

    fn parse(text: &str) -> Result<RegistryPrefix, Complaint> {
        // One prefix has one spelling, so that none is given twice.
        match text.parse::<ReferencePrefix>() {
            Ok(prefix) if prefix.to_string() == text => Ok(RegistryPrefix(prefix)),
            Ok(prefix) => Err(Complaint::new(format!("{} is not how a registry is written", quoted(text)))
                .help(format!("did you mean {}?", quoted(&prefix.to_string())))),
            Err(error) => Err(Complaint::new(format!("{} names no registry: {error}", quoted(text)))),
        }
    }
}

impl Format for Address {
    const NAME: &'static str = "Address";
    const DESCRIPTION: &'static str = "An IP address and a port, such as `127.0.0.1:9600` or `[::]:9600`; port 0 \
                                       takes a free one.";
    const PATTERN: Option<&'static str> = Some("^.+:[0-9]+$");
    const EXPECTED: &'static str = "an address such as 127.0.0.1:9600";

    fn parse(text: &str) -> Result<Address, Complaint> {
        text.parse().map(Address).map_err(|_| {
            let complaint =
                Complaint::new(format!("expected {}, found the text {}", Address::EXPECTED, quoted(text)));
            match text.strip_prefix("localhost:") {
                Some(port) => {
                    complaint.help(format!("did you mean {}?", quoted(&format!("127.0.0.1:{port}"))))
                }
                None => complaint,
            }
        })
    }
}
