//! Plugins from a real registry, signed by the real cosign: what is taken, what is refused and how it is told, and what
//! happens while the registry is down. docs/REGISTRIES.md says the same in words.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use integration_tests::registry_node::{OTHER_PLUGIN, PLUGIN, configure, node_with, push, verified_by, weir};
use integration_tests::{
    Authority, Ended, FaultProxy, Gate, KeyPair, Message, Node, Registry, SignatureLayout, Verdict, plugin,
};
use serde_json::{Value, json};

static CRANE: LazyLock<Registry> = LazyLock::new(Registry::of_crane);
static REFERRERS: LazyLock<Registry> = LazyLock::new(Registry::with_referrers);
static KEYS: LazyLock<KeyPair> = LazyLock::new(|| CRANE.generate_keys());
static OTHER_KEYS: LazyLock<KeyPair> = LazyLock::new(|| CRANE.generate_keys());

/// It runs, and the event comes through.
#[track_caller]
fn runs(node: &Node) -> Ended {
    let _ = fs::remove_dir_all(node.path("data/checkpoints"));
    node.run_once_well()
}

/// It does not start, and says all of this.
#[track_caller]
fn refuses(node: &Node, said: &[&str]) {
    let ended = node.run_once();
    assert_eq!(ended.code, Some(1), "{ended}");
    for part in said {
        assert!(ended.log.contains(part), "{part:?} is not in\n{ended}");
    }
    assert!(!node.path("out.ndjson").is_file(), "something was read");
}

// === pushing and signing ===

fn signature_tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

/// As `docker login` writes it, and as a pull secret holds it.
fn docker_config(node: &Node, registry: &str, entry: Value) {
    node.write("pull-secret.json", json!({"auths": {registry: entry}}).to_string());
}

fn with_auth(registry: &str) -> String {
    format!("registries:\n  '{registry}': {{auth: {{file: pull-secret.json}}}}\n")
}

// === what is taken ===

#[test]
fn what_weir_pushes_crane_pulls() {
    let node = Node::new();
    let digest = push(&CRANE, "to-crane", "1.0.0", PLUGIN);
    let repository = CRANE.repository("to-crane");
    let tagged = format!("{repository}:1.0.0");
    let printed = CRANE.crane(&["digest", "--insecure", &tagged]);
    assert_eq!(String::from_utf8(printed).unwrap().trim(), digest);
    let manifest: Value = serde_json::from_slice(&CRANE.crane(&["manifest", "--insecure", &tagged])).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    let layer = format!("{repository}@{}", manifest["layers"][0]["digest"].as_str().unwrap());
    let component = fs::read(plugin(PLUGIN)).unwrap();
    assert!(CRANE.crane(&["blob", "--insecure", &layer]) == component, "crane got other bytes");
    let config: Value = serde_json::from_slice(&CRANE.crane(&["config", "--insecure", &tagged])).unwrap();
    assert_eq!((&config["os"], &config["architecture"]), (&json!("wasip2"), &json!("wasm")));
    assert!(config["component"]["exports"].to_string().contains("weir:plugin/"), "{config}");
    // By tag, by digest, and by both.
    for version in [":1.0.0", &format!("@{digest}"), &format!(":1.0.0@{digest}")] {
        let pulled =
            weir(&node, &["plugin", "pull", &format!("oci://{repository}{version}"), "-o", "out.wasm"]);
        assert_eq!(pulled["digest"], json!(digest));
        assert!(fs::read(node.path("out.wasm")).unwrap() == component, "weir got other bytes");
    }
    // The same component is the same artefact, whenever it is pushed.
    assert_eq!(push(&CRANE, "to-crane", "again", PLUGIN), digest);
}

