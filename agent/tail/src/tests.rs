//! What the sources do, seen from outside: folders of files go in, events and checkpoints come out.

mod container_logs;
mod found_files;
mod gzip;
mod held;
mod model;
mod multiline;
mod restarts;
mod rig;
mod running;
mod text_lines;
