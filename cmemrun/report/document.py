"""A Run as a versioned document, to be written as JSON.

History of the format: names are added, none is renamed or given another meaning.

1   the first
"""

import json
from typing import Any

from cmemrun.model import Budget, Limit, Oom, Process, Run, Sample, Unlimited
from cmemrun.report.text import unicode_text

__all__ = ["SCHEMA", "render", "to_document"]

SCHEMA = 1


def render(run: Run) -> str:
    """The document as JSON text, in ASCII."""
    return json.dumps(to_document(run), indent=1, allow_nan=False) + "\n"


def to_document(run: Run) -> dict[str, Any]:
    """The document: sizes are integers in bytes, ``None`` is what the kernel does not say."""
    return {
        "schema": SCHEMA,
        "command": [unicode_text(word) for word in run.command],
        "user": run.user,
        "pid": run.pid,
        "started_at": run.started_at.isoformat(),
        "wall_seconds": run.wall_seconds,
        "cpu_user_seconds": run.cpu_user_seconds,
        "cpu_system_seconds": run.cpu_system_seconds,
        "exit": {
            "status": run.exit.status,
            "code": run.exit.code,
            "signal": run.exit.signal,
            "timed_out": run.exit.timed_out,
        },
        "environment": run.environment._asdict(),
        "method": run.method._asdict()
        | {"group": unicode_text(run.method.group), "notes": list(run.method.notes)},
        "limits": {
            "max_bytes": _limit(run.limits.max_bytes),
            "oom_group": run.limits.oom_group,
        },
        "peak_bytes": run.peak_bytes,
        "upper_bound_bytes": run.upper_bound_bytes,
        "peak_working_set_bytes": run.peaks.working_set_bytes,
        "peak_anon_bytes": run.peaks.anon_bytes,
        "peak_file_bytes": run.peaks.file_bytes,
        "peak_kernel_bytes": run.peaks.kernel_bytes,
        "peak_swap_bytes": run.peaks.swap_bytes,
        "peak_tasks": run.peaks.tasks,
        "at_peak": _sample(run.at_peak)
        | {
            "composition": run.at_peak.composition and run.at_peak.composition._asdict(),
            "processes": [_process(process) for process in run.at_peak.processes],
            "processes_elapsed_seconds": run.at_peak.processes_elapsed_seconds,
        },
        "at_exit": _sample(run.at_exit),
        "events": run.events._asdict(),
        "oom": _oom(run.oom),
        "budgets": [_budget(budget) for budget in run.budgets],
        "stragglers": [
            {
                "pid": straggler.pid,
                "name": straggler.name and unicode_text(straggler.name),
                "command": [unicode_text(word) for word in straggler.command],
            }
            for straggler in run.stragglers
        ],
        "samples": [_sample(sample) for sample in run.samples],
    }


def _process(process: Process) -> dict[str, Any]:
    return process._asdict() | {
        "name": unicode_text(process.name),
        "command": [unicode_text(word) for word in process.command],
    }


def _oom(oom: Oom) -> dict[str, Any]:
    return {
        "verdict": oom.verdict,
        "limit": oom.limit,
        "victims": [
            victim._asdict() | {"name": unicode_text(victim.name)} for victim in oom.victims
        ],
        "evidence": [unicode_text(text) for text in oom.evidence],
    }


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "elapsed_seconds": sample.elapsed_seconds,
        "usage_bytes": sample.usage_bytes,
        "working_set_bytes": sample.working_set_bytes,
        "anon_bytes": sample.anon_bytes,
        "file_bytes": sample.file_bytes,
        "kernel_bytes": sample.kernel_bytes,
        "shmem_bytes": sample.shmem_bytes,
        "sock_bytes": sample.sock_bytes,
        "inactive_file_bytes": sample.inactive_file_bytes,
        "swap_bytes": sample.swap_bytes,
        "tasks": sample.tasks,
    }


def _budget(budget: Budget) -> dict[str, Any]:
    return {
        "metric": budget.metric,
        "allowed": budget.allowed,
        "measured": budget.measured,
        "passed": budget.passed,
        "margin": budget.margin,
        "certainty": budget.certainty,
    }


def _limit(limit: Limit) -> int | str | None:
    return limit.value if isinstance(limit, Unlimited) else limit
