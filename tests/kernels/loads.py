"""Programs of known appetite: ``loads.py KIND ARG…``, with as few modules as can be.

none SECONDS                nothing but the interpreter
anon MIB [SECONDS]          touched anonymous memory, held
pages MIB SIZE [SECONDS]    anonymous memory in "small" or "huge" pages
file MIB DIRECTORY [SECONDS]   a file written and held in the page cache
read PATH [SECONDS]         a file that is there, read once
mapped PATH [SECONDS]       a file that is there, mapped and each page touched
shared MIB [SECONDS]        shared anonymous memory (shmem)
sparse REGIONS [SECONDS]    one page touched in each 2 MiB, for the page tables
kernel MIB [SECONDS]        full pipes
unix MIB [SECONDS]          a unix socket with as much to be read
tcp MIB [SECONDS]           a TCP connection to oneself with as much to be read
stacks THREADS KIB [SECONDS]   threads with so much of their stacks of 1 MiB touched
tree CHILDREN MIB [SECONDS]    each child holds as much, all at the same time
rewrite CHILDREN MIB [SECONDS] each child writes to all of what its parent holds
execs TIMES KIND ARG…       another kind, executed after executing itself so often
spike MIB MILLISECONDS      anonymous memory held that long, then the end
freed MIB [SECONDS]         anonymous memory given back, and as long again without it
daemon                      a detached child that would live for ever
chain                       each process makes the next and ends
crowd PROCESSES             processes that make short-lived ones without end
reread MIB TIMES PATH       a file read again and again, its cache dropped first
                            where the number of times is not negative
warm HOT COLD SECONDS PATH  a file written and read once, and then over and over its
                            beginning of HOT MiB, so that the rest is never missed
maps MIB [SECONDS]          an eBPF array, and a smaller one with values for each CPU
nested MIB [SECONDS]        a group of its own inside ours, with a child in it
hops GROUPS [SECONDS]       a page in each of so many groups of its own, which are left
inner MIB [SECONDS]         groups of its own that are charged, and removed at the end
limited MIB TIMES           a group of its own with such a limit, in which so many children
                            want more, one after the other, and are killed

A MIB of 0 is one page for the kinds made with ``touch``: the same steps, and nothing held.
SECONDS may be the path of a FIFO instead: then it is held until that is removed and nobody has it
open for writing, and a byte is added to the file PATH.held first.
"""

import mmap
import os
import sys
import time

TYPE_CHECKING = False  # typing is a large module
if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 2**20
PAGE = mmap.PAGESIZE
HOLD = 0.3
# Page by page would be slow in a guest, all at once needs as much again. Made here, so that
# children do not each make their own; and a view, so that a part of it is no copy.
PIECE = memoryview(b"x" * 65536)


def touch(mib: int, flags: int = mmap.MAP_PRIVATE, advice: int | None = None) -> mmap.mmap:
    memory = mmap.mmap(-1, mib * MIB or PAGE, flags=flags | mmap.MAP_ANONYMOUS)
    if advice is not None:
        memory.madvise(advice)
    fill(memory)
    return memory


def fill(memory: mmap.mmap) -> None:
    piece = PIECE[: len(memory)]
    for start in range(0, len(memory), len(piece)):
        memory[start : start + len(piece)] = piece


def hold(until: str | float) -> None:
    if not isinstance(until, str) or "/" not in until:
        return time.sleep(float(until))
    with open(f"{until}.held", "ab", buffering=0) as holding:
        holding.write(b".")
    try:
        fd = os.open(until, os.O_RDONLY)
    except FileNotFoundError:  # it is over
        return None
    os.read(fd, 1)
    return os.close(fd)


def none(seconds: str | float = HOLD) -> None:
    hold(seconds)


def anon(mib: str, seconds: str | float = HOLD) -> mmap.mmap:
    memory = touch(int(mib))
    hold(seconds)
    return memory


def pages(mib: str, size: str, seconds: str | float = HOLD) -> mmap.mmap:
    advice = {"small": mmap.MADV_NOHUGEPAGE, "huge": mmap.MADV_HUGEPAGE}[size]
    memory = touch(int(mib), advice=advice)
    hold(seconds)
    return memory


def file(mib: str, directory: str, seconds: str | float = HOLD) -> None:
    path = f"{directory}/cmemrun-load-{os.getpid()}"
    with open(path, "wb", buffering=0) as out:
        for _ in range(0, int(mib) * MIB, len(PIECE)):
            out.write(PIECE)
        os.fsync(out.fileno())
        hold(seconds)
    os.unlink(path)


def read(path: str, seconds: str | float = HOLD) -> None:
    fd, piece = os.open(path, os.O_RDONLY), bytearray(65536)
    while os.readv(fd, [piece]):
        pass
    hold(seconds)


