"""What a copy of the accounts database holds of secrets: nothing that could be used in their place."""

from __future__ import annotations

from django.conf import settings
from django.db import connection
from django.test import Client

from joulebook.web.accounts.operations import issue_user_token
from joulebook.web.devices.operations import issue_device_token, issue_gateway_token

PASSWORD = "a long enough pass phrase"


def everything_stored() -> str:
    with connection.cursor() as cursor:
        rows = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            rows += cursor.fetchall()
    return "\n".join(map(str, rows))


def test_no_secret_is_stored_as_it_is(alice, device):
    tokens = [issue_device_token(device), issue_gateway_token([device]), issue_user_token(alice)]
    browser = Client()
    signed_in = browser.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    assert signed_in.status_code == 302
    secrets = [PASSWORD, settings.SECRET_KEY, browser.session.session_key]
    secrets += [token.partition("_")[2] for token in tokens]
    secrets += [cookie.value for cookie in browser.cookies.values()]
    assert len(secrets) >= 9
    stored = everything_stored()
    for token in tokens:
        assert token.partition("_")[0] in stored, "the dump misses what is stored"
    for secret in secrets:
        assert len(secret) >= 20
        assert secret not in stored
    assert stored.count("argon2$argon2id$") == 1
