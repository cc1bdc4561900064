"""What a file leaves open: questions with the answers that there are, and what each answer sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from joulebook.telemetry.files.errors import Message, NameSetting
from joulebook.telemetry.files.profile import Given


@dataclass(frozen=True)
class Answer:
    """One answer to a question: a label for people, and the settings of `Given` that it stands for."""

    label: str
    given: Mapping[str, Any]

    def applied_to(self, given: Given) -> Given:
        """Return the settings with this answer in them."""
        return replace(given, **self.given)


@dataclass(frozen=True)
class Question:
    """Something that a person has to decide, or may: `setting` is the field of `Given` that it is about.

    `about` says what is open, and `remedy` continues with the settings that decide it. The first answer is
    the one that is taken where nobody answers; with `is_required` nothing may be stored before somebody has.
    """

    setting: str
    about: str
    remedy: Message
    answers: tuple[Answer, ...]
    is_required: bool = True

    def said(self, name: NameSetting) -> str:
        """Return the question and its remedy in one sentence, with the settings named by `name`."""
        return self.about + self.remedy.said(name)


@dataclass(frozen=True)
class Setting:
    """One setting of the profile in words, and where it comes from: given, or guessed and why."""

    name: str
    value: str
    source: str


@dataclass
class Account:
    """Collects what is settled, with its source, and what is open."""

    settings: list[Setting] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def note(self, name: str, value: str, reason: str, *, is_given: bool = False) -> None:
        """Add a setting that was given, or guessed for a reason."""
        self.settings.append(Setting(name, value, "given" if is_given else f"guessed: {reason}"))

    def ask(self, question: Question) -> None:
        """Add a question."""
        self.questions.append(question)
