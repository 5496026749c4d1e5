//! `weir archive lifecycle`: the rule by which a bucket removes what is old.

use std::process::ExitCode;

use clap::Args;

use super::{Which, refuse};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  weir archive lifecycle -c weir.yaml --days 90 > rule.json
  aws s3api put-bucket-lifecycle-configuration --bucket logs \\
    --lifecycle-configuration file://rule.json
  mc ilm rule import minio/logs < rule.json

The agent removes nothing from an archive. The rule is the bucket's whole configuration: rules that
it has already are to be added by hand. Nothing is sent.

Exit codes:
  0  printed
  1  there is no such archive, or no rule for it
  2  wrong usage";

/// Print the rule by which the bucket removes what is older than so many days
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Days that an object is kept, from when it was written
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    days: u32,
}

/// Prints it.
pub fn run(arguments: &Arguments) -> ExitCode {
    let archive = match arguments.which.find() {
        Ok(archive) => archive,
        Err(code) => return code,
    };
    // The cluster's own folder: others may share the prefix.
    let cluster = &archive.config.cluster;
    let folder = format!("{}/{}", archive.sink.prefix_in(cluster), weir_archive::key::folder(cluster));
    match weir_archive::lifecycle(&folder, arguments.days) {
        Ok(rule) => output::print(&rule, ExitCode::SUCCESS),
        Err(error) => refuse(&error.to_string()),
    }
}
