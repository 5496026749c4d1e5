//! Lower and upper case letter by letter, as Go's `strings.ToLower` and `strings.ToUpper`: Unicode's simple mappings, of
//! which each makes one character of one. Rust's own are the full ones, where `ß` becomes `SS`.

/// The text in lower case.
pub(super) fn lowercase(text: &str) -> String {
    text.chars().map(lower).collect()
}

/// The text in upper case.
pub(super) fn uppercase(text: &str) -> String {
    text.chars().map(upper).collect()
}

fn lower(c: char) -> char {
    let mut full = c.to_lowercase();
    // The only letter whose full mapping is longer is U+0130, and the simple one is the first character of it.
    full.next().unwrap_or(c)
}

fn upper(c: char) -> char {
    let mut full = c.to_uppercase();
    match (full.next(), full.next()) {
        (Some(one), None) => one,
        _ => simple_upper(c),
    }
}

/// The simple mapping of those whose full one is longer: letters with a iota below have a title case, all others nothing.
fn simple_upper(c: char) -> char {
    let distance = match c {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => 9,
        _ => 0,
    };
    char::from_u32(u32::from(c) + distance).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_character_becomes_one() {
        assert_eq!(lowercase("ÀΣ İSTANBUL ẞ ǅ"), "àσ istanbul ß ǆ");
        assert_eq!(uppercase("straße ﬁ ᾳ ᾀ ΐ ŉ ǆ ა"), "STRAßE ﬁ ᾼ ᾈ ΐ ŉ Ǆ Ა");
    }
}
