//! Where things are: files, artifacts, addresses.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Format;
use crate::error::Complaint;
use crate::text::quoted;

/// The path of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePath(pub PathBuf);

/// Where a plugin's component is: so far the path of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Artifact(pub PathBuf);

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
                                       the configuration file's folder.";
    const PATTERN: Option<&'static str> = Some("^file:.+$");
    const EXPECTED: &'static str = "an artifact such as file:plugins/sampler.wasm";

    fn parse(text: &str) -> Result<Artifact, Complaint> {
        if let Some(path) = text.strip_prefix("file:") {
            // `file:///plugins/x.wasm` names an empty host; what follows is the path.
            let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
            return FilePath::parse(path).map(|path| Artifact(path.0));
        }
        if text.starts_with("oci:") {
            return Err(Complaint::new("this build loads plugins from files only")
                .help("save the component to a file and write file:path/to/plugin.wasm"));
        }
        let complaint = Complaint::new(format!("{} does not say where the plugin is", quoted(text)));
        let is_path = !text.is_empty() && !text.contains("://");
        Err(match is_path {
            true => complaint.help(format!("did you mean {}?", quoted(&format!("file:{text}")))),
            false => complaint.help(format!("write {}", Artifact::EXPECTED)),
        })
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
