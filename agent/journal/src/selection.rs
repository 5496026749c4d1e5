//! Which fields of an entry are of use.

use std::collections::HashSet;

use crate::settings::{Fields, JournalSettings};

/// Fields with members of their own in the document.
const KNOWN: [&[u8]; 13] = [
    b"MESSAGE",
    b"PRIORITY",
    b"_SYSTEMD_UNIT",
    b"UNIT",
    b"SYSLOG_IDENTIFIER",
    b"_PID",
    b"_COMM",
    b"_EXE",
    b"_HOSTNAME",
    b"_BOOT_ID",
    b"_TRANSPORT",
    b"_MACHINE_ID",
    b"_SOURCE_REALTIME_TIMESTAMP",
];
/// What the journal itself says of an entry. Of the fields that begin like these no others are kept: they are no part
/// of the entry, and new ones come with new versions of `journalctl`.
const ADDRESS: [&[u8]; 2] = [b"__CURSOR", b"__REALTIME_TIMESTAMP"];
const ADDRESS_PREFIX: &[u8] = b"__";

/// Which fields of an entry are of use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    all: bool,
    extra: HashSet<Vec<u8>>,
}

// === impl Selection ===

impl Selection {
    pub(crate) fn new(settings: &JournalSettings) -> Selection {
        let extra = settings.extra_fields.iter().map(|name| name.clone().into_bytes()).collect();
        Selection { all: settings.fields == Fields::All, extra }
    }

    /// Whether the parser keeps this field.
    pub(crate) fn keeps(&self, name: &[u8]) -> bool {
        match name.starts_with(ADDRESS_PREFIX) {
            true => ADDRESS.contains(&name),
            false => KNOWN.contains(&name) || self.all || self.extra.contains(name),
        }
    }

    /// Whether this field stands under `journal` where it has no member of its own.
    pub(crate) fn is_listed(&self, name: &[u8]) -> bool {
        !name.starts_with(ADDRESS_PREFIX) && (self.all || self.extra.contains(name))
    }
}
