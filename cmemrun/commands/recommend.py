"""``cmemrun recommend``: what to write into a manifest, from recorded runs."""

import codecs
import io
import json
import re
from enum import Enum
from typing import Annotated, Any, Optional

import typer
from rich.text import Text

from cmemrun.analysis.sizing import Recommendation
from cmemrun.analysis.sizing import recommend as recommend_for
from cmemrun.commands.console import print_out, say
from cmemrun.commands.inputs import read_runs
from cmemrun.commands.tables import rendered, table
from cmemrun.errors import BadInput
from cmemrun.kubernetes.quantity import format_bytes
from cmemrun.model import Run, Runtime
from cmemrun.report.text import printable
from cmemrun.runtimes import Bounds, to_set, under
from cmemrun.units import format_size

__all__ = ["recommend"]


class Qos(Enum):
    """The classes a pod can be had in on purpose."""

    GUARANTEED = "guaranteed"
    BURSTABLE = "burstable"


def recommend(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="What --json or --record has written, of runs of one program.",
            show_default=False,
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it as JSON, on standard output.")
    ] = False,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print resources, ready to be pasted.")
    ] = False,
    patch: Annotated[
        Optional[str],  # noqa: UP045 (typer wants a type)
        typer.Option("--patch", metavar="FILE", help="Print this manifest with them in it."),
    ] = None,
    container: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--container", metavar="NAME", help="The container of --patch."),
    ] = None,
    qos: Annotated[
        Qos, typer.Option("--qos", help="The class that --yaml and --patch are for.")
    ] = Qos.GUARANTEED,
) -> int:
    """Recommend memory requests and limits from saved runs.

    Each comes with the reason for it.

    \b
    Examples:
      cmemrun --json run.json -- ./myapp
      cmemrun recommend run.json
      cmemrun recommend run1.json run2.json --patch pod.yaml
    """
    if as_json + as_yaml + (patch is not None) > 1:
        raise BadInput("--json, --yaml and --patch are three answers", hint="give one of them")
    runs = [run for path in paths for run in read_runs(path)]
    found = recommend_for(runs)
    runtime = _runtime(runs, _limit(found, qos))
    if patch is not None:
        print_out(_patched(patch, container, _resources(found, qos)))
        for line in _advice(runtime):
            say(line)
    elif as_yaml:
        print_out(_as_yaml(found, qos, runtime))
    elif as_json:
        print_out(json.dumps(_document(found, runtime), indent=1) + "\n")
    else:
        print_out(_report(found, len(paths), runtime))
    return 0


def _document(found: Recommendation, runtime: Runtime | None) -> dict[str, Any]:
    told = runtime and runtime._asdict() | {"environment": dict(runtime.environment)}
    return found._asdict() | {"rules": [rule._asdict() for rule in found.rules], "runtime": told}


def _runtime(runs: list[Run], limit_bytes: int) -> Runtime | None:
    """That of the last run, with what it would do with a limit, on cgroup v2, and need set."""
    runtime = runs[-1].runtime
    if runtime is None:
        return None
    if runtime.environment:  # by us, which is only done where nobody else has
        runtime = runtime._replace(settings=(), environment=())
    bounds = Bounds(limit_bytes)
    added = to_set(runtime, {}, bounds)
    return under(runtime, bounds)._replace(environment=tuple(added.items()))


def _advice(runtime: Runtime | None) -> list[str]:
    if runtime is None:
        return []
    told = [f"with this limit {runtime.does}"] if runtime.does else []
    return told + [f"set it as {name}={value}" for name, value in runtime.environment]


def _limit(found: Recommendation, qos: Qos) -> int:
    return found.limit_bytes if qos is Qos.GUARANTEED else found.burstable_limit_bytes


def _resources(found: Recommendation, qos: Qos) -> dict[str, dict[str, str]]:
    request = found.request_bytes if qos is Qos.GUARANTEED else found.burstable_request_bytes
    return {
        "requests": {"memory": format_bytes(request)},
        "limits": {"memory": format_bytes(_limit(found, qos))},
    }


def _as_yaml(found: Recommendation, qos: Qos, runtime: Runtime | None) -> str:
    from ruamel.yaml import YAML

    file = io.StringIO()
    yaml = YAML()
    yaml.dump({"resources": _resources(found, qos)}, file)
    comments = [*found.warnings, *map(printable, _advice(runtime))]
    return "".join(f"# {comment}\n" for comment in comments) + file.getvalue()


def _patched(path: str, name: str | None, resources: dict[str, dict[str, str]]) -> str:
    """The manifest as it was, comments included, but for the memory of one container."""
    from ruamel.yaml import YAML

    from cmemrun.commands.manifests import load_yaml, read_manifest, read_pods
    from cmemrun.kubernetes.pod import containers_of

    # Once: it may be a pipe.
    text = read_manifest(path)
    pods = read_pods(path, text)
    if len(pods) > 1:
        raise BadInput(f"{path!r}: there are several pods in it", hint="give a file with one")
    wanted = pods[0].container(name).name
    documents = load_yaml(text, keep_comments=True)
    for container in containers_of(documents):
        if container["name"] == wanted:
            if not container.get("resources"):
                container["resources"] = {}
            for kind, values in resources.items():
                if not container["resources"].get(kind):
                    container["resources"][kind] = {}
                container["resources"][kind].update(values)
    file = io.StringIO()
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=2 + (offset := _list_offset(text)), offset=offset)
    yaml.dump_all(documents, file)
    return file.getvalue()


def _list_offset(text: bytes) -> int:
    """How far the lists of a manifest are moved in below their key: 0 or 2 is usual."""
    # YAML's two encodings, as its reader tells them apart.
    is_wide = text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    lines = text.decode("utf-16" if is_wide else "utf-8").replace("\r\n", "\n")
    below = re.search(r"^( *)[\w-]+:[ ]*\n(?: *#.*\n)*( *)- ", lines, re.MULTILINE)
    return max(0, len(below[2]) - len(below[1])) if below else 0


def _report(found: Recommendation, count: int, runtime: Runtime | None) -> str:
    made = table("", "request", "limit", "why", right=("request", "limit"))
    made.add_row(
        Text("Guaranteed", "bold"),
        Text(format_bytes(found.request_bytes), "bold"),
        Text(format_bytes(found.limit_bytes), "bold"),
        "request = limit, as KRR: no surprises when the node runs short (with a CPU limit, too)",
    )
    made.add_row(
        "Burstable",
        format_bytes(found.burstable_request_bytes),
        format_bytes(found.burstable_limit_bytes),
        "what it mostly takes, and room above the highest",
    )
    made.add_row("", "", "", "")
    for rule in found.rules:
        made.add_row(
            rule.name,
            format_bytes(rule.request_bytes),
            format_bytes(rule.limit_bytes),
            Text.assemble(rule.formula, "\n", (rule.source, "dim")),
        )
    runs = "one run" if count == 1 else f"{count} runs"
    warnings = [Text.assemble(("warning  ", "yellow"), warning) for warning in found.warnings]
    first = f"The highest working set of {runs} was {format_size(found.need_bytes)}.\n"
    told = [Text.assemble(("runtime  ", "dim"), printable(line)) for line in _advice(runtime)]
    return rendered(
        first, made, *([""] if told else []), *told, *([""] if warnings else []), *warnings
    )
