"""The meaning of a metric in the API: what is answered, and which changes its owner may send."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ninja import Schema
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from joulebook.telemetry.history.states import read_current_state
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.telemetry.kinds.settings import FORMS, LISTS_OF_TEXTS, MetricSettings
from joulebook.telemetry.series import series_by_metric
from joulebook.telemetry.texts import flags_of, read_texts
from joulebook.web.telemetry import telemetry_connection

if TYPE_CHECKING:
    KindName = str
    FormName = str
else:
    KindName = Literal[tuple(KINDS)]
    FormName = Literal[FORMS]

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A JSON number: the meaning of `true` or `"1"` would be a guess."""

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""Text without NUL: PostgreSQL as accounts database cannot store it."""

_Truth = Annotated[bool, Field(strict=True)]
_Seconds = Annotated[int, Field(strict=True)]


def _check_instant(value: object) -> object:
    """Refuse a number of seconds: pydantic accepts it as an instant."""
    if not isinstance(value, str) or "T" not in value.upper():
        raise ValueError("must be a time such as 2026-11-21T09:30:00Z")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_check_instant)]


class WordOfState(BaseModel):
    """The owner's word and colour for one value of a state."""

    model_config = ConfigDict(extra="forbid")

    value: Number | None = Field(None, description="as shown; null for a text")
    text: Text = Field("", description="the text or flag named in place of a number")
    word: Text = Field("", description="empty: the value itself")
    colour: Text = Field("", description="such as #1f77b4; empty: the usual one")


class DecisionOnSuspect(BaseModel):
    """The owner's answer to a suspicious reading."""

    model_config = ConfigDict(extra="forbid")

    time: Instant = Field(description="the reading's time")
    decision: Literal["ignore", "confirm"] = Field(description="it counts for nothing, or it is real")


class StoredDecision(Schema):
    """An answer of the owner's to a suspicious reading."""

    time: datetime
    decision: Literal["ignore", "confirm"]


class MetricAnswer(Schema):
    """The meaning of a metric, with guesses for everything not configured."""

    metric: str
    display_name: str
    unit: str = Field(description="of shown values")
    kind: KindName
    factor: float = Field(description="shown value = stored value × factor")
    dip_tolerance: float = Field(description="share by which a counter may go back without a reset")
    guessed: list[str] = Field(description="the fields guessed from the name, or left at their default")
    reasons: dict[str, str] = Field(description="why it has this `kind` and this `unit`")
    replacements: int = Field(description="number of replacements of its meter")
    form: FormName = Field(description="of its values, as the device sends them")
    unit_sent: str = Field(description="the unit that the device names; empty: none")
    unit_refused: str = Field(
        description="a later unit of the device's that differs: settle it by setting `unit`; empty: none"
    )
    silence_limit: int | None = Field(description="seconds; null: the device's limit")
    holds: Literal["each", "until_next"] = Field(
        description="gauges: the mean of the readings, or over time, each reading holding until the next"
    )
    covers: Literal["after", "before"] = Field(
        description="amounts: the interval of a reading, after its time or before it"
    )
    resets_daily: bool = Field(description="counters: begins anew at midnight in the device's zone")
    rolls_over_at: float | None = Field(description="counters: the number after which it continues at zero")
    runs_both_ways: bool = Field(description="counters: falls too, a net register")
    greatest_rise: float | None = Field(description="counters: the most that is believed in an hour")
    rise_over_gaps: Literal["unallocated", "spread"] = Field(
        description="counters: a rise over several buckets is in none of them, or spread evenly over its time"
    )
    decisions: list[StoredDecision] = Field(description="counters: the owner's answers to suspects")
    words: list[WordOfState] = Field(description="states: words and colours of values")


class CurrentStateAnswer(Schema):
    """The newest reading of a state."""

    value: float = Field(description="as shown; of a text its code")
    word: str
    since: datetime = Field(description="all readings since then have had this value")
    time: datetime = Field(description="of the newest reading")


class OneMetricAnswer(MetricAnswer):
    """The meaning of a metric, and of a state the state now."""

    state: CurrentStateAnswer | None = Field(description="null for other kinds, and without a reading")


