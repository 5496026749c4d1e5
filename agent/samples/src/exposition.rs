//! What targets expose: the Prometheus text format, OpenMetrics text and delimited protobuf, read a piece at a time.
//!
//! The formats are <https://prometheus.io/docs/instrumenting/exposition_formats/> (text 0.0.4, and the quoted names of
//! 1.0.0), OpenMetrics 1.0.0 and prometheus/client_model's metrics.proto. What is accepted, and what is read of it, is as in
//! Prometheus 3.9.1 (model/textparse), with what its scraper and storage check of a series' labels and a histogram's
//! buckets. So in OpenMetrics `_created` is a series like any other, and timestamps in the text format have no sign.
//!
//! 1. What is read does not depend on how a body is cut into pieces.
//! 2. A series whose text the caller has met before ([`Known`]) is not taken apart: only its value is read.
//! 3. Neither memory nor time grows without bound: a line or message has a largest size.
//!
//! Differences from Prometheus, all of them deliberate; `examples/exposition_oracle.rs` compares random bodies with it and
//! knows no others. The same is read otherwise:
//!
//! 1. Blanks before a series in the text format are no part of its name, as the format says; Prometheus takes them for one.
//! 2. Escapes in a quoted name of a family are resolved in `TYPE`, `HELP` and `UNIT`, as they are in series.
//! 3. Escapes in an exemplar's labels are resolved, as OpenMetrics says; Prometheus leaves them.
//! 4. A time that no 64 bits hold becomes the nearest that they do; in Prometheus that depends on the processor.
//! 7. Metadata whose name or unit is not UTF-8 has the replacement character there; no series can have such a name.
//! 8. A metric without a value in an untyped family is 0; in Prometheus it has the value of the metric before it.
//! 9. All native histograms of a family keep their exemplars; Prometheus forgets to begin anew behind the first one.
//! 12. A native histogram behind a classic one in a family is native; Prometheus takes it for a classic one.
//! 14. `le` and `quantile` in hexadecimal or with underscores stay as they are; Prometheus makes them canonical.
//!
//! Refused here only:
//!
//! 5. A NUL anywhere but in a label's value, a help text or a comment, or behind a backslash. Prometheus skips it, takes it
//!    into a name, or takes it for the end of the body, without a word. In a comment it is a byte like any other.
//! 6. A metric's name in braces without quotes (`{a}`), of which Prometheus cuts off the first and last byte, or panics.
//! 7. An exemplar in a message whose labels are not UTF-8.
//! 10. A native histogram with less buckets than its spans, over which Prometheus panics.
//! 11. A native histogram with a span of negative offset behind an empty one, which Prometheus removes before it looks; one
//!     of schema 9 to 52, which Prometheus makes coarser.
//! 13. In a message, numbers of more than 64 bits and groups that are not well-formed, which gogo's decoder forgives.
//! 15. Lines and messages of more than [`Settings::limit`], and metrics of a message of more than 1 MiB.

mod content_type;
mod cursor;
mod exemplar;
mod family;
mod float;
mod metadata;
mod native;
mod protobuf;
mod sample;
mod series;
#[cfg(test)]
mod tests;
mod wire;

use std::borrow::Cow;

use cursor::{Cursor, Stop};

pub use exemplar::Exemplar;
use exemplar::ExemplarLabels;
pub use family::Kind;
pub use series::read_labels;

use crate::labels::LabelsBuilder;
use crate::proto::write_v2;

/// Largest line or message, unless [`Settings`] says otherwise.
pub const DEFAULT_LIMIT_BYTES: usize = 16 << 20;
/// How much of a faulty line an error shows.
const SHOWN_BYTES: usize = 80;

/// A format in which metrics are exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text 0.0.4, with the quoted names of 1.0.0.
    Text,
    /// OpenMetrics text 1.0.0, with quoted names.
    OpenMetrics,
    /// Messages `io.prometheus.client.MetricFamily`, each behind its length.
    Protobuf,
}

