"""Files that have come become one model: those of its folder one by one, or an archive of it."""

from __future__ import annotations

import uuid
from pathlib import Path, PurePosixPath
from typing import Any

from accounts.models import Project
from registry import archives, quotas, services, storage
from registry.archives import TakesLonger, Wanted
from registry.hub.selection import BESIDE, WEIGHTS, why_no_model_file
from registry.model_checks import READ_AT_ONCE_BYTES
from registry.models import BaseModel
from registry.services import CannotRegister
from registry.uploads.registration import Received, all_or_nothing, origin

KINDS = ", ".join((*WEIGHTS, *BESIDE, *archives.SUFFIXES))


def _belongs_to_a_model(name: str) -> bool:
    return not why_no_model_file(PurePosixPath(name.replace("\\", "/")).name)


MODEL = Wanted(_belongs_to_a_model, "no file of a model", "model")


def register_model(
    *, user: Any, project: Project, name: str, files: list[Received], **fields: Any
) -> BaseModel:
    """Raises CannotRegister, and then nothing is left behind and the files are where they were."""
    if not files:
        raise CannotRegister("files", "There is no file.")
    model_id = uuid.uuid4()
    folder = storage.model_folder(model_id)
    if reason := quotas.refusal(project, sum(file.path.stat().st_size for file in files)):
        raise CannotRegister("project_id", reason)
    with all_or_nothing(folder, BaseModel(id=model_id)) as moved:
        if any(archives.is_one(file.file_name) for file in files):
            manifest = _unpacked(files, folder)
        else:
            manifest = _moved(files, folder, moved)
        try:
            return services.register_model(
                user=user,
                project=project,
                name=name,
                received=services.Received(model_id, folder, manifest),
                metadata=origin(files),
                **fields,
            )
        except CannotRegister as error:
            if error.field != "storage_path":
                raise
            # The folder has a name that says nothing to whoever sent its files.
            said = str(error).replace(f"'{folder}'", "what was sent")
            raise CannotRegister("files", said.replace(str(folder), "what was sent")) from error


def _moved(files: list[Received], folder: Path, moved: dict[Path, Path]) -> storage.Manifest:
    folder.mkdir(parents=True)
    manifest: storage.Manifest = {}
    for file in files:
        if reason := why_no_model_file(file.file_name):
            raise CannotRegister("files", f"'{file.file_name}' is {reason}; a model has {KINDS}.")
        target = folder / file.file_name
        if target.exists():
            raise CannotRegister("files", f"'{file.file_name}' was sent twice.")
        size = file.path.stat().st_size
        moved[target] = file.path
        file.path.rename(target)
        manifest[target.name] = {"sha256": file.sha256, "size": size}
    return manifest


def _unpacked(files: list[Received], folder: Path) -> storage.Manifest:
    """Of a size that does not keep a request waiting: what is larger is sent file by file, which
    costs no time here."""
    if len(files) > 1:
        raise CannotRegister("files", "An archive comes alone, with all files of the model in it.")
    [archive] = files
    try:
        archives.unpack(archive.path, folder, READ_AT_ONCE_BYTES, wanted=MODEL)
        return storage.manifest(folder)
    except TakesLonger as error:
        raise CannotRegister(
            "files",
            f"The archive unpacks to more than {READ_AT_ONCE_BYTES >> 30} GB. Send the files of "
            "the model themselves, which may be larger.",
        ) from error
    except storage.BadPath as error:
        raise CannotRegister("files", str(error)) from error