def mapped(path: str, seconds: str | float = HOLD) -> mmap.mmap:
    with open(path, "rb", buffering=0) as file:
        memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    for start in range(0, len(memory), PAGE):
        memory[start]
    hold(seconds)
    return memory


def shared(mib: str, seconds: str | float = HOLD) -> mmap.mmap:
    memory = touch(int(mib), mmap.MAP_SHARED)
    hold(seconds)
    return memory


def sparse(regions: str, seconds: str | float = HOLD) -> mmap.mmap:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
    memory = mmap.mmap(-1, int(regions) * 2 * MIB, flags=flags)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for start in range(0, len(memory), 2 * MIB):
        memory[start] = 1
    hold(seconds)
    return memory


def kernel(mib: str, seconds: str | float = HOLD) -> None:
    import fcntl

    ends = []
    for _ in range(int(mib)):
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, MIB)
        for _ in range(0, MIB, len(PIECE)):
            os.write(writing, PIECE)
        ends.append((reading, writing))
    hold(seconds)


def unix(mib: str, seconds: str | float = HOLD) -> object:
    import _socket  # socket is a large module

    sender, receiver = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    # Each 32 KiB counts for more than that.
    sender.setsockopt(_socket.SOL_SOCKET, 32, 2 * int(mib) * MIB)  # SO_SNDBUFFORCE
    for _ in range(0, int(mib) * MIB, 32768):
        sender.send(PIECE[:32768])
    hold(seconds)
    return receiver


def tcp(mib: str, seconds: str | float = HOLD) -> object:
    import _socket

    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.setsockopt(_socket.SOL_SOCKET, 33, 4 * int(mib) * MIB)  # SO_RCVBUFFORCE
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    sender = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    sender.connect(listener.getsockname())
    receiver: object = listener._accept()  # type: ignore[attr-defined]
    for _ in range(0, int(mib) * MIB, len(PIECE)):
        sender.sendall(PIECE)
    hold(seconds)
    return receiver


def stacks(threads: str, kib: str, seconds: str | float = HOLD) -> None:
    import _thread
    import ctypes

    _thread.stack_size(MIB)
    lock, touched = _thread.allocate_lock(), []
    libc = ctypes.CDLL(None)
    libc.pthread_self.restype = ctypes.c_void_p

    def touch_own() -> None:
        attributes = ctypes.create_string_buffer(64)  # pthread_attr_t
        start, size = ctypes.c_void_p(), ctypes.c_size_t()
        libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes)
        libc.pthread_attr_getstack(attributes, ctypes.byref(start), ctypes.byref(size))
        # The far end: what the thread itself uses is at the other.
        ctypes.memset(start, 1, int(kib) * 1024)
        touched.append(1)
        lock.acquire()

    lock.acquire()
    for number in range(int(threads)):
        _thread.start_new_thread(touch_own, ())
        while len(touched) == number:
            time.sleep(0.0005)
    hold(seconds)
    os._exit(0)


def tree(children: str, mib: str, seconds: str | float = HOLD) -> None:
    fork_all(int(children), lambda: touch(int(mib)), seconds)


def rewrite(children: str, mib: str, seconds: str | float = HOLD) -> None:
    memory = touch(int(mib), advice=mmap.MADV_NOHUGEPAGE)
    fork_all(int(children), lambda: fill(memory), seconds)


def fork_all(children: int, act: "Callable[[], mmap.mmap | None]", seconds: str | float) -> None:
    ready, tell = os.pipe()
    wait, go = os.pipe()
    for _ in range(children):
        if os.fork() == 0:
            os.close(go)
            held = act()
            os.write(tell, b".")
            os.read(wait, 1)
            os._exit(len(held or "") and 0)
    got = 0
    while got < children:
        got += len(os.read(ready, 16))
    hold(seconds)
    os.close(go)
    for _ in range(children):
        os.wait()


def execs(times: str, *more: str) -> None:
    left = ["execs", str(int(times) - 1)] if int(times) > 1 else []
    os.execv(sys.executable, [sys.executable, "-S", "-E", __file__, *left, *more])


def spike(mib: str, milliseconds: str) -> None:
    memory = touch(int(mib))
    time.sleep(float(milliseconds) / 1000)
    os._exit(0 if memory else 1)


def freed(mib: str, seconds: str | float = HOLD) -> None:
    memory = touch(int(mib))
    hold(seconds)
    memory.close()
    hold(seconds)


def daemon() -> None:
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            time.sleep(1000)
        os._exit(0)
    os.waitpid(child, 0)


def chain() -> None:
    while True:
        if os.fork():
            os._exit(0)


