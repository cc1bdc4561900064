"""A draft's page: what the file would give, what is asked, corrected and mapped, and then queued."""

from __future__ import annotations

import re

import pytest

from joulebook.telemetry.files.profile import ImportProfile
from joulebook.web.devices.models import Device
from joulebook.web.devices.operations import create_device
from joulebook.web.imports.models import Import, SavedProfile
from joulebook.web.imports.uploads.files import upload_path

from .pages import LONG, METER, OPEN, draft, row, say, text

State = Import.State


@pytest.fixture
def client(alice, client_of):
    return client_of(alice)


def test_the_page_shows_the_rows_as_they_would_be_read_and_every_guess_with_its_reason(client, device):
    import_ = draft(client, METER, device=device.device_id)
    page = client.get(f"/imports/{import_.pk}/")
    shown = text(page)
    assert "Time in Europe/Berlin" in shown
    assert "3 2024-10-31 00:00:00 +01:00 1.25 10408.5 31.10.2024;00:00;1,25;10.408,5;" in shown
    assert "1,5O not a number" in shown
    assert "6 Refused: a time not matching the formats 31.10.2024 24:10" in shown
    assert "The whole file : 4 rows, 1 of them refused".replace(" :", ":") in shown
    assert "2 lines above the data Zählerstand Haus 7" in shown
    assert 'placeholder="cp1252"' in page.content.decode()
    for reason in (
        "Not valid UTF-8.",
        "Splits the first lines alike.",
        "its times are read in the device's, Europe/Berlin.",
        "text such as 'Ausfall'",
    ):
        assert reason in shown
    assert page.context["reading"].obstacles == []


def test_what_the_file_leaves_open_is_asked_first_and_nothing_is_imported_before(client, device):
    import_ = draft(client, OPEN, device=device.device_id)
    shown = client.get(f"/imports/{import_.pk}/").content.decode()
    assert shown.index("Please decide") < shown.index("As it would be stored")
    assert "--time-format" not in shown
    refused = say(client, import_, "import-queue", device=device.device_id)
    assert refused.status_code == 400
    assert "Answer the open questions about the file." in text(refused)
    answered = say(client, import_, device=device.device_id, answer__time_formats="4 March 2024")
    assert "You decided" in text(answered)
    assert "2024-03-04 00:00:00" in text(answered)
    queued = say(
        client, import_, "import-queue", device=device.device_id, answer__time_formats="4 March 2024"
    )
    assert queued.status_code == 302
    import_.refresh_from_db()
    assert import_.state == State.QUEUED
    assert import_.profile["time_formats"] == ["%m/%d/%Y %H:%M"]
    assert list(import_.devices.all()) == [device]


def test_an_answer_that_the_file_did_not_offer_decides_nothing(client, device):
    import_ = draft(client, OPEN)
    refused = say(client, import_, "import-queue", device=device.device_id, answer__time_formats="never")
    assert "Answer the open questions about the file." in text(refused)


def test_how_a_file_is_read_is_folded_below_its_preview_until_it_cannot_be_read(client, device):
    import_ = draft(client, METER)
    page = say(client, import_, device=device.device_id).content.decode()
    parts = ['id="preview-table"', 'id="mapping"', '<details class="card" id="settings">']
    assert sorted(parts, key=page.index) == parts
    page = say(client, import_, device=device.device_id, s__time_columns="When").content.decode()
    assert '<details class="card" id="settings" open>' in page
    assert "1 setting of yours" in page


def test_a_column_is_named_while_the_file_cannot_be_read(client, device):
    words = "time,state\n" + "".join(f"2024-01-13 {hour:02d}:00,on {hour}\n" for hour in range(20))
    import_ = draft(client, words + "2024-01-13 23:00,7\n")
    refused = say(client, import_, device=device.device_id)
    assert "name a column with “Columns and their metrics”" in text(refused)
    assert 'name="s-mapping" rows="2"' in refused.content.decode()
    named = say(client, import_, device=device.device_id, s__mapping="state=level:%")
    assert [(each.metric, each.unit) for each in named.context["reading"].rows] == [("level", "%")]
    assert ("s-mapping", "state=level:%") in named.context["reading"].hidden_fields


def test_a_zone_that_must_be_decided_is_asked_on_the_page(client, device):
    import_ = draft(client, "time (CET),power\n" + "".join(f"2024-07-13 {h:02d}:00,{h}\n" for h in range(20)))
    page = say(client, import_, device=device.device_id)
    assert [each.question.setting for each in page.context["reading"].asked if each.is_open] == ["tz"]
    assert "Please decide" in text(page)
    answer = page.context["reading"].asked[0].question.answers[0]
    assert (
        not say(client, import_, device=device.device_id, answer__tz=answer.label)
        .context["reading"]
        .obstacles
    )


