"""The one error of every reader in the catalog, and how to name what a file really is."""

from enum import StrEnum

from engine.text import clean_bytes, clean_line

SNIFF_BYTES = 4096
"""How much of a file's beginning :func:`sniff` wants to see."""


class Kind(StrEnum):
    """What is wrong with a file, as far as admission must tell cases apart."""

    DAMAGED = "damaged"
    """The right format, or what should be it, but broken, cut short or never downloaded."""
    FOREIGN = "foreign"
    """Another real format under this name."""
    UNSUPPORTED = "unsupported"
    """The right format in a version or with a type that no runtime here reads."""
    SPECIAL = "special"
    """A FIFO, a device, a socket or a folder where a regular file belongs."""
    MISSING = "missing"
    LOOP = "loop"
    """Symbolic links that lead back to themselves."""
    FORBIDDEN = "forbidden"
    """The permissions do not let this user read it."""
    UNREADABLE = "unreadable"
    """The system failed to read it; a network mount or a disk may do so once and not again."""


class HeaderError(Exception):
    """A file is not what it should be. ``expected`` and ``found`` are safe to show.

    Args:
        expected: What a good file has at this place.
        found: What this one has.
        kind: Which sort of trouble it is.
    """

    def __init__(self, expected: str, found: str, kind: Kind = Kind.DAMAGED) -> None:
        self.expected = clean_line(expected)
        self.found = clean_line(found)
        self.kind = kind
        super().__init__(f"expected {self.expected}, found {self.found}")


class NotRegular(HeaderError):
    """There is no regular file to read at this path; ``kind`` says what there is instead."""


# Beginnings that are some other format, told by name. The order matters only for the last two.
_FORMATS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive (a pickled PyTorch checkpoint is one)"),
    *((bytes((0x80, protocol)), "a Python pickle") for protocol in range(2, 6)),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x7fELF", "a program (ELF)"),
    (b"ggml", "an old GGML file, older than GGUF"),
    (b"tjgg", "an old GGJT file, older than GGUF"),
    (b"fmgg", "an old GGMF file, older than GGUF"),
    (b"algg", "an old GGLA adapter, older than GGUF"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xcf\xfa\xed\xfe", "a program (Mach-O)"),
    (b"\xca\xfe\xba\xbe", "a program (Mach-O)"),
    (b"MZ", "a program (Windows)"),
    (b"GGUF", "a GGUF file"),
)
SAFETENSORS = "a safetensors file"
_TAR = slice(257, 262)
_NOT_DOWNLOADED: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer: the content was never downloaded"),
    (b"<!doctype html", "an HTML page, as a failed download leaves it"),
    (b"<html", "an HTML page, as a failed download leaves it"),
    (b"<?xml", "an XML document, as a failed download leaves it"),
    (b'{"error"', "a JSON error message, as a failed download leaves it"),
    (b'{"message"', "a JSON error message, as a failed download leaves it"),
    (b"entry not found", "the text 'Entry not found', as a failed download leaves it"),
    (b"access to model", "a login error, as a failed download leaves it"),
    (b"invalid username or password", "a login error, as a failed download leaves it"),
)


def sniff(head: bytes, size: int) -> tuple[str, Kind]:
    """Say what a file is that does not begin as it should.

    Args:
        head: The first ``SNIFF_BYTES`` bytes, or all there are.
        size: Bytes in the whole file.

    Returns:
        Words for ``HeaderError.found`` and the kind that goes with them.
    """
    if size == 0:
        return "an empty file", Kind.DAMAGED
    if not head.strip(b"\0"):
        return f"only zero bytes in the first {len(head):,}", Kind.DAMAGED
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    for start, name in _NOT_DOWNLOADED:
        if text.startswith(start):
            return name, Kind.DAMAGED
    for magic, name in _FORMATS:
        if head.startswith(magic):
            return name, Kind.FOREIGN
    if head[_TAR] == b"ustar":
        return "a tar archive", Kind.FOREIGN
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model", Kind.FOREIGN
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= length <= size - 8:
        return SAFETENSORS, Kind.FOREIGN
    return f"the bytes '{clean_bytes(head[:8])}' ({head[:8].hex(' ')})", Kind.DAMAGED
