"""The Run that callers get: the model's, which shows itself."""

from cmemrun import model
from cmemrun.report.text import command_line
from cmemrun.units import format_size

__all__ = ["Run"]


class Run(model.Run):
    """One measured command, from its birth to the end of its last process.

    Sizes are in bytes and times in seconds, as their names say; ``None`` is what
    the kernel does not say. ``print(run)`` is the report that the command line
    prints, and a notebook shows a table.
    """

    __slots__ = ()

    def __str__(self) -> str:
        from cmemrun.report.terminal import render

        return render(self, colour=False)

    def __repr__(self) -> str:
        bound = "at least " if self.method.lower_bound else ""
        subject = command_line(self.command, 60) or self.method.group
        return f"<Run {subject}: peak {bound}{format_size(self.peak_bytes)}, {self._ended()}>"

    def _ended(self) -> str:
        status = self.exit.status
        return "its end not seen" if status is None else f"status {status}"

    def _repr_html_(self) -> str:
        """For Jupyter and whoever else asks for it."""
        from cmemrun.report.page import fragment

        return fragment(self)
