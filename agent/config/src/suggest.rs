//! "Did you mean": the known word that a misspelt one is closest to, and lists of the known ones.

/// Longer lists of known words are left out of messages.
const MAX_LISTED: usize = 14;
/// Longer words are not compared: nobody misspells a key that long, and comparing costs length × length.
const MAX_COMPARED_BYTES: usize = 64;

/// The known word that was probably meant.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let plain_word = plain(word);
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let distance = strsim::osa_distance(&plain_word, &plain(candidate));
        let tolerated = (candidate.len().max(word.len()) / 3).max(1);
        if distance <= tolerated && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    // Words of one or two letters are all close to each other.
    best.filter(|(distance, _)| *distance == 0 || word.len() > 2).map(|(_, candidate)| candidate)
}

/// Help for an unknown word: the one that was meant, else all of them if they are few. `quote` is put around words.
pub(crate) fn help<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    noun: &str,
    quote: char,
) -> Option<String> {
    if let Some(meant) = closest(word, known.clone()) {
        return Some(format!("did you mean {quote}{meant}{quote}?"));
    }
    let words: Vec<&str> = known.into_iter().collect();
    if words.is_empty() || words.len() > MAX_LISTED {
        return None;
    }
    Some(format!("{noun}: {}", words.join(", ")))
}

/// Case and separators are the usual slips: `excludeNamespaces`, `exclude-namespaces`.
fn plain(word: &str) -> String {
    word.chars().filter(|c| *c != '_' && *c != '-').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_word_is_found_and_far_ones_are_not() {
        let known = ["sources", "plugins", "pipelines", "sinks", "exclude_namespaces"];
        let cases = [
            ("source", Some("sources")),
            ("piplines", Some("pipelines")),
            ("excludeNamespaces", Some("exclude_namespaces")),
            ("exclude-namespaces", Some("exclude_namespaces")),
            ("sniks", Some("sinks")),
            ("metrics", None),
            ("", None),
            ("x", None),
        ];
        for (word, expected) in cases {
            assert_eq!(closest(word, known), expected, "{word}");
        }
    }

    #[test]
    fn words_of_two_letters_are_not_guessed() {
        assert_eq!(closest("ot", ["to"]), None);
        assert_eq!(closest("TO", ["to"]), Some("to"));
    }

    #[test]
    fn a_giant_word_is_not_compared() {
        assert_eq!(closest(&"a".repeat(1 << 20), ["a"]), None);
    }
}
