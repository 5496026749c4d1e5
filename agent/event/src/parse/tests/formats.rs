//! Lines as programs write them.

use super::*;

/// A line that `auto` recognises, and gives the members that `parser` does.
fn check_recognised(parser: &Parser, text: &str, expected: &[(&str, &str)]) {
    check(parser, text, expected);
    check(&Parser::Auto, text, expected);
}

#[test]
fn logfmt_of_real_programs_is_recognised() {
    for (text, expected) in [
        // Prometheus, by slog.
        (
            r#"time=2026-11-22T10:57:23.202Z level=INFO source=main.go:803 msg="Starting Prometheus Server" mode=server version="(version=, branch=, revision=unknown)""#,
            &[
                ("time", "2026-11-22T10:57:23.202Z"),
                ("level", "INFO"),
                ("source", "main.go:803"),
                ("msg", "Starting Prometheus Server"),
                ("mode", "server"),
                ("version", "(version=, branch=, revision=unknown)"),
            ][..],
        ),
        // Thanos, by go-kit, with keys twice: the last holds.
        (
            r#"ts=2026-11-22T10:59:51.404414571Z caller=handler.go:87 level=info component=receive component=multi-tsdb tenant=team-b caller=head.go:848 time=2026-11-22T10:59:51.40440726Z msg="WAL segment loaded" segment=0 maxSegment=0 duration=104.996µs"#,
            &[
                ("ts", "2026-11-22T10:59:51.404414571Z"),
                ("caller", "head.go:848"),
                ("level", "info"),
                ("component", "multi-tsdb"),
                ("tenant", "team-b"),
                ("time", "2026-11-22T10:59:51.40440726Z"),
                ("msg", "WAL segment loaded"),
                ("segment", "0"),
                ("maxSegment", "0"),
                ("duration", "104.996µs"),
            ],
        ),
        // The registry, by logrus.
        (
            r#"time="2026-11-22T10:58:25.071933689Z" level=error msg="response completed with error" err.detail="unknown tag=v1" err.message="manifest unknown" http.request.useragent="crane/v0.22.1 go-containerregistry/v0.22.1" http.response.contenttype="application/json; charset=utf-8" http.response.status=404 vars.name=cfg/bundle"#,
            &[
                ("time", "2026-11-22T10:58:25.071933689Z"),
                ("level", "error"),
                ("msg", "response completed with error"),
                ("err.detail", "unknown tag=v1"),
                ("err.message", "manifest unknown"),
                ("http.request.useragent", "crane/v0.22.1 go-containerregistry/v0.22.1"),
                ("http.response.contenttype", "application/json; charset=utf-8"),
                ("http.response.status", "404"),
                ("vars.name", "cfg/bundle"),
            ],
        ),
        (
            r#"level=error msg="http: panic serving: \"boom\"\n\tC:\\x \u00e9\ud83d\ude00\x1b[0m" err=null"#,
            &[
                ("level", "error"),
                ("msg", "http: panic serving: \"boom\"\n\tC:\\x é😀\u{1b}[0m"),
                ("err", "null"),
            ],
        ),
        // No level, message or time, but nothing else either.
        (
            r#"at=info method=GET path="/" status=200"#,
            &[("at", "info"), ("method", "GET"), ("path", "/"), ("status", "200")],
        ),
        ("level=warn msg=slow and more", &[("level", "warn"), ("msg", "slow")]),
        (
            "level=warn empty= quoted=\"\" msg=x\r",
            &[("level", "warn"), ("empty", ""), ("quoted", ""), ("msg", "x")],
        ),
    ] {
        check_recognised(&Parser::Logfmt, text, expected);
    }
}

