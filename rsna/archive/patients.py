"""Headers → whose image it is and of which exam, where ids are missing, name nobody, or name several people."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pandas as pd

from rsna.dataset.identities import age_in_years, is_placeholder
from rsna.files import first_few

if TYPE_CHECKING:
    from rsna.dicom import Tags

_STEM = re.compile(
    r"\W*(AN+ON|DE\W?ID|REMOVED|REDACTED|DELETED|HIDDEN|MASKED|UNK|UNBEK|DUMMY|DEFAULT|DESCON|INCON|SCONO)"
)
"""How ids begin that are a pseudonym with a number, ANON-0001, where there is an ANON-0002."""

_FEW_DIGITS = 5
"""Digits of numbers that patients are given by chance: 99999 beside 10006 may be one."""

_OF_ONE = re.compile(r"(^|\D)(19|20)\d\d|^(EXAM|VISIT|STUDY|SERIES|PRIOR|CURRENT|BASELINE|FOLLOW)", re.IGNORECASE)
"""Names of folders that hold the exams of one patient."""

_SHOT = ["laterality", "view", "kind", "intent"]
"""What images of one exam differ in, but for a second one of a view."""

_MOST_EXAMS = 20
"""Exams beyond which an id is no person's: digital archives are 25 years old, and screening comes every year or two."""

_MOST_IMAGES = 4
"""Images of one side and view, or of unknown views, that an exam has at most: two views, each taken twice."""

_LONGEST = 7
"""Days that the dates of one study may lie apart."""

_ROUNDED = 2
"""Years that ages on one day may lie apart: whole years, rounded by some and cut off by others."""

_OLDEST = 89
"""Years from which ages are no longer told apart: de-identified, they are all 090Y."""


def identity(tags: "Tags", path: str) -> dict[str, Any]:
    """What :func:`name_patients` needs to know of an image, by column."""
    return {
        "patient_id": tags.patient_id,
        "exam_id": tags.study_instance_uid,
        "exam_time": tags.exam_time,
        "issuer": tags.patient_id_issuer,
        "institution": tags.institution,
        "birth_date": tags.patient_birth_date,
        "sex": tags.patient_sex,
        "age": age_in_years(tags.patient_age),
        "laterality": tags.laterality if tags.laterality in ("L", "R") else "",
        "view": tags.view,
        "kind": tags.kind,
        "intent": tags.presentation_intent,
        "path": path,
    }


def name_patients(images: pd.DataFrame, root: str, trusted: Collection[str] = ()) -> tuple[pd.DataFrame, list[str]]:
    """Fills in patient_id and exam_id where headers do not tell, so that no two patients or exams become one.

    A *sitting* is what is one exam for sure: a study, and without a Study Instance UID the images of one folder, date,
    birth date, sex and age. An id that names nobody, or what cannot be one person, stands for as many patients as it
    has sittings. Each is called by the folder that holds it alone, or else by the path of its first image.

    Args:
        images: A row an image, see :func:`identity`: text, "" where unsaid, but for the age; paths below one folder.
        root: What the patient is called whose images lie in that folder itself.
        trusted: Patients that somebody named; their ids are taken as they are.

    Returns:
        The images with patient_id and exam_id, and lines on what was guessed.
    """
    images = images.copy()
    images["birth_date"] = images["birth_date"].str.replace(r"[.\-/ ]", "", regex=True)
    folder = images["path"].map(os.path.dirname)
    nobody = images["patient_id"].isin(_placeholders(images, folder) - set(trusted))
    shared = _shared_studies(images, folder, nobody)
    images["exam_id"] = study = images["exam_id"].mask(images["exam_id"].isin(shared), "")
    # A study is of one patient (PS3.3 A.1.2): an image that lacks the id has that of the others.
    ids = _only(images["patient_id"][~nobody & study.ne("")], study)
    images["patient_id"] = patient = images["patient_id"].mask(nobody & study.isin(ids.index), study.map(ids))
    several_ids = _studies_of_several(images[~nobody & study.ne("") & patient.ne("")])

    sitting = _sittings(images, folder, nobody)
    several = sitting.groupby(patient).transform("nunique").gt(1) & ~patient.isin(trusted) | patient.eq("")
    asked = images.assign(nobody=nobody)[several].groupby("patient_id", sort=True)
    doubts = {str(one): why for one, rows in asked if (why := _doubt(str(one), rows))}
    doubtful = patient.isin(list(doubts))
    names = _names(images[doubtful], sitting, folder, root, set(patient[~doubtful]))
    notes = [
        f"{why}: each of these exams counts as a patient of its own, named by folder or file "
        f"({first_few(names[patient.eq(one)].unique())}); labels with image_id and patient_id would tell"
        for one, why in doubts.items()
    ]
    images["patient_id"] = patient.mask(doubtful, names)
    notes += _kept(images[~doubtful], nobody)
    exam, guessed = _guess_exams(images[~doubtful], folder)
    images["exam_id"] = exam.reindex(images.index).fillna(study.mask(study.eq(""), images["exam_time"].str[:8]))
    if shared:
        what = "Study Instance UIDs (0020,000D) stand for images of several days or people, and are passed over"
        notes.append(f"{len(shared):,} {what} (first: {first_few(shared)})")
    return images, notes + guessed + several_ids + _spelt_alike(images[~doubtful])


