"""Reading a model folder without loading it: no torch, no transformers, no Django.

`model_folder` reads files, `from_config` knows only a config.json; both raise `BadModel`.
"""

from registry.inspect.config import from_config
from registry.inspect.facts import BadModel, Inspected
from registry.inspect.folder import model_folder

__all__ = ["BadModel", "Inspected", "from_config", "model_folder"]
