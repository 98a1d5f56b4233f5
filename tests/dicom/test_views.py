"""Side and view from tags, codes and texts; what is guessed and what contradicts it is noted."""

import pytest

from rsna.dicom import open_mammogram
from rsna.dicom.views import read_text
from tests.dicom_files import breast, code, dicom_bytes

FILM = breast(8, 8)


def tags_of(**elements):
    elements = {"ImageLaterality": None, "ViewPosition": None} | elements
    return open_mammogram(dicom_bytes(FILM, **elements)).tags


TEXTS = """
    RXCC: R -; LLAT: L -; R LAT: R -; LOBL: L -; RCCMAG: R CC; medio-lateral projection: - ML
    RCC: R CC; R MLO: R MLO; L-CC: L CC; MLO LEFT: L MLO; rcc: R CC; lmlo: L MLO; R_CC_1: R CC; MLO(L): L MLO
    CC-R: R CC
    ML: - ML; LM: - LM; LMO: - LMO; XCCL: - XCCL; XCCM: - XCCM; SIO: - SIO; ISO: - ISO; CV: - CV; AT: - AT; FB: - FB
    RML: R ML; LML: L ML; RLM: R LM; LLM: L LM; LMLO: L MLO; RLMO: R LMO; LISO: L ISO; RXCCL: R XCCL; L AT: L AT
    RAT: R AT
    LMCC: L CC; RMMLO: R MLO; RSMLO: R MLO; RCCID: R CC; L MLO ID: L MLO; R ID MLO: R MLO
    MLO links: L MLO; CC rechts: R CC; CC re: R CC; MLO li.: L MLO; Kraniokaudal rechts: R CC
    mediolateral schräg: - MLO
    CC gauche: L CC; MLO droit: R MLO; médio-latéral oblique gauche: L MLO; crânio-caudal: - CC; CC derecha: R CC
    cranio-caudal: - CC; medio-lateral oblique: - MLO; medio-lateral: - ML; latero-medial: - LM
    Left cranio-caudal: L CC
    cranio-caudal exaggerated laterally: - XCCL; caudo-cranial (from below): - FB; latero-medial oblique: - LMO
    MAMMOGRAPHY, RCC: R CC; R-MLO 2D: R MLO; left breast: L -; RIGHT: R -; L: L -
    R CC / L CC: - CC; L CC/MLO: L -; LCC RMLO: - -; Mammo R+L: - -; LAT: - -; Routine: - -; bilateral screening: - -
    5 ml contrast at 3 pm: - -; Re: two CC views: - CC; axial: - -; CCL: - -; : - -
    MLOR: R MLO; MLOL: L MLO; MLOLAT: - -
"""


@pytest.mark.parametrize("line", [line.strip() for one in TEXTS.strip().splitlines() for line in one.split("; ")])
def test_a_text_tells_side_and_view_where_it_names_one_of_each(line):
    text, _, meant = line.rpartition(":")
    assert read_text(text) == tuple(word.strip("-") for word in meant.split())


@pytest.mark.parametrize(
    ("elements", "laterality", "note"),
    [
        ({"ImageLaterality": "R"}, "R", ""),
        ({"Laterality": "R"}, "R", ""),
        ({"ImageLaterality": "", "Laterality": "L"}, "L", ""),
        ({"ImageLaterality": "left"}, "L", ""),
        ({"ImageLaterality": "RECHTS"}, "R", ""),
        ({"AnatomicRegionSequence": code("80248007")}, "L", ""),
        ({"AnatomicRegionSequence": code("76752008", AnatomicRegionModifierSequence=code("G-A100"))}, "R", ""),
        (
            {"ImageLaterality": "U", "Laterality": "R"},
            "R",
            "(0020,0060) Laterality 'R', as (0020,0062) Image Laterality is 'U'",
        ),
        ({"ImageLaterality": "B"}, "", ""),
        ({"ImageLaterality": "U", "ViewPosition": "RCC"}, "R", "(0018,5101) View Position 'RCC', as (0020,0062)"),
        ({"ViewPosition": "R MLO"}, "R", "(0018,5101) View Position 'R MLO'"),
        ({"AcquisitionDeviceProcessingDescription": "L-CC"}, "L", "(0018,1400)"),
        ({"ViewCodeSequence": code("399162004", "left cranio-caudal")}, "L", "(0054,0220)"),
        ({"SeriesDescription": "R MLO"}, "R", "(0008,103E)"),
        ({"ProtocolName": "MLO left"}, "L", "(0018,1030)"),
        ({"SeriesDescription": "Diagnostic left"}, "", ""),
        ({"ViewPosition": "CC"}, "", ""),
    ],
)
def test_laterality_is_read_from_the_first_that_tells_and_a_guess_is_noted(elements, laterality, note):
    tags = tags_of(**elements)
    assert tags.laterality == laterality
    said = [line for line in tags.notes if line.startswith("the laterality is read from")]
    assert len(said) == bool(note)
    assert note in "".join(said)


