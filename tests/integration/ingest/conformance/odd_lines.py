"""Writes line protocol as oddly as the syntax allows, and a little more oddly; the same for the same seed.

What InfluxDB and ingest are known to take differently does not come from here: `test_odd_lines` names
those differences one by one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

FIRST = 1_772_366_400 * 10**9
"""The time of the first line in nanoseconds since 1970 UTC: a whole hour."""

UNITS = {"n": 1, "u": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
"""Nanoseconds in the units of v1's `precision`."""

_ATOMS = [
    *"aB09.-_/%#'{}[]()?*$@&|;:<>~^!+\"`",
    "é", "電", "⚡", "\u00a0", "1e5", "\\,", "\\ ", "\\=", '\\"', "\\n", "\\t", "=", "e\u0301", "value", "i",
]  # fmt: skip
_GOOD_NUMBERS = [
    "0", "-0", "1", "-1", "1.", "-1.", ".5", "-.5", "007", "-007", "1e3", "1E3", "1e+3", "1e-3", "-1.5E-3", "1.e2", "1e0003",
    "1e99", "1e-400", "5e-324", "1e22", "9" * 30, "0." + "1" * 40, "123456789012345678", "1i", "-1i", "0i", "007i", "-007i",
    "9223372036854775807i", "-9223372036854775808i", "t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE",
]  # fmt: skip
_BAD_NUMBERS = [
    "+1", "+.5", "+1i", "1e", "e5", ".", "-", "--1", "-+1", "1_0", "0x10", "0b1", "1..2", "1.2.3", "1-2", "1e5.5", ".e1", "1e400",
    "1.0i", ".5i", "1e3i", "9223372036854775808i", "-9223372036854775809i", "1I", "1j", "1d", "1f", "1L", "i", "-i", "ti", "tRUE",
    "tr", "fals", "yes", "NaN", "nan", "-nan", "Inf", "-inf", "+Inf", "infinity", "", "1'", "1;", "٣", "½", "1=", "1=2", "=1", "a",
    "1\\", "\\1", "1\\ 2", "1e5", "1\t",
]  # fmt: skip
_TEXT_ATOMS = ["a", " ", ",", "=", '\\"', "\\\\", "\\n", "#", "é", "\t", "'", "i", "1", "m v=1 1", ",f=2"]
_LINE_ENDS = ["\n", "\n\n", "\n \n", "\n# power value=1\n", "\n  #\n", '\n#"\n']


@dataclass(frozen=True)
class Body:
    """Lines for one request; every line has its own measurement, which holds `n<number>_`."""

    text: bytes
    precision: str
    numbers: range


def odd_bodies(seed: int, lines: int) -> Iterator[Body]:
    """Yield bodies of 1 to 8 lines until there are as many lines as asked for."""
    dice = random.Random(seed)
    number = 0
    while number < lines:
        precision = dice.choice(list(UNITS))
        numbers = range(number, min(lines, number + dice.randint(1, 8)))
        parts = [dice.choice(["", "", "", "\n", " \n", "# first\n"])]
        for one in numbers:
            parts += [_line(dice, one, precision), dice.choice(_LINE_ENDS)]
        if dice.random() < 0.3:
            parts.pop()
        yield Body("".join(parts).encode(), precision, numbers)
        number = numbers.stop


def _line(dice: random.Random, number: int, precision: str) -> str:
    head = dice.choice(["", "", "", " ", "  ", "\t"]) + _measurement(dice, number)
    names = dice.sample(["a", "b", "host", "Ä", _name(dice), _name(dice)], dice.choice([0, 0, 1, 1, 2, 3]))
    for name in sorted(set(names)) if dice.random() < 0.5 else dict.fromkeys(names):
        head += f",{name}={_tag_value(dice)}"
    broken = dice.random() < 0.1
    blank = dice.choice([" "] * 20 + ["  ", " \t", "   "])
    keys = [f"{_name(dice)}{place}" for place in range(dice.choice([1, 1, 2, 3]))]
    if dice.random() < 0.2:
        keys[0] = "value"
    if broken or head.count("=") - head.count("\\=") > head.count(",") - head.count("\\,"):
        # InfluxDB counts, and would take a quotation mark in a name for the beginning of a text.
        head, keys = head.replace('"', "'"), [key.replace('"', "'") for key in keys]
    fields = ",".join(f"{key}={_value(dice, texts=not broken)}" for key in keys)
    if broken:
        head, blank, fields = _broken(dice, head, blank, fields)
    return head + blank + fields + _time(dice, number, precision)


def _broken(dice: random.Random, head: str, blank: str, fields: str) -> tuple[str, str, str]:
    """Break what holds a line together. It has no text: how far one reaches would be anybody's guess."""
    kind = dice.randrange(5)
    if kind == 0:
        return head, "", fields
    if kind < 3:
        return head + dice.choice([",", ",a", ",a=", ",=b", ",a=b=c", ",=", ",a=1,a=2"]), blank, fields
    odd = [f"{fields},", f",{fields}", f"{fields},x", "", "x", "=1", f"{fields},=1"]
    return head, " ", dice.choice(odd)


def _name(dice: random.Random) -> str:
    text = "".join(dice.choice(_ATOMS) for _ in range(dice.choice([1, 1, 2, 3]))).replace("=", "\\=")
    # No double backslashes, and none before the separator that follows.
    text = text.replace("\\\\", "\\")
    return "k" + text.rstrip("\\") + "_"


def _measurement(dice: random.Random, number: int) -> str:
    before = "".join(dice.choice(_ATOMS) for _ in range(dice.choice([0, 0, 1, 2])))
    if before.startswith(("#", "\\ ", "\\t", "\u00a0")):
        before = "x" + before
    after = "".join(dice.choice(_ATOMS) for _ in range(dice.choice([0, 0, 1, 2])))
    return f"{before}n{number}_{after}_"


def _tag_value(dice: random.Random) -> str:
    return dice.choice(["", "", "", "="]) + _name(dice).replace("\\=\\=", "\\=")


def _value(dice: random.Random, *, texts: bool) -> str:
    kind = dice.random()
    if kind < 0.2 and texts:
        return '"' + "".join(dice.choice([*_TEXT_ATOMS, "\n"]) for _ in range(dice.randrange(6))) + '"'
    if kind < 0.5:
        return dice.choice(_GOOD_NUMBERS)
    if kind < 0.6:
        return dice.choice(_BAD_NUMBERS)
    if kind < 0.75:
        return repr(dice.uniform(-1e6, 1e6))
    if kind < 0.85:
        return f"{dice.randint(-(10**12), 10**12)}i"
    return f"{dice.uniform(-10, 10):.{dice.randint(0, 17)}e}"


def _time(dice: random.Random, number: int, precision: str) -> str:
    time = FIRST // UNITS[precision] + (number if precision != "n" else number * 1000 + dice.randrange(1000))
    if dice.random() < 0.1:
        return dice.choice(["", " ", "  "])
    if dice.random() < 0.1:
        return dice.choice(
            [f" {time}.5", f" {time}i", f" +{time}", f" {time} {time}", f" {time} #", " now", f" {time},f=1", f" {time}" + "0" * 12]
        )  # fmt: skip
    return dice.choice(
        [f" {time}"] * 6 + [f"  {time}", f" \t{time}", f" {time} ", f" {time}  ", f" 00{time}"]
    )