def _studies_of_several(images: pd.DataFrame) -> list[str]:
    """A line on studies with several Patient IDs: of a patient who was renamed between two of its images."""
    ids = images.groupby("exam_id")["patient_id"].unique()
    ids = ids[ids.map(len) > 1]
    if ids.empty:
        return []
    return [
        f"{len(ids):,} Study Instance UIDs (0020,000D) have several Patient IDs (0010,0020), each of which counts as a "
        f"patient (first: {ids.index[0]}, of {first_few(ids.iloc[0])}); a woman who was renamed may stand on both "
        "sides of a fold: give her one patient_id in the table"
    ]


def _spelt_alike(images: pd.DataFrame) -> list[str]:
    """A line on Patient IDs that differ in capitals, zeros in front or signs alone, but for those of people born on
    several days."""
    ids = images[["patient_id"]].assign(born=_known_dates(images["birth_date"])).drop_duplicates()
    plain = ids["patient_id"].map(_plain)
    several = ids.groupby(plain).agg(
        ids=("patient_id", "unique"), born=("born", lambda days: days[days.ne("")].nunique())
    )
    alike = several[several["ids"].map(len).gt(1) & several["born"].le(1)]["ids"]
    if alike.empty:
        return []
    return [
        f"{len(alike):,} times Patient IDs (0010,0020) differ in capitals, zeros or signs alone, and count as several "
        f"patients (first: {first_few(alike.iloc[0])}); if they are one woman, give her one patient_id in the table"
    ]


def _plain(one: str) -> str:
    words = re.findall(r"\d+|[^\W\d_]+", one.casefold())  # 1-11 and 11-1 stay two
    return " ".join(word.lstrip("0") or "0" for word in words)


def _shared_studies(images: pd.DataFrame, folder: pd.Series, nobody: pd.Series) -> list[str]:
    """UIDs that are no study's: a study is of one patient, and begins once (PS3.3 C.7.2.1)."""
    study = images["exam_id"]
    facts = images[["birth_date", "sex"]].assign(birth_date=_known_dates(images["birth_date"]))
    several = facts.replace("", pd.NA).groupby(study).nunique().gt(1).any(axis=1)
    day = pd.to_datetime(images["exam_time"].str[:8], format="%Y%m%d", errors="coerce").groupby(study)
    # Where dates are those of a conversion, they may lie on both sides of midnight.
    several |= day.max() - day.min() > pd.Timedelta(_LONGEST, "D")
    age = images["age"].astype(float).where(lambda age: age < _OLDEST).groupby(study)
    several |= age.max() - age.min() > _ROUNDED
    # A conversion that names nobody may give one UID to all.
    doubtful = images[study.isin(study[nobody]) & study.ne("")]
    several |= _come_again(doubtful, folder).groupby(study).any().reindex(several.index, fill_value=False)
    shots = images[nobody & images["view"].ne("")].groupby(["exam_id", *_SHOT]).size()
    several |= shots.groupby("exam_id").max().gt(_MOST_IMAGES).reindex(several.index, fill_value=False)
    return sorted({str(uid) for uid in several.index[several]} - {""})


def _come_again(images: pd.DataFrame, folder: pd.Series) -> "pd.Series[bool]":
    """Images of studies of which a view comes again in another folder, as where these are of several exams.

    Not where each folder holds one image, and several views are there: as archives export series, a view taken twice.
    """
    again = []
    known = images[images["view"].ne("") & images["laterality"].ne("")]
    places = folder[known.index].groupby([known[c] for c in ("exam_id", *_SHOT)]).transform("nunique")
    for study, rows in known[known["exam_id"].isin(known["exam_id"][places > 1])].groupby("exam_id"):
        above = os.path.commonpath(folder[rows.index].unique().tolist())
        place = folder[rows.index].str[len(above) :].str.lstrip(os.sep).str.partition(os.sep)[0]
        shots = place.groupby([rows[c] for c in _SHOT]).nunique()
        if shots.max() > 1 and (place.value_counts().max() > 1 or len(shots) == 1):
            again.append(study)
    return images["exam_id"].isin(again)


