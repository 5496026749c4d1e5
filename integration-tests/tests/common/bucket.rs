//! Looks into the bucket of a test, with the agent's own client. For those tests alone that need it: what all of them share
//! links nothing of the agent.

use integration_tests::MinIo;
use tokio::runtime::Runtime;
use weir_object::{Keys, S3, Settings};

/// What the client works on.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// The test's bucket behind an address.
pub fn client(minio: &MinIo, endpoint: &str, runtime: &Runtime) -> S3 {
    let (access_key, secret_key) = minio.keys_to_sign_with();
    let settings = Settings {
        endpoint: endpoint.to_owned(),
        bucket: minio.bucket().to_owned(),
        region: "us-east-1".to_owned(),
        path_style: true,
        ca: None,
        keys: Some(Keys { access_key, secret_key }),
    };
    S3::new(settings, runtime.handle().clone()).unwrap()
}
