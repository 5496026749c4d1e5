//! Dotted paths as manifests, grants and plans name them, and when one covers another.

/// The path that stands for the whole event.
pub const EVERYTHING: &str = "*";

pub use weir_event::path::MAX_PATH_BYTES;

/// Why a text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It has no characters.
    #[error("a path must not be empty")]
    Empty,
    /// It is longer than [`MAX_PATH_BYTES`].
    #[error("a path must not be longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// It has a dot at an end, or two in a row.
    #[error("a path must not have empty parts (a dot at an end, or two dots in a row)")]
    EmptyPart,
    /// It has a control character.
    #[error("a path must not have control characters")]
    Control,
}

/// Checks that `path` is [`EVERYTHING`] or a dotted path.
pub fn check_path(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong);
    }
    if path.split('.').any(str::is_empty) {
        return Err(PathError::EmptyPart);
    }
    if path.chars().any(char::is_control) {
        return Err(PathError::Control);
    }
    Ok(())
}

/// Whether a grant of `granted` allows `wanted`: the same path, one below it, or anything under
/// [`EVERYTHING`].
///
/// `user` covers `user.email`, since who may see an object may see its members; the reverse does not hold.
pub fn covers(granted: &str, wanted: &str) -> bool {
    if granted == EVERYTHING {
        return true;
    }
    match wanted.strip_prefix(granted) {
        Some(rest) => rest.is_empty() || rest.starts_with('.'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_covers_itself_and_what_lies_below() {
        let cases = [
            ("*", "*", true),
            ("*", "user.email", true),
            ("user", "user", true),
            ("user", "user.email", true),
            ("user", "user.email.domain", true),
            ("user.email", "user", false),
            ("user", "username", false),
            ("user", "*", false),
            ("user.email", "user.emails", false),
        ];
        for (granted, wanted, expected) in cases {
            assert_eq!(covers(granted, wanted), expected, "{granted} covers {wanted}");
        }
    }

    #[test]
    fn malformed_paths_are_named() {
        let long = "a".repeat(MAX_PATH_BYTES + 1);
        let cases = [
            ("*", Ok(())),
            ("a", Ok(())),
            ("kubernetes.labels.app", Ok(())),
            ("@timestamp", Ok(())),
            ("größe.wert", Ok(())),
            ("", Err(PathError::Empty)),
            (".a", Err(PathError::EmptyPart)),
            ("a.", Err(PathError::EmptyPart)),
            ("a..b", Err(PathError::EmptyPart)),
            ("a\nb", Err(PathError::Control)),
            (long.as_str(), Err(PathError::TooLong)),
        ];
        for (path, expected) in cases {
            assert_eq!(check_path(path), expected, "{path:?}");
        }
    }
}
