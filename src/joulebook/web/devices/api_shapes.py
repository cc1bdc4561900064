"""What the API of devices takes and answers: the shapes behind its description."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

Kind = Literal["gauge", "counter", "state"]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""Neither `true` nor `"1"`: what is meant by them is a guess."""


Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""No NUL: a database of accounts may not take one."""


def _check_instant(value: object) -> object:
    """Refuse a count of seconds, which pydantic takes for an instant."""
    if not isinstance(value, str) or "T" not in value.upper():
        raise ValueError("must be a time such as 2026-11-21T09:30:00Z")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_check_instant)]


class DeviceAnswer(Schema):
    """A device that you may see."""

    device: str = Field(description="its id")
    name: str = Field(description="what people call it; empty: its id")
    tz: str = Field(description="IANA time zone where it stands")
    mine: bool = Field(description="false where its owner shares it with you")
    silence_limit: int | None = Field(
        description="seconds without a reading after which it is silent, as its owner said; null: by default"
    )
    status: Literal["live", "silent", "waiting"] = Field(description="waiting: it never sent a reading")
    last_time: datetime | None = Field(description="time of its newest reading, of whichever metric")


class DevicesAnswer(Schema):
    """The devices that you may see."""

    devices: list[DeviceAnswer]


class MetricAnswer(Schema):
    """What a metric means, as it is in force."""

    metric: str
    display_name: str
    unit: str = Field(description="of values as they are shown")
    kind: Kind
    factor: float = Field(description="a stored value times this is shown")
    dip_tolerance: float = Field(description="share by which a counter may go back without a reset")
    guessed: list[str] = Field(
        description="which of these nobody has said: guessed from the name, or default"
    )
    replacements: int = Field(description="how many times its meter was replaced")


class MetricsAnswer(Schema):
    """All metrics of a device."""

    device: str
    metrics: list[MetricAnswer]


class MetricChange(BaseModel):
    """What is to change of a metric; what is left out stays. Null or an empty text: guess it."""

    model_config = ConfigDict(extra="forbid")

    display_name: Text | None = None
    unit: Text | None = None
    kind: Kind | Literal[""] | None = None
    factor: Number | None = Field(None, description="null: 1")
    dip_tolerance: Number | None = Field(None, description="0 to 0.99; null: 0.1")

    def changes(self) -> dict[str, Any]:
        """Return what was given, as the table has it."""
        empty = {"factor": 1.0, "dip_tolerance": None}
        return {
            field: empty.get(field, "") if value is None else value
            for field, value in self.model_dump(exclude_unset=True).items()
        }


class ReplacementAnswer(Schema):
    """Another meter took over a counter."""

    number: int = Field(description="by which it is removed")
    replaced_at: datetime
    final_register: float | None = Field(description="where the old meter stood; null: its last reading")
    start_register: float | None = Field(description="where the new one began; null: its first reading")
    note: str
    entered_at: datetime


class ReplacementsAnswer(Schema):
    """The replacements of a metric's meter, in the order of time."""

    device: str
    metric: str
    unit: str = Field(description="of the registers")
    replacements: list[ReplacementAnswer]


class NewReplacement(BaseModel):
    """Another meter took over; registers in the metric's unit, as shown."""

    model_config = ConfigDict(extra="forbid")

    replaced_at: Instant = Field(description="RFC 3339 with an offset")
    final_register: Number | None = None
    start_register: Number | None = None
    note: Text = Field("", max_length=200)
