"""What only the pages of imports load: a small style sheet, and htmx without anything that the policy forbids."""

from __future__ import annotations

import json
import re
from pathlib import Path

import joulebook

WEB = Path(joulebook.__file__).parent / "web"


def test_the_style_sheet_is_small_and_loads_nothing_from_elsewhere() -> None:
    css = (WEB / "static/joulebook/imports.css").read_text()
    assert len(css.encode()) < 10_000
    assert not re.search(r"@import|url\(", css)
    assert not re.search(r"#[0-9a-f]{3,8}\b", css), "colours are those of joulebook.css, for both grounds"


def test_htmx_evaluates_nothing_and_writes_no_styles() -> None:
    found = re.search(
        r"name=\"htmx-config\" content='([^']+)'", (WEB / "templates/imports/base.html").read_text()
    )
    assert found
    config = json.loads(found[1])
    assert not any(config[name] for name in ("allowEval", "allowScriptTags", "includeIndicatorStyles"))
    assert config["selfRequestsOnly"]
    assert config["attributesToSettle"] == ["class"], "style attributes are not allowed"


def test_only_pages_of_imports_load_htmx_and_none_has_scripts_of_its_own() -> None:
    for page in (WEB / "templates").rglob("*.html"):
        text = page.read_text()
        assert ("htmx" in text or "hx-" in text) <= (page.parent.name == "imports"), page
        assert not re.search(r"\son[a-z]+=|\sstyle=|hx-on|javascript:", text), page
