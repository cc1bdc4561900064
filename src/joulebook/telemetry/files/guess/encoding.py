"""Guesses a file's encoding: byte-order mark, then strict UTF-8, then the pattern of UTF-16, then cp1252."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def guess_encoding(head: bytes, *, is_whole: bool) -> tuple[str, str]:
    """Return the encoding of a file that begins with `head`, and the reason; `is_whole`: nothing follows."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, "byte-order mark"
    pairs = head[: len(head) // 2 * 2]
    if pairs and b"\0" in pairs:
        low, high = pairs[0::2], pairs[1::2]
        if high.count(0) > len(high) * 0.9 and low.count(0) < len(low) * 0.1:
            return "utf-16-le", "every second byte is zero"
        if low.count(0) > len(low) * 0.9 and high.count(0) < len(high) * 0.1:
            return "utf-16-be", "every second byte is zero"
    if head.isascii():
        return "utf-8", "plain ASCII so far"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=is_whole)
    except UnicodeDecodeError:
        return "cp1252", "not valid UTF-8"
    return "utf-8", "valid UTF-8"
