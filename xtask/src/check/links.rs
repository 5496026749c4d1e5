//! Links between documents: a relative link names a file of the checkout.

use std::path::Path;

use crate::check::{
    Problem,
    tidy::{Source, at, numbered},
};

/// The relative links of a Markdown file that lead nowhere.
pub fn problems(root: &Path, source: &Source<'_>) -> Vec<Problem> {
    let folder = Path::new(source.path).parent().unwrap_or(Path::new(""));
    let mut problems = Vec::new();
    let mut fenced = false;
    for (number, line) in numbered(source.text) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in targets(line).filter(|target| is_relative(target)) {
            let file = target.split('#').next().unwrap_or(target);
            if !file.is_empty() && !root.join(folder).join(file).try_exists().is_ok_and(|there| there) {
                problems.push(at(source, number, format!("the link to {target} leads nowhere")));
            }
        }
    }
    problems
}

/// What stands in the parentheses of `[text](target)` and `![text](target "title")`, and after `[text]:`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let definition = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .and_then(|(_, target)| target.split_whitespace().next());
    inline.chain(definition)
}

fn is_relative(target: &str) -> bool {
    !target.contains("://") && !target.starts_with("mailto:") && !target.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("docs/adr")).unwrap();
        std::fs::write(root.path().join("docs/OPERATIONS.md"), "# Operations").unwrap();
        problems(root.path(), &Source { path, text }).into_iter().map(|problem| problem.place).collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let text = "[a](docs/OPERATIONS.md), [b](docs/OPERATIONS.md#start), [c](https://example.com/x) \
                    [d](#here) ![e](docs/adr \"title\")\n\n[f]: docs/OPERATIONS.md\n";
        assert!(check("README.md", text).is_empty());
        assert!(check("docs/adr/0001.md", "[up](../OPERATIONS.md)").is_empty());
    }

    #[test]
    fn links_that_lead_nowhere_are_named_with_their_line() {
        assert_eq!(
            check("README.md", "\n[a](docs/NONE.md) and [b](NONE.md#x)\n"),
            ["README.md:2", "README.md:2"]
        );
        assert_eq!(check("README.md", "[f]: docs/NONE.md"), ["README.md:1"]);
        assert_eq!(check("docs/OPERATIONS.md", "[a](docs/OPERATIONS.md)"), ["docs/OPERATIONS.md:1"]);
    }

    #[test]
    fn code_blocks_hold_no_links() {
        assert!(check("README.md", "```\n[a](NONE.md)\n```\n").is_empty());
    }
}
