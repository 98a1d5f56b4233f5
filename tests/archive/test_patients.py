"""No two patients and no two exams become one without a word; a guessed id is unlike any other."""

import pandas as pd
import pytest

from rsna.archive.patients import name_patients
from rsna.dataset.exams import name_breasts


def image(path, patient="", study="", **said):
    unsaid = {
        "exam_time": "",
        "issuer": "",
        "institution": "",
        "birth_date": "",
        "sex": "",
        "age": None,
        "laterality": "L",
        "view": "CC",
        "kind": "2D",
        "intent": "",
    }
    return {"patient_id": patient, "exam_id": study, "path": path, **unsaid, **said}


def named(*images, trusted=()):
    """Breast by path, and what is said."""
    frame, notes = name_patients(pd.DataFrame(images).astype({"age": "Int64"}), "root", trusted)
    return dict(zip(frame["path"], name_breasts(frame), strict=True)), notes


@pytest.mark.parametrize("study", ["", "1.2.{}"])
def test_without_a_patient_id_folders_of_one_name_are_two_patients(study):
    images = [image(f"pat{i}/DICOM/{view}", "", study.format(i), view=view) for i in (0, 1) for view in ("CC", "MLO")]
    found, notes = named(*images)
    assert set(found.values()) == {"pat0/DICOM_L", "pat1/DICOM_L"}
    assert notes[0].startswith(
        "4 images have no Patient ID (0010,0020): each of these exams counts as a patient of its own, named by folder "
        "or file (pat0/DICOM, pat1/DICOM)"
    )


@pytest.mark.parametrize("patient", ["ANONYMOUS", "", "0", "None", "de-identified"])
@pytest.mark.parametrize("folder", ["", "exam{}/", "{}/DICOM/"])
@pytest.mark.parametrize(
    "said",
    [
        {"study": "1.2.{}"},
        {"exam_time": "201{}0305"},
        {"birth_date": "195{}0203"},
        {"age": "5{}"},
    ],
    ids=lambda said: next(iter(said)),
)
def test_exams_under_a_placeholder_are_patients_of_their_own(patient, folder, said):
    images = []
    for number in range(6):
        facts = {
            key: int(value.format(number)) if key == "age" else value.format(number) for key, value in said.items()
        }
        images += [
            image(f"{folder.format(number)}{number}{view}", patient, view=view, **facts) for view in ("CC", "MLO")
        ]
    found, notes = named(*images)
    assert [len(set(found.values())), found[images[0]["path"]]] == [6, found[images[1]["path"]]]
    assert "counts as a patient of its own" in notes[0]


def test_nothing_in_one_folder_tells_whose_images_are_is_each_image_by_itself():
    loose = [image(f"{number}{view}", "ANON", view=view) for number in (0, 1) for view in ("CC", "MLO")]
    assert len(set(named(*loose)[0].values())) == 4
    exam = [image(view, "ANON", view=view) for view in ("CC", "MLO")]
    assert set(named(*exam)[0].values()) == {"ANON_L"}
    assert set(named(*(one | {"patient_id": ""} for one in exam))[0].values()) == {"root_L"}


def test_a_placeholder_of_one_exam_stays_and_is_said():
    images = [
        image(f"{side}{view}", "UNKNOWN", "1.2", laterality=side, view=view) for side in "LR" for view in ("CC", "MLO")
    ]
    found, notes = named(*images)
    assert set(found.values()) == {"UNKNOWN_L", "UNKNOWN_R"}
    assert notes == [
        "Patient ID UNKNOWN of 4 images is a placeholder, and counts as one patient, since headers and folders tell of "
        "one exam alone (first: LCC)"
    ]


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ({"birth_date": "19500203"}, {"birth_date": "19610101"}, "'s Birth Date (0010,0030): 19500203, 19610101"),
        ({"sex": "F"}, {"sex": "M"}, "'s Sex (0010,0040): F, M"),
        ({"age": 45, "exam_time": "20180101"}, {"age": 62, "exam_time": "20190101"}, "'s Age (0010,1010): 45 to 62"),
        ({"issuer": "Site A"}, {"issuer": "Site B"}, "Issuer of Patient ID (0010,0021): Site A, Site B"),
        ({"age": 41}, {"age": 71}, "'s Age (0010,1010): 41 to 71"),
    ],
)  # fmt: skip
def test_one_id_of_people_who_contradict_each_other_is_several_patients(one, other, why):
    images = [image("a/1", "1", "1.2.1", **one), image("b/1", "1", "1.2.2", **other), image("c/1", "2", "1.2.3")]
    found, notes = named(*images)
    assert found == {"a/1": "a_L", "b/1": "b_L", "c/1": "2_L"}
    assert notes[0].startswith("Patient ID 1 of 2 images is not one person's (")
    assert f"{why}): each of these exams counts as a patient of its own" in notes[0]
    assert named(*images, trusted=("1",)) == ({"a/1": "1_1.2.1_L", "b/1": "1_1.2.2_L", "c/1": "2_L"}, [])


