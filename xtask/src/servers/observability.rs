//! Prometheus and Thanos, from one module and with the same build tags, so that they share what is compiled.

use std::path::PathBuf;

use super::go::{self, Program};
use crate::{error::Result, repository::Repository};

/// Thanos without `slicelabels` builds and becomes ready, and then Receive panics at its first gRPC answer.
const TAGS: &str = "netgo,slicelabels";
const PROGRAMS: [Program; 3] = [
    Program { name: "thanos", package: "github.com/thanos-io/thanos/cmd/thanos", tags: TAGS },
    Program { name: "prometheus", package: "github.com/prometheus/prometheus/cmd/prometheus", tags: TAGS },
    Program { name: "promtool", package: "github.com/prometheus/prometheus/cmd/promtool", tags: TAGS },
];

/// The folder with `thanos`, `prometheus` and `promtool`.
pub fn programs(repository: &Repository) -> Result<PathBuf> {
    let module = "integration-tests/servers/observability";
    go::build(repository, module, &PROGRAMS, "Prometheus and Thanos: about 8 minutes")
}
