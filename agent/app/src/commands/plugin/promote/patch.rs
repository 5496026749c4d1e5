//! A patch of one file in the unified format, for `git apply` and `patch -p1`.

use std::fmt::Write as _;

/// Lines around what changes.
const CONTEXT: usize = 3;

/// From one text to the other. What changes lies together, so it is one hunk: from the first line that is different to the
/// last.
pub fn unified(label: &str, before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let same_start = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    if same_start == old.len() && same_start == new.len() {
        return String::new();
    }
    let rest = old.len().min(new.len()) - same_start;
    let same_end =
        old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(one, other)| one == other).count();
    let first = same_start.saturating_sub(CONTEXT);
    let behind = same_end.min(CONTEXT);
    let (old_end, new_end) = (old.len() - same_end, new.len() - same_end);

    let mut hunk = String::new();
    let mut put = |sign: char, lines: Option<&[&str]>| {
        for line in lines.unwrap_or_default() {
            hunk.push(sign);
            hunk.push_str(line);
            if !line.ends_with('\n') {
                hunk.push_str("\n\\ No newline at end of file\n");
            }
        }
    };
    put(' ', old.get(first..same_start));
    // Lines that both have between those that change stay what they are.
    for (sign, line) in changes(
        old.get(same_start..old_end).unwrap_or_default(),
        new.get(same_start..new_end).unwrap_or_default(),
    ) {
        put(sign, Some(&[line]));
    }
    put(' ', old.get(old_end..old_end + behind));

    let range = |from: usize, to: usize| match to - from {
        // An empty range is named by the line in front of it.
        0 => format!("{from},0"),
        count => format!("{},{count}", from + 1),
    };
    let (old_range, new_range) = (range(first, old_end + behind), range(first, new_end + behind));
    let mut patch = String::new();
    let _ = write!(patch, "--- a/{label}\n+++ b/{label}\n@@ -{old_range} +{new_range} @@\n{hunk}");
    patch
}

/// The lines of both in an order that leads from one to the other: by the longest common subsequence, for there are few.
fn changes<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    let length = |lengths: &[u32], i: usize, j: usize| lengths.get(at(i, j)).copied().unwrap_or_default();
    for (i, one) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            let longest = match one == other {
                true => length(&lengths, i + 1, j + 1) + 1,
                false => length(&lengths, i + 1, j).max(length(&lengths, i, j + 1)),
            };
            if let Some(place) = lengths.get_mut(at(i, j)) {
                *place = longest;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    loop {
        match (old.get(i), new.get(j)) {
            (Some(one), Some(other)) if one == other => {
                lines.push((' ', *one));
                (i, j) = (i + 1, j + 1);
            }
            (Some(one), other)
                if other.is_none() || length(&lengths, i + 1, j) >= length(&lengths, i, j + 1) =>
            {
                lines.push(('-', *one));
                i += 1;
            }
            (_, Some(other)) => {
                lines.push(('+', *other));
                j += 1;
            }
            (_, None) => return lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// Git itself applies what comes out, whatever the texts.
    #[test]
    fn git_applies_it() {
        let lines = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let many: Vec<String> = (0..20).map(|n| format!("line {n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let without = |gone: &[usize], changed: usize| {
            let kept = many.iter().enumerate().filter(|(n, _)| !gone.contains(n));
            kept.map(|(n, line)| if n == changed { "other\n".to_owned() } else { format!("{line}\n") })
                .collect::<String>()
        };
        let cases = [
            (lines(&many), without(&[12, 14], 9)),
            (lines(&many), without(&[0], 1)),
            (lines(&many), without(&[19], 18)),
            ("a\nb\nc".to_owned(), "a\nx\nc".to_owned()),
            ("a\nb\nc".to_owned(), "a\n".to_owned()),
            ("one line".to_owned(), "another".to_owned()),
            ("a\r\nb\r\n".to_owned(), "a\r\n".to_owned()),
        ];
        for (before, after) in cases {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("conf")).unwrap();
            let file = folder.path().join("conf/weir.yaml");
            std::fs::write(&file, &before).unwrap();
            let patch = unified("conf/weir.yaml", &before, &after);
            let mut git = Command::new("git")
                .args(["apply", "--whitespace=nowarn", "-"])
                .current_dir(folder.path())
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            git.stdin.take().unwrap().write_all(patch.as_bytes()).unwrap();
            assert!(git.wait().unwrap().success(), "{patch}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), after, "{patch}");
        }
        assert_eq!(unified("x", "a\n", "a\n"), "");
    }
}
