"""What tests of the pages of imports share: files as people bring them, and the form of a draft."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

if TYPE_CHECKING:
    from django.test import Client

    from joulebook.web.imports.models import Import

METER = (
    "Zählerstand Haus 7\n"
    "Datum;Uhrzeit;Leistung [kW];Zähler [kWh];Bemerkung\n"
    "31.10.2024;00:00;1,25;10.408,5;\n"
    "31.10.2024;00:15;?;10.408,8;Ausfall\n"
    "31.10.2024;00:30;1,5O;10.409,1;\n"
    "31.10.2024;24:10;1,31;10.409,4;\n"
)
OPEN = "Date,Power\n" + "".join(f"03/04/2024 {hour:02d}:00,{hour}.5\n" for hour in range(10))
"""A file whose dates can be read in two ways."""

LONG = "time,register,value\n" + "".join(
    f"2024-01-13 {hour:02d}:00,{register},{hour}\n"
    for hour in range(12)
    for register in ("import", "export", "reactive")
)


def file(content: str | bytes, name: str = "meter.csv") -> SimpleUploadedFile:
    """Return a file for a form; text is Windows-1252."""
    return SimpleUploadedFile(name, content.encode("cp1252") if isinstance(content, str) else content)


def upload(client: Client, *files: SimpleUploadedFile, **fields: Any) -> Any:
    """Send files by the form of the list."""
    return client.post(reverse("imports"), {"file": list(files), **fields})


def draft(client: Client, content: str | bytes, **fields: Any) -> Import:
    """Upload a file and return the draft that it became."""
    from joulebook.web.imports.models import Import

    answer = upload(client, file(content), **fields)
    assert answer.status_code == 302, answer.content.decode()
    return Import.objects.latest("pk")


def row(number: int, column: str, *key: str, metric: str, on: bool = True, **texts: str) -> dict[str, str]:
    """Return the fields of a row of the mapping."""
    entered = {"unit": "", "factor": "1", "device": "", "metric": metric, **texts}
    fields = {f"{name}-{number}": text for name, text in entered.items()}
    return {f"row-{number}": json.dumps([column, *key]), **({f"on-{number}": "on"} if on else {}), **fields}


def say(
    client: Client, import_: Import, where: str = "import-preview", *, htmx: bool = False, **form: Any
) -> Any:
    """Send the form of a draft; underscores in names are dashes, and `rows` is a list of rows."""
    rows = form.pop("rows", [])
    fields = {name.replace("__", "-"): value for name, value in form.items()}
    for each in rows:
        fields.update(each)
    headers = {"HX-Request": "true"} if htmx else {}
    return client.post(reverse(where, args=[import_.pk]), {**fields, "rows": len(rows)}, headers=headers)


def text(answer: Any) -> str:
    """Return what stands on a page, without tags."""
    plain = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return re.sub(r"\s+", " ", unescape(plain))
