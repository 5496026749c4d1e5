//! Expressions of RE2 in the syntax of the crate regex.

use super::*;

#[test]
fn an_expression_matches_what_it_matches_in_go() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (".*", &["", "a\nb", "ü"], &[]),
        ("a|b", &["a", "b"], &["ab", ""]),
        (r"\d+", &["12"], &["\u{0663}", ""]),
        (r"\w", &["a", "_", "9"], &["ü"]),
        (r"[\W]", &["ü", "-"], &["a"]),
        (r"\s", &[" ", "\t"], &["\u{b}", "\u{a0}"]),
        (r"[[:space:]]", &[" ", "\u{b}"], &["a"]),
        (r"[^[:^alpha:]]", &["a"], &["1"]),
        (r".\b.", &["a-", "aü"], &["ab"]),
        (r"a\B.", &["ab"], &["a-"]),
        (r"a{,2}", &["a{,2}"], &["aa"]),
        (r"a{2}{", &["aa{"], &[]),
        (r"{", &["{"], &[]),
        (r"[a&&b]", &["&", "a"], &["c"]),
        (r"[a[b]]", &["a]", "[]"], &["a"]),
        (r"[]a-]", &["]", "-", "a"], &["b"]),
        (r"[--/]", &["-", ".", "/"], &["0"]),
        (r"\Qa.b*\E+", &["a.b*", "a.b**"], &["axb"]),
        (r"\101\x41\x{1F600}", &["AA😀"], &[]),
        (r"(?i)straße", &["STRAßE", "straẞe"], &["strasse"]),
        (r"(?-s).", &["a"], &["\n"]),
        (r"(?)(?ii)a", &["A"], &[]),
        (r"(?P<1>a)(?<1>b)", &["ab"], &[]),
        (r"a)|(?:b", &["a", "ax", "xb"], &["xbx"]),
        (r"[\x{D800}]", &[], &["a"]),
        (r"[\x{D000}-\x{DFFF}]", &["\u{d7ff}"], &["\u{e000}"]),
        (r"\x{DFFF}|a", &["a"], &[]),
        (r"x #y", &["x #y"], &["x"]),
        (r"()*", &[""], &["a"]),
        (r"\p{Greek}+", &["αΩ"], &["a", "α1"]),
        (r"\p{greek}\p{ g_R-eeK}", &["αΩ"], &["a"]),
        (r"\pL\pn\PN", &["é٣é"], &["1٣é", "éé1"]),
        (r"\p{^Greek}|\P{^Lu}", &["a", "A", "Ω"], &["α"]),
        (r"\P{Greek}", &["a"], &["α"]),
        (r"[\p{Lu}_\P{L}]", &["Ä", "_", "1"], &["a"]),
        (r"[^\p{Han}\d]", &["a"], &["木", "1"]),
        (r"(?i)\p{Lu}", &["a", "A"], &["1"]),
        (r"(?i)\P{Lu}", &["1", "ª"], &["a", "A"]),
        (r"(?i)[\p{Cs}a]", &["a", "A"], &["b"]),
        (r"\p{Sc}\p{LC}\p{Lowercase_Letter}\p{punct}", &["$aa!"], &["aaa!"]),
        (r"\p{Any}\p{Assigned}\p{ASCII}", &["\u{378}αa"], &["a\u{378}a", "aaα"]),
        (r"\p{Old_Italic}", &["𐌀"], &["a"]),
        (r"a|\p{Cs}", &["a"], &["b", ""]),
        (r"\P{Cs}", &["a"], &[""]),
    ];
    for (expression, matching, others) in cases {
        let pattern = Pattern::new(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        for text in *matching {
            assert!(pattern.is_match(text), "{expression} matches {text:?}; {}", pattern.regex);
        }
        for text in *others {
            assert!(!pattern.is_match(text), "{expression} does not match {text:?}; {}", pattern.regex);
        }
    }
}

#[test]
fn what_go_refuses_is_refused() {
    let cases = [
        "(",
        ")",
        "a)",
        "[",
        "[a",
        "[]",
        "*",
        "a**",
        "a*+",
        "a{2}{3}",
        "a{1001}",
        "a{3,2}",
        r"\",
        r"\8",
        r"\1",
        r"\y",
        r"\u0041",
        r"\C",
        r"\Z",
        "(?x)a",
        "(?u:a)",
        "(?=a)",
        "(?<=a)",
        "(?P<a",
        "(?P<ü>a)",
        "(?i-)",
        "(?i--s)",
        "(?i",
        "[b-a]",
        r"[a-\d]",
        "[[:foo:]]",
        r"\x{110000}",
        r"\x{}",
        r"\x4",
        r"\pX",
        r"\p{",
        r"\p{Foo}",
        r"\p",
        r"\p{}",
        r"\p{^}",
        r"\p^L",
        r"\p{^^L}",
        r"\p{Grek}",
        r"\p{Garay}",
        r"\p{sc=Greek}",
        r"\p{gc:Lu}",
        r"\p{isGreek}",
        r"\p{Alphabetic}",
        r"\p{White_Space}",
        r"\p{L&}",
        r"[\p{Foo}]",
        r"[a-\pL]",
        "(|*)",
        r"\Qa",
        r"[\Q]",
        "(?i)*",
        "(?:",
    ];
    for expression in cases {
        assert!(Pattern::new(expression).is_err(), "{expression}");
    }
}
