//! Remote write 1.0 requests as a server reads them: snappy, then protobuf (prompb/remote.proto). The agent's own code is
//! not asked: it may be what is wrong.

use std::collections::BTreeMap;

use crate::http1::Message;

/// A series of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Times in milliseconds and values.
    pub samples: Vec<(i64, f64)>,
    /// How many native histograms there are.
    pub histograms: usize,
    /// How many exemplars there are.
    pub exemplars: usize,
}

/// Whether a request is one of remote write 1.0.
pub fn is_version_1(request: &Message) -> bool {
    request.header("content-type").is_some_and(|kind| !kind.contains("write.v2"))
}

/// The series of a request.
///
/// # Panics
///
/// What is no request.
#[track_caller]
pub fn read(request: &Message) -> Vec<Series> {
    let body = snap::raw::Decoder::new().decompress_vec(&request.body).expect("snappy");
    fields(&body)
        .into_iter()
        .filter(|(number, _)| *number == 1)
        .map(|(_, field)| series(field.bytes()))
        .collect()
}

fn series(message: &[u8]) -> Series {
    let mut series = Series::default();
    for (number, field) in fields(message) {
        match number {
            1 => {
                let label = fields(field.bytes());
                let text = |wanted| {
                    let found = label.iter().find(|(number, _)| *number == wanted);
                    found.map_or_else(String::new, |(_, field)| {
                        String::from_utf8_lossy(field.bytes()).into_owned()
                    })
                };
                series.labels.insert(text(1), text(2));
            }
            2 => {
                let sample = fields(field.bytes());
                let of = |wanted| {
                    sample.iter().find(|(number, _)| *number == wanted).map(|(_, field)| field.number())
                };
                let value = f64::from_bits(of(1).unwrap_or_default());
                series.samples.push((of(2).unwrap_or_default() as i64, value));
            }
            3 => series.exemplars += 1,
            4 => series.histograms += 1,
            _ => {}
        }
    }
    series
}

/// A field's value.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(&self) -> u64 {
        match self {
            Field::Number(number) => *number,
            Field::Bytes(_) => panic!("not a number"),
        }
    }

    fn bytes(&self) -> &'a [u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Number(_) => panic!("a number"),
        }
    }
}

fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Number(u64::from_le_bytes(take(&mut message, 8).try_into().expect("eight bytes"))),
            2 => {
                let length = varint(&mut message) as usize;
                Field::Bytes(take(&mut message, length))
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

fn take<'a>(message: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = message.split_at(count);
    *message = rest;
    taken
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(message, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read() {
        // One series `a="b"` with one sample of 1.0 at 5.
        let label = [0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b'];
        let mut sample = vec![0x12, 11, 0x09];
        sample.extend_from_slice(&1.0_f64.to_le_bytes());
        sample.extend_from_slice(&[0x10, 5]);
        let mut series = label.to_vec();
        series.extend_from_slice(&sample);
        let mut body = vec![0x0a, series.len() as u8];
        body.extend_from_slice(&series);
        let body = snap::raw::Encoder::new().compress_vec(&body).unwrap();
        let request = Message { start: "POST / HTTP/1.1".into(), headers: Vec::new(), body };
        let read = read(&request);
        assert_eq!(read[0].labels, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        assert_eq!(read[0].samples, [(5, 1.0)]);
    }
}
