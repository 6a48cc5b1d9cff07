"""The defects made on purpose can be made, and scripts/mutants tells which of them are seen."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.defects.catalog import BadList, has, read_defects

ROOT = Path(__file__).parents[2]

# A package with one function, its quick test, and an acceptance test that sees more.
FILES = {
    "cmemrun/__init__.py": "",
    "cmemrun/halve.py": (
        "def halve(size):\n    while size % 2:\n        size -= 1\n    return size // 2\n"
    ),
    "tests/test_halve.py": (
        "from cmemrun.halve import halve\n\ndef test_even():\n    assert halve(4) == 2\n"
        "\ndef test_odd():\n    halve(5)\n"
    ),
    "tests/kernels/test_real.py": (
        "import subprocess, sys\n\ndef test_another_process():\n"
        "    code = 'from cmemrun.halve import halve; print(halve(5))'\n"
        "    done = subprocess.run([sys.executable, '-c', code], capture_output=True)\n"
        "    assert done.stdout == b'2\\n'\n"
    ),
    # It boots nothing.
    "scripts/guest": (
        '#!/bin/sh\n[ "$1 $2" = "test 6.12" ] && shift 2\n'
        'exec .venv/bin/python -m pytest tests/kernels "$@"\n'
    ),
    "tests/test_red.py": "def test_red():\n    assert False\n",
}
DEFECTS = """
tests = ["tests/test_halve.py", "tests/test_of_a_later_commit.py"]

[[defect]]
name = "halve-to-a-third"
file = "cmemrun/halve.py"
old = "size // 2"
new = "size // 3"

[[defect]]
name = "halve-without-end"
file = "cmemrun/halve.py"
old = "size -= 1"
new = "size -= 2"

[[defect]]
name = "halve-odd-up"
file = "cmemrun/halve.py"
old = "size -= 1"
new = "size += 1"

[[defect]]
name = "halve-no-odd-below-zero"
file = "cmemrun/halve.py"
old = "while size % 2:"
new = "while size % 2 and size > 0:"

[[defect]]
name = "halve-odd-up-on-another-kernel"
file = "cmemrun/halve.py"
old = "size -= 1"
new = "size += 1"
kernel = "6.12"

[[defect]]
name = "halve-by-shifting"
file = "cmemrun/halve.py"
old = "size // 2"
new = "size >> 1"
equivalent = "both round down"

[[defect]]
name = "halve-of-a-later-commit"
file = "cmemrun/halve.py"
old = "size / 2"
new = "size / 3"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A made-up checkout, with this one's Python."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "scripts/guest").chmod(0o755)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "defects").mkdir()
    (tmp_path / "defects/halve.toml").write_text(DEFECTS)
    return tmp_path


def mutants(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.defects", "--root", str(project)]
    command += ["--defects", str(project / "defects"), *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        # The made-up package has not the plugin that is installed under its name.
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def outcomes(stdout: str) -> dict[str, tuple[str, str]]:
    """Outcome and detail of each defect, from the table."""
    rows = [re.split(" {2,}", line.rstrip()) for line in stdout.splitlines()]
    return {name: (kind, detail) for name, kind, detail in rows[1:-1]}


def test_listed_defects_fit_the_source_and_their_tests_exist() -> None:
    # In one test: what every test costs would be most of it.
    wrong = []
    for defect in read_defects(ROOT / "tests/defects"):
        try:
            defect.apply((ROOT / defect.file).read_text())
        except BadList as error:
            wrong.append(str(error))
        wrong += [f"{defect.name}: no test {test}" for test in defect.tests if not has(ROOT, test)]
        if not defect.tests:
            wrong.append(f"{defect.name}: no test claims it")
        if not defect.name.startswith(f"{Path(defect.file).stem}-"):
            wrong.append(f"{defect.name}: does not start with the module")
    assert not wrong


@pytest.mark.slow
def test_killed_survived_hung_and_equivalent_are_told_apart(project: Path) -> None:
    done = mutants(project, "--patience", "1")
    assert done.returncode == 1, done.stderr
    real = "tests/kernels/test_real.py::test_another_process"
    assert outcomes(done.stdout) == {
        "halve-to-a-third": ("killed", "tests/test_halve.py::test_even"),
        "halve-without-end": ("killed", "a hang in tests/test_halve.py::test_odd"),
        "halve-odd-up": ("killed", f"tests/kernels: {real}"),
        "halve-odd-up-on-another-kernel": ("killed", f"guest 6.12: {real}"),
        "halve-no-odd-below-zero": ("survived", "tests/kernels and the quick tests"),
        "halve-by-shifting": ("equivalent", "both round down"),
        "halve-of-a-later-commit": (
            "not found",
            "halve-of-a-later-commit: what it replaces occurs 0 times in cmemrun/halve.py",
        ),
    }
    assert "7 defects: 4 killed, 1 survived, 1 equivalent, 1 not found" in done.stdout
    assert (project / "cmemrun/halve.py").read_text() == FILES["cmemrun/halve.py"]
    assert not (project / "cmemrun/__pycache__").exists()


def test_survivor_of_the_quick_tests_exits_1(project: Path) -> None:
    done = mutants(project, "--quick", "halve-odd-up", "halve-to-*")
    assert done.returncode == 1, done.stderr
    assert {name: kind for name, (kind, _) in outcomes(done.stdout).items()} == {
        "halve-to-a-third": "killed",
        "halve-odd-up": "survived",
    }


def test_tests_that_are_red_without_a_defect_exit_2(project: Path) -> None:
    path = project / "defects/halve.toml"
    path.write_text(
        path.read_text().replace("tests/test_of_a_later_commit.py", "tests/test_red.py")
    )
    done = mutants(project)
    assert done.returncode == 2
    assert "red without any defect: tests/test_red.py::test_red" in done.stderr
    assert not done.stdout


def test_name_that_no_defect_has_exits_2(project: Path) -> None:
    done = mutants(project, "--list", "halve-*", "halve-everything")
    assert done.returncode == 2
    assert "halve-everything" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        DEFECTS + DEFECTS.partition("\n\n")[2].partition("\n\n")[0],
        '[[defect]]\nname = "halve-nothing"\n',
        DEFECTS + 'because = "one more key"\n',
        "[[defect]",
    ],
    ids=["twice the same name", "no edit", "unknown key", "not TOML"],
)
def test_bad_list_is_refused_with_the_file_it_is_in(tmp_path: Path, text: str) -> None:
    (tmp_path / "halve.toml").write_text(text)
    with pytest.raises(BadList, match=r"^halve\.toml: "):
        read_defects(tmp_path)
