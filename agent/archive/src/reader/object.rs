//! Reading one data object: its footer, and of its frames those that may hold what is asked for, in runs.

use sha2::{Digest as _, Sha256};

use super::outcome::{DamageKind, Outcome};
use super::plan::{Candidate, unreadable};
use super::{ReadError, Reader, Selection};
use crate::bloom::ValueHash;
use crate::object::{
    FOOTER_GUESS, Footer, FooterError, Frame, MAX_FOOTER_BYTES, MAX_OBJECT_BYTES, decode_frame, hex,
};

/// Frames that follow each other are read together up to so many bytes, unless one alone is larger.
const RUN_BYTES: u64 = 4 * 1024 * 1024;

/// What is asked for, ready to be compared.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub from: i64,
    pub to: i64,
    pub wanted: Vec<Wanted>,
}

/// A condition and its value's hash.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub field: String,
    pub value: String,
    pub hash: ValueHash,
}

/// A data object whose frames are read one after the other.
pub(super) struct OpenObject {
    pub candidate: Candidate,
    pub footer: Footer,
    /// Indices of the frames to be read.
    frames: Vec<usize>,
    /// How many of them were read.
    at: usize,
    /// What was read of the object, and where it begins there.
    run: (u64, Vec<u8>),
    /// While the whole object is being read: what of it was, and the bytes behind its frames.
    whole: Option<(Sha256, Vec<u8>)>,
}

/// A frame: its index, and its lines unless it is damaged.
pub(super) type ReadFrame = (usize, Option<Vec<u8>>);

// === impl Asked ===

impl Asked {
    pub fn new(selection: &Selection) -> Asked {
        let wanted = selection.conditions.iter().map(|condition| Wanted {
            field: condition.field.clone(),
            value: condition.value.clone(),
            hash: ValueHash::of(condition.value.as_bytes()),
        });
        Asked { from: selection.from, to: selection.to, wanted: wanted.collect() }
    }

    /// Whether times from `first` to `last` reach into what is asked for.
    pub fn is_in_time(&self, first: i64, last: i64) -> bool {
        last >= self.from && first < self.to
    }

    fn admits(&self, footer: &Footer, frame: &Frame) -> bool {
        let mut wanted = self.wanted.iter();
        self.is_in_time(frame.first, frame.last)
            && wanted.all(|wanted| footer.admits(frame, &wanted.field, wanted.hash))
    }
}

/// The footer of an object, and its bytes; `None` where it is damaged.
pub(super) fn read_footer(
    reader: &Reader,
    candidate: &Candidate,
    outcome: &mut Outcome,
) -> Result<Option<(Footer, Vec<u8>)>, ReadError> {
    let bytes = candidate.bytes;
    if bytes > MAX_OBJECT_BYTES {
        outcome.damage(DamageKind::Object, &candidate.key, format!("{bytes} bytes are too many"));
        return Ok(None);
    }
    let known = candidate.footer.map(|footer| bytes.saturating_sub(footer));
    let mut length = known.unwrap_or(FOOTER_GUESS as u64).min(bytes).min(MAX_FOOTER_BYTES as u64);
    loop {
        let end = match reader.store.get_range(&candidate.key, bytes - length, length as usize) {
            Ok(end) => end,
            Err(error) => {
                unreadable(error, DamageKind::Object, &candidate.key, outcome)?;
                return Ok(None);
            }
        };
        outcome.bytes_read += end.len() as u64;
        match Footer::parse(&end, bytes) {
            Ok(footer) => return Ok(Some((footer, end))),
            Err(FooterError::Needs(needed)) if needed as u64 > length && end.len() as u64 == length => {
                length = needed as u64;
            }
            Err(error) => {
                outcome.damage(DamageKind::Object, &candidate.key, error.to_string());
                return Ok(None);
            }
        }
    }
}

// === impl OpenObject ===

