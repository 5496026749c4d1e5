//! OpenSearch's stock modules: the published server leaves them out, and as Maven artefacts they come without the
//! descriptor that the server asks of each.

use std::{fs, path::Path};

use crate::error::{IoContext, Result};

/// A module: its folder and name, its class, what it extends, and what it is permitted.
struct Module {
    name: &'static str,
    class: &'static str,
    extends: &'static str,
    permissions: &'static [&'static str],
}

const fn module(name: &'static str, class: &'static str) -> Module {
    Module { name, class, extends: "", permissions: &[] }
}

const MODULES: [Module; 9] = [
    module("analysis-common", "org.opensearch.analysis.common.CommonAnalysisPlugin"),
    module("mapper-extras", "org.opensearch.index.mapper.MapperExtrasPlugin"),
    module("parent-join", "org.opensearch.join.ParentJoinPlugin"),
    module("percolator", "org.opensearch.percolator.PercolatorPlugin"),
    module("aggs-matrix-stats", "org.opensearch.search.aggregations.matrix.MatrixAggregationPlugin"),
    Module {
        permissions: &[
            r#"java.lang.RuntimePermission "createClassLoader""#,
            r#"java.lang.RuntimePermission "getClassLoader""#,
        ],
        ..module("lang-painless", "org.opensearch.painless.PainlessPlugin")
    },
    Module {
        extends: "lang-painless",
        ..module("ingest-common", "org.opensearch.ingest.common.IngestCommonPlugin")
    },
    Module {
        permissions: &[r#"java.lang.RuntimePermission "accessDeclaredMembers""#],
        ..module("lang-mustache", "org.opensearch.script.mustache.MustachePlugin")
    },
    Module {
        permissions: &[
            r#"java.net.SocketPermission "*", "connect""#,
            r#"java.net.NetPermission "getProxySelector""#,
        ],
        ..module("reindex", "org.opensearch.index.reindex.ReindexPlugin")
    },
];

/// Writes the descriptor and the policy of every module into its folder under `modules`.
pub fn describe(modules: &Path, version: &str) -> Result<()> {
    for module in &MODULES {
        let folder = modules.join(module.name);
        let descriptor = folder.join("plugin-descriptor.properties");
        fs::write(&descriptor, module.descriptor(version)).while_doing("write", &descriptor)?;
        if let Some(text) = module.policy() {
            let policy = folder.join("plugin-security.policy");
            fs::write(&policy, text).while_doing("write", &policy)?;
        }
    }
    Ok(())
}

impl Module {
    fn descriptor(&self, version: &str) -> String {
        let Module { name, class, extends, .. } = self;
        format!(
            "name={name}\ndescription={name}\nversion={version}\nopensearch.version={version}\n\
             java.version=11\nclassname={class}\ncustom.foldername=\nextended.plugins={extends}\n\
             has.native.controller=false\n"
        )
    }

    fn policy(&self) -> Option<String> {
        if self.permissions.is_empty() {
            return None;
        }
        let lines: String = self.permissions.iter().map(|line| format!("  permission {line};\n")).collect();
        Some(format!("grant {{\n{lines}}};\n"))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Fails if `pom` does not fetch some module, or fetches one that is not described here.
    pub fn assert_fetched(pom: &str) {
        let fetched: std::collections::BTreeSet<&str> =
            pom.split("/modules/").skip(1).filter_map(|rest| rest.split('<').next()).collect();
        let described: std::collections::BTreeSet<&str> = MODULES.iter().map(|module| module.name).collect();
        assert_eq!(fetched, described);
    }

    #[test]
    fn only_what_needs_a_policy_has_one() {
        let folder = tempfile::tempdir().unwrap();
        for module in &MODULES {
            fs::create_dir(folder.path().join(module.name)).unwrap();
        }
        describe(folder.path(), "9.9.9").unwrap();
        let policy = |name: &str| fs::read_to_string(folder.path().join(name).join("plugin-security.policy"));
        assert!(policy("percolator").is_err());
        assert!(policy("reindex").unwrap().contains("\"getProxySelector\";\n"));
        let descriptor = folder.path().join("ingest-common/plugin-descriptor.properties");
        let text = fs::read_to_string(descriptor).unwrap();
        assert!(text.contains("\nopensearch.version=9.9.9\n") && text.contains("=lang-painless\n"));
    }
}
