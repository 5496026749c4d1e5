(core module $module
  ;; 512: the outcome, zeroed. 1024: what `configure` answers. 16384: what is allocated.
  (memory (export "memory") PAGES)
  (global $top (mut i32) (i32.const 16384))
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 1024) "PLAN")

  (func $allocate (param $bytes i32) (result i32)
    (local $start i32)
    (local.set $start (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $start) (local.get $bytes)))
    (block $enough (loop $more
      (br_if $enough (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
      (br $more)))
    (local.get $start))

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (call $allocate (local.get 3)))

  (func (export "configure") (param $config i32) (param $config_length i32) (result i32)
    CONFIGURE)

  (func (export "transform") (param $rows i32) (param $streams i32) (param i32) (param $times i32) (param i32)
    (param $columns i32) (param $columns_length i32) (param $now i64) (param $pressure f32)
    (param $attributes i32) (param i32) (result i32)
    TRANSFORM)

  (func (export "post") (param i32) POST)
  EXTRA
)
