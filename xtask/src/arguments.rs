//! The command line, read the same way by every command.

use crate::error::{Error, Result};

/// How a command that lists things prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Columns for people.
    Text,
    /// For programs.
    Json,
}

/// One argument: an option by its name, with dashes, or a positional value.
#[derive(Debug)]
pub enum Argument {
    /// `-h`, `--all`.
    Option(String),
    /// Anything else.
    Value(String),
}

impl Argument {
    /// The option's name, or nothing that an option could be called.
    pub fn as_str(&self) -> &str {
        match self {
            Argument::Option(name) => name,
            Argument::Value(_) => "",
        }
    }

    /// The value, if this is one; an option that nobody knows is wrong usage.
    pub fn positional(self) -> Result<String> {
        match self {
            Argument::Value(value) => Ok(value),
            Argument::Option(name) => Err(Error::Usage(format!("unknown option {name}"))),
        }
    }

    /// The error of a command that takes no further argument.
    pub fn unexpected(&self) -> Error {
        match self {
            Argument::Value(value) => Error::Usage(format!("unexpected argument `{value}`")),
            Argument::Option(name) => Error::Usage(format!("unknown option {name}")),
        }
    }
}

/// What is left of the command line.
#[derive(Debug)]
pub struct Arguments {
    parser: lexopt::Parser,
}

impl Arguments {
    /// What follows the command's name.
    pub fn new(arguments: impl IntoIterator<Item = String>) -> Self {
        let arguments: Vec<String> = arguments.into_iter().collect();
        Arguments { parser: lexopt::Parser::from_args(arguments) }
    }

    /// The next argument, `None` at the end. `--help` never comes here: it is answered before a command starts.
    pub fn next(&mut self) -> Result<Option<Argument>> {
        Ok(match self.parser.next()? {
            None => None,
            Some(lexopt::Arg::Short(letter)) => Some(Argument::Option(format!("-{letter}"))),
            Some(lexopt::Arg::Long(name)) => Some(Argument::Option(format!("--{name}"))),
            Some(lexopt::Arg::Value(value)) => Some(Argument::Value(text(value)?)),
        })
    }

    /// The value of the option that came last.
    pub fn value(&mut self) -> Result<String> {
        text(self.parser.value()?)
    }

    /// The value of the option that came last, as a number of at least 1.
    pub fn number(&mut self) -> Result<u64> {
        let value = self.value()?;
        match value.replace(['_', ','], "").parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(Error::Usage(format!("`{value}` is not a number above 0"))),
        }
    }

    /// The value of `--output`.
    pub fn output(&mut self) -> Result<Output> {
        match self.value()?.as_str() {
            "json" => Ok(Output::Json),
            "text" => Ok(Output::Text),
            other => Err(Error::Usage(format!("--output is `text` or `json`, not `{other}`"))),
        }
    }

    /// All that is left, word for word, to be passed on to another program.
    pub fn rest(&mut self) -> Result<Vec<String>> {
        self.parser.raw_args()?.map(text).collect()
    }
}

fn text(value: std::ffi::OsString) -> Result<String> {
    value.into_string().map_err(|value| Error::Usage(format!("{} is not UTF-8", value.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_values_and_numbers_are_read() {
        let mut arguments = Arguments::new(["--lines=2_000_000", "W1", "--output", "json"].map(String::from));
        assert_eq!(arguments.next().unwrap().unwrap().as_str(), "--lines");
        assert_eq!(arguments.number().unwrap(), 2_000_000);
        assert_eq!(arguments.next().unwrap().unwrap().positional().unwrap(), "W1");
        assert_eq!(arguments.next().unwrap().unwrap().as_str(), "--output");
        assert_eq!(arguments.output().unwrap(), Output::Json);
        assert!(arguments.next().unwrap().is_none());
    }

    #[test]
    fn wrong_values_are_wrong_usage() {
        for wrong in ["0", "-3", "many", ""] {
            let mut arguments = Arguments::new(["--runs", wrong].map(String::from));
            arguments.next().unwrap();
            assert_eq!(arguments.number().unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
