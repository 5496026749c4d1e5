//! The bench's input on disk: generated once per (lines, seed, generator version), then kept.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use super::generator::{self, Generator};
use crate::{
    error::{IoContext, Result},
    ui::{self, Step},
};

/// Lines are collected up to this size before they are written.
const CHUNK_BYTES: usize = 256 * 1024;

/// A generated file.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it lies.
    pub path: PathBuf,
    /// Raw lines in it.
    pub lines: u64,
    /// Its size.
    pub bytes: u64,
}

impl Input {
    /// Finds the input in `folder`, or generates it there.
    pub fn ensure(folder: &Path, lines: u64, seed: u64) -> Result<Self> {
        let path = folder.join(format!("input-v{}-{lines}-{seed}.log", generator::VERSION));
        if !path.is_file() {
            let why = format!("{} from seed {seed}, kept for the next run", ui::counted(lines, "line"));
            let step = Step::start("input", why);
            generate(&path, lines, seed)?;
            step.done(path.display());
        }
        let bytes = fs::metadata(&path).while_doing("read", &path)?.len();
        Ok(Input { path, lines, bytes })
    }
}

/// Writes beside `path` and renames, so that an interrupted run leaves no short input.
fn generate(path: &Path, lines: u64, seed: u64) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).while_doing("create", folder)?;
    }
    let temporary = path.with_extension("tmp");
    let mut file = BufWriter::new(File::create(&temporary).while_doing("create", &temporary)?);
    let mut generator = Generator::new(seed);
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + 1024);
    for left in (0..lines).rev() {
        generator.line(left == 0, &mut chunk);
        if chunk.len() >= CHUNK_BYTES || left == 0 {
            file.write_all(&chunk).while_doing("write", &temporary)?;
            chunk.clear();
        }
    }
    file.flush().while_doing("write", &temporary)?;
    fs::rename(&temporary, path).while_doing("rename to", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_generated_once() {
        let folder = tempfile::tempdir().unwrap();
        let input = Input::ensure(folder.path(), 1_000, 42).unwrap();
        let text = fs::read_to_string(&input.path).unwrap();
        assert_eq!((text.lines().count(), text.len() as u64), (1_000, input.bytes));

        fs::write(&input.path, "kept").unwrap();
        assert_eq!(Input::ensure(folder.path(), 1_000, 42).unwrap().bytes, 4);
        assert_ne!(Input::ensure(folder.path(), 1_000, 43).unwrap().path, input.path);
    }
}
