//! Rolls a scrape back, and forgets what has vanished.

use hashbrown::HashTable;

use super::{Cache, Entry, GONE_LEN, NONE, Role};

/// Places of vanished entries are taken back when there are this many, and as many as a quarter of all.
const MIN_GONE: usize = if cfg!(test) { 4 } else { 1_024 };

// === impl Cache ===

impl Cache {
    /// Forgets what the scrape under way added.
    pub(crate) fn roll_back(&mut self) {
        let mark = self.mark;
        for index in mark.entries..self.entries.len() {
            self.unlist(index as u32);
        }
        self.entries.truncate(mark.entries);
        self.labels.roll_back(mark.labels);
        self.live = mark.live;
        self.side = mark.side;
        if self.seen > 0 {
            self.entries.iter_mut().for_each(|entry| entry.move_to(self.side));
        }
        self.families.settle();
        self.clear_up_families();
    }

    /// Forgets what was not seen in the scrape that was just committed.
    pub(crate) fn sweep(&mut self) {
        self.fit();
        if self.seen >= self.live {
            return;
        }
        let side = self.side;
        // A series of which one text is left stays.
        for index in 0..self.entries.len() {
            let Some(entry) = self.entries.get(index) else { break };
            if entry.role == Role::Alias && entry.is_on(side) {
                let series = entry.start as usize;
                if let Some(series) = self.entries.get_mut(series) {
                    series.move_to(side);
                }
            }
        }
        for index in 0..self.entries.len() as u32 {
            let Some(entry) = self.entries.get(index as usize) else { break };
            if entry.is_on(side) || entry.role == Role::Gone {
                continue;
            }
            self.unlist(index);
            self.explicit.remove(&index);
            self.exemplars.remove(&index);
            self.live -= 1;
            if let Some(entry) = self.entries.get_mut(index as usize) {
                // The entry before it still names it as its next: no text is so long.
                (entry.role, entry.text_len) = (Role::Gone, GONE_LEN);
            }
        }
        let gone = self.entries.len() - self.live as usize;
        if gone >= MIN_GONE && gone * 4 >= self.entries.len() {
            self.compact();
        }
        self.clear_up_families();
    }

    /// Gives memory back that was taken ahead, when a scrape has added nothing.
    fn fit(&mut self) {
        let (len, capacity) = (self.entries.len(), self.entries.capacity());
        if len == self.mark.entries && capacity - len > len / 4 {
            self.entries.shrink_to_fit();
            self.labels.fit();
        }
    }

    /// Takes an entry out of the tables.
    fn unlist(&mut self, index: u32) {
        let Some(entry) = self.entries.get(index as usize).copied() else { return };
        if let Ok(found) = self.texts.find_entry(entry.text_hash(), |known| *known == index) {
            found.remove();
        }
        if entry.role == Role::Series {
            if let Ok(found) = self.series.find_entry(entry.series, |known| *known == index) {
                found.remove();
            }
            self.families.count(entry.family, -1);
        }
    }

    /// Moves what is left together.
    fn compact(&mut self) {
        let live = self.live as usize;
        let mut numbers = vec![NONE; self.entries.len()];
        let mut next = 0;
        for (entry, number) in self.entries.iter().zip(&mut numbers) {
            if entry.role != Role::Gone {
                *number = next;
                next += 1;
            }
        }
        let renumber = |index: u32| numbers.get(index as usize).copied().unwrap_or(NONE);
        let mut labels = self.labels.successor();
        let mut entries = Vec::with_capacity(live);
        for entry in self.entries.iter().filter(|entry| entry.role != Role::Gone) {
            let mut entry = Entry { next: renumber(entry.next), ..*entry };
            match entry.role {
                Role::Series => {
                    // There was room for all of them, so there is for fewer.
                    let Some(kept) = labels.take_over(&self.labels, entry.kept()) else { return };
                    (entry.start, entry.shape) = (kept.start, kept.shape);
                }
                Role::Alias => entry.start = renumber(entry.start),
                Role::Dropped | Role::Gone => {}
            }
            entries.push(entry);
        }
        labels.fit();
        (self.entries, self.labels) = (entries, labels);
        self.first = renumber(self.first);
        self.explicit = self.explicit.drain().map(|(index, last)| (renumber(index), last)).collect();
        self.exemplars = self.exemplars.drain().map(|(index, last)| (renumber(index), last)).collect();
        self.rebuild_tables();
    }

    fn rebuild_tables(&mut self) {
        let entries = &self.entries;
        let text = |index: &u32| entries.get(*index as usize).map_or(0, Entry::text_hash);
        let series = |index: &u32| entries.get(*index as usize).map_or(0, |entry| entry.series);
        (self.texts, self.series) = (HashTable::with_capacity(entries.len()), HashTable::new());
        for (index, entry) in (0..).zip(entries) {
            self.texts.insert_unique(entry.text_hash(), index, text);
            if entry.role == Role::Series {
                self.series.insert_unique(entry.series, index, series);
            }
        }
    }

    /// Families that came and went are forgotten when they are the larger part.
    fn clear_up_families(&mut self) {
        if self.families.len() < MIN_GONE || self.families.len() < 2 * self.entries.len() {
            return;
        }
        let numbers = self.families.clear_up();
        for entry in self.entries.iter_mut().filter(|entry| entry.role == Role::Series) {
            entry.family = numbers.get(entry.family as usize).copied().unwrap_or(NONE);
        }
    }
}
