//! What is read of a journal.

use super::Format;
use crate::error::Complaint;
use crate::text::quoted;

/// A unit of systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnitName(pub String);

/// A syslog identifier, or the name of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JournalWord(pub String);

/// A field of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JournalField(pub String);

/// As systemd has it (`systemd.journal-fields(7)`).
const MAX_FIELD_BYTES: usize = 64;

impl Format for UnitName {
    const NAME: &'static str = "UnitName";
    const DESCRIPTION: &'static str =
        "A unit of systemd, such as `kubelet` or `containerd.service`; no pattern.";
    const EXPECTED: &'static str = "a unit such as kubelet.service";

    fn parse(text: &str) -> Result<UnitName, Complaint> {
        if text.contains(['*', '?', '[']) {
            let complaint = Complaint::new(format!("{} is a pattern", quoted(text)));
            return Err(complaint.help("name each unit, or leave units out to read all of them"));
        }
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(Complaint::new(format!("expected {}, found {}", UnitName::EXPECTED, quoted(text))));
        }
        Ok(UnitName(text.to_owned()))
    }
}

impl Format for JournalWord {
    const NAME: &'static str = "JournalWord";
    const DESCRIPTION: &'static str = "A name as the journal has it, such as the syslog identifier `sshd`.";
    const EXPECTED: &'static str = "a name such as sshd";

    fn parse(text: &str) -> Result<JournalWord, Complaint> {
        if text.is_empty() || text.chars().any(char::is_control) {
            let message = format!("expected {}, found {}", JournalWord::EXPECTED, quoted(text));
            return Err(Complaint::new(message));
        }
        Ok(JournalWord(text.to_owned()))
    }
}

impl Format for JournalField {
    const NAME: &'static str = "JournalField";
    const DESCRIPTION: &'static str =
        "A field of the journal as `journalctl -o verbose` shows it, such as `_SYSTEMD_CGROUP`.";
    const EXPECTED: &'static str = "a field such as _SYSTEMD_CGROUP";

    fn parse(text: &str) -> Result<JournalField, Complaint> {
        let is_known = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
        let is_named = !text.starts_with(|first: char| first.is_ascii_digit()) && text.bytes().all(is_known);
        if text.is_empty() || text.len() > MAX_FIELD_BYTES || !is_named {
            let message = format!("expected {}, found {}", JournalField::EXPECTED, quoted(text));
            return Err(
                Complaint::new(message).help("capital letters, digits and underscores, 64 at the most")
            );
        }
        Ok(JournalField(text.to_owned()))
    }
}
