//! The help texts as they are kept in `tests/help`, and what is wrong usage.

use std::path::Path;

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

/// Set to write the kept files anew: `WEIR_UPDATE=1 cargo test -p weir`.
const UPDATE: &str = "WEIR_UPDATE";

#[test]
fn the_help_is_the_one_that_is_kept() {
    for words in [
        &["weir"][..],
        &["weir", "run"],
        &["weir", "check"],
        &["weir", "ledger"],
        &["weir", "buffer"],
        &["weir", "buffer", "stat"],
        &["weir", "buffer", "fsck"],
        &["weir", "buffer", "export"],
        &["weir", "buffer", "replay"],
        &["weir", "buffer", "drop"],
        &["weir", "archive"],
        &["weir", "archive", "list"],
        &["weir", "archive", "search"],
        &["weir", "archive", "replay"],
        &["weir", "archive", "lifecycle"],
        &["weir", "explain"],
        &["weir", "tap"],
        &["weir", "top"],
        &["weir", "opensearch", "plan"],
        &["weir", "opensearch", "apply"],
        &["weir", "plugin"],
        &["weir", "plugin", "new"],
        &["weir", "plugin", "build"],
        &["weir", "plugin", "inspect"],
        &["weir", "plugin", "test"],
        &["weir", "plugin", "bench"],
        &["weir", "plugin", "diff"],
        &["weir", "config", "schema"],
        &["weir", "plugin", "push"],
        &["weir", "plugin", "pull"],
        &["weir", "plugin", "verify"],
        &["weir", "plugin", "shadow"],
        &["weir", "plugin", "promote"],
    ] {
        let help = Cli::try_parse_from([words, &["--help"]].concat()).unwrap_err().to_string();
        let name = format!("{}.txt", words.join("-"));
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help").join(&name);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&file, &help).unwrap();
            continue;
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(help, kept, "{name} differs; if that is meant, run the test with {UPDATE}=1");
    }
}

#[test]
fn the_command_line_makes_sense() {
    Cli::command().debug_assert();
}

#[test]
fn wrong_usage_is_told_and_ends_with_2() {
    let cases: [(&[&str], &str); 7] = [
        (&[], "Usage"),
        (&["chek"], "a similar subcommand exists: 'check'"),
        (&["run"], "--config <FILE|DIR>"),
        (&["run", "-c", "a", "--onec"], "'--once'"),
        (&["check", "-c", "a", "--output", "yaml"], "possible values: text, json"),
        (&["ledger", "--data-dir"], "--data-dir <DIR>"),
        (&["ledger", "-c", "a", "--data-dir", "b"], "cannot be used with"),
    ];
    for (arguments, expected) in cases {
        let error = Cli::try_parse_from([&["weir"], arguments].concat()).unwrap_err();
        assert!(error.to_string().contains(expected), "{arguments:?}: {error}");
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
    }
}
