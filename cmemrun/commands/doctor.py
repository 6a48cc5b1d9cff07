"""``cmemrun doctor``: what can be measured here, how well, and what would make it better."""

import json
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cmemrun.commands.console import print_out
from cmemrun.commands.tables import rendered, table
from cmemrun.diagnosis import Diagnosis, Machine, Place, Way, examine
from cmemrun.report.text import printable, unicode_text
from cmemrun.units import format_size

__all__ = ["doctor"]

SCHEMA = 1

_WAYS = {
    "delegated-v2": "a group below one that was left to us",
    "delegated-v1": "a group below one that was left to us",
    "systemd": "a scope of systemd's",
    "v2": "a directory in the v2 tree",
    "v1": "a directory in v1's memory tree",
    "proc": "watching the processes, without a group",
}
_OVERCOMMIT = {0: "by a rule of thumb", 1: "always", 2: "never beyond the limit"}


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it as JSON, on standard output.")
    ] = False,
) -> int:
    """Try every way to measure here, and say what each lacks.

    The best one is proved with a known load. Exits with 0 where a memory group can
    be had and counts rightly, with 1 where only the processes can
    be watched: in CI, a gate before a budget.

    \b
    Examples:
      cmemrun doctor
      cmemrun doctor --json > doctor.json
    """
    found = examine()
    text = json.dumps(_document(found), indent=1) + "\n" if as_json else _report(found)
    print_out(text)
    return 0 if found.group_possible else 1


def _report(found: Diagnosis) -> str:
    tables = [made for made in (_facts(found), _ways(found), _offers(found)) if made.row_count]
    return rendered(*(part for made in tables for part in (made, "")), _verdict(found))


def _document(found: Diagnosis) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "cmemrun": found.cmemrun,
        "machine": found.machine._asdict(),
        "place": found.place._asdict()
        | {"group": found.place.group and unicode_text(found.place.group)},
        "ways": [
            way._asdict() | {"group": way.group and unicode_text(way.group)} for way in found.ways
        ],
        "chosen": found.chosen,
        "offers": {offer.name: offer.offered for offer in found.offers},
        "proof": found.proof._asdict() | {"passed": found.proof.passed},
        "group_possible": found.group_possible,
    }


def _facts(found: Diagnosis) -> Table:
    made = table("", "", header=False)
    for name, value in [*_of_machine(found.machine), *_of_place(found.place)]:
        made.add_row(name, Text(printable(value)))
    return made


def _of_machine(machine: Machine) -> list[tuple[str, str]]:
    facts = [
        ("kernel", f"Linux {machine.kernel}, {machine.machine}, {machine.cpus} CPUs"),
        ("memory", f"{format_size(machine.memory_bytes)}, swap {_swap(machine)}"),
    ]
    if machine.overcommit_mode is not None:
        rule = _OVERCOMMIT.get(machine.overcommit_mode, "in an unknown way")
        limit = ""
        if machine.commit_limit_bytes is not None and machine.committed_bytes is not None:
            limit = (
                f", {format_size(machine.committed_bytes)} of"
                f" {format_size(machine.commit_limit_bytes)} committed"
            )
        facts.append(("overcommit", f"{rule} (mode {machine.overcommit_mode}){limit}"))
    if machine.container:
        facts.append(("container", machine.container))
    return facts


def _swap(machine: Machine) -> str:
    return format_size(machine.swap_bytes) if machine.swap_bytes else "none"


def _of_place(place: Place) -> list[tuple[str, str]]:
    memory = f"memory on v{place.memory_version}" if place.memory_version else "no memory"
    limit = format_size(place.limit_bytes) if place.limit_bytes is not None else "none to be seen"
    return [
        ("groups", f"{place.hierarchy}, {memory}, managed by {place.manager or 'nobody'}"),
        ("we are", f"user {place.user_id} in {place.group or 'a group that cannot be seen'}"),
        ("limit there", limit),
    ]


def _ways(found: Diagnosis) -> Table:
    made = table("", "", "", header=False)
    for way in found.ways:
        made.add_row(way.name, _state(way, found.chosen), _WAYS[way.name])
        remedy = way.remedy and f"to mend it: {way.remedy}"
        for line in filter(None, (way.group, way.reason, remedy, *way.notes)):
            made.add_row("", "", Text(printable(line), "dim"))
    return made


def _state(way: Way, chosen: str) -> Text:
    if way.name == chosen:
        return Text("taken", "green" if way.name != "proc" else "yellow")
    return Text("usable", "green") if way.usable else Text("no", "red")


def _offers(found: Diagnosis) -> Table:
    made = table("", "", "", header=False)
    for offer in found.offers:
        state = Text("yes", "green") if offer.offered else Text("no", "yellow")
        made.add_row(offer.name, state, offer.purpose)
    return made


def _verdict(found: Diagnosis) -> Text:
    proof = found.proof
    load = format_size(proof.load_bytes)
    if proof.anon_bytes is None or proof.peak_bytes is None:
        return Text(f"not proved: {printable(proof.error or 'no anon was counted')}", "red")
    read = (
        f"a load of {load} read as {format_size(max(0, proof.anon_bytes))} anon"
        f" and {format_size(max(0, proof.peak_bytes))} more at the peak"
    )
    if not proof.passed:
        return Text(f"NOT RIGHT: {read}", "red")
    if found.chosen == "proc":
        return Text(f"proved, as a lower bound only: {read}", "yellow")
    return Text(f"proved with {proof.backend}: {read}", "green")
