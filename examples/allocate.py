#!/usr/bin/env python3
"""Touch a known amount of anonymous memory: a first thing to measure.

cmemrun -- python3 examples/allocate.py 100MiB
cmemrun -- python3 examples/allocate.py 20MiB 2s
"""

import mmap
import sys
import time

UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def main() -> None:
    size = sys.argv[1] if len(sys.argv) > 1 else "100MiB"
    seconds = sys.argv[2] if len(sys.argv) > 2 else "200ms"
    size_bytes = int(size[:-3]) * UNITS[size[-3:]]
    memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, size_bytes, mmap.PAGESIZE):
        memory[page] = 1
    time.sleep(float(seconds[:-2]) / 1000 if seconds.endswith("ms") else float(seconds[:-1]))
    print(f"touched {size}")


if __name__ == "__main__":
    main()
