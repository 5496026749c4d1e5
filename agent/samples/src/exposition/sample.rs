//! What follows the text of a series in its line: value, timestamp and exemplar.

use super::cursor::{Cursor, Quoted, Stop, begins_label, is_in_label};
use super::float;
use super::{Exemplar, ExemplarLabels, Format};

/// A line behind the text of its series.
#[derive(Debug)]
pub(super) struct Sample<'a> {
    pub(super) value: f64,
    pub(super) timestamp: Option<i64>,
    pub(super) exemplar: Option<Exemplar<'a>>,
}

const NOT_A_NUMBER: Stop = Stop::Invalid("a value is not a number, or too large for one");
const NOT_A_TIME: Stop = Stop::Invalid("a timestamp is not a number, or too large for one");
const VALUE_EXPECTED: Stop = Stop::Invalid("a value was expected behind the series");
const NO_LINE_END: Stop = Stop::Invalid("a line goes on where it should end");

/// Reads the rest of the line.
#[inline]
pub(super) fn read<'a>(cursor: &mut Cursor<'a>, format: Format) -> Result<Sample<'a>, Stop> {
    match format {
        Format::OpenMetrics => read_open_metrics(cursor),
        Format::Text | Format::Protobuf => read_text(cursor),
    }
}

#[inline]
fn read_text<'a>(cursor: &mut Cursor<'a>) -> Result<Sample<'a>, Stop> {
    cursor.skip_blanks();
    let value = match float::short_integer(cursor.rest()) {
        Some((value, length)) => {
            cursor.at += length;
            value
        }
        None => read_text_value(cursor)?,
    };
    let mut timestamp = None;
    cursor.skip_blanks();
    if cursor.peek()? != b'\n' {
        timestamp = Some(read_text_timestamp(cursor)?);
    }
    cursor.at += 1;
    Ok(Sample { value, timestamp, exemplar: None })
}

fn read_text_value(cursor: &mut Cursor<'_>) -> Result<f64, Stop> {
    let token = cursor.take_while(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'{' | 0))?;
    if token.is_empty() {
        return Err(VALUE_EXPECTED);
    }
    float::parse(token).ok_or(NOT_A_NUMBER)
}

/// Digits only, in milliseconds, up to the end of the line.
fn read_text_timestamp(cursor: &mut Cursor<'_>) -> Result<i64, Stop> {
    let digits = cursor.take_while(|byte| byte.is_ascii_digit())?;
    let mut timestamp = 0_i64;
    for digit in digits {
        timestamp = timestamp
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(i64::from(digit - b'0')))
            .ok_or(NOT_A_TIME)?;
    }
    cursor.skip_blanks();
    if digits.is_empty() || cursor.peek()? != b'\n' {
        return Err(NO_LINE_END);
    }
    Ok(timestamp)
}

#[inline]
fn read_open_metrics<'a>(cursor: &mut Cursor<'a>) -> Result<Sample<'a>, Stop> {
    let value = read_value(cursor)?;
    let mut sample = Sample { value, timestamp: None, exemplar: None };
    if ends(cursor)? {
        return Ok(sample);
    }
    if !begins_exemplar(cursor)? {
        sample.timestamp = Some(read_timestamp(cursor)?);
        if ends(cursor)? {
            return Ok(sample);
        }
        if !begins_exemplar(cursor)? {
            return Err(NO_LINE_END);
        }
    }
    sample.exemplar = Some(read_exemplar(cursor)?);
    Ok(sample)
}

/// One blank and a number.
#[inline]
fn read_value(cursor: &mut Cursor<'_>) -> Result<f64, Stop> {
    if cursor.peek()? != b' ' {
        return Err(VALUE_EXPECTED);
    }
    cursor.at += 1;
    if let Some((value, length)) = float::short_integer(cursor.rest()) {
        cursor.at += length;
        return Ok(value);
    }
    let token = cursor.take_while(is_in_token)?;
    if token.is_empty() {
        return Err(VALUE_EXPECTED);
    }
    float::parse(token).ok_or(NOT_A_NUMBER)
}

/// One blank and seconds, which become milliseconds.
fn read_timestamp(cursor: &mut Cursor<'_>) -> Result<i64, Stop> {
    cursor.expect(b' ', "a blank was expected before the timestamp")?;
    let token = cursor.take_while(is_in_token)?;
    let seconds = float::parse(token).filter(|seconds| seconds.is_finite()).ok_or(NOT_A_TIME)?;
    Ok((seconds * 1000.0) as i64)
}

/// Whether the line ends here; its end is read then.
#[inline]
fn ends(cursor: &mut Cursor<'_>) -> Result<bool, Stop> {
    let ends = cursor.peek()? == b'\n';
    cursor.at += usize::from(ends);
    Ok(ends)
}

/// Whether ` # {` comes next; it is read then.
fn begins_exemplar(cursor: &mut Cursor<'_>) -> Result<bool, Stop> {
    let mut ahead = *cursor;
    for wanted in [b' ', b'#', b' '] {
        if ahead.peek()? != wanted {
            return Ok(false);
        }
        ahead.at += 1;
    }
    ahead.expect(b'{', "a brace was expected behind a number sign")?;
    *cursor = ahead;
    Ok(true)
}

/// Labels up to their brace, a value, perhaps a timestamp, and the end of the line.
fn read_exemplar<'a>(cursor: &mut Cursor<'a>) -> Result<Exemplar<'a>, Stop> {
    let start = cursor.at;
    read_exemplar_labels(cursor, &mut |_, _| {})?;
    let labels = ExemplarLabels::Text(cursor.since(start));
    let mut exemplar = Exemplar { labels, value: read_value(cursor)?, timestamp: None };
    if !ends(cursor)? {
        exemplar.timestamp = Some(read_timestamp(cursor)?);
        if !ends(cursor)? {
            return Err(NO_LINE_END);
        }
    }
    Ok(exemplar)
}

/// Reads an exemplar's labels with their closing brace and shows names and values, with their escapes.
pub(super) fn read_exemplar_labels<'a>(
    cursor: &mut Cursor<'a>,
    show: &mut impl FnMut(&'a [u8], &'a [u8]),
) -> Result<(), Stop> {
    loop {
        let name = match cursor.peek()? {
            b'}' => {
                cursor.at += 1;
                return Ok(());
            }
            b'"' => cursor.quoted(Quoted::Exemplar)?,
            first if begins_label(first) => cursor.take_while(is_in_label)?,
            _ => return Err(Stop::Invalid("a label's name was expected in the exemplar")),
        };
        cursor.expect(b'=', "an equals sign was expected in the exemplar")?;
        let value = cursor.quoted(Quoted::Exemplar)?;
        if std::str::from_utf8(value).is_err() {
            return Err(Stop::Invalid("a value in an exemplar is not UTF-8"));
        }
        show(name, value);
        match cursor.peek()? {
            b',' => cursor.at += 1,
            b'}' => {}
            _ => return Err(Stop::Invalid("a comma or closing brace was expected in the exemplar")),
        }
    }
}

fn is_in_token(byte: u8) -> bool {
    !matches!(byte, b' ' | b'\n' | 0)
}
