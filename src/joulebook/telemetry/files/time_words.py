"""Words of times: months, zones, halves of the day, and the passes of a doubled hour, in many languages.

All are in small letters but for zones, and without stops. Months and halves of the day are those of Unicode's
CLDR. A word with two meanings (`lis` is October in Croatian, November in Polish) is left out.
"""

from __future__ import annotations

_TWELVE_MONTHS = """
january february march april may june july august september october november december
jan feb mar apr may jun jul aug sep oct nov dec
jan feb mar apr may jun jul aug sept oct nov dec
januar februar märz april mai juni juli august september oktober november dezember
jänner feber mär apr mai jun jul aug sep okt nov dez
jän feb mrz apr mai jun jul aug sept okt nov dez
janvier février mars avril mai juin juillet août septembre octobre novembre décembre
janv févr mars avr mai juin juil aoû sept oct nov déc
janv fevr mars avr mai juin juil aout sept oct nov dec
januari februari maart april mei juni juli augustus september oktober november december
jan feb mrt apr mei jun jul aug sep okt nov dec
enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
ene feb mar abr may jun jul ago sept oct nov dic
gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre
gen feb mar apr mag giu lug ago set ott nov dic
janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro
jan fev mar abr mai jun jul ago set out nov dez
januari februari mars april maj juni juli augusti september oktober november december
januar februar mars april maj juni juli august september oktober november desember
jan feb mar apr mai jun jul aug sep okt nov des
styczeń luty marzec kwiecień maj czerwiec lipiec sierpień wrzesień październik listopad grudzień
stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia
sty lut mar kwi maj cze lip sie wrz paź nov gru
leden únor březen duben květen červen červenec srpen září říjen listopad prosinec
ledna února března dubna května června července srpna září října listopadu prosince
led úno bře dub kvě čvn čvc aug zář říj nov pro
január február marec apríl máj jún júl august september október november december
január február március április május június július augusztus szeptember október november december
jan febr márc ápr máj jún júl aug szept okt nov dec
tammikuu helmikuu maaliskuu huhtikuu toukokuu kesäkuu heinäkuu elokuu syyskuu lokakuu marraskuu joulukuu
tammi helmi maalis huhti touko kesä heinä elo syys loka marras joulu
ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık
oca şub mar nis may haz tem ağu eyl eki kas ara
ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie
ian feb mar apr mai iun iul aug sept oct noi dec
январь февраль март апрель май июнь июль август сентябрь октябрь ноябрь декабрь
января февраля марта апреля мая июня июля августа сентября октября ноября декабря
янв фев мар апр май июн июл авг сен окт ноя дек
янв февр март апр мая июн июл авг сент окт нояб дек
ιανουαρίου φεβρουαρίου μαρτίου απριλίου μαΐου ιουνίου ιουλίου αυγούστου σεπτεμβρίου οκτωβρίου νοεμβρίου
ιαν φεβ μαρ απρ μαΐ ιουν ιουλ αυγ σεπ οκτ νοε δεκ
"""
MONTHS = {name: number for line in _TWELVE_MONTHS.splitlines() for number, name in enumerate(line.split(), 1)}
"""Number of the month by its name."""

ZONES = {
    "UTC": 0, "GMT": 0, "Z": 0, "UT": 0, "WET": 0,
    "CET": 60, "MEZ": 60, "WEST": 60, "CEST": 120, "MESZ": 120, "EET": 120, "EEST": 180, "MSK": 180,
    "EST": -300, "EDT": -240, "CDT": -300, "MST": -420, "MDT": -360, "PST": -480, "PDT": -420,
    "AKST": -540, "AKDT": -480, "HST": -600, "JST": 540, "AWST": 480, "AEST": 600, "AEDT": 660,
    "NZST": 720, "NZDT": 780,
}  # fmt: skip
"""Minutes ahead of UTC, without CST, IST, BST and others: each is the name of several zones."""

_FORENOON = "am vorm vormittags πμ fm ap dop dopoledne de öö sa ص пп 午前 上午 오전"
_AFTERNOON = "pm nachm nachmittags μμ em ip odp odpoledne du ös ch م дп 午後 下午 오후"
HALVES = dict.fromkeys(_FORENOON.split(), 1) | dict.fromkeys(_AFTERNOON.split(), 2)
"""Halves of the day, 1 and 2."""

_SUMMER = (
    "a s sz d dst summer sommer sommerzeit été ete estate legale verano zomer zomertijd sommartid kesä лето "
    "bst adt ndt 1 true yes y ja"
)
_WINTER = (
    "b w wz n st std standard winter winterzeit normalzeit hiver inverno solare invierno wintertijd "
    "vintertid talvi зима cst ast nst 0 false no nein"
)
PASSES = dict.fromkeys(_SUMMER.split(), 1) | dict.fromkeys(_WINTER.split(), 2)
"""Passes of a doubled hour by the words that mark them: 1, in summer time, and 2."""
