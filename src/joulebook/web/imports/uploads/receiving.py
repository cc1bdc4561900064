"""Receiving uploads: which requests may have a large body, and files of forms.

Django passes over files in forms, except in views with an `UploadHandler`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NoReturn

from django.conf import settings
from django.contrib.auth import get_user
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile, StopUpload
from django.http import HttpRequest, parse_cookie

from joulebook.web.accounts.operations import user_of_token
from joulebook.web.imports.uploads.files import (
    DiskFull,
    Upload,
    UploadTooLarge,
    UploadWriter,
    check_disk,
    remove_upload,
)

UPLOAD_PATHS = ("/imports/", "/api/imports")
_FORM_BYTES = 1 << 20
"""Bytes of a form besides its file."""


def largest_body(method: str, path: str, headers: Mapping[str, str], *, size: int, usual: int) -> int:
    """Return the largest body of a request, in bytes: `usual`, or more for an upload by a signed-in user.

    It needs only the headers, named as in WSGI without HTTP_. `size` is the body's, 0 if it is unknown.
    Raises `DiskFull`.
    """
    if method != "POST" or path not in UPLOAD_PATHS or 0 < size < usual or not _is_signed_in(headers):
        return usual
    # While it is received, a body is on the disk twice for a moment.
    check_disk(size, copies=2)
    return int(settings.CONFIG.upload_max_bytes) + _FORM_BYTES


def _is_signed_in(headers: Mapping[str, str]) -> bool:
    scheme, _, token = headers.get("AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        return user_of_token(token.strip()) is not None
    request = HttpRequest()
    key = parse_cookie(headers.get("COOKIE", "")).get(settings.SESSION_COOKIE_NAME)
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return get_user(request).is_active


class SkipFiles(FileUploadHandler):
    """Skips the files of a form: a page without a file field writes none to the disk."""

    def new_file(self, *_args: Any, **_kwargs: Any) -> None:
        """Skip the file."""
        raise SkipFile

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:  # noqa: ARG002
        """Ignore the bytes."""
        return None

    def file_complete(self, file_size: int) -> None:
        """Return no file."""


class ReceivedFile(UploadedFile[bytes]):
    """A file of a form, stored as `upload`; `name` is its sender's name for it."""

    def __init__(self, name: str, upload: Upload) -> None:
        super().__init__(file=None, name=name, size=upload.size)
        self.upload = upload

    def close(self) -> None:
        """Do nothing: Django calls this at the end of a request, and the file is closed already."""

    def discard(self) -> None:
        """Remove the stored file."""
        remove_upload(self.upload.name)


class UploadHandler(FileUploadHandler):
    """Stores each file of a form as an upload; `refusal` is the reason if it stopped.

    A view sets it after checking the user, and before reading the form.
    """

    chunk_size = 1 << 20

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self.refusal: UploadTooLarge | DiskFull | None = None
        self._writer: UploadWriter | None = None
        self._received: list[Upload] = []

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin to store a file."""
        super().new_file(*args, **kwargs)
        try:
            self._writer = UploadWriter()
        except DiskFull as exc:
            self._stop(exc)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:  # noqa: ARG002
        """Store bytes; return None, so that no other handler gets them."""
        if self._writer is not None:
            try:
                self._writer.write(raw_data)
            except (UploadTooLarge, DiskFull) as exc:
                self._stop(exc)
        return None

    def file_complete(self, file_size: int) -> ReceivedFile | None:  # noqa: ARG002
        """Complete the file and return it for the form."""
        if self._writer is None:
            return None
        upload = self._writer.finish()
        self._writer = None
        self._received.append(upload)
        return ReceivedFile(str(self.file_name), upload)

    def _stop(self, refusal: UploadTooLarge | DiskFull) -> NoReturn:
        self.refusal = refusal
        self.upload_interrupted()
        raise StopUpload(connection_reset=False) from refusal

    def upload_interrupted(self) -> None:
        """Remove all files of an incomplete form."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
        for upload in self._received:
            remove_upload(upload.name)
