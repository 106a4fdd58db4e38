"""Handle Ctrl-C, SIGTERM and the end of a terminal, which end a run in an orderly way."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


class Interruption:
    """Signals raise KeyboardInterrupt anywhere; inside ``patience`` only where the program calls ``ask``.

    An asynchronous exception may hit the standard library when it has taken a lock and not yet noted so. If other
    threads need that lock, the program then hangs forever.
    """

    def __init__(self) -> None:
        self.came = self._patient = False

    def watch(self) -> None:
        """Take over the signals.

        SIGTERM: 'docker stop' ends a run as Ctrl-C does. SIGINT: Python ignores it in what a script starts with '&'.
        SIGHUP: the terminal is gone; it stays ignored under nohup, which is there so that a run goes on.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def _handle(self, *_: object) -> None:
        self.came = True
        if not self._patient:
            raise KeyboardInterrupt

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Defer signals until ``ask``, while other threads run."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def ask(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.came:
            raise KeyboardInterrupt


@cache
def of_this_process() -> Interruption:
    """Return the interruption of this process, which watches from the first call on.

    There is only one, so that a signal counts also where its exception was dropped, or became another: Python drops it
    in destructors and in a callback of every import, libraries that are being imported take it for a missing part.
    """
    interruption = Interruption()
    interruption.watch()
    return interruption
