"""Reading a model folder without loading it: no torch, no transformers, no Django.

`model_folder` and `adapter_folder` read files, `from_config` knows only a config.json; all raise
`BadModel`.
"""

from registry.inspect.adapter import adapter_folder
from registry.inspect.card import read_card
from registry.inspect.code import custom_code
from registry.inspect.config import from_config
from registry.inspect.facts import (
    ERROR,
    BadModel,
    CodeNotApproved,
    CustomCode,
    Finding,
    Inspected,
    InspectedAdapter,
)
from registry.inspect.folder import model_folder
from registry.inspect.roles import role_of

__all__ = [
    "ERROR",
    "BadModel",
    "CodeNotApproved",
    "CustomCode",
    "Finding",
    "Inspected",
    "InspectedAdapter",
    "adapter_folder",
    "custom_code",
    "from_config",
    "model_folder",
    "read_card",
    "role_of",
]
