"""Plain text, read on and on: continued pre-training."""

from __future__ import annotations

from training.trainer.data.examples import Examples
from training.trainer.data.files import RowFiles
from training.trainer.data.load import load_blocks
from training.trainer.data.tokens import Row
from training.trainer.objectives.language import Language


class Pretraining(Language):
    """The next token of text that fills every row to its end: nothing is padded or left out."""

    def load(self, files: RowFiles) -> Examples[Row]:
        return load_blocks(files, self.processor, self.spec)
