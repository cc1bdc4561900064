"""Answers of the guess about a file: reading settings with their reasons, and questions left open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from joulebook.telemetry.files.errors import Message, NameSetting
from joulebook.telemetry.files.settings import Given


@dataclass(frozen=True)
class ReadingSetting:
    """One setting of the profile in words, with the reason for its value: given, or guessed and why."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class Answer:
    """One answer to a question: a label for people, and the fields of `Given` set by it."""

    label: str
    given: Mapping[str, Any]

    def applied_to(self, given: Given) -> Given:
        """Return the settings with this answer in them."""
        return replace(given, **self.given)


@dataclass(frozen=True)
class Question:
    """A decision about a file left to a person; `setting` is the field of `Given` it sets.

    `about` describes the open decision, and `remedy` continues with the settings for it. Without a
    decision the first answer applies; with `is_required` nothing may be stored before there is one.
    """

    setting: str
    about: str
    remedy: Message
    answers: tuple[Answer, ...]
    is_required: bool = True

    def said(self, name: NameSetting) -> str:
        """Return the question and its remedy in one sentence, with the settings named by `name`."""
        return self.about + self.remedy.said(name)
