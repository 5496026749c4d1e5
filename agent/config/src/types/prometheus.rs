//! Values as Prometheus spells them.

use std::time::Duration;

use super::Format;
use crate::config::{self, WriteVersion};
use crate::error::Complaint;
use crate::suggest;
use crate::text::quoted;

/// A time span in Prometheus' spelling; zero is one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrometheusDuration(pub Duration);

/// A number of bytes in Prometheus' spelling; zero is one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrometheusSize(pub u64);

/// What a rule of relabelling does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RelabelAction(pub config::RelabelAction);

/// A version of remote write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteProtocol(pub WriteVersion);

/// The largest first, which is also the order in which they are written, in milliseconds.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
/// What Go's durations end at, in milliseconds: about 292 years.
const MAX_MILLIS: u64 = i64::MAX as u64 / 1_000_000;
/// By powers of 1024; with and without the `i` they mean the same.
const SIZE_UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];

impl Format for PrometheusDuration {
    const NAME: &'static str = "PrometheusDuration";
    const DESCRIPTION: &'static str = "A time span as Prometheus spells it: whole numbers and units from large to small, `y`, `w`, `d`, `h`, `m`, `s`, `ms`, such as `15s` or `1h30m`.";
    const PATTERN: Option<&'static str> =
        Some("^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$");
    const TAKES_NUMBERS: bool = true;
    const EXPECTED: &'static str = "a duration such as 15s or 1m30s";

    fn parse(text: &str) -> Result<PrometheusDuration, Complaint> {
        if text == "0" {
            return Ok(PrometheusDuration(Duration::ZERO));
        }
        let wrong = || {
            Complaint::new(format!(
                "expected {}, found the text {}",
                PrometheusDuration::EXPECTED,
                quoted(text)
            ))
        };
        let mut millis = 0_u64;
        let mut smaller = DURATION_UNITS.as_slice();
        let mut rest = text;
        while !rest.is_empty() {
            let (digits, behind) = split_where(rest, |byte| !byte.is_ascii_digit());
            let (unit, behind) = split_where(behind, |byte| byte.is_ascii_digit());
            if digits.is_empty() {
                return Err(wrong());
            }
            if !DURATION_UNITS.iter().any(|(known, _)| *known == unit) {
                return Err(no_unit(text, unit));
            }
            let Some(place) = smaller.iter().position(|(known, _)| *known == unit) else {
                return Err(wrong().help("units stand from large to small, each once: 1h30m"));
            };
            let factor = smaller.get(place).map_or(1, |(_, factor)| *factor);
            smaller = smaller.get(place + 1..).unwrap_or_default();
            let value = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
            let sum = value.and_then(|value| millis.checked_add(value)).filter(|sum| *sum <= MAX_MILLIS);
            millis = sum.ok_or_else(|| Complaint::new(format!("{} is too large", quoted(text))))?;
            rest = behind;
        }
        if text.is_empty() {
            return Err(wrong());
        }
        Ok(PrometheusDuration(Duration::from_millis(millis)))
    }
}

fn no_unit(text: &str, unit: &str) -> Complaint {
    let names = DURATION_UNITS.iter().map(|(name, _)| *name);
    let message = match unit {
        "" => format!("{} has no unit", quoted(text)),
        _ => format!("{} has the unknown unit {}", quoted(text), quoted(unit)),
    };
    Complaint::new(message).help(format!("units: {}", names.collect::<Vec<_>>().join(", ")))
}