/// What a caller knows of series' texts that it met before, in the same format.
pub trait Known {
    /// Length of the series' text that the line begins with, if it is one met before. `line` goes on behind the line, and
    /// may end within it. Only such texts count as [`Series::text`] held; that a blank follows, the parser checks.
    ///
    /// After an answer, the parser does not ask for the same line again.
    fn recognise(&mut self, line: &[u8]) -> Option<usize>;
}

/// How a parser reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Largest line or message, in bytes.
    pub limit: usize,
    /// Whether native histograms are read (`scrape_native_histograms`); otherwise a histogram's classic parts are.
    pub native_histograms: bool,
    /// Whether a native histogram's classic parts are read too (`always_scrape_classic_histograms`).
    pub always_scrape_classic_histograms: bool,
}

/// Reads one body.
#[derive(Debug)]
pub struct Parser {
    format: Format,
    settings: Settings,
    /// Type of the family that was named last.
    kind: Kind,
    /// Length of the series' text at the front, where it is recognised.
    recognised: Option<usize>,
    /// A line that was cut off at the front is looked at again when there are so many bytes.
    wait_for: usize,
    families: protobuf::Families,
}

/// What comes next in a body.
#[derive(Debug)]
pub enum Next<'a> {
    /// Something, and how many bytes of the input were read with it.
    Item(Item<'a>, usize),
    /// The input ends within it: come again with more behind it, or say that there is no more.
    More,
    /// Nothing more comes.
    End,
}

/// A part of a body.
#[derive(Debug)]
pub enum Item<'a> {
    /// The type of a family.
    Type {
        /// Its name.
        family: Cow<'a, str>,
        /// The type.
        kind: Kind,
    },
    /// What a family is for.
    Help {
        /// Its name.
        family: Cow<'a, str>,
        /// The text.
        text: Cow<'a, str>,
    },
    /// The unit of a family.
    Unit {
        /// Its name.
        family: Cow<'a, str>,
        /// The unit.
        unit: Cow<'a, str>,
    },
    /// A comment or an empty line, or the end of a message.
    Nothing,
    /// A series with a number.
    Series(Series<'a>),
    /// A series with a native histogram.
    Histogram(Box<HistogramSeries<'a>>),
}

/// A series with a number.
#[derive(Debug)]
pub struct Series<'a> {
    /// What tells it from others in this format, name and labels. The same series may have other texts too.
    pub text: &'a [u8],
    /// Whether [`Known`] recognised it.
    pub recognised: bool,
    /// The number.
    pub value: f64,
    /// When it was measured, in milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// When its counter began, in milliseconds since the Unix epoch; 0 where nobody said. Only protobuf says.
    pub start_timestamp: i64,
    /// An example of what was measured.
    pub exemplar: Option<Exemplar<'a>>,
    /// Type of the family that was named last, for [`read_labels`].
    pub kind: Kind,
}

/// A series with a native histogram.
#[derive(Debug)]
pub struct HistogramSeries<'a> {
    /// What tells it from others, name and labels.
    pub text: &'a [u8],
    /// Whether [`Known`] recognised it.
    pub recognised: bool,
    /// When it was measured, in milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// The histogram, with its start timestamp and, where there is one, its timestamp.
    pub histogram: write_v2::Histogram,
    /// Examples of what was measured; each has a timestamp.
    pub exemplars: Vec<Exemplar<'a>>,
    /// Type of its family: a histogram, or one that may fall.
    pub kind: Kind,
}

