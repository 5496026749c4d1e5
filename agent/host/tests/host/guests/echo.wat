;; Writes the first column back to the first declared path.
(local $column i32)
(local.set $column (call $allocate (i32.const 28)))
(i32.store (local.get $column) (i32.const 0))
(memory.copy (i32.add (local.get $column) (i32.const 4)) (local.get $columns) (i32.const 24))
(i32.store (i32.const 520) (local.get $column))
(i32.store (i32.const 524) (i32.const 1))
(i32.const 512)
