//! What goes and what stays, and that no spelling gets a value past it.

use super::*;

const KEY: [u8; 64] = [7; 64];

fn redactor(keep: &[&str]) -> Redactor {
    Redactor::new(KEY, keep.iter().map(|path| (*path).to_owned()).collect())
}

/// Characters by class, so that shapes can be compared.
fn shape(text: &str) -> String {
    let class = |c: char| match c {
        'a'..='z' => 'a',
        'A'..='Z' => 'A',
        '0'..='9' => '0',
        other => other,
    };
    text.chars().map(class).collect()
}

#[test]
fn values_go_and_the_shape_stays() {
    let text = r#"{"level":"WARN","user":{"name":"Alice Smith","id":4711},"ratio":-0.25,"ok":true,"none":null,"tags":["Red","b2"],"ts":1795341600.5}"#;
    let redacted = redactor(&[]).text(text);
    assert_eq!(shape(&redacted), shape(text));
    for gone in ["Alice", "Smith", "4711", "0.25", "Red", "b2"] {
        assert!(!redacted.contains(gone), "{gone}: {redacted}");
    }
    for kept in [r#""level":"WARN""#, r#""ok":true,"none":null"#, r#""ts":1795341600.5"#, r#""ratio":-0."#] {
        assert!(redacted.contains(kept), "{kept}: {redacted}");
    }
}

#[test]
fn the_same_value_has_the_same_placeholder_under_one_key_only() {
    let text = r#"{"a":"customer-17","b":["customer-17"],"c":"customer-18"}"#;
    let value: serde_json::Value = serde_json::from_str(&redactor(&[]).text(text)).unwrap();
    assert_eq!(value["a"], value["b"][0]);
    assert_ne!(value["a"], value["c"]);
    assert_eq!(redactor(&[]).text(text), redactor(&[]).text(text));
    assert_ne!(Redactor::new([8; 64], Vec::new()).text(text), redactor(&[]).text(text));
}

