//! Going through the hours of an archive: namespace by namespace, each in the order of time.

use std::collections::{BTreeMap, VecDeque};

use super::{ReadError, Reader};
use crate::key::{self, Hour, Name};

/// Keys of one namespace and day, or folders in one place, at the most.
pub(super) const MAX_KEYS: usize = 1_000_000;
/// Up to so many hours of a day are listed one by one.
const FEW_HOURS: i64 = 6;

/// The objects of a namespace and hour.
#[derive(Debug)]
pub(super) struct HourFiles {
    pub namespace_folder: String,
    pub hour: Hour,
    /// What their keys begin with.
    pub prefix: String,
    /// Names of data objects and their bytes.
    pub data: BTreeMap<String, u64>,
    /// Names of parts of indices and their bytes.
    pub indices: Vec<(String, u64)>,
}

/// Goes through hours. After an error it goes on where it was.
pub(super) struct Hours {
    first: Hour,
    last: Hour,
    namespaces: VecDeque<String>,
    /// Folders of days of the first namespace; `None` before they are known.
    days: Option<VecDeque<String>>,
    hours: VecDeque<HourFiles>,
    /// In the first namespace nothing before this is wanted.
    skip_before: Option<Hour>,
    is_empty: bool,
}

// === impl Hours ===

impl Hours {
    /// Hours that hold times from `from` to before `to`, of these namespaces or, with none, of all.
    pub fn new(reader: &Reader, from: i64, to: i64, namespaces: &[String]) -> Result<Hours, ReadError> {
        let mut folders = match namespaces {
            [] => reader.folders(&reader.root)?,
            named => named.iter().map(|name| key::folder(name)).collect(),
        };
        folders.sort_unstable();
        folders.dedup();
        Ok(Hours {
            first: Hour::of(from),
            last: Hour::of(to.saturating_sub(1)),
            namespaces: folders.into(),
            days: None,
            hours: VecDeque::new(),
            skip_before: None,
            is_empty: to <= from,
        })
    }

    /// Leaves out what is before this hour of this namespace.
    pub fn skip_to(&mut self, namespace_folder: &str, hour: Hour) {
        self.namespaces.retain(|folder| folder.as_str() >= namespace_folder);
        if self.namespaces.front().is_some_and(|first| first == namespace_folder) {
            self.skip_before = Some(hour);
        }
    }

    pub fn next(&mut self, reader: &Reader) -> Result<Option<HourFiles>, ReadError> {
        while !self.is_empty {
            if let Some(hour) = self.hours.pop_front() {
                return Ok(Some(hour));
            }
            let Some(namespace) = self.namespaces.front() else { break };
            let prefix = format!("{}{namespace}/", reader.root);
            let first = self.first.max(self.skip_before.unwrap_or(self.first));
            match &mut self.days {
                None => self.days = Some(days(reader, &prefix, first, self.last)?),
                Some(days) => match days.front() {
                    Some(day) => {
                        self.hours = hours(reader, namespace, &prefix, day, (first, self.last))?;
                        days.pop_front();
                    }
                    None => {
                        (self.days, self.skip_before) = (None, None);
                        self.namespaces.pop_front();
                    }
                },
            }
        }
        Ok(None)
    }
}

/// Folders of days with something in them, such as `2023/11/14`.
fn days(reader: &Reader, prefix: &str, first: Hour, last: Hour) -> Result<VecDeque<String>, ReadError> {
    let (first, last) = (first.day_folder(), last.day_folder());
    let mut folders = vec![String::new()];
    for width in [4, 2, 2] {
        let mut next = Vec::new();
        for folder in &folders {
            let names = reader.folders(&format!("{prefix}{folder}"))?;
            let names = names.into_iter().filter(|name| name.len() == width);
            let names = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
            let within = names.map(|name| format!("{folder}{name}/")).filter(|path| {
                let len = path.len() - 1;
                let of = |day: &str| day.get(..len).map(str::to_owned);
                let path = path.get(..len).map(str::to_owned);
                of(&first) <= path && path <= of(&last)
            });
            next.extend(within);
        }
        folders = next;
    }
    folders.sort_unstable();
    Ok(folders.into_iter().map(|folder| folder.trim_end_matches('/').to_owned()).collect())
}

/// The hours of a day with something in them.
fn hours(
    reader: &Reader,
    namespace_folder: &str,
    prefix: &str,
    day: &str,
    (first, last): (Hour, Hour),
) -> Result<VecDeque<HourFiles>, ReadError> {
    let Some(midnight) = Hour::parse(&format!("{day}/00")) else { return Ok(VecDeque::new()) };
    let wanted: Vec<Hour> =
        (0..24).map(|hour| midnight.plus(hour)).filter(|hour| (first..=last).contains(hour)).collect();
    let mut by_hour: BTreeMap<Hour, HourFiles> = BTreeMap::new();
    let mut sort = |path: &str, bytes: u64| {
        let (folder, name) = path.rsplit_once('/').unwrap_or_default();
        let Some(hour) = Hour::parse(folder).filter(|hour| wanted.contains(hour)) else { return };
        let files = by_hour.entry(hour).or_insert_with(|| HourFiles {
            namespace_folder: namespace_folder.to_owned(),
            hour,
            prefix: format!("{prefix}{}/", hour.folder()),
            data: BTreeMap::new(),
            indices: Vec::new(),
        });
        match key::parse_name(name) {
            Name::Data { .. } => drop(files.data.insert(name.to_owned(), bytes)),
            Name::Index { .. } => files.indices.push((name.to_owned(), bytes)),
            Name::Other => {}
        }
    };
    if wanted.len() as i64 <= FEW_HOURS {
        for hour in &wanted {
            let folder = hour.folder();
            for (name, bytes) in reader.objects(&format!("{prefix}{folder}/"))? {
                sort(&format!("{folder}/{name}"), bytes);
            }
        }
    } else {
        for (path, bytes) in reader.objects(&format!("{prefix}{day}/"))? {
            sort(&format!("{day}/{path}"), bytes);
        }
    }
    Ok(by_hour.into_values().collect())
}
