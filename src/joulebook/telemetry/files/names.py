"""Names that stand in times: months in several languages, and zones whose abbreviation has one meaning."""

from __future__ import annotations

_MONTH_NAMES = (
    "jan january januar janvier janv januari januari enero ene gennaio gen janeiro",
    "feb february februar février févr fév fevr fev februari febrero febbraio fevereiro",
    "mar march märz maerz mrz mär mars maart mrt marzo março marts",
    "apr april avril avr aprile abril abr",
    "may mai mei mayo maggio mag maio maj",
    "jun june juni juin junio giugno giu junho",
    "jul july juli juillet juil julio luglio lug julho",
    "aug august août aout aoû augustus agosto ago augusti",
    "sep sept september septembre septiembre settembre set setembro",
    "oct october oktober okt octobre octubre ottobre ott outubro out",
    "nov november novembre noviembre novembro",
    "dec december dezember dez décembre déc diciembre dic dicembre dezembro des desember",
)
MONTHS = {name: number for number, names in enumerate(_MONTH_NAMES, 1) for name in names.split()}
"""Number of the month by its name in small letters, without a full stop."""

ZONES = {
    "UTC": 0, "GMT": 0, "Z": 0, "UT": 0, "WET": 0,
    "CET": 60, "MEZ": 60, "WEST": 60, "CEST": 120, "MESZ": 120, "EET": 120, "EEST": 180, "MSK": 180,
    "EST": -300, "EDT": -240, "CDT": -300, "MST": -420, "MDT": -360, "PST": -480, "PDT": -420,
    "AKST": -540, "AKDT": -480, "HST": -600, "JST": 540, "AWST": 480, "AEST": 600, "AEDT": 660,
    "NZST": 720, "NZDT": 780,
}  # fmt: skip
"""Minutes ahead of UTC. CST, IST, BST and the like are left out: each is the name of several zones."""