#[test]
fn what_crane_pushes_weir_pulls_and_runs() {
    let component = fs::read(plugin(PLUGIN)).unwrap();
    let digest = CRANE.push_by_crane("by-crane:1", &component);
    let reference = format!("oci://{}:1", CRANE.repository("by-crane"));
    let node = node_with(&reference, "", "");
    let pulled = weir(&node, &["plugin", "pull", &reference, "-o", "out.wasm"]);
    assert_eq!(pulled["digest"], json!(digest));
    assert!(fs::read(node.path("out.wasm")).unwrap() == component, "weir got other bytes");
    let ended = runs(&node);
    assert!(ended.log.contains(&digest), "{ended}");
    assert_eq!(fs::read_to_string(node.path("out.ndjson")).unwrap().lines().count(), 1);
}

#[test]
fn signatures_of_cosign_are_found_wherever_they_are() {
    use SignatureLayout::{Bundle, Tag};
    let ed25519 = CRANE.generate_ed25519_keys();
    let cases: [(&Registry, &str, &KeyPair, SignatureLayout); 5] = [
        (&CRANE, "tag", &KEYS, Tag),
        (&CRANE, "fallback", &KEYS, Bundle),
        (&REFERRERS, "referrers", &KEYS, Bundle),
        (&CRANE, "tag-ed25519", &ed25519, Tag),
        (&REFERRERS, "referrers-ed25519", &ed25519, Bundle),
    ];
    for (registry, name, keys, layout) in cases {
        let name = format!("signed/{name}");
        let digest = push(registry, &name, "1", PLUGIN);
        registry.sign(&name, &digest, keys, layout);
        let reference = format!("oci://{}:1", registry.repository(&name));
        let key = keys.public();
        let verified = weir(&Node::new(), &["plugin", "verify", &reference, "--key", key.to_str().unwrap()]);
        assert_eq!((&verified["verified"], &verified["digest"]), (&json!(true), &json!(digest)), "{name}");
        let fingerprint = verified["key"].as_str().unwrap();
        assert!(fingerprint.starts_with("sha256:"), "{fingerprint}");
        let ended = runs(&node_with(&reference, &verified_by(&key), ""));
        assert!(ended.log.contains(&digest) && ended.log.contains(fingerprint), "{ended}");
        // Another key is none, wherever the signature lies.
        let other = OTHER_KEYS.public();
        let refused = Node::new().weir(&["plugin", "verify", &reference, "--key", other.to_str().unwrap()]);
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(refused.log.contains("none of its 1 signatures is good"), "{refused}");
    }
}

#[test]
fn one_good_signature_and_one_good_key_are_enough() {
    let digest = push(&CRANE, "several", "1", PLUGIN);
    for keys in [&OTHER_KEYS, &KEYS] {
        CRANE.sign("several", &digest, keys, SignatureLayout::Tag);
    }
    let reference = format!("oci://{}:1", CRANE.repository("several"));
    runs(&node_with(&reference, &verified_by(&KEYS.public()), ""));
    let third = CRANE.generate_keys();
    let both = [&third, &KEYS].map(|keys| fs::read_to_string(keys.public()).unwrap()).concat();
    let node = node_with(&reference, ", verify: {key: {file: keys.pub}}", "");
    node.write("keys.pub", both);
    runs(&node);
    refuses(
        &node_with(&reference, &verified_by(&third.public()), ""),
        &["plugins.p.verify", "none of its 2 signatures is good", "not by any of the given keys"],
    );
}

#[test]
fn a_policy_holds_for_a_prefix_and_a_plugins_own_goes_before_it() {
    let digest = push(&CRANE, "policy/a/plugin", "1", PLUGIN);
    CRANE.sign("policy/a/plugin", &digest, &KEYS, SignatureLayout::Tag);
    let reference = format!("oci://{}:1", CRANE.repository("policy/a/plugin"));
    let policy = |prefix: &str, keys: &KeyPair| {
        let (prefix, key) = (CRANE.repository(prefix), keys.public());
        format!("  '{prefix}': {{verify: {{key: {{file: '{}'}}}}}}\n", key.display())
    };
    let wide_other = format!("registries:\n{}", policy("policy", &OTHER_KEYS));
    refuses(
        &node_with(&reference, "", &wide_other),
        &["plugins.p.artifact", "none of its 1 signatures is good"],
    );
    runs(&node_with(&reference, "", &format!("{wide_other}{}", policy("policy/a", &KEYS))));
    runs(&node_with(&reference, &verified_by(&KEYS.public()), &wide_other));
    runs(&node_with(&reference, "", &format!("registries:\n{}", policy("policy/b", &OTHER_KEYS))));
}

