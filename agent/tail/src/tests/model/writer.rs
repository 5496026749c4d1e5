//! What writes and rotates the files of the model, and knows what must come.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::OUTPUTS;
use crate::settings::Format;
use crate::tests::gzip::gzip;
use crate::tests::rig::{Rig, cri};

/// A line's number, which stands in its text.
pub(super) type Line = usize;

/// A file of the model.
#[derive(Default)]
pub(super) struct LogFile {
    name: String,
    lines: Vec<Line>,
    inode: u64,
    /// When it was made, by the rig's clock.
    made_at: u64,
}

/// Lines whose bytes are no longer there.
#[derive(Default)]
pub(super) struct Destroyed {
    pub lines: Vec<Line>,
    /// Whether the agent has the file open, and can still read them.
    pub is_held: bool,
}

pub(super) struct Writer {
    name: String,
    next: Line,
    /// What of a line was not written yet.
    rest: String,
    /// The parts of each output's record so far.
    pending: [String; 2],
    pub expected: Vec<String>,
    pub format: Format,
    pub rotations: u64,
    current: Option<LogFile>,
    /// The rotated files that are there, oldest first.
    rotated: Vec<LogFile>,
    /// Whether the current file was copied and truncated, and nobody may have looked since.
    was_copied: bool,
    /// Inodes that were seen, and by which file last.
    inodes: HashMap<u64, u64>,
}

impl Writer {
    pub(super) fn new(name: &str, format: Format) -> Writer {
        Writer {
            name: name.to_owned(),
            next: 0,
            rest: String::new(),
            pending: Default::default(),
            expected: Vec::new(),
            format,
            rotations: 0,
            current: None,
            rotated: Vec::new(),
            was_copied: false,
            inodes: HashMap::new(),
        }
    }

    /// The text of the next line.
    fn line(&mut self, output: usize, is_part: bool, begin: &str) -> String {
        self.next += 1;
        let text = format!("{begin}<{}:{}>", OUTPUTS[output], self.next);
        if self.format != Format::Cri {
            self.expected.push(text.clone());
            return text + "\n";
        }
        self.pending[output] += &text;
        if !is_part {
            self.expected.push(std::mem::take(&mut self.pending[output]));
        }
        cri(self.next as u32, OUTPUTS[output], if is_part { "P" } else { "F" }, &text)
    }

    fn write(&mut self, rig: &Rig, text: &str, lines: std::ops::RangeInclusive<Line>) {
        let rest = std::mem::take(&mut self.rest);
        rig.append(&self.name, rest + text);
        let file = match &mut self.current {
            Some(file) => file,
            None => {
                let inode = fs::metadata(rig.path(&self.name)).unwrap().ino();
                let (name, made_at) = (self.name.clone(), rig.passed().as_secs());
                *self.inodes.entry(inode).or_default() += 1;
                self.current.insert(LogFile { name, lines: Vec::new(), inode, made_at })
            }
        };
        file.lines.extend(lines);
    }

    pub(super) fn put(&mut self, rig: &Rig, output: usize, is_part: bool, begin: &str) {
        let line = self.line(output, is_part, begin);
        self.write(rig, &line, self.next..=self.next);
    }

    pub(super) fn burst(&mut self, rig: &Rig, count: u16) {
        let first = self.next + 1;
        let lines: String = (0..count).map(|n| self.line(usize::from(n % 2), n % 100 == 99, "")).collect();
        self.write(rig, &lines, first..=self.next);
    }

    pub(super) fn start(&mut self, rig: &Rig) {
        let line = self.line(0, false, "");
        let (start, rest) = line.split_at(line.len() / 2);
        self.write(rig, start, self.next..=self.next);
        self.rest = rest.to_owned();
    }

    /// Ends everything that was begun.
    pub(super) fn end(&mut self, rig: &Rig) {
        let first = self.next + 1;
        let last: String = (0..2).map(|output| self.line(output, false, "")).collect();
        self.write(rig, &last, first..=self.next);
    }

    /// Whether no line and no record is in the middle.
    fn is_between(&self) -> bool {
        self.rest.is_empty() && self.pending.iter().all(String::is_empty)
    }

    /// Writers rotate between lines.
    pub(super) fn rotate(&mut self, rig: &mut Rig) {
        if !self.rest.is_empty() {
            return;
        }
        self.let_copy_be_seen(rig);
        let Some(mut file) = self.current.take() else { return };
        file.name = self.rotated_name();
        rig.rename(&self.name, &file.name);
        self.rotated.push(file);
    }

