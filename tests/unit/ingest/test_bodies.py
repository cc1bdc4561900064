"""Compressed bodies: whole ones come out equal, cut and swollen ones are refused."""

from __future__ import annotations

import gzip
import os
import time

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from joulebook.ingest.requests.bodies import BodyTooLarge, BodyUnreadable, inflate

COMPRESS = {"gzip": gzip.compress, "zstd": zstandard.compress}


@given(
    parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=3),
    encoding=st.sampled_from(sorted(COMPRESS)),
)
def test_members_one_after_the_other_are_one_body(parts, encoding):
    body = b"".join(COMPRESS[encoding](part) for part in parts)
    assert inflate(body, encoding, most_bytes=10_000) == b"".join(parts)


@given(
    content=st.binary(min_size=1, max_size=5000), encoding=st.sampled_from(sorted(COMPRESS)), data=st.data()
)
def test_a_body_that_was_cut_is_never_taken_for_a_whole_one(content, encoding, data):
    body = COMPRESS[encoding](content)
    cut = body[: data.draw(st.integers(1, len(body) - 1))]
    with pytest.raises(BodyUnreadable):
        inflate(cut, encoding, most_bytes=10_000)


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_a_bomb_is_refused_before_it_has_gone_off(encoding):
    bomb = COMPRESS[encoding](bytes(200_000_000))
    with pytest.raises(BodyTooLarge):
        inflate(bomb, encoding, most_bytes=1_000_000)


@pytest.mark.parametrize(
    ("encoding", "empty"), [("gzip", gzip.compress(b"", mtime=0)), ("zstd", zstandard.compress(b""))]
)
def test_a_body_of_very_many_empty_parts_is_refused_before_it_has_cost_much(encoding, empty):
    """Sixteen megabytes of them once kept the event loop for minutes: each copied all that came behind it."""
    began = time.process_time()
    with pytest.raises(BodyUnreadable, match="more than 1000"):
        inflate(empty * (16_000_000 // len(empty)), encoding, most_bytes=1 << 24)
    assert time.process_time() - began < 5
    assert inflate(empty * 1000, encoding, most_bytes=10) == b""


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_parts_that_end_anywhere_in_a_slice_are_put_together(encoding):
    pieces = [bytes([number % 256]) * (997 * number) + os.urandom(number * 31) for number in range(1, 60)]
    assert inflate(b"".join(map(COMPRESS[encoding], pieces)), encoding, most_bytes=1 << 24) == b"".join(
        pieces
    )
