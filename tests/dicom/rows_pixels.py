"""Rows about files that are in order: every transfer syntax, every grayscale element."""

import io

import cv2
import numpy as np
import pydicom
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from rsna.dicom import UnsupportedSyntax, open_mammogram, read_mammogram
from rsna.dicom.syntax import GE_PRIVATE
from tests.dicom.rows import ROWS, refuse, row
from tests.dicom_files import LOSSLESS, breast, dicom_bytes, encode, encode_jpeg2000, lut_item


def check_syntax(syntax: str, bits_stored: range | tuple[int, ...] = range(8, 17), error: int = 0) -> None:
    """Bits × precision × sign × photometric interpretation, stored values and displayed ones."""
    for bits in bits_stored:
        for signed in (False, True) if error == 0 else (False,):
            stored = breast(33, 46, bits, signed=signed)
            low = stored.min()
            for precision in {bits, 8 * stored.dtype.itemsize} if bits_stored == range(8, 17) else {bits}:
                for photometric in ("MONOCHROME1", "MONOCHROME2"):
                    data = dicom_bytes(stored, bits, syntax, precision=precision, PhotometricInterpretation=photometric)
                    mammogram = open_mammogram(data)
                    decoded = mammogram.decode()
                    assert decoded.dtype == stored.dtype
                    assert np.abs(decoded.astype(int) - stored).max() <= error
                    share = (decoded.astype(np.float64) - low) / ((1 << bits) - 1)
                    expected = 1 - share if photometric == "MONOCHROME1" else share
                    np.testing.assert_allclose(mammogram.display(), expected.clip(0, 1), atol=1e-6)
                    assert (mammogram.levels > 0) == ("2k" in syntax or "2000" in syntax)


for _name, _arguments in {
    "Implicit VR Little Endian": ("implicit",),
    "Explicit VR Little Endian": ("explicit",),
    "Deflated Explicit VR Little Endian": ("deflated",),
    "Explicit VR Big Endian": ("big_endian",),
    "Encapsulated Uncompressed Explicit VR Little Endian": ("in_fragment",),
    "RLE Lossless": ("rle",),
    "JPEG Baseline": ("jpeg_baseline", (8,), 9),
    "JPEG Extended": ("jpeg_extended", (12,), 50),
    "JPEG Lossless, Process 14": ("jpeg_lossless_57",),
    "JPEG Lossless, First-Order Prediction": ("jpeg_lossless",),
    "JPEG-LS Lossless": ("jpeg_ls",),
    "JPEG-LS Near-Lossless": ("jpeg_ls_lossy", range(8, 17), 2),
    "JPEG 2000 Lossless": ("jpeg2000",),
    "JPEG 2000": ("jpeg2000_lossy", (8, 10, 12), 40),
    "HTJ2K Lossless": ("htj2k",),
    "HTJ2K": ("htj2k_lossy", (8, 10, 12), 120),
}.items():
    ROWS[_name] = lambda arguments=_arguments: check_syntax(*arguments)


@row("GE's private 1.2.840.113619.5.2")
def _():
    for signed in (False, True):
        stored = breast(signed=signed)
        frame = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
        data = dicom_bytes(stored, 12, "implicit", frame=frame, label=GE_PRIVATE)
        np.testing.assert_array_equal(open_mammogram(data).decode(), stored)
    refuse(UnsupportedSyntax, dicom_bytes(breast(bits=8), 8, "implicit", label=GE_PRIVATE))


def check_against_pydicom(low: float = 0, high: float = 4095, **elements: object) -> None:
    """Every lossless syntax displays what pydicom makes of the stored values."""
    stored = breast()
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        for syntax in LOSSLESS:
            data = dicom_bytes(stored, 12, syntax, PhotometricInterpretation=photometric, **elements)
            dataset = pydicom.dcmread(io.BytesIO(data))
            values = apply_voi_lut(apply_modality_lut(stored, dataset), dataset)
            expected = (values.astype(np.float64) - low) / (high - low)
            expected = 1 - expected if photometric == "MONOCHROME1" else expected
            np.testing.assert_allclose(read_mammogram(data), expected, atol=1e-6)


@row("Window Center and Width, LINEAR")
def _():
    check_against_pydicom(WindowCenter=1800.5, WindowWidth=901.25)
    check_against_pydicom(WindowCenter=1800.5, WindowWidth=901.25, VOILUTFunction="LINEAR")


@row("Window Center and Width, LINEAR_EXACT")
def _():
    check_against_pydicom(WindowCenter=1800.5, WindowWidth=0.5, VOILUTFunction="LINEAR_EXACT")


@row("Window Center and Width, SIGMOID")
def _():
    check_against_pydicom(WindowCenter=1802.31, WindowWidth=1091.97, VOILUTFunction="SIGMOID")


@row("several windows")
def _():
    elements = {"WindowCenter": [2000, 900], "WindowWidth": [500, 300], "WindowCenterWidthExplanation": ["A", "B"]}
    check_against_pydicom(**elements)
    data = dicom_bytes(breast(), **elements)
    second = read_mammogram(dicom_bytes(breast(), WindowCenter=900, WindowWidth=300))
    for window in (1, "B", "b"):
        np.testing.assert_array_equal(read_mammogram(data, window=window), second)