    fn rotated_name(&mut self) -> String {
        self.rotations += 1;
        format!("{}.20261122-{:06}", self.name, self.rotations)
    }

    /// Writes to the file that was renamed last, where no other has its place yet.
    pub(super) fn put_late(&mut self, rig: &Rig, output: usize) {
        if self.current.is_some() || self.rotated.last().is_none_or(|last| last.name.ends_with(".gz")) {
            return;
        }
        let line = self.line(output, false, "");
        let Some(file) = self.rotated.last_mut() else { return };
        rig.append(&file.name, line);
        file.lines.push(self.next);
    }

    /// As kubelets do it: a temporary file, a rename, and only then the plain one is removed.
    pub(super) fn compress(&mut self, rig: &Rig, place: usize) {
        let plain = self.rotated.iter_mut().rev().filter(|file| !file.name.ends_with(".gz"));
        let Some(file) = plain.take(place + 1).last() else { return };
        let packed = gzip(fs::read(rig.path(&file.name)).unwrap());
        let temporary = rig.path("being compressed");
        fs::write(&temporary, packed).unwrap();
        let name = format!("{}.gz", file.name);
        fs::rename(temporary, rig.path(&name)).unwrap();
        rig.remove(&file.name);
        file.name = name;
        file.inode = fs::metadata(rig.path(&file.name)).unwrap().ino();
        file.made_at = rig.passed().as_secs();
        *self.inodes.entry(file.inode).or_default() += 1;
    }

    pub(super) fn delete(&mut self, rig: &Rig, place: usize) -> Destroyed {
        if place >= self.rotated.len() {
            return Destroyed::default();
        }
        let file = self.rotated.remove(place);
        let is_held = self.is_held(rig, &file);
        rig.remove(&file.name);
        Destroyed { lines: file.lines, is_held }
    }

    pub(super) fn recreate(&mut self, rig: &mut Rig) -> Destroyed {
        if !self.is_between() {
            return Destroyed::default();
        }
        self.let_copy_be_seen(rig);
        let Some(file) = self.current.take() else { return Destroyed::default() };
        let is_held = self.is_held(rig, &file);
        rig.remove(&file.name);
        self.put(rig, 0, false, "");
        Destroyed { lines: file.lines, is_held }
    }

    /// No container runtime does that.
    pub(super) fn truncate(&mut self, rig: &Rig) -> Destroyed {
        if !self.is_between() || self.format != Format::Text {
            return Destroyed::default();
        }
        let Some(file) = &mut self.current else { return Destroyed::default() };
        fs::File::options().write(true).open(rig.path(&file.name)).unwrap().set_len(0).unwrap();
        Destroyed { lines: std::mem::take(&mut file.lines), is_held: false }
    }

    /// A file that was copied and truncated is known by its name until it was looked at. Who copies and truncates does
    /// not rename or delete as well.
    fn let_copy_be_seen(&mut self, rig: &mut Rig) {
        if std::mem::take(&mut self.was_copied) {
            rig.pass_seconds(6);
        }
    }

    /// As logrotate does it when it is told to. No container runtime does that.
    pub(super) fn copy_and_truncate(&mut self, rig: &mut Rig, pause: u16) {
        if !self.rest.is_empty() || self.format != Format::Text {
            return;
        }
        let name = self.rotated_name();
        let Some(file) = &mut self.current else { return };
        // A file that is met together with its copy for the first time, or is short, is taken for two.
        let pauses = pause > 0 && fs::metadata(rig.path(&file.name)).unwrap().len() >= 1_024;
        if pauses {
            rig.pass_seconds(6);
        }
        fs::copy(rig.path(&file.name), rig.path(&name)).unwrap();
        if pauses {
            rig.pass(Duration::from_millis(pause.into()));
        }
        fs::File::options().write(true).open(rig.path(&file.name)).unwrap().set_len(0).unwrap();
        let inode = fs::metadata(rig.path(&name)).unwrap().ino();
        *self.inodes.entry(inode).or_default() += 1;
        let (lines, made_at) = (std::mem::take(&mut file.lines), rig.passed().as_secs());
        self.rotated.push(LogFile { name, lines, inode, made_at });
        self.was_copied = true;
    }

    /// Whether the agent has a file open for sure: it may have another one open that had the same inode.
    fn is_held(&self, rig: &Rig, file: &LogFile) -> bool {
        let is_first = self.inodes.get(&file.inode) == Some(&1);
        rig.has_open(file.inode) && (is_first || rig.passed().as_secs() >= file.made_at + 12)
    }
}
