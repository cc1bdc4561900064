"""The id of a request: a trusted proxy may choose it, another client may not."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from joulebook.serving.observing import choose_request_id

TRUSTED = [ip_network("10.0.0.0/8")]


def test_a_trusted_proxy_chooses_the_id():
    assert choose_request_id("abc-1", peer="10.1.2.3", trusted=TRUSTED) == "abc-1"


@pytest.mark.parametrize(
    ("given", "peer"),
    [("abc-1", "192.0.2.1"), ("not well-formed\n", "10.1.2.3"), (None, "10.1.2.3"), ("abc-1", "")],
)
def test_in_every_other_case_the_id_is_new(given, peer):
    first, second = (choose_request_id(given, peer=peer, trusted=TRUSTED) for _ in range(2))
    assert first != second
    assert given not in {first, second}
