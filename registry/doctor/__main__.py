"""``python -m registry.doctor``: reads an order from its standard input, one line of JSON, tells on
its standard output how far it is, and at last what came of it.

It ends when its input does: so it never outlives who asked, however that one ended.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from typing import Any

from registry.doctor import orders
from registry.files import BadPath

# Of what is neither in a file nor shared. A million rows take a tenth of it.
MOST_MEMORY_BYTES = 4 * 1024**3


def main() -> int:
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    order = orders.Order(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_input, daemon=True).start()
    told = 0.0

    def news(rows: int, read_bytes: int) -> None:
        nonlocal told
        if time.monotonic() - told > orders.NEWS_SECONDS / 2:
            told = time.monotonic()
            _say({"read": [rows, read_bytes]})

    try:
        if order.repair is None:
            _say({"done": orders.carry_out(order, news)})
        else:
            from registry.doctor import repair

            _say({"done": repair.carry_out(order, news)})
    except BadPath as error:
        _say({"bad_path": str(error)})
    return 0


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