def test_a_correction_redraws_only_the_part_below_the_heading(client, device):
    import_ = draft(client, METER)
    part = say(client, import_, htmx=True, device=device.device_id, s__tz="UTC", s__decimal=",")
    assert "<html" not in part.content.decode()
    assert "2024-10-31 01:00:00 +01:00" in text(part)
    assert "Your entry." in text(part)
    whole = say(client, import_, device=device.device_id, s__tz="UTC")
    assert "<html" in whole.content.decode()


@pytest.mark.parametrize(
    ("entered", "problem"),
    [
        ({"s__header_line": "two"}, "“Header line” 'two' is not a whole number"),
        ({"s__tz": "Europe/Nowhere"}, "'Europe/Nowhere' is not a time zone"),
        ({"s__encoding": "klingon"}, "'klingon' is not a text encoding"),
        ({"s__delimiter": "xy"}, "“Delimiter” 'xy' cannot be used"),
        ({"s__time_columns": "When"}, "“Columns of the time” 'When': the file has no such column"),
        ({"s__layout": "round"}, "“Layout” 'round' is not one of wide, long, across"),
        ({"s__time_formats": "%Q%Q%Q"}, "%Q"),
        ({"profile": "nobody's"}, 'There is no profile "nobody\'s"'),
    ],
)
def test_what_cannot_be_used_is_said_and_can_be_corrected(client, device, entered, problem):
    import_ = draft(client, METER)
    answer = say(client, import_, device=device.device_id, **entered)
    assert answer.status_code == 200
    assert problem in text(answer)
    assert answer.context["reading"].order() is None
    assert 'name="s-tz"' in answer.content.decode()


def test_what_was_entered_is_not_forgotten_while_the_file_cannot_be_read(client, device):
    import_ = draft(client, OPEN)
    rows = [row(0, "Power", metric="power", unit="W", factor="10")]
    form = {"device": device.device_id, "answer__time_formats": "4 March 2024", "rows": rows}
    broken = say(client, import_, s__delimiter="|", **form).content.decode()
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', broken))
    assert fields["answer-time_formats"] == "4 March 2024"
    assert (fields["metric-0"], fields["unit-0"], fields["factor-0"]) == ("power", "W", "10")
    assert (fields["rows"], fields["row-0"], fields["on-0"]) == ("1", "[&quot;Power&quot;]", "on")


def test_columns_are_named_scaled_left_out_and_sent_to_other_devices(client, alice, device):
    other = create_device("other_device", owner=alice, name="Meter")
    import_ = draft(client, METER)
    rows = [
        row(0, "Leistung [kW]", metric="power", unit="W", factor="1000", device=device.device_id),
        row(1, "Zähler [kWh]", metric="energy", unit="kWh", device="other_device"),
        row(2, "Bemerkung", metric="Bemerkung", on=False),
    ]
    shown = say(client, import_, device=device.device_id, rows=rows)
    assert "1250" in text(shown)
    assert say(client, import_, "import-queue", device=device.device_id, rows=rows).status_code == 302
    import_.refresh_from_db()
    profile = ImportProfile.from_json(import_.profile)
    values = [(v.column, v.metric, v.unit, v.factor, v.device) for v in profile.values]
    assert values == [
        ("Leistung [kW]", "power", "W", 1000, ""),
        ("Zähler [kWh]", "energy", "kWh", 1, "other_device"),
    ]
    assert set(import_.devices.all()) == {device, other}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"metric": ""}, "metric"),
        ({"metric": "Zähler [kWh]"}, "give each its own"),
        ({"factor": "nan"}, "is no number from 1e-12"),
        ({"factor": "0"}, "is no number from 1e-12"),
        ({"unit": "x" * 33}, "at most 32"),
        ({"device": "charlies"}, "you own no device 'charlies'"),
    ],
)
def test_a_row_that_cannot_be_stored_says_why_and_keeps_the_file_back(
    client, charlie, device, changed, problem
):
    create_device("charlies", owner=charlie)
    import_ = draft(client, METER)
    rows = [
        row(0, "Leistung [kW]", **{"metric": "power", **changed}),
        row(1, "Zähler [kWh]", metric="Zähler [kWh]"),
    ]
    answer = say(client, import_, "import-queue", device=device.device_id, rows=rows)
    assert answer.status_code == 400
    assert problem in text(answer)
    import_.refresh_from_db()
    assert import_.state == State.DRAFT


def test_anothers_device_cannot_be_forged_into_the_form(client, charlie, bob, device):
    create_device("charlies", owner=charlie)
    import_ = draft(client, METER)
    answer = say(client, import_, "import-queue", device="charlies")
    missing = say(client, import_, "import-queue", device="nobodys")
    assert answer.status_code == missing.status_code == 400
    assert text(answer).replace("charlies", "X") == text(missing).replace("nobodys", "X")
    import_.refresh_from_db()
    assert import_.state == State.DRAFT
    assert import_.device is None