#[test]
fn what_says_how_and_when_stays() {
    for kept in [
        "error",
        "INFO",
        "stdout",
        "POST",
        "true",
        "",
        "2026-11-22T10:00:00.123456789Z",
        "2026-11-22 10:00:00,123",
    ] {
        assert_eq!(text::redact_value(&redactor(&[]), kept), kept);
    }
    for gone in ["1980-05-17", "errors", "Berlin", "10", "2026-11-22"] {
        assert_ne!(text::redact_value(&redactor(&[]), gone), gone);
    }
    for (text, same) in [
        (r#"{"level":30}"#, true),
        (r#"{"log":{"severity":5}}"#, true),
        (r#"{"level":4711}"#, false),
        (r#"{"time":1795341600123}"#, true),
        (r#"{"time":4711}"#, false),
        (r#"{"status":404}"#, false),
    ] {
        assert_eq!(redactor(&[]).text(text) == text, same, "{text}");
    }
}

#[test]
fn addresses_and_ids_stay_what_they_are() {
    let value = |text: &str| text::redact_value(&redactor(&[]), text);
    let address = value("203.0.113.9");
    assert!(address.starts_with("198.1") && address.parse::<std::net::Ipv4Addr>().is_ok(), "{address}");
    assert_eq!(value("127.0.0.1"), "127.0.0.1");
    let address = value("fe80::1:2");
    assert!(address.starts_with("2001:db8:") && address.parse::<std::net::Ipv6Addr>().is_ok(), "{address}");
    let uuid = "6d2f8c8a-0b1e-4f4e-9a55-2b7d0c9f1e33";
    let hidden = value(uuid);
    assert_ne!(hidden, uuid);
    assert!(hidden.chars().zip(uuid.chars()).all(|(one, other)| (one == '-') == (other == '-')), "{hidden}");
    assert!(
        hidden.chars().all(|c| c == '-' || (c.is_ascii_hexdigit() && !c.is_ascii_uppercase())),
        "{hidden}"
    );
    assert_eq!(shape(&value("a.smith+x@example.org")), "a.aaaaa+a@aaaaaaa.aaa");
    for text in ["Zoë 東京 𝒳 😀", "ÄÖ"] {
        assert_eq!(value(text).len(), text.len());
        assert_ne!(value(text), text);
    }
}

#[test]
fn numbers_stay_numbers() {
    for number in
        ["0", "-1", "12.50", "1e10", "-0.001", "1.5E-3", "18446744073709551615", "9223372036854775807"]
    {
        let redacted = text::redact_number(&redactor(&[]), number);
        assert_eq!(redacted.len(), number.len());
        let parsed: serde_json::Value = serde_json::from_str(&redacted).unwrap();
        assert_eq!(parsed.is_f64(), number.contains(['.', 'e', 'E']), "{number}: {redacted}");
    }
}

#[test]
fn no_spelling_gets_past_it() {
    let cases = [
        r#"{"name":"Alice","name":"Alice"}"#,
        r#"{"na\u006de":"\u0041lice"}"#,
        r#"{"a":[[{"b":["Alice"]}]]}"#,
        r#"{"a.b":"Alice"}"#,
        r#"{"Alice Smith":1}"#,
        r#"{"alice@example.org":1}"#,
        r#"{"inner":"{\"name\":\"Alice\"}"}"#,
        r#"{"a":"Alice\ud800"}"#,
        " {\"a\" : \"Alice\"} ",
        "[\"Alice\"]",
        "\"Alice\"",
        "{\"a\":\"Alice\"",
    ];
    for text in cases {
        let redacted = redactor(&[]).text(text);
        assert!(
            !redacted.to_lowercase().contains("alice") && !redacted.contains("0041lice"),
            "{text}: {redacted}"
        );
    }
    let deep = format!("{}\"Alice\"{}", "{\"a\":".repeat(300), "}".repeat(300));
    assert!(!redactor(&[]).text(&deep).contains("Alice"));
}

#[test]
fn paths_that_are_named_stay() {
    let text = r#"{"http":{"path":"/cart","code":404},"users":[{"id":"u1"}],"x.y":"kept","message":"hello"}"#;
    let redacted = redactor(&["http", "users.id", "x.y"]).text(text);
    for kept in [r#""http":{"path":"/cart","code":404}"#, r#"{"id":"u1"}"#, r#""x.y":"kept""#] {
        assert!(redacted.contains(kept), "{kept}: {redacted}");
    }
    assert!(!redacted.contains("hello"));
    assert!(!redactor(&["htt"]).text(text).contains("/cart"));
}

#[test]
fn lines_keep_what_parsers_look_at() {
    let line = r#"time=2026-11-22T10:00:00Z level=info msg="paid by \"Alice\" now" user=alice code=17 Alice"#;
    let redacted = redactor(&[]).text(line);
    for kept in ["time=2026-11-22T10:00:00Z level=info msg=\"", "\" user=", " code="] {
        assert!(redacted.contains(kept), "{kept}: {redacted}");
    }
    assert!(!redacted.to_lowercase().contains("alice") && !redacted.contains("17 "), "{redacted}");
    let keep = redactor(&["user"]).text(line);
    assert!(keep.contains("user=alice code="), "{keep}");

    let klog = "E1122 10:00:00.123456       7 server.go:42] \"Failed\" pod=\"shop/cart-1\"";
    let redacted = redactor(&[]).text(klog);
    assert!(redacted.starts_with("E1122 10:00:00.123456       "), "{redacted}");
    assert!(
        redacted.contains("] \"") && redacted.contains("pod=\"") && !redacted.contains("shop"),
        "{redacted}"
    );
    assert_eq!(shape(&redacted), shape(klog));

    let plain = "2026-11-22 10:00:00.123 [ERROR] Payment of Alice failed";
    let redacted = redactor(&[]).text(plain);
    assert!(redacted.starts_with("2026-11-22 10:00:00.123 [ERROR] "), "{redacted}");
    assert_eq!(shape(&redacted), shape(plain));
    assert!(!redacted.contains("Alice") && !redacted.contains("Payment"), "{redacted}");
    assert_eq!(redactor(&["message"]).text(plain), plain);
}

#[test]
fn attributes_go_but_those_of_the_agent() {
    let attributes = [("source", "pods"), ("stream", "stdout"), ("namespace", "shop-eu"), ("pod", "cart-0")];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let event = Event { text: "{}".into(), attributes, time: Some(5) };
    let redacted = redactor(&["attributes.pod"]).event(&event);
    assert_eq!((redacted.time, redacted.text.as_str()), (Some(5), "{}"));
    assert_eq!(redacted.attributes["source"], "pods");
    assert_eq!(redacted.attributes["stream"], "stdout");
    assert_eq!(redacted.attributes["pod"], "cart-0");
    assert_ne!(redacted.attributes["namespace"], "shop-eu");
    assert_eq!(shape(&redacted.attributes["namespace"]), "aaaa-aa");
}
