//! An entry as one JSON object.

use std::ops::Range;

use weir_event::batch::{Flags, MAX_EVENT_BYTES};
use weir_event::json;

use crate::export::{Entry, whole_characters};
use crate::selection::Selection;

/// The names of the priorities, by number. Those of which syslog has a short form of its own are written as most
/// programs write them.
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];
/// The process that writes about units.
const MANAGER: &[u8] = b"1";
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
/// Memory for a document that grew beyond this is given back, in bytes.
const MAX_KEPT_BYTES: usize = 256 * 1024;

/// Makes documents of entries.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    selection: Selection,
    out: Vec<u8>,
    /// By field of the entry, whether it has a member of its own.
    used: Vec<bool>,
    /// The fields that have none and come into the document, by name.
    listed: Vec<usize>,
    flags: Flags,
    /// So many bytes of values still come into the document.
    room: usize,
}

/// Where in the entry the fields are that have members of their own.
#[derive(Default)]
struct Known {
    message: Option<usize>,
    priority: Option<usize>,
    unit: Option<usize>,
    about_unit: Option<usize>,
    identifier: Option<usize>,
    pid: Option<usize>,
    comm: Option<usize>,
    exe: Option<usize>,
    hostname: Option<usize>,
    boot_id: Option<usize>,
    transport: Option<usize>,
    machine_id: Option<usize>,
}

// === impl Known ===

impl Known {
    fn slot(&mut self, name: &[u8]) -> Option<&mut Option<usize>> {
        Some(match name {
            b"MESSAGE" => &mut self.message,
            b"PRIORITY" => &mut self.priority,
            b"_SYSTEMD_UNIT" => &mut self.unit,
            b"UNIT" => &mut self.about_unit,
            b"SYSLOG_IDENTIFIER" => &mut self.identifier,
            b"_PID" => &mut self.pid,
            b"_COMM" => &mut self.comm,
            b"_EXE" => &mut self.exe,
            b"_HOSTNAME" => &mut self.hostname,
            b"_BOOT_ID" => &mut self.boot_id,
            b"_TRANSPORT" => &mut self.transport,
            b"_MACHINE_ID" => &mut self.machine_id,
            _ => return None,
        })
    }
}

// === impl Documents ===

impl Documents {
    pub(crate) fn new(selection: Selection) -> Documents {
        Documents { selection, ..Documents::default() }
    }

    /// The document of an entry, and what was cut or replaced. It is the same each time the entry is read.
    pub(crate) fn write(&mut self, entry: &Entry) -> (&[u8], Flags) {
        self.out.clear();
        self.out.shrink_to(MAX_KEPT_BYTES);
        self.room = MAX_EVENT_BYTES;
        self.flags = Flags::default();
        if entry.is_cut {
            self.flags = self.flags.with(Flags::TRUNCATED);
        }
        if entry.is_malformed {
            self.flags = self.flags.with(Flags::MALFORMED);
        }
        self.out.push(b'{');
        self.write_known(entry);
        self.write_listed(entry);
        if self.out.last() == Some(&b',') {
            self.out.pop();
        }
        self.out.push(b'}');
        (&self.out, self.flags)
    }

    fn write_known(&mut self, entry: &Entry) {
        self.used.clear();
        let mut known = Known::default();
        for (place, (name, _)) in entry.fields().enumerate() {
            self.used.push(false);
            if let Some(slot) = known.slot(name) {
                slot.get_or_insert(place);
            }
        }
        let value = |place| entry.value(place);
        // What the manager writes about a unit is found with what the unit writes.
        let is_manager = known.pid.is_some_and(|place| value(place) == MANAGER);
        let unit = match is_manager {
            true => known.about_unit.or(known.unit),
            false => known.unit.or(known.about_unit),
        };
        self.text_member("message", known.message, value);
        self.priority_members(known.priority, value);
        self.text_member("unit", unit, value);
        self.text_member("identifier", known.identifier, value);
        self.number_member("pid", known.pid, value);
        for (name, place) in [
            ("comm", known.comm),
            ("exe", known.exe),
            ("hostname", known.hostname),
            ("boot_id", known.boot_id),
            ("transport", known.transport),
            ("machine_id", known.machine_id),
        ] {
            self.text_member(name, place, value);
        }
    }

