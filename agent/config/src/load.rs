//! From a path to a checked configuration: read, check against the schema, convert, validate.

use std::path::Path;

use serde::Deserialize;

use crate::config::Config;
use crate::error::{Complaint, Errors, Report, Warning};
use crate::host::Host;
use crate::key_path::KeyPath;
use crate::{check, files, raw, schema, validate};

/// Loads the configuration at `path`, a YAML file or a folder of them, for this machine.
///
/// All errors are found in one go. The warnings are about what works and is probably not meant.
pub fn load(path: &Path) -> Result<(Config, Vec<Warning>), Errors> {
    load_on(path, &Host::this())
}

/// Loads the configuration at `path` for a given machine.
pub fn load_on(path: &Path, host: &Host) -> Result<(Config, Vec<Warning>), Errors> {
    let mut report = Report::default();
    let config = read_with(path, host, None, &mut report);
    report.finish(config)
}

/// With another text in the place of a file's, where one is given.
pub(crate) fn read_with(
    path: &Path,
    host: &Host,
    edited: Option<(&Path, &str)>,
    report: &mut Report,
) -> Option<Config> {
    let schema = schema::shared();
    let files = files::read(path, edited, schema, report)?;
    let valid = check::check(&files.tree, schema, report);
    match raw::Config::deserialize(&valid) {
        Ok(raw) => Some(validate::validate(raw, files, host, report)),
        Err(error) => {
            // Not reached while schema and structs agree, which a test proves.
            report.error(files.tree.at, &KeyPath::default(), Complaint::new(error.to_string()));
            None
        }
    }
}