// === what is refused ===

#[test]
fn what_nobody_signed_is_refused() {
    push(&CRANE, "unsigned", "1", PLUGIN);
    let reference = format!("oci://{}:1", CRANE.repository("unsigned"));
    let node = node_with(&reference, &verified_by(&KEYS.public()), "");
    refuses(&node, &["plugins.p.verify", "it is not signed", "sha256-"]);
    let key = KEYS.public();
    let verified =
        node.weir(&["plugin", "verify", &reference, "--key", key.to_str().unwrap(), "--output", "json"]);
    assert_eq!(verified.code, Some(1), "{verified}");
    let verified: Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!(verified["verified"], false);
    assert!(!node.path("data/plugins/artifacts/tags").read_dir().unwrap().any(|_| true), "it is remembered");
}

#[test]
fn a_signature_of_another_artefact_is_none() {
    use SignatureLayout::{Bundle, Tag};
    let key = KEYS.public();
    let (signed, other) = (push(&CRANE, "moved", "1", PLUGIN), push(&CRANE, "moved", "2", OTHER_PLUGIN));
    let repository = CRANE.repository("moved");
    CRANE.sign("moved", &signed, &KEYS, Tag);
    let from = format!("{repository}:{}", signature_tag(&signed));
    CRANE.crane(&["tag", "--insecure", &from, &signature_tag(&other)]);
    let node = node_with(&format!("oci://{repository}:2"), &verified_by(&key), "");
    refuses(&node, &["plugins.p.verify", "it is of another artefact", &signed]);

    let (signed, other) =
        (push(&CRANE, "moved-bundle", "1", PLUGIN), push(&CRANE, "moved-bundle", "2", OTHER_PLUGIN));
    let repository = CRANE.repository("moved-bundle");
    CRANE.sign("moved-bundle", &signed, &KEYS, Bundle);
    let tag = |digest: &str| digest.replace(':', "-");
    // crane tags images; an index is tagged by hand.
    let index = CRANE.crane(&["manifest", "--insecure", &format!("{repository}:{}", tag(&signed))]);
    let kind = "application/vnd.oci.image.index.v1+json";
    let path = format!("/v2/{}/manifests/{}", Registry::name("moved-bundle"), tag(&other));
    assert_eq!(integration_tests::put(CRANE.socket(), &path, kind, &index), 201);
    let node = node_with(&format!("oci://{repository}:2"), &verified_by(&key), "");
    refuses(&node, &["plugins.p.verify", "it is of another artefact", &signed]);
}

/// Whoever sits between the agent and the registry cannot change a byte.
#[test]
fn what_is_altered_on_the_way_is_refused() {
    let digest = push(&CRANE, "altered", "1", PLUGIN);
    CRANE.sign("altered", &digest, &KEYS, SignatureLayout::Tag);
    for (path, said) in [("/blobs/", "blob "), ("/manifests/", "manifest ")] {
        let alter = move |request: &Message, answer: &mut Message| {
            let is_it = request.target().1.contains(path) && !request.target().1.ends_with(".sig");
            if let Some(byte) = answer.body.last_mut().filter(|_| is_it) {
                *byte ^= 1;
            }
        };
        let gate = Gate::start(CRANE.socket(), |_| Verdict::Pass, alter);
        let reference = format!("oci://{}/{}@{digest}", gate.address(), Registry::name("altered"));
        refuses(
            &node_with(&reference, "", ""),
            &["plugins.p.artifact", said, "is not what was asked for", "wanted"],
        );
        let node = Node::new();
        let pulled = node.weir(&["plugin", "pull", &reference, "-o", "out.wasm"]);
        assert_eq!(pulled.code, Some(1), "{pulled}");
        assert!(!node.path("out.wasm").is_file(), "something was written");
    }
    // A manifest that was altered and is asked for by its tag has another digest, which nobody signed.
    let alter = |request: &Message, answer: &mut Message| {
        if request.target().1.ends_with("/manifests/1") {
            answer.body.push(b' ');
        }
    };
    let gate = Gate::start(CRANE.socket(), |_| Verdict::Pass, alter);
    let reference = format!("oci://{}/{}:1", gate.address(), Registry::name("altered"));
    refuses(
        &node_with(&reference, &verified_by(&KEYS.public()), ""),
        &["plugins.p.verify", "it is not signed"],
    );
}

