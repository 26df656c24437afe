"""Base models and adapters: registered from their files, and read again."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django.db import transaction

from accounts.models import Project
from registry import code_reviews, facts, feed, inspect, storage, store, verification
from registry.files import Hashed, Seen
from registry.inspect import Inspected
from registry.models import Adapter, BaseModel
from registry.services.entries import (
    Also,
    CannotRegister,
    Received,
    apart,
    place_of,
    save_with_manifest,
)
from registry.storage import BadPath


def register_model(
    *,
    user: Any,
    project: Project | None,
    name: str,
    storage_path: str = "",
    received: Received | None = None,
    metadata: dict[str, Any] | None = None,
    also: Also = None,
    **fields: Any,
) -> BaseModel:
    """Register a base model from its files, from a config alone (``metadata["config"]``), or from
    the numbers given in ``fields``.

    What the files say stands above what the caller says, except for words about the model
    (family, stage, trainable, ...). Raises CannotRegister, and then nothing is left behind.
    """
    metadata = facts.own_words(metadata or {})
    entry_id = received.entry_id if received else uuid.uuid4()
    inspected, files, looks = None, None, dict[str, Seen]()
    if received:
        storage_path, files = str(received.folder), received.files
        inspected = _inspect(received.folder)
        looks = store.adopt(received.folder, files)
    elif storage_path:
        place = place_of(storage_path, user)
        inspected, hashed = _read_model(place)
        files, looks = apart(hashed)
        storage_path = str(place)
    elif metadata.get("config") is not None:
        try:
            inspected = inspect.from_config(metadata["config"])
        except inspect.BadModel as error:
            raise CannotRegister("metadata.config", str(error)) from error
    if inspected is not None:
        fields = facts.with_facts(fields, inspected, has_files=files is not None)
        metadata = {**metadata, **facts.found_in(inspected)}
        if inspected.has_tokenizer:
            fields["tokenizer_path"] = storage_path
    if files is not None:
        fields |= {"size_bytes": storage.total_size(files), "checksum": storage.checksum(files)}
    model = BaseModel(
        id=entry_id,
        project=project,
        name=name,
        storage_path=storage_path,
        metadata=metadata,
        **fields,
    )
    save_with_manifest(model, files, partial(feed.tell_of_model, model, user=user), also, looks)
    return model


def _read_model(place: Path) -> tuple[Inspected, dict[str, Hashed]]:
    try:
        storage.check_links(place)
        return _inspect(place), storage.hash_folder(place)
    except BadPath as error:
        raise CannotRegister("storage_path", str(error)) from error


def _inspect(place: Path) -> Inspected:
    try:
        return inspect.model_folder(place, code_reviews.approves)
    except inspect.CodeNotApproved as error:
        code_reviews.ask_for(error.code, place)
        raise CannotRegister("storage_path", str(error)) from error
    except inspect.BadModel as error:
        raise CannotRegister("storage_path", str(error)) from error


def check_model(model: BaseModel, meanwhile: Callable[[], object] | None = None) -> BaseModel:
    """Read all its files again: are they still those that were registered, and is it a model? What
    newer versions of Trainyard find out beyond that is taken over; a broken model says why.

    Raises CannotRegister where it has no files, and what ``meanwhile`` raises.
    """
    if not model.storage_path:
        raise CannotRegister("storage_path", f"Model '{model.name}' has no files.")
    found = verification.problems(model, thorough=True, meanwhile=meanwhile)
    if not found:
        try:
            inspected = inspect.model_folder(Path(model.storage_path), code_reviews.approves)
        except inspect.CodeNotApproved as error:
            code_reviews.ask_for(error.code, Path(model.storage_path))
            found = [str(error)]
        except inspect.BadModel as error:
            found = [str(error)]
        else:
            _take_over_facts(model, inspected)
    verification.settle(model, found, thorough=True)
    return model


def _take_over_facts(model: BaseModel, inspected: Inspected) -> None:
    fields = facts.with_facts({"family": model.family}, inspected, has_files=True)
    kept = {name: value for name, value in fields.items() if name not in facts.WORDS}
    metadata = {**model.metadata, **facts.found_in(inspected)}
    changes = {**kept, "metadata": metadata}
    changes = {name: value for name, value in changes.items() if value != getattr(model, name)}
    for name, value in changes.items():
        setattr(model, name, value)
    if changes:
        with transaction.atomic():  # the change and its audit entry
            model.save(update_fields=[*changes, "updated_at"])


def register_adapter(
    *,
    user: Any,
    project: Project | None,
    name: str,
    base_model: BaseModel,
    storage_path: str,
    metadata: dict[str, Any] | None = None,
    also: Also = None,
    **fields: Any,
) -> Adapter:
    """Register a folder as PEFT writes it, for a base model of the registry. Raises CannotRegister,
    also where configuration and weights do not belong together."""
    place = place_of(storage_path, user)
    try:
        storage.check_links(place)
        inspected = inspect.adapter_folder(place)
        files, looks = apart(storage.hash_folder(place))
    except (BadPath, inspect.BadModel) as error:
        raise CannotRegister("storage_path", str(error)) from error
    for finding in inspected.findings:
        if finding.level == inspect.ERROR:
            raise CannotRegister("storage_path", f"{finding.message} {finding.fix}")
    adapter = Adapter(
        id=uuid.uuid4(),
        project=project,
        name=name,
        base_model=base_model,
        method=inspected.method,
        r=inspected.r,
        lora_alpha=inspected.lora_alpha,
        target_modules=inspected.target_modules,
        storage_path=str(place),
        size_bytes=storage.total_size(files),
        checksum=storage.checksum(files),
        model_card=inspected.card.text,
        metadata={**facts.own_words(metadata or {}), **facts.found_in_adapter(inspected)},
        **fields,
    )
    save_with_manifest(adapter, files, partial(feed.tell_of_model, adapter, user=user), also, looks)
    return adapter
