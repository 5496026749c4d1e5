//! Runs a writer that blocks off the reactor, one segment after the other.
//!
//! 1. A delivery whose future is dropped (the driver's patience ended) goes on; the next delivery waits for it first
//!    and takes its answer if it was for the same documents. So a slow disk never makes documents appear twice.
//! 2. At most one thread is busy for a sink, however often a delivery is repeated.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::task::JoinHandle;
use weir_buffer::segment::{Documents, Receipt, SinkError};
use weir_pipeline::sink::{Delivery, Sink};

use super::lines::as_lines;

/// Writes documents to a place, blocking.
pub trait Append: Send + 'static {
    /// Brings all documents to their place. After an error the same documents come again; whatever of them is in its
    /// place by then must not be written twice.
    fn append(&mut self, documents: &Arc<Documents>) -> Result<(), SinkError>;

    /// Called behind the last documents.
    fn finish(&mut self);
}

/// A sink that writes in the background.
pub struct Background<W> {
    writer: Arc<Mutex<W>>,
    under_way: Option<UnderWay>,
    /// Of documents that are no lines of JSON, the lines: the same ones when the documents come again.
    lines: (Weak<Documents>, Arc<Documents>),
}

struct UnderWay {
    documents: Arc<Documents>,
    task: JoinHandle<Result<(), SinkError>>,
}

// === impl Background ===

impl<W: Append> Background<W> {
    pub fn new(writer: W) -> Background<W> {
        Background { writer: Arc::new(Mutex::new(writer)), under_way: None, lines: Default::default() }
    }

    fn lines_of(&mut self, documents: &Arc<Documents>) -> Arc<Documents> {
        if self.lines.0.as_ptr() != Arc::as_ptr(documents) {
            let lines = as_lines(documents).map_or_else(|| Arc::clone(documents), Arc::new);
            self.lines = (Arc::downgrade(documents), lines);
        }
        Arc::clone(&self.lines.1)
    }

    async fn run(&mut self, documents: &Arc<Documents>) -> Receipt {
        loop {
            if self.under_way.is_none() {
                let lines = self.lines_of(documents);
                self.under_way = Some(start(&self.writer, documents, lines));
            }
            let Some(under_way) = &mut self.under_way else { continue };
            let result = (&mut under_way.task).await;
            let is_ours = Arc::ptr_eq(&under_way.documents, documents);
            self.under_way = None;
            if result.as_ref().is_ok_and(Result::is_ok) {
                // Nothing of them is needed any more, wherever the next ones lie in memory.
                self.lines = Default::default();
            }
            if !is_ours {
                continue;
            }
            return match result {
                Ok(Ok(())) => Receipt::Delivered,
                Ok(Err(error)) => Receipt::Retry(error),
                Err(error) => Receipt::Retry(SinkError { message: format!("the write was ended: {error}") }),
            };
        }
    }
}

impl<W: Append> Sink for Background<W> {
    fn deliver<'a>(&'a mut self, documents: &'a Arc<Documents>) -> Delivery<'a> {
        Box::pin(self.run(documents))
    }

    fn finish(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            if let Some(under_way) = self.under_way.take() {
                let _ = under_way.task.await;
            }
            let writer = Arc::clone(&self.writer);
            let _ = tokio::task::spawn_blocking(move || lock(&writer).finish()).await;
        })
    }
}

fn start<W: Append>(writer: &Arc<Mutex<W>>, documents: &Arc<Documents>, lines: Arc<Documents>) -> UnderWay {
    let (writer, documents) = (Arc::clone(writer), Arc::clone(documents));
    let task = tokio::task::spawn_blocking(move || lock(&writer).append(&lines));
    UnderWay { documents, task }
}

/// Never waits: [`Background`] runs one task at a time.
fn lock<W>(writer: &Mutex<W>) -> std::sync::MutexGuard<'_, W> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Duration;

    use super::*;

    /// Waits to be let go, then answers.
    struct Slow {
        go: Receiver<Result<(), &'static str>>,
        calls: Arc<AtomicU32>,
    }

    impl Append for Slow {
        fn append(&mut self, _: &Arc<Documents>) -> Result<(), SinkError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.go.recv().unwrap().map_err(|message| SinkError { message: message.to_owned() })
        }

        fn finish(&mut self) {}
    }

    fn slow() -> (Background<Slow>, SyncSender<Result<(), &'static str>>, Arc<AtomicU32>) {
        let (let_go, go) = sync_channel(8);
        let calls = Arc::new(AtomicU32::new(0));
        (Background::new(Slow { go, calls: Arc::clone(&calls) }), let_go, calls)
    }

    #[tokio::test]
    async fn a_dropped_delivery_is_not_repeated() {
        let (mut sink, let_go, calls) = slow();
        let documents = Arc::new(Documents::default());
        let dropped = tokio::time::timeout(Duration::from_millis(5), sink.deliver(&documents)).await;
        assert!(dropped.is_err());
        let_go.send(Ok(())).unwrap();
        assert!(matches!(sink.deliver(&documents).await, Receipt::Delivered));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn other_documents_wait_for_what_is_under_way() {
        let (mut sink, let_go, calls) = slow();
        let dropped = tokio::time::timeout(Duration::from_millis(5), sink.deliver(&Arc::default())).await;
        assert!(dropped.is_err());
        for answer in [Ok(()), Err("no")] {
            let_go.send(answer).unwrap();
        }
        let answer = sink.deliver(&Arc::default()).await;
        assert!(matches!(answer, Receipt::Retry(error) if error.to_string() == "no"));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_answer_is_given_once() {
        let (mut sink, let_go, _) = slow();
        let documents = Arc::new(Documents::default());
        for answer in [Err("full"), Ok(())] {
            let_go.send(answer).unwrap();
        }
        assert!(matches!(sink.deliver(&documents).await, Receipt::Retry(_)));
        assert!(matches!(sink.deliver(&documents).await, Receipt::Delivered));
    }
}
