//! Plugins that fail: by their policy, within their deadlines, and no other row suffers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_event::transform::Handled;
use weir_host::{Cache, Cause, Compiler, Engine, EngineConfig, Plugin};

use crate::guest::Guest;
use crate::support::{deadline, load, load_with, messages, run, spec};

const TICK: Duration = Duration::from_millis(10);

/// CPU time is charged by the kernel in steps, and this machine may be busy.
const NOISE: Duration = Duration::from_millis(40);

/// Every row but the suspects has the verdict that its message asks for.
fn assert_healthy(handled: &Handled, messages: &[String], suspects: &[u32]) {
    assert_eq!(handled.suspects, suspects);
    let verdict = |row: usize| handled.outcome.verdicts.get(row).copied().unwrap_or(0);
    for (row, message) in messages.iter().enumerate() {
        let expected = message.starts_with('d') && !suspects.contains(&(row as u32));
        assert_eq!(verdict(row), u8::from(expected), "row {row}: {message}");
    }
}

fn faults(plugin: &Plugin) -> Vec<(Cause, u64)> {
    let counted = Cause::ALL.map(|cause| (cause, plugin.metrics().faults(cause)));
    counted.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Does it again where the machine gave the thread so little of its CPU that the wall clock may have ended a call, which
/// it does after ten deadlines. Answers with the CPU time that the plugin took.
fn on_a_cpu<T>(
    mut plugin: impl FnMut() -> (Arc<Plugin>, T),
    run: impl Fn(&Arc<Plugin>, T) -> Handled,
) -> (Arc<Plugin>, Handled, Duration) {
    for _ in 0..5 {
        let (plugin, of) = plugin();
        let (before, begun) = (plugin.metrics().cpu(), Instant::now());
        let handled = run(&plugin, of);
        let cpu = plugin.metrics().cpu() - before;
        if begun.elapsed() < 4 * cpu {
            return (plugin, handled, cpu);
        }
    }
    panic!("five times the machine had no CPU for this");
}

#[test]
fn exactly_the_rows_that_trap_are_suspects() {
    let cases: [(usize, &[usize]); 9] = [
        (1, &[0]),
        (2, &[1]),
        (7, &[0]),
        (100, &[99]),
        (512, &[255]),
        (512, &[0, 255, 256, 511]),
        (33, &[3, 4, 5, 30]),
        (16, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
        (4096, &[17]),
    ];
    let plugin = load(&Guest::by_row());
    for (count, rows) in cases {
        let mut messages = messages(count, "trap", rows);
        for (row, message) in messages.iter_mut().enumerate() {
            if row % 3 == 1 && !rows.contains(&row) {
                *message = "drop".into();
            }
        }
        let handled = run(&mut plugin.instance(), &messages);
        let suspects: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
        assert_healthy(&handled, &messages, &suspects);
    }
    let total: usize = cases.iter().map(|(_, rows)| rows.len()).sum();
    assert_eq!(plugin.metrics().suspects(), total as u64);
    assert_eq!(faults(&plugin).len(), 1);
    let report = plugin.last_fault().unwrap();
    assert_eq!(report.cause, Cause::Trap);
    assert!(report.detail.contains("unreachable"), "{}", report.detail);
}

#[test]
fn a_fault_of_memory_alone_is_cured_by_a_fresh_instance() {
    // Every third call of an instance traps, whatever its rows.
    let transform = r#"
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.eq (global.get $calls) (i32.const 3)) (then unreachable))
        (i32.const 512)"#;
    let plugin = load(&Guest { transform: transform.into(), ..Guest::default() });
    let mut instance = plugin.instance();
    for _ in 0..7 {
        assert!(run(&mut instance, &["a", "b"]).suspects.is_empty());
    }
    // Calls 3, 5 and 7 failed first: the retry was the first call of its instance.
    assert_eq!(faults(&plugin), [(Cause::Trap, 3)]);
    assert_eq!(
        (plugin.metrics().calls(), plugin.metrics().retries(), plugin.metrics().suspects()),
        (7, 3, 0)
    );
}

