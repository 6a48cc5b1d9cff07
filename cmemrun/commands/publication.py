"""What becomes of a Run: the outputs that were asked for, tried before the start, written after."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Protocol

from cmemrun.commands.console import colour, say, show
from cmemrun.errors import BadInput, CmemrunError
from cmemrun.identity import User, acting_as
from cmemrun.model import Run
from cmemrun.runner import Observer
from cmemrun.sampler import Probe, Sampling
from cmemrun.signals import Foreground

if TYPE_CHECKING:
    from cmemrun.commands.live import Live
    from cmemrun.commands.output import Output
    from cmemrun.commands.recorder import Recorder

__all__ = ["Publication", "open_publication"]


class Wanted(Protocol):
    """The options of a verb that tell what is looked at, and where a run goes."""

    @property
    def refresh(self) -> float: ...
    @property
    def probe(self) -> Probe: ...
    @property
    def processes(self) -> bool: ...
    @property
    def smaps(self) -> bool: ...

    @property
    def json(self) -> str | None: ...
    @property
    def output(self) -> str | None: ...
    @property
    def record(self) -> str | None: ...
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
    ) -> None:
        self._wanted = wanted
        self._document = document
        self._report = report
        self._recorder = recorder
        self.live = _live() if wanted.live else None
        shares: list[Observer | None] = [recorder, self.live]
        self.observers = [observer for observer in shares if observer]

    @property
    def sampling(self) -> Sampling:
        """What is to be looked at, for us and our observers."""
        wanted = self._wanted
        return Sampling(
            refresh_seconds=wanted.refresh,
            probe=wanted.probe,
            track_processes=wanted.processes or self.live is not None,
            keep_processes=wanted.processes,
            mappings=wanted.smaps,
        )

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

    def publish(self, run: Run) -> int:
        """Write it all, the document first, and return the exit status.

        One output that fails takes no other with it.
        """
        from cmemrun.report import terminal

        status = run.exit.status or 0
        for write in self._writes(run):
            try:
                with acting_as(self._wanted.user):
                    write()
            except CmemrunError as error:
                say(error.message, hint=error.hint)
                status = status or error.exit_status
        if not self._report and not self._wanted.quiet:
            show(terminal.render(run, colour=colour()))
        return status

    def _writes(self, run: Run) -> Iterator[Callable[[], None]]:
        from cmemrun.report import terminal

        if self._document:
            from cmemrun.report.document import render

            yield partial(self._document.write, render(run))
        if self._recorder:
            yield partial(self._recorder.end, run)
        if self._report:
            yield partial(self._report.write, terminal.render(run, colour=False))


def _live() -> "Live | None":
    from cmemrun.commands.live import Live

    return Live() if Live.is_possible() else None


@contextlib.contextmanager
def open_publication(wanted: Wanted) -> Iterator[Publication]:
    """Try every output, with the rights of its owner; ``BadInput``, ``OutputError``."""
    if wanted.json is None and wanted.output is None and wanted.record is None:
        yield Publication(wanted, None, None, None)
        return
    # Not as that user, who may not be able to read where we are installed.
    from cmemrun.commands.output import open_output, open_stream

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
            document = None if wanted.json is None else open_output("--json", wanted.json)
            report = None if wanted.output is None else open_output("--output", wanted.output)
        _refuse_shared(
            ("--json", wanted.json, document),
            ("--output", wanted.output, report),
            ("--record", wanted.record, recorder),
        )
        yield Publication(wanted, document, report, recorder)


def _refuse_shared(*outputs: "tuple[str, str | None, Output | Recorder | None]") -> None:
    """Raise ``BadInput`` where two of these options name the same file."""
    owners: dict[object, tuple[str, str | None]] = {}
    for option, path, output in outputs:
        if output is not None and output.identity is not None:
            owner, named = owners.setdefault(output.identity, (option, path))
            if owner != option:
                raise BadInput(
                    f"{owner} and {option} both name {named!r}", hint="give each a file of its own"
                )
