"""What the cost of measuring is measured on:  programs.py KIND ARG…

hello                         the least command line that typer makes
idle PROCESSES SECONDS        that many processes that wait, once standard input has ended
pages MIB TIMES               memory touched and given back: a charge for every page
stream MIB TIMES              memory copied over and over, with nothing charged any more
shell TIMES                   a shell that starts so many programs, one after another
timed FILE COMMAND…           a command, and its seconds appended to FILE
"""

import os
import subprocess
import sys
import time

MIB = 2**20


def hello() -> None:
    import typer

    app = typer.Typer()

    @app.command()
    def greet(name: str = "world") -> None:
        typer.echo(f"hello {name}")

    app()


def idle(processes: str, seconds: str) -> None:
    sys.stdin.read()
    for _ in range(int(processes) - 1):
        child = os.fork()
        if child == 0:
            time.sleep(float(seconds))
            os._exit(0)
    print("ready", flush=True)
    time.sleep(float(seconds))


def pages(mib: str, times: str) -> None:
    import mmap

    for _ in range(int(times)):
        with mmap.mmap(-1, int(mib) * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            for start in range(0, len(memory), mmap.PAGESIZE):
                memory[start] = 1


def stream(mib: str, times: str) -> None:
    memory = memoryview(bytearray(int(mib) * MIB))
    half = len(memory) // 2
    for _ in range(int(times)):
        memory[:half] = memory[half:]


def shell(times: str) -> None:
    loop = "while [ $n -lt $0 ]; do /bin/true; n=$((n + 1)); done"
    os.execvp("sh", ["sh", "-c", f"n=0; {loop}", times])


def timed(path: str, *command: str) -> None:
    started = time.perf_counter()
    status = subprocess.call(command)
    seconds = time.perf_counter() - started
    with open(path, "a") as file:
        file.write(f"{seconds}\n")
    sys.exit(status)


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    sys.argv[1:] = []
    globals()[kind](*rest)
