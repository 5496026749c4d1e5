//! The recorded container logs: how much there is, and the line that an event was made of.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::error::{IoContext, Result};

/// How much went in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Log files, one for each container.
    pub files: u64,
    /// Lines of all files.
    pub lines: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Counts what lies in a tree like /var/log/pods.
pub fn count(pods: &Path) -> Result<Amount> {
    let mut amount = Amount::default();
    for file in log_files(pods)? {
        let bytes = fs::read(&file).while_doing("read", &file)?;
        amount.files += 1;
        amount.lines += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        amount.bytes += bytes.len() as u64;
    }
    Ok(amount)
}

/// The container's line that begins where the document says it does.
pub fn line_of(pods: &Path, document: &Value) -> Option<String> {
    let part = |name: &str| document["kubernetes"][name].as_str();
    let pod = format!("{}_{}_{}", part("namespace")?, part("pod")?, part("uid")?);
    let offset = document["log"]["offset"].as_u64()?;
    // Containers were not restarted when this was recorded.
    let mut log = BufReader::new(File::open(pods.join(pod).join(part("container")?).join("0.log")).ok()?);
    log.seek(SeekFrom::Start(offset)).ok()?;
    let mut line = String::new();
    log.read_line(&mut line).ok()?;
    Some(line.trim_end().to_owned())
}

fn log_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).while_doing("read", folder)? {
        let path = entry.while_doing("read", folder)?.path();
        if path.is_dir() {
            files.extend(log_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::repository::Repository;

    fn pods() -> PathBuf {
        Repository::find().unwrap().root().join("configs/recorded/pods")
    }

    #[test]
    fn the_recorded_logs_are_as_they_were() {
        assert_eq!(count(&pods()).unwrap(), Amount { files: 11, lines: 1_272, bytes: 195_182 });
    }

    #[test]
    fn a_document_leads_back_to_its_line() {
        let document = |offset: u64| {
            json!({
                "kubernetes": {
                    "namespace": "kube-system",
                    "pod": "etcd-node1",
                    "uid": "d96fb816-2444-26a1-f24a-3eef2f498873",
                    "container": "etcd",
                },
                "log": {"offset": offset},
            })
        };
        let first = line_of(&pods(), &document(0)).unwrap();
        assert!(first.starts_with("2026-11-22T10:00:00.037000123Z stderr F {"), "{first}");
        let second = line_of(&pods(), &document(first.len() as u64 + 1)).unwrap();
        assert!(second.starts_with("2026-11-22T10:00:00.074000123Z stderr F {"), "{second}");
        assert_eq!(line_of(&pods(), &json!({})), None);
    }
}
