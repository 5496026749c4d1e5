//! The client of object stores, against a real MinIO, bad lines to it, and answers that MinIO gives on days when nobody
//! looks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "common/bucket.rs"]
mod bucket;

use bucket::{client, runtime};
use integration_tests::{Fault, FaultProxy, Gate, Message, MinIo, Schedule, Verdict};
use weir_buffer::object::{ObjectError, ObjectErrorKind, ObjectStore, Put};
use weir_object::{Keys, S3, Settings};

/// A client whose requests this answers, and what becomes of a read.
fn answered(answer: impl Fn(&Message) -> Message + Send + Sync + 'static) -> ObjectError {
    let (minio, runtime) = (MinIo::shared(), runtime());
    let gate = Gate::start(minio.address(), move |request| Verdict::Answer(answer(request)), |_, _| {});
    let store = client(&minio, &format!("http://{}", gate.address()), &runtime);
    store.get("a", 100).unwrap_err()
}

fn error(status: u16, code: &str) -> Message {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>so it is</Message></Error>");
    let mut answer = Message::answer(status, "Error", body);
    answer.headers = vec![("content-type".to_owned(), "application/xml".to_owned())];
    answer
}

#[test]
fn conditions_ranges_and_listings_are_those_of_s3() {
    let (minio, runtime) = (MinIo::shared(), runtime());
    let store = client(&minio, &minio.url(), &runtime);
    let missing = store.check(false).unwrap_err();
    assert_eq!(missing.kind, ObjectErrorKind::Refused);
    assert!(missing.message.contains("create_bucket: true"), "{missing}");
    store.check(true).unwrap();
    store.check(false).unwrap();

    let Put::Stored(etag) = store.put_if_absent("a/b", b"first".to_vec()).unwrap() else {
        panic!("not stored")
    };
    assert_eq!(store.put_if_absent("a/b", b"second".to_vec()).unwrap(), Put::Refused);
    let got = store.get("a/b", 5).unwrap();
    assert_eq!((got.bytes.as_slice(), got.etag.as_str()), (&b"first"[..], etag.as_str()));
    assert!(store.get("a/b", 4).unwrap_err().message.contains("longer than 4 bytes"));

    let Put::Stored(next) = store.put_if_match("a/b", b"another".to_vec(), &etag).unwrap() else {
        panic!("not stored")
    };
    assert_eq!(store.put_if_match("a/b", b"late".to_vec(), &etag).unwrap(), Put::Refused);
    assert_eq!(store.put_if_match("a/none", b"x".to_vec(), &next).unwrap(), Put::Refused);

    assert_eq!(store.get_range("a/b", 2, 3).unwrap(), b"oth");
    assert_eq!(store.get_range("a/b", 5, 100).unwrap(), b"er");
    assert_eq!(store.get_range("a/b", 100, 5).unwrap(), b"");
    assert_eq!(store.get_range("a/b", 0, 0).unwrap(), b"");

    for key in ["a/c", "a/d/e", "z"] {
        store.put_if_absent(key, b"x".to_vec()).unwrap();
    }
    let folded = store.list("a/", None, true).unwrap();
    assert_eq!(folded.objects, [("a/b".to_owned(), 7), ("a/c".to_owned(), 1)]);
    assert_eq!((folded.folders, folded.next), (vec!["a/d/".to_owned()], None));
    let all: Vec<String> =
        store.list("a/", None, false).unwrap().objects.into_iter().map(|(key, _)| key).collect();
    assert_eq!(all, ["a/b", "a/c", "a/d/e"]);

    store.delete("a/b").unwrap();
    store.delete("a/b").unwrap();
    assert_eq!(store.get("a/b", 10).unwrap_err().kind, ObjectErrorKind::Missing);
}