def _known_dates(dates: pd.Series) -> pd.Series:
    """YYYYMMDD that may be true, else ""."""
    from rsna.dicom.tags import NO_DATE

    return dates.where(dates.str.fullmatch(r"\d{8}") & ~dates.str.fullmatch(NO_DATE), "")


def _only(values: pd.Series, *by: pd.Series) -> "pd.Series[str]":
    """The value of each group that has one alone."""
    groups = values.groupby([one[values.index] for one in by])
    return groups.first()[groups.nunique() == 1]


def _sittings(images: pd.DataFrame, folder: pd.Series, nobody: pd.Series) -> pd.Series:
    said = folder + "\0" + images["exam_time"].str[:8] + "\0" + images["birth_date"] + "\0" + images["sex"] + "\0"
    study = images["exam_id"]
    sitting = study.mask(study.eq(""), said + images["age"].astype("string").fillna(""))
    # Where neither an id nor a study joins images, a second one of a view is another patient's as likely as a retake.
    shots = images["path"].groupby([images["patient_id"], sitting, *(images[c] for c in _SHOT)])
    crowded = shots.transform("size") > images["view"].eq("").map({True: _MOST_IMAGES, False: 1})
    crowded = crowded.groupby([images["patient_id"], sitting]).transform("any")
    return sitting.mask(study.eq("") & nobody & crowded, images["path"])


def _placeholders(images: pd.DataFrame, folder: pd.Series) -> set[str]:
    ids = {str(patient) for patient in images["patient_id"].unique()}
    stems = Counter(re.sub(r"\d+", "", one).upper() for one in ids)
    # Beside ANON-1, ANON-0 is a pseudonym.
    several = {one for one in ids if re.search(r"\d", one) and stems[re.sub(r"\d+", "", one).upper()] > 1}
    numbered = {one for one in several if _STEM.match(one.upper())}
    found = {one for one in ids - numbered if is_placeholder(one) and not _is_counted(one, ids)}
    for one in ids - found:
        stem = re.sub(r"\d+", "", one).upper()
        if stem != one.upper() and stems[stem] == 1 and _STEM.match(stem) and is_placeholder(stem):
            rows = images["patient_id"].eq(one)
            if _is_everybodys(one, images[rows], folder[rows], len(ids) == 1):
                found.add(one)
    return found


def _is_counted(one: str, ids: Collection[str]) -> bool:
    """Whether a number that may stand for nobody is one of many: 0 beside 1, 9999 beside 9998, -1 beside -2."""
    if re.fullmatch("0+", one):
        return one[:-1] + "1" in ids
    if re.fullmatch("9+", one):
        alike = {other for other in ids if other.isdecimal() and len(other) == len(one)}
        return one[:-1] + "8" in ids or (len(one) <= _FEW_DIGITS and len(alike) > 1)
    return one.startswith("-") and sum(bool(re.fullmatch(r"-\d+", other)) for other in ids) > 1


def _is_everybodys(one: str, images: pd.DataFrame, folder: pd.Series, alone: bool) -> bool:
    """Whether the one ANON-0001 of an archive is in folders that are not one patient's, or everybody in one folder."""
    folders = folder.unique().tolist()
    if len(folders) == 1:
        return alone and (images["exam_id"] + images["exam_time"].str[:8]).nunique() > 1
    above = os.path.commonpath(folders)
    if one.upper() in PurePath(above.upper()).parts:
        return False
    return not all(_OF_ONE.search(path[len(above) :].lstrip(os.sep).partition(os.sep)[0]) for path in folders)


def _kept(images: pd.DataFrame, nobody: pd.Series) -> list[str]:
    """What may be wrong with ids that are taken as they are."""
    placeholders = images["patient_id"][nobody[images.index]]
    notes = [
        f"Patient ID {one} of {len(rows):,} images is a placeholder, and counts as one patient, since headers and "
        f"folders tell of one exam alone (first: {images.loc[rows.index[0], 'path']})"
        for one, rows in placeholders.groupby(placeholders)
        if len(rows) > 1
    ]
    where = images["institution"].map(lambda name: " ".join(re.findall(r"[^\W_]+", name.casefold())))
    several = where[where.ne("")].groupby(images["patient_id"]).nunique()
    if len(several := several[several > 1]):
        names = sorted(images["institution"][images["patient_id"].eq(several.index[0]) & where.ne("")].unique())
        notes.append(
            f"{len(several):,} Patient IDs have images of several Institutions (0008,0080), and are taken for one "
            f"patient each (first: {several.index[0]}, of {first_few(names)})"
        )
    return notes


