//! The text of a series: a metric's name and labels in braces, in both text formats.

use std::borrow::Cow;

use super::cursor::{Cursor, Quoted, Stop, begins_label, begins_name, is_in_label, is_in_name};
use super::float;
use super::{ExpositionError, Format, Kind};
use crate::labels::{LabelsBuilder, METRIC_NAME};

/// What stands in the text of a series, with its escapes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    /// The metric's name.
    Metric(&'a [u8]),
    /// A label's name and value.
    Label(&'a [u8], &'a [u8]),
}

/// Reads the text of a series, which begins here, and shows its parts.
pub(super) fn read<'a>(
    cursor: &mut Cursor<'a>,
    format: Format,
    show: &mut impl FnMut(Part<'a>),
) -> Result<(), Stop> {
    let first = cursor.peek()?;
    if first == b'{' {
        return read_labels_in_braces(cursor, format, false, show);
    }
    if !begins_name(first) {
        return Err(Stop::Invalid("a line begins with what no series, comment or metadata begins with"));
    }
    show(Part::Metric(cursor.take_while(is_in_name)?));
    let end = cursor.at;
    if format != Format::OpenMetrics {
        cursor.skip_blanks();
    }
    if cursor.peek()? == b'{' {
        return read_labels_in_braces(cursor, format, true, show);
    }
    cursor.at = end;
    Ok(())
}

fn read_labels_in_braces<'a>(
    cursor: &mut Cursor<'a>,
    format: Format,
    mut is_named: bool,
    show: &mut impl FnMut(Part<'a>),
) -> Result<(), Stop> {
    let open = format != Format::OpenMetrics;
    let skip_blanks = |cursor: &mut Cursor<'a>| {
        if open {
            cursor.skip_blanks();
        }
    };
    cursor.at += 1;
    loop {
        skip_blanks(cursor);
        let first = cursor.peek()?;
        let name = match first {
            b'}' => {
                cursor.at += 1;
                break;
            }
            // In text that was written from a message there is no harm in a NUL.
            b'"' if format == Format::Protobuf => cursor.quoted(Quoted::Value)?,
            b'"' => cursor.quoted(Quoted::Name)?,
            first if begins_label(first) => cursor.take_while(is_in_label)?,
            _ => return Err(Stop::Invalid("a label's name was expected")),
        };
        skip_blanks(cursor);
        match cursor.peek()? {
            b'=' => cursor.at += 1,
            b',' | b'}' if first != b'"' => {
                return Err(Stop::Invalid("a label without a value, or a metric's name without quotes"));
            }
            b',' | b'}' if is_named => return Err(Stop::Invalid("a second name of the metric")),
            end @ (b',' | b'}') => {
                show(Part::Metric(name));
                is_named = true;
                cursor.at += 1;
                if end == b'}' {
                    break;
                }
                continue;
            }
            _ => return Err(Stop::Invalid("an equals sign was expected")),
        }
        skip_blanks(cursor);
        let value = cursor.quoted(if open { Quoted::Value } else { Quoted::LineValue })?;
        if std::str::from_utf8(value).is_err() {
            return Err(Stop::Invalid("a label's value is not UTF-8"));
        }
        show(Part::Label(name, value));
        skip_blanks(cursor);
        match cursor.peek()? {
            b',' => cursor.at += 1,
            b'}' => {}
            _ if open => {}
            _ => return Err(Stop::Invalid("a comma or closing brace was expected")),
        }
    }
    if is_named { Ok(()) } else { Err(Stop::Invalid("a series without a name")) }
}

/// Adds the labels of a series' text, name included, to `labels`. What `le` of a histogram and `quantile` of a summary say
/// is written as OpenMetrics does (`1` becomes `1.0`), as Prometheus 3 does when it scrapes.
///
/// `kind` is the type that the last `TYPE` before the series said; for text that [`Format::Protobuf`] gave, any will do.
///
/// # Errors
///
/// Text that is not a series', and names that are empty or not UTF-8. That a name is there twice, the builder says.
pub fn read_labels(
    text: &[u8],
    format: Format,
    kind: Kind,
    labels: &mut LabelsBuilder,
) -> Result<(), ExpositionError> {
    let mut cursor = Cursor::new(text, 0, true);
    let mut fault = None;
    let mut show = |part: Part<'_>| {
        if let Err(found) = add(part, format, kind, labels) {
            fault = fault.or(Some(found));
        }
    };
    let read = read(&mut cursor, format, &mut show);
    let what = match (read, fault) {
        (Ok(()), None) if cursor.at == text.len() => return Ok(()),
        (_, Some(fault)) => fault,
        (Err(Stop::Invalid(what)), None) => what,
        _ => "more or less than the text of a series",
    };
    Err(ExpositionError::invalid(what, text))
}

fn add(part: Part<'_>, format: Format, kind: Kind, labels: &mut LabelsBuilder) -> Result<(), &'static str> {
    let (name, value) = match part {
        Part::Metric(name) => {
            let name = text(name).ok_or("a metric's name is not UTF-8")?;
            if name.is_empty() {
                return Err("a metric's name is empty");
            }
            labels.push(METRIC_NAME, &unescape(name));
            return Ok(());
        }
        Part::Label(_, b"") => return Ok(()),
        Part::Label(name, value) => (text(name), text(value)),
    };
    let name = unescape(name.ok_or("a label's name is not UTF-8")?);
    let value = unescape(value.ok_or("a label's value is not UTF-8")?);
    if name.is_empty() {
        return Err("a label's name is empty");
    }
    let is_number = match kind {
        Kind::Histogram => name == "le",
        Kind::Summary => name == "quantile",
        _ => false,
    };
    if is_number
        && format != Format::Protobuf
        && let Some(number) = float::parse(value.as_bytes())
    {
        let mut canonical = String::new();
        float::write_canonical(&mut canonical, number);
        labels.push(&name, &canonical);
    } else {
        labels.push(&name, &value);
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The text without its escapes `\\`, `\"` and `\n`; what stands behind any other backslash stays as it is.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    replace_escapes(text, true)
}

/// The text of a `HELP` line in the text format, where quotes are not escaped.
pub(super) fn unescape_help(text: &str) -> Cow<'_, str> {
    replace_escapes(text, false)
}

fn replace_escapes(text: &str, quotes: bool) -> Cow<'_, str> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        out.push_str(before);
        let (c, length) = match behind.as_bytes().first() {
            Some(b'\\') => ('\\', 1),
            Some(b'n') => ('\n', 1),
            Some(b'"') if quotes => ('"', 1),
            _ => ('\\', 0),
        };
        out.push(c);
        rest = behind.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}
