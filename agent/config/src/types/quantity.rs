//! Sizes and durations.

use std::fmt;
use std::time::Duration;

use super::Format;
use crate::error::Complaint;
use crate::suggest;
use crate::text::quoted;

/// A number of bytes, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// Longest first, so that a size is shown in the largest unit that divides it.
const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A part of the whole, more than nothing and at most all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Spellings from elsewhere and what they are here.
const OTHER_UNITS: [(&str, &str); 22] = [
    ("k", "KiB"),
    ("kb", "KiB"),
    ("ki", "KiB"),
    ("kib", "KiB"),
    ("m", "MiB"),
    ("mb", "MiB"),
    ("mi", "MiB"),
    ("mib", "MiB"),
    ("g", "GiB"),
    ("gb", "GiB"),
    ("gi", "GiB"),
    ("gib", "GiB"),
    ("t", "TiB"),
    ("tb", "TiB"),
    ("ti", "TiB"),
    ("tib", "TiB"),
    ("sec", "s"),
    ("seconds", "s"),
    ("min", "m"),
    ("minutes", "m"),
    ("millis", "ms"),
    ("hours", "h"),
];

// === impl Share ===

impl Share {
    /// So many percent, at most 100; at least a millionth.
    pub const fn of_percent(percent: u32) -> Share {
        Share(if percent == 0 {
            1
        } else if percent > 100 {
            1_000_000
        } else {
            percent * 10_000
        })
    }

    /// In millionths of the whole.
    pub const fn millionths(self) -> u32 {
        self.0
    }
}

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        Format::parse(text).map_err(|complaint: Complaint| complaint.message)
    }
}

/// As it is written in a configuration.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        match rest {
            0 => write!(f, "{whole}%"),
            _ => write!(f, "{whole}.{}%", format!("{rest:04}").trim_end_matches('0')),
        }
    }
}

impl Format for Share {
    const NAME: &'static str = "Share";
    const DESCRIPTION: &'static str =
        "A share in percent, more than 0% and at most 100%, such as `5%` or `0.5%`.";
    const PATTERN: Option<&'static str> = Some("^[0-9]{1,3}(\\.[0-9]{1,4})?%$");
    const EXPECTED: &'static str = "a share such as 5%";

    fn parse(text: &str) -> Result<Share, Complaint> {
        let wrong = || {
            let complaint = Complaint::new(format!("expected {}, found {}", Share::EXPECTED, quoted(text)));
            match text.trim_end_matches('%').trim().parse::<f64>() {
                Ok(number) if number > 0.0 && number <= 100.0 && !text.ends_with('%') => {
                    complaint.help(format!("did you mean {}?", quoted(&format!("{number}%"))))
                }
                _ => complaint,
            }
        };
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str, most| {
            (1..=most).contains(&part.len()) && part.bytes().all(|digit| digit.is_ascii_digit())
        };
        if !digits(whole, 3) || !digits(rest, 4) {
            return Err(wrong());
        }
        let parse = |part: &str| part.parse::<u32>().map_err(|_| wrong());
        let millionths = parse(whole)? * 10_000 + parse(&format!("{rest:0<4}"))?;
        if !(1..=1_000_000).contains(&millionths) {
            return Err(Complaint::new(format!("must be more than 0% and at most 100%, found {text}")));
        }
        Ok(Share(millionths))
    }
}

// === impl Size ===

impl Size {
    /// So many bytes; at least one.
    pub const fn of_bytes(bytes: u64) -> Size {
        Size(if bytes == 0 { 1 } else { bytes })
    }

    /// So many MiB; at least one byte.
    pub const fn of_mib(mib: u64) -> Size {
        Size::of_bytes(mib.saturating_mul(1 << 20))
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// As it is written in a configuration, in the largest unit that divides it.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, bytes) in SIZE_UNITS {
            if self.0.is_multiple_of(bytes) {
                return write!(f, "{}{unit}", self.0 / bytes);
            }
        }
        Ok(())
    }
}

impl Format for Size {
    const NAME: &'static str = "Size";
    const DESCRIPTION: &'static str =
        "A number of bytes: a whole number above zero and a unit, `B`, `KiB`, `MiB`, `GiB` or `TiB`.";
    const PATTERN: Option<&'static str> = Some("^[0-9]+(B|KiB|MiB|GiB|TiB)$");
    const EXPECTED: &'static str = "a size such as 64MiB";

    fn parse(text: &str) -> Result<Size, Complaint> {
        quantity(text, &SIZE_UNITS, Size::EXPECTED).map(Size)
    }
}

// === impl Duration ===

impl Format for Duration {
    const NAME: &'static str = "Duration";
    const DESCRIPTION: &'static str =
        "A time span: a whole number above zero and a unit, `ms`, `s`, `m` (minutes) or `h`.";
    const PATTERN: Option<&'static str> = Some("^[0-9]+(ms|s|m|h)$");
    const EXPECTED: &'static str = "a duration such as 200ms or 30s";

    fn parse(text: &str) -> Result<Duration, Complaint> {
        quantity(text, &DURATION_UNITS, Duration::EXPECTED).map(Duration::from_millis)
    }
}

/// A duration as the configuration spells it, for command lines; else what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    <Duration as Format>::parse(text).map_err(|_| format!("expected {}", Duration::EXPECTED))
}

