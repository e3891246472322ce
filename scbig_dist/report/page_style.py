"""The look of a page, light and dark."""

CSS = """\
:root { --ink: #1c2126; --soft: #5b6570; --line: #d9dee3; --page: #ffffff; --shade: #f4f6f8; --accent: #0072b2; --label: #fff4d6; --label-ink: #5c4300; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #a3adb7; --line: #3a424b; --page: #14181c; --shade: #1e242a; --accent: #56b4e9; --label: #3d3212; --label-ink: #ffe08a; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--line); }
p { max-width: 48rem; margin: .6rem 0; overflow-wrap: anywhere; }
p.note { color: var(--soft); border-left: 3px solid var(--line); padding-left: .8rem; }
p.label { display: inline-block; background: var(--label); color: var(--label-ink); font-weight: 600; padding: .35rem .8rem; border-radius: .4rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; text-align: left; color: var(--soft); padding-top: .5rem; max-width: 48rem; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { border-bottom: 2px solid var(--soft); white-space: nowrap; }
th.n, td.n { text-align: right; white-space: nowrap; }
tr.best td { background: var(--shade); font-weight: 600; }
tr.best td:first-child { box-shadow: inset 3px 0 var(--accent); }
figure { margin: 1.2rem 0; }
figure svg { display: block; width: 100%; height: auto; color: var(--ink); }
figcaption { color: var(--soft); font-size: .875rem; margin-top: .4rem; max-width: 48rem; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--accent); }
pre { background: var(--shade); padding: .9rem; overflow-x: auto; font-size: .8rem; line-height: 1.45; border-radius: .4rem; }
@media print { body { font-size: 11px; } .wide { overflow: visible; } }
"""
