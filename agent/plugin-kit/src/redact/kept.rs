//! What stays although nobody asked for it: words that say how an event is and nothing of whom it is about.

use weir_event::time::parse_rfc3339;

/// Levels, output streams, methods and constants.
const WORDS: [&str; 36] = [
    "trace", "debug", "info", "notice", "warn", "warning", "error", "err", "crit", "critical", "alert",
    "emerg", "fatal", "panic", "verbose", "stdout", "stderr", "get", "head", "post", "put", "patch",
    "delete", "options", "true", "false", "null", "none", "yes", "no", "on", "off", "ok", "success",
    "failure", "unknown",
];
/// Members whose numbers are levels.
const LEVELS: [&str; 6] = ["level", "lvl", "severity", "severity_number", "loglevel", "log_level"];
/// Members whose numbers are times.
const TIMES: [&str; 6] = ["time", "ts", "timestamp", "@timestamp", "date", "datetime"];
/// Longest member name that stays.
const MAX_NAME: usize = 64;

/// Whether a text is one of the words.
pub fn is_word(text: &str) -> bool {
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// Whether a text is a date with a time of day. A date alone may be somebody's birthday.
pub fn is_time(text: &str) -> bool {
    let has_time_of_day = text.as_bytes().get(13) == Some(&b':');
    let is_without_zone =
        || parse_rfc3339(format!("{}Z", text.replacen(' ', "T", 1).replace(',', ".")).as_bytes()).is_some();
    has_time_of_day && text.len() <= 40 && (parse_rfc3339(text.as_bytes()).is_some() || is_without_zone())
}

/// Whether a number of a member of this name says how bad or when something was.
pub fn is_telling_number(name: &str, number: &str) -> bool {
    let is_one_of = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    let Ok(value) = number.parse::<f64>() else { return false };
    if is_one_of(&LEVELS) {
        return (0.0..=100.0).contains(&value) && number.len() <= 3;
    }
    // Seconds, milliseconds, microseconds or nanoseconds of 2001 to 2096.
    let is_epoch = |unit: f64| (1e9 * unit..4e9 * unit).contains(&value);
    is_one_of(&TIMES) && [1.0, 1e3, 1e6, 1e9].into_iter().any(is_epoch)
}

/// Whether a member's name is one that somebody wrote into a program. What looks like an id or an address is data.
pub fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let first = name.chars().next().unwrap_or(' ');
    let digits = name.chars().filter(char::is_ascii_digit).count();
    (first.is_ascii_alphabetic() || matches!(first, '_' | '@'))
        && name.chars().skip(1).all(is_part)
        && name.len() <= MAX_NAME
        && digits <= 4
}
