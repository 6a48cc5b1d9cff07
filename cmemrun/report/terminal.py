"""A Run as a person reads it, in a terminal or a log."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cmemrun.model import OomTask, Process, Run
from cmemrun.report import rows, words
from cmemrun.report.text import command_line, for_people, printable, shortened
from cmemrun.units import format_duration, format_size

__all__ = ["render"]

# Select Graphic Rendition (ECMA-48, 8.3.117).
_PLAIN, _BOLD, _DIM, _RED, _GREEN = (f"\x1b[{code}m" for code in (0, 1, 2, 31, 32))

_LABEL_WIDTH = 13
_COLUMN_WIDTH, _NARROW_COLUMN_WIDTH = 12, 11
# Less room for words than this is none: they stay as they are.
_LEAST_WIDTH = 30
# What lines are not broken in: a number and its unit.
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=([KMGTPEZY]i)?B\b|(m?s|min|h)\b)")

_MOST_PROCESSES = 8
_MOST_TASKS = 5
_COMMAND_WIDTH, _LEAST_COMMAND_WIDTH = 60, 20


def render(run: Run, *, colour: bool, width: int | None = None) -> str:
    """The whole report, ending in a newline; ``colour`` only for a terminal.

    ``width`` is the terminal's, and ``None`` where it is for none: a log, a file.
    """
    return for_people("\n".join(_Report(run, colour, width).lines()) + "\n")


class _Styled(NamedTuple):
    """Words that are marked as a terminal does it, if it is one that wants it."""

    text: str
    code: str


class _Report:
    def __init__(self, run: Run, colour: bool, width: int | None) -> None:
        self.run = run
        self.colour = colour
        self.width = width if width and width >= _LABEL_WIDTH + _LEAST_WIDTH else None

    def lines(self) -> Iterator[str]:
        run = self.run
        yield self._whole("cmemrun", self._bold(self._subject()))
        if run.user is not None:
            yield self._row("", f"as {printable(run.user)}")
        yield self._row("", *self._outcome())
        yield ""
        size = self._bold(format_size(run.peak_bytes))
        yield self._row("peak", size, f"   {words.peak_source(run)}")
        if run.upper_bound_bytes is not None:
            between = f"{format_size(run.peak_bytes)} and {format_size(run.upper_bound_bytes)}"
            yield self._row("", f"between {between}, which the group we are in rose by")
        for budget in run.budgets:
            told = printable(words.budget(budget))
            yield self._row("budget", self._mark(told, good=budget.passed))
        yield ""
        yield from self._table()
        if inside := rows.inside(run):
            yield self._row("inside", inside)
        if maps := words.maps(run):
            yield self._row("eBPF maps", maps)
        yield ""
        yield from self._processes()
        yield from self._kills()
        yield self._row("stalled", words.stalled(run))
        if paged := words.paging(run):
            yield self._row("paging", paged)
        yield self._row("limit", printable(words.limits(run)))
        for number, told in enumerate(rows.runtime(run)):
            yield self._row("" if number else "runtime", printable(told))
        for straggler in run.stragglers:
            name = command_line(straggler.command) or printable(straggler.name or "?")
            yield self._row("ended", f"{straggler.pid} {name} outlived the program")
        if shown := rows.shown_by(run):
            yield self._row("shown by", shown)
            yield self._row("", rows.WHY_OTHERS_DIFFER)
        yield self._row("measured", printable(rows.method(run)))
        yield self._whole("", printable(run.method.group))
        for note in run.method.notes:
            yield self._row("note", printable(note))

    def _subject(self) -> str:
        run = self.run
        if run.command or not run.method.attached:
            return command_line(run.command)
        return printable(run.method.group)

    def _outcome(self) -> Iterator[str | _Styled]:
        run, told = self.run, words.end(self.run)
        if told is None:
            yield "watched for" if run.method.attached else "seen for"
        else:
            yield self._mark(told, good=run.exit.succeeded)
            yield " after"
        yield (
            f" {format_duration(run.wall_seconds)}, CPU"
            f" {words.duration(run.cpu_user_seconds)} user,"
            f" {words.duration(run.cpu_system_seconds)} system"
        )

    def _table(self) -> Iterator[str]:
        yield self._cells("", *rows.SIZES, dim=True)
        for row in rows.sizes(self.run):
            yield self._cells(*row)

    def _processes(self) -> Iterator[str]:
        peak = self.run.at_peak
        if not peak.processes or peak.processes_elapsed_seconds is None:
            return
        when = format_duration(peak.processes_elapsed_seconds)
        yield self._cells("processes", "PSS", "USS", "RSS", after=f"   at {when}", dim=True)
        for process in peak.processes[:_MOST_PROCESSES]:
            yield from self._process(process)
            if process.mappings:
                yield self._row("", self._dim(f"{'':4}{words.mapped(process.mappings)}"))
        if len(peak.processes) > _MOST_PROCESSES:
            yield self._row("", f"and {len(peak.processes) - _MOST_PROCESSES} smaller ones")
        yield ""

    def _process(self, process: Process) -> Iterator[str]:
        """Its sizes and its command, in a row of its own where that has no room beside them."""
        sizes = [
            words.size(one) for one in (process.pss_bytes, process.uss_bytes, process.rss_bytes)
        ]
        room, beside = _COMMAND_WIDTH, True
        if self.width:
            room = self.width - _LABEL_WIDTH - len(sizes) * self._column_width() - 3
            beside = room >= _LEAST_COMMAND_WIDTH
            room = room if beside else self.width - _LABEL_WIDTH
        name = command_line(process.command, room) or shortened(printable(process.name), room)
        yield self._cells(str(process.pid), *sizes, after=f"   {name}" if beside else "")
        if not beside:
            yield self._whole("", name)

    def _kills(self) -> Iterator[str]:
        oom, told = self.run.oom, printable(words.kills(self.run))
        if oom.verdict == "none":
            yield self._row("OOM", told)
            return
        yield self._row("OOM", self._mark(told, good=False))
        for text in oom.evidence:
            yield self._row("", printable(text))
        if oom.tasks:
            yield self._row("", f"chosen from: {_named(oom.tasks)}")
        elif oom.processes and oom.processes_elapsed_seconds is not None:
            when = format_duration(oom.processes_elapsed_seconds)
            yield self._row("", f"there before, at {when}: {_named(oom.processes)}")
        if oom.last_samples:
            seen = [
                f"{format_size(sample.usage_bytes)} at {format_duration(sample.elapsed_seconds)}"
                for sample in oom.last_samples
            ]
            yield self._row("", f"usage before it: {', '.join(seen)}")

    def _row(self, label: str, *parts: str | _Styled) -> str:
        """Prose: broken between words where the terminal's width wants it."""
        return self._framed(label, parts, self.width and self.width - _LABEL_WIDTH)

    def _whole(self, label: str, *parts: str | _Styled) -> str:
        """What somebody may copy, in one piece however long."""
        return self._framed(label, parts, None)

    def _cells(self, label: str, *cells: str, after: str = "", dim: bool = False) -> str:
        width = self._column_width()
        text = "".join(cell.rjust(width) for cell in cells) + after
        return self._whole(label, self._dim(text) if dim else text)

    def _column_width(self) -> int:
        widest = _LABEL_WIDTH + 4 * _COLUMN_WIDTH
        return _NARROW_COLUMN_WIDTH if self.width and self.width < widest else _COLUMN_WIDTH

    def _framed(self, label: str, parts: Sequence[str | _Styled], width: int | None) -> str:
        styled = [_Styled(part, "") if isinstance(part, str) else part for part in parts]
        text = "".join(part.text for part in styled)
        hang = " " * (len(text) - len(text.lstrip(" ")))
        before, lines, end = self._shown(self._dim(label.ljust(_LABEL_WIDTH))), [], 0
        for line in [text] if width is None else _broken(text, width - len(hang)):
            begin = text.index(line, end)
            end = begin + len(line)
            lines.append(f"{before}{self._between(styled, begin, end)}".rstrip())
            before = " " * _LABEL_WIDTH + hang
        return "\n".join(lines)

    def _between(self, parts: Sequence[_Styled], begin: int, end: int) -> str:
        """That much of the parts' text, each in its style."""
        told = ""
        for part in parts:
            inside = part.text[max(0, begin) : max(0, end)]
            told += self._shown(_Styled(inside, part.code))
            begin, end = begin - len(part.text), end - len(part.text)
        return told

    def _shown(self, part: _Styled) -> str:
        if self.colour and part.code and part.text.strip():
            return f"{part.code}{part.text}{_PLAIN}"
        return part.text

    def _bold(self, text: str) -> _Styled:
        return _Styled(text, _BOLD)

    def _dim(self, text: str) -> _Styled:
        return _Styled(text, _DIM)

    def _mark(self, text: str, *, good: bool) -> _Styled:
        return _Styled(text, _GREEN if good else _RED)


def _named(those: Sequence[OomTask] | Sequence[Process]) -> str:
    """The first of them, which are the largest, with their sizes."""
    first = those[:_MOST_TASKS]
    named = (f"{printable(one.name)} ({one.pid}) {format_size(one.rss_bytes)}" for one in first)
    more = len(those) - len(first)
    return ", ".join(named) + f", +{more}" * bool(more)


def _broken(text: str, width: int) -> list[str]:
    """Lines of printable text, each a part of it, none broken within a word or before a unit."""
    import textwrap

    # No-break spaces are not printable, so that none was there before.
    glued = _BEFORE_UNIT.sub("\xa0", text)
    lines = textwrap.wrap(glued, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines] or [""]
