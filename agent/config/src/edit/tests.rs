//! Promotions of shadows in texts as people write them.

use super::*;

const DIGEST: &str = "oci://registry.example/team-a/sampler:1.5.0@sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn edit(text: &str, artifact: NewArtifact<'_>) -> Result<String, EditError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    fs::write(&file, text).unwrap();
    promote(&file, "sampler", artifact).map(|edited| {
        assert_eq!((edited.before.as_str(), edited.is_mounted), (text, false));
        edited.after
    })
}

/// Each text, and what is left of it.
#[test]
fn nothing_changes_but_what_is_meant() {
    let reference = |text: &str| text.replace("NEW", DIGEST);
    let cases = [
        // A block, with comments everywhere.
        (
            "\
# Ours.
plugins:
  other: {artifact: file:o.wasm, shadow: file:o2.wasm}
  # The sampler.
  sampler:
    # Released in May.
    artifact: oci://registry.example/team-a/sampler:1.4.2 # stable
    config: {rates: {debug: 0}}   # drop debug
    # The candidate.
    shadow: oci://registry.example/team-a/sampler:1.5.0   # since Monday
    shadow_share: 10%

    on_error: pass
pipelines: {}
",
            "\
# Ours.
plugins:
  other: {artifact: file:o.wasm, shadow: file:o2.wasm}
  # The sampler.
  sampler:
    # Released in May.
    artifact: NEW # stable
    config: {rates: {debug: 0}}   # drop debug
    # The candidate.

    on_error: pass
pipelines: {}
",
        ),
        // The shadow in front, quotes, no newline at the end.
        (
            "plugins:\n  sampler:\n    shadow: 'oci://r.example/s:2'\n    artifact: \"oci://r.example/s:1\"",
            "plugins:\n  sampler:\n    artifact: 'NEW'",
        ),
        ("plugins:\n  sampler:\n    artifact: a\n    shadow: b", "plugins:\n  sampler:\n    artifact: NEW\n"),
        // Braces.
        ("plugins: {sampler: {artifact: a, shadow: b}}\n", "plugins: {sampler: {artifact: NEW}}\n"),
        ("plugins: {sampler: {shadow: b, artifact: a}}\n", "plugins: {sampler: {artifact: NEW}}\n"),
        (
            "plugins: {sampler: {artifact: a, shadow: \"b\" , shadow_share: 1% , on_error: pass}, x: {artifact: y}}\n",
            "plugins: {sampler: {artifact: \"NEW\", on_error: pass}, x: {artifact: y}}\n",
        ),
        (
            "plugins:\n  sampler: {artifact: a,  # one\n            shadow: b,  # two\n            shadow_share: 5%}  # three\n",
            "plugins:\n  sampler: {artifact: NEW,  # one\n              # two\n            }  # three\n",
        ),
        (
            "plugins:\n  sampler: {\n    artifact: a,\n    shadow: b,\n    config: {x: [1, 2]},\n  }\n",
            "plugins:\n  sampler: {\n    artifact: NEW,\n    config: {x: [1, 2]},\n  }\n",
        ),
        // Windows' line ends, a byte order mark, other scripts.
        (
            "\u{feff}# 샘플러\r\nplugins:\r\n  sampler:\r\n    artifact: a\r\n    shadow: b\r\n    config: {x: ü}\r\n",
            "\u{feff}# 샘플러\r\nplugins:\r\n  sampler:\r\n    artifact: NEW\r\n    config: {x: ü}\r\n",
        ),
        // A tag that is followed is followed no more: a digest never changes.
        (
            "plugins:\n  sampler: {artifact: a, poll: 5m, shadow: b, config: {shadow: c, artifact: d}}\n",
            "plugins:\n  sampler: {artifact: NEW, config: {shadow: c, artifact: d}}\n",
        ),
    ];
    for (before, after) in cases {
        match edit(before, NewArtifact::Reference(DIGEST)) {
            Ok(found) => assert_eq!(found, reference(after), "{before}"),
            Err(error) => panic!("{error}\n{before}"),
        }
    }
}

#[test]
fn a_file_is_taken_as_it_is_written() {
    let before = "plugins:\n  sampler: {artifact: file:a.wasm, shadow: 'file:my plugins/b,c.wasm'}\n";
    let after = "plugins:\n  sampler: {artifact: 'file:my plugins/b,c.wasm'}\n";
    assert_eq!(edit(before, NewArtifact::Shadow), Ok(after.to_owned()));
    // Its quotes are escapes.
    let before = "plugins:\n  sampler: {artifact: file:a.wasm, shadow: \"file:\\x62.wasm\"}\n";
    assert_eq!(
        edit(before, NewArtifact::Shadow),
        Ok("plugins:\n  sampler: {artifact: \"file:b.wasm\"}\n".to_owned())
    );
}

/// What is not understood stays as it is, and somebody is told what to do.
#[test]
fn what_is_written_in_another_way_is_left_alone() {
    let cases = [
        "plugins:\n  sampler:\n    artifact: a\n    shadow: >-\n      b\n",
        "plugins:\n  sampler:\n    ? artifact\n    : a\n    ? shadow\n    : b\n",
        "x: &s b\nplugins:\n  sampler: {artifact: a, shadow: *s}\n",
        "plugins:\n  sampler: {artifact: a, # why\n    # because\n    shadow: &x b, config: {y: *x}}\n",
    ];
    for before in cases {
        match edit(before, NewArtifact::Reference(DIGEST)) {
            Err(EditError::Unusual { artifact, removed, .. }) => {
                assert_eq!((artifact.as_str(), removed.as_slice()), (DIGEST, &["shadow".to_owned()][..]));
            }
            // The long form has its key and its value apart: what is left must still be what was meant.
            other => panic!("{other:?}\n{before}"),
        }
    }
    for (before, key) in [("plugins: {}\n", ARTIFACT), ("plugins: {sampler: {artifact: a}}\n", SHADOW)] {
        let missing = EditError::Missing { plugin: "sampler".to_owned(), key };
        assert_eq!(edit(before, NewArtifact::Shadow), Err(missing), "{before}");
    }
}

/// In a folder, the file that has the plugin is the one that changes; a mounted one is told.
#[test]
fn of_a_folder_one_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("..2026");
    fs::create_dir(&snapshot).unwrap();
    std::os::unix::fs::symlink("..2026", folder.path().join("..data")).unwrap();
    fs::write(snapshot.join("a.yaml"), "cluster: c\n").unwrap();
    fs::write(snapshot.join("b.yaml"), "plugins: {sampler: {artifact: file:a, shadow: file:b}}\n").unwrap();
    let edited = promote(folder.path(), "sampler", NewArtifact::Shadow).unwrap();
    assert!(edited.is_mounted && edited.name.ends_with("/b.yaml"), "{edited:?}");
    assert_eq!(edited.after, "plugins: {sampler: {artifact: file:b}}\n");
    assert_eq!(edited.file, snapshot.join("b.yaml").canonicalize().unwrap());
    assert_eq!(edited.removed, ["shadow"]);
}