def _doubt(patient: str, images: pd.DataFrame) -> str:
    """Why an id of several sittings is not one person's; "" where it may be."""
    if not patient:
        return f"{len(images):,} images have no Patient ID (0010,0020)"
    whose = f"Patient ID {patient} of {len(images):,} images"
    if images["nobody"].any():
        return f"{whose} is a placeholder"
    exams = images["exam_id"].mask(images["exam_id"].eq(""), images["exam_time"].str[:8]).nunique()
    if exams > _MOST_EXAMS:
        return f"{whose} has {exams:,} exams, more than a person"
    contradiction = next(_contradictions(images), "")
    return contradiction and f"{whose} is not one person's ({contradiction})"


def _contradictions(images: pd.DataFrame) -> Iterator[str]:
    """What images say that cannot all be true of one person."""
    born, sex = images["birth_date"], images["sex"]
    for what, values in (
        ("Patient's Birth Date (0010,0030)", _known_dates(born)),
        ("Issuer of Patient ID (0010,0021)", images["issuer"]),
        ("Patient's Sex (0010,0040)", sex[sex.isin(["F", "M"])]),
    ):
        spellings = values[values.ne("")].groupby(values.str.casefold().str.split().str.join(" ")).first()
        if len(spellings) > 1:
            yield f"{what}: {first_few(sorted(spellings))}"
    known = images[images["age"].notna() & images["age"].lt(_OLDEST)]
    age, year = known["age"].astype(float), pd.to_numeric(known["exam_time"].str[:4], errors="coerce")
    # Without dates, ages may lie decades apart.
    for years, most in ((year - age, _ROUNDED), (age[year.isna()], 25)):
        if years.max() - years.min() > most:
            yield f"Patient's Age (0010,1010): {known['age'].min()} to {known['age'].max()}"


def _names(
    images: pd.DataFrame, sitting: pd.Series, folder: pd.Series, root: str, taken: Collection[str]
) -> "pd.Series[str]":
    """A patient's name for every image, the same in a sitting and another in each."""
    paths = images["path"].groupby([images["patient_id"], sitting[images.index]])
    places = {key: os.path.commonpath(folder[rows.index].unique().tolist()) or root for key, rows in paths}
    alone = {place for place, count in Counter(places.values()).items() if count == 1 and place not in taken}
    names = paths.transform("min")
    keys = pd.MultiIndex.from_arrays([images["patient_id"], sitting[images.index]])
    place = pd.Series([places[key] for key in keys], index=images.index, dtype=object)
    return place.where(place.isin(alone), names)


def _guess_exams(images: pd.DataFrame, folder: pd.Series) -> tuple[pd.Series, list[str]]:
    """The exam of every image: its study, else by its date, else by its folder where a view comes again in another.

    An anonymiser may have written one date for all: within it, too.
    """
    study, patient, day = images["exam_id"], images["patient_id"], images["exam_time"].str[:8]
    unsaid = study.eq("")
    if not unsaid.any():
        return study, []
    same_day = _only(study[~unsaid & day.ne("")], patient, day)
    found = pd.MultiIndex.from_arrays([patient, day]).map(same_day.to_dict())
    exam = study.mask(unsaid, pd.Series(found, index=images.index, dtype=object).fillna(day))
    undated = exam.eq("")
    others = exam[~undated].groupby(patient)
    folder = folder[images.index]
    shots = folder.groupby([patient, *(images[c] for c in _SHOT)]).transform("nunique")
    again = (shots.gt(1) & images["view"].ne("")).groupby(patient).transform("any")
    apart = undated & (again | patient.map(others.nunique()).gt(1))
    by_day = images.assign(exam_id=patient + "\0" + day)[unsaid & ~undated & exam.eq(day)]
    apart |= _come_again(by_day, folder).reindex(images.index, fill_value=False)
    exam = exam.mask(undated, patient.map(others.first()).astype(object).fillna("")).mask(
        apart, folder.mask(folder.eq(""), ".")
    )
    ways = {"by date": unsaid & ~undated & ~apart, "by folder": apart, "as their patient's only exam": undated & ~apart}
    how = ", ".join(f"{int(rows.sum()):,} {way}" for way, rows in ways.items() if rows.any())
    line = f"{int(unsaid.sum()):,} images have no Study Instance UID (0020,000D), and were put into exams: {how}"
    return exam, [f"{line} (first: {first_few(images.loc[unsaid, 'path'])})"]
