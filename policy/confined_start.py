"""The first code of a confined process: it gives up what it will not need, then becomes what it was started as.

Run as a script by `confined_process`, in a fresh interpreter that has imported nothing but the standard library. In
this order, and each step or none: no core dumps and bounded files, memory and descriptors; an end with the gate
(PR_SET_PDEATHSIG); no privileges by execution; files by Landlock (code and libraries to read, nothing to write, and so
no state folder); system calls by seccomp (no socket, no program, no process, nothing done to another one, and nothing
that Landlock lets through or that would outlast it: modes and attributes of files, System V memory). Only then is
other code imported, which may start threads, and the process changes to its user. What it can't give up ends it.

Sources: landlock(7), seccomp(2), capset(2), and the system call tables of Linux for x86-64 and arm64.
"""

from __future__ import annotations

import codecs
import ctypes
import errno
import importlib
import json
import os
import platform
import resource
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from typing import Any

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
MOST_DESCRIPTORS = 256
NOWHERE = "/dev/null"
CODECS = ("ascii", "latin-1", "utf-8", "utf-16", "raw_unicode_escape", "unicode_escape")
LIBRARIES = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime")
SYSTEM_FACTS = (
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system",
    "/dev/zero", "/dev/urandom", "/dev/random",
)  # fmt: skip

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
DENIED: dict[str, Sequence[int]] = {
    "x86_64": (
        41, 42, 43, 49, 50, 53, 288,  # socket connect accept bind listen socketpair accept4
        57, 58, 59, 322,  # fork vfork execve execveat
        101, 310, 311, 312, 434, 438,  # ptrace process_vm_readv process_vm_writev kcmp pidfd_open pidfd_getfd
        155, 161, 165, 166, 272, 304, 308, 428, 429, 430, 432, 442, 467,  # mounts, chroot, unshare, setns, by handle
        167, 168, 169, 175, 176, 246, 313, 320,  # swap, reboot, modules, kexec
        248, 249, 250, 298, 321, 323, 425,  # keys, perf_event_open, bpf, userfaultfd, io_uring_setup
        76, 90, 91, 92, 93, 94, 260, 268, 452,  # truncate by path; mode and owner of files
        132, 235, 261, 280, 188, 189, 190, 197, 198, 199, 463, 466, 469,  # their times, attributes and flags
        29, 30, 31, 64, 65, 66, 67, 68, 69, 70, 71, 220, 240, 241, 242, 243, 244, 245,  # System V IPC, message queues
        62, 129, 200, 297,  # kill rt_sigqueueinfo tkill rt_tgsigqueueinfo
        141, 142, 144, 203, 251, 256, 279, 314,  # priority, scheduling and memory placement, of others too
    ),
    "aarch64": (
        198, 199, 200, 201, 202, 203, 242,
        221, 281,
        117, 270, 271, 272, 434, 438,
        39, 40, 41, 51, 97, 265, 268, 428, 429, 430, 432, 442, 467,
        104, 105, 106, 142, 224, 225, 273, 294,
        217, 218, 219, 241, 280, 282, 425,
        45, 52, 53, 54, 55, 452,
        88, 5, 6, 7, 14, 15, 16, 463, 466, 469,
        180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194, 195, 196, 197,
        129, 130, 138, 240,
        30, 118, 119, 122, 140, 238, 239, 274,
    ),
}  # fmt: skip
TGKILL = {"x86_64": 234, "aarch64": 131}
PRLIMIT = {"x86_64": 302, "aarch64": 261}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
CLONE_THREAD = 0x10000

_LIBC = ctypes.CDLL(None, use_errno=True)


class CannotConfineError(Exception):
    """Something can't be given up on this machine; nothing was read from the gate."""


@dataclass(frozen=True)
class Plan:
    """What `confined_process` passes as one JSON argument; nothing in it is secret.

    `entry`: `module:function`, called with the channel and the measures in force; `packages`: the folders of the top
    packages that may be imported; `readable`: other code; `user`: user and group to become, or none.
    """

    channel: int
    parent: int
    entry: str
    packages: list[str]
    readable: list[str]
    user: list[int] | None
    most_memory_bytes: int
    most_file_bytes: int


def main() -> None:
    """Confine, import, change the user, serve; on failure say why on the channel and end."""
    plan = Plan(**json.loads(sys.argv[1]))
    channel = socket.socket(fileno=plan.channel)
    try:
        measures = confine(plan)
        tempfile.tempdir = "/nowhere"  # libraries look for one when they are imported; nothing can be written here
        for codec in CODECS:  # loaded at their first use, when the standard library may be out of reach
            codecs.lookup(codec)
        sys.meta_path.insert(0, Packages(plan.packages))
        module, _, function = plan.entry.partition(":")
        serve: Callable[[socket.socket, dict[str, int]], object] = getattr(importlib.import_module(module), function)
        become(plan)
        serve(channel, {**measures, "user": os.getuid()})
    except Exception as error:
        told = f"{type(error).__name__}: {error}".encode("ascii", "replace").decode()[:500]
        channel.send(json.dumps({"kind": "failed", "error": "start", "message": told}).encode())
        raise SystemExit(1) from error


class Packages(MetaPathFinder):
    """Finds packages by their folders alone: the folder that they lie in can't be listed, it may hold other things."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = {folder.rpartition("/")[2]: folder for folder in folders}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Of a top package of ours, else None."""
        folder = self._folders.get(name)
        if folder is None:
            return None
        return spec_from_file_location(name, f"{folder}/__init__.py", submodule_search_locations=[folder])


