//! Durations as Prometheus writes them: `1h30m`, `15s`, `500ms`.

use std::time::Duration;

/// Units with their milliseconds, the largest first; the order in which they may follow each other.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration; `None` for anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total, mut units) = (text, 0_u64, UNITS.iter());
    while !rest.is_empty() {
        let (digits, behind) = rest.split_at_checked(rest.bytes().take_while(u8::is_ascii_digit).count())?;
        let (unit, behind) =
            behind.split_at_checked(behind.bytes().take_while(u8::is_ascii_lowercase).count())?;
        let milliseconds = units.find(|(name, _)| *name == unit)?.1;
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(milliseconds)?)?;
        rest = behind;
    }
    (!text.is_empty()).then_some(Duration::from_millis(total))
}

/// Writes a duration as Prometheus does; what is shorter than a millisecond is left out.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, milliseconds) in UNITS {
        // Years, weeks and days only where nothing is left over.
        if milliseconds >= 86_400_000 && rest % milliseconds != 0 {
            continue;
        }
        if rest >= milliseconds {
            text.push_str(&format!("{}{unit}", rest / milliseconds));
            rest %= milliseconds;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_prometheus_does() {
        let cases =
            [("15s", 15_000, "15s"), ("1m30s", 90_000, "1m30s"), ("90s", 90_000, "1m30s"), ("0", 0, "0s")];
        let more = [("7d", 604_800_000, "1w"), ("25h", 90_000_000, "25h"), ("1500ms", 1_500, "1s500ms")];
        for (text, milliseconds, written) in cases.into_iter().chain(more) {
            let read = parse_duration(text).unwrap();
            assert_eq!((read.as_millis(), &*format_duration(read)), (milliseconds, written), "{text}");
        }
        for text in ["", "15", "s", "1s1m", "-1s", "1.5s", "1 s", "1S", "99999999999999999999s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