/// A body is not what its format says; Prometheus takes nothing of it then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpositionError {
    /// A line is not what the format says.
    #[error("{what}: {line:?}; the target's exposition needs repair")]
    Invalid {
        /// What is wrong.
        what: &'static str,
        /// Where: the beginning of the line.
        line: String,
    },
    /// A message is not what the format says.
    #[error("{what}, in the family {family:?}; the target's exposition needs repair")]
    InvalidMessage {
        /// What is wrong.
        what: &'static str,
        /// The family, empty where it is not known.
        family: String,
    },
    /// The body ends too early.
    #[error("the body ends before its end: it was cut off, or lacks # EOF or the end of its last line")]
    Truncated,
    /// A line or message is too large.
    #[error(
        "a line or message of more than {limit} bytes: raise the limit, or repair the target's exposition"
    )]
    TooLarge {
        /// How many bytes it may have.
        limit: usize,
    },
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            limit: DEFAULT_LIMIT_BYTES,
            native_histograms: true,
            always_scrape_classic_histograms: false,
        }
    }
}

// === impl Known ===

/// Knows nothing.
impl Known for () {
    fn recognise(&mut self, _: &[u8]) -> Option<usize> {
        None
    }
}

// === impl Parser ===

impl Parser {
    /// A parser of one body in this format.
    pub fn new(format: Format) -> Parser {
        Parser::with_settings(format, Settings::default())
    }

    /// A parser of one body in this format.
    pub fn with_settings(format: Format, settings: Settings) -> Parser {
        Parser {
            format,
            settings,
            kind: Kind::Unknown,
            recognised: None,
            wait_for: 0,
            families: protobuf::Families::default(),
        }
    }

    /// The format that it reads.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Reads what comes next. `input` is everything of the body behind the bytes that were read so far; `at_end` says that
    /// the body ends with it. In OpenMetrics an empty body is an error, as in Prometheus' parser; its scraper takes it
    /// for one without samples before it parses.
    ///
    /// # Errors
    ///
    /// A body that is not what the format says; it cannot be read on.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        input: &'a [u8],
        at_end: bool,
        known: &mut impl Known,
    ) -> Result<Next<'a>, ExpositionError> {
        match self.format {
            Format::Protobuf => self.families.next(input, at_end, &self.settings, known),
            Format::Text | Format::OpenMetrics => self.next_line(input, at_end, known),
        }
    }

    #[inline]
    fn next_line<'a>(
        &mut self,
        input: &'a [u8],
        at_end: bool,
        known: &mut impl Known,
    ) -> Result<Next<'a>, ExpositionError> {
        // Looking at no more than the limit makes the answer the same whether or not there is more behind it.
        let (view, is_whole) = match input.get(..self.settings.limit) {
            Some(view) if view.len() < input.len() => (view, false),
            _ => (input, at_end),
        };
        if view.is_empty() {
            return self.at_end_of_input(at_end);
        }
        let mut cursor = Cursor::new(view, 0, is_whole && self.format == Format::Text);
        match self.read_line(&mut cursor, is_whole, known) {
            Ok(next) => {
                (self.recognised, self.wait_for) = (None, 0);
                Ok(next)
            }
            Err(Stop::Invalid(what)) => Err(ExpositionError::invalid(what, view)),
            Err(Stop::Incomplete) if view.len() >= self.settings.limit => {
                Err(ExpositionError::TooLarge { limit: self.settings.limit })
            }
            Err(Stop::Incomplete) if at_end => Err(ExpositionError::Truncated),
            Err(Stop::Incomplete) => {
                self.wait_for = self.wait_for.max(view.len() + view.len() / 4 + 1);
                Ok(Next::More)
            }
        }
    }

    #[inline]
    fn read_line<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        is_whole: bool,
        known: &mut impl Known,
    ) -> Result<Next<'a>, Stop> {
        let first = cursor.peek()?;
        if cursor::begins_name(first) || first == b'{' {
            if self.recognised.is_none() {
                self.recognised = known.recognise(cursor.bytes);
            }
            if let Some(length) = self.recognised
                && may_end_series(cursor.bytes, length)
            {
                cursor.at = length;
                return self.read_sample(cursor, 0, true);
            }
        }
        self.read_unknown_line(cursor, first, is_whole)
    }

    #[inline]
    fn read_sample<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        start: usize,
        recognised: bool,
    ) -> Result<Next<'a>, Stop> {
        let text = cursor.since(start);
        let sample::Sample { value, timestamp, exemplar } = sample::read(cursor, self.format)?;
        let (start_timestamp, kind) = (0, self.kind);
        let series = Series { text, recognised, value, timestamp, start_timestamp, exemplar, kind };
        Ok(Next::Item(Item::Series(series), cursor.at.min(cursor.bytes.len())))
    }

    /// A line that begins with no series met before.
    fn read_unknown_line<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        first: u8,
        is_whole: bool,
    ) -> Result<Next<'a>, Stop> {
        // A line that was cut off is read again from its beginning, but not for every few bytes.
        if cursor.bytes.len() < self.wait_for && !is_whole && cursor.bytes.len() < self.settings.limit {
            return Err(Stop::Incomplete);
        }
        let mut start = 0;
        let item = match (self.format, first) {
            (Format::OpenMetrics, b'#') => match metadata::read_open_metrics(cursor)? {
                metadata::Line::Item(item) => item,
                metadata::Line::Eof => return read_eof(cursor, is_whole),
            },
            (Format::OpenMetrics, _) => {
                series::read(cursor, self.format, &mut |_| {})?;
                return self.read_sample(cursor, start, false);
            }
            _ => {
                cursor.skip_blanks();
                start = cursor.at;
                match cursor.peek()? {
                    b'\n' => {
                        cursor.at += 1;
                        Item::Nothing
                    }
                    b'#' => metadata::read_text(cursor)?,
                    _ => {
                        series::read(cursor, self.format, &mut |_| {})?;
                        return self.read_sample(cursor, start, false);
                    }
                }
            }
        };
        if let Item::Type { kind, .. } = &item {
            self.kind = *kind;
        }
        Ok(Next::Item(item, cursor.at.min(cursor.bytes.len())))
    }

    fn at_end_of_input<'a>(&self, at_end: bool) -> Result<Next<'a>, ExpositionError> {
        match self.format {
            _ if !at_end => Ok(Next::More),
            Format::OpenMetrics => Err(ExpositionError::Truncated),
            _ => Ok(Next::End),
        }
    }
}

