//! Lines that begin with a number sign: types, help, units and comments.

use std::borrow::Cow;

use super::cursor::{Cursor, Quoted, Stop, begins_name, is_in_name};
use super::series::{unescape, unescape_help};
use super::{Item, Kind};

const NAME_EXPECTED: Stop = Stop::Invalid("a metric's name was expected behind TYPE, HELP or UNIT");
const UNKNOWN_TYPE: Stop = Stop::Invalid("a type that this format does not have");
const NOT_UTF8: Stop = Stop::Invalid("a help text is not UTF-8");

/// What a line of OpenMetrics is.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// Metadata.
    Item(Item<'a>),
    /// `# EOF`, up to which the cursor stands.
    Eof,
}

/// Reads a line of the text format that begins with a number sign here.
pub(super) fn read_text<'a>(cursor: &mut Cursor<'a>) -> Result<Item<'a>, Stop> {
    let mut ahead = *cursor;
    let line = ahead.take_line()?;
    let keyword = line.get(1..).unwrap_or_default();
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let blanks = keyword.iter().take_while(|byte| is_blank(byte)).count();
    let keyword = keyword.get(blanks..).unwrap_or_default();
    let is_type = keyword.starts_with(b"TYPE");
    if blanks == 0 || !(is_type || keyword.starts_with(b"HELP")) || !keyword.get(4).is_some_and(is_blank) {
        *cursor = ahead;
        return Ok(Item::Nothing);
    }
    cursor.at += 1 + blanks + 4;
    cursor.skip_blanks();
    let family = read_name(cursor)?;
    let text = cursor.take_line()?;
    if text.first() == Some(&0) {
        return Err(Stop::Invalid("a NUL behind a metric's name"));
    }
    let text = match text.iter().all(is_blank) {
        true => &[],
        false => text.get(1..).unwrap_or_default(),
    };
    if is_type {
        return Ok(Item::Type { family, kind: Kind::of_text(text).ok_or(UNKNOWN_TYPE)? });
    }
    let text = std::str::from_utf8(text).map_err(|_| NOT_UTF8)?;
    Ok(Item::Help { family, text: unescape_help(text) })
}

/// Reads a line of OpenMetrics that begins with a number sign here.
pub(super) fn read_open_metrics<'a>(cursor: &mut Cursor<'a>) -> Result<Line<'a>, Stop> {
    const UNKNOWN_LINE: &str = "a line with a number sign is none of # TYPE, # HELP, # UNIT and # EOF";
    let start = cursor.at;
    let keyword = if begins_with(cursor, b"# EOF")? {
        return Ok(Line::Eof);
    } else if begins_with(cursor, b"# TYPE ")? {
        b'T'
    } else if begins_with(cursor, b"# HELP ")? {
        b'H'
    } else if begins_with(cursor, b"# UNIT ")? {
        b'U'
    } else {
        return Err(Stop::Invalid(UNKNOWN_LINE));
    };
    debug_assert!(start < cursor.at, "a keyword was read");
    let family = read_name(cursor)?;
    cursor.expect(b' ', "a blank was expected behind a metric's name")?;
    let text = cursor.take_line()?;
    let item = match keyword {
        b'T' => Item::Type { family, kind: Kind::of_open_metrics(text).ok_or(UNKNOWN_TYPE)? },
        b'H' => Item::Help { family, text: unescape(std::str::from_utf8(text).map_err(|_| NOT_UTF8)?) },
        _ => {
            let unit = String::from_utf8_lossy(text);
            if !unit.is_empty() && !family.strip_suffix(&*unit).is_some_and(|stem| stem.ends_with('_')) {
                return Err(Stop::Invalid("a unit is not the end of its metric's name"));
            }
            Item::Unit { family, unit }
        }
    };
    Ok(Line::Item(item))
}

/// Whether these bytes come next; they are read then.
fn begins_with(cursor: &mut Cursor<'_>, wanted: &[u8]) -> Result<bool, Stop> {
    let mut ahead = *cursor;
    for byte in wanted {
        if ahead.peek()? != *byte {
            return Ok(false);
        }
        ahead.at += 1;
    }
    *cursor = ahead;
    Ok(true)
}

fn read_name<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, str>, Stop> {
    let name = match cursor.peek()? {
        b'"' => cursor.quoted(Quoted::Name)?,
        first if begins_name(first) => cursor.take_while(is_in_name)?,
        _ => return Err(NAME_EXPECTED),
    };
    Ok(match std::str::from_utf8(name) {
        Ok(name) => unescape(name),
        // No series can be of a family with such a name.
        Err(_) => Cow::Owned(unescape(&String::from_utf8_lossy(name)).into_owned()),
    })
}
