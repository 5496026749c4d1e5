//! Finds files: looks into folders when something changed in them.
//!
//! 1. A watch says at once which folders to look into.
//! 2. Where a folder could not be watched, its own time is compared every second.
//! 3. Every five seconds all known files are looked at, which also finds what changed behind symbolic links, and
//!    now and then everything is listed anew, for file systems whose times cannot be relied on.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::file::FileId;
use crate::layout::{Layout, Place};
use crate::now::Now;
use crate::problems::Problems;
use crate::watch::Watch;

const CHECK_INTERVAL: Duration = Duration::from_secs(1);
const FULL_INTERVAL: Duration = Duration::from_secs(5);
const LIST_INTERVAL: Duration = Duration::from_secs(60);
/// More folders are not looked into.
const MAX_DIRECTORIES: usize = 65_536;
/// A folder that changed less than this long before it was looked into may have changed again within the same tick
/// of the file system's clock.
const SETTLE_NS: i64 = 1_000_000_000;

/// A file that is there.
#[derive(Debug)]
pub(crate) struct Found {
    pub path: PathBuf,
    pub place: Place,
    pub id: FileId,
    pub size: u64,
}

/// What a look brought.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub found: Vec<Found>,
    /// Whether everything was looked through, and all of it could be read.
    pub complete: bool,
}

struct Directory {
    watched: bool,
    stamp: Stamp,
    settled: bool,
    children: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    id: FileId,
    modified: (i64, i64),
}

struct Listing {
    watched: bool,
    stamp: Stamp,
    settled: bool,
    directories: Vec<PathBuf>,
    /// What may be a file to follow, by its name.
    paths: Vec<PathBuf>,
    files: Vec<Found>,
}

pub(crate) struct Discovery {
    watch: Watch,
    directories: HashMap<PathBuf, Directory>,
    next_check: Duration,
    next_full: Duration,
    next_list: Duration,
}

// === impl Stamp ===

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp { id: FileId::of(metadata), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }

    fn is_settled(&self, now: Now) -> bool {
        let (seconds, nanoseconds) = self.modified;
        let modified = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
        now.wall.saturating_sub(modified) > SETTLE_NS
    }
}

// === impl Discovery ===

impl Discovery {
    pub(crate) fn new(watch: Watch) -> Discovery {
        let (next_check, next_full, next_list) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        Discovery { watch, directories: HashMap::new(), next_check, next_full, next_list }
    }

    /// Looks for files where that is due.
    pub(crate) fn round(&mut self, layout: &dyn Layout, problems: &mut Problems, now: Now) -> Option<Round> {
        let flagged = self.watch.take();
        if flagged.all || now.elapsed >= self.next_full {
            self.next_full = now.elapsed + FULL_INTERVAL;
            self.next_check = now.elapsed + CHECK_INTERVAL;
            let lists = flagged.all || now.elapsed >= self.next_list;
            if lists {
                self.next_list = now.elapsed + LIST_INTERVAL;
            }
            let known = if lists { Known::List } else { Known::Look };
            return Some(self.look_through_all(known, layout, problems, now));
        }
        let mut changed: Vec<PathBuf> = flagged.directories.into_iter().collect();
        changed.retain(|directory| self.directories.contains_key(directory));
        if now.elapsed >= self.next_check {
            self.next_check = now.elapsed + CHECK_INTERVAL;
            changed.extend(self.changed());
            let roots = layout.roots().into_iter();
            changed.extend(roots.filter(|root| !self.directories.contains_key(root)));
        }
        if changed.is_empty() {
            return None;
        }
        changed.sort_unstable();
        changed.dedup();
        let mut look = Look { discovery: self, layout, problems, now, known: Known::Skip, failed: false };
        let mut round = Round::default();
        for directory in changed {
            look.look_through(directory, &mut round);
        }
        Some(round)
    }

    fn look_through_all(
        &mut self,
        known: Known,
        layout: &dyn Layout,
        problems: &mut Problems,
        now: Now,
    ) -> Round {
        let mut round = Round::default();
        let mut look = Look { discovery: self, layout, problems, now, known, failed: false };
        for root in layout.roots() {
            look.look_through(root, &mut round);
        }
        round.complete = !look.failed;
        round
    }

    /// The folders without a watch whose own time moved, or that are another folder now.
    fn changed(&self) -> Vec<PathBuf> {
        let moved = |path: &Path, known: &Directory| match fs::metadata(path) {
            Ok(metadata) => Stamp::of(&metadata) != known.stamp || !known.settled,
            Err(_) => true,
        };
        let directories =
            self.directories.iter().filter(|(path, known)| !known.watched && moved(path, known));
        directories.map(|(path, _)| path.clone()).collect()
    }

    /// Forgets a folder and those below it.
    fn forget(&mut self, path: &Path) {
        let mut gone = vec![path.to_owned()];
        while let Some(path) = gone.pop() {
            if let Some(directory) = self.directories.remove(&path) {
                self.watch.remove(&path);
                gone.extend(directory.children);
            }
        }
    }

    /// Whether a folder reached by a symbolic link is one that the way to it already came through.
    fn is_circle(&self, path: &Path, id: FileId) -> bool {
        let mut above = path.ancestors().skip(1);
        above.any(|above| self.directories.get(above).is_some_and(|known| known.stamp.id == id))
    }
}