def crowd(processes: str) -> None:
    for _ in range(int(processes)):
        if os.fork() == 0:
            while True:
                if os.fork() == 0:
                    os._exit(0)
                os.waitpid(-1, 0)
    time.sleep(0.2)


def reread(mib: str, times: str, path: str) -> None:
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


def warm(hot: str, cold: str, seconds: str | float, path: str) -> None:
    hot_bytes = int(hot) * MIB
    with open(path, "wb") as out:
        for _ in range(int(hot) + int(cold)):
            out.write(b"x" * MIB)
        out.flush()
        os.fsync(out.fileno())
        os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    deadline, piece = time.monotonic() + float(seconds), bytearray(65536)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(piece):
            pass
        while time.monotonic() < deadline:
            file.seek(0)
            while file.tell() < hot_bytes:
                file.readinto(piece)
            time.sleep(0.02)


def maps(mib: str, seconds: str | float = HOLD) -> None:
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
    hold(seconds)


def own_group() -> str:
    with open("/proc/self/cgroup") as lines:
        paths = dict(line.rstrip("\n").split(":", 2)[1:] for line in lines)
    if os.path.exists("/sys/fs/cgroup/memory"):
        return "/sys/fs/cgroup/memory" + paths["memory"]
    return "/sys/fs/cgroup" + paths[""]


def move(group: str) -> None:
    with open(group + "/cgroup.procs", "w") as procs:
        procs.write("0")


def inner(mib: str, seconds: str | float = HOLD) -> None:
    own = own_group().rstrip("/")
    groups = [f"{own}/inner-{os.getpid()}", f"{own}/inner-{os.getpid()}/innermost"]
    beside, is_v2 = f"{own}/beside-{os.getpid()}", os.path.exists(own + "/cgroup.subtree_control")
    os.mkdir(groups[0])
    if is_v2:
        # A group that hands the controller on has no processes, but for the root.
        os.mkdir(beside)
        move(beside)
        has_handed_on = hand_on(own, "+memory")
        hand_on(groups[0], "+memory")
    os.mkdir(groups[1])
    if os.fork() == 0:
        move(groups[1])
        memory = touch(int(mib))
        hold(seconds)
        os._exit(0 if memory else 1)
    os.wait()
    remove(groups[1])
    remove(groups[0])
    if is_v2:
        if has_handed_on:
            hand_on(own, "-memory")
        move(own)
        remove(beside)


def hops(groups: str, seconds: str | float = HOLD) -> None:
    own, held = own_group(), []
    os.mkdir(own + "/hop")
    move(own + "/hop")
    if os.path.exists(own + "/cgroup.subtree_control"):
        hand_on(own, "+memory")
    for number in range(int(groups)):
        group = f"{own}/hop-{number}"
        os.mkdir(group)
        move(group)
        held.append(touch(0))
    hold(seconds)


def hand_on(group: str, change: str) -> bool:
    # Where others are in our group too (EBUSY), its inner groups are charged as it is.
    with open(group + "/cgroup.subtree_control") as controllers:
        if "memory" in controllers.read() and change[0] == "+":
            return False
    try:
        with open(group + "/cgroup.subtree_control", "w") as controllers:
            controllers.write(change)
    except OSError:
        return False
    return True


def remove(group: str) -> None:
    # A process is in its group a little longer than it can be waited for.
    for _ in range(1000):
        try:
            return os.rmdir(group)
        except OSError:
            time.sleep(0.005)
    return os.rmdir(group)


def nested(mib: str, seconds: str | float = HOLD) -> None:
    own = own_group()
    os.makedirs(own + "/inner/innermost")
    child = os.fork()
    if child == 0:
        move(own + "/inner/innermost")
        memory = touch(int(mib))
        hold(seconds)
        os._exit(0 if memory else 1)
    os.waitpid(child, 0)
    # The groups are left for whoever cleans up, one of them with somebody in it.
    moved, tell = os.pipe()
    if os.fork() == 0:
        move(own + "/inner")
        os.write(tell, b".")
        time.sleep(1000)
    os.close(tell)
    os.read(moved, 1)


def limited(mib: str, times: str) -> None:
    own = own_group()
    os.makedirs(own + "/rest")
    os.makedirs(own + "/within")
    limit = own + "/within/memory.limit_in_bytes"
    if "/sys/fs/cgroup/memory" not in own:
        # A group with processes hands no controller on.
        move(own + "/rest")
        with open(own + "/cgroup.subtree_control", "w") as control:
            control.write("+memory")
        limit = own + "/within/memory.max"
    with open(limit, "w") as file:
        file.write(str(int(mib) * MIB))
    for _ in range(int(times)):
        child = os.fork()
        if child == 0:
            move(own + "/within")
            touch(2 * int(mib))
            os._exit(1)
        os.waitpid(child, 0)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