def test_0_is_a_patient_where_patients_are_numbered():
    images = [image("a/1", "0", "1.2.1"), image("b/1", "0", "1.2.2"), image("c/1", "1", "1.2.3")]
    assert named(*images) == ({"a/1": "0_1.2.1_L", "b/1": "0_1.2.2_L", "c/1": "1_L"}, [])
    assert named(*images[:2])[0] == {"a/1": "a_L", "b/1": "b_L"}


def test_an_id_of_more_exams_than_a_person_has_is_several_patients():
    found, notes = named(*(image(f"{i}/1", "STUDY", f"1.2.{i}") for i in range(21)))
    assert len({breast.removesuffix("_L") for breast in found.values()}) == 21
    assert notes[0].startswith("Patient ID STUDY of 21 images has 21 exams, more than a person")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"birth_date": "19000101"}, {"birth_date": "19610101"}),
        ({"sex": "F"}, {"sex": "O"}),
        ({"age": 45, "exam_time": "20180101"}, {"age": 50, "exam_time": "20221231"}),
        ({"age": 90, "exam_time": "20150101"}, {"age": 90, "exam_time": "20221231"}),
        ({"age": 45}, {"age": 52}),
    ],
)
def test_what_one_person_may_say_over_the_years_keeps_its_patient(one, other):
    found, notes = named(image("1", "7", "1.2.1", **one), image("2", "7", "1.2.2", **other))
    assert list(found.values()) == ["7_1.2.1_L", "7_1.2.2_L"]
    assert not notes


def test_an_image_without_id_is_of_the_patient_of_its_study():
    found, notes = named(image("a/1", "7", "1.2"), image("a/2", "", "1.2", view="MLO"), image("a/3", "", "1.3"))
    assert found == {"a/1": "7_L", "a/2": "7_L", "a/3": "a_L"}
    assert notes[0].startswith("1 images have no Patient ID")


def test_a_guessed_patient_is_never_one_that_a_header_names():
    assert named(image("77/1"), image("x/1", "77"))[0] == {"77/1": "77/1_L", "x/1": "77_L"}


@pytest.mark.parametrize(
    "said", [("1.2.1", "", "1.2.2", ""), ("", "20180305", "", "20220305"), ("1.2.1", "20180305", "", "20220101")]
)
def test_exams_of_a_patient_are_told_apart_by_study_and_date(said):
    first, then, second, later = said
    images = [
        image(f"{i}", "7", study, exam_time=time) for i, (study, time) in enumerate([(first, then), (second, later)])
    ]
    assert len(set(named(*images)[0].values())) == 2


def test_what_has_no_study_is_put_into_an_exam_and_it_is_said():
    images = [
        image("a/1", "7", "1.2", exam_time="20180305"), image("a/2", "7", exam_time="2018030510", view="MLO"),
        image("b/1", "8", "1.3"), image("b/2", "8", view="MLO"),
        image("c/2018/1", "9"), image("c/2018/2", "9", view="MLO"), image("c/2022/1", "9"),
    ]  # fmt: skip
    found, notes = named(*images)
    assert list(found.values()) == ["7_L", "7_L", "8_L", "8_L", "9_c/2018_L", "9_c/2018_L", "9_c/2022_L"]
    assert notes == [
        "5 images have no Study Instance UID (0020,000D), and were put into exams: 1 by date, 3 by folder, 1 as their "
        "patient's only exam (first: a/2, b/2, c/2018/1 and 2 more)"
    ]


