"""The verbs of the registry. Each owns its transaction and tells the activity feed inside it.

Files are read, hashed and checked before the transaction begins: it never waits for a disk.
"""

from registry.services.base_models import check_model, register_adapter, register_model
from registry.services.datasets import (
    check_dataset,
    receive_upload,
    register_dataset,
    save_received,
)
from registry.services.entries import CannotRegister, Received, delete, edit, verify_files

__all__ = [
    "CannotRegister",
    "Received",
    "check_dataset",
    "check_model",
    "delete",
    "edit",
    "receive_upload",
    "register_adapter",
    "register_dataset",
    "register_model",
    "save_received",
    "verify_files",
]
