"""Progress of long work: a bar on a terminal, otherwise a line every few seconds.

Lines, not redrawn bars, because jobs run side by side and their output ends in logs. Both are
shown where the logger ``air.progress`` is enabled for INFO, as ``air`` does unless it is quiet.
"""

import logging
import sys
import time
from collections import deque
from types import TracebackType
from typing import Any, Self

LINE_EVERY_SECONDS = 5.0
RECENT = 6  # lines that the rate is taken over

log = logging.getLogger(__name__)


class Progress:
    """Count ``total`` pieces of work (None: nobody knows) and report the rate and the time left.

    Use as a context manager and call :meth:`advance` after each piece. Rate and time left are those
    of the last half minute; the last line has the rate of the whole.

    Args:
        compiles: the first piece waits for a compiler, so that its time says nothing of the others.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        unit: str,
        done: int = 0,
        silent: bool = False,
        compiles: bool = False,
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.shown = not silent and log.isEnabledFor(logging.INFO)
        self.done = self.start = done
        self.compiling = compiles
        self.began = self.reported = time.monotonic()
        self.recent = deque([(self.began, done)], maxlen=RECENT)  # when, how much was done
        self.note = ""
        self.reported_done = -1
        self.bar: Any = None

    def __enter__(self) -> Self:
        if not self.shown:
            return self
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=self.total, initial=self.done, desc=self.label, unit=f" {self.unit}"
            )
            if self.compiling:
                self.bar.set_postfix_str("compiling")
        elif self.compiling:
            log.info("%s: compiling", self.label)
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
        if self.compiling:
            self._compiled()
        if self.bar is not None:
            self.bar.set_postfix_str(self.note, refresh=False)
            self.bar.update(pieces)
        elif time.monotonic() - self.reported >= LINE_EVERY_SECONDS:
            self._report()

    def _compiled(self) -> None:
        """The first piece is done: the clock of the rate starts."""
        self.compiling = False
        self.reported = time.monotonic()
        self.recent = deque([(self.reported, self.done)], maxlen=RECENT)
        if self.bar is not None:
            self.bar.unpause()

    def _report(self) -> None:
        if not self.shown:
            return
        now = self.reported = time.monotonic()
        self.reported_done = self.done
        of = "" if self.total is None else f"/{self.total:,}"
        ended = self.total is None or self.done >= self.total
        since, before = (self.began, self.start) if ended else self.recent[0]
        rate = (self.done - before) / max(now - since, 1e-9)
        duration = f"{now - self.began:.1f} s"
        if self.total is not None and not ended:
            # without a piece in all that time there is no estimate
            duration = f"{(self.total - self.done) / rate:.0f} s left" if rate else "waiting"
        self.recent.append((now, self.done))
        log.info(
            "%s: %s%s %s, %s/s, %s%s",
            self.label,
            f"{self.done:,}",
            of,
            self.unit,
            f"{rate:,.1f}",
            duration,
            f", {self.note}" if self.note else "",
        )