#[test]
fn what_is_no_plugin_or_not_there_is_refused() {
    let reference = |name: &str| format!("oci://{}", CRANE.repository(name));
    push(&CRANE, "kinds", "1", PLUGIN);
    refuses(&node_with(&reference("kinds:2"), "", ""), &["plugins.p.artifact", "/kinds:2"]);
    let nowhere = format!("kinds@sha256:{}", "0".repeat(64));
    refuses(
        &node_with(&reference(&nowhere), "", ""),
        &["plugins.p.artifact", "has no manifest", "/kinds@sha256:0"],
    );
    let node = Node::new();
    let text = node.write("text.txt", "text");
    let archive = node.path("text.tar");
    let mut tar = std::process::Command::new("tar");
    tar.arg("-cf").arg(&archive).arg("-C").arg(node.path("")).arg(text.file_name().unwrap());
    assert!(tar.status().unwrap().success());
    let image = CRANE.repository("kinds:image");
    CRANE.crane(&["append", "--insecure", "-f", archive.to_str().unwrap(), "-t", &image]);
    refuses(&node_with(&reference("kinds:image"), "", ""), &["it is no plugin", "application/wasm", "tar"]);
    let pushed = node.weir(&["plugin", "push", "text.txt", &reference("kinds:text")]);
    assert_eq!(pushed.code, Some(1), "{pushed}");
    assert!(pushed.log.contains("text.txt is no plugin"), "{pushed}");
    let malformed = node.weir(&["plugin", "pull", "registry.example/a:1", "-o", "x"]);
    assert_eq!(malformed.code, Some(2), "{malformed}");
}

#[test]
fn what_is_too_long_is_not_read_to_its_end() {
    push(&CRANE, "long", "1", PLUGIN);
    let alter = |request: &Message, answer: &mut Message| {
        if request.target().1.ends_with("/manifests/1") {
            answer.body = vec![b' '; 2 << 20];
        }
    };
    let gate = Gate::start(CRANE.socket(), |_| Verdict::Pass, alter);
    let reference = format!("oci://{}/{}:1", gate.address(), Registry::name("long"));
    refuses(&node_with(&reference, "", ""), &["plugins.p.artifact", "is larger than 1048576 bytes"]);
}

// === who asks ===

/// A registry that asks for a name and a password.
fn asking_for_password(request: &Message) -> Verdict {
    let wanted = format!("Basic {}", STANDARD.encode("agent:right"));
    match request.header("authorization") {
        Some(given) if given == wanted => Verdict::Pass,
        _ => unauthorised("Basic realm=\"registry\""),
    }
}

fn unauthorised(challenge: &str) -> Verdict {
    let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
    let mut answer = Message::answer(401, "Unauthorized", body.to_string());
    answer.headers.push(("www-authenticate".to_owned(), challenge.to_owned()));
    Verdict::Answer(answer)
}

