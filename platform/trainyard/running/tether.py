"""``python tether.py COMMAND…``: run a command that dies with its parent.

However the supervisor goes, kill -9 included, nothing it started outlives it. The kernel keeps
the promise (prctl(2), PR_SET_PDEATHSIG), and it holds across execve. Linux only; on other systems
a supervisor that is killed outright leaves its children behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>


def main(command: list[str]) -> None:
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was told
            sys.exit("The process that started this one is gone.")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
