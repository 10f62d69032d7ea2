"""Feeds hostile .safetensors headers to everything that reads them, and reports the results.

    python -m tools.fuzz_headers --count 100000                mutations of seeds, on any machine
    python -m tools.fuzz_headers --count 100000 --atheris      guided by coverage; needs `pip install atheris`
    python -m tools.fuzz_headers --costly                      only the longest and densest headers, one by one

A header is read by `header_end`, `parse_header`, `read_header`, and `detect_architecture`. The first three may raise
only VerificationFailed, and the last may raise nothing. No header may take a second of processor time, or 64 MiB.
Headers that break these rules are written to `--keep` (default: `.runtime/fuzz`), and the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_MEMORY", "MAX_SECONDS", "Finding", "Watch", "cost_of", "read_everywhere"]

ROOT = Path(__file__).resolve().parent.parent
MAX_SECONDS = 1.0
MAX_MEMORY = 64 * 1024**2
MAX_MESSAGE = 2000
"""The longest error message that a user can still read, in characters."""
SHOW_EVERY = 10_000


@dataclass(frozen=True)
class Finding:
    """The result of reading one header."""

    outcome: str
    """The verdict on its architecture, or the code of the error that rejected it."""
    seconds: float
    """Processor time of this thread."""


def read_everywhere(file: bytes, file_size: int, path: Path | None = None) -> Finding:
    """Reads the header as a download, a peek, and a scan do, and, if `path` is given, from a file.

    Raises every unexpected error.
    """
    # Imported here, so that atheris can instrument the imports.
    from lora_resolver.errors import VerificationFailed
    from lora_resolver.model_file.architecture import detect_architecture
    from lora_resolver.model_file.safetensors_header import header_end, parse_header, read_header

    began = time.thread_time()
    try:
        end = header_end(file, file_size)
        header = parse_header(file, file_size)
        if header.data_start != end or header.file_size != file_size:
            raise AssertionError(f"the header ends at {end}, its data start at {header.data_start}")
        outcome = detect_architecture(header).verdict
    except VerificationFailed as error:
        if not error.remedy or len(str(error)) > MAX_MESSAGE:
            raise AssertionError(f"no message for a user: {str(error)[:3000]}") from error
        outcome = error.code
    seconds = time.thread_time() - began
    if path is not None:
        path.write_bytes(file)
        with contextlib.suppress(VerificationFailed):
            read_header(path)
    return Finding(outcome, seconds)


def cost_of(files: Sequence[tuple[Path, int]]) -> list[tuple[Finding, int]]:
    """Returns what reading each header takes in a separate process: the time, and the growth of the process's memory
    in bytes, without the bytes of the file."""
    lines = "".join(f"{path}\t{size}\n" for path, size in files)
    command = [sys.executable, "-m", "tools.fuzz_headers", "--measure"]
    output = subprocess.run(
        command, input=lines, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT
    ).stdout
    return [(Finding(*found), memory) for found, memory in map(json.loads, output.splitlines())]


def _measure() -> int:
    """The process that `cost_of` starts: reads paths and sizes, and prints findings."""
    read_everywhere(
        b"\x02" + bytes(7) + b"{}", 10
    )  # loads the table of architectures first, so that its memory isn't attributed to a header
    for line in sys.stdin:
        path, size = line.rstrip("\n").split("\t")
        finding, memory = _cost(Path(path).read_bytes(), int(size))
        print(json.dumps([[finding.outcome, finding.seconds], memory]), flush=True)
    return 0


def _cost(file: bytes, file_size: int) -> tuple[Finding, int]:
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: resets the peak memory
    except OSError:
        finding = read_everywhere(file, file_size)  # separate from the memory measurement, which takes time
        tracemalloc.start(1)
        read_everywhere(file, file_size)
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return finding, memory
    before = _peak_memory()
    finding = read_everywhere(file, file_size)
    return finding, _peak_memory() - before


class Watch:
    """Reads headers one after another, and keeps those that break a rule."""

    def __init__(self, keep: Path) -> None:
        self.count = 0
        self.broken = 0
        self.slowest = 0.0
        self.outcomes: dict[str, int] = {}
        self._keep = keep
        self._folder = tempfile.TemporaryDirectory(prefix="air-lora-fuzz-")
        self._memory_before = _peak_memory()

    def try_one(self, file: bytes, file_size: int) -> None:
        """Reads one header; every tenth one also from a file."""
        self.count += 1
        path = Path(self._folder.name) / "x.safetensors" if self.count % 10 == 0 else None
        try:
            finding = read_everywhere(file, file_size, path)
        except Exception as error:  # every exception is a finding
            self.report(f"{type(error).__name__}: {str(error)[:300]}", file)
            return
        self.outcomes[finding.outcome] = self.outcomes.get(finding.outcome, 0) + 1
        self.slowest = max(self.slowest, finding.seconds)
        if finding.seconds > MAX_SECONDS:
            self.report(f"{finding.seconds:.1f} s", file)

    def report(self, what: str, file: bytes) -> None:
        """Saves a header that broke a rule."""
        self.broken += 1
        self._keep.mkdir(parents=True, exist_ok=True)
        path = self._keep / f"{hashlib.sha256(file).hexdigest()[:16]}.safetensors"
        path.write_bytes(file)
        print(f"{what}\n    {path}", flush=True)

    def summary(self) -> str:
        """The totals so far, as text."""
        grown = _peak_memory() - self._memory_before
        codes = ", ".join(
            f"{code} {count:,}" for code, count in sorted(self.outcomes.items(), key=lambda each: -each[1])
        )
        return (
            f"{self.count:,} headers: {self.broken} broke a rule, slowest {self.slowest * 1000:.1f} ms, "
            f"memory grew by {grown / 2**20:.1f} MiB in all\n    {codes}"
        )


def _peak_memory() -> int:
    """The peak memory of this process in bytes; 0 if the system doesn't report it (Windows)."""
    with contextlib.suppress(
        OSError
    ):  # Linux; getrusage would include what the parent had when it started this process
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


