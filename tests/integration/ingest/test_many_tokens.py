"""Tokens of many devices: asked for together, and each still refused soon after it was revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from joulebook.config import Config
from joulebook.ingest.access import tokens as tokens_module
from joulebook.ingest.access.tokens import TokenDirectory
from joulebook.web.devices.models import DeviceToken
from joulebook.web.devices.operations import issue_device_token


class Noting:
    """Accounts that note how many tokens each question was about."""

    def __init__(self, accounts: Any) -> None:
        self.accounts, self.questions = accounts, []
        self.cut, self.close = accounts.cut, accounts.close

    def find_tokens(self, hashes: Sequence[str]) -> Any:
        self.questions.append(len(hashes))
        return self.accounts.find_tokens(hashes)


class Watched(TokenDirectory):
    """A directory whose questions are noted."""

    def __init__(self) -> None:
        super().__init__(Config.from_environ().database_url)
        self._accounts = noting = Noting(self._accounts)
        self.questions = noting.questions


@pytest.fixture
def brief(monkeypatch):
    """Answers are remembered for half a second only, and looked after when they have a fifth left."""
    monkeypatch.setattr(tokens_module, "REMEMBERED_SECONDS", 0.5)
    monkeypatch.setattr(tokens_module, "_AHEAD_SECONDS", 0.1)


@pytest.fixture
def secrets(transactional_db, device) -> list[bytes]:
    return [issue_device_token(device).encode() for _ in range(20)]


def test_devices_that_go_on_sending_are_asked_for_together_and_a_revoked_one_is_refused(
    brief, secrets, device_id
):
    async def run() -> None:
        tokens = Watched()
        try:
            for secret in secrets:
                assert (await tokens.grant_of(secret)).devices == {device_id}
            assert tokens.questions == [1] * 20
            for secret in secrets:
                assert tokens.remembered(secret) is not None
            await asyncio.sleep(0.55)
            assert tokens.remembered(secrets[0]) is None
            await asyncio.to_thread(revoke, secrets[7])
            await tokens.grant_of(secrets[0])
            assert tokens.questions[20:] == [20]
            for number, secret in enumerate(secrets):
                assert (tokens.remembered(secret) is None) == (number == 7)
            assert await tokens.grant_of(secrets[7]) is None
            assert tokens.questions[21:] == []
        finally:
            tokens.close()

    asyncio.run(run())


def test_a_device_that_has_fallen_silent_is_not_asked_for_again(brief, secrets):
    async def run() -> None:
        tokens = Watched()
        try:
            for secret in secrets:
                await tokens.grant_of(secret)
            tokens.remembered(secrets[3])
            await asyncio.sleep(0.55)
            await tokens.grant_of(secrets[0])
            await asyncio.sleep(0.55)
            await tokens.grant_of(secrets[0])
            assert tokens.questions[20:] == [2, 1]
        finally:
            tokens.close()

    asyncio.run(run())


def revoke(secret: bytes) -> None:
    token = DeviceToken.objects.filter(prefix=secret.decode().partition("_")[0])
    assert token.update(revoked_at=timezone.now()) == 1
    connection.close()
