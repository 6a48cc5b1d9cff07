"""The plugin in test suites of others."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.loads import LOADS

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

HOLD = ["sh", "hold"]


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A directory to write a suite into; ``HOLD`` and a number of MiB is a command there."""
    pytester.makeini("[pytest]\naddopts = --strict-markers -p no:cacheprovider\n")
    Path(pytester.path, "hold").write_text(f"exec {sys.executable} -S -E {LOADS} anon $1")
    pytester.makeconftest(f"import builtins\nbuiltins.HOLD = {HOLD!r}\n")
    return pytester


def run(suite: pytest.Pytester, *options: str) -> pytest.RunResult:
    return suite.runpytest_subprocess("-ra", *options, timeout=100)


def test_budgets_of_markers(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.memory_budget("64Mi", "oom_kill=0")
        def test_within(cmemrun):
            run = cmemrun(HOLD + ["16"])
            assert [budget.metric for budget in run.budgets] == ["peak", "oom_kill"]

        @pytest.mark.memory_budget("16Mi")
        def test_over(cmemrun):
            cmemrun(HOLD + ["2"])
            cmemrun(HOLD + ["32"])
            cmemrun(HOLD + ["48"])

        @pytest.mark.memory_budget(16 * 2**20, "anon<=1Mi")
        def test_two_over(cmemrun):
            cmemrun(HOLD + ["32"])

        @pytest.mark.memory_budget("oom_kill=0")
        def test_an_assertion_alone(cmemrun):
            assert [one.metric for one in cmemrun(["true"]).budgets] == ["oom_kill"]

        @pytest.mark.memory_budget("16Mi")
        class TestMany:
            def test_of_its_class(self, cmemrun):
                cmemrun(HOLD + ["32"])

            @pytest.mark.memory_budget("64Mi")
            def test_of_its_own(self, cmemrun):
                cmemrun(HOLD + ["32"])

            def test_nothing_to_measure(self):
                pass

        @pytest.mark.memory_budget("16Mi")
        def test_body_first(cmemrun):
            cmemrun(HOLD + ["32"])
            assert not "its own failure"
        """
    )
    found = run(suite)
    found.assert_outcomes(passed=4, failed=4)
    told = found.stdout.str()
    over = [line for line in told.splitlines() if " is over the allowed 16.0 MiB" in line]
    assert len([line for line in over if "sh hold 32: peak 3" in line and "(exact)" in line]) >= 2
    assert any("sh hold 48: peak 5" in line and "margin -3" in line for line in over)
    assert not any("sh hold 2:" in line for line in over)
    assert "sh hold 32: anon 3" in told and "is over the allowed 1.0 MiB" in told
    assert "its own failure" in told


def test_a_budget_for_all(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest

        def test_default(cmemrun):
            cmemrun(HOLD + ["32"])

        @pytest.mark.memory_budget("64Mi")
        def test_own(cmemrun):
            cmemrun(HOLD + ["32"])

        def test_without():
            pass
        """
    )
    run(suite, "--memory-budget", "16Mi").assert_outcomes(passed=2, failed=1)
    run(suite, "--memory-budget", "64Mi").assert_outcomes(passed=3)
    for wrong in ("16m", "0", "much"):
        found = run(suite, "--memory-budget", wrong)
        assert found.ret == pytest.ExitCode.USAGE_ERROR
        found.stderr.fnmatch_lines(["*--memory-budget: *"])


