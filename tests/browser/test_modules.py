"""The scripts' own arithmetic, run in the browser and held against Python's."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from joulebook.telemetry.clocks import offsets_over
from joulebook.telemetry.history.resolutions import LADDER, bucket_edges
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.time_zones import ZoneInfo
from joulebook.web.display import format_ago, format_instant, format_quantity

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    # Clocks are changed at midnight: a day begins at one o'clock, or twice.
    "America/Santiago",
    "Atlantic/Azores",
)
_LEARN = """async (zones) => {
  const { learnOffsets } = await import("/static/joulebook/zone-offsets.js");
  for (const [tz, offsets] of Object.entries(zones)) learnOffsets(tz, offsets);
}"""


@pytest.fixture
def visited(page):
    """A page whose scripts have been told the zones' offsets, as a device's page is."""
    page.goto("/sign-in/")
    until = to_microseconds(datetime(2100, 1, 1, tzinfo=UTC))
    page.evaluate(_LEARN, {tz: offsets_over(ZoneInfo(tz), 0, until) for tz in ZONES})
    return page


@pytest.fixture
def module(visited):
    """Call a function that a module exports: `module("instant", "formatAgo", 4)`."""
    page = visited

    def call(name, function, *arguments):
        return page.evaluate(
            "async ([name, call, given]) => (await import(`/static/joulebook/${name}.js`))[call](...given)",
            [name, function, list(arguments)],
        )

    return call


@pytest.fixture
def many(visited):
    """Call an exported function for each of many lists of arguments."""
    page = visited

    def call(name, function, calls):
        return page.evaluate(
            """async ([name, call, calls]) => {
              const wanted = (await import(`/static/joulebook/${name}.js`))[call];
              return calls.map((given) => wanted(...given));
            }""",
            [name, function, calls],
        )

    return call


def test_scripts_write_quantities_as_the_server_does(many):
    chance = random.Random(7)
    values = [
        0,
        -0.0,
        0.5,
        2.5,
        999.4,
        999.5,
        999.6,
        -999.5,
        0.0004,
        1e-7,
        1e20,
        12345.678,
        99.95,
        9.995,
        230.05,
        None,
    ]
    values += [
        round(chance.uniform(-1, 1) * 10 ** chance.randint(-7, 14), chance.randint(0, 6)) for _ in range(800)
    ]
    units = ["", "W", "Wh", "kWh", "V", "Hz", "%", "°C", "var", "kW", "MWh"]
    calls = [[value, unit] for value in values for unit in units]
    assert many("quantity", "formatQuantity", calls) == [format_quantity(*call) for call in calls]


def test_scripts_write_instants_as_the_server_does(many):
    chance = random.Random(11)
    moments = [chance.randrange(0, 4_000_000_000) for _ in range(200)]
    calls = [[moment, tz] for moment in moments for tz in ZONES]
    expected = [format_instant(datetime.fromtimestamp(moment, UTC), tz=tz) for moment, tz in calls]
    assert many("instant", "formatInstant", calls) == expected
    now = datetime(2026, 11, 21, tzinfo=UTC)
    elapsed = [0, 1, 1.4, 2, 59, 60, 61, 3599, 3600, 86_399, 86_400, 900_000]
    assert many("instant", "formatAgo", [[seconds] for seconds in elapsed]) == [
        format_ago(now - timedelta(seconds=seconds), now=now) for seconds in elapsed
    ]


def test_a_wall_clocks_time_is_placed_as_the_zone_says(many):
    chance = random.Random(13)
    calls, expected = [], []
    for tz in ZONES:
        for _ in range(100):
            local = datetime(2026, 1, 1) + timedelta(seconds=chance.randrange(365 * 86_400))
            calls.append([local.isoformat(), tz])
            expected.append(local.replace(tzinfo=ZoneInfo(tz), fold=0).timestamp())
    # The doubled hour of autumn is its first pass; the missing hour of spring goes on by the old offset.
    for text in ("2026-10-25T02:30:00", "2026-03-29T02:30:00"):
        calls.append([text, "Europe/Berlin"])
        expected.append(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp())
    assert many("instant", "parseLocalTime", calls) == expected


def test_an_axis_has_its_ticks_where_the_servers_buckets_begin(many):
    """At random times, and around each change of the clocks of some years."""
    chance = random.Random(17)
    sizes = {each.name: each.seconds + each.days * 86_400 + each.months * 2_592_000 for each in LADDER}
    sizes |= {"1y": 31_536_000, "10y": 315_360_000, "100y": 3_153_600_000}
    calls, expected, at_changes = [], [], 0
    for tz in ZONES:
        zone = ZoneInfo(tz)
        changes = [at for at, _ in offsets_over(zone, 1_500_000_000_000_000, 1_800_000_000_000_000)]
        for rung in LADDER:
            moments = [chance.randrange(100_000_000, 3_900_000_000), *chance.choices(changes, k=3)]
            for moment in moments:
                begin = moment - chance.randrange(8) * sizes[rung.name]
                start, end = (
                    datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=each)
                    for each in (max(0, begin), max(0, begin) + 12 * sizes[rung.name])
                )
                if end.year > 2099:
                    continue
                edges = [int(edge) // MICROSECONDS for edge in bucket_edges(start, end, rung, zone)]
                edges = [edge for edge in edges if start.timestamp() <= edge <= end.timestamp()]
                if 0 < rung.seconds <= 3600:
                    # A bucket that a change cuts off begins where the clock shows no whole step.
                    edges = [edge for edge in edges if (edge + _offset(edge, zone)) % rung.seconds == 0]
                at_changes += any(change in edges for change in changes)
                calls.append([start.timestamp(), end.timestamp(), sizes[rung.name], tz])
                expected.append(edges)
    assert at_changes > 20
    assert many("instant", "placeTicks", calls) == expected


def _offset(seconds, zone):
    return int(datetime.fromtimestamp(seconds, zone).utcoffset().total_seconds())


@pytest.mark.parametrize(
    ("first", "second", "end", "expected"),
    [
        pytest.param([[0, 60]], [[50, 120]], 80, [[0, 60], [50, 120]], id="later"),
        pytest.param([[0, 60], [10, 0], [90, 60]], [[5, 120], [20, 0]], 80, [[0, 60], [5, 120], [20, 0], [90, 60]], id="within"),
        pytest.param([[0, 60], [10, 0]], [[5, 0]], 80, [[0, 60], [5, 0]], id="a change that is no more"),
        pytest.param([[0, 60]], [[0, 120]], 80, [[0, 120]], id="the same"),
        pytest.param([[50, 60]], [[0, 0], [40, 60]], 45, [[0, 0], [40, 60], [50, 60]], id="earlier"),
    ],
)  # fmt: skip
def test_what_an_answer_says_of_a_zone_replaces_what_was_known_of_its_range(
    page, first, second, end, expected
):
    page.goto("/sign-in/")
    learned = page.evaluate(
        """async ([first, second, end]) => {
          const { learnOffsets, findOffset, knowsZone } = await import("/static/joulebook/zone-offsets.js");
          const before = knowsZone("Made/Up");
          learnOffsets("Made/Up", first);
          learnOffsets("Made/Up", second, end);
          return [before, Array.from({ length: 100 }, (_, at) => findOffset(at + 0.5, "Made/Up"))];
        }""",
        [first, second, end],
    )
    assert learned[0] is False
    assert learned[1] == [
        [offset for at, offset in expected if at <= moment + 0.5 or at == expected[0][0]][-1]
        for moment in range(100)
    ]


def test_times_in_tables_and_files_carry_the_zones_offset(many):
    moments = [0, 1_600_000_000, 1_700_000_000.25, 1_782_000_000]
    calls = [[moment, tz] for moment in moments for tz in ZONES if tz != "UTC"]
    read_back = [datetime.fromisoformat(text) for text in many("instant", "formatRfc3339", calls)]
    assert [moment.timestamp() for moment in read_back] == [moment for moment, _ in calls]
    assert [moment.utcoffset() for moment in read_back] == [
        datetime.fromtimestamp(moment, ZoneInfo(tz)).utcoffset() for moment, tz in calls
    ]


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0, 250, 500, 750, 1000], ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        ([0, 500, 1000], ["0.0", "0.5", "1.0"]),
        ([-2000, 0, 2000], ["−2", "0", "2"]),
        ([0, 100_000], ["0", "100"]),
    ],
)
def test_an_axis_has_one_prefix_and_as_many_digits_as_its_steps_need(page, module, ticks, labels):
    written = page.evaluate(
        """async (ticks) => {
          const { makeTickFormatter } = await import("/static/joulebook/quantity.js");
          return ticks.map(makeTickFormatter("W", ticks));
        }""",
        ticks,
    )
    assert [label.partition("\u202f")[0] for label in written] == labels
    assert {label.partition("\u202f")[2] for label in written} == {"kW"}


def points(times, *, count=None):
    buckets = [count] * len(times) if count else None
    values = [1.0] * len(times)
    return {
        "time": times,
        "mean": values,
        "min": values if count else None,
        "max": values if count else None,
        "count": buckets,
    }


@pytest.mark.parametrize(
    ("given", "bucket", "gaps"),
    [
        pytest.param(points(list(range(0, 100, 10))), 0, 0, id="a reading every ten seconds"),
        pytest.param(points([0, 10, 20, 50, 60]), 0, 0, id="two readings missing"),
        pytest.param(points([0, 10, 20, 51, 61]), 0, 1, id="three readings missing"),
        pytest.param(
            points(list(range(0, 100, 10)), count=1), 5, 0, id="every second bucket empty by nature"
        ),
        pytest.param(points([0, 300, 600, 900], count=300), 300, 0, id="buckets that touch"),
        pytest.param(points([0, 300, 900, 1200], count=300), 300, 1, id="one empty bucket of a dense metric"),
        pytest.param(
            points([0, 900, 1800, 2700], count=1), 300, 0, id="a meter that reports every quarter of an hour"
        ),
        pytest.param(points([0]), 0, 0, id="one reading"),
        pytest.param(points([]), 0, 0, id="none"),
    ],
)
def test_the_line_breaks_at_silences_only(module, given, bucket, gaps):
    time, _, _, mean = module("points", "makeCurveColumns", given, bucket)
    assert mean.count(None) == gaps
    assert time == sorted(time)


def test_the_tail_replaces_what_is_known_and_drops_what_has_left_the_window(module):
    old = {"time": [0, 10, 20, 30], "mean": [1, 2, 3, 4], "min": None, "max": None, "count": None}
    new = {"time": [20, 30, 40], "mean": [3, 40, 5], "min": None, "max": None, "count": None}
    joined = module("points", "extendPoints", old, new, 20, 10)
    assert (joined["time"], joined["mean"]) == ([10, 20, 30, 40], [2, 3, 40, 5])


def test_the_mean_of_means_weighs_each_by_its_readings(module):
    given = {
        "time": [0, 300, 600],
        "mean": [10, 20, 30],
        "min": [0, 0, 0],
        "max": [10, 99, 30],
        "count": [300, 300, 150],
    }
    summary = module("summary", "summarise", given, {"start": 0, "end": 900}, 300, 10_000)
    assert summary["mean"] == pytest.approx((10 * 300 + 20 * 300 + 30 * 150) / 750)
    assert summary["peak"] == {"value": 99, "time": 300}
    assert summary["coverage"] == pytest.approx(2.5 / 3)


@pytest.mark.parametrize(
    ("name", "cell"),
    [("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("-a", "'-a"), ('a"b', '"a""b"'), ("a,b", '"a,b"')],
)
def test_a_saved_file_holds_no_formula_and_keeps_negative_numbers(page, module, name, cell):
    text = page.evaluate(
        """async ([name]) => {
          const [{ Sheet }, { formatCsv }] = await Promise.all(
            ["sheet", "save"].map((part) => import(`/static/joulebook/${part}.js`)));
          const answer = { start: 0, end: 10, resolution: "raw", source: "readings", time: [1],
                           series: [{ metric: name, unit: "", kind: "gauge", value: [-1.5] }] };
          return formatCsv(new Sheet({ tz: "UTC" }, answer));
        }""",
        [name],
    )
    assert text == f"time,{cell}\r\n1970-01-01T00:00:01Z,-1.5\r\n"


def test_single_readings_find_their_places_among_points(module):
    points = {"time": [1, 2, 4], "mean": [10, 20, 40], "min": None, "max": None, "count": None}
    joined = module("points", "insertReadings", points, [[3, 30], [4, 41], [5, 50], [0.5, 5]], 2)
    assert joined == {"time": [2, 3, 4, 5], "mean": [20, 30, 41, 50], "min": None, "max": None, "count": None}
    assert points["time"] == [1, 2, 4]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (12.4, "12 s"),
        (303, "5 min 3 s"),
        (3599.6, "1 h"),
        (22_320, "6 h 12 min"),
        (86_390, "1 d"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_length_of_time_has_its_two_coarsest_units(module, seconds, words):
    assert module("instant", "formatLength", seconds).replace("\u202f", " ") == words


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0"), (0.0001, "<1"), (0.5, "50"), (0.9951, "99"), (0.9999, "100"), (1, "100")]
)
def test_a_share_is_never_all_unless_nothing_is_missing(module, share, text):
    assert module("quantity", "formatShare", share) == text


def track(times, coverage, **more):
    return {
        "time": times,
        "coverage": coverage,
        "increase": None,
        "unallocated": None,
        "resets": None,
        "states": None,
        **more,
    }


def test_cover_is_the_servers_coverage_weighed_by_the_asked_time_that_has_passed(module):
    given = track([0, 300, 600, 900], [1, 0.5, 0, 1])
    window = {"start": 150, "end": 1100}
    # 150 s of the first bucket, half of the second, nothing of the third, 100 s of the last by now.
    assert module("tracks", "computeCoverage", given, window, 300, 1000) == pytest.approx(
        (150 + 150 + 100) / 850
    )
    assert module("tracks", "computeCoverage", given, window, 300, 100) is None


def test_the_tail_of_a_track_brings_states_that_were_not_there_before(module):
    old = track([0, 10, 20], [1, 1, 0], states=[{"value": 0, "share": [1, 1, None]}])
    new = track([20, 30], [1, 1], states=[{"value": 2, "share": [1, 0.5]}, {"value": 0, "share": [0, 0.5]}])
    joined = module("tracks", "extendTrack", old, new, 20, 10)
    assert joined["time"] == [10, 20, 30]
    assert joined["coverage"] == [1, 1, 1]
    assert joined["states"] == [{"value": 0, "share": [1, 0, 0.5]}, {"value": 2, "share": [0, 1, 0.5]}]
