"""Programs of known appetite: ``loads.py KIND ARG…``, with as few modules as can be.

none SECONDS                nothing but the interpreter
anon MIB [SECONDS]          touched anonymous memory, held
file MIB DIRECTORY          a file written and held in the page cache
shared MIB                  shared anonymous memory (shmem)
kernel MIB                  full pipes
tree CHILDREN MIB           each child holds as much, all at the same time
spike MIB MILLISECONDS      anonymous memory held that long, then the end
daemon                      a detached child that would live for ever
chain                       each process makes the next and ends
crowd PROCESSES             processes that make short-lived ones without end
reread MIB TIMES PATH       a file read again and again, its cache dropped first
                            where the number of times is not negative
warm HOT COLD SECONDS PATH  a file written and read once, and then over and over its
                            beginning of HOT MiB, so that the rest is never missed
maps MIB [SECONDS]          an eBPF array, and a smaller one with values for each CPU
nested MIB                  a group of its own inside ours, with a child in it
"""

import mmap
import os
import sys
import time

MIB = 2**20
HOLD = 0.3


def touch(mib, flags=mmap.MAP_PRIVATE):
    if not mib:
        return None
    memory = mmap.mmap(-1, mib * MIB, flags=flags | mmap.MAP_ANONYMOUS)
    # In pieces: page by page would be slow in a guest, all at once needs as much again.
    piece = b"x" * 65536
    for start in range(0, mib * MIB, len(piece)):
        memory[start : start + len(piece)] = piece
    return memory


def none(seconds="0.3"):
    time.sleep(float(seconds))


def anon(mib, seconds=HOLD):
    memory = touch(int(mib))
    time.sleep(float(seconds))
    return memory


def file(mib, directory):
    path = f"{directory}/cmemrun-load-{os.getpid()}"
    with open(path, "wb") as out:
        for _ in range(int(mib)):
            out.write(b"x" * MIB)
        out.flush()
        os.fsync(out.fileno())
        time.sleep(HOLD)
    os.unlink(path)


def shared(mib):
    memory = touch(int(mib), mmap.MAP_SHARED)
    time.sleep(HOLD)
    return memory


def kernel(mib):
    import fcntl

    ends = []
    for _ in range(int(mib)):
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, MIB)
        os.set_blocking(writing, False)
        os.write(writing, b"x" * MIB)
        ends.append((reading, writing))
    time.sleep(HOLD)


def tree(children, mib):
    ready, tell = os.pipe()
    wait, go = os.pipe()
    for _ in range(int(children)):
        if os.fork() == 0:
            os.close(go)
            memory = touch(int(mib))
            os.write(tell, b".")
            os.read(wait, 1)
            os._exit(0 if memory else 1)
    got = 0
    while got < int(children):
        got += len(os.read(ready, 16))
    time.sleep(HOLD)
    os.close(go)
    for _ in range(int(children)):
        os.wait()


def spike(mib, milliseconds):
    memory = touch(int(mib))
    time.sleep(float(milliseconds) / 1000)
    os._exit(0 if memory else 1)


def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            time.sleep(1000)
        os._exit(0)
    time.sleep(0.1)


def chain():
    while True:
        if os.fork():
            os._exit(0)


def crowd(processes):
    for _ in range(int(processes)):
        if os.fork() == 0:
            while True:
                if os.fork() == 0:
                    os._exit(0)
                os.waitpid(-1, 0)
    time.sleep(0.2)


def reread(mib, times, path):
    if not os.path.exists(path):
        with open(path, "wb") as out:
            for _ in range(int(mib)):
                out.write(b"x" * MIB)
            out.flush()
            os.fsync(out.fileno())
    fd = os.open(path, os.O_RDONLY)
    if int(times) > 0:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    piece = bytearray(65536)
    for _ in range(abs(int(times))):
        os.lseek(fd, 0, os.SEEK_SET)
        while os.readv(fd, [piece]):
            pass


def warm(hot, cold, seconds, path):
    hot = int(hot) * MIB
    with open(path, "wb") as file:
        for _ in range(hot // MIB + int(cold)):
            file.write(b"x" * MIB)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    deadline, piece = time.monotonic() + float(seconds), bytearray(65536)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(piece):
            pass
        while time.monotonic() < deadline:
            file.seek(0)
            while file.tell() < hot:
                file.readinto(piece)
            time.sleep(0.02)


def maps(mib, seconds=HOLD):
    import contextlib
    import ctypes
    import platform
    import resource
    import struct

    # Before Linux 5.11 maps count against this limit, for root as well.
    with contextlib.suppress(ValueError):
        resource.setrlimit(
            resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
    number = {"x86_64": 321, "aarch64": 280}[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, entries in ((2, int(mib) * 1024), (6, 1024)):  # BPF_MAP_TYPE_ARRAY, _PERCPU_ARRAY
        # union bpf_attr: map_type, key_size, value_size, max_entries, map_flags, …
        attributes = ctypes.create_string_buffer(struct.pack("5I", kind, 4, 1024, entries, 0), 72)
        if libc.syscall(number, 0, attributes, 72) < 0:  # BPF_MAP_CREATE
            raise OSError(ctypes.get_errno(), "bpf")
    time.sleep(float(seconds))


def nested(mib):
    with open("/proc/self/cgroup") as lines:
        paths = dict(line.rstrip("\n").split(":", 2)[1:] for line in lines)
    if os.path.exists("/sys/fs/cgroup/memory"):
        own = "/sys/fs/cgroup/memory" + paths["memory"]
    else:
        own = "/sys/fs/cgroup" + paths[""]
    os.makedirs(own + "/inner/innermost")
    child = os.fork()
    if child == 0:
        with open(own + "/inner/innermost/cgroup.procs", "w") as procs:
            procs.write("0")
        memory = touch(int(mib))
        time.sleep(HOLD)
        os._exit(0 if memory else 1)
    os.waitpid(child, 0)
    # The groups are left for whoever cleans up, one of them with somebody in it.
    if os.fork() == 0:
        with open(own + "/inner/cgroup.procs", "w") as procs:
            procs.write("0")
        time.sleep(1000)
    time.sleep(0.1)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