/// Before and from the first byte for which this holds.
fn split_where(text: &str, holds: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(holds).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

impl Format for PrometheusSize {
    const NAME: &'static str = "PrometheusSize";
    const DESCRIPTION: &'static str = "A number of bytes as Prometheus spells it: a number and a unit, `B`, `KB`, `MB`, `GB`, `TB`, `PB`, `EB` or the same with an `i`, such as `10MB`; both are powers of 1024.";
    const PATTERN: Option<&'static str> = Some("^(0|([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([KMGTPE]i?)?B)$");
    const TAKES_NUMBERS: bool = true;
    const EXPECTED: &'static str = "a size such as 10MB";

    fn parse(text: &str) -> Result<PrometheusSize, Complaint> {
        if text == "0" {
            return Ok(PrometheusSize(0));
        }
        let wrong = || {
            let complaint = Complaint::new(format!(
                "expected {}, found the text {}",
                PrometheusSize::EXPECTED,
                quoted(text)
            ));
            complaint.help("units: B, KB, MB, GB, TB, PB, EB")
        };
        let (number, unit) = split_where(text, |byte| !byte.is_ascii_digit() && byte != b'.');
        let power = match unit.strip_suffix('B').ok_or_else(wrong)?.strip_suffix('i') {
            Some(prefix) if !prefix.is_empty() => Some(prefix),
            Some(_) => None,
            None => unit.strip_suffix('B'),
        };
        let power = match power {
            Some("") => 0,
            Some(prefix) => {
                let known = SIZE_UNITS.iter().position(|unit| prefix.strip_prefix(*unit) == Some(""));
                known.ok_or_else(wrong)? + 1
            }
            None => return Err(wrong()),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let has_digits = !whole.is_empty() || !part.is_empty();
        if !has_digits || part.contains('.') {
            return Err(wrong());
        }
        // Digits beyond these are less than a byte.
        let part = part.get(..part.len().min(18)).unwrap_or_default();
        let large = || Complaint::new(format!("{} is too large", quoted(text)));
        let digits = |digits: &str| match digits {
            "" => Ok(0),
            digits => digits.parse::<u64>().map_err(|_| large()),
        };
        let factor = 1_u128 << (10 * power);
        let scale = 10_u128.pow(u32::try_from(part.len()).unwrap_or_default());
        let bytes = u128::from(digits(whole)?) * factor + u128::from(digits(part)?) * factor / scale;
        u64::try_from(bytes)
            .ok()
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .map(PrometheusSize)
            .ok_or_else(large)
    }
}

impl Format for RelabelAction {
    const NAME: &'static str = "RelabelAction";
    const DESCRIPTION: &'static str = "`replace`, `keep`, `drop`, `keepequal`, `dropequal`, `hashmod`, `labelmap`, `labeldrop`, `labelkeep`, `lowercase` or `uppercase`, in small or capital letters.";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z]+$");
    const EXPECTED: &'static str = "an action such as replace";

    fn parse(text: &str) -> Result<RelabelAction, Complaint> {
        let known = config::RelabelAction::ALL;
        if let Some(action) = known.into_iter().find(|known| text.eq_ignore_ascii_case(known.name())) {
            return Ok(RelabelAction(action));
        }
        let complaint = Complaint::new(format!("unknown action {}", quoted(text)));
        let help =
            suggest::help(text, known.into_iter().map(config::RelabelAction::name), "known actions", '"');
        Err(Complaint { help, ..complaint })
    }
}

impl Format for WriteProtocol {
    const NAME: &'static str = "WriteProtocol";
    const DESCRIPTION: &'static str =
        "`1.0` or `2.0`, or `auto`: 2.0, and 1.0 where the receiver does not know that.";
    const PATTERN: Option<&'static str> = Some("^(auto|[12](\\.0)?)$");
    const TAKES_NUMBERS: bool = true;
    const EXPECTED: &'static str = "auto, 1.0 or 2.0";

    fn parse(text: &str) -> Result<WriteProtocol, Complaint> {
        match text {
            "auto" => Ok(WriteProtocol(WriteVersion::Auto)),
            "1.0" | "1" => Ok(WriteProtocol(WriteVersion::V1)),
            "2.0" | "2" => Ok(WriteProtocol(WriteVersion::V2)),
            _ => Err(Complaint::new(format!("expected {}, found {}", WriteProtocol::EXPECTED, quoted(text)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        let good = [
            ("0", 0),
            ("0s", 0),
            ("15s", 15_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("4w2d", 30 * 86_400_000),
            ("1y", 365 * 86_400_000),
            ("1m1ms", 60_001),
            ("90s", 90_000),
        ];
        for (text, millis) in good {
            assert_eq!(
                PrometheusDuration::parse(text),
                Ok(PrometheusDuration(Duration::from_millis(millis))),
                "{text}"
            );
        }
        for bad in
            ["", "1", "1x", "s", "-1s", "1s1m", "1m1m", "1.5s", " 1s", "300y", "99999999999999999999s", "1M"]
        {
            assert!(PrometheusDuration::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_as_prometheus_reads_them() {
        let good = [
            ("0", 0),
            ("0B", 0),
            ("512B", 512),
            ("10MB", 10 << 20),
            ("10MiB", 10 << 20),
            ("1.5GB", 3 << 29),
            (".5KB", 512),
            ("1EB", 1 << 60),
        ];
        for (text, bytes) in good {
            assert_eq!(PrometheusSize::parse(text), Ok(PrometheusSize(bytes)), "{text}");
        }
        for bad in [
            "",
            "1",
            "1kB",
            "1iB",
            "MB",
            ".MB",
            "1.2.3MB",
            "-1MB",
            "8EB",
            "1 MB",
            "1M",
            "99999999999999999999B",
        ] {
            assert!(PrometheusSize::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_matches_the_pattern_and_nothing_panics(text in "([0-9]{0,20}[.]?[0-9]{0,3}[a-zA-Z]{0,3}){0,3}") {
            let matches = |pattern: Option<&str>| regex::Regex::new(pattern.unwrap()).unwrap().is_match(&text);
            if PrometheusDuration::parse(&text).is_ok() {
                prop_assert!(matches(PrometheusDuration::PATTERN));
            }
            if PrometheusSize::parse(&text).is_ok() {
                prop_assert!(matches(PrometheusSize::PATTERN));
            }
        }
    }
}