def test_what_the_fixture_returns(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import subprocess
        import pytest
        from cmemrun import Limits, ProgramNotFound
        from cmemrun.pytest_plugin import Measure

        def test_output(cmemrun: Measure, capfd):
            run = cmemrun(["sh", "-c", "echo out; echo err >&2"])
            assert (run.stdout, run.stderr) == ("out\\n", "err\\n")
            assert capfd.readouterr() == ("", "")

        def test_its_own_streams(cmemrun: Measure, capfd):
            run = cmemrun(["echo", "out"], stderr=subprocess.DEVNULL)
            assert run.stdout is None and capfd.readouterr() == ("out\\n", "")

        def test_options(cmemrun: Measure):
            run = cmemrun(["true"], limits=Limits(max="64Mi"), assertions=["wall<=1h"])
            assert run.limits.max_bytes == 64 * 2**20 and run.budgets[0].passed

        def test_none_such(cmemrun: Measure):
            with pytest.raises(ProgramNotFound):
                cmemrun(["no-such-program"])

        def test_a_program_that_fails(cmemrun: Measure):
            cmemrun(["sh", "-c", "echo the reason >&2; exit 3"])

        def test_one_that_is_killed(cmemrun: Measure):
            cmemrun(HOLD + ["64"], limits=Limits(max="16Mi", swap=0))

        def test_one_that_may_fail(cmemrun: Measure):
            assert cmemrun(["false"], check=False).exit.status == 1

        @pytest.mark.memory_budget("64Mi")
        def test_threads(cmemrun: Measure):
            from concurrent.futures import ThreadPoolExecutor
            with ThreadPoolExecutor(4) as pool:
                runs = list(pool.map(lambda mib: cmemrun(HOLD + [str(mib)]), (8, 16, 24, 32)))
            assert sorted(runs, key=lambda run: run.peak_bytes) == runs
        """
    )
    found = run(suite)
    found.assert_outcomes(passed=6, failed=2)
    found.stdout.fnmatch_lines(["*exit 3; no OOM kill*", "*the reason*"])
    found.stdout.fnmatch_lines(["*ended by SIGKILL*the OOM killer ended the program*"])


def test_a_budget_that_nothing_is_held_against(suite: pytest.Pytester) -> None:
    """It would else look as if it were kept."""
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.memory_budget("64Mi")
        def test_no_fixture():
            pass

        @pytest.mark.memory_budget("64Mi")
        def test_no_command(cmemrun):
            pass

        @pytest.mark.memory_budget("64Mi")
        def test_skipped(cmemrun):
            pytest.skip("on purpose")

        @pytest.mark.memory_budget("64Mi", anon="1Mi")
        def test_no_names(cmemrun):
            cmemrun(["true"])

        @pytest.mark.memory_budget()
        def test_no_budget(cmemrun):
            cmemrun(["true"])

        @pytest.mark.memory_budget("64m")
        def test_no_size(cmemrun):
            cmemrun(["true"])

        @pytest.mark.memory_budget("64Mi", "annon<=1Mi")
        def test_no_metric(cmemrun):
            cmemrun(["true"])
        """
    )
    found = run(suite)
    found.assert_outcomes(failed=2, skipped=1, errors=4)
    found.stdout.fnmatch_lines(["*use the fixture cmemrun*", "*has measured no command*"])


