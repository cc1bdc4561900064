"""Bytes in a file's encoding to UTF-8 with LF between lines; undecodable bytes remain visible."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from joulebook.telemetry.files.errors import Message, UnusableProfile

_BOM = codecs.BOM_UTF8
_PIECE = 1 << 20
# Codecs for names and escapes, and codecs that can yield halves of surrogate pairs.
_REFUSED = {"undefined", "idna", "punycode", "utf-7", "unicode-escape", "raw-unicode-escape"}


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    raise error


codecs.register_error("joulebook-invalid", _mark_invalid)


def utf8_chunks(chunks: Iterable[bytes], *, encoding: str, line_end: str = "\n") -> Iterator[bytes]:
    """Yield the text of `chunks` as UTF-8 without its byte-order mark.

    UTF-8 itself passes unchecked: `RecordReader` finds bad bytes together with their line. In other
    encodings an undecodable byte becomes 0xFF, never found in UTF-8. With `line_end` CR, as on old Macs,
    each CR becomes LF. Raises `UnusableProfile` for a name that is no text encoding.
    """
    name = codec_name(encoding)
    text = _without_bom(chunks) if name == "utf-8" else _recoded(chunks, name)
    return text if line_end == "\n" else (chunk.replace(b"\r", b"\n") for chunk in text)


def codec_name(encoding: str) -> str:
    """Return Python's own name of a text encoding; raises `UnusableProfile` for any other name."""
    try:
        name = codecs.lookup(encoding).name.removesuffix("-sig")
        codecs.getincrementaldecoder(name)
        is_text = name not in _REFUSED and isinstance(b"1".decode(name, "replace"), str)
    except (LookupError, UnicodeError, ValueError, TypeError):
        is_text = False
    if not is_text:
        raise UnusableProfile(
            Message(
                "{encoding:{0!r}} is not a text encoding; try utf-8, cp1252, latin-1 or utf-16", encoding
            ),
            setting="encoding",
        )
    return name


def _without_bom(chunks: Iterable[bytes]) -> Iterator[bytes]:
    start = b""
    waiting = True
    for chunk in chunks:
        if not waiting:
            yield chunk
            continue
        start += chunk
        if len(start) >= len(_BOM):
            waiting = False
            yield start.removeprefix(_BOM)
    if waiting and start:
        yield start


def _recoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    every = bytes(range(256)).decode(encoding, "replace")
    # If one byte is one character and the first 128 are ASCII, ASCII needs no decoding.
    extends_ascii = len(every) == 256 and every[:128] == bytes(range(128)).decode("ascii")
    decoder = codecs.getincrementaldecoder(encoding)("joulebook-invalid")
    at_start = True
    for chunk in chunks:
        if extends_ascii and chunk.isascii():
            at_start = False
            yield chunk
            continue
        for begin in range(0, len(chunk), _PIECE):
            text = _decoded(decoder, chunk[begin : begin + _PIECE], encoding)
            if at_start and text:
                text, at_start = text.removeprefix("\ufeff"), False
            yield _encoded(text)
    if rest := _decoded(decoder, b"", encoding, final=True):
        yield _encoded(rest)


def _decoded(decoder: codecs.IncrementalDecoder, piece: bytes, encoding: str, *, final: bool = False) -> str:
    try:
        return decoder.decode(piece, final)
    except UnicodeError as exc:
        # An error of the whole text, not of a character: UTF-32 must begin with its mark.
        raise UnusableProfile(
            Message(
                "the file cannot be read with {encoding:{0!r}} ({1}); try utf-8, cp1252 or utf-16",
                encoding,
                exc,
            ),
            setting="encoding",
        ) from exc


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