    fn priority_members<'a>(&mut self, place: Option<usize>, value: impl Fn(usize) -> &'a [u8]) {
        if let Some(place) = place
            && let [digit @ b'0'..=b'7'] = value(place)
            && let Some(level) = LEVELS.get(usize::from(digit - b'0'))
        {
            self.mark(place);
            self.name("priority");
            self.out.extend_from_slice(&[*digit, b',']);
            self.name("level");
            json::write_string(&mut self.out, level);
            self.out.push(b',');
        }
    }

    fn number_member<'a>(&mut self, name: &str, place: Option<usize>, value: impl Fn(usize) -> &'a [u8]) {
        if let Some(place) = place
            && let Some(number) = number(value(place))
        {
            self.mark(place);
            self.name(name);
            self.out.extend_from_slice(number.to_string().as_bytes());
            self.out.push(b',');
        }
    }

    fn text_member<'a>(&mut self, name: &str, place: Option<usize>, value: impl Fn(usize) -> &'a [u8]) {
        let Some(place) = place else { return };
        self.mark(place);
        self.name(name);
        self.text(value(place));
        self.out.push(b',');
    }

    /// The object `journal`, with what has no member of its own. A field that the entry has several times is an array.
    fn write_listed(&mut self, entry: &Entry) {
        let mut listed = std::mem::take(&mut self.listed);
        listed.clear();
        for (place, (name, _)) in entry.fields().enumerate() {
            if self.used.get(place) == Some(&false) && self.selection.is_listed(name) {
                listed.push(place);
            }
        }
        listed.sort_by_key(|place| entry.name(*place));
        if !listed.is_empty() {
            self.out.extend_from_slice(b"\"journal\":{");
            for group in listed.chunk_by(|one, other| entry.name(*one) == entry.name(*other)) {
                self.write_group(group, entry);
            }
            self.out.pop();
            self.out.extend_from_slice(b"},");
        }
        self.listed = listed;
    }

    fn write_group(&mut self, group: &[usize], entry: &Entry) {
        let name = group.first().map_or(&b""[..], |place| entry.name(*place));
        self.out.push(b'"');
        // Of a field's name nothing needs an escape.
        self.out.extend(name.iter().map(u8::to_ascii_lowercase));
        self.out.extend_from_slice(b"\":");
        if group.len() > 1 {
            self.out.push(b'[');
        }
        for place in group {
            self.text(entry.value(*place));
            self.out.push(b',');
        }
        if group.len() > 1 {
            self.out.pop();
            self.out.extend_from_slice(b"],");
        }
    }

    fn mark(&mut self, place: usize) {
        if let Some(used) = self.used.get_mut(place) {
            *used = true;
        }
    }

    fn name(&mut self, name: &str) {
        json::write_string(&mut self.out, name);
        self.out.push(b':');
    }

    /// A value as a JSON string, as far as there is room for it.
    fn text(&mut self, value: &[u8]) {
        let mut value = value;
        if let Some(cut) = value.get(..self.room).filter(|cut| cut.len() < value.len()) {
            value = cut.get(..whole_characters(cut)).unwrap_or_default();
            self.room = 0;
            self.flags = self.flags.with(Flags::TRUNCATED);
        }
        self.room = self.room.saturating_sub(value.len());
        self.out.push(b'"');
        for chunk in value.utf8_chunks() {
            json::write_escaped(&mut self.out, chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                self.out.extend_from_slice(REPLACEMENT);
                self.flags = self.flags.with(Flags::INVALID_UTF8);
            }
        }
        self.out.push(b'"');
    }
}

/// When an entry's event happened, in nanoseconds since the Unix epoch, and whether a time was ignored. What the sender's
/// clock said counts only where it is near to when the entry came into the journal: a clock that is wrong must not
/// choose the index.
pub(crate) fn time_of(entry: &Entry, cursor_time: Option<u64>) -> (i64, Flags) {
    /// How far the sender's time may lie before the entry's, and how far behind it, in microseconds.
    const WINDOW: Range<i128> = -7 * 24 * 3_600 * 1_000_000..3_600 * 1_000_000;
    let microseconds = |name: &[u8]| entry.first(name).and_then(number);
    let written = microseconds(b"__REALTIME_TIMESTAMP").or(cursor_time);
    let source = entry.first(b"_SOURCE_REALTIME_TIMESTAMP").map(number);
    let is_near = |source: u64, written: u64| WINDOW.contains(&(i128::from(source) - i128::from(written)));
    let (time, flags) = match (source, written) {
        (Some(Some(source)), Some(written)) if is_near(source, written) => (source, Flags::default()),
        (None, Some(written)) => (written, Flags::default()),
        (_, written) => (written.unwrap_or(0), Flags::TIME_IGNORED),
    };
    match i64::try_from(time).ok().and_then(|time| time.checked_mul(1_000)) {
        Some(time) => (time, flags),
        None => (0, Flags::TIME_IGNORED),
    }
}

fn number(text: &[u8]) -> Option<u64> {
    let is_plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}
