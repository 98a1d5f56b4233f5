"""Ids that name nobody, and ages as headers have them."""

import pytest

from rsna.dataset.identities import age_in_years, is_placeholder


@pytest.mark.parametrize(
    ("text", "years"),
    [("040Y", 40), ("050Y", 50), ("100Y", 100), ("018M", 1), ("120W", 2), ("400D", 1), ("61Y", 61), ("000Y", 0),
     ("", None), ("Y", None), ("061", None), ("old", None)],
)  # fmt: skip
def test_ages_are_whole_years(text, years):
    assert age_in_years(text) == years


@pytest.mark.parametrize(
    "patient",
    ["", "ANON", "Anonymous", "ANONYMOUS^PATIENT", "anonymized", "UNKNOWN", "0", "000", "None", "PATIENT", "XXXX",
     "de-identified", "DEIDENTIFIED", "N/A", "nan", "---", "Patient ID", "no id", "TEST", "REMOVED", "匿名",
     "NOT AVAILABLE", "Removed by Horos", "Anonymus", "Anónimo",
     "desconocido", "inconnue", "sconosciuto", "keine Angabe",
     "Mustermann^Erika", "9999999999", "-1", "00000000", "11111111", "匿名化", "unknown unknown", "****"],
)  # fmt: skip
def test_ids_that_name_nobody(patient):
    assert is_placeholder(patient)


@pytest.mark.parametrize(
    "patient",
    [
        "1",
        "10006",
        "P0",
        "ANON_0012",
        "patient 5",
        "TCGA-01",
        "1.2.840.0",
        "田中",
        "X1",
        "Ann",
        "ANON-0001",
        "anon1",
        "999",
        "1111",
        "Kearney",
        "Removal^Anna",
        "Givens",
        "12-7",
    ],
)
def test_ids_that_name_somebody(patient):
    assert not is_placeholder(patient)
