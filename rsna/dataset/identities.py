"""What headers say of a person: ids that name nobody, and ages."""

import re
import unicodedata

_NOBODY = re.compile(
    r"0*|9{4,}|(?P<one>\d)(?P=one){7,}|X+|AN+ON[^\W\d]*|DE?IDENTIF[^\W\d]*|REMOVED[^\W\d]*|DE|DEID|IDENTIFIED|UNK|UNKNOWN|"
    r"UNBEKANNT|ONBEKEND|UKJENT|UKENDT|OKAND|DESCONOCID[OA]S?|DESCONHECID[OA]|INCONNUE?S?|SCONOSCIUT[OAIE]|KEINE?|"
    r"ANGABEN?|\w*MUSTERMAN\w*|MUSTERFRAU|(JOHN|JANE)DOE|UNNAMED|UNDEFINED|UNSPECIFIED|UNAVAILABLE|AVAILABLE|PROVIDED|"
    r"SPECIFIED|APPLICABLE|KNOWN|GIVEN|ASSIGNED|RECORDED|NO|NOT|NONE|NULL|NIL|NA|NAN|NOID|NONAME|MISSING|EMPTY|BLANK|"
    r"REDACTED|DELETED|HIDDEN|MASKED|WITHHELD|CONFIDENTIAL|DEFAULT|DUMMY|PHANTOM|TEST|ID|PID|PATIENT|PATIENTID|SUBJECT|"
    r"匿名\w*|不明|未知|НЕИЗВЕСТНО"
)
"""Words of which an id consists that names nobody."""

_HIDDEN = re.compile(r"[\W_]*(REMOVED|REDACTED|DELETED|ANONYMI[SZ]ED)\b\D*")
"""Ids that name nobody by how they begin: Removed by Horos."""

_YEARS = {"Y": 1, "M": 12, "W": 52, "D": 365}
"""Units of an Age String (PS3.5 6.2), as parts of a year."""


def age_in_years(text: str) -> int | None:
    """(0010,1010) Patient's Age, such as 045Y or 018M (PS3.5 6.2), in whole years; None where it is malformed."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", text.strip().upper())
    return int(match[1]) // _YEARS[match[2]] if match else None


def is_placeholder(patient_id: str) -> bool:
    """Whether an id names nobody: ANONYMOUS, de-identified, UNKNOWN, None, N/A, 0, XXX, Removed by Horos, -1, …"""
    plain = "".join(c for c in unicodedata.normalize("NFKD", patient_id.upper()) if not unicodedata.combining(c))
    if _HIDDEN.fullmatch(plain) or re.fullmatch(r"-\d+", plain):
        return True
    words = re.findall(r"[^\W_]+", plain)
    return any(all(_NOBODY.fullmatch(word) for word in form) for form in (words, ["".join(words)]))
