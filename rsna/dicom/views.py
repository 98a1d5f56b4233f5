"""Side and view of a mammogram: from tags and codes, else from text as vendors write it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from pydicom.dataset import Dataset

from rsna.dicom.elements import Elements, items_of, label, shown, values_of

# (0054,0220) View Code Sequence → (0018,5101) View Position: PS3.16 CID 4014, SNOMED CT and, as older machines
# write it, SNOMED RT.
_VIEW_CODES = {
    "399162004": "CC", "R-10242": "CC",
    "399368009": "MLO", "R-10226": "MLO",
    "399260004": "ML", "R-10224": "ML",
    "399352003": "LM", "R-10228": "LM",
    "399099002": "LMO", "R-10230": "LMO",
    "399196006": "FB", "R-10244": "FB",
    "399188001": "SIO", "R-102D0": "SIO",
    "441555000": "ISO", "R-40AAA": "ISO",
    "399192008": "XCCL", "R-1024A": "XCCL",
    "399101009": "XCCM", "R-1024B": "XCCM",
    "127457009": "SPECIMEN", "G-8310": "SPECIMEN",
}  # fmt: skip

# (0054,0222) View Modifier Code Sequence: PS3.16 CID 4015.
_MODIFIER_CODES = {
    "399163009": "magnified", "R-102D6": "magnified",
    "399055006": "spot compression", "R-102D7": "spot compression",
    "399209000": "implant displaced", "R-102D5": "implant displaced",
    "399161006": "cleavage", "R-102D2": "cleavage",
    "399011000": "axillary tail", "R-102D1": "axillary tail",
    "442580003": "axillary tissue", "R-40AB2": "axillary tissue",
    "399197002": "rolled lateral", "R-102D3": "rolled lateral",
    "399226006": "rolled medial", "R-102D4": "rolled medial",
    "414493004": "rolled inferior", "R-102CA": "rolled inferior",
    "415670009": "rolled superior", "R-102C9": "rolled superior",
    "399110001": "tangential", "R-102C2": "tangential",
    "442581004": "nipple in profile", "R-40AB3": "nipple in profile",
    "441752004": "anterior compression", "P2-00161": "anterior compression",
    "442593008": "infra-mammary fold", "R-40ABE": "infra-mammary fold",
}  # fmt: skip

# (0008,2218) Anatomic Region Sequence and its modifiers: PS3.16 CID 244 and the sided breasts.
_SIDE_CODES = {
    "7771000": "L", "G-A101": "L", "80248007": "L", "T-04030": "L",
    "24028007": "R", "G-A100": "R", "73056007": "R", "T-04020": "R",
}  # fmt: skip

_SIDES = {
    "L": "L LT LEFT LI LINKS LINKE LINKER GAUCHE SINISTRA SINISTRO IZQUIERDA IZQUIERDO ESQUERDA",
    "R": "R RT RIGHT RE RECHTS RECHTE RECHTER DROIT DROITE DESTRA DESTRO DERECHA DERECHO DIREITA",
}
_SIDE_OF = {word: side for side, words in _SIDES.items() for word in words.split()}
_SIDE_WORDS = {word for word in _SIDE_OF if len(word) > 3}

_VIEWS = ("CC", "MLO", "ML", "LM", "LMO", "XCCL", "XCCM", "FB", "SIO", "ISO", "CV", "AT")
_SPELT_OUT = (
    (r"CAUDO ?CRANIAL\w*(?: FROM BELOW)?", "FB"),
    (r"[CK]RANIO ?[CK]AUDAL\w* EXAG\w* LATERAL\w*", "XCCL"),
    (r"[CK]RANIO ?[CK]AUDAL\w* EXAG\w* MEDIAL\w*", "XCCM"),
    (r"[CK]RANIO ?[CK]AUDAL\w*", "CC"),
    (r"MEDIO ?LATERAL\w* (?:OBL\w*|SCHRAE?G\w*)", "MLO"),
    (r"LATERO ?MEDIAL\w* (?:OBL\w*|SCHRAE?G\w*)", "LMO"),
    (r"MEDIO ?LATERAL\w*", "ML"),
    (r"LATERO ?MEDIAL\w*", "LM"),
)  # fmt: skip

_SIDE, _VIEW = "|".join(sorted(_SIDE_OF, key=len, reverse=True)), "|".join(sorted(_VIEWS, key=len, reverse=True))
# Abbreviations that leave the view open: lateral, whichever way; exaggerated, whichever way; oblique; tangential.
_OPEN = "LAT|XCC|OBL|TAN"
# RCC, R MLO, L-CC, R ID MLO, RMCC (M: magnified) and RCCID as the ACR abbreviates them.
_SIDE_FIRST = re.compile(rf"\b(?!LAT\b)({_SIDE}) ?(?:(?:M|S|ID|RL|RM) ?)?({_VIEW}|{_OPEN})(?:ID|RL|RM|MAG|SPOT)?\b")
_VIEW_FIRST = re.compile(rf"\b(?!AT\b)({_VIEW}) ({_SIDE})\b")
_VIEW_THEN_LETTER = re.compile(r"\b(MLO)([LR])\b")  # CCL may be a lateral one
# What else might stand in a text (ML: millilitres, AT, …) is a view only beside a side, or alone.
_VIEW_ALONE = re.compile(r"\b(CC|MLO|XCCL|XCCM|LMO|SIO)(?:ID)?\b")


# Texts that name the image they stand in, then those that may name the whole series.
_OWN_TEXTS = ("ViewPosition", "AcquisitionDeviceProcessingDescription")
_SERIES_TEXTS = ("SeriesDescription", "ProtocolName")


def read_text(text: str) -> tuple[str, str]:
    """The side ("L", "R", else "") and the view (else "") that a text names, each where it names one alone."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().upper()
    plain = re.sub(r"[^A-Z0-9]+", " ", plain).strip()
    views = set()
    for spelling, view in _SPELT_OUT:
        plain, count = re.subn(rf"\b{spelling}\b", view, plain)
        views |= {view} if count else set()
    if plain.count(" ") > 1:  # "re" is a side in "MLO re", not in a sentence
        plain = re.sub(r"\b(RE|LI)\b", "", plain)
    pairs = [(side, view) for side, view in _SIDE_FIRST.findall(plain)]
    pairs += [(side, view) for view, side in _VIEW_FIRST.findall(plain) + _VIEW_THEN_LETTER.findall(plain)]
    sides = {_SIDE_OF[side] for side, _ in pairs} | {_SIDE_OF[word] for word in plain.split() if word in _SIDE_WORDS}
    views |= {view for _, view in pairs if view in _VIEWS} | set(_VIEW_ALONE.findall(plain))
    if plain in _VIEWS:
        views = {plain}
    elif plain in _SIDE_OF:
        sides = {_SIDE_OF[plain]}
    return sides.pop() if len(sides) == 1 else "", views.pop() if len(views) == 1 else ""


