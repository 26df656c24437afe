"""Uploads go to the disk as they come, below TRAINYARD_HOME, and no further than the limit."""

from __future__ import annotations

import hashlib
from typing import Any

from django.conf import settings
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from rest_framework import exceptions, status

# What a multipart body has around its file.
_ENVELOPE_BYTES = 1_000_000


class TooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"

    def __init__(self) -> None:
        super().__init__(
            f"The file is larger than {settings.TRAINYARD_UPLOAD_LIMIT_MB:,} MB "
            "(TRAINYARD_UPLOAD_LIMIT_MB)."
        )


class LengthRequired(exceptions.APIException):
    """A form without a length would be taken for an empty one."""

    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_code = "length_required"
    default_detail = "An upload needs a Content-Length; chunked transfer is not taken."


class NoRoom(exceptions.APIException):
    status_code = status.HTTP_507_INSUFFICIENT_STORAGE
    default_code = "no_room"

    def __init__(self, error: OSError) -> None:
        super().__init__(f"The upload could not be written: {error.strerror}.")


class LimitedUpload(TemporaryFileUploadHandler):
    """Hashes a file as it comes (``upload.sha256``). Raises TooLarge at the first byte too many, or
    before any where the request admits it."""

    def handle_raw_input(
        self,
        input_data: Any,
        META: dict[str, str],
        content_length: int,
        boundary: Any,
        encoding: str | None = None,
    ) -> None:
        if content_length > _limit_bytes() + _ENVELOPE_BYTES:
            raise TooLarge

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        self.received_bytes = 0
        self.digest = hashlib.sha256()
        try:
            super().new_file(*args, **kwargs)
        except OSError as error:
            raise NoRoom(error) from error

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.received_bytes += len(raw_data)
        if self.received_bytes > _limit_bytes():
            self.upload_interrupted()
            raise TooLarge
        self.digest.update(raw_data)
        try:
            super().receive_data_chunk(raw_data, start)
        except OSError as error:
            self.upload_interrupted()
            raise NoRoom(error) from error

    def file_complete(self, file_size: int) -> Any:
        upload: Any = super().file_complete(file_size)
        upload.sha256 = self.digest.hexdigest()
        return upload


def _limit_bytes() -> int:
    return int(settings.TRAINYARD_UPLOAD_LIMIT_MB) * 1024 * 1024
