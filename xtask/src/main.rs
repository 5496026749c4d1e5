//! The one entry for people: demo, test, check, bench, plugins.
fn main() {}