#[test]
fn a_call_that_spins_ends_within_its_deadline() {
    let (plugin, handled, cpu) = on_a_cpu(
        || (load_with(&Guest::by_row(), deadline(50)), ()),
        |plugin, ()| run(&mut plugin.instance(), &["spin"]),
    );
    assert_eq!(handled.suspects, [0]);
    // The call and its one retry.
    assert_eq!(faults(&plugin), [(Cause::Deadline, 2)]);
    let call = plugin.deadline();
    assert!(cpu >= 2 * call, "{cpu:?}: ended before its deadline");
    assert!(cpu <= 2 * (call + TICK) + NOISE, "{cpu:?}: ran past its deadline");
}

#[test]
fn a_row_that_spins_is_found_within_five_deadlines() {
    for (count, row, is_warm) in
        [(64, 40, false), (512, 0, true), (512, 255, true), (512, 511, true), (1, 0, false)]
    {
        let mut rows = messages(count, "spin", &[row]);
        rows[(row + count / 3) % count] = if count == 1 { "spin".into() } else { "drop".into() };
        let fresh = || {
            let plugin = load_with(&Guest::by_row(), deadline(100));
            let mut instance = plugin.instance();
            if is_warm {
                run(&mut instance, &messages(count, "keep", &[]));
            }
            (plugin, instance)
        };
        let (plugin, handled, cpu) = on_a_cpu(fresh, |_, mut instance| run(&mut instance, &rows));
        assert_healthy(&handled, &rows, &[row as u32]);
        assert!(cpu <= 5 * plugin.deadline() + TICK + NOISE, "{cpu:?} for row {row} of {count}");
    }
}

#[test]
fn a_batch_that_spins_everywhere_ends_within_five_deadlines() {
    let plugin = load_with(&Guest::by_row(), deadline(50));
    let begun = Instant::now();
    let handled = run(&mut plugin.instance(), &messages(4096, "spin", &(0..4096).collect::<Vec<_>>()));
    assert_eq!(handled.suspects, (0..4096).collect::<Vec<_>>());
    let (cpu, limit) = (plugin.metrics().cpu(), 5 * plugin.deadline() + TICK + NOISE);
    assert!(cpu <= limit, "{cpu:?}");
    assert!(begun.elapsed() <= 10 * limit);
}

#[test]
fn other_faults_are_told_apart_and_confined() {
    let cases = [
        ("recurse", Cause::Trap, "call stack exhausted"),
        ("allocate", Cause::Memory, "more than its limit of 4194304"),
        ("verdict", Cause::BadOutput, "verdict 9, but its plan has 1 reasons"),
        ("pointer", Cause::BadOutput, "out of bounds"),
        ("output", Cause::Output, "exhausted"),
    ];
    for (message, cause, detail) in cases {
        let plugin = load_with(&Guest::by_row(), |spec| spec.limits.memory = Some(4 << 20));
        let messages = messages(50, message, &[20]);
        let handled = run(&mut plugin.instance(), &messages);
        assert_healthy(&handled, &messages, &[20]);
        let counted = faults(&plugin);
        assert!(matches!(counted.as_slice(), [(only, _)] if *only == cause), "{message}: {counted:?}");
        let report = plugin.last_fault().unwrap();
        assert_eq!(report.cause, cause);
        assert!(report.detail.contains(detail), "{message}: {}", report.detail);
        assert!(plugin.metrics().memory_peak_bytes() <= 4 << 20);
    }
}

#[test]
fn answers_of_parts_stay_within_the_output_limit_together() {
    let trap_on_many =
        "(local $column i32) (if (i32.gt_u (local.get $rows) (i32.const 1)) (then unreachable))";
    let transform = Guest::echo().transform.replace("(local $column i32)", trap_on_many);
    let plugin = load_with(&Guest { transform, ..Guest::echo() }, |spec| spec.limits.output = Some(20_000));
    // Each of the four rows is answered with 9,000 bytes: two fit into the limit.
    let handled = run(
        &mut plugin.instance(),
        &["x".repeat(9000), "x".repeat(9000), "x".repeat(9000), "x".repeat(9000)],
    );
    assert_eq!(handled.suspects, [2, 3]);
    assert_eq!(handled.outcome.columns[0].values.get(1).map(|(_, value)| value.len()), Some(9000));
    assert_eq!(plugin.metrics().faults(Cause::Output), 2);
}