/// Whether the text of a series that is so long may end there: a blank follows, and no labels do.
#[inline]
fn may_end_series(line: &[u8], length: usize) -> bool {
    let rest = line.get(length..).unwrap_or_default();
    match rest {
        [b' ', b' ' | b'\t' | b'{', ..] | [b'\t', ..] => {
            rest.iter().find(|byte| !matches!(byte, b' ' | b'\t')).is_some_and(|byte| *byte != b'{')
        }
        [b' ', _, ..] => true,
        _ => false,
    }
}

/// Behind `# EOF`.
fn read_eof<'a>(cursor: &Cursor<'a>, is_whole: bool) -> Result<Next<'a>, Stop> {
    match cursor.rest() {
        [] | [b'\n'] if is_whole => Ok(Next::End),
        [] | [b'\n'] => Err(Stop::Incomplete),
        _ => Err(Stop::Invalid("the body goes on behind # EOF")),
    }
}

// === impl Series ===

impl Series<'_> {
    /// Adds its labels to `labels`; see [`read_labels`].
    ///
    /// # Errors
    ///
    /// As [`read_labels`].
    pub fn read_labels(&self, format: Format, labels: &mut LabelsBuilder) -> Result<(), ExpositionError> {
        read_labels(self.text, format, self.kind, labels)
    }
}

// === impl ExpositionError ===

impl ExpositionError {
    fn invalid(what: &'static str, line: &[u8]) -> ExpositionError {
        let line = line.get(..SHOWN_BYTES).unwrap_or(line);
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        ExpositionError::Invalid { what, line: String::from_utf8_lossy(line).into_owned() }
    }
}