/// A size as the configuration spells it, for command lines; else what is expected.
pub fn parse_size(text: &str) -> Result<Size, String> {
    <Size as Format>::parse(text).map_err(|_| format!("expected {}", Size::EXPECTED))
}

/// A whole number and a unit, as a number of the unit that is 1.
fn quantity(text: &str, units: &[(&str, u64)], expected: &str) -> Result<u64, Complaint> {
    let digits_end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(digits_end).unwrap_or((text, ""));
    if digits.is_empty() {
        return Err(Complaint::new(format!("expected {expected}, found the text {}", quoted(text))));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(unknown_unit(text, digits, unit, units));
    };
    let value = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    match value {
        None => Err(Complaint::new(format!("{} is too large", quoted(text)))),
        Some(0) => Err(Complaint::new(format!("{} is zero", quoted(text))).help(format!("write {expected}"))),
        Some(value) => Ok(value),
    }
}

fn unknown_unit(text: &str, digits: &str, unit: &str, units: &[(&str, u64)]) -> Complaint {
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let message = match unit {
        "" => format!("{} has no unit", quoted(text)),
        _ => format!("{} has the unknown unit {}", quoted(text), quoted(unit)),
    };
    let complaint = Complaint::new(message);
    let lower = unit.trim().to_ascii_lowercase();
    let meant = OTHER_UNITS.iter().find(|(other, here)| *other == lower && names.contains(here));
    let meant = meant.map(|(_, here)| *here).or_else(|| suggest::closest(unit.trim(), names.iter().copied()));
    match meant {
        Some(meant) if digits.len() < 20 => complaint.help(format!("did you mean \"{digits}{meant}\"?")),
        _ => complaint.help(format!("units: {}", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read() {
        let cases = [
            ("64MiB", Ok(64 << 20)),
            ("1GiB", Ok(1 << 30)),
            ("512KiB", Ok(512 << 10)),
            ("1B", Ok(1)),
            ("2TiB", Ok(2 << 40)),
            ("0MiB", Err(r#""0MiB" is zero; write a size such as 64MiB"#)),
            ("64", Err(r#""64" has no unit; units: TiB, GiB, MiB, KiB, B"#)),
            ("64Mi", Err(r#""64Mi" has the unknown unit "Mi"; did you mean "64MiB"?"#)),
            ("64mb", Err(r#""64mb" has the unknown unit "mb"; did you mean "64MiB"?"#)),
            ("64 MiB", Err(r#""64 MiB" has the unknown unit " MiB"; did you mean "64MiB"?"#)),
            ("1.5GiB", Err(r#""1.5GiB" has the unknown unit ".5GiB"; units: TiB, GiB, MiB, KiB, B"#)),
            ("lots", Err(r#"expected a size such as 64MiB, found the text "lots""#)),
            ("", Err(r#"expected a size such as 64MiB, found the text """#)),
            ("99999999TiB", Err(r#""99999999TiB" is too large"#)),
            ("99999999999999999999999999B", Err(r#""99999999999999999999999999B" is too large"#)),
        ];
        for (text, expected) in cases {
            assert_eq!(
                outcome(Size::parse(text).map(Size::bytes)),
                expected.map_err(str::to_string),
                "{text}"
            );
        }
    }

    #[test]
    fn durations_are_read() {
        let cases = [
            ("200ms", Ok(200)),
            ("30s", Ok(30_000)),
            ("5m", Ok(300_000)),
            ("1h", Ok(3_600_000)),
            ("0s", Err(r#""0s" is zero; write a duration such as 200ms or 30s"#)),
            ("30", Err(r#""30" has no unit; units: ms, s, m, h"#)),
            ("30sec", Err(r#""30sec" has the unknown unit "sec"; did you mean "30s"?"#)),
            ("1d", Err(r#""1d" has the unknown unit "d"; units: ms, s, m, h"#)),
            ("-1s", Err(r#"expected a duration such as 200ms or 30s, found the text "-1s""#)),
        ];
        for (text, expected) in cases {
            let millis = Duration::parse(text).map(|duration| duration.as_millis() as u64);
            assert_eq!(outcome(millis), expected.map_err(str::to_string), "{text}");
        }
    }

    fn outcome(result: Result<u64, Complaint>) -> Result<u64, String> {
        result.map_err(|c| c.help.map_or(c.message.clone(), |help| format!("{}; {help}", c.message)))
    }

    proptest! {
        #[test]
        fn a_size_is_read_as_it_is_shown(bytes in 1_u64..) {
            let size = Size::of_bytes(bytes);
            prop_assert_eq!(Size::parse(&size.to_string()), Ok(size));
        }

        #[test]
        fn what_is_read_matches_the_pattern_and_nothing_panics(text in "[0-9]{0,22}[ a-zA-Z.µ]{0,5}") {
            let matches = |pattern: Option<&str>| regex::Regex::new(pattern.unwrap()).unwrap().is_match(&text);
            if Size::parse(&text).is_ok() {
                prop_assert!(matches(Size::PATTERN));
            }
            if Duration::parse(&text).is_ok() {
                prop_assert!(matches(Duration::PATTERN));
            }
        }
    }
}
