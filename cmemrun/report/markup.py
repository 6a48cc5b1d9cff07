"""HTML of pages for a browser, which need no network, run no script, and print.

What a program chose, its arguments for instance, is made printable first and then
escaped; a page forbids itself scripts and requests besides.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from html import escape

from cmemrun.report.sheet import THEMES
from cmemrun.report.text import printable

__all__ = ["framed", "listed", "marked", "picture", "shown", "table"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --paper: %(light)s; --ink: #1b1f24; --dim: #59636e;
  --line: #e3e6e9; --good: #1a7340; --bad: #b33a00; }
@media (prefers-color-scheme: dark) { :root { --paper: %(dark)s; --ink: #e8eaed;
  --dim: #a0a8b2; --line: #2c323a; --good: #5fd08b; --bad: #ff8a3d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 64rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.25rem; line-height: 1.35; margin: 0 0 .25rem; }
h2, h3 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; }
h2.run { border-top: 2px solid var(--line); padding-top: 1.5rem; }
p { margin: 0 0 .5rem; }
code { font-family: ui-monospace, monospace; font-size: .92em; overflow-wrap: anywhere;
  unicode-bidi: isolate; }
.dim { color: var(--dim); }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
.peak { font-size: 2rem; font-weight: 650; line-height: 1.2; margin: 1rem 0 0; }
.wide { overflow-x: auto; margin: 1rem 0; }
.wide img { display: block; width: 100%%; min-width: 40rem; height: auto; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .35rem 1.25rem;
  margin: 1rem 0; }
dt { color: var(--dim); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
dd p, td p { margin: 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1.1rem .3rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 400; color: var(--dim); }
th:first-child { text-align: left; }
td.text, th.text { text-align: left; white-space: normal; min-width: 26rem; }
td code { display: inline-block; max-width: 34rem; min-width: 9rem; white-space: normal; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin: 0 0 .6rem; } table { font-size: .85rem; } th, td { padding-right: .7rem; } }
@media print { body { max-width: none; padding: 0; font-size: .85rem; }
  .wide { overflow: visible; } .wide img, td.text, th.text { min-width: 0; }
  h2, h3, tr, dd { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""


def framed(title: str, body: Iterable[str]) -> str:
    """A whole page; ``title`` and the parts of the body, some may be empty, are HTML already."""
    colours = {name: theme.background for name, theme in THEMES.items()}
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>cmemrun: {title}</title>",
            f"<style>{_STYLE % colours}</style>",
            "</head>",
            "<body>",
            *filter(None, body),
            "</body>",
            "</html>",
            "",
        ]
    )


def picture(draw: Callable[[str], bytes], alternative: str) -> str:
    """An SVG, drawn in both themes: a browser shows the one that its reader wants."""
    light, dark = (
        "data:image/svg+xml;base64," + base64.b64encode(draw(theme)).decode("ascii")
        for theme in ("light", "dark")
    )
    return (
        '<div class="wide"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{alternative}">'
        "</picture></div>"
    )


def listed(rows: Iterable[tuple[str, str]]) -> str:
    """Names, and what there is to say of each, which is HTML already."""
    items = "\n".join(f"<dt>{label}</dt><dd>{told}</dd>" for label, told in rows)
    return f"<dl>\n{items}\n</dl>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, text: str = "") -> str:
    """A table of cells that are HTML already; the column ``text`` may have long ones."""
    kinds = [' class="text"' if name and name == text else "" for name in columns]
    head = "".join(
        f'<th scope="col"{kind}>{name}</th>' for kind, name in zip(kinds, columns, strict=True)
    )
    lines = [f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    for first, *cells in rows:
        others = "".join(
            f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds[1:], cells, strict=True)
        )
        lines.append(f'<tr><th scope="row">{first}</th>{others}</tr>')
    return '<div class="wide"><table>\n' + "\n".join([*lines, "</tbody>"]) + "\n</table></div>"


def marked(told: str, good: bool) -> str:
    """HTML in the colour of what is well, or is not."""
    return f'<span class="{"good" if good else "bad"}">{told}</span>'


def shown(text: str) -> str:
    """Anybody's text as HTML that shows it and does nothing else."""
    return escape(printable(text), quote=True)