def test_a_study_uid_of_several_days_or_people_tells_nothing():
    days = [image(f"{year}/1", "7", "1.2", exam_time=f"{year}0305") for year in (2018, 2022)]
    found, notes = named(*days)
    assert list(found.values()) == ["7_20180305_L", "7_20220305_L"]
    assert notes[0] == (
        "1 Study Instance UIDs (0020,000D) stand for images of several days or people, and are passed over (first: 1.2)"
    )
    converted = [image(f"{day}/1", "7", "1.2", exam_time=f"2022111{day}") for day in (8, 9)]
    assert named(*converted) == ({"8/1": "7_L", "9/1": "7_L"}, [])
    people = [image(f"{year}/1", "ANON", "1.2", birth_date=f"{year}0101") for year in (1950, 1960)]
    assert list(named(*people)[0].values()) == ["1950_L", "1960_L"]
    crowd = [image(str(number), "ANON", "1.2") for number in range(5)]
    assert len(set(named(*crowd)[0].values())) == 5
    assert len(set(named(*crowd[:4])[0].values())) == 1


def four(folder, patient, study="", **said):
    return [image(f"{folder}/{side}{view}", patient, study, laterality=side, view=view, **said)
            for side in "LR" for view in ("CC", "MLO")]  # fmt: skip


@pytest.mark.parametrize("patient", ["", "ANONYMOUS", "ANON-0001"])
@pytest.mark.parametrize("folders", [2, 4, 5])
@pytest.mark.parametrize("below", ["", "/DICOM", "/{side}"])
def test_one_study_uid_for_several_people_of_one_placeholder_makes_no_two_of_them_one(patient, folders, below):
    images = [
        one | {"path": one["path"].format(side=one["laterality"])}
        for number in range(folders)
        for one in four(f"p{number}{below}", patient, "1.2")
    ]
    found, notes = named(*images)
    assert all(breast.startswith(path[:2]) for path, breast in found.items())
    assert len(set(found.values())) == 2 * folders
    assert any("is a placeholder: each" in note or "no Patient ID" in note for note in notes)
    assert any(note.startswith("1 Study Instance UIDs") for note in notes)


@pytest.mark.parametrize("said", [{"age": 60}, {"sex": "M"}, {"birth_date": "19700303"}])
def test_people_of_one_study_uid_who_contradict_each_other_are_told_apart(said):
    one = image("p0/1", "ANON", "1.2", age=50, sex="F", birth_date="19600101")
    other = image("p1/1", "ANON", "1.2", view="MLO", **({"age": 50, "sex": "F", "birth_date": "19600101"} | said))
    assert set(named(one, other)[0].values()) == {"p0_L", "p1_L"}
    same = image("p1/1", "ANON", "1.2", view="MLO", age=52, sex="F", birth_date="1960.01.01")
    assert set(named(one, same)[0].values()) == {"ANON_L"}


@pytest.mark.parametrize(
    "again",
    [{"intent": "FOR PROCESSING"}, {"kind": "generated 2D"}, {"view": "ML"}, {"view": "", "laterality": "R"}, {}],
)
def test_series_folders_of_one_exam_keep_it_one(again):
    images = [one | {"path": f"s{i}/{one['path']}"} for i, one in enumerate(four("x", "ANON", "1.2"))]
    assert set(named(*images, image("s9/x/1", "ANON", "1.2", **again))[0].values()) == {"ANON_L", "ANON_R"}


@pytest.mark.parametrize("patient", ["ANON-0001", "ANON-0000", "anon1", "Removed-7", "9999", "-1"])
def test_an_id_that_may_be_a_pseudonym_names_nobody_where_it_is_the_only_one_of_its_kind(patient):
    images = [*four("a/p0", patient, "1.2.1"), *four("a/p1", patient, "1.2.2"), *four("b", "X7", "1.2.3")]
    found, notes = named(*images)
    assert set(found.values()) == {"a/p0_L", "a/p0_R", "a/p1_L", "a/p1_R", "X7_L", "X7_R"}
    assert notes[0].startswith(f"Patient ID {patient} of 8 images is a placeholder: ")
    beside = patient[:-1] + ("8" if patient == "9999" else "2")
    assert named(*images, *four("c", beside, "1.2.4"))[0]["a/p0/LCC"] == f"{patient}_1.2.1_L"


