//! An open file, plain or compressed. Offsets are always those of the plain bytes: an event has the same id whether
//! it is read before or after its file was compressed.

use std::cell::RefCell;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::gunzip::Gunzip;

/// How a file's bytes are kept on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Packing {
    #[default]
    Plain,
    Gzip,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Handle {
    file: File,
    gunzip: Option<RefCell<Box<Gunzip>>>,
}

// === impl Handle ===

impl Handle {
    pub(crate) fn new(file: File, packing: Packing) -> Handle {
        let gunzip = (packing == Packing::Gzip).then(|| RefCell::new(Box::default()));
        Handle { file, gunzip }
    }

    /// Reads plain bytes from an offset on, once: 0 at the end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(gunzip) = &self.gunzip else {
            return loop {
                match self.file.read_at(buffer, offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    answer => break answer,
                }
            };
        };
        let mut gunzip = gunzip.try_borrow_mut().map_err(io::Error::other)?;
        gunzip.read_at(&self.file, buffer, offset)
    }

    /// Reads until the buffer is full or the file ends; says how much.
    pub(crate) fn read_fully(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..)
            && !rest.is_empty()
        {
            match self.read_at(rest, offset + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// What the system says of the file as it lies on the disk.
    pub(crate) fn stat(&self) -> io::Result<rustix::fs::Stat> {
        rustix::fs::fstat(&self.file).map_err(io::Error::from)
    }

    /// The same.
    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// How many plain bytes a compressed file holds, as far as its last four bytes tell: modulo 4 GiB, and wrong for
    /// one that is damaged or made of several. `None` for a plain file.
    pub(crate) fn stated_size(&self) -> Option<u64> {
        self.gunzip.as_ref()?;
        let len = self.file.metadata().ok()?.len();
        let mut trailer = [0; 4];
        self.file.read_exact_at(&mut trailer, len.checked_sub(4)?).ok()?;
        Some(u64::from(u32::from_le_bytes(trailer)))
    }

    /// Where decoding broke off, if it did.
    pub(crate) fn damage(&self) -> Option<Damage> {
        let gunzip = self.gunzip.as_ref()?.try_borrow().ok()?;
        gunzip.damage()
    }

    /// Forgets that decoding broke off: the file may have been written on.
    pub(crate) fn try_again(&self) {
        if let Some(gunzip) = &self.gunzip
            && let Ok(mut gunzip) = gunzip.try_borrow_mut()
        {
            gunzip.restart();
        }
    }
}

/// Why nothing more can be decoded of a compressed file.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    /// What is wrong.
    pub reason: String,
    /// Whether the file only ends too early, as one does that is still being written.
    pub is_short: bool,
    /// Bytes of the compressed file that were not made use of.
    pub rest: u64,
}
