"""The filter of system calls, run by hand: what it answers for every number on both machines it is written for."""

from __future__ import annotations

import errno

import pytest

from policy.confined_start import (
    AUDIT_ARCH,
    CLONE,
    CLONE3,
    CLONE_THREAD,
    DENIED,
    PRLIMIT,
    TGKILL,
    CannotConfineError,
    filter_program,
)
from policy.confined_start import filter_system_calls as apply_filter

ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
X32 = 0x40000000
PROCESS = 4711
MACHINES = sorted(DENIED)


def answer(program: list[tuple[int, int, int, int]], *, number: int, arch: int, first: int = 0) -> int:
    """What a classic BPF program returns for a `seccomp_data` with these members."""
    loads, value, at = {0: number, 4: arch, 16: first}, 0, 0
    while True:
        code, when_true, when_false, constant = program[at]
        at += 1
        if code == 0x06:
            return constant
        if code == 0x20:
            value = loads[constant]
        else:
            holds = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[code]
            at += when_true if holds else when_false


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_has_the_answer_it_should_have(machine: str) -> None:
    program, arch = filter_program(machine, PROCESS), AUDIT_ARCH[machine]
    for number in range(600):
        came = answer(program, number=number, arch=arch)
        if number == CLONE3:
            assert came == ERROR | errno.ENOSYS
        elif number in (*DENIED[machine], CLONE[machine], TGKILL[machine]):
            assert came == ERROR | errno.EPERM
        else:
            assert came == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_are_allowed_and_processes_are_not(machine: str) -> None:
    program, arch = filter_program(machine, PROCESS), AUDIT_ARCH[machine]
    assert answer(program, number=CLONE[machine], arch=arch, first=CLONE_THREAD | 0x900) == ALLOW
    for flags in (0, 17, 0x10000000, 0x20000):
        assert answer(program, number=CLONE[machine], arch=arch, first=flags) == ERROR | errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_signals_and_limits_are_for_the_process_itself(machine: str) -> None:
    program, arch = filter_program(machine, PROCESS), AUDIT_ARCH[machine]
    for call, own in ((TGKILL[machine], PROCESS), (PRLIMIT[machine], 0)):
        assert answer(program, number=call, arch=arch, first=own) == ALLOW
        for other in (1, PROCESS + 1, 0xFFFFFFFF):
            assert answer(program, number=call, arch=arch, first=other) == ERROR | errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_another_numbering_of_calls_does_not_get_around_it(machine: str) -> None:
    program = filter_program(machine, PROCESS)
    for arch in {0, *AUDIT_ARCH.values(), 0x40000003} - {AUDIT_ARCH[machine]}:
        assert answer(program, number=0, arch=arch) == KILL
    assert answer(program, number=X32 | 41, arch=AUDIT_ARCH[machine]) == ERROR | errno.EPERM


def test_a_machine_without_a_table_is_not_confined() -> None:
    with pytest.raises(CannotConfineError, match="riscv64"):
        apply_filter("riscv64")