def _run_mutations(count: int, seed: int, keep: Path) -> int:
    from tools.hostile_headers import claimed_size, mutated, seeds

    chance, pool = random.Random(seed), list(seeds())  # noqa: S311 - the same seed gives the same headers; no secrets
    read_everywhere(
        pool[0], claimed_size(pool[0])
    )  # loads the table of architectures first, so that its memory isn't attributed to a header
    watch = Watch(keep)
    started = time.monotonic()
    while watch.count < count:
        file = mutated(chance.choice(pool), chance)
        if len(file) < 100_000 and chance.random() < 0.02:
            pool[chance.randrange(len(pool))] = file  # later mutations can start from this one
        watch.try_one(file, claimed_size(file) if chance.random() < 0.9 else len(file))
        if watch.count % SHOW_EVERY == 0:
            print(f"{watch.count:,} in {time.monotonic() - started:.0f} s", flush=True)
    print(watch.summary())
    return watch.broken


def _run_costly(keep: Path) -> int:
    from tools.hostile_headers import COSTLY, claimed_size, with_length

    watch = Watch(keep)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "costly.safetensors"
        for name, make in COSTLY.items():
            file = with_length(make())
            path.write_bytes(file)
            [(finding, memory)] = cost_of([(path, claimed_size(file))])
            print(
                f"{name:40}{finding.outcome:22}{finding.seconds:6.2f} s{memory / 2**20:6.0f} MiB", flush=True
            )
            if finding.seconds > MAX_SECONDS or memory > MAX_MEMORY:
                watch.report(name, file)
    return watch.broken


def _run_atheris(count: int, seed: int, keep: Path, corpus: list[str]) -> None:
    """Ends the process, because the fuzzer's loop never returns."""
    import atheris  # type: ignore[import-not-found]  # not in the requirements; see the module's docstring

    with atheris.instrument_imports(include=["lora_resolver"]):
        import lora_resolver.model_file.architecture
        import lora_resolver.model_file.safetensors_header  # noqa: F401 - used by read_everywhere
    from tools.hostile_headers import claimed_size, mutated, seeds, with_length

    folder = Path(tempfile.mkdtemp(prefix="air-lora-corpus-"))
    for number, file in enumerate(seeds()):
        (folder / f"seed-{number}").write_bytes(file)
    read_everywhere(seeds()[0], claimed_size(seeds()[0]))
    watch = Watch(keep)

    def mutate(data: bytes, max_size: int, mutation_seed: int) -> bytes:
        if mutation_seed % 2:
            chance = random.Random(mutation_seed)  # noqa: S311 - no secrets
            return mutated(data, chance)[:max_size]
        return with_length(atheris.Mutate(data[8:], max_size - 8))

    def one(data: bytes) -> None:
        if watch.count >= count:
            return
        watch.try_one(data, claimed_size(data))
        if watch.count == count:
            print(watch.summary(), flush=True)

    options = [f"-runs={count + 1000}", f"-seed={seed}", "-max_len=65536", "-timeout=20", "-verbosity=0"]
    keep.mkdir(parents=True, exist_ok=True)
    options.append(f"-artifact_prefix={keep}/")
    atheris.Setup([sys.argv[0], *options, *corpus, str(folder)], one, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> int:
    """Returns 0 if every header was read or rejected within the limits."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz_headers", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--count", type=int, default=100_000, help="how many headers (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1, help="for the same headers again (default: %(default)s)"
    )
    parser.add_argument(
        "--keep", type=Path, default=Path(".runtime/fuzz"), help="where headers go that break a rule"
    )
    parser.add_argument("--atheris", action="store_true", help="led by coverage")
    parser.add_argument("--costly", action="store_true", help="the costliest headers alone")
    parser.add_argument(
        "corpus", nargs="*", help="folder for what atheris finds interesting, to go on from it"
    )
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        return _measure()
    if arguments.atheris:
        _run_atheris(arguments.count, arguments.seed, arguments.keep, arguments.corpus)
    if arguments.costly:
        return int(_run_costly(arguments.keep) > 0)
    return int(_run_mutations(arguments.count, arguments.seed, arguments.keep) > 0)


if __name__ == "__main__":
    sys.exit(main())
