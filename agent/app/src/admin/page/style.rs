//! How the page looks, on light and on dark screens.

/// The style sheet.
pub const CSS: &str = "
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --warn: #9a6700; --bad: #cf222e; --box: #8881; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --warn: #d29922; --bad: #f85149; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
header { display: flex; gap: 1rem; align-items: baseline; flex-wrap: wrap; }
h1 { margin: 0; } h2 { margin: 1.8rem 0 .5rem; font-size: 1.1rem; } p { margin: 0; }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th.number, td.number { text-align: right; white-space: nowrap; overflow-wrap: normal; } td { overflow-wrap: anywhere; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); font-weight: 600; }
.flow { display: flex; gap: .6rem; align-items: center; flex-wrap: wrap; }
.group { display: flex; flex-direction: column; gap: .3rem; }
.box { border: 1px solid var(--line); background: var(--box); border-radius: .4rem; padding: .3rem .7rem; }
.box small { display: block; opacity: .65; }
nav { margin-top: 2rem; display: flex; gap: 1rem; }
";
