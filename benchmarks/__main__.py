"""`make bench`: runs all benchmarks, or some of them: `make bench ARGS='import_time patching'`.

A benchmark is a module with `run() -> list[BenchmarkResult]`. It can print more than it returns.
"""

from __future__ import annotations

import importlib
import sys

from benchmarks.results import BenchmarkResult, save, show

BENCHMARKS = (
    "import_time",
    "architecture",
    "download",
    "peek",
    "refusal",
    "library",
    "search",
    "workflows",
    "reading",
    "patching",
    "each_forward",
    "bypass",
    "schedules",
    "analysis",
    "page",
    "endpoint",
    "fleet",
)


def main(names: list[str]) -> int:
    """Returns exit status 2 for an unknown benchmark."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(BENCHMARKS)}")
        return 2
    results: list[BenchmarkResult] = []
    for name in names or BENCHMARKS:
        print(f"\n{name}…", flush=True)
        results += importlib.import_module(f"benchmarks.{name}").run()
        save(results, keep_others=True)
    save(results, keep_others=bool(names))
    show(results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