#[test]
fn a_password_is_given_where_it_is_asked_for() {
    push(&CRANE, "private", "1", PLUGIN);
    let gate = Gate::start(CRANE.socket(), asking_for_password, |_, _| {});
    let registry = gate.address();
    let reference = format!("oci://{registry}/{}:1", Registry::name("private"));
    let node = node_with(&reference, "", &with_auth(&registry));
    docker_config(&node, &registry, json!({"auth": STANDARD.encode("agent:right")}));
    runs(&node);
    // By the command too, for pushing as well.
    let file = plugin(PLUGIN);
    let target = format!("oci://{registry}/{}:2", Registry::name("private"));
    weir(
        &node,
        &["plugin", "push", file.to_str().unwrap(), &target, "--registry-config", "pull-secret.json"],
    );

    let node = node_with(&reference, "", &with_auth(&registry));
    docker_config(&node, &registry, json!({"username": "agent", "password": "wrong-secret"}));
    refuses(
        &node,
        &["plugins.p.artifact", "refuses the user \"agent\" (401: authentication required)", "expired"],
    );
    assert!(!node.run_once().log.contains("wrong-secret"), "the password is told");

    refuses(
        &node_with(&reference, "", ""),
        &["refuses nobody in particular (401", "give credentials for it"],
    );

    let node = node_with(&reference, "", &with_auth(&registry));
    node.write("pull-secret.json", json!({"credHelpers": {&registry: "ecr-login"}}).to_string());
    refuses(&node, &["docker-credential-ecr-login, which is not run"]);
}