/// What was stored without anybody hearing of it is there, and a repeat finds it so.
#[test]
fn a_bad_line_is_passed_or_said() {
    const OBJECTS: u32 = 60;
    let (minio, runtime) = (MinIo::shared(), runtime());
    client(&minio, &minio.url(), &runtime).check(true).unwrap();
    let seed = u64::from(rand::random::<u32>());
    eprintln!("seed {seed}");
    let proxy = FaultProxy::start(minio.address(), Schedule::bad_line(seed));
    let store = client(&minio, &proxy.url(), &runtime);
    let again = |what: &dyn Fn() -> Result<(), ObjectError>| {
        for _ in 0..20 {
            match what() {
                Ok(()) => return,
                Err(error) => assert_eq!(error.kind, ObjectErrorKind::Retry, "{error}"),
            }
        }
        panic!("it never went well");
    };
    let content = |n: u32| n.to_be_bytes().repeat(5_000);
    for n in 0..OBJECTS {
        again(&|| store.put_if_absent(&format!("o/{n:03}"), content(n)).map(drop));
    }
    for n in 0..OBJECTS {
        again(&|| {
            let got = store.get(&format!("o/{n:03}"), 1 << 20)?;
            assert!(got.bytes == content(n), "{n}: {} bytes", got.bytes.len());
            Ok(())
        });
    }
    for n in 0..OBJECTS {
        again(&|| store.delete(&format!("o/{n:03}")));
    }
    assert_eq!(minio.keys(), Vec::<String>::new());
    let happened = proxy.happened();
    assert!(happened.keys().filter(|fault| **fault != Fault::None).count() >= 4, "{happened:?}");
}

#[test]
fn what_a_store_says_no_with_says_what_to_do() {
    for (status, code, kind, expected) in [
        (
            403,
            "RequestTimeTooSkewed",
            ObjectErrorKind::Refused,
            "the clocks of this node and of the store differ",
        ),
        (403, "InvalidAccessKeyId", ObjectErrorKind::Refused, "see to access_key"),
        (403, "SignatureDoesNotMatch", ObjectErrorKind::Refused, "see to secret_key"),
        (403, "AccessDenied", ObjectErrorKind::Refused, "allow them s3:GetObject"),
        (404, "NoSuchBucket", ObjectErrorKind::Refused, "set create_bucket: true"),
        (404, "NoSuchKey", ObjectErrorKind::Missing, "there is no such object"),
        (503, "SlowDown", ObjectErrorKind::Retry, "SlowDown: so it is"),
        (507, "XMinioStorageFull", ObjectErrorKind::Refused, "make room there"),
    ] {
        let refused = answered(move |_| error(status, code));
        assert_eq!(refused.kind, kind, "{code}: {refused}");
        assert!(refused.message.contains(expected), "{code}: {refused}");
    }
    let odd = answered(|_| Message::answer(502, "Bad Gateway", "a proxy's page"));
    assert_eq!(odd.kind, ObjectErrorKind::Retry, "{odd}");
}

/// What is delivered could never be removed.
#[test]
fn a_bucket_with_an_object_lock_is_not_used() {
    let (minio, runtime) = (MinIo::shared(), runtime());
    let is_asked = |request: &Message| request.target().1.contains("object-lock");
    let locked =
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    let gate = Gate::start(
        minio.address(),
        move |request| match is_asked(request) {
            true => Verdict::Answer(Message {
                start: "HTTP/1.1 200 OK".to_owned(),
                headers: vec![("content-type".to_owned(), "application/xml".to_owned())],
                body: locked.into(),
            }),
            false => Verdict::Pass,
        },
        |_, _| {},
    );
    let store = client(&minio, &format!("http://{}", gate.address()), &runtime);
    let refused = store.check(true).unwrap_err();
    assert_eq!(refused.kind, ObjectErrorKind::Refused);
    assert!(refused.message.contains("it has an object lock"), "{refused}");
}

#[test]
fn keys_are_in_no_message() {
    let (minio, runtime) = (MinIo::shared(), runtime());
    let settings = Settings {
        endpoint: minio.url(),
        bucket: minio.bucket().to_owned(),
        region: "us-east-1".to_owned(),
        path_style: true,
        ca: None,
        keys: Some(Keys { access_key: "nobody-knows".into(), secret_key: "a-secret".into() }),
    };
    assert!(!format!("{settings:?}").contains("a-secret"));
    let store = S3::new(settings, runtime.handle().clone()).unwrap();
    let refused = store.get("a", 1).unwrap_err();
    assert!(refused.message.contains("see to access_key"), "{refused}");
    assert!(!refused.message.contains("a-secret") && !format!("{store:?}").contains("a-secret"), "{refused}");
}
