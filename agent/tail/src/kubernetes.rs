//! The logs of a node's containers, as kubelet lays them out:
//! `<path>/<namespace>_<pod>_<uid>/<container>/<restart>.log`, and beside it the files that were rotated away,
//! `<restart>.log.YYYYMMDD-HHMMSS`, compressed ones with `.gz` behind that. Any of the folders and files may be a
//! symbolic link. What is about to be a compressed file (`.tmp`) is left alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobSet;
use weir_event::stream::Attributes;
use weir_pipeline::source::{Source, SourceContext};

use crate::engine::{self, HeldLimits, Options};
use crate::files::patterns;
use crate::handle::Packing;
use crate::layout::{Incarnation, Layout, Order, Place};
use crate::multiline::Grammar;
use crate::settings::{Format, KubernetesLogsSettings, OwnPod, SettingsError};

/// The source `kubernetes_logs`.
pub struct KubernetesLogs {
    layout: PodLogs,
    options: Options,
}

impl KubernetesLogs {
    /// A source over the settings; the patterns are looked at now, the files when it runs.
    pub fn new(settings: KubernetesLogsSettings) -> Result<KubernetesLogs, SettingsError> {
        let layout = PodLogs {
            exclude_namespaces: patterns("exclude_namespaces", &settings.exclude_namespaces)?,
            exclude_pods: patterns("exclude_pods", &settings.exclude_pods)?,
            root: settings.path,
            own_pod: settings.own_pod,
        };
        let options = Options {
            format: Format::Cri,
            read_from: settings.read_from,
            linger: settings.linger,
            held: HeldLimits { bytes: settings.max_held_bytes, age: settings.max_held_age },
            grammar: settings.multiline.as_ref().map(Grammar::new).transpose()?.map(Arc::new),
        };
        Ok(KubernetesLogs { layout, options })
    }

    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (Box<dyn Layout>, Options) {
        (Box::new(self.layout), self.options)
    }
}

impl Source for KubernetesLogs {
    fn run(self: Box<Self>, context: SourceContext) {
        if !self.layout.root.is_dir() {
            tracing::warn!(path = %self.layout.root.display(), "the folder of the pods' logs is not there (yet)");
        }
        engine::run(Box::new(self.layout), self.options, context);
    }
}

/// Kubelet's tree.
struct PodLogs {
    root: PathBuf,
    exclude_namespaces: GlobSet,
    exclude_pods: GlobSet,
    own_pod: Option<OwnPod>,
}

/// What the name of a pod's folder says. Neither namespaces nor pods can have an underscore in their name; the uid
/// of a static pod is whatever made it.
struct PodName<'a> {
    namespace: &'a str,
    pod: &'a str,
    uid: &'a str,
}

fn pod_name(folder: &str) -> Option<PodName<'_>> {
    let mut words = folder.splitn(3, '_');
    let name = PodName { namespace: words.next()?, pod: words.next()?, uid: words.next()? };
    (!name.namespace.is_empty() && !name.pod.is_empty() && !name.uid.is_empty()).then_some(name)
}

// === impl PodLogs ===

impl PodLogs {
    /// The names of the folders and of the file on the way from the root, as far as the path goes.
    fn words<'a>(&self, path: &'a Path) -> Option<[Option<&'a str>; 4]> {
        let mut words = [None; 4];
        let mut components = path.strip_prefix(&self.root).ok()?.components();
        for word in &mut words {
            let Some(component) = components.next() else { break };
            *word = Some(component.as_os_str().to_str()?);
        }
        Some(words)
    }

    fn wants_pod(&self, folder: &str) -> bool {
        let Some(name) = pod_name(folder) else { return false };
        let own = |own: &OwnPod| own.namespace == name.namespace && own.name == name.pod;
        !self.own_pod.as_ref().is_some_and(own)
            && !self.exclude_namespaces.is_match(name.namespace)
            && !self.exclude_pods.is_match(name.pod)
    }
}

impl Layout for PodLogs {
    fn roots(&self) -> Vec<PathBuf> {
        vec![self.root.clone()]
    }

    fn wants_directory(&self, path: &Path) -> bool {
        match self.words(path) {
            Some([Some(pod), _, None, None]) => self.wants_pod(pod),
            _ => false,
        }
    }

    fn place(&self, path: &Path) -> Option<Place> {
        let [Some(pod), Some(_), Some(file), None] = self.words(path)? else { return None };
        let LogName { restart, order, packing } = log_name(file)?;
        self.wants_pod(pod).then(|| Place {
            chain: path.with_file_name(format!("{restart}.log")),
            order,
            restart,
            packing,
        })
    }