def confine(plan: Plan) -> dict[str, int]:
    """Everything but the change of user, while there is one thread: `landlock`'s version (0: none), `filtered`."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as chosen:  # noqa: PTH123
        chosen.write("1000")  # when memory runs out, this ends first
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NOFILE, MOST_DESCRIPTORS)
    limit(resource.RLIMIT_FSIZE, plan.most_file_bytes)
    limit(resource.RLIMIT_AS, plan.most_memory_bytes)
    os.umask(0o077)
    end_with(plan.parent)
    _prctl(PR_SET_DUMPABLE, 0)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    landlock = restrict_files((*plan.packages, *plan.readable))
    if not landlock and plan.user is None:
        raise CannotConfineError("this kernel has no Landlock, so the process needs a user of its own (--user)")
    filter_system_calls(platform.machine())
    if plan.user is None:
        drop_capabilities()
    return {"landlock": landlock, "filtered": 1}


def limit(what: int, most: int) -> None:
    """Lower a limit for good."""
    hard = resource.getrlimit(what)[1]
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (value, value))


def end_with(parent: int) -> None:
    """Be killed as soon as the gate is gone, and now if it is gone already."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise CannotConfineError("the gate is gone")


def become(plan: Plan) -> None:
    """Change to the other user in every thread, for good, with no group and no capability left."""
    if plan.user is None:
        return
    user, group = plan.user
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    if os.getresuid() != (user, user, user) or os.getresgid() != (group, group, group) or os.getgroups():
        raise CannotConfineError(f"could not become user {user}")
    end_with(plan.parent)  # both are lost with the change
    _prctl(PR_SET_DUMPABLE, 0)


def drop_capabilities() -> None:
    """Root without its powers; for any other user nothing changes."""
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    if _LIBC.capset(header, nothing) != 0:
        raise CannotConfineError(f"capset: {os.strerror(ctypes.get_errno())}")


def restrict_files(readable: Sequence[str]) -> int:
    """Allow reading beneath `readable`, libraries and facts of the system, nothing else; Landlock's version, or 0."""
    version: int = max(0, _LIBC.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1))
    if version == 0:
        return 0
    handled = (1 << 13) - 1 | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)
    network, scoped = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    attributes = struct.pack("QQQ", handled, network, scoped)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _checked("landlock_create_ruleset", _LIBC.syscall(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0))
    try:
        for path in (*readable, *LIBRARIES, *SYSTEM_FACTS):
            _allow(rules, path, READ_FILE | READ_DIR)
        _allow(rules, NOWHERE, READ_FILE | WRITE_FILE)
        _checked("landlock_restrict_self", _LIBC.syscall(LANDLOCK_RESTRICT_SELF, rules, 0))
    finally:
        os.close(rules)
    return version


def _allow(rules: int, path: str, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise
    try:
        if not os.path.isdir(path):  # noqa: PTH112  before any other import
            access &= ~READ_DIR
        beneath = struct.pack("=Qi", access, place)
        _checked(f"landlock_add_rule {path}", _LIBC.syscall(LANDLOCK_ADD_RULE, rules, 1, beneath, 0))
    finally:
        os.close(place)


def filter_system_calls(machine: str) -> None:
    """Deny `DENIED` with EPERM, every new process, and signals and limits for others; threads go on."""
    if machine not in AUDIT_ARCH:
        raise CannotConfineError(f"no filter of system calls is known for {machine}")
    program = b"".join(struct.pack("HBBI", *step) for step in filter_program(machine, os.getpid()))
    held = ctypes.create_string_buffer(program, len(program))
    fields = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
    _prctl(PR_SET_SECCOMP, 2, ctypes.create_string_buffer(fields, len(fields)))


def filter_program(machine: str, process: int) -> list[tuple[int, int, int, int]]:
    """Classic BPF for this `process`: (code, steps over when true, when false, constant)."""
    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    kill, allow, deny, unknown = 0x80000000, 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
    denied = DENIED[machine]
    checks = [(equal, len(denied) - at, 0, number) for at, number in enumerate(denied)]  # to `deny`, after `allow`

    def only_with(number: int, test: int, constant: int) -> list[tuple[int, int, int, int]]:
        """Of one call: whether its first argument passes the test decides."""
        return [
            (equal, 0, 4, number),
            (load, 0, 0, 16),
            (test, 1, 0, constant),
            (answer, 0, 0, deny),
            (answer, 0, 0, allow),
        ]

    return [
        (load, 0, 0, 4),
        (equal, 1, 0, AUDIT_ARCH[machine]),
        (answer, 0, 0, kill),
        (load, 0, 0, 0),
        (at_least, 0, 1, 0x40000000),  # the other numbering of x86-64
        (answer, 0, 0, deny),
        (equal, 0, 1, CLONE3),
        (answer, 0, 0, unknown),  # libraries then take clone, whose flags can be looked at
        *only_with(CLONE[machine], any_bit, CLONE_THREAD),
        *only_with(TGKILL[machine], equal, process),  # its own threads, which the change of user asks for
        *only_with(PRLIMIT[machine], equal, 0),  # its own limits
        *checks,
        (answer, 0, 0, allow),
        (answer, 0, 0, deny),
    ]


def _prctl(option: int, *values: Any) -> None:
    if _LIBC.prctl(option, *values, *([0] * (4 - len(values)))) != 0:
        raise CannotConfineError(f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def _checked(what: str, result: int) -> int:
    if result < 0:
        raise CannotConfineError(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


if __name__ == "__main__":
    main()
