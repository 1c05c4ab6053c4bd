"""Completeness of a GGUF model: splits, tokenizer, required keys, a tensor for every layer.

The reader has already proved the header itself; this looks at what it says. The bounds are
llama.cpp's own, some of which it enforces by aborting the process.
"""

from collections.abc import Iterator, Mapping

from engine.admission import answer
from engine.admission.gap import CHECK, CONVERT, EXPECTED, Gap, gap_of
from engine.admission.gguf_keys import keys
from engine.admission.gguf_tensors import tensors_of
from engine.admission.gguf_tokenizer import tokenizer
from engine.admission.kind import foreign_kind
from engine.admission.subject import MOST_SPLITS, NAMES_FOREIGN, Subject
from engine.catalog.gguf import GgufHeader, GgufTensor, split_of
from engine.catalog.header import HeaderError
from engine.types import Check


def judge(subject: Subject) -> Check | Gap:
    """The check's answer, or the first gap found."""
    header = subject.header
    if isinstance(header, HeaderError):
        if header.kind in NAMES_FOREIGN:
            return answer.unknown(CHECK, EXPECTED, f"{header.found}: see the backend check")
        return gap_of(subject.source.name, header)
    headers: list[GgufHeader] = [header]
    for name, split in subject.splits:
        if isinstance(split, HeaderError):
            if split.kind in NAMES_FOREIGN:
                return answer.unknown(CHECK, EXPECTED, f"{name}: {split.found}")
            return gap_of(name, split)
        headers.append(split)
    if gap := _splits(subject, header, headers):
        return gap
    if words := foreign_kind(subject):
        return answer.passed(CHECK, EXPECTED, f"{words}: its header is whole")
    tensors: dict[str, GgufTensor] = {}
    for one in headers:
        for tensor in one.tensors:
            if tensor.name in tensors:
                return Gap(f"two splits hold {tensor.name}", "every tensor once", tensor.name)
            tensors[tensor.name] = tensor
    for gap in _gaps(subject, header, tensors):
        return gap
    files = f" in {len(headers)} files" if len(headers) > 1 else ""
    return answer.passed(CHECK, EXPECTED, f"{len(tensors):,} tensors{files}, all within bounds")


def _gaps(subject: Subject, header: GgufHeader, tensors: Mapping[str, GgufTensor]) -> Iterator[Gap]:
    name = header.metadata.get("general.architecture")
    if not isinstance(name, str) or not name:
        yield Gap(
            "the file names no architecture",
            "general.architecture as a text",
            "none" if name is None else repr(name)[:60],
            CONVERT,
        )
        return
    yield from tokenizer(header.metadata)
    yield from keys(name, header)
    yield from tensors_of(name, header.metadata, tensors, subject.vocabulary)


# -- splits ---------------------------------------------------------------------------------------


def _splits(subject: Subject, first: GgufHeader, headers: list[GgufHeader]) -> Gap | None:
    count, name = first.split_count, subject.source.name
    named = split_of(name)
    if count < 2:
        return _promised(subject, named)
    if first.types.get("split.count") != "u16":
        found = first.types.get("split.count", "none")
        return Gap("split.count has the wrong type", "split.count as u16", found, CONVERT)
    if named is None or named[2] != count:
        return Gap(
            f"{name} is one of {count} splits and no longer has its split's name",
            f"a name ending in -00001-of-{min(count, 99_999):05d}.gguf",
            name,
            "give every split its original name",
        )
    if count > MOST_SPLITS:
        return Gap("it claims too many splits", f"at most {MOST_SPLITS}", f"{count:,}")
    if first.split_no != 0 or named[1] != 1:
        return Gap(
            f"{name} is split {first.split_no + 1} of {count}, not the first",
            "the first split",
            f"split {first.split_no + 1}",
            "name the first split; the others are found by it",
        )
    for number, header in enumerate(headers):
        if header.split_no != number or header.split_count != count:
            found = f"split {header.split_no + 1} of {header.split_count}"
            return Gap(
                f"the file named as split {number + 1} is another one",
                f"split {number + 1} of {count}",
                found,
            )
    total = sum(len(header.tensors) for header in headers)
    if first.split_tensors_count and total != first.split_tensors_count:
        return Gap(
            "its splits do not hold every tensor",
            f"{first.split_tensors_count:,} tensors",
            f"{total:,}",
        )
    return None


def _promised(subject: Subject, named: tuple[str, int, int] | None) -> Gap | None:
    """By its name it is one of several, and the file itself does not say so."""
    if named is None or named[2] < 2:
        return None
    stem, own, count = named
    ending = subject.source.name[-5:]
    for number in range(1, min(count, MOST_SPLITS) + 1):
        sibling = f"{stem}-{number:05d}-of-{count:05d}{ending}"
        if number != own and not subject.source.with_name(sibling).exists():
            return Gap(
                f"{sibling} is missing",
                f"{count:,} files, by the name",
                f"no {sibling}",
                "download the missing part, or name the file as a whole model",
            )
    return None
