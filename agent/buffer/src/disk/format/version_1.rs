//! Files of version 1, which are read and no longer written: their header is plain text, and their records lie one
//! after the other, each with a mark, a checksum and its place.

use std::io;

use super::read::{Taking, next_mark};
use super::{Header, HeaderError, MARK, MAX_HEADER_BYTES};

pub(super) const MAGIC: [u8; 8] = *b"weirSG01";
/// Magic, checksum and length of the header.
const PREFIX_BYTES: usize = 16;
/// Mark, length and checksum.
const FRAME_BYTES: usize = 12;

pub(super) fn header(read: impl Fn(u64, usize) -> io::Result<Vec<u8>>) -> Result<Header, HeaderError> {
    let damaged = HeaderError::Damaged;
    let prefix = read(0, PREFIX_BYTES)?;
    let rest = prefix.get(MAGIC.len()..).unwrap_or_default();
    let (checksum, length) = rest.split_first_chunk::<4>().ok_or(damaged("it is cut off"))?;
    let length: &[u8; 4] = length.try_into().map_err(|_| damaged("it is cut off"))?;
    let wanted = u32::from_be_bytes(*length);
    if wanted > MAX_HEADER_BYTES {
        return Err(damaged("its length is out of bounds"));
    }
    let text = read(PREFIX_BYTES as u64, wanted as usize)?;
    if text.len() != wanted as usize {
        return Err(damaged("it is cut off"));
    }
    if crc32c::crc32c_append(crc32c::crc32c(length), &text) != u32::from_be_bytes(*checksum) {
        return Err(damaged("its checksum is another"));
    }
    let records_at = PREFIX_BYTES as u64 + u64::from(wanted);
    Header::parse(None, &text, records_at).ok_or(damaged("its checksum is right, its content is not"))
}

pub(super) fn records(bytes: &[u8], salt: u32, taking: &mut Taking<'_>) {
    if taking.which.is_none() {
        taking.reserve(bytes.len() as u64);
    }
    let mut at = 0;
    while at < bytes.len() {
        let found = record_at(bytes, at, salt);
        let found = found.filter(|(place, ..)| *place >= taking.next_place && *place < taking.part.records);
        let Some((place, body, end)) = found else {
            taking.content.is_damaged = true;
            at = next_mark(bytes, at + 1);
            continue;
        };
        taking.content.is_damaged |= place != taking.next_place;
        taking.next_place = place + 1;
        at = end;
        taking.take(place, body);
    }
}

/// The record that begins here: its place, what lies behind that, and where the next one begins.
fn record_at(bytes: &[u8], at: usize, salt: u32) -> Option<(u32, &[u8], usize)> {
    let rest = bytes.get(at..)?.strip_prefix(&MARK)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let body = rest.get(..u32::from_be_bytes(*length) as usize)?;
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(salt, length), body);
    if sum != u32::from_be_bytes(*checksum) {
        return None;
    }
    let (place, fields) = body.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*place), fields, at + FRAME_BYTES + body.len()))
}