@row("VOI LUT Sequence")
def _():
    stored = breast(signed=True)
    for bits in (8, 10, 12, 16):
        entries = np.linspace(0, (1 << bits) - 1, 3000).astype(np.uint16)
        item = lut_item(-1000, bits, entries, signed=True)
        image = read_mammogram(dicom_bytes(stored, VOILUTSequence=[item], WindowCenter=0, WindowWidth=1))
        expected = entries[np.clip(stored.astype(int) + 1000, 0, 2999)] / ((1 << bits) - 1)
        np.testing.assert_allclose(image, expected, atol=1e-6)


@row("Rescale Slope and Intercept")
def _():
    check_against_pydicom(-7, 4095 * 0.5 - 7, RescaleSlope=0.5, RescaleIntercept=-7, WindowCenter=900, WindowWidth=400)
    check_against_pydicom(0, -4095, RescaleSlope=-1, RescaleIntercept=0, WindowCenter=-900, WindowWidth=400)


@row("Modality LUT Sequence")
def _():
    item = lut_item(100, 16, (np.sqrt(np.arange(3000) / 2999) * 65535).astype(np.uint16))
    if_big_endian = item["LUTData"].value
    stored = breast()
    data = dicom_bytes(stored, ModalityLUTSequence=[item], WindowCenter=30000, WindowWidth=10000)
    dataset = pydicom.dcmread(io.BytesIO(data))
    expected = apply_voi_lut(apply_modality_lut(stored, dataset), dataset) / 65535
    np.testing.assert_allclose(read_mammogram(data), expected, atol=1e-6)
    full = np.frombuffer(if_big_endian, "<u2")[np.clip(stored.astype(int) - 100, 0, 2999)] / 65535
    np.testing.assert_allclose(read_mammogram(data, window=None), full, atol=1e-6)


@row("no window")
def _():
    check_against_pydicom()


@row("Pixel Padding Value")
def _():
    for signed in (False, True):
        stored = breast(signed=signed)
        value = int(stored.max())
        for photometric in ("MONOCHROME1", "MONOCHROME2"):
            elements = {"PhotometricInterpretation": photometric, "WindowCenter": 0, "WindowWidth": 10}
            image = read_mammogram(dicom_bytes(stored, PixelPaddingValue=value, **elements))
            plain = read_mammogram(dicom_bytes(stored, **elements))
            np.testing.assert_array_equal(image, np.where(stored == value, 0, plain))
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(breast(bits=16, signed=True), 16)))
    dataset.add_new("PixelPaddingValue", "US", 40000)
    assert open_mammogram(dataset).grayscale.padding == (40000 - 65536, 40000 - 65536)


@row("Pixel Padding Range Limit")
def _():
    stored = breast()
    plain = read_mammogram(dicom_bytes(stored))
    for value, limit in ((1000, 2000), (2000, 1000)):
        image = read_mammogram(dicom_bytes(stored, PixelPaddingValue=value, PixelPaddingRangeLimit=limit))
        np.testing.assert_array_equal(image, np.where((stored >= 1000) & (stored <= 2000), 0, plain))


@row("padding at an earlier level")
def _():
    stored = cv2.GaussianBlur(breast(400, 300), (0, 0), 3)
    stored[:100] = 4095
    small = open_mammogram(dicom_bytes(stored, syntax="jpeg2000", PixelPaddingValue=4095)).display(1)
    assert small[:50].max() == 0
    assert small[50:56].max() <= stored[100:120].max() / 4095 + 0.02


@row("padding in a lossy codestream")
def _():
    stored = (100 + cv2.GaussianBlur(breast(300, 200), (0, 0), 2) // 5).astype(np.uint16)
    padded = stored.copy()
    padded[:, 150:] = 0
    window = {"WindowCenter": 500, "WindowWidth": 1000, "PhotometricInterpretation": "MONOCHROME1"}
    for frame in (encode_jpeg2000(padded, 12, reversible=False, level=70), encode(padded, "jpeg_ls_lossy", 12)):
        syntax = "jpeg2000_lossy" if frame[1] == 0x4F else "jpeg_ls_lossy"
        image, plain = (
            read_mammogram(dicom_bytes(padded, 16, syntax, frame=frame, PixelPaddingValue=value, **window))
            for value in (0, None)
        )
        np.testing.assert_array_equal(image[:, :135], plain[:, :135])
        assert plain[:, 155:].min() > 0.9
        assert image[:, 155:].max() < 0.1


@row("MONOCHROME1")
def _():
    check_against_pydicom(WindowCenter=1000, WindowWidth=500)
    np.testing.assert_allclose(
        read_mammogram(dicom_bytes(breast(), PhotometricInterpretation="MONOCHROME1")), 1 - breast() / 4095, atol=1e-6
    )


@row("Presentation LUT Shape INVERSE")
def _():
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        data = dicom_bytes(breast(), PhotometricInterpretation=photometric, PresentationLUTShape="INVERSE")
        np.testing.assert_allclose(read_mammogram(data), 1 - breast() / 4095, atol=1e-6)


@row("FOR PROCESSING")
def _():
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        raw = {"PresentationIntentType": "FOR PROCESSING", "PhotometricInterpretation": photometric}
        for sign, stored in ((1, 4095 - breast()), (-1, breast())):
            data = dicom_bytes(stored, PixelIntensityRelationshipSign=sign, **raw)
            np.testing.assert_allclose(read_mammogram(data), breast() / 4095, atol=1e-6)
        assert any("FOR PROCESSING" in note for note in open_mammogram(dicom_bytes(breast(), **raw)).notes)
