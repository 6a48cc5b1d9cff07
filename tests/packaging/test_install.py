"""What is built is what users install: on every Python, by pip and by pipx, old and new."""

import glob
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from readme_renderer import markdown

import cmemrun

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LONG = bool(os.environ.get("CMEMRUN_TEST_LONG"))


def run(*command: str, **more: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | more,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def interpreter(version: str) -> str:
    """A Python of this version that works, on PATH or where pyenv keeps it."""
    name = f"python{version}"
    found = [f"{directory}/{name}" for directory in os.get_exec_path()]
    if pyenv := shutil.which("pyenv"):
        found += glob.glob(f"{run(pyenv, 'root').strip()}/versions/{version}.*/bin/{name}")
    for path in filter(os.path.exists, found):
        asked = [path, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        if told.stdout.strip() == version:
            return path
    pytest.skip(f"there is no Python {version} here")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and the wheel that was made of it."""
    path = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--outdir", str(path), str(ROOT))
    return path


def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


def sdist(built: Path) -> Path:
    return next(built.glob("*.tar.gz"))


def environment(python: str, path: Path, *wanted: str) -> Path:
    """The programs of an empty virtual environment that has what is wanted and what that needs."""
    run(python, "-m", "venv", "--without-pip", str(path))
    pip = (sys.executable, "-m", "pip", "--python", str(path / "bin/python"))
    run(*pip, "install", "--quiet", "--no-compile", *wanted)
    run(*pip, "check")
    return path / "bin"


def meet(programs: Path, directory: Path) -> None:
    """What somebody tries who has just installed it."""
    command, saved = str(programs / "cmemrun"), str(directory / "run.json")
    assert run(command, "--version") == f"cmemrun {cmemrun.__version__}\n"
    assert run(command, "--", "echo", "mine") == "mine\n"
    assert run(command, "--help").startswith("Usage: cmemrun [OPTIONS] [--] PROGRAM [ARG]...\n")
    python = str(programs / "python")
    assert run(python, "-m", "cmemrun", "--quiet", "--json", saved, "--", "echo", "it") == "it\n"
    assert "high-water mark" in run(command, "report", saved)
    assert "limit" in run(command, "recommend", saved)
    assert json.loads(run(command, "recommend", "--json", saved))["limit_bytes"] > 0
    assert "memory.max" in run(command, "--k8s-limit", "64Mi", "--explain")
    assert "limits:" in run(command, "recommend", "--yaml", saved)
    code = "import cmemrun; print(cmemrun.measure(['true']).exit.status)"
    assert run(python, "-c", code) == "0\n"


@pytest.mark.parametrize(
    ("python", "kind"),
    [("3.11", wheel), ("3.13", wheel), ("3.13", sdist)]
    + ([("3.12", wheel), ("3.11", sdist), ("3.12", sdist)] if LONG else []),
)
def test_installed_it_runs(
    python: str, kind: Callable[[Path], Path], built: Path, tmp_path: Path
) -> None:
    programs = environment(interpreter(python), tmp_path / "venv", str(kind(built)))
    meet(programs, tmp_path)
    # As man-db does for every directory on PATH.
    page = run("man", "--where", "cmemrun", PATH=f"{programs}:{os.environ['PATH']}")
    assert page == f"{tmp_path}/venv/share/man/man1/cmemrun.1\n"
    library = next((tmp_path / "venv/lib").glob("python*/site-packages"))
    assert (library / "cmemrun/py.typed").exists()
    names = {path.name.split("-")[0].lower() for path in library.glob("*.dist-info")}
    declared = {Requirement(one).name.replace(".", "_") for one in PROJECT["dependencies"]}
    assert {name.replace(".", "_") for name in names} >= {"cmemrun", *declared}
    assert names.isdisjoint({"matplotlib", "numpy", "pydantic", "click"})
    size = sum(path.stat().st_size for path in library.rglob("*") if path.suffix != ".pyc")
    print(f"{len(names)} distributions, {size / 2**20:.1f} MiB")
    assert size < 20 * 2**20
    drawn = subprocess.run(
        [programs / "cmemrun", "plot", tmp_path / "run.json", "-o", tmp_path / "run.svg"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert drawn.returncode == 125
    assert "pip install matplotlib" in drawn.stderr


def test_the_oldest_versions_that_are_allowed_will_do(built: Path, tmp_path: Path) -> None:
    constraints = []
    for one in map(Requirement, PROJECT["dependencies"]):
        lowest = next(part.version for part in one.specifier if part.operator == ">=")
        assert one.specifier == SpecifierSet(f">={lowest}") or one.name == "typer"
        constraints.append(f"{one.name}=={lowest}\n")
    (tmp_path / "constraints").write_text("".join(constraints))
    programs = environment(
        interpreter("3.11"),
        tmp_path / "venv",
        *("--constraint", str(tmp_path / "constraints")),
        str(wheel(built)),
    )
    meet(programs, tmp_path)


def test_by_pipx(built: Path, tmp_path: Path) -> None:
    places = {
        "PIPX_HOME": str(tmp_path / "home"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_MAN_DIR": str(tmp_path / "man"),
        "PIPX_DEFAULT_PYTHON": sys.executable,
    }
    run(sys.executable, "-m", "pipx", "install", str(wheel(built)), **places)
    assert run(str(tmp_path / "bin/cmemrun"), "--", "echo", "mine") == "mine\n"
    assert (tmp_path / "man/man1/cmemrun.1").read_text().startswith(".TH CMEMRUN 1")


def test_what_the_wheel_holds(built: Path) -> None:
    with zipfile.ZipFile(wheel(built)) as archive:
        names = archive.namelist()
        text = next(archive.read(name) for name in names if name.endswith("/METADATA"))
    told = f"cmemrun-{cmemrun.__version__}"
    assert {name.split("/")[0] for name in names} == {
        "cmemrun",
        f"{told}.dist-info",
        f"{told}.data",
    }
    assert f"{told}.data/data/share/man/man1/cmemrun.1" in names
    assert f"{told}.dist-info/licenses/LICENSE" in names
    assert "cmemrun/py.typed" in names
    assert "cmemrun/share/cmemrun.1" not in names
    metadata = Metadata.from_email(text, validate=True)
    assert metadata.license_expression == "MIT"
    assert metadata.license_files == ["LICENSE"]
    needed = [one for one in metadata.requires_dist or [] if not one.marker]
    declared = {str(Requirement(one)).replace(".yaml", "-yaml") for one in PROJECT["dependencies"]}
    assert set(map(str, needed)) == declared
    assert metadata.requires_python == ">=3.11"
    # As PyPI renders it, which gives None for what it cannot.
    body = message_from_bytes(text).get_payload(decode=True)
    assert isinstance(body, bytes)
    page = markdown.render(str(body, "utf-8"))
    assert page is not None
    assert "<h1" in page
    assert "<table" in page


def test_what_the_sdist_holds(built: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist(built)) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / f"cmemrun-{cmemrun.__version__}"
    kept = run("git", "-C", str(ROOT), "ls-files", "cmemrun", "tests", "examples", "scripts")
    for name in kept.splitlines():
        assert (unpacked / name).exists() or not (ROOT / name).exists(), name
    # Enough of a checkout for its tests: some of them, as they are run here.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    for tests in ("tests/kernel/test_files.py", "tests/test_docker.py", "tests/test_units.py"):
        command.append(tests)
    done = subprocess.run(
        command, cwd=unpacked, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
