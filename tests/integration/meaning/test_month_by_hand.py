"""`docs/how-to/check-a-month-by-hand.md`: the readings of its first table give the energy of its second, to the last digit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from ...docs_pages import REPOSITORY
from .conftest import berlin

if TYPE_CHECKING:
    from .conftest import Home

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (REPOSITORY / "docs/how-to/check-a-month-by-hand.md").read_text()


def rows_of_table(first_column: str) -> list[list[str]]:
    """Return the rows of the page's table with this first column."""
    lines = PAGE.partition(f"| {first_column} |")[2].splitlines()[2:]
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def readings() -> Iterator[tuple[datetime, float]]:
    """Yield the readings of the first table."""
    for begin, until, step, register, more in rows_of_table("from"):
        time, end = berlin(begin), berlin(until)
        place = 0
        while time <= end:
            yield time, float(Decimal(register) + place * Decimal(more))
            place += 1
            time = berlin(begin) + place * timedelta(seconds=int(step.removesuffix(" s")))


@pytest.fixture
def meter(home: Home) -> Home:
    """The device of the page."""
    home.send_values("import_energy", readings())
    home.means("import_energy", kind="counter", unit="kWh")
    replacement = {
        "replaced_at": berlin("2026-09-25T12:00").isoformat(),
        "final_register": 74.35,
        "start_register": 500.0,
    }
    answer = home.reader.post(
        f"/api/devices/{home.device}/metrics/import_energy/replacements", json=replacement
    )
    assert answer.status_code == 201, answer.text
    return home


def test_the_pages_own_table_adds_up() -> None:
    *days, total = rows_of_table("day")
    for column in (1, 2):
        assert sum(Decimal(day[column]) for day in days) == Decimal(total[column])
    assert len(days) == 30


@pytest.mark.parametrize(("unit", "one_kwh"), [("kWh", "1"), ("MWh", "0.001"), ("Wh", "1000")])
def test_each_day_of_the_month_is_the_pages_to_the_last_digit(meter: Home, unit: str, one_kwh: str) -> None:
    *days, total = rows_of_table("day")
    found = meter.energy("import_energy", "2026-09-01", "2026-10-01", unit=unit)

    def in_unit(kwh: str) -> Decimal:
        return Decimal(kwh) * Decimal(one_kwh)

    assert [Decimal(str(value)) for value in found["energy"]] == [in_unit(day[1]) for day in days]
    assert [Decimal(str(value)) for value in found["unallocated"]] == [in_unit(day[2]) for day in days]
    assert Decimal(str(found["total"])) == in_unit(total[1])
    month = meter.energy("import_energy", "2026-09-01", "2026-10-01", unit=unit, per="month")
    assert [Decimal(str(value)) for value in month["energy"]] == [in_unit(total[1])]