#[test]
fn a_token_is_fetched_and_an_expired_one_is_told() {
    push(&CRANE, "tokens", "1", PLUGIN);
    // The registry and its token service are one; it takes the token `good` alone.
    let judge = |request: &Message| {
        let host = request.header("host").unwrap_or_default().to_owned();
        let (method, target) = request.target();
        if target.starts_with("/token") {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let scope = Registry::name("tokens").replace('/', "%2F");
            let scope = &format!("scope=repository%3A{scope}%3Apull");
            let by_password =
                request.header("authorization") == Some(&format!("Basic {}", STANDARD.encode("a:b")));
            let is_good = match method {
                "GET" => by_password && target.contains(scope) && target.contains("service=test"),
                _ => body.contains("refresh_token=fresh") && body.contains(scope),
            };
            return Verdict::Answer(match is_good {
                true => Message::answer(200, "OK", json!({"token": "good", "expires_in": 60}).to_string()),
                false => Message::answer(401, "Unauthorized", "{}"),
            });
        }
        match request.header("authorization") {
            Some("Bearer good") => Verdict::Pass,
            _ => unauthorised(&format!("Bearer realm=\"http://{host}/token\",service=\"test\"")),
        }
    };
    let gate = Gate::start(CRANE.socket(), judge, |_, _| {});
    let registry = gate.address();
    let reference = format!("oci://{registry}/{}:1", Registry::name("tokens"));
    for entry in [
        json!({"username": "a", "password": "b"}),
        json!({"identitytoken": "fresh"}),
        json!({"registrytoken": "good"}),
    ] {
        let node = node_with(&reference, "", &with_auth(&registry));
        docker_config(&node, &registry, entry);
        runs(&node);
    }
    for (entry, who) in [
        (json!({"identitytoken": "expired-secret"}), "the holder of an identity token"),
        (json!({"registrytoken": "expired-secret"}), "the holder of a registry token"),
        (json!({"username": "a", "password": "expired-secret"}), "the user \"a\""),
    ] {
        let node = node_with(&reference, "", &with_auth(&registry));
        docker_config(&node, &registry, entry);
        refuses(&node, &["plugins.p.artifact", &format!("refuses {who} (401"), "have not expired"]);
        assert!(!node.run_once().log.contains("expired-secret"), "the token is told");
    }
    // What was had before is used while the token is expired.
    let node = node_with(&reference, "", &with_auth(&registry));
    docker_config(&node, &registry, json!({"registrytoken": "good"}));
    runs(&node);
    docker_config(&node, &registry, json!({"registrytoken": "expired"}));
    let ended = runs(&node);
    assert!(ended.log.contains("taking what it stood for last"), "{ended}");
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_given() {
    push(&CRANE, "tls", "1", PLUGIN);
    let authority = Authority::new();
    let proxy = FaultProxy::with_certificate(0, CRANE.socket(), &authority.valid());
    let registry = format!("127.0.0.1:{}", proxy.port());
    let reference = format!("oci://{registry}/{}:1", Registry::name("tls"));
    let top = format!("registries:\n  '{registry}': {{ca: {{file: ca.pem}}}}\n");
    let with_ca = |pem: &str| {
        let node = Node::with_compiled(&[PLUGIN]);
        node.write("ca.pem", pem);
        configure(&node, &reference, "", &top);
        node
    };
    runs(&with_ca(&authority.pem));
    refuses(&with_ca(&Authority::new().pem), &["plugins.p.artifact", "does not answer", "certificate"]);
    refuses(&with_ca("no certificate"), &["plugins.p.artifact", "ca holds no certificate"]);
    // Without it, plain HTTP is spoken on this machine, which the other side does not understand.
    refuses(&node_with(&reference, "", ""), &["plugins.p.artifact"]);
}

// === while the registry is down ===

#[test]
fn a_start_needs_no_registry_for_what_is_in_the_cache() {
    let digest = push(&CRANE, "down", "1", PLUGIN);
    CRANE.sign("down", &digest, &KEYS, SignatureLayout::Tag);
    let gate = Gate::open(CRANE.socket());
    let address = gate.address();
    let name = Registry::name("down");
    let (by_tag, by_digest) =
        (format!("oci://{address}/{name}:1"), format!("oci://{address}/{name}@{digest}"));
    let verified = verified_by(&KEYS.public());
    let [tagged, pinned, fresh] =
        [&by_tag, &by_digest, &by_tag].map(|artifact| node_with(artifact, &verified, ""));
    let ended = runs(&tagged);
    assert!(ended.log.contains("from=\"registry\""), "{ended}");
    runs(&pinned);
    let before = gate.requests();
    let ended = runs(&pinned);
    assert!(ended.log.contains("from=\"cache\""), "{ended}");
    assert_eq!(gate.requests(), before, "what is pinned and cached was asked for");
    gate.close();
    runs(&pinned);
    let ended = runs(&tagged);
    for part in ["taking what it stood for last", "does not answer", &digest] {
        assert!(ended.log.contains(part), "{part:?} is not in\n{ended}");
    }
    refuses(&fresh, &["plugins.p.artifact", "does not answer", "not in the cache"]);
    // The signature is held against the keys of now.
    let _ = fs::remove_file(pinned.path("out.ndjson"));
    configure(&pinned, &by_digest, &verified_by(&OTHER_KEYS.public()), "");
    refuses(&pinned, &["plugins.p.verify", "its signatures cannot be had", "does not answer"]);
}

#[test]
fn a_damaged_cache_is_fetched_again() {
    let digest = push(&CRANE, "damaged", "1", PLUGIN);
    CRANE.sign("damaged", &digest, &KEYS, SignatureLayout::Bundle);
    let gate = Gate::open(CRANE.socket());
    let reference = format!("oci://{}/{}@{digest}", gate.address(), Registry::name("damaged"));
    let node = node_with(&reference, &verified_by(&KEYS.public()), "");
    runs(&node);
    let files = |part: &str| {
        let folder = node.path("data/plugins/artifacts").join(part);
        let found: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!found.is_empty(), "{part}");
        found
    };
    for part in ["blobs", "signatures"] {
        for file in files(part) {
            let mut bytes = fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&file, bytes).unwrap();
        }
    }
    let ended = runs(&node);
    assert!(ended.log.contains("a cached artefact is damaged"), "{ended}");
    gate.close();
    runs(&node);
}

// === tags that move ===

#[test]
fn a_tag_stands_for_what_it_is_at_the_start() {
    let first = push(&CRANE, "moving", "1", PLUGIN);
    let gate = Gate::open(CRANE.socket());
    let reference = format!("oci://{}/{}:1", gate.address(), Registry::name("moving"));
    let node = node_with(&reference, "", "");
    assert!(runs(&node).log.contains(&first));
    let second = push(&CRANE, "moving", "1", OTHER_PLUGIN);
    assert_ne!(first, second);
    assert!(runs(&node).log.contains(&second));
    gate.close();
    let ended = runs(&node);
    assert!(ended.log.contains(&second) && !ended.log.contains(&first), "{ended}");
}
