"""How the process is stopped: by SIGTERM (or Ctrl-C), and by the death of whoever started it.

Standard library only: both must work while torch is still being imported.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

PARENT_PID_VARIABLE = "TRAINYARD_PARENT_PID"
EXIT_CODE_STOPPED = 3
_PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>


class StopRequested(Exception):
    """Somebody asked the run to stop, and this is a moment at which it can."""


class Stop:
    """Hears SIGTERM and SIGINT.

    Most of the time a stop ends the process at once: nothing would be lost. Inside `deferred`,
    where steps are taken, it only sets ``requested``, and the loop ends in good order.
    """

    def __init__(self) -> None:
        self.requested = False
        self._deferred = False
        self.before_exit: Callable[[], None] = lambda: None
        self.on_check: Callable[[], None] = lambda: None  # told whenever work has come this far
        self.agree: Callable[[bool], bool] = bool  # many ranks: stop where any of them heard it

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._heard)
        signal.signal(signal.SIGINT, self._heard)

    def stop_listening(self) -> None:
        """How the run ended is decided; a late stop must not overwrite it."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def check(self) -> None:
        """Raises StopRequested where a stop was requested. All ranks call it together."""
        self.on_check()
        if self.agree(self.requested):  # one that is heard meanwhile is left for the next time
            self.requested = True
            raise StopRequested

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """While inside, a stop waits for `check`; one that nobody checked for ends the process
        on the way out."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.requested:
            self._exit()

    def _heard(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True
        if not self._deferred:
            self._exit()

    def _exit(self) -> None:
        # No unwinding: an exception raised in the middle of an import may be swallowed there.
        # No logging: this may run in the middle of another log line.
        os.write(sys.stderr.fileno(), b"Stopped on request.\n")
        self.before_exit()
        os._exit(EXIT_CODE_STOPPED)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies (Linux; elsewhere nothing happens).

    The parent may have died before the kernel was asked. Who starts this process can close that
    gap by passing its own id in TRAINYARD_PARENT_PID; exits where that is no longer the parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    expected = os.environ.get(PARENT_PID_VARIABLE)
    if expected and expected != str(os.getppid()):
        sys.exit("The process that started this trainer is gone.")
