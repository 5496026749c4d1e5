//! Decodes a compressed file from its beginning, a piece at a time, and answers reads by offset. Reads go forward;
//! one that goes back further than the window begins anew, which is right but slow.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use flate2::bufread::MultiGzDecoder;

use crate::handle::Damage;

/// What was decoded is kept this far back: parts of a record and the start of an unfinished line are read twice.
const BACK_BYTES: usize = 256 * 1024;
/// How much is decoded at once.
const STEP_BYTES: usize = 64 * 1024;
/// A file that decodes to more is taken for a bomb: kubelets rotate at some 10 MiB.
const MAX_PLAIN_BYTES: u64 = 64 * 1024 * 1024 * 1024;
const INPUT_BYTES: usize = 32 * 1024;

/// A decoder and what it gave last.
#[derive(Debug, Default)]
pub(crate) struct Gunzip {
    decoder: Option<MultiGzDecoder<io::BufReader<Positioned>>>,
    /// Decoded bytes.
    window: Vec<u8>,
    /// Where the window begins.
    start: u64,
    ended: bool,
    damage: Option<Damage>,
}

/// Reads a file from the beginning, by offsets, whatever others do with its descriptor.
#[derive(Debug)]
struct Positioned {
    file: File,
    at: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

// === impl Gunzip ===

impl Gunzip {
    /// Plain bytes from an offset on. Where nothing more can be decoded, the file ends for the reader, and
    /// [`Gunzip::damage`] says why. Errors are those of the disk.
    pub(crate) fn read_at(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.start {
            self.restart();
        }
        self.forget_before(offset.saturating_sub(BACK_BYTES as u64));
        while !self.ended && self.end() < offset.saturating_add(buffer.len() as u64) {
            self.decode(file)?;
            self.forget_before(offset.saturating_sub(BACK_BYTES as u64));
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let there = self.window.get(from..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), there.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    pub(crate) fn damage(&self) -> Option<Damage> {
        self.damage.clone()
    }

    /// Begins anew.
    pub(crate) fn restart(&mut self) {
        *self = Gunzip::default();
    }

    fn end(&self) -> u64 {
        self.start + self.window.len() as u64
    }

    fn forget_before(&mut self, offset: u64) {
        let Some(count) = offset.checked_sub(self.start) else { return };
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.window.len());
        // Moved only now and then: a byte is copied once on the average.
        if count >= BACK_BYTES.max(self.window.len() / 2) || count == self.window.len() {
            self.window.drain(..count);
            self.start += count as u64;
        }
    }

    fn decode(&mut self, file: &File) -> io::Result<()> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            None => {
                let input = Positioned { file: file.try_clone()?, at: 0 };
                let input = io::BufReader::with_capacity(INPUT_BYTES, input);
                self.decoder.insert(MultiGzDecoder::new(input))
            }
        };
        let filled = self.window.len();
        self.window.resize(filled + STEP_BYTES, 0);
        let spare = self.window.get_mut(filled..).unwrap_or_default();
        let answer = decoder.read(spare);
        self.window.truncate(filled + answer.as_ref().map_or(0, |count| *count));
        match answer {
            Ok(0) => self.ended = true,
            Ok(_) if self.end() > MAX_PLAIN_BYTES => {
                let reason = format!("it holds more than {MAX_PLAIN_BYTES} bytes");
                self.break_off(file, reason, false);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The decoder's complaints; any other is the disk's.
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => self.break_off(file, error.to_string(), true),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                    self.break_off(file, error.to_string(), false);
                }
                _ => return Err(error),
            },
        }
        Ok(())
    }

    fn break_off(&mut self, file: &File, reason: String, is_short: bool) {
        let used = self.decoder.as_ref().map_or(0, |decoder| {
            let input = decoder.get_ref();
            input.get_ref().at.saturating_sub(input.buffer().len() as u64)
        });
        let len = file.metadata().map_or(used, |metadata| metadata.len());
        self.damage = Some(Damage { reason, is_short, rest: len.saturating_sub(used) });
        self.ended = true;
    }
}
