"""Runs as one page for a browser."""

from collections.abc import Callable, Iterable, Sequence

from cmemrun.model import Process, Run, Sample
from cmemrun.report import figure, rows, words
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
    found = [("exit", _exit(run))]
    found += [
        ("budget", marked(shown(words.budget(budget)), budget.passed)) for budget in run.budgets
    ]
    found.append(("OOM", _kills(run) + _paragraphs(run.oom.evidence)))
    found.append(("stalled", words.stalled(run)))
    told = {"paging": words.paging(run), "limit": words.limits(run), "eBPF maps": words.maps(run)}
    found += [(label, shown(text)) for label, text in told.items() if text]
    if runtime := _paragraphs(rows.runtime(run)):
        found.append(("runtime", runtime))
    return listed(found)


def _paragraphs(told: Iterable[str]) -> str:
    return "".join(f"<p>{shown(one)}</p>" for one in told)


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
    peak, oom = run.at_peak, run.oom
    return [
        _sizes(run, heading),
        _processes(
            heading, "Processes at the peak", peak.processes, peak.processes_elapsed_seconds
        ),
        _before_kill(run, heading),
        _processes(
            heading, "Who was seen last before it", oom.processes, oom.processes_elapsed_seconds
        ),
        _chosen_from(run, heading),
        _method(run, heading),
    ]


def _sizes(run: Run, heading: str) -> str:
    others = {"inside": rows.inside(run), "shown by": rows.shown_by(run)}
    if others["shown by"]:
        others[""] = rows.WHY_OTHERS_DIFFER
    found = [(label, shown(told)) for label, told in others.items() if told]
    return _headed(heading, "Memory", table(("", *rows.SIZES), rows.sizes(run))) + (
        listed(found) if found else ""
    )


def _processes(
    heading: str, title: str, processes: Sequence[Process], seen_at_seconds: float | None
) -> str:
    if not processes:
        return ""
    told = title
    if seen_at_seconds is not None:
        told += f" <span class='dim'>at {format_duration(seen_at_seconds)}</span>"
    columns = ("pid", "parent", "PSS", "USS", "RSS", "swap", "threads", "command")
    return _headed(heading, told, table(columns, map(_process, processes), text="command"))


def _process(process: Process) -> tuple[str, ...]:
    sizes = (process.pss_bytes, process.uss_bytes, process.rss_bytes, process.swap_bytes)
    command = command_line(process.command, _MOST_CHARACTERS) or printable(process.name)
    mapped = words.mapped(process.mappings) if process.mappings else ""
    return (
        str(process.pid),
        _number(process.ppid),
        *map(words.size, sizes),
        _number(process.threads),
        f"<code>{shown(command)}</code>" + (f'<p class="dim">{mapped}</p>' if mapped else ""),
    )


def _before_kill(run: Run, heading: str) -> str:
    """What was seen last, the end of the way to an OOM kill."""
    if not run.oom.last_samples:
        return ""
    columns = ("seen at", *(label for label, _ in words.SIZES))
    found = table(columns, map(_sample, run.oom.last_samples))
    return _headed(heading, "The last samples before the OOM kill", found)


def _sample(sample: Sample) -> tuple[str, ...]:
    sizes = (words.size(getattr(sample, name)) for _, name in words.SIZES)
    return (format_duration(sample.elapsed_seconds), *sizes)


def _chosen_from(run: Run, heading: str) -> str:
    """What the OOM killer looked at, with its own numbers."""
    if not run.oom.tasks:
        return ""
    columns = ("pid", "RSS", "swap", "oom_score_adj", "name")
    found = table(
        columns,
        (
            (
                str(task.pid),
                words.size(task.rss_bytes),
                words.size(task.swap_bytes),
                str(task.oom_score_adj),
                f"<code>{shown(task.name)}</code>",
            )
            for task in run.oom.tasks
        ),
        text="name",
    )
    return _headed(heading, "What the OOM killer chose from", found)


def _method(run: Run, heading: str) -> str:
    machine, method = run.environment, run.method
    found = [
        (
            "machine",
            f"{shown(machine.machine)}, {machine.cpus} CPUs, {words.size(machine.memory_bytes)}",
        ),
        ("kernel", f"Linux {shown(machine.kernel)}, cgroups {shown(machine.hierarchy)}"),
        (
            "measured",
            f"{shown(rows.method(run))}, by cmemrun {shown(machine.cmemrun)}",
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
        found.append(("ended", f"{straggler.pid} <code>{shown(name)}</code> outlived the program"))
    found += [("note", shown(note)) for note in method.notes]
    return _headed(heading, "How it was measured", listed(found))


def _headed(heading: str, title: str, what: str) -> str:
    return f"<{heading}>{title}</{heading}>\n{what}"


def _comparison(runs: Sequence[Run]) -> str:
    """A column for each run, as most comparisons are of two."""
    told: dict[str, Callable[[Run], str]] = {
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
    cells = ((label, *map(tell, runs)) for label, tell in told.items())
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