    fn attributes(&self, chain: &Path) -> Attributes {
        let Some([Some(pod), Some(container), ..]) = self.words(chain) else { return Attributes::default() };
        let Some(name) = pod_name(pod) else { return Attributes::default() };
        Attributes {
            namespace: name.namespace.to_owned(),
            pod: name.pod.to_owned(),
            uid: name.uid.to_owned(),
            container: container.to_owned(),
            ..Attributes::default()
        }
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation::FirstLine
    }
}

/// What the name of a log says.
#[derive(Debug, PartialEq, Eq)]
struct LogName {
    restart: u32,
    order: Order,
    packing: Packing,
}

/// Reads `<restart>.log`, `<restart>.log.<time of rotation>` and `<restart>.log.<time of rotation>.gz`.
fn log_name(name: &str) -> Option<LogName> {
    let (restart, rest) = name.split_once(".log")?;
    if !restart.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let restart = restart.parse().ok()?;
    if rest.is_empty() {
        return Some(LogName { restart, order: Order::Current, packing: Packing::Plain });
    }
    let rest = rest.strip_prefix('.')?;
    let (stamp, packing) = match rest.strip_suffix(".gz") {
        Some(stamp) => (stamp, Packing::Gzip),
        None => (rest, Packing::Plain),
    };
    let (date, time) = stamp.split_once('-')?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let order = (digits(date, 8) && digits(time, 6)).then(|| Order::Rotated(stamp.to_owned()))?;
    Some(LogName { restart, order, packing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_log_files() {
        let (plain, gzip) = (Packing::Plain, Packing::Gzip);
        let current = |restart| Some(LogName { restart, order: Order::Current, packing: plain });
        let rotated = |restart, stamp: &str, packing| {
            Some(LogName { restart, order: Order::Rotated(stamp.to_owned()), packing })
        };
        for (name, expected) in [
            ("0.log", current(0)),
            ("12.log", current(12)),
            ("0.log.20261122-100000", rotated(0, "20261122-100000", plain)),
            ("3.log.20261122-100000", rotated(3, "20261122-100000", plain)),
            ("3.log.20261122-100000.gz", rotated(3, "20261122-100000", gzip)),
            ("0.log.gz", None),
            ("0.log.20261122-100000.gz.tmp", None),
            ("0.log.20261122-100000.tmp", None),
            ("0.log.20261122", None),
            ("0.log.", None),
            ("0.logs", None),
            (".log", None),
            ("+1.log", None),
            ("-1.log", None),
            ("99999999999.log", None),
            ("app.log", None),
            ("", None),
        ] {
            assert_eq!(log_name(name), expected, "{name}");
        }
    }

    fn layout() -> PodLogs {
        PodLogs {
            root: "/var/log/pods".into(),
            exclude_namespaces: patterns("", &["kube-*".to_owned()]).unwrap(),
            exclude_pods: patterns("", &["noisy".to_owned()]).unwrap(),
            own_pod: Some(OwnPod { namespace: "weir".into(), name: "weir-x1".into() }),
        }
    }

    #[test]
    fn the_path_names_the_container() {
        let path = Path::new("/var/log/pods/shop_cart-7_9d0e_static/main/2.log.20261122-100000");
        let place = layout().place(path).unwrap();
        assert_eq!(place.chain, Path::new("/var/log/pods/shop_cart-7_9d0e_static/main/2.log"));
        assert_eq!((place.order, place.restart), (Order::Rotated("20261122-100000".into()), 2));
        let a = layout().attributes(&place.chain);
        assert_eq!(
            (&*a.namespace, &*a.pod, &*a.uid, &*a.container),
            ("shop", "cart-7", "9d0e_static", "main")
        );
    }

    #[test]
    fn other_paths_are_left_alone() {
        for (path, directory, file) in [
            ("a_b_c", true, false),
            ("a_b_c/main", true, false),
            ("a_b_c/main/0.log", false, true),
            ("a_b_c/main/sub/0.log", false, false),
            ("a_b_c/0.log", true, false),
            ("a_b", false, false),
            ("a__c", false, false),
            ("kube-system_etcd_u/etcd/0.log", false, false),
            ("kube-system_etcd_u", false, false),
            ("a_noisy_c/main/0.log", false, false),
            ("weir_weir-x1_u/weir/0.log", false, false),
            ("weir_weir-x2_u/weir/0.log", false, true),
        ] {
            let path = Path::new("/var/log/pods").join(path);
            assert_eq!(layout().wants_directory(&path), directory, "{}", path.display());
            assert_eq!(layout().place(&path).is_some(), file, "{}", path.display());
        }
    }
}
