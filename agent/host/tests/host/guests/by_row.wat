;; Does what the first character of the first column's value says, row by row.
(local $row i32) (local $verdicts i32) (local $start i32) (local $end i32) (local $what i32)
(local.set $verdicts (call $allocate (local.get $rows)))
(memory.fill (local.get $verdicts) (i32.const 0) (local.get $rows))
(i32.store (i32.const 512) (local.get $verdicts))
(i32.store (i32.const 516) (local.get $rows))
(memory.fill (i32.const 520) (i32.const 0) (i32.const 24))
(block $done (loop $next
  (br_if $done (i32.ge_u (local.get $row) (local.get $rows)))
  (local.set $start (i32.load (i32.add (i32.load offset=8 (local.get $columns)) (i32.mul (local.get $row) (i32.const 4)))))
  (local.set $what (i32.load8_u (i32.add (i32.load offset=16 (local.get $columns)) (local.get $start))))
  ;; d: dropped for the first reason
  (if (i32.eq (local.get $what) (i32.const 100))
    (then (i32.store8 (i32.add (local.get $verdicts) (local.get $row)) (i32.const 1))))
  ;; t: trap
  (if (i32.eq (local.get $what) (i32.const 116)) (then unreachable))
  ;; s: spin
  (if (i32.eq (local.get $what) (i32.const 115)) (then (loop $spin (br $spin))))
  ;; r: recurse without end
  (if (i32.eq (local.get $what) (i32.const 114)) (then (call $recurse)))
  ;; a: allocate without end, not looking whether it works
  (if (i32.eq (local.get $what) (i32.const 97)) (then (loop $grow (drop (memory.grow (i32.const 16))) (br $grow))))
  ;; v: a verdict that the plan does not have
  (if (i32.eq (local.get $what) (i32.const 118))
    (then (i32.store8 (i32.add (local.get $verdicts) (local.get $row)) (i32.const 9))))
  ;; p: a pointer that points nowhere
  (if (i32.eq (local.get $what) (i32.const 112)) (then (i32.store (i32.const 512) (i32.const -16))))
  ;; o: more output than is allowed
  (if (i32.eq (local.get $what) (i32.const 111)) (then (call $alias_columns (local.get $columns))))
  ;; u: a patch to `secret`, and a column to field 7
  (if (i32.eq (local.get $what) (i32.const 117)) (then (call $write_undeclared (local.get $row) (local.get $columns))))
  (local.set $row (i32.add (local.get $row) (i32.const 1)))
  (br $next)))
(i32.const 512)
