"""``python -m training.trainer.generate FOLDER``: keep a model in memory and answer prompts.

It takes its orders from files (`orders`) until it is ended by SIGTERM, which loses nothing that
was not said, or by the death of who started it.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from pathlib import Path

from training.trainer import __main__ as trainer
from training.trainer import orders
from training.trainer.failures import explain
from training.trainer.stopping import Stop, die_with_parent

LOOK_SECONDS = 0.03

logger = logging.getLogger("training.trainer")


def main(folder: Path) -> int:
    die_with_parent()
    Stop().listen()
    trainer.speak_plainly()
    trainer.share_the_cores()
    spec = orders.ServingSpec.read(folder)
    says, given = orders.Says(folder), orders.Orders(folder)
    logger.info("Loading PyTorch and Transformers.")
    from training.trainer.answers import Models

    models = Models(spec, says)
    while True:
        given.look()
        if not given.waiting:
            time.sleep(LOOK_SECONDS)
            continue
        order = given.waiting.pop(0)
        try:
            models.answer(order, given)
            says(orders.ANSWERED, id=order.id)
        except Exception as error:
            failure = explain(error)
            logger.error("%s %s", failure.message, failure.advice)
            says(orders.FAILED, id=order.id, **dataclasses.asdict(failure))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python -m training.trainer.generate FOLDER")
    trainer.leave(main(Path(sys.argv[1]).resolve()))
