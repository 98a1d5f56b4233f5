"""Exams of a patient: the one name of a breast, and the order of exams in time."""

from functools import reduce

import pandas as pd

EXAM = ("exam_id", "exam_number", "exam_date")
"""Columns that tell the exams of a patient apart: the first of them that says anything does."""


def name_breasts(images: pd.DataFrame) -> pd.Series:
    """The prediction_id of every image: ``{patient_id}_{laterality}``, with the exam between where there are several.

    A patient of several exams has breasts ``{patient_id}_{exam_id}_{laterality}``. Ids may hold underscores themselves:
    where two breasts of a table would have one name so, the ids of these patients are quoted.

    Args:
        images: patient_id, laterality (text), and a column of ``EXAM`` where there is one; "" is an exam, too.
    """
    patient, side = images["patient_id"], images["laterality"]
    if not names_exams(images):
        return _joined(patient, side)
    return _unlike_names(patient, exams_of(images), side)


def name_exams(patient: pd.Series, exam: pd.Series) -> pd.Series:
    """The name of every row's exam: ``{patient_id}``, with ``_{exam_id}`` behind it where a patient has several.

    As with :func:`name_breasts` no two have one name.

    Args:
        patient: patient_id (text) of each row.
        exam: Its exam, "" where it is not known.
    """
    return _unlike_names(patient, exam)


def _unlike_names(patient: pd.Series, exam: pd.Series, *behind: pd.Series) -> pd.Series:
    several = exam.groupby(patient).transform("nunique") > 1
    names = reduce(_joined, behind, patient)
    if several.any():
        parts = [patient, exam.where(several, ""), *behind]
        things = pd.concat(parts, axis=1, keys=range(len(parts))).drop_duplicates()
        names = names.mask(several, reduce(_joined, (exam, *behind), patient))
        if names.nunique(dropna=False) < len(things):
            quoted = reduce(_joined, (exam.map(repr), *behind), patient.map(repr))
            names = names.mask(several, quoted)
    return names


def _joined(one: pd.Series, other: pd.Series) -> pd.Series:
    return one + "_" + other


def names_exams(images: pd.DataFrame) -> bool:
    """Whether a table has a column that tells exams apart."""
    return not set(EXAM).isdisjoint(images.columns)


def exams_of(images: pd.DataFrame) -> pd.Series:
    """The exam of every image, "" where it is not known."""
    for column in EXAM:
        if column in images.columns:
            # 1.0 where another row has none is 1.
            exam = images[column].convert_dtypes().astype("string").fillna("").astype(object)
            exam = iso_dates(exam) if column == "exam_date" else exam
            if exam.ne("").any():
                return exam
    return pd.Series("", index=images.index, dtype=object)


def with_exams(breasts: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Breasts with what their images say of their exams, by which :func:`exams_of` tells these apart.

    Args:
        breasts: prediction_id, a row a breast; what is said of them in ``attrs`` stays.
        images: prediction_id, and columns of ``EXAM`` where there are any.
    """
    known = [column for column in EXAM if column in images.columns and column not in breasts.columns]
    joined = breasts.join(images.groupby("prediction_id")[known].first(), on="prediction_id")
    joined.attrs = dict(breasts.attrs)  # which a join drops
    return joined


def count_exams(images: pd.DataFrame) -> int:
    """Exams of all patients; one of a patient of whom none is known."""
    return int(exams_of(images).groupby(images["patient_id"]).nunique().sum())


def order_exams(images: pd.DataFrame, times: pd.Series) -> pd.Series:
    """1 for the first exam of a patient, 2 for the next, …; missing where times do not tell several exams apart.

    Args:
        images: patient_id and exam_id.
        times: Text in whose order exams come; "" where it is not known. A day without its clock, 20180305, tells
            nothing of exams of the same day, nor does 2018030510 of 201803051015.
    """
    codes, texts = pd.factorize(times.mask(times.eq("")), sort=True)
    code = pd.Series(codes, index=images.index, dtype=float)
    keys = pd.DataFrame({"patient": images["patient_id"], "exam": exams_of(images)})
    first = keys.assign(time=code.mask(code < 0)).groupby(["patient", "exam"])["time"].min().reset_index()
    of_patient = first.groupby("patient")["time"]
    first["number"] = of_patient.rank().mask(first.duplicated(["patient", "time"], keep=False))
    first["number"] = first["number"].mask(_open_days(first, pd.Series(texts, dtype=object)))
    first.loc[of_patient.transform("size") == 1, "number"] = 1
    return keys.merge(first, how="left")["number"].set_axis(images.index).astype("Int64")


def _open_days(exams: pd.DataFrame, texts: pd.Series) -> pd.Series:
    """Which exams are of a day on which one time is the beginning of another.

    Args:
        exams: patient, and time, the place of a time among ``texts``.
        texts: Times in their order.
    """
    digital = texts.astype(str).str.fullmatch(r"\d{8,}")
    known = exams[exams["time"].isin(texts.index[digital])].sort_values(["patient", "time"])
    text = known["time"].map(texts).astype(str)
    days = known["patient"].astype(str) + "\0" + text.str[:8]
    following = text.groupby(days).shift(-1).fillna("")
    begins = [len(one) < len(other) and other.startswith(one) for one, other in zip(text, following, strict=True)]
    return days.isin(days[begins]).reindex(exams.index, fill_value=False)


def iso_dates(dates: pd.Series) -> pd.Series:
    """20180305, 20180305141500, 2018-03-05, 2018.03.05 10:00 → 2018-03-05; anything else as it is, missing as ""."""
    text = dates.astype("string").fillna("").str.strip()
    return text.str.replace(r"^(\d{4})([-./]?)(\d\d)\2(\d\d)(\d{6}|[ T].*)?$", r"\1-\3-\4", regex=True).astype(str)
