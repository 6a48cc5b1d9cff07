"""Runs as one page for a browser."""

from collections.abc import Callable, Sequence

from cmemrun.model import Process, Run
from cmemrun.report import figure, words
from cmemrun.report.markup import framed, listed, marked, picture, shown, table
from cmemrun.report.text import command_line, printable
from cmemrun.units import format_duration

__all__ = ["fragment", "render"]

_MOST_CHARACTERS, _SHORT_CHARACTERS = 2000, 60


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
        title = shown(_name(first))
        body = [f"<h1>{_command(first)}</h1>", _origin(first), _peak(first), _summary(first)]
        body += [pictures, *_tables(first, "h2")]
    return framed(title, body)


def fragment(run: Run) -> str:
    """One run as a part of somebody else's page, such as a notebook: no picture, no colours.

    The tables are folded away, but for that of the memory.
    """
    memory, *others = _tables(run, "h4")
    return "\n".join(
        [
            f'<div class="cmemrun"><p>{_command(run)}</p>',
            _origin(run),
            _peak(run),
            _summary(run),
            memory,
            "<details><summary>Processes, and how it was measured</summary>",
            *filter(None, others),
            "</details></div>",
        ]
    )


def _pictures(runs: Sequence[Run], processes: bool) -> str:
    """The figure in both themes: a browser shows the one that its reader wants."""
    return picture(
        lambda theme: figure.render(runs, "svg", theme=theme, processes=processes),
        "Memory over time; the numbers are in the tables",
    )


def _origin(run: Run) -> str:
    started = run.started_at.strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    user = "" if run.user is None else f" as {shown(run.user)}"
    return (
        f'<p class="dim">started {shown(started)}{user}, took'
        f" {format_duration(run.wall_seconds)}</p>"
    )


def _peak(run: Run) -> str:
    told = f"peak, {words.peak_source(run)}"
    if run.upper_bound_bytes is not None:
        told += f"; not above {words.size(run.upper_bound_bytes)}"
    size = f"{'≥ ' if run.method.lower_bound else ''}{words.size(run.peak_bytes)}"
    return f'<p class="peak">{size}</p>\n<p class="dim">{shown(told)}</p>'


def _summary(run: Run) -> str:
    rows = [("exit", _exit(run))]
    rows += [
        ("budget", marked(shown(words.budget(budget)), budget.passed)) for budget in run.budgets
    ]
    rows.append(("OOM", _kills(run) + "".join(f"<p>{shown(one)}</p>" for one in run.oom.evidence)))
    rows.append(("stalled", words.stalled(run)))
    told = {"paging": words.paging(run), "limit": words.limits(run), "eBPF maps": words.maps(run)}
    rows += [(label, shown(text)) for label, text in told.items() if text]
    return listed(rows)


def _exit(run: Run) -> str:
    told = words.end(run)
    if told is None:
        return "watched" if run.method.attached else "its end was not recorded"
    return marked(told, run.exit.succeeded)


def _kills(run: Run) -> str:
    told = shown(words.kills(run))
    return told if run.oom.verdict == "none" else marked(told, False)


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
    return f"<{heading}>Memory</{heading}>\n" + table(("", "at peak", "at exit", "highest"), rows)


def _processes(run: Run, heading: str) -> str:
    peak = run.at_peak
    if not peak.processes:
        return ""
    when = peak.processes_elapsed_seconds
    told = "" if when is None else f" <span class='dim'>at {format_duration(when)}</span>"
    columns = ("pid", "parent", "PSS", "USS", "RSS", "swap", "threads", "command")
    rows = [_process(process) for process in peak.processes]
    return f"<{heading}>Processes at the peak{told}</{heading}>\n" + table(
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
        f"<code>{shown(command)}</code>",
    )


def _method(run: Run, heading: str) -> str:
    machine, method = run.environment, run.method
    rows = [
        (
            "machine",
            f"{shown(machine.machine)}, {machine.cpus} CPUs, {words.size(machine.memory_bytes)}",
        ),
        ("kernel", f"Linux {shown(machine.kernel)}, cgroups {shown(machine.hierarchy)}"),
        (
            "measured",
            f"{shown(method.backend)}, {method.sample_count} samples, refresh"
            f" {format_duration(method.refresh_seconds)}, by cmemrun {shown(machine.cmemrun)}",
        ),
        ("group", f"<code>{shown(method.group)}</code>"),
        ("started", shown(run.started_at.isoformat())),
        (
            "time",
            f"{format_duration(run.wall_seconds)}, CPU {words.duration(run.cpu_user_seconds)} user,"
            f" {words.duration(run.cpu_system_seconds)} system",
        ),
    ]
    for straggler in run.stragglers:
        name = command_line(straggler.command, _MOST_CHARACTERS) or straggler.name or "?"
        rows.append(("ended", f"{straggler.pid} <code>{shown(name)}</code> outlived the program"))
    rows += [("note", shown(note)) for note in method.notes]
    return f"<{heading}>How it was measured</{heading}>\n" + listed(rows)


def _comparison(runs: Sequence[Run]) -> str:
    """A column for each run, as most comparisons are of two."""
    rows: dict[str, Callable[[Run], str]] = {
        "": lambda run: f"<code>{shown(command_line(run.command, _SHORT_CHARACTERS))}</code>",
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
    return "<h2>The highest of each</h2>\n" + table(("", *numbers), cells)


def _budgets(run: Run) -> str:
    if not run.budgets:
        return "none"
    broken = sum(not budget.passed for budget in run.budgets)
    return marked(f"{broken} broken" if broken else "kept", not broken)


def _verdict(run: Run) -> str:
    if run.oom.verdict != "none":
        return marked(shown(run.oom.verdict), False)
    return "n/a" if run.events.oom_kill is None else "none"


def _status(run: Run) -> str:
    status = run.exit.status
    return "n/a" if status is None else marked(str(status), status == 0)


def _command(run: Run) -> str:
    return f"<code>{shown(_name(run))}</code>"


def _name(run: Run) -> str:
    return command_line(run.command, _MOST_CHARACTERS) or run.method.group


def _number(number: int | None) -> str:
    return "n/a" if number is None else str(number)
