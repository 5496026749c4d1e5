//! The admin address: health, readiness, metrics, the ledger and a page for people, over HTTP.
//!
//! It shows; all that can be done through it is to ask for a reload of the configuration on disk, and, for who shows the token, to
//! drop what waits for a sink or put something back. `data_dir/admin.json` says where it is.

pub mod buffers;
pub mod client;
pub mod explain;
mod page;
pub mod place;
mod plugins;
pub mod replay;
mod routes;
pub mod series;
mod server;
pub mod shadow;
pub mod status;
pub mod tap;
mod trusted;

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::state::AgentState;

/// Answers under way may take this long to be sent when the agent ends.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Why the admin address is not open.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The port cannot be had.
    #[error("{error}{}", help(error))]
    Listen {
        /// What the system says.
        error: io::Error,
    },
    /// Nobody could find it.
    #[error("cannot write {}: {error}", path.display())]
    Place {
        /// `admin.json`.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// The open admin address.
#[derive(Debug)]
pub struct Admin {
    data_dir: PathBuf,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

/// Opens the admin address and writes down where it is.
pub async fn start(listen: SocketAddr, data_dir: &Path, state: Arc<AgentState>) -> Result<Admin, AdminError> {
    let listener = TcpListener::bind(listen).await.map_err(|error| AdminError::Listen { error })?;
    let address = listener.local_addr().map_err(|error| AdminError::Listen { error })?;
    let token: Token = new_token();
    let written = place::write(data_dir, address, &token);
    written.map_err(|error| AdminError::Place { path: place::path(data_dir), error })?;
    tracing::info!(address = %format_args!("http://{address}"), "admin address open");
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "the admin address can be reached from other machines, and asks nobody who they are");
    }
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(server::serve(listener, routes::routes(state, token), stopped));
    Ok(Admin { data_dir: data_dir.to_owned(), stop, server })
}

// === impl Admin ===

impl Admin {
    /// Closes the address; answers under way are sent.
    pub async fn stop(self) {
        place::remove(&self.data_dir);
        self.stop.send_replace(true);
        let abort = self.server.abort_handle();
        if tokio::time::timeout(STOP_PATIENCE, self.server).await.is_err() {
            abort.abort();
        }
    }
}

/// Shown by who may read the data folder, and so the events that lie in it. A new one at each start.
type Token = Arc<str>;

fn new_token() -> Token {
    let mut text = String::new();
    for part in rand::random::<[u64; 2]>() {
        let _ = write!(text, "{part:016x}");
    }
    text.into()
}

fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there, give admin.listen another port",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege, take a higher one",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
