"""Finds the lines whose quotes need more than a splitter: open at the end, or standing where none may."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LF, _CR = 10, 13


def lines_with_odd_quotes(
    data: bytes, ends: NDArray[np.intp], *, quote: str, delimiter: str
) -> NDArray[np.bool_]:
    """Return for each line whether its quotes are not simply those of quoted cells.

    Simple are lines in which every quoted cell opens behind a delimiter, closes before one on the same
    line, and doubles the quotes inside. Counting a line's quotes from 0, the even ones must open a cell
    or follow a quote directly (the second of a doubled pair), and the odd ones must close a cell or be
    followed by a quote.
    """
    odd = np.zeros(len(ends), np.bool_)
    text = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(text == ord(quote))
    if not len(at):
        return odd
    line = np.searchsorted(ends, at, side="right")
    first_of_line = np.searchsorted(line, line, side="left")
    is_even = (np.arange(len(at)) - first_of_line) % 2 == 0
    before = np.where(at > 0, text[at - 1], _LF)
    after = _byte_after(text, at)
    may_open = (before == _LF) | (before == ord(delimiter)) | (before == ord(quote))
    may_close = (after == _LF) | (after == ord(delimiter)) | (after == ord(quote)) | _is_line_end(text, at)
    odd[line[np.where(is_even, ~may_open, ~may_close)]] = True
    last_of_line = np.append(line[1:] != line[:-1], True)
    odd[line[last_of_line & is_even]] = True
    return odd


def _byte_after(text: NDArray[np.uint8], at: NDArray[np.intp]) -> NDArray[np.uint8]:
    following = np.minimum(at + 1, len(text) - 1)
    return np.where(at + 1 < len(text), text[following], _LF).astype(np.uint8)


def _is_line_end(text: NDArray[np.uint8], at: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return where a CR follows that itself stands before LF or at the end."""
    is_end: NDArray[np.bool_] = (_byte_after(text, at) == _CR) & (_byte_after(text, at + 1) == _LF)
    return is_end
