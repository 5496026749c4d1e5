//! Planning an hour: which of its data objects have to be read.

use std::collections::{BTreeSet, HashSet};

use weir_buffer::object::{ObjectError, ObjectErrorKind};

use super::hours::HourFiles;
use super::object::{Asked, read_footer};
use super::outcome::{DamageKind, Outcome};
use super::{ReadError, Reader};
use crate::index::{Entry, Index, MAX_READ_BYTES};
use crate::key::Name;

/// A data object that has to be read.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub name: String,
    pub key: String,
    pub bytes: u64,
    pub first: i64,
    pub last: i64,
    /// Where its footer begins, if the index says so.
    pub footer: Option<u64>,
    /// SHA-256 of it, or the beginning of that, hexadecimal.
    pub sha256: String,
}

// === impl Reader ===

impl Reader {
    /// A part of an index, with its bytes as they were listed; `None` where it is damaged or gone.
    pub(super) fn index(
        &self,
        key: &str,
        bytes: u64,
        outcome: &mut Outcome,
    ) -> Result<Option<Index>, ReadError> {
        if bytes > MAX_READ_BYTES {
            outcome.damage(DamageKind::Index, key, format!("{bytes} bytes are too many for an index"));
            return Ok(None);
        }
        // Written again since, it may be longer.
        let object = match self.store.get(key, MAX_READ_BYTES) {
            Ok(object) => object,
            Err(error) => {
                unreadable(error, DamageKind::Index, key, outcome)?;
                return Ok(None);
            }
        };
        outcome.bytes_read += object.bytes.len() as u64;
        match Index::parse(&object.bytes) {
            Ok(index) => Ok(Some(index)),
            Err(error) => {
                outcome.damage(DamageKind::Index, key, error.to_string());
                Ok(None)
            }
        }
    }
}

/// What an hour has for who asks, by the time of the first event.
pub(super) fn plan(
    reader: &Reader,
    files: &HourFiles,
    asked: &Asked,
    outcome: &mut Outcome,
) -> Result<Vec<Candidate>, ReadError> {
    outcome.hours += 1;
    let mut named: HashSet<String> = HashSet::new();
    let mut candidates = Vec::new();
    for (name, bytes) in &files.indices {
        let Some(index) = reader.index(&format!("{}{name}", files.prefix), *bytes, outcome)? else {
            continue;
        };
        for entry in index.objects {
            if named.insert(entry.name.clone()) && asked.is_in_time(entry.first, entry.last) {
                consider(entry, files, asked, outcome, &mut candidates);
            }
        }
    }
    let unnamed: BTreeSet<&String> = files.data.keys().filter(|name| !named.contains(*name)).collect();
    for name in unnamed {
        candidates.extend(unindexed(reader, files, name, asked, outcome)?);
    }
    candidates.sort_by(|one, other| (one.first, &one.name).cmp(&(other.first, &other.name)));
    Ok(candidates)
}

fn consider(
    entry: Entry,
    files: &HourFiles,
    asked: &Asked,
    outcome: &mut Outcome,
    candidates: &mut Vec<Candidate>,
) {
    outcome.objects += 1;
    outcome.frames += entry.frames;
    let key = format!("{}{}", files.prefix, entry.name);
    let listed = files.data.get(&entry.name).copied();
    if listed.is_some_and(|bytes| bytes != entry.bytes) {
        let message = format!("it has {} bytes, and {} were written", listed.unwrap_or(0), entry.bytes);
        outcome.damage(DamageKind::Object, &key, message);
    }
    if !asked.wanted.iter().all(|wanted| entry.admits(&wanted.field, &wanted.value, wanted.hash)) {
        outcome.objects_skipped += 1;
        return;
    }
    candidates.push(Candidate {
        key,
        bytes: entry.bytes,
        first: entry.first,
        last: entry.last,
        footer: Some(entry.footer),
        sha256: entry.sha256,
        name: entry.name,
    });
}

/// A data object that no index names: its footer says what is in it.
fn unindexed(
    reader: &Reader,
    files: &HourFiles,
    name: &str,
    asked: &Asked,
    outcome: &mut Outcome,
) -> Result<Option<Candidate>, ReadError> {
    let Some(mut candidate) = candidate_of(files, name) else { return Ok(None) };
    let Some((footer, _)) = read_footer(reader, &candidate, outcome)? else { return Ok(None) };
    let table = &footer.table;
    if !asked.is_in_time(table.first, table.last) {
        return Ok(None);
    }
    outcome.objects += 1;
    outcome.frames += table.frames.len() as u64;
    (candidate.first, candidate.last) = (table.first, table.last);
    Ok(Some(candidate))
}

/// A data object of which only the name and length are known.
pub(super) fn candidate_of(files: &HourFiles, name: &str) -> Option<Candidate> {
    let Name::Data { sha256, .. } = crate::key::parse_name(name) else { return None };
    Some(Candidate {
        name: name.to_owned(),
        key: format!("{}{name}", files.prefix),
        bytes: *files.data.get(name)?,
        first: i64::MIN,
        last: i64::MAX,
        footer: None,
        sha256: sha256.to_owned(),
    })
}

/// An object that is gone or refused is damaged; a store that does not answer ends the reading.
pub(super) fn unreadable(
    error: ObjectError,
    kind: DamageKind,
    key: &str,
    outcome: &mut Outcome,
) -> Result<(), ReadError> {
    match error.kind {
        ObjectErrorKind::Retry => return Err(error.into()),
        ObjectErrorKind::Missing => outcome.damage(DamageKind::Missing, key, "it is not there"),
        ObjectErrorKind::Refused => outcome.damage(kind, key, error.message),
    }
    Ok(())
}