/// What a look does with folders that it knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing.
    Skip,
    /// Looks at their files, and lists them where they changed.
    Look,
    /// Lists them.
    List,
}

/// One look: what it works with.
struct Look<'a> {
    discovery: &'a mut Discovery,
    layout: &'a dyn Layout,
    problems: &'a mut Problems,
    now: Now,
    known: Known,
    failed: bool,
}

impl Look<'_> {
    fn look_through(&mut self, root: PathBuf, round: &mut Round) {
        let mut waiting = vec![root];
        while let Some(path) = waiting.pop() {
            if !self.problems.may_try(self.now, &path) {
                self.failed = true;
                continue;
            }
            match self.stamp_and_watch(&path).and_then(|(stamp, watched)| self.list(&path, stamp, watched)) {
                Ok(listing) => {
                    self.problems.solved(&path);
                    self.take_in(path, listing, &mut waiting, round);
                }
                Err(error) => {
                    self.failed |= error.kind() != io::ErrorKind::NotFound;
                    self.problems.report(self.now, "read the folder", &path, &error);
                    self.discovery.forget(&path);
                }
            }
        }
    }

    /// Watches a folder before it is listed: what comes in between is then told.
    fn stamp_and_watch(&mut self, path: &Path) -> io::Result<(Stamp, bool)> {
        let stamp = Stamp::of(&fs::metadata(path)?);
        let known = self.discovery.directories.get(path);
        if let Some(known) = known
            && known.stamp.id == stamp.id
            && (known.watched || self.known == Known::Skip)
        {
            return Ok((stamp, known.watched));
        }
        if known.is_some() {
            self.discovery.watch.remove(path);
        }
        Ok((stamp, self.discovery.watch.add(path)))
    }

    fn take_in(&mut self, path: PathBuf, listing: Listing, waiting: &mut Vec<PathBuf>, round: &mut Round) {
        let known = &self.discovery.directories;
        let looks_again = self.known != Known::Skip;
        let has_room = known.len() + waiting.len() < MAX_DIRECTORIES;
        let is_next = |child: &&PathBuf| if known.contains_key(*child) { looks_again } else { has_room };
        waiting.extend(listing.directories.iter().filter(is_next).cloned());
        if !has_room {
            let error = io::Error::other(format!("{MAX_DIRECTORIES} folders are watched already"));
            self.problems.report(self.now, "look into more folders below", &path, &error);
        }
        let there: HashSet<&OsStr> = listing.directories.iter().map(|child| child.as_os_str()).collect();
        let mut gone = known.get(&path).map_or_else(Vec::new, |known| known.children.clone());
        gone.retain(|child| !there.contains(child.as_os_str()));
        for child in gone {
            self.discovery.forget(&child);
        }
        let Listing { watched, stamp, settled, directories: children, paths: files, files: found } = listing;
        round.found.extend(found);
        self.discovery.directories.insert(path, Directory { watched, stamp, settled, children, files });
    }

    fn list(&mut self, path: &Path, stamp: Stamp, watched: bool) -> io::Result<Listing> {
        let settled = stamp.is_settled(self.now);
        let (directories, paths) = (Vec::new(), Vec::new());
        let mut listing = Listing { watched, stamp, settled, directories, paths, files: Vec::new() };
        if self.known == Known::Look
            && let Some(known) = self.discovery.directories.get(path)
            && known.settled
            && known.stamp == stamp
        {
            listing.directories.clone_from(&known.children);
            listing.paths.clone_from(&known.files);
            listing.files.extend(known.files.iter().filter_map(|path| self.look_at(path).ok().flatten()));
            return Ok(listing);
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let path = entry.path();
            if let Err(error) = self.judge(&entry, &path, &mut listing) {
                self.problems.report(self.now, "look at", &path, &error);
            }
        }
        Ok(listing)
    }

    /// Takes an entry of a folder for a folder to look into, for a file to follow, or for neither.
    fn judge(&self, entry: &DirEntry, path: &Path, listing: &mut Listing) -> io::Result<()> {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let wanted = self.layout.wants_directory(path);
            listing.directories.extend(wanted.then(|| path.to_owned()));
            return Ok(());
        }
        if self.layout.place(path).is_some() {
            listing.paths.push(path.to_owned());
            if let Some(found) = self.look_at(path)? {
                listing.files.push(found);
                return Ok(());
            }
        }
        if kind.is_symlink() && self.layout.wants_directory(path) {
            let metadata = fs::metadata(path)?;
            let id = FileId::of(&metadata);
            let is_circle = id == listing.stamp.id || self.discovery.is_circle(path, id);
            let is_new = metadata.is_dir() && !is_circle;
            listing.directories.extend(is_new.then(|| path.to_owned()));
        }
        Ok(())
    }

    /// A file to follow, if that is what a path leads to.
    fn look_at(&self, path: &Path) -> io::Result<Option<Found>> {
        let Some(place) = self.layout.place(path) else { return Ok(None) };
        if !self.problems.may_try(self.now, path) {
            return Ok(None);
        }
        let metadata = fs::metadata(path)?;
        let found =
            || Found { path: path.to_owned(), place, id: FileId::of(&metadata), size: metadata.len() };
        Ok(metadata.is_file().then(found))
    }
}
