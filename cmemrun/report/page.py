"""Runs as one page for a browser: it needs no network, runs no script, and prints.

What a program chose, its arguments for instance, is made printable first and then
escaped; the page forbids itself scripts and requests besides.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from html import escape

from cmemrun.model import Process, Run
from cmemrun.report import figure, words
from cmemrun.report.text import command_line, printable
from cmemrun.units import format_duration

__all__ = ["render"]

_MOST_CHARACTERS, _SHORT_CHARACTERS = 2000, 60

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
dd p { margin: 0; }
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


def render(runs: Sequence[Run], *, processes: bool = False) -> str:
    """One run, or several with a table of them first, as HTML.

    ``processes`` is as ``figure.draw`` has it. Raises ``BadInput`` as that does.
    """
    first, *others = runs
    pictures = _pictures(runs, processes)
    if others:
        title = f"Memory usage of {len(runs)} runs"
        body = [f"<h1>{title}</h1>", pictures, _comparison(runs)]
        for number, run in enumerate(runs, start=1):
            body.append(f'<h2 class="run">{number}. {_command(run)}</h2>')
            body += [_origin(run), _peak(run), _summary(run), *_tables(run, "h3")]
    else:
        title = _shown(_name(first))
        body = [f"<h1>{_command(first)}</h1>", _origin(first), _peak(first), _summary(first)]
        body += [pictures, *_tables(first, "h2")]
    colours = {name: theme.background for name, theme in figure.THEMES.items()}
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


def _pictures(runs: Sequence[Run], processes: bool) -> str:
    """The figure in both themes: a browser shows the one that its reader wants."""
    light, dark = (
        "data:image/svg+xml;base64,"
        + base64.b64encode(figure.render(runs, "svg", theme=theme, processes=processes)).decode(
            "ascii"
        )
        for theme in ("light", "dark")
    )
    return (
        '<div class="wide"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="Memory over time; the numbers are in the tables">'
        "</picture></div>"
    )


def _origin(run: Run) -> str:
    started = run.started_at.strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    user = "" if run.user is None else f" as {_shown(run.user)}"
    return (
        f'<p class="dim">started {_shown(started)}{user}, took'
        f" {format_duration(run.wall_seconds)}</p>"
    )


def _peak(run: Run) -> str:
    told = f"peak, {words.peak_source(run)}"
    if run.upper_bound_bytes is not None:
        told += f"; not above {words.size(run.upper_bound_bytes)}"
    size = f"{'≥ ' if run.method.lower_bound else ''}{words.size(run.peak_bytes)}"
    return f'<p class="peak">{size}</p>\n<p class="dim">{_shown(told)}</p>'


def _summary(run: Run) -> str:
    rows = [("exit", _exit(run))]
    rows += [
        ("budget", _marked(_shown(words.budget(budget)), budget.passed)) for budget in run.budgets
    ]
    rows.append(("OOM", _kills(run) + "".join(f"<p>{_shown(one)}</p>" for one in run.oom.evidence)))
    rows.append(("stalled", words.stalled(run)))
    told = {"paging": words.paging(run), "limit": words.limits(run), "eBPF maps": words.maps(run)}
    rows += [(label, _shown(text)) for label, text in told.items() if text]
    return _list(rows)


def _exit(run: Run) -> str:
    told = words.end(run)
    if told is None:
        return "watched" if run.method.attached else "its end was not recorded"
    return _marked(told, run.exit.succeeded)


def _kills(run: Run) -> str:
    told = _shown(words.kills(run))
    return told if run.oom.verdict == "none" else _marked(told, False)


def _limit(run: Run) -> str:
    limit = run.limits.max_bytes
    return words.size(limit) if isinstance(limit, int) else "none"


def _tables(run: Run, heading: str) -> list[str]:
    """What there is to look up, each with a heading of that level."""
    return [_sizes(run, heading), _processes(run, heading), _method(run, heading)]


def _sizes(run: Run, heading: str) -> str:
    """What the usage was made of, when it was highest, at the end, and each at its own highest."""
    highest = {"usage_bytes": run.peak_bytes, **run.peaks._asdict()}
    rows = [
        (
            label,
            *(words.size(getattr(sample, name)) for sample in (run.at_peak, run.at_exit)),
            words.size(highest[name]),
        )
        for label, name in words.SIZES
    ]
    return f"<{heading}>Memory</{heading}>\n" + _table(("", "at peak", "at exit", "highest"), rows)


def _processes(run: Run, heading: str) -> str:
    peak = run.at_peak
    if not peak.processes:
        return ""
    when = peak.processes_elapsed_seconds
    told = "" if when is None else f" <span class='dim'>at {format_duration(when)}</span>"
    columns = ("pid", "parent", "PSS", "USS", "RSS", "swap", "threads", "command")
    rows = [_process(process) for process in peak.processes]
    return f"<{heading}>Processes at the peak{told}</{heading}>\n" + _table(
        columns, rows, text="command"
    )


def _process(process: Process) -> tuple[str, ...]:
    sizes = (process.pss_bytes, process.uss_bytes, process.rss_bytes, process.swap_bytes)
    command = command_line(process.command, _MOST_CHARACTERS) or printable(process.name)
    return (
        str(process.pid),
        _number(process.ppid),
        *map(words.size, sizes),
        _number(process.threads),
        f"<code>{_shown(command)}</code>",
    )


def _method(run: Run, heading: str) -> str:
    machine, method = run.environment, run.method
    rows = [
        (
            "machine",
            f"{_shown(machine.machine)}, {machine.cpus} CPUs, {words.size(machine.memory_bytes)}",
        ),
        ("kernel", f"Linux {_shown(machine.kernel)}, cgroups {_shown(machine.hierarchy)}"),
        (
            "measured",
            f"{_shown(method.backend)}, {method.sample_count} samples, refresh"
            f" {format_duration(method.refresh_seconds)}, by cmemrun {_shown(machine.cmemrun)}",
        ),
        ("group", f"<code>{_shown(method.group)}</code>"),
        ("started", _shown(run.started_at.isoformat())),
        (
            "time",
            f"{format_duration(run.wall_seconds)}, CPU {words.duration(run.cpu_user_seconds)} user,"
            f" {words.duration(run.cpu_system_seconds)} system",
        ),
    ]
    for straggler in run.stragglers:
        name = command_line(straggler.command, _MOST_CHARACTERS) or straggler.name or "?"
        rows.append(("ended", f"{straggler.pid} <code>{_shown(name)}</code> outlived the program"))
    rows += [("note", _shown(note)) for note in method.notes]
    return f"<{heading}>How it was measured</{heading}>\n" + _list(rows)


def _comparison(runs: Sequence[Run]) -> str:
    """A column for each run, as most comparisons are of two."""
    rows: dict[str, Callable[[Run], str]] = {
        "": lambda run: f"<code>{_shown(command_line(run.command, _SHORT_CHARACTERS))}</code>",
        "peak": lambda run: ("≥ " if run.method.lower_bound else "") + words.size(run.peak_bytes),
        "working set": lambda run: words.size(run.peaks.working_set_bytes),
        "anon": lambda run: words.size(run.peaks.anon_bytes),
        "file": lambda run: words.size(run.peaks.file_bytes),
        "kernel": lambda run: words.size(run.peaks.kernel_bytes),
        "limit": _limit,
        "budgets": _budgets,
        "exit": _status,
        "OOM": _verdict,
        "stalled": lambda run: words.duration(run.pressure and run.pressure.some_seconds),
        "took": lambda run: format_duration(run.wall_seconds),
    }
    numbers = (str(number) for number in range(1, len(runs) + 1))
    cells = ((label, *map(tell, runs)) for label, tell in rows.items())
    return "<h2>The highest of each</h2>\n" + _table(("", *numbers), cells)


def _budgets(run: Run) -> str:
    if not run.budgets:
        return "none"
    broken = sum(not budget.passed for budget in run.budgets)
    return _marked(f"{broken} broken" if broken else "kept", not broken)


def _verdict(run: Run) -> str:
    if run.oom.verdict != "none":
        return _marked(_shown(run.oom.verdict), False)
    return "n/a" if run.events.oom_kill is None else "none"


def _status(run: Run) -> str:
    status = run.exit.status
    return "n/a" if status is None else _marked(str(status), status == 0)


def _list(rows: Iterable[tuple[str, str]]) -> str:
    items = "\n".join(f"<dt>{label}</dt><dd>{told}</dd>" for label, told in rows)
    return f"<dl>\n{items}\n</dl>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, text: str = "") -> str:
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


def _marked(told: str, good: bool) -> str:
    return f'<span class="{"good" if good else "bad"}">{told}</span>'


def _command(run: Run) -> str:
    return f"<code>{_shown(_name(run))}</code>"


def _name(run: Run) -> str:
    return command_line(run.command, _MOST_CHARACTERS) or run.method.group


def _number(number: int | None) -> str:
    return "n/a" if number is None else str(number)


def _shown(text: str) -> str:
    """Anybody's text as HTML that shows it and does nothing else."""
    return escape(printable(text), quote=True)