class MetricChange(BaseModel):
    """Changes of a metric; missing fields stay. Null or an empty text restores the guess or the default."""

    model_config = ConfigDict(extra="forbid")

    display_name: Text | None = None
    unit: Text | None = None
    kind: KindName | Literal[""] | None = None
    factor: Number | None = Field(None, description="null: 1")
    dip_tolerance: Number | None = Field(None, description="0 to 0.99; null: 0.1")
    silence_limit: _Seconds | None = Field(None, description="null: the device's limit")
    holds: Literal["each", "until_next"] | None = None
    covers: Literal["after", "before"] | None = None
    resets_daily: _Truth | None = None
    rolls_over_at: Number | None = Field(None, description="above 0, in the shown unit")
    runs_both_ways: _Truth | None = None
    greatest_rise: Number | None = Field(None, description="above 0, in the shown unit per hour")
    rise_over_gaps: Literal["unallocated", "spread"] | None = None
    decisions: list[DecisionOnSuspect] | None = Field(None, description="in place of all former ones")
    words: list[WordOfState] | None = Field(None, description="in place of all former ones")

    def changes(self) -> dict[str, Any]:
        """Return the given fields as those of `change_metric`."""
        found: dict[str, Any] = {}
        for field in self.model_fields_set:
            value = getattr(self, field)
            if field in _ONE_OF_TWO:
                name, of_two = _ONE_OF_TWO[field]
                found[name] = value == of_two
            elif field == "words":
                found["words"] = [
                    {"value": each.value or 0.0, "word": each.word, "colour": each.colour, "text": each.text}
                    for each in value or ()
                ]
            elif field == "decisions":
                found["decisions"] = {
                    each.time.astimezone(UTC): each.decision == "ignore" for each in value or ()
                }
            else:
                found[field] = _DEFAULTS.get(field) if value is None else value
        return found


# A field with two words is stored as the truth of the second.
_ONE_OF_TWO = {
    "holds": ("holds_until_next", "until_next"),
    "covers": ("covers_before", "before"),
    "rise_over_gaps": ("spreads", "spread"),
}
_DEFAULTS: dict[str, Any] = {
    "display_name": "",
    "unit": "",
    "kind": "",
    "factor": 1.0,
    "resets_daily": False,
    "runs_both_ways": False,
}


def metric_answer(settings: MetricSettings) -> MetricAnswer:
    """Return the meaning of a metric."""
    may_be_guessed = ("display_name", "unit", "kind", "dip_tolerance")
    limit = settings.silence_limit
    return MetricAnswer(
        metric=settings.name,
        display_name=settings.display_name,
        unit=settings.unit,
        kind=settings.kind.name,
        factor=settings.factor,
        dip_tolerance=settings.dip_tolerance,
        guessed=[field for field in may_be_guessed if getattr(settings, f"{field}_guessed")],
        reasons={"kind": settings.kind_reason, "unit": settings.unit_reason},
        replacements=len(settings.replacements),
        form=FORMS[settings.form],
        unit_sent=settings.unit_sent,
        unit_refused=settings.unit_refused,
        silence_limit=None if limit is None else int(limit.total_seconds()),
        holds="until_next" if settings.holds_until_next else "each",
        covers="before" if settings.covers_before else "after",
        resets_daily=settings.resets_daily,
        rolls_over_at=settings.rolls_over_at,
        runs_both_ways=settings.runs_both_ways,
        greatest_rise=settings.greatest_rise,
        rise_over_gaps="spread" if settings.spreads else "unallocated",
        decisions=[
            StoredDecision(time=each.time, decision="ignore" if each.is_ignored else "confirm")
            for each in settings.decisions
        ],
        words=[
            WordOfState(
                value=None if each.text else each.value, text=each.text, word=each.word, colour=each.colour
            )
            for each in settings.words
        ],
    )


def current_state(device_id: str, settings: MetricSettings) -> CurrentStateAnswer | None:
    """Return the newest value of a state with its word, and since when it holds; None without a reading."""
    with telemetry_connection() as conn:
        series = series_by_metric(conn, device_id).get(settings.name)
        found = read_current_state(conn, series.id) if series is not None else None
        if series is None or found is None:
            return None
        text = read_texts(conn, [series.id]).get(series.id, {}).get(int(found.value), "")
    if text and settings.form == LISTS_OF_TEXTS:
        word = ", ".join(settings.word_of(0.0, text=flag).word for flag in flags_of(text)) or "none"
    else:
        word = settings.word_of(found.value * settings.factor, text=text).word
    return CurrentStateAnswer(
        value=found.value * settings.factor,
        word=word,
        since=found.since.astimezone(UTC),
        time=found.time.astimezone(UTC),
    )
