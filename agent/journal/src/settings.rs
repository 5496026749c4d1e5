//! What the source is told.

use std::path::PathBuf;
use std::time::Duration;

use crate::export::is_field_name;

/// Where reading begins when there is no checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// With the oldest entry that the journal has.
    #[default]
    Beginning,
    /// With what is written after the source's first start.
    End,
}

/// How urgent an entry is, as syslog has it (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// 0: the system is unusable.
    Emergency,
    /// 1: action must be taken at once.
    Alert,
    /// 2.
    Critical,
    /// 3.
    Error,
    /// 4.
    Warning,
    /// 5: normal, but significant.
    Notice,
    /// 6.
    Informational,
    /// 7.
    Debug,
}

/// Which fields of an entry come into its document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// Those that have members of their own, and [`JournalSettings::extra_fields`].
    #[default]
    Known,
    /// All of them; those without members of their own under `journal`.
    All,
}

/// Settings of [`crate::Journal`].
///
/// An entry is read if it is of one of the units, or has one of the identifiers, or is the kernel's where `kernel` is
/// set, and is urgent enough. Where no unit, no identifier and not the kernel is named, all are read.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// Units whose entries are read, those that systemd writes about them included. `kubelet` stands for
    /// `kubelet.service`; patterns are not understood.
    pub units: Vec<String>,
    /// Syslog identifiers whose entries are read.
    pub identifiers: Vec<String>,
    /// Whether the kernel's messages are read, of every boot.
    pub kernel: bool,
    /// Entries that are less urgent are not read.
    pub priority: Option<Priority>,
    /// The folder of the journal's files or one above it, instead of `/var/log/journal` and `/run/log/journal`.
    pub directory: Option<PathBuf>,
    /// The journal namespace to read, instead of the default one (`systemd-journald.service(8)`).
    pub namespace: Option<String>,
    /// The program `journalctl`: a path, or a name to look for in `PATH`. Versions 251 to 253 before their fixes of
    /// May 2023 cannot follow a journal over boots; with them only the current boot is read.
    pub command: PathBuf,
    /// Where reading begins when there is no checkpoint.
    pub read_from: ReadFrom,
    /// How long an entry may wait for others to share its batch.
    pub linger: Duration,
    /// Which fields come into the document. Those with members of their own are `message`, `priority` (a number) and
    /// `level` (its name), `unit`, `identifier`, `pid` (a number), `comm`, `exe`, `hostname`, `boot_id`, `transport` and
    /// `machine_id`; others stand under `journal` by their names in small letters, as arrays where an entry has them
    /// several times.
    pub fields: Fields,
    /// Further fields that come into the document, under `journal`, by their names in the journal, such as
    /// `_SYSTEMD_CGROUP`.
    pub extra_fields: Vec<String>,
}

/// Why a source cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The name of a unit, an identifier or a namespace that none can have.
    #[error("{setting} has {value:?}, which is empty or has a control character; remove or correct it")]
    Name {
        /// Which setting.
        setting: &'static str,
        /// What stands there.
        value: String,
    },
    /// A unit that is written as a pattern.
    #[error("units has the pattern {unit:?}; name each unit, or leave units empty to read all of them")]
    UnitPattern {
        /// The pattern.
        unit: String,
    },
    /// The name of a field that no entry can have.
    #[error(
        "extra_fields has {name:?}, which no field of the journal can be called; write it as `journalctl -o verbose` \
         shows it: capital letters, digits and underscores, 64 at the most"
    )]
    FieldName {
        /// What stands there.
        name: String,
    },
}

// === impl JournalSettings ===

impl Default for JournalSettings {
    fn default() -> JournalSettings {
        JournalSettings {
            units: Vec::new(),
            identifiers: Vec::new(),
            kernel: false,
            priority: None,
            directory: None,
            namespace: None,
            command: PathBuf::from("journalctl"),
            read_from: ReadFrom::default(),
            linger: Duration::from_millis(200),
            fields: Fields::default(),
            extra_fields: Vec::new(),
        }
    }
}

impl JournalSettings {
    /// Whether a source can be built from these.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let names = (self.units.iter().map(|unit| ("units", unit)))
            .chain(self.identifiers.iter().map(|identifier| ("identifiers", identifier)))
            .chain(self.namespace.iter().map(|namespace| ("namespace", namespace)));
        for (setting, value) in names {
            if value.is_empty() || value.chars().any(char::is_control) {
                return Err(SettingsError::Name { setting, value: value.clone() });
            }
        }
        if let Some(unit) = self.units.iter().find(|unit| unit.contains(['*', '?', '['])) {
            return Err(SettingsError::UnitPattern { unit: unit.clone() });
        }
        if let Some(name) = self.extra_fields.iter().find(|name| !is_field_name(name.as_bytes())) {
            return Err(SettingsError::FieldName { name: name.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> JournalSettings {
        JournalSettings::default()
    }

    fn strings(text: &str) -> Vec<String> {
        vec!["good.service".to_owned(), text.to_owned()]
    }

    #[test]
    fn names_that_can_be_are_taken() {
        let good = JournalSettings {
            units: strings("run-containerd\\x2d.mount"),
            identifiers: strings("my app[1]"),
            namespace: Some("+edge".into()),
            extra_fields: vec!["_SYSTEMD_CGROUP".into(), "N2".into()],
            ..settings()
        };
        assert!(good.check().is_ok());
        assert!(settings().check().is_ok());
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let cases = [
            (JournalSettings { units: strings(""), ..settings() }, "units has \"\""),
            (JournalSettings { units: strings("a\nb"), ..settings() }, "units has \"a\\nb\""),
            (JournalSettings { units: strings("kube*"), ..settings() }, "units has the pattern \"kube*\""),
            (JournalSettings { identifiers: strings("\0"), ..settings() }, "identifiers has"),
            (JournalSettings { namespace: Some(String::new()), ..settings() }, "namespace has"),
            (
                JournalSettings { extra_fields: strings("A"), ..settings() },
                "extra_fields has \"good.service\"",
            ),
        ];
        for (settings, expected) in cases {
            let message = settings.check().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
