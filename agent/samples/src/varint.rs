//! Numbers and fields of the protobuf wire format (protobuf.dev, "Encoding"), as far as documents need them.

/// Appends a number as a varint.
#[inline]
pub fn write(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes of a number as a varint.
#[inline]
pub fn len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// The varint that the bytes begin with, and what follows it.
#[inline]
pub fn read(bytes: &[u8]) -> Option<(u64, &[u8])> {
    if let Some((first, rest)) = bytes.split_first()
        && *first < 0x80
    {
        return Some((u64::from(*first), rest));
    }
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        // The tenth byte has the one bit that is left; others refuse the whole message for more.
        if index == 9 && *byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if *byte < 0x80 {
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}

/// What follows a length and so many bytes, and these bytes.
#[inline]
pub fn read_bytes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = read(bytes)?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(number: u64, tail: Vec<u8>) {
            let mut out = Vec::new();
            write(&mut out, number);
            prop_assert_eq!(out.len(), len(number));
            out.extend_from_slice(&tail);
            prop_assert_eq!(read(&out), Some((number, &tail[..])));
        }
    }

    #[test]
    fn a_number_without_an_end_is_none() {
        assert_eq!(read(&[0x80; 20]), None);
        let largest = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(read(&largest), Some((u64::MAX, &[][..])));
        let too_large = [&[0xff; 9][..], &[2]].concat();
        assert_eq!(read(&too_large), None);
        assert_eq!(read(&[]), None);
    }
}
