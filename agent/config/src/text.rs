//! How values are shown in messages.

/// Longer values are cut in messages.
const MAX_SHOWN_CHARS: usize = 60;

/// The beginning of a value that may be very long.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_string(),
    }
}

/// A value in double quotes, cut if it is very long.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", shorten(text))
}

/// Words in a row: `a`, `a and b`, `a, b and c`.
pub(crate) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
