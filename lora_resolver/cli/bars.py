"""Progress in the terminal: one bar for each file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..identifiers import Identifier
    from ..records import Progress

__all__ = ["Bars"]

_PHASES = {
    "download": "",
    "wait": "another program is downloading it",
    "verify": "verifying",
    "store": "copying to the shared store",
    "done": "",
}


class Bars:
    """Shows transfers if standard error is a terminal. Use it in a `with` block and as `on_progress`."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._bars: dict[Identifier, Any] = {}

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the bars as they are, and the cursor below them."""
        for bar in self._bars.values():
            bar.close()

    def __call__(self, progress: Progress) -> None:
        if not self._shown or progress.phase not in _PHASES or not progress.total:
            return
        bar = self._bars.get(progress.identifier)
        if progress.phase == "done" and bar is None:  # finished without a bar
            return
        if bar is None:
            from tqdm import tqdm  # imported only if the bars are visible

            bar = tqdm(unit="B", unit_scale=True, desc=progress.file_name[:40])
            self._bars[progress.identifier] = bar
        bar.total, bar.n = progress.total, progress.done
        bar.set_postfix_str(_PHASES[progress.phase], refresh=False)
        bar.refresh()
        if progress.phase == "done":
            self._bars.pop(progress.identifier).close()  # the bar stays, and others appear below it