def read_laterality(elements: Elements) -> str:
    """ "L" or "R", "" where nothing tells.

    (0020,0062) Image Laterality, (0020,0060) Laterality, (0020,9072) Frame Laterality, the codes of the anatomic
    region, then texts. What is found in a text, or behind a tag that says something else, is noted, and so is what
    contradicts it.
    """
    found = list(_sides(elements))
    if not found:
        return ""
    side, source, guessed = found[0]
    unusable = ""
    for tag in ("ImageLaterality", "Laterality"):
        if source.startswith(label(tag)):
            break
        if values := elements.values(tag):
            unusable = unusable or f", as {label(tag)} is {shown(values)}"
    if guessed or unusable:
        elements.note(f"the laterality is read from {source}{unusable}")
    _note_contradictions(elements, "laterality", found)
    return side


def _sides(elements: Elements) -> Iterator[tuple[str, str, bool]]:
    """Side, where it stands, and whether that is a text, in the order of trust."""
    for tag in ("ImageLaterality", "Laterality", "FrameLaterality"):
        values = elements.values(tag)
        if values and (side := read_text(str(values[0]))[0]):
            yield side, f"{label(tag)} {shown(values)}", False
    for region in elements.items("AnatomicRegionSequence"):
        for item in (region, *items_of(region, "AnatomicRegionModifierSequence")):
            if side := _SIDE_CODES.get(_code(item), ""):
                yield side, label("AnatomicRegionSequence"), False
    for side, _, source in _texts(elements):
        if side:
            yield side, source, True


def read_view(elements: Elements) -> str:
    """CC, MLO, ML, …, as (0018,5101) View Position has them; "" where nothing tells.

    View Position, the code of (0054,0220) View Code Sequence, then texts, which is noted, as are contradictions. A
    View Position that is no view of the standard's stands where nothing else tells.
    """
    found = list(_views(elements))
    position = elements.text("ViewPosition").upper()
    if not found:
        return "" if position in _SIDE_OF else position
    view, source, guessed = found[0]
    if guessed or (position and position not in _VIEWS):
        elements.note(f"the view is read from {source}")
    # Cleavage and axillary tail are modifiers beside another view's code (PS3.16 CID 4015).
    _note_contradictions(elements, "view", [one for one in found if one[0] not in ("CV", "AT")])
    return view


def _views(elements: Elements) -> Iterator[tuple[str, str, bool]]:
    position = elements.text("ViewPosition").upper()
    if position in _VIEWS:
        yield position, f"{label('ViewPosition')} {shown([position])}", False
    for item in elements.items("ViewCodeSequence"):
        if view := _VIEW_CODES.get(_code(item)):
            yield view, f"{label('ViewCodeSequence')} {shown([view])}", False
    for _, view, source in _texts(elements):
        if view:
            yield view, source, True


def _texts(elements: Elements) -> Iterator[tuple[str, str, str]]:
    """Side and view of each text that names any, and where it stands."""
    own = [(tag, elements.text(tag)) for tag in _OWN_TEXTS]
    own += [("ViewCodeSequence", text) for item in elements.items("ViewCodeSequence")
            for text in map(str, values_of(item, "CodeMeaning"))]  # fmt: skip
    for tag, text in own:
        yield *read_text(text), f"{label(tag)} {shown([text])}"
    for tag in _SERIES_TEXTS:
        side, view = read_text(elements.text(tag))
        # "Diagnostic left" is what was ordered, "L MLO" an image.
        yield side if view else "", view, f"{label(tag)} {shown([elements.text(tag)])}"


def _note_contradictions(elements: Elements, what: str, found: list[tuple[str, str, bool]]) -> None:
    for value, source, _ in found[1:]:
        # One description may stand in every image of a series.
        if value != found[0][0] and not source.startswith(tuple(map(label, _SERIES_TEXTS))):
            elements.note(f"the {what} of {found[0][1]} stands, though {source} says another")


def read_modifiers(elements: Elements) -> tuple[str, ...]:
    """What (0054,0222) View Modifier Code Sequence says: magnified, spot compression, …"""
    found = elements.items("ViewModifierCodeSequence")
    for item in elements.items("ViewCodeSequence"):
        found = found + items_of(item, "ViewModifierCodeSequence")
    return tuple(dict.fromkeys(name for item in found if (name := _MODIFIER_CODES.get(_code(item)))))


def _code(item: Dataset) -> str:
    return str((values_of(item, "CodeValue") or [""])[0])