def test_a_lower_bound_is_warned_of(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.memory_budget("1Gi", "tasks<=50")
        def test_within(cmemrun):
            cmemrun(HOLD + ["8"], backend="proc")

        @pytest.mark.memory_budget("4Mi")
        def test_over(cmemrun):
            cmemrun(HOLD + ["8"], backend="proc")
        """
    )
    found = run(suite)
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(["*BudgetNotProven: sh hold 8: tasks *(lower bound, not proven)*"])
    found.stdout.fnmatch_lines(["*is over the allowed 4.0 MiB*(lower bound)*"])
    run(suite, "-W", "error::cmemrun.pytest_plugin.BudgetNotProven").assert_outcomes(failed=2)


def test_fixtures_measure_too(suite: pytest.Pytester) -> None:
    """Before the body and after it, also where there is none for a setup that fails."""
    suite.makepyfile(
        """
        import pytest

        @pytest.fixture
        def around(cmemrun):
            cmemrun(HOLD + ["4"])
            yield
            cmemrun(HOLD + ["32"])

        @pytest.fixture
        def broken(cmemrun):
            cmemrun(HOLD + ["8"])
            raise ValueError

        @pytest.mark.memory_budget("64Mi")
        def test_within(around, cmemrun):
            cmemrun(HOLD + ["12"])

        @pytest.mark.memory_budget("24Mi")
        def test_over(around):
            pass

        @pytest.mark.memory_budget("4Mi")
        def test_of_the_setup(broken):
            pass

        def test_letters(cmemrun):
            from cmemrun import BadInput
            with pytest.raises(BadInput, match="a list of texts is wanted"):
                cmemrun(["true"], assertions="oom_kill=0")
        """
    )
    found = run(suite, "--memory-report", "--junitxml=junit.xml")
    found.assert_outcomes(passed=3, errors=2)
    found.stdout.fnmatch_lines(["*ERROR at teardown of test_over*", "*sh hold 32: peak 3*is over*"])
    assert "sh hold 4: peak" not in found.stdout.str()
    section = found.stdout.str().split("memory of commands")[1].split("short test")[0]
    rows = [line.split("::")[1] for line in section.splitlines() if "::" in line]
    assert sorted(rows) == [
        "test_of_the_setup  sh hold 8",
        "test_over  sh hold 32",
        "test_over  sh hold 4",
        "test_within  sh hold 12",
        "test_within  sh hold 32",
        "test_within  sh hold 4",
    ]
    [case] = [
        case
        for case in ElementTree.parse(suite.path / "junit.xml").iter("testcase")  # noqa: S314
        if case.attrib["name"] == "test_within"
    ]
    commands = {
        one.attrib["value"]
        for one in case.iter("property")
        if one.attrib["name"].endswith(".command")
    }
    assert commands == {"sh hold 4", "sh hold 12", "sh hold 32"}


def test_an_older_pytest_loads_it() -> None:
    """It has fewer names, and whoever has cmemrun installed loads the plugin."""
    code = (
        "import pytest; vars(pytest).pop('TerminalReporter', None)\n"
        "assert not hasattr(pytest, 'TerminalReporter')\n"
        "import cmemrun.pytest_plugin as plugin; print(plugin.pytest_addoption.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("cmemrun.pytest_plugin\n", "")


REPORTED = """
    import pytest

    @pytest.mark.memory_budget("64Mi")
    @pytest.mark.parametrize("mib", [8, 16, 24, 32])
    def test_within(cmemrun, mib):
        cmemrun(HOLD + [str(mib)])

    @pytest.mark.memory_budget("16Mi")
    def test_over(cmemrun):
        cmemrun(["true", "\\x1b<&\\udcff"])
        cmemrun(HOLD + ["40"])

    def test_silent():
        pass
    """


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_the_report(suite: pytest.Pytester, workers: tuple[str, ...]) -> None:
    suite.makepyfile(REPORTED)
    written = Path(suite.path, "junit.xml")
    found = run(suite, "--memory-report", f"--junitxml={written}", *workers)
    found.assert_outcomes(passed=5, failed=1)
    section = found.stdout.str().split("memory of commands")[1].split("short test")[0]
    rows = [line.split(maxsplit=3) for line in section.splitlines() if "::" in line]
    # The largest first, whichever worker it came from.
    for (size, unit, test, command), mib in zip(rows, (40, 32, 24, 16, 8), strict=False):
        assert mib < float(size) < mib + 8 and unit == "MiB" and command == f"sh hold {mib}"
        assert test.endswith("::test_over" if mib == 40 else f"::test_within[{mib}]")
    assert len(rows) == 6
    assert section.count("within  peak") == 5 and section.count("over  peak") == 1
    assert "\x1b" not in section
    properties = {
        case.attrib["name"]: {
            one.attrib["name"]: one.attrib["value"] for one in case.iter("property")
        }
        for case in ElementTree.parse(written).iter("testcase")  # noqa: S314
    }
    assert not properties["test_silent"]
    over = properties["test_over"]
    assert int(over["cmemrun.2.peak_bytes"]) >= 40 * 2**20 > int(over["cmemrun.1.peak_bytes"])
    assert over["cmemrun.2.command"] == "sh hold 40"
    assert over["cmemrun.2.lower_bound"] == "false"
    assert "is over the allowed" in over["cmemrun.2.budget.peak"]
    assert "\\x1b" in over["cmemrun.1.command"]


def test_nothing_to_report(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_one():\n    pass")
    found = run(suite, "--memory-report")
    found.assert_outcomes(passed=1)
    found.stdout.fnmatch_lines(["*memory of commands*", "no test has*"])


def test_unused_it_costs_nothing(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import sys

        def test_one(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("cmemrun")
            loaded = {name for name in sys.modules if name.startswith("cmemrun")}
            assert loaded == {"cmemrun", "cmemrun.pytest_plugin"}
            assert "psutil" not in sys.modules
        """
    )
    found = run(suite, "--junitxml=junit.xml")
    found.assert_outcomes(passed=1)
    assert "cmemrun" not in Path(suite.path, "junit.xml").read_text()
    run(suite, "--markers").stdout.fnmatch_lines(["@pytest.mark.memory_budget(peak, *"])