def test_a_device_that_is_shared_is_not_offered(bob, client_of, device):
    client = client_of(bob)
    import_ = draft(client, METER)
    assert device.device_id not in client.get(f"/imports/{import_.pk}/").content.decode()
    assert say(client, import_, "import-queue", device=device.device_id).status_code == 400


def test_kinds_of_rows_are_mapped_and_left_out(client, device):
    import_ = draft(client, LONG)
    shown = say(client, import_, device=device.device_id)
    assert "Kinds of rows and their metrics" in text(shown)
    rows = [
        row(0, "value", "import", metric="energy.import", unit="kWh"),
        row(1, "value", "export", metric="energy.export", unit="kWh"),
        row(2, "value", "reactive", metric="reactive", on=False),
    ]
    form = {"device": device.device_id, "has__keys": "1", "new__keys": "on", "rows": rows}
    assert "energy.import: 0 kWh" in text(say(client, import_, **form))
    assert say(client, import_, "import-queue", **form).status_code == 302
    import_.refresh_from_db()
    assert import_.profile["ignored_keys"] == ["reactive"]
    assert import_.profile["new_keys"] == "import"
    assert [value["metric"] for value in import_.profile["values"]] == ["energy.import", "energy.export"]


def test_a_file_that_was_imported_before_is_told_and_can_be_imported_again(client, device):
    first = draft(client, METER)
    assert say(client, first, "import-queue", device=device.device_id).status_code == 302
    second = draft(client, METER)
    told = say(client, second, "import-queue", device=device.device_id)
    assert told.status_code == 409
    assert f'href="/imports/{first.pk}/"' in told.content.decode()
    assert "Import again" in text(told)
    assert say(client, second, "import-queue", device=device.device_id, force="1").status_code == 302


def test_options_are_kept(client, device):
    import_ = draft(client, METER)
    form = {"device": device.device_id, "on__conflict": "replace", "strict": "on"}
    assert say(client, import_, "import-queue", **form).status_code == 302
    import_.refresh_from_db()
    assert (import_.on_conflict, import_.is_strict) == ("replace", True)


def test_a_device_is_created_on_the_spot_and_chosen(client, alice):
    import_ = draft(client, METER)
    form = {"do": "create-device", "new__name": "Cellar", "new__zone": "Europe/Berlin"}
    answer = say(client, import_, new__id="cellar_meter", **form)
    assert Device.objects.get(device_id="cellar_meter").owner == alice
    assert answer.context["reading"].device.device_id == "cellar_meter"
    again = say(client, import_, new__id="cellar_meter", **form)
    assert again.status_code == 400
    assert "already exists" in text(again)
    assert 'value="Cellar"' in again.content.decode()


def test_a_profile_is_saved_and_reads_other_files(client, alice, device):
    import_ = draft(client, METER)
    rows = [row(0, "Leistung [kW]", metric="power", unit="kW"), row(1, "Zähler [kWh]", metric="z", on=False)]
    form = {"do": "save-profile", "profile__name": "house 7", "rows": rows, "device": device.device_id}
    assert "Saved as the profile “house 7”" in text(say(client, import_, **form))
    other = draft(client, METER.replace("1,25", "9,75").replace("1,5O", "1,50"))
    answer = say(client, other, device=device.device_id, profile="house 7")
    assert [value.metric for value in answer.context["reading"].profile.values] == ["power"]
    assert "fixed by the profile" in text(answer)
    taken = say(client, import_, **{**form, "profile__name": "surfrad"})
    assert taken.status_code == 400
    assert "built-in" in text(taken)
    assert SavedProfile.objects.get(owner=alice).name == "house 7"


def test_anothers_profile_is_not_there(client, charlie, device):
    SavedProfile.objects.create(owner=charlie, name="secret", profile={})
    import_ = draft(client, METER)
    page = say(client, import_, device=device.device_id)
    assert "secret" not in page.content.decode()
    assert "There is no profile 'secret'" in text(say(client, import_, profile="secret"))


def test_a_built_in_profile_answers_what_is_open(client, device):
    import_ = draft(client, OPEN)
    answer = say(client, import_, device=device.device_id, profile="month-first")
    assert answer.context["reading"].obstacles == []
    assert "2024-03-04" in text(answer)
    assert "From the profile." in text(answer)


def test_a_draft_is_discarded_with_its_file(client):
    import_ = draft(client, METER)
    path = upload_path(import_.upload)
    assert path.is_file()
    assert client.post(f"/imports/{import_.pk}/discard/").status_code == 302
    assert not path.exists()
    assert not Import.objects.filter(pk=import_.pk).exists()