#[test]
fn klog_is_recognised() {
    for (text, expected) in [
        (
            "I1122 11:04:24.943689    6111 server.go:150] Version: v1.36.3",
            &[("level", "info"), ("thread", "6111"), ("source", "server.go:150")][..],
        ),
        (
            "W1122 11:04:25.293210    6111 genericapiserver.go:798] Skipping API authorization.k8s.io/v1beta1 because it has no resources.",
            &[("level", "warn"), ("thread", "6111"), ("source", "genericapiserver.go:798")],
        ),
        (
            r#"I1122 11:04:24.943740    6111 server.go:152] "Golang settings" GOGC="" GOMAXPROCS="" GOTRACEBACK="""#,
            &[
                ("level", "info"),
                ("thread", "6111"),
                ("source", "server.go:152"),
                ("msg", "Golang settings"),
                ("GOGC", ""),
                ("GOMAXPROCS", ""),
                ("GOTRACEBACK", ""),
            ],
        ),
        (
            r#"E1122 11:04:26.091579    6111 controller.go:201] "Failed to ensure lease exists, will retry" err="namespaces \"kube-system\" not found" interval="200ms""#,
            &[
                ("level", "error"),
                ("thread", "6111"),
                ("source", "controller.go:201"),
                ("msg", "Failed to ensure lease exists, will retry"),
                ("err", "namespaces \"kube-system\" not found"),
                ("interval", "200ms"),
            ],
        ),
        (
            r#"I1122 11:04:27.261905    6111 alloc.go:329] "allocated clusterIPs" service="default/kubernetes" clusterIPs={"IPv4":"10.0.0.1"}"#,
            &[
                ("level", "info"),
                ("thread", "6111"),
                ("source", "alloc.go:329"),
                ("msg", "allocated clusterIPs"),
                ("service", "default/kubernetes"),
                ("clusterIPs", r#"{"IPv4":"10.0.0.1"}"#),
            ],
        ),
        (
            r#"I1122 11:04:26.057152 6111 a/b_c.go:1] "m" a=[{"k":"v ]} \" w"},[1]] b=[]open c=3"#,
            &[
                ("level", "info"),
                ("thread", "6111"),
                ("source", "a/b_c.go:1"),
                ("msg", "m"),
                ("a", r#"[{"k":"v ]} \" w"},[1]]"#),
                ("b", "[]open"),
                ("c", "3"),
            ],
        ),
        (
            r#"I1122 11:04:26.057152 1 b.go:1] "m" a=[open b=[1, 2]"#,
            &[
                ("level", "info"),
                ("thread", "1"),
                ("source", "b.go:1"),
                ("msg", "m"),
                ("a", "[open"),
                ("b", "[1,"),
            ],
        ),
        (
            "F1122 11:04:26.057152       1 main.go:7] \"gone\" err=<\n\tline 1\n\tline 2\n >",
            &[("level", "fatal"), ("thread", "1"), ("source", "main.go:7"), ("msg", "gone")],
        ),
        (
            r#"I1122 11:04:26.057152       1 main.go:7] "gone" level=3 msg="two" klog.level=4 source=here message=x stop here=1"#,
            &[
                ("level", "info"),
                ("thread", "1"),
                ("source", "main.go:7"),
                ("msg", "gone"),
                ("klog.level", "4"),
                ("klog.msg", "two"),
                ("klog.source", "here"),
                ("klog.message", "x"),
            ],
        ),
        (
            r#"I1122 11:04:26.057152       1 main.go:7] "/tmp/x" is no file, a=1"#,
            &[("level", "info"), ("thread", "1"), ("source", "main.go:7")],
        ),
        (
            "E1122 11:04:26.057152       1 main.go:7]",
            &[("level", "error"), ("thread", "1"), ("source", "main.go:7")],
        ),
    ] {
        check_recognised(&Parser::Klog, text, expected);
    }
}

#[test]
fn what_only_resembles_a_format_is_text() {
    for text in [
        // VictoriaMetrics, OpenSearch, Python and Go, as they write.
        "2026-11-22T10:20:09.458Z\tinfo\tVictoriaMetrics/lib/logger/flag.go:20\tflag \"httpListenAddr\"=\"127.0.0.1:18428\"",
        "2026-11-22T10:20:12.992Z\tinfo\tVictoriaMetrics/lib/storage/storage.go:971\tsaved prev_hour_metric_ids to \"/data\" in 0.000 seconds; entriesCount: 0; sizeBytes: 24",
        "[2026-11-22T12:02:39,664][INFO ][o.o.i.MergeSchedulerConfig] [it3-1] Initialized index _na_ with maxMergeCount=6, maxThreadCount=1, autoThrottleEnabled=true",
        "WARNING: sun.misc.Unsafe::objectFieldOffset will be removed in a future release",
        "\tat org.opensearch.cli.Command.main(Command.java:101)",
        "2026-11-22 12:02:40,152 INFO pipeline: job daily-load part 0 started",
        "    return _default_decoder.decode(s, level=1, msg=2)",
        "level = logging.getLevel(msg=1, time=2)",
        "[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x4a871d]",
        "time.Sleep(0xf4240)",
        "127.0.0.1 - - [22/Nov/2026:10:58:25 +0000] \"GET /v2/?level=1&msg=2 HTTP/1.1\" 404 92 \"\" \"crane/v0.22.1 a=b\"",
        "https://example.com/?level=1 msg=2",
        "retry failed level=3 msg=gone",
        "level=info",
        "maxMergeCount=6, maxThreadCount=1, autoThrottleEnabled=true",
        "type=1400 audit(1234:5): apparmor=\"DENIED\" operation=\"open\"",
        "a=1 b",
        "=1 b=2",
        "\"a\"=1 level=2",
        "1=1 level=2 msg=3",
        "a==",
        "I1122 11:04:24.943689    6111 server.go:150 Version: v1.36.3",
        "I1122 11:04:24.943689    6111 server.go] Version: v1.36.3",
        "I1122 11:04:24.943689    6111 server.go:] Version: v1.36.3",
        "I1122 11:04:24.943689    6111 server.go:150]Version: v1.36.3",
        "I1122 11:04:24.943689    x111 server.go:150] Version: v1.36.3",
        "I1122 11:04:24.94368     6111 server.go:150] Version: v1.36.3",
        "D1122 11:04:24.943689    6111 server.go:150] Version: v1.36.3",
        "I1122 11:04:24.943689",
        "In the end",
        "I",
    ] {
        check(&Parser::Auto, text, &[]);
        check(&Parser::Klog, text, &[]);
    }
}

#[test]
fn logfmt_takes_the_pairs_of_any_text() {
    for (text, expected) in [
        ("no pair at all", &[][..]),
        ("retry failed level=3 msg=gone", &[("level", "3"), ("msg", "gone")]),
        ("a=1 b=2 a=3", &[("a", "3"), ("b", "2")]),
        ("a=1 =2 \"b=3 c=4", &[("a", "1"), ("c", "4")]),
        ("a=b=c d=e\"f", &[("a", "b=c"), ("d", "e\"f")]),
        ("a=\"b\"c=d e=f", &[("a", "b"), ("c", "d"), ("e", "f")]),
        ("a=1 b=\"never ends c=2", &[("a", "1"), ("c", "2")]),
        ("a=\"ends in a backslash\\", &[]),
        ("a=1\nb=2", &[("a", "1")]),
        ("a=\"1\n2\" b=3", &[("a", "1\n2"), ("b", "3")]),
        ("a=1\t\tb=2 \u{1} c=3", &[("a", "1"), ("b", "2"), ("c", "3")]),
        ("a\\b=1 größe=2 {x}=3", &[("a\\b", "1"), ("größe", "2"), ("{x}", "3")]),
        ("a={\"b\": 1}", &[("a", "{\"b\":")]),
        ("@timestamp=1 kubernetes=2", &[("@timestamp", "1"), ("kubernetes", "2")]),
        ("message=mine level=1", &[("logfmt.message", "mine"), ("level", "1")]),
        ("message=1 logfmt.message=2 logfmt.level=3", &[("logfmt.message", "2"), ("logfmt.level", "3")]),
    ] {
        check(&Parser::Logfmt, text, expected);
    }
}

#[test]
fn escapes_of_quoted_values_are_undone() {
    for (quoted, value) in [
        (r"plain", "plain"),
        (r#"\"\\\/\a\b\f\n\r\t\v"#, "\"\\\\/\u{7}\u{8}\u{c}\n\r\t\u{b}"),
        (r"\x00\x7f\x80\xff\xg0\x1", "\0\u{7f}\u{fffd}\u{fffd}\\xg0\\x1"),
        (r"\u0000\u00e9\u20AC\u12", "\0é€\\u12"),
        (r"\ud83d\ude00 \ud83d \ude00 \ud83d\u0041", "😀 \u{fffd} \u{fffd} \u{fffd}A"),
        (r"\U0001f600\U00110000\U0001f60", "😀\u{fffd}\\U0001f60"),
        (r"\101\q\é\u+123", "\\101\\q\\é\\u+123"),
        ("tab\tand\nline", "tab\tand\nline"),
    ] {
        check(&Parser::Logfmt, &format!("a=\"{quoted}\""), &[("a", value)]);
    }
}
