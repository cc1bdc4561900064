"""Three years of a real solar station: its last month and its last year in the browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .charts import chart_data, resolution, share_of_columns_with_curve, wait_for_chart

STATION = Path(__file__).parents[3] / "shared" / "data" / "big" / "dtu_solar_station_2015-2017_1min.csv.gz"
OTHERS = ("DNI", "DHI", "LWD", "wind_speed_avg", "wind_dir_avg", "air_temperature", "air_pressure",
          "relative_humidity", "rain_accumulation", "rain_duration", "rain_intensity")  # fmt: skip

pytestmark = [
    pytest.mark.skipif(not STATION.is_file(), reason=f"the real file is not here: {STATION}"),
    pytest.mark.timeout(600),
]


def test_its_last_month_and_its_last_year_open_and_show_the_peak_of_the_whole_year(
    alices_page, device, joulebook
):
    # The page shows the irradiance; that the file's eleven other columns are stored is proven elsewhere.
    others = [word for column in OTHERS for word in ("--map", f"{column}=")]
    imported = joulebook("import", str(STATION), "--device", device.device_id, "--json", *others)
    assert imported.returncode == 0, imported.stderr
    assert json.loads(imported.stdout)["cells"]["stored"] == 1_420_922
    for preset, means in (("30d", "1 h means"), ("1y", "12 h means")):
        alices_page.goto(f"/devices/{device.device_id}/?range={preset}&metric=GHI&tz=UTC")
        alices_page.get_by_role("button", name="Show latest data").click()
        wait_for_chart(alices_page, "GHI")
        expect(alices_page.locator('[data-metric="GHI"] [data-part="cover"]')).not_to_be_empty()
        assert resolution(alices_page, "GHI") == means
        assert share_of_columns_with_curve(alices_page, "GHI") > 0.5
    # A minute's peak of a bright day is not averaged away.
    assert max(value for value in chart_data(alices_page, "GHI")["max"] if value is not None) > 1000
