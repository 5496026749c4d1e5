//! Cases that the model found.

use super::Action::*;
use super::{Action, Kind, run_kind};