def test_what_is_a_draft_no_more_is_neither_changed_nor_discarded(client, device):
    import_ = draft(client, METER)
    say(client, import_, "import-queue", device=device.device_id)
    assert say(client, import_, htmx=True)["HX-Redirect"] == f"/imports/{import_.pk}/"
    assert say(client, import_, "import-queue")["Location"] == f"/imports/{import_.pk}/"
    client.post(f"/imports/{import_.pk}/discard/")
    import_.refresh_from_db()
    assert import_.state == State.QUEUED
    assert upload_path(import_.upload).is_file()


@pytest.mark.parametrize("rows", ["[", "null", "[1]", "[" * 5000, '{"a":1}', "5"])
def test_a_form_that_is_not_this_pages_is_refused(client, rows):
    import_ = draft(client, METER)
    for where in ("import-preview", "import-queue"):
        answer = say(client, import_, where, rows=[{"row-0": rows}])
        assert answer.status_code == 400
        assert "load the page again" in text(answer)


def test_names_from_the_file_are_text_and_nothing_else(client, device):
    evil = "</script><img src=x onerror=alert(1)>"
    content = f'time,"{evil}"\n' + "".join(
        f"2024-01-13 {h:02d}:00,{evil if h == 3 else h}\n" for h in range(12)
    )
    import_ = draft(client, content)
    page = say(client, import_, device=device.device_id, s__na_values=evil).content.decode()
    assert "<img" not in page
    assert page.count("&lt;img") > 3
    assert not re.search(r"<script(?![^>]* src=)", page)


def test_a_draft_whose_file_is_gone_says_so(client):
    import_ = draft(client, METER)
    upload_path(import_.upload).unlink()
    assert "The file of this draft is missing here" in text(client.get(f"/imports/{import_.pk}/"))


def test_a_file_of_very_many_columns_can_be_mapped(client, device):
    names = [f"P{number}" for number in range(1100)]
    content = "time," + ",".join(names) + "\n"
    content += "".join(f"2024-01-13 {hour:02d}:00" + ",1" * 1100 + "\n" for hour in range(9))
    import_ = draft(client, content, device=device.device_id)
    page = client.get(f"/imports/{import_.pk}/")
    assert "And 100 more, imported as guessed." in text(page)
    rows = [row(number, name, metric=f"power.{number}", unit="W") for number, name in enumerate(names[:1000])]
    assert say(client, import_, "import-queue", device=device.device_id, rows=rows).status_code == 302
    import_.refresh_from_db()
    assert [value["metric"] for value in import_.profile["values"][998:1001]] == [
        "power.998", "power.999", "P1000",
    ]  # fmt: skip


def test_what_was_entered_is_there_when_the_page_is_loaded_again(client, device):
    import_ = draft(client, METER)
    rows = [row(0, "Leistung [kW]", metric="power", unit="W", factor="1000")]
    say(client, import_, device=device.device_id, s__tz="UTC", strict="on", rows=rows)
    reading = client.get(f"/imports/{import_.pk}/").context["reading"]
    assert reading.device == device
    assert reading.entry.is_strict
    assert (reading.profile.tz, reading.profile.values[0].metric) == ("UTC", "power")
    say(client, import_, "import-queue", device=device.device_id, s__tz="UTC", rows=rows)
    assert f"draft-{import_.pk}" not in client.session


def test_a_draft_stays_with_who_brought_it_when_its_device_changes_hands(
    client, alice, charlie, client_of, device
):
    import_ = draft(client, METER, device=device.device_id)
    device.owner = charlie
    device.save()
    assert client_of(charlie).get(f"/imports/{import_.pk}/").status_code == 404
    page = client.get(f"/imports/{import_.pk}/")
    assert device.device_id not in page.content.decode()
    assert "Home battery" not in text(client.get("/imports/"))
    assert say(client, import_, "import-queue", device=device.device_id).status_code == 400


def test_drafts_of_a_kind_are_imported_alike_and_others_go_on_waiting(client, device):
    first = draft(client, METER)
    same = draft(client, "A line more\n" + METER.replace("31.10.2024", "30.10.2024"))
    other_columns = draft(client, METER.replace("Leistung", "Power"))
    page = text(client.get(f"/imports/{first.pk}/"))
    assert "Also import with the same settings: meter.csv, meter.csv." in page
    rows = [row(0, "Leistung [kW]", metric="power", unit="kW"), row(1, "Zähler [kWh]", metric="z", on=False)]
    say(client, first, "import-queue", device=device.device_id, rows=rows, alike="on")
    states = {each.pk: each.state for each in Import.objects.all()}
    assert (states[first.pk], states[same.pk]) == (State.QUEUED, State.QUEUED)
    assert states[other_columns.pk] == State.DRAFT
    same.refresh_from_db()
    assert [value["metric"] for value in same.profile["values"]] == ["power"]
    assert same.profile["first_data_line"] == 4
