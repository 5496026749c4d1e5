//! Sizes and durations as a manifest spells them: `32MiB`, `100ms`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const DURATION_UNITS_MS: [(&str, u64); 3] = [("ms", 1), ("s", 1000), ("m", 60_000)];

/// `"memory": "32MiB"` as bytes.
pub mod size {
    use super::*;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        match parse(&text, &SIZE_UNITS) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(de::Error::custom(format_args!(
                "`{text}` is not a size such as 32MiB (units B, KiB, MiB, GiB)"
            ))),
        }
    }

    pub fn serialize<S: Serializer>(bytes: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        render(*bytes, &SIZE_UNITS, serializer)
    }
}

/// `"deadline": "100ms"` as a duration.
pub mod duration {
    use super::*;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        match parse(&text, &DURATION_UNITS_MS) {
            Some(milliseconds) => Ok(Some(Duration::from_millis(milliseconds))),
            None => Err(de::Error::custom(format_args!(
                "`{text}` is not a duration such as 100ms (units ms, s, m)"
            ))),
        }
    }

    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        let milliseconds = duration.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        let largest_first = [DURATION_UNITS_MS[2], DURATION_UNITS_MS[1], DURATION_UNITS_MS[0]];
        render(milliseconds, &largest_first, serializer)
    }
}

/// A whole number and one of the units; the product must fit.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// In the largest unit that leaves no rest.
fn render<S: Serializer>(
    value: Option<u64>,
    units: &[(&str, u64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Some(value) = value else { return serializer.serialize_none() };
    for (name, factor) in units {
        if value != 0 && value % factor == 0 {
            return serializer.collect_str(&format_args!("{}{name}", value / factor));
        }
    }
    serializer.collect_str(&format_args!("0{}", units.last().map_or("", |(name, _)| name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_a_number_and_a_unit() {
        let cases = [
            ("32MiB", Some(32 << 20)),
            ("1GiB", Some(1 << 30)),
            ("64KiB", Some(64 << 10)),
            ("17B", Some(17)),
            ("0B", Some(0)),
            ("32MB", None),
            ("MiB", None),
            ("32", None),
            ("-1B", None),
            ("1.5MiB", None),
            ("32 MiB", None),
            ("99999999999GiB", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, &SIZE_UNITS), expected, "{text:?}");
        }
        for (text, expected) in [("100ms", Some(100)), ("2s", Some(2000)), ("1m", Some(60_000)), ("1h", None)]
        {
            assert_eq!(parse(text, &DURATION_UNITS_MS), expected, "{text:?}");
        }
    }
}
