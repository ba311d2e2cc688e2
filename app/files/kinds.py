"""What a file is: by its first bytes, and where these don't tell, by its suffix."""

PNG, JPEG, BMP, TIFF, CZI = "PNG", "JPEG", "BMP", "TIFF", "CZI"
READ = (PNG, JPEG, BMP, TIFF, CZI)
HEAD = 132  # bytes of a file that tell what it is

# What is called so is an image, if perhaps a broken one.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# TIFF inside, of slide scanners and microscopes, and BigTIFF.
_TIFF_SUFFIXES = (
    ".svs",
    ".scn",
    ".ndpi",
    ".qptiff",
    ".bif",
    ".lsm",
    ".stk",
    ".btf",
    ".tf2",
    ".tf8",
)
_CZI_SUFFIX = ".czi"
_OME = ".ome"  # before the suffix of a TIFF

_BY_BYTES = {
    PNG: (b"\x89PNG\r\n\x1a\n",),
    JPEG: (b"\xff\xd8\xff",),
    TIFF: (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    CZI: (b"ZISRAWFILE",),
    "ND2": (b"\xda\xce\xbe\x0a",),
    "OLE (OIB, ZVI)": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",),
    "HDF5 (IMS and others)": (b"\x89HDF\r\n\x1a\n",),
    "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
    "JPEG XR": (b"II\xbc\x01",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "OpenEXR": (b"\x76\x2f\x31\x01",),
    "Photoshop": (b"8BPS",),
    "FITS": (b"SIMPLE  =",),
    "Netpbm": (b"P5\n", b"P6\n", b"P5 ", b"P6 "),
}
# These begin as a picture or a TIFF does, but that is a preview: the image lies in a folder beside.
_PREVIEWS = {".mrxs": "MRXS", ".vsi": "VSI"}
_BY_SUFFIX = {
    **{f".{name.lower()}": name for name in ("CZI", "ZVI", "ND2", "LIF", "LOF", "XLEF", "OIB")},
    **{f".{name.lower()}": name for name in ("OIF", "ETS", "IMS", "DV", "iSyntax")},
    ".zarr": "OME-Zarr",
}
_PICTURES = ("JPEG 2000", "JPEG XL", "JPEG XR", "GIF", "WebP", "HEIF or AVIF", "OpenEXR")
_OTHER_PICTURES = ("Photoshop", "Netpbm", "FITS", "DICOM")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # bytes; its magic alone may begin a text


def identify(head: bytes, suffix: str) -> str:
    """The name of a file's format.

    Args:
        head: the first ``HEAD`` bytes of the file, or all where it has less.
        suffix: of its name, with the dot.

    Returns:
        One of ``READ``, or the name of a format that can't be read; "" for what is no image.
    """
    suffix = suffix.lower()
    if suffix in _PREVIEWS:
        return _PREVIEWS[suffix]
    if suffix == ".nd2" and head.startswith(b"\0\0\0\x0cjP  "):  # as it was once
        return "ND2"
    for name, beginnings in _BY_BYTES.items():
        if head.startswith(beginnings):
            return name
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return BMP
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"):
        return "HEIF or AVIF"
    if head[:4] == b"p\0\0\0" and head[8:9] == b"*":
        return "LIF"
    if head[128:132] == b"DICM":
        return "DICOM"
    return _BY_SUFFIX.get(suffix, "")


def remedy(name: str) -> str:
    """What to do with files of a format that can't be read."""
    if name in _PICTURES + _OTHER_PICTURES:
        return "export as PNG or TIFF"
    if name == "OME-Zarr":
        return "convert to OME-TIFF with raw2ometiff, or export as TIFF in Fiji"
    return (
        "convert to OME-TIFF with bfconvert (Bio-Formats), or with bioformats2raw and "
        "raw2ometiff, or export as TIFF in Fiji"
    )


def stem(name: str) -> str:
    """A file's name without its known suffix; ``.ome.tif`` is one, and other dots are its own.

    ``drug_0.1uM.png`` is ``drug_0.1uM``, ``a.ome.tif`` is ``a``, ``plate.1`` stays as it is.
    """
    lower = name.lower()
    for suffix in (*SUFFIXES, *_TIFF_SUFFIXES, _CZI_SUFFIX):
        for end in (_OME + suffix, suffix):
            is_tiff = suffix in _TIFF_SUFFIXES or suffix.startswith(".tif")
            if lower.endswith(end) and len(name) > len(end) and (is_tiff or end == suffix):
                return name[: -len(end)]
    return name
