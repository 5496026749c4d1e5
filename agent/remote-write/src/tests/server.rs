//! A receiver behind a socket that answers by script.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    pub method: String,
    pub path: String,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

type Script = Arc<dyn Fn(usize, &Got) -> Option<Response<Full<Bytes>>> + Send + Sync>;

/// A receiver; `None` of its script is never answered.
#[derive(Clone)]
pub struct Server {
    script: Script,
    count: Arc<AtomicUsize>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Server {
    pub fn new(
        script: impl Fn(usize, &Got) -> Option<Response<Full<Bytes>>> + Send + Sync + 'static,
    ) -> Server {
        Server { script: Arc::new(script), count: Arc::default(), got: Arc::default() }
    }

    /// Listens and says where.
    pub async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(stream));
            }
        });
        format!("http://{address}")
    }

    /// Answers what comes over a connection.
    pub async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(move |request| {
            let server = self.clone();
            async move { server.answer(request).await }
        });
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let got = Got {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        };
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let answer = (self.script)(number, &got);
        self.got.lock().unwrap().push(got);
        match answer {
            Some(answer) => Ok(answer),
            None => std::future::pending().await,
        }
    }
}

/// An answer with these headers and body.
pub fn http(status: u16, headers: &[(&str, &str)], body: &str) -> Option<Response<Full<Bytes>>> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    Some(builder.body(Full::from(body.to_owned())).unwrap())
}
