"""What readings show under corrections, told one at a time in plain Python, from the rules as written.

A reading has a pile of values: the first one, and above it the value of each import that replaced it. Its
original is the top one. Every standing correction of it is applied to that, in the order of their numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

LARGEST = 1e100
Key = tuple[int, int]


@dataclass
class Reading:
    """One reading: the layers (import, value) of what was sent, and the corrections of it by number."""

    key: Key
    pile: list[tuple[int, float]]
    filled_by: int = 0
    steps: dict[int, int | None] = field(default_factory=dict)
    """By the number of a correction: the new time if it moves the reading, else None."""

    def time(self) -> int:
        """Return its time: that of the last correction that moves it."""
        time = self.key[1]
        for number in sorted(self.steps):
            moved_to = self.steps[number]
            if moved_to is not None:
                time = moved_to
        return time

    def times(self) -> set[int]:
        """Return every time that it takes."""
        return {self.key[1], *(moved_to for moved_to in self.steps.values() if moved_to is not None)}


class Model:
    """All readings, and the corrections made so far by number."""

    def __init__(self) -> None:
        self.readings: dict[Key, Reading] = {}
        self.filled: list[Reading] = []
        self.edits: dict[int, dict] = {}

    def all(self) -> list[Reading]:
        return [*self.readings.values(), *self.filled]

    def value(self, reading: Reading) -> float | None:
        """Return its value, None if it is deleted."""
        value = reading.pile[-1][1]
        for number in sorted(reading.steps):
            edit = self.edits[number]
            if edit["kind"] == "delete":
                return None
            if edit["kind"] == "set":
                value = edit["value"]
            if edit["kind"] == "scale":
                scaled = value * edit["factor"] + edit["offset"]
                if math.isfinite(scaled) and abs(scaled) <= LARGEST:
                    value = scaled
        return value

    def shown(self) -> dict[Key, float]:
        """Return what a reader sees."""
        found: dict[Key, float] = {}
        for reading in self.all():
            value = self.value(reading)
            if value is not None:
                key = (reading.key[0], reading.time())
                assert key not in found, "two readings at one key"
                found[key] = value
        return found

    def taken(self) -> set[Key]:
        """Return every key that no new reading can have."""
        return {(reading.key[0], time) for reading in self.all() for time in reading.times()}

    def write(self, key: Key, value: float, who: int, *, replace: bool) -> str:
        """Store one value as a device (0) or an import does; return the outcome."""
        holders = [each for each in self.all() if each.key[0] == key[0] and key[1] in each.times()]
        if not holders:
            self.readings[key] = Reading(key, [(who, value)])
            return "stored"
        own = self.readings.get(key)
        if len(holders) == 1 and holders[0] is own and not own.steps:
            if own.pile[-1][1] == value:
                return "duplicate"
            if not replace:
                return "conflict"
            own.pile = [layer for layer in own.pile if layer[0] != who] if who else []
            own.pile.append((who, value))
            return "replaced"
        if own is not None and (self.value(own) is None or own.time() != key[1]):
            return "duplicate"
        known = {self.shown().get(key)}
        if own is not None:
            known.add(own.pile[-1][1])
        return "duplicate" if value in known else "conflict"

    def undo_import(self, who: int) -> None:
        for reading in list(self.readings.values()):
            reading.pile = [layer for layer in reading.pile if layer[0] != who]
            if not reading.pile:
                del self.readings[reading.key]

    def correct(self, number: int, edit: dict) -> tuple[int, int]:
        """Apply a correction to what is shown now; return the numbers of changed readings and of conflicts."""
        self.edits[number] = edit
        if edit["kind"] == "fill":
            return self._fill(number, edit), 0
        chosen = [
            each
            for each in self.all()
            if self.value(each) is not None
            and each.key[0] in edit["series"]
            and (
                each.time() in edit["points"]
                if edit["points"]
                else edit["start"] <= each.time() < edit["end"]
            )
        ]
        if edit["kind"] != "shift":
            for reading in chosen:
                reading.steps[number] = None
            return len(chosen), 0
        return self._shift(number, edit, chosen)

    def _shift(self, number: int, edit: dict, chosen: list[Reading]) -> tuple[int, int]:
        changed = 0
        for reading in sorted(chosen, key=Reading.time, reverse=edit["by"] > 0):
            target = reading.time() + edit["by"]
            others = [each for each in self.all() if each.key[0] == reading.key[0] and target in each.times()]
            if all(each is reading or number in each.steps for each in others):
                reading.steps[number] = target
                changed += 1
        return changed, len(chosen) - changed

    def _fill(self, number: int, edit: dict) -> int:
        added = []
        shown, taken = self.shown(), self.taken()
        for series in edit["series"]:
            known = sorted((time, value) for (own, time), value in shown.items() if own == series)
            for time in range(edit["start"], edit["end"], edit["step"]):
                if (series, time) in taken:
                    continue
                value = edit["value"]
                if value is None:
                    before = [each for each in known if each[0] < time]
                    after = [each for each in known if each[0] > time]
                    if not before or not after:
                        continue
                    (t0, v0), (t1, v1) = before[-1], after[0]
                    value = v0 + (v1 - v0) * ((time - t0) / (t1 - t0))
                added.append(Reading((series, time), [(-number, value)], filled_by=number))
        self.filled += added
        return len(added)

    def undo(self, number: int) -> None:
        self.filled = [each for each in self.filled if each.filled_by != number]
        for reading in self.all():
            reading.steps.pop(number, None)