@pytest.mark.parametrize(
    "folders", [("2018", "2022"), ("x/2018-03-05", "x/2022-03-05"), ("ANON-0001/a", "ANON-0001/b")]
)
@pytest.mark.parametrize("others", [True, False])
def test_exams_of_a_pseudonym_in_its_own_or_dated_folders_are_of_one_patient_without_a_word(folders, others):
    images = [one for i, folder in enumerate(folders) for one in four(folder, "ANON-0001", f"1.2.{i}")]
    images += four("z", "10006", "1.2.7") * others
    assert set(named(*images)[0].values()) >= {"ANON-0001_1.2.0_L", "ANON-0001_1.2.1_R"}
    assert not named(*images)[1]


def test_a_patient_of_several_institutions_is_said_and_kept():
    first, second = four("a", "1", "1.2.1", institution="St. Mary"), four("b", "1", "1.2.2", institution="ST MARY ")
    assert not named(*first, *second)[1]
    third = four("c", "1", "1.2.3", institution="Charité")
    found, notes = named(*first, *second, *third)
    assert len(set(found.values())) == 6
    assert notes == [
        "1 Patient IDs have images of several Institutions (0008,0080), and are taken for one patient each (first: 1, "
        "of Charité, ST MARY , St. Mary)"
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"birth_date": "19600101"}, {"birth_date": "1960.01.01"}),
        ({"birth_date": "19600101"}, {"birth_date": "11111111"}),
        ({"issuer": "HospA"}, {"issuer": "HOSPA"}),
        ({"issuer": "Hosp  A"}, {"issuer": "Hosp A"}),
    ],
)
def test_one_fact_in_two_spellings_makes_no_two_patients(one, other):
    found, notes = named(image("a/1", "P", "1.2.1", **one), image("b/1", "P", "1.2.2", **other))
    assert list(found.values()) == ["P_1.2.1_L", "P_1.2.2_L"]
    assert not notes


def test_a_view_that_comes_again_in_another_folder_on_one_day_is_of_another_exam():
    images = [*four("2018", "P", exam_time="20180305"), *four("2022", "P", exam_time="20180305")]
    found, notes = named(*images)
    assert set(found.values()) == {"P_2018_L", "P_2018_R", "P_2022_L", "P_2022_R"}
    assert "8 by folder" in notes[0]
    series = [one | {"path": f"s{i}/1"} for i, one in enumerate([*images[:4], images[0]])]
    assert set(named(*series)[0].values()) == {"P_L", "P_R"}


def test_a_study_of_several_ids_is_said_since_one_woman_may_be_in_two_folds():
    images = [image("a", "P1", "1.2.1"), image("b", "P1-NEW", "1.2.1", view="MLO"), image("c", "P2", "1.2.2")]
    found, notes = named(*images)
    assert found == {"a": "P1_L", "b": "P1-NEW_L", "c": "P2_L"}
    assert notes[0].startswith(
        "1 Study Instance UIDs (0020,000D) have several Patient IDs (0010,0020), each of which counts as a patient "
        "(first: 1.2.1, of P1, P1-NEW)"
    )
    assert named(*images[::2])[1] == []


@pytest.mark.parametrize(("one", "other"), [("00123", "123"), ("ab-1", "AB1"), ("A 07", "a-7")])
def test_ids_that_are_spelt_alike_are_several_patients_which_is_said(one, other):
    images = [image("a", one, "1.2.1"), image("b", other, "1.2.2", birth_date="19500101"), image("c", "9", "1.2.3")]
    found, notes = named(*images)
    assert len(set(found.values())) == 3
    assert notes[0].startswith("1 times Patient IDs (0010,0020) differ in capitals, zeros or signs alone")
    assert f"(first: {one}, {other})" in notes[0]
    born = image("a", one, "1.2.1", birth_date="19410302")
    assert named(born, *images[1:])[1] == []


def test_ids_of_other_numbers_or_words_are_not_alike():
    ids = ("1", "10", "100", "1-0", "A1", "B1", "A-11", "A-1-1", "0")
    assert named(*(image(one, one, f"1.2.{place}") for place, one in enumerate(ids)))[1] == []
