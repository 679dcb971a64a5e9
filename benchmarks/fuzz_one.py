"""Feeds one parser with damaged input until its processor time is used up; `fuzz_parsers` starts one of these for each.

With atheris installed the changes are led by the code that they reach (libFuzzer over instrumented Python), half of
them made by `fuzz_target.mutate`, which knows the formats; without it all are, at random. The outcome is one JSON
file, written again as it goes, so that a parser that kills its process is still counted.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from benchmarks.fuzz_target import Target

INSTRUMENTED = ["provenance", "policy", "media", "vasari"]
MAX_SECONDS = 2.0  # of processor time for one input
MAX_GROWTH_MB = 256
MAX_FAILURES = 20
MAX_INPUT_BYTES = 1 << 18
HANG_SECONDS = 900  # by the clock, so that a busy or sleeping machine is no failure
_WRITE_EVERY_S = 1.0


@dataclass
class Outcome:
    """What the fuzzing of one parser gave; `finished` is False while it runs and where it was killed."""

    parser: str
    guided: bool
    cases: int = 0
    refused: int = 0
    processor_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    finished: bool = False


class Run:
    """One parser under fuzzing."""

    def __init__(self, target: Target, outcome: Outcome, out: Path, *, seconds: float, keep: Path | None) -> None:
        self._target, self.outcome, self._out, self._keep = target, outcome, out, keep
        self._start_mb, self._start_s, self._written = _peak_mb(), time.process_time(), 0.0
        self._end = self._start_s + seconds

    @property
    def over(self) -> bool:
        """Whether the time is up, or enough was found."""
        return time.process_time() >= self._end or len(self.outcome.failures) >= MAX_FAILURES

    def one(self, content: bytes) -> None:
        """Parse one input and judge what comes of it."""
        self.outcome.cases += 1
        fault = self._fault(content)
        if fault is None and _peak_mb() - self._start_mb > MAX_GROWTH_MB:
            fault, self._start_mb = f"memory grew to {_peak_mb()} MB", _peak_mb()
        if fault is not None:
            self.outcome.failures.append(fault)
            if self._keep is not None:
                name = f"{self._target.name}-{hashlib.sha256(content).hexdigest()[:12]}"
                (self._keep / name).write_bytes(content)
        if fault is not None or time.monotonic() - self._written > _WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        """The outcome so far."""
        self.outcome.processor_s = round(time.process_time() - self._start_s, 1)
        self._written = time.monotonic()
        part = self._out.with_suffix(".part")
        part.write_text(json.dumps(asdict(self.outcome)))
        part.replace(self._out)

    def _fault(self, content: bytes) -> str | None:
        start = time.process_time()
        try:
            self._target.run(content)
        except self._target.promised:
            self.outcome.refused += 1
        except Exception as error:  # noqa: BLE001  that is what is looked for
            return f"{type(error).__name__}: {error}"[:200]
        spent = time.process_time() - start
        return f"took {spent:.1f} s" if spent > MAX_SECONDS else None


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _random(run: Run, target: Target, draw: random.Random) -> None:
    from benchmarks.fuzz_target import mutate

    while not run.over:
        run.one(mutate(draw.choice(target.corpus), draw.choice(target.corpus), draw))


def _guided(run: Run, target: Target, draw: random.Random, seeds: Path, atheris: ModuleType) -> NoReturn:
    from benchmarks.fuzz_target import mutate

    for number, content in enumerate(target.corpus):
        (seeds / f"{number}").write_bytes(content)

    def one(content: bytes) -> None:
        if run.over:
            run.outcome.finished = True
            run.write()
            os._exit(0)  # libFuzzer has no other end than its own
        run.one(content)

    def change(content: bytes, most: int, seed: int) -> bytes:
        own = random.Random(seed)
        if own.random() < 0.5:
            return bytes(atheris.Mutate(content, most))
        return mutate(content, own.choice(target.corpus), own)[:most]

    options = [f"-timeout={HANG_SECONDS}", "-rss_limit_mb=4096", f"-max_len={MAX_INPUT_BYTES}",
               f"-artifact_prefix={seeds}/", f"-seed={draw.randrange(1, 2**31)}", "-print_final_stats=0",
               "-verbosity=0"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(seeds)], one, custom_mutator=change)
    atheris.Fuzz()
    raise AssertionError("libFuzzer came back")


def main(name: str, seconds: float, seed: int, guided: bool, out: Path, keep: Path | None) -> None:
    """Fuzz the parser `name` and write its outcome to `out`."""
    atheris = importlib.import_module("atheris") if guided else None
    if atheris is not None:
        with atheris.instrument_imports(include=INSTRUMENTED):
            found = importlib.import_module("benchmarks.fuzz_targets")
    else:
        found = importlib.import_module("benchmarks.fuzz_targets")
    draw = random.Random(f"{seed} {name}")
    with tempfile.TemporaryDirectory() as folder:
        (target,) = [target for target in found.targets(Path(folder)) if target.name == name]
        run = Run(target, Outcome(name, guided), out, seconds=seconds, keep=keep)
        if atheris is not None:
            seeds = Path(folder) / "seeds"
            seeds.mkdir()
            _guided(run, target, draw, seeds, atheris)
        _random(run, target, draw)
        run.outcome.finished = True
        run.write()


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    main(**{key: Path(value) if key in ("out", "keep") and value else value for key, value in arguments.items()})
