//! demo
use crate::{arguments::Arguments, error::Result, repository::Repository};
pub const HELP: &str = "x\nUsage: cargo xtask demo\nExit codes: 0 ";
pub fn main(_: &Repository, _: Arguments) -> Result<()> {
    Ok(())
}