impl OpenObject {
    /// Opens an object; `None` where it is damaged.
    pub fn open(
        reader: &Reader,
        candidate: &Candidate,
        asked: &Asked,
        skip: impl Fn(usize, &Frame) -> bool,
        outcome: &mut Outcome,
    ) -> Result<Option<OpenObject>, ReadError> {
        let Some((footer, end)) = read_footer(reader, candidate, outcome)? else { return Ok(None) };
        let frames = footer.table.frames.iter().enumerate();
        let frames = frames.filter(|(at, frame)| asked.admits(&footer, frame) && !skip(*at, frame));
        let frames: Vec<usize> = frames.map(|(at, _)| at).collect();
        let is_whole = frames.len() == footer.table.frames.len();
        let frames_end = footer.table.frames.last().map_or(0, |frame| frame.offset + frame.bytes);
        let behind = (candidate.bytes - frames_end) as usize;
        let behind = end.len().checked_sub(behind).and_then(|start| end.get(start..)).unwrap_or_default();
        let whole = is_whole.then(|| (Sha256::new(), behind.to_vec()));
        Ok(Some(OpenObject {
            candidate: candidate.clone(),
            footer,
            frames,
            at: 0,
            run: (0, Vec::new()),
            whole,
        }))
    }

    /// The next frame; `None` behind the last. After an error it goes on with the same frame.
    pub fn next(&mut self, reader: &Reader, outcome: &mut Outcome) -> Result<Option<ReadFrame>, ReadError> {
        let Some(index) = self.frames.get(self.at).copied() else {
            self.check_whole(outcome);
            return Ok(None);
        };
        let Some(frame) = self.footer.table.frames.get(index).cloned() else { return Ok(None) };
        if self.of_run(&frame).is_none() && !self.read_run(reader, &frame, outcome)? {
            // It is named; none of its frames can be read.
            self.at = self.frames.len();
            self.whole = None;
            return Ok(Some((index, None)));
        }
        self.at += 1;
        let packed = self.of_run(&frame).unwrap_or_default();
        let decoded = decode_frame(&frame, packed);
        let packed = packed.to_vec();
        if let Some((sha256, _)) = &mut self.whole {
            sha256.update(&packed);
        }
        outcome.frames_read += 1;
        match decoded {
            Ok(raw) => Ok(Some((index, Some(raw)))),
            Err(error) => {
                let message = format!("frame {index} at byte {}: {error}", frame.offset);
                outcome.damage(DamageKind::Frame, &self.candidate.key, message);
                self.whole = None;
                Ok(Some((index, None)))
            }
        }
    }

    /// The frame's bytes, as far as the run has them; `None` where it has to be read.
    fn of_run(&self, frame: &Frame) -> Option<&[u8]> {
        let (start, bytes) = &self.run;
        let from = usize::try_from(frame.offset.checked_sub(*start)?).ok()?;
        let length = usize::try_from(frame.bytes).ok()?;
        // What is cut off at the end of the object is not there to be read again.
        bytes.get(from..).filter(|rest| !rest.is_empty()).map(|rest| rest.get(..length).unwrap_or(rest))
    }

    /// Reads this frame and those behind it that are wanted too. False where the object cannot be read.
    fn read_run(&mut self, reader: &Reader, frame: &Frame, outcome: &mut Outcome) -> Result<bool, ReadError> {
        let mut end = frame.offset + frame.bytes;
        for index in self.frames.iter().skip(self.at + 1) {
            let Some(next) = self.footer.table.frames.get(*index) else { break };
            if next.offset != end || next.offset + next.bytes - frame.offset > RUN_BYTES {
                break;
            }
            end = next.offset + next.bytes;
        }
        match reader.store.get_range(&self.candidate.key, frame.offset, (end - frame.offset) as usize) {
            Ok(bytes) => {
                outcome.bytes_read += bytes.len() as u64;
                self.run = (frame.offset, bytes);
                Ok(true)
            }
            Err(error) => {
                unreadable(error, DamageKind::Object, &self.candidate.key, outcome)?;
                Ok(false)
            }
        }
    }

    fn check_whole(&mut self, outcome: &mut Outcome) {
        let Some((mut sha256, footer)) = self.whole.take() else { return };
        sha256.update(&footer);
        let found = hex(&sha256.finalize());
        if !found.starts_with(&self.candidate.sha256) {
            let message = format!("its SHA-256 is {found}, and {} was written", self.candidate.sha256);
            outcome.damage(DamageKind::Object, &self.candidate.key, message);
        }
    }
}
