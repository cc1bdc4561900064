"""Files in forms: refused everywhere, but for the views that take one, which write it to the uploads."""

from __future__ import annotations

from typing import Any, NoReturn

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile, StopUpload
from django.http import HttpRequest

from joulebook.web.imports.uploads.files import NoRoom, Upload, UploadTooLarge, UploadWriter, remove_upload


class NoFiles(FileUploadHandler):
    """Passes over files, so that nobody fills a disk by sending some to a page that wants none."""

    def new_file(self, *_args: Any, **_kwargs: Any) -> None:
        """Pass over the file that begins."""
        raise SkipFile

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:  # noqa: ARG002
        """Take nothing."""
        return None

    def file_complete(self, file_size: int) -> None:
        """Give nothing."""


class ReceivedFile(UploadedFile[bytes]):
    """A file of a form, kept among the uploads as `upload` says; `name` is what its sender calls it."""

    def __init__(self, name: str, upload: Upload) -> None:
        super().__init__(file=None, name=name, size=upload.size)
        self.upload = upload

    def close(self) -> None:
        """Do nothing: it was closed when it was whole. Django asks for this at the end of a request."""

    def discard(self) -> None:
        """Remove the file, which is not wanted after all."""
        remove_upload(self.upload.name)


class UploadHandler(FileUploadHandler):
    """Writes each file of a form to the uploads; `refusal` is why it stopped, where it did.

    A view sets it before it looks at the form, and after it has looked at who sends it.
    """

    chunk_size = 1 << 20

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self.refusal: UploadTooLarge | NoRoom | None = None
        self._writer: UploadWriter | None = None
        self._received: list[Upload] = []

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin to write a file."""
        super().new_file(*args, **kwargs)
        try:
            self._writer = UploadWriter()
        except NoRoom as exc:
            self._stop(exc)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:  # noqa: ARG002
        """Write some bytes; nothing goes on to other handlers."""
        if self._writer is not None:
            try:
                self._writer.write(raw_data)
            except (UploadTooLarge, NoRoom) as exc:
                self._stop(exc)
        return None

    def file_complete(self, file_size: int) -> ReceivedFile | None:  # noqa: ARG002
        """Keep the file and give it to the form."""
        if self._writer is None:
            return None
        upload = self._writer.finish()
        self._writer = None
        self._received.append(upload)
        return ReceivedFile(str(self.file_name), upload)

    def _stop(self, refusal: UploadTooLarge | NoRoom) -> NoReturn:
        self.refusal = refusal
        self.upload_interrupted()
        raise StopUpload(connection_reset=False) from refusal

    def upload_interrupted(self) -> None:
        """Leave nothing of a form that was not received whole."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
        for upload in self._received:
            remove_upload(upload.name)
