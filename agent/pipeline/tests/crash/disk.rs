//! A model of a file system that knows what survives.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use weir_buffer::disk::filesystem::{FileSystem, Found, NewFile};

/// What is left of what was done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Survives {
    /// Everything: only the process died.
    Everything,
    /// What was synced.
    OnlySynced,
    /// Names as they were last, content as it was synced.
    NamesBeforeContent,
    /// Of each name and of each file that was not synced something, drawn by this seed: pieces, and what was there before.
    Torn(u64),
}

pub struct Model {
    /// What the buffer may have of it.
    pub bound: u64,
    names: BTreeMap<PathBuf, u64>,
    synced_names: BTreeMap<PathBuf, u64>,
    /// By number: what was written, and what of it was synced.
    contents: HashMap<u64, (Vec<u8>, Vec<u8>)>,
    next: u64,
    pub steps: u64,
    pub dies_at: Option<u64>,
    pub is_dead: bool,
}

impl Default for Model {
    fn default() -> Model {
        let (names, synced_names, contents) = Default::default();
        let (next, steps, dies_at, is_dead) = (0, 0, None, false);
        Model { bound: 1 << 20, names, synced_names, contents, next, steps, dies_at, is_dead }
    }
}

#[derive(Clone, Default)]
pub struct ModelDisk(Arc<Mutex<Model>>);

pub struct ModelFile {
    disk: ModelDisk,
    number: u64,
}

impl ModelDisk {
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap()
    }

    /// Counts a step; `Err` from the one on at which everything ends.
    pub fn step(&self) -> io::Result<MutexGuard<'_, Model>> {
        let mut model = self.model();
        model.is_dead |= model.dies_at == Some(model.steps);
        model.steps += 1;
        if model.is_dead { Err(io::Error::other("the machine is gone")) } else { Ok(model) }
    }

    pub fn is_dead(&self) -> bool {
        self.model().is_dead
    }

    /// The same disk at the next start.
    pub fn restart(&self, survives: Survives) {
        let mut guard = self.model();
        let model = &mut *guard;
        match survives {
            Survives::Everything => {}
            Survives::OnlySynced => model.names = model.synced_names.clone(),
            Survives::NamesBeforeContent => {}
            Survives::Torn(seed) => model.tear_names(&mut SmallRng::seed_from_u64(seed)),
        }
        let mut numbers: Vec<u64> = model.contents.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let Some((content, synced)) = model.contents.get_mut(&number) else { continue };
            match survives {
                Survives::Everything => {}
                Survives::Torn(seed) => tear(content, synced, &mut SmallRng::seed_from_u64(seed ^ number)),
                _ => *content = synced.clone(),
            }
            *synced = content.clone();
        }
        model.synced_names = model.names.clone();
        (model.dies_at, model.is_dead) = (None, false);
    }

    pub fn bound(&self) -> u64 {
        self.model().bound
    }

    /// Of all files.
    pub fn bytes(&self) -> u64 {
        let model = self.model();
        model.names.values().map(|number| model.contents[number].0.len() as u64).sum()
    }

    /// Files of the buffer, those left out that are kept aside.
    pub fn segments(&self) -> usize {
        let is_ours = |path: &&PathBuf| path.extension().is_some_and(|e| e == "seg");
        let is_aside = |path: &&PathBuf| path.parent().is_some_and(|parent| parent.ends_with("aside"));
        self.model().names.keys().filter(is_ours).filter(|path| !is_aside(path)).count()
    }
}

impl Model {
    /// Each name is as it was last, or as it was synced.
    fn tear_names(&mut self, random: &mut SmallRng) {
        let mut torn = BTreeMap::new();
        let all: Vec<PathBuf> = self.names.keys().chain(self.synced_names.keys()).cloned().collect();
        for path in all {
            let from = if random.random() { &self.names } else { &self.synced_names };
            if let Some(number) = from.get(&path) {
                torn.insert(path, *number);
            }
        }
        self.names = torn;
    }

    /// Changes a byte of one of the buffer's files, as a disk does that is going.
    pub fn damage(&mut self, random: &mut SmallRng) {
        let is_segment = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "seg");
        let segments: Vec<u64> =
            self.names.iter().filter(|(path, _)| is_segment(path)).map(|(_, number)| *number).collect();
        if segments.is_empty() {
            return;
        }
        let number = segments[random.random_range(0..segments.len())];
        let Some((content, synced)) = self.contents.get_mut(&number) else { return };
        if content.is_empty() {
            return;
        }
        let at = random.random_range(0..content.len());
        match random.random_range(0..4) {
            0 => content.truncate(at),
            1 => content[at..].fill(0),
            _ => content[at] ^= 1 << random.random_range(0..8),
        }
        *synced = content.clone();
    }
}

/// What was synced is there. Of the rest a piece may be, and what is behind that anything.
fn tear(content: &mut Vec<u8>, synced: &[u8], random: &mut SmallRng) {
    if content.len() <= synced.len() {
        *content = synced.to_vec();
        return;
    }
    let kept = random.random_range(synced.len()..=content.len());
    if random.random() {
        content.truncate(kept);
    } else {
        random.fill(&mut content[kept..]);
    }
}

pub fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl FileSystem for ModelDisk {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        self.step().map(drop)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Found>> {
        let model = self.model();
        let here = model.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let found = here.map(|(path, number)| Found {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            bytes: model.contents[number].0.len() as u64,
            modified: SystemTime::now(),
        });
        Ok(found.collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let mut model = self.step()?;
        let number = model.next;
        model.next += 1;
        model.contents.insert(number, Default::default());
        model.names.insert(path.to_owned(), number);
        drop(model);
        Ok(Box::new(ModelFile { disk: self.clone(), number }))
    }

    fn read(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let model = self.model();
        let number = model.names.get(path).ok_or_else(missing)?;
        let rest = model.contents[number].0.get(offset as usize..).unwrap_or_default();
        Ok(rest[..length.min(rest.len())].to_vec())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut model = self.step()?;
        let number = model.names.remove(from).ok_or_else(missing)?;
        model.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?.names.remove(path).map(drop).ok_or_else(missing)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut model = self.step()?;
        model.synced_names = model.names.clone();
        Ok(())
    }
}

impl NewFile for ModelFile {
    /// The step at which everything ends still writes half.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.disk.step().map(|mut model| {
            model.contents.get_mut(&self.number).unwrap().0.extend_from_slice(bytes);
        });
        written.inspect_err(|_| {
            let half = &bytes[..bytes.len() / 2];
            self.disk.model().contents.get_mut(&self.number).unwrap().0.extend_from_slice(half);
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut model = self.disk.step()?;
        let content = model.contents.get_mut(&self.number).unwrap();
        content.1 = content.0.clone();
        Ok(())
    }
}