@pytest.mark.parametrize(
    ("elements", "view", "note"),
    [
        ({"ViewPosition": "mlo"}, "MLO", ""),
        ({"ViewCodeSequence": code("399162004")}, "CC", ""),
        ({"ViewCodeSequence": code("R-10226")}, "MLO", ""),
        ({"ViewPosition": "ML", "ViewCodeSequence": code("399260004")}, "ML", ""),
        ({"ViewCodeSequence": code("?", "medio-lateral oblique")}, "MLO", "(0054,0220)"),
        ({"ViewPosition": "R MLO"}, "MLO", "(0018,5101) View Position 'R MLO'"),
        ({"ViewPosition": "UNKNOWN", "ViewCodeSequence": code("399162004")}, "CC", "(0054,0220)"),
        ({"AcquisitionDeviceProcessingDescription": "R MLO"}, "MLO", "(0018,1400)"),
        ({"ViewPosition": "AP", "AcquisitionDeviceProcessingDescription": "RCC"}, "CC", "(0018,1400)"),
        ({"SeriesDescription": "L XCCL"}, "XCCL", "(0008,103E)"),
        ({"ProtocolName": "MLO links"}, "MLO", "(0018,1030)"),
        ({"ViewPosition": "Axilla"}, "AXILLA", ""),
        ({}, "", ""),
    ],
)
def test_a_view_is_read_from_the_first_that_tells_and_a_guess_is_noted(elements, view, note):
    tags = tags_of(**elements)
    assert tags.view == view
    said = [line for line in tags.notes if line.startswith("the view is read from")]
    assert len(said) == bool(note)
    assert note in "".join(said)


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"ImageLaterality": "L", "Laterality": "R"}, "(0020,0060) Laterality 'R'"),
        ({"ImageLaterality": "L", "ViewPosition": "RCC"}, "(0018,5101) View Position 'RCC'"),
        ({"ImageLaterality": "L", "AcquisitionDeviceProcessingDescription": "R MLO"}, "(0018,1400)"),
        ({"Laterality": "L", "AnatomicRegionSequence": code("73056007")}, "(0008,2218)"),
    ],
)
def test_the_headers_own_side_stands_and_what_contradicts_it_is_noted(elements, said):
    tags = tags_of(**elements)
    assert tags.laterality == "L"
    contradictions = [note for note in tags.notes if note.startswith("the laterality of")]
    assert len(contradictions) == 1
    assert said in contradictions[0]


def test_the_headers_own_view_stands_and_what_contradicts_it_is_noted():
    for elements in (
        {"ViewPosition": "CC", "ViewCodeSequence": code("399368009")},
        {"ViewPosition": "CC", "AcquisitionDeviceProcessingDescription": "R MLO"},
    ):
        tags = tags_of(**elements)
        assert tags.view == "CC"
        assert "the view of (0018,5101) View Position 'CC' stands, though" in "".join(tags.notes)
    agreeing = tags_of(ImageLaterality="R", ViewPosition="CC", AcquisitionDeviceProcessingDescription="RCC")
    assert agreeing.notes == ()
    # One description may stand in every image of a series.
    assert tags_of(ImageLaterality="R", ViewPosition="CC", SeriesDescription="L MLO").notes == ()


def test_a_side_alone_is_no_view():
    for text in ("LEFT", "L"):
        tags = tags_of(ViewPosition=text)
        assert (tags.laterality, tags.view) == ("L", "")
