"""What becomes of a Run: the outputs that were asked for, tried before the start, written after."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from cmemrun.commands.console import colour, say, show, width
from cmemrun.errors import BadInput, CmemrunError
from cmemrun.identity import User, acting_as
from cmemrun.model import Measurement
from cmemrun.report import FORMATS, require
from cmemrun.runner import Observer
from cmemrun.sampler import Probe, Sampling
from cmemrun.signals import Foreground

if TYPE_CHECKING:
    from cmemrun.commands.live import Live
    from cmemrun.commands.output import Output
    from cmemrun.commands.recorder import Recorder

__all__ = ["Publication", "open_publication", "sampling_of"]


class Looked(Protocol):
    """The options of a verb that tell what is looked at."""

    @property
    def refresh(self) -> float: ...
    @property
    def probe(self) -> Probe: ...
    @property
    def processes(self) -> bool: ...
    @property
    def smaps(self) -> bool: ...


class Wanted(Protocol):
    """Those that tell where a run goes."""

    @property
    def json(self) -> str | None: ...
    @property
    def output(self) -> str | None: ...
    @property
    def record(self) -> str | None: ...
    @property
    def exports(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def live(self) -> bool: ...
    @property
    def quiet(self) -> bool: ...
    @property
    def user(self) -> User | None: ...


class Publication:
    """Where a run goes; ``observers`` take part while it goes on."""

    def __init__(
        self,
        wanted: Wanted,
        document: "Output | None",
        report: "Output | None",
        recorder: "Recorder | None",
        exports: "Sequence[tuple[str, Output]]" = (),
    ) -> None:
        self._wanted = wanted
        self._document = document
        self._report = report
        self._exports = exports
        self._recorder = recorder
        self.live = _live() if wanted.live else None
        shares: list[Observer | None] = [recorder, self.live]
        self.observers = [observer for observer in shares if observer]

    @property
    def has_document(self) -> bool:
        """Whether there will be JSON to write."""
        return self._document is not None

    @contextlib.contextmanager
    def shown(self, waiter: Foreground) -> Iterator[None]:
        """The live view while the run goes on: out of the way when we stop, gone at the end."""
        if self.live is None:
            yield
            return
        waiter.before_stop, waiter.after_stop = self.live.hide, self.live.show
        waiter.on_resize = self.live.look
        with contextlib.closing(self.live):
            yield

    def publish(self, measurements: Sequence[Measurement]) -> int:
        """Write it all, the document first, and return the exit status of the first that failed.

        One output that fails takes no other with it.
        """
        runs = [run for one in measurements for run in one.runs]
        status = next((run.exit.status for run in runs if run.exit.status), 0)
        for render, write in self._writes(measurements):
            try:
                # Not as that user, who may not be able to read where we are installed.
                text = render()
                with acting_as(self._wanted.user):
                    write(text)
            except CmemrunError as error:
                say(error.message, hint=error.hint)
                status = status or error.exit_status
        if not self._report and not self._wanted.quiet:
            show(_report(measurements, colour=colour(), width=width()))
        return status

    def _writes(
        self, measurements: Sequence[Measurement]
    ) -> "Iterator[tuple[Callable[[], str], Callable[[str], None]]]":
        """What makes each output, and what writes it."""
        if self._document:
            yield partial(_as_format, measurements, "json"), self._document.write
        if self._recorder:
            run, recorder = measurements[0].runs[0], self._recorder
            yield str, lambda _: recorder.end(run)
        if self._report:
            yield partial(_report, measurements, colour=False, width=None), self._report.write
        for name, output in self._exports:
            yield partial(_as_format, measurements, name), output.write


def sampling_of(wanted: Looked, publication: Publication | None = None) -> Sampling:
    """What is to be looked at, for us and for observers."""
    live = publication is not None and publication.live is not None
    return Sampling(
        refresh_seconds=wanted.refresh,
        probe=wanted.probe,
        track_processes=wanted.processes or live,
        keep_processes=wanted.processes,
        mappings=wanted.smaps,
    )


def _as_format(measurements: Sequence[Measurement], name: str) -> str:
    from cmemrun.report import render

    return render(measurements, name)


def _report(measurements: Sequence[Measurement], *, colour: bool, width: int | None) -> str:
    """The report in words: of one run all there is, of several what they have in common."""
    runs = [run for one in measurements for run in one.runs]
    if len(runs) == 1:
        from cmemrun.report import terminal

        return terminal.render(runs[0], colour=colour, width=width)
    from cmemrun.report import summary

    return summary.render(measurements, colour=colour, width=width)


def _live() -> "Live | None":
    from cmemrun.commands.live import Live

    return Live() if Live.is_possible() else None


@contextlib.contextmanager
def open_publication(wanted: Wanted) -> Iterator[Publication]:
    """Try every output, with the rights of its owner; ``BadInput``, ``OutputError``."""
    paths = (wanted.json, wanted.output, wanted.record)
    if all(path is None for path in paths) and not wanted.exports:
        yield Publication(wanted, None, None, None)
        return
    # Not as that user, who may not be able to read where we are installed.
    from cmemrun.commands.output import open_output, open_stream

    for name, _ in wanted.exports:
        require(name)
    recorder = None
    with contextlib.ExitStack() as stack:
        with acting_as(wanted.user):
            # First, as it makes its file: what names the same one is then seen to.
            stream = None if wanted.record is None else open_stream("--record", wanted.record)
        if stream is not None:
            from cmemrun.commands.recorder import Recorder

            recorder = Recorder(stream)
            stack.callback(recorder.close)
        with acting_as(wanted.user):
            # Likewise what is added to, as that makes its file, too.
            exports = {
                index: _open_export(stack, name, path)
                for index, (name, path) in sorted(
                    enumerate(wanted.exports), key=lambda one: not FORMATS[one[1][0]].is_appended
                )
            }
            document = None if wanted.json is None else open_output("--json", wanted.json)
            report = None if wanted.output is None else open_output("--output", wanted.output)
        _refuse_shared(
            ("--json", wanted.json, document),
            ("--output", wanted.output, report),
            ("--record", wanted.record, recorder),
            *(
                (f"--export {name}", path, exports[index])
                for index, (name, path) in enumerate(wanted.exports)
            ),
        )
        named = [(name, exports[index]) for index, (name, _) in enumerate(wanted.exports)]
        yield Publication(wanted, document, report, recorder, named)


def _open_export(stack: contextlib.ExitStack, name: str, path: str) -> "Output":
    from cmemrun.commands.output import open_appended, open_output

    option = f"--export {name}"
    if not FORMATS[name].is_appended:
        return open_output(option, path)
    output = open_appended(option, path)
    stack.callback(output.close)
    return output


def _refuse_shared(*outputs: "tuple[str, str | None, Output | Recorder | None]") -> None:
    """Raise ``BadInput`` where two of these options name the same file."""
    owners: dict[object, tuple[str, str | None]] = {}
    for option, path, output in outputs:
        if output is not None and output.identity is not None:
            owner, named = owners.setdefault(output.identity, (option, path))
            if owner != option and not _are_appended(owner, option):
                raise BadInput(
                    f"{owner} and {option} both name {named!r}", hint="give each a file of its own"
                )


def _are_appended(*options: str) -> bool:
    """Whether what each of these writes takes nothing away from what another has written."""
    names = [option.removeprefix("--export ") for option in options]
    return all(name in FORMATS and FORMATS[name].is_appended for name in names)
