"""Progress of long work: a bar on a terminal, otherwise a line every few seconds.

Lines, not redrawn bars, because jobs run side by side and their output ends in logs.
"""

import sys
import time
from types import TracebackType
from typing import Any, Self

LINE_EVERY_SECONDS = 5.0


class Progress:
    """Count ``total`` pieces of work (None: nobody knows) and report the rate and the time left.

    Use as a context manager and call :meth:`advance` after each piece.
    """

    def __init__(
        self, label: str, total: int | None, unit: str, done: int = 0, silent: bool = False
    ) -> None:
        self.label, self.total, self.unit, self.silent = label, total, unit, silent
        self.done = self.start = done
        self.began = self.reported = time.monotonic()
        self.note = ""
        self.reported_done = -1
        self.bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not self.silent:
            from tqdm import tqdm

            self.bar = tqdm(
                total=self.total, initial=self.done, desc=self.label, unit=f" {self.unit}"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()
        elif error is None and self.done != self.reported_done:
            self._report()

    def advance(self, pieces: int = 1, note: str = "") -> None:
        """Count ``pieces`` more as done; the last ``note`` is shown beside the rate."""
        self.done += pieces
        self.note = note or self.note
        if self.bar is not None:
            self.bar.set_postfix_str(self.note, refresh=False)
            self.bar.update(pieces)
        elif time.monotonic() - self.reported >= LINE_EVERY_SECONDS:
            self._report()

    def _report(self) -> None:
        if self.silent:
            return
        self.reported, self.reported_done = time.monotonic(), self.done
        seconds = max(self.reported - self.began, 1e-9)
        rate = (self.done - self.start) / seconds
        of, duration = "", f"{seconds:.1f} s"
        if self.total is not None:
            of = f"/{self.total:,}"
            if self.done < self.total:
                duration = f"{(self.total - self.done) / rate if rate else 0:.0f} s left"
        print(
            f"{self.label}: {self.done:,}{of} {self.unit}, {rate:,.1f}/s, {duration}"
            + (f", {self.note}" if self.note else ""),
            file=sys.stderr,
            flush=True,
        )
