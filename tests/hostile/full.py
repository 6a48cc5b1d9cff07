"""Runs and documents with something in every place there is."""

import json

from cmemrun.analysis.search import Fit, Outcome, Trial
from cmemrun.model import (
    BpfMap,
    Budget,
    Composition,
    Events,
    Limits,
    Mappings,
    Measurement,
    Oom,
    OomTask,
    OomVictim,
    Paging,
    Pressure,
    Process,
    Runtime,
    Setting,
    Straggler,
)
from cmemrun.report import document, fit_document, measurements
from cmemrun.report.fit_document import SavedFit
from tests.made_up import MIB, RUN, SAMPLE

__all__ = ["FULL", "FULL_SAMPLE", "ONE", "SEARCH", "SEVERAL"]

PROCESS = Process(7, 1, "x", ("x", "-y"), MIB, MIB, MIB, 0, 1, Mappings(1, 2, 3, 4, 5, 6))
FULL_SAMPLE = SAMPLE._replace(
    processes=(PROCESS,),
    processes_elapsed_seconds=0.5,
    pressure=Pressure(0.1, 0.05),
    events=Events(oom_kill=1),
    tasks=3,
    swap_bytes=1,
    sock_bytes=2,
    composition=Composition(*range(1, 13)),
)
FULL = RUN._replace(
    user="me",
    upper_bound_bytes=200 * MIB,
    at_peak=FULL_SAMPLE,
    at_peak_anon=FULL_SAMPLE,
    at_peak_working_set=FULL_SAMPLE,
    pressure=Pressure(0.2, 0.1),
    paging=Paging(1, 2, 3, 4, 5, 6),
    bpf_maps=(BpfMap(1, "hash", 4096, 0),),
    bpf_maps_charged=True,
    rules=(Setting("memory.max", "1", "rule", "source"),),
    oom=Oom(
        "child-killed",
        "own",
        (OomVictim(1, "v", 1, 2, 3, 0),),
        ("because",),
        (OomTask(1, "t", 5, 6, 0),),
        (SAMPLE,),
    ),
    samples=(FULL_SAMPLE, SAMPLE._replace(elapsed_seconds=2.0)),
    stragglers=(Straggler(3, "z", ("z",)),),
    budgets=(Budget("peak", MIB, 2 * MIB, "exact"), Budget("wall", 3.0, 2.5, "sampled", True)),
    runtime=Runtime("go", "1.22", "/x", ("GOMEMLIMIT=1",), "does", (("A", "b"),)),
    limits=Limits(64 * MIB, False, 1, 2, 3, 4, 5, 6, 7, (("memory.file", "b"),)),
    events=Events(1, 2, 3, 4, 5, 6),
)
TRIAL = Trial(64 * MIB, Outcome.OK, 1.0, 0.1, MIB, MIB, 3, 1)
ONE = json.loads(document.render(FULL))
SEVERAL = json.loads(
    measurements.render(
        [
            Measurement("a", (FULL, FULL._replace(peak_bytes=50 * MIB), FULL)),
            Measurement("b", (FULL,)),
        ]
    )
)
SEARCH = json.loads(
    fit_document.render(
        SavedFit(("x",), Fit(TRIAL, (TRIAL,), 64 * MIB, 128 * MIB, 32 * MIB, True), 0.1)
    )
)