#[test]
fn answers_of_parts_stay_within_the_limit_of_new_events_together() {
    // Makes 3,000 events of one row, and traps on more rows.
    let transform = "
        (local $list i32) (local $end i32)
        (if (i32.gt_u (local.get $rows) (i32.const 1)) (then unreachable))
        (i32.store16 (i32.const 600) (i32.const 0x7d7b))
        (local.set $list (call $allocate (i32.const 36000)))
        (local.set $end (i32.add (local.get $list) (i32.const 36000)))
        (i32.store (i32.const 536) (local.get $list))
        (i32.store (i32.const 540) (i32.const 3000))
        (loop $next
          (i32.store (local.get $list) (i32.const 0))
          (i32.store offset=4 (local.get $list) (i32.const 600))
          (i32.store offset=8 (local.get $list) (i32.const 2))
          (local.set $list (i32.add (local.get $list) (i32.const 12)))
          (br_if $next (i32.lt_u (local.get $list) (local.get $end))))
        (i32.const 512)";
    let plugin = load(&Guest { transform: transform.into(), ..Guest::default() });
    let handled = run(&mut plugin.instance(), &["one", "two"]);
    assert_eq!((handled.outcome.events.len(), handled.suspects), (3000, vec![1]));
    assert_eq!(handled.outcome.events[2999].document, b"{}");
    assert_eq!(plugin.metrics().faults(Cause::Output), 1);
}

#[test]
fn an_undeclared_write_is_refused_alone() {
    let plugin = load(&Guest::by_row());
    let handled = run(&mut plugin.instance(), &["undeclared", "drop", "keep"]);
    assert_eq!((handled.outcome.verdicts, handled.suspects), (vec![0, 1, 0], vec![]));
    assert!(handled.outcome.patches.is_empty() && handled.outcome.columns.is_empty());
    assert_eq!(faults(&plugin), [(Cause::UndeclaredWrite, 2)]);
    assert_eq!(plugin.metrics().retries(), 0);
}

#[test]
fn a_plugin_goes_on_after_a_fault() {
    let plugin = load(&Guest::by_row());
    let mut instance = plugin.instance();
    assert_eq!(run(&mut instance, &["trap"]).suspects, [0]);
    assert_eq!(run(&mut instance, &["drop", "keep"]).outcome.verdicts, [1, 0]);
}

#[test]
fn where_no_instance_can_be_made_every_row_is_suspect() {
    let engine = Engine::new(EngineConfig { instances: 1, memory: 32 << 20 }).unwrap();
    let spec = spec(Guest::by_row().build());
    let plugin = Plugin::load(&engine, &Cache::in_memory(), &Compiler::InProcess, spec).unwrap();
    let (mut first, mut second) = (plugin.instance(), plugin.instance());
    assert!(run(&mut first, &["keep", "drop"]).suspects.is_empty());
    assert_eq!(run(&mut second, &["keep", "drop"]).suspects, [0, 1]);
    assert_eq!(faults(&plugin), [(Cause::Instantiate, 2)]);
    drop(first);
    assert_eq!(run(&mut second, &["keep", "drop"]).outcome.verdicts, [0, 1]);
}

#[test]
fn workers_do_not_share_faults() {
    let plugin = load_with(&Guest::by_row(), deadline(50));
    std::thread::scope(|scope| {
        let spinning = scope.spawn(|| run(&mut plugin.instance(), &["spin"]).suspects);
        let mut instance = plugin.instance();
        for _ in 0..1000 {
            assert_eq!(run(&mut instance, &["keep", "drop"]).outcome.verdicts, [0, 1]);
        }
        assert_eq!(spinning.join().unwrap(), [0]);
    });
    assert_eq!(plugin.metrics().calls(), 1001);
}
