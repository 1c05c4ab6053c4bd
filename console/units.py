"""Sizes, times and rates in the few characters a column has."""

from datetime import datetime

GB = 1_000_000_000
MB = 1_000_000


def size_text(size: int | None) -> str:
    """Bytes as decimal GB or MB, as disks and model cards count: ``121 GB``, ``5.0 GB``."""
    if size is None:
        return ""
    if size >= 10 * GB or round(size / GB, 1) >= 10:
        return f"{size / GB:,.0f} GB"
    if size >= 999.5 * MB:
        return f"{size / GB:.1f} GB"
    return f"{size / MB:.0f} MB"


def span_text(seconds: float) -> str:
    """A countdown or an age: ``4 s``, ``4:12``, ``1:04:12``; never negative."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours < 100 else f"{hours // 24} d"


def age_text(seconds: float) -> str:
    """A rough age that changes rarely: ``now``, ``3 m``, ``2 h``, ``5 d``."""
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return "now"


def clock_text(ts: float, now: float) -> str:
    """Local time of day, or the date if that was another day; eight columns either way."""
    then = datetime.fromtimestamp(ts).astimezone()
    if then.date() == datetime.fromtimestamp(now).astimezone().date():
        return f"{then:%H:%M:%S}"
    return f"{then:%d %b}".ljust(8)


def moment_text(ts: float, now: float) -> str:
    """Day and local time, twelve columns: ``23 Nov 14:02``; seconds today, the year long ago."""
    then = datetime.fromtimestamp(ts).astimezone()
    today = datetime.fromtimestamp(now).astimezone()
    if then.date() == today.date():
        return f"{then:%H:%M:%S}".ljust(12)
    return f"{then:%d %b %H:%M}" if then.year == today.year else f"{then:%d %b %Y}".ljust(12)


def rate_text(rate: float | None) -> str:
    """Tokens per second: ``46.2``, ``1,204``."""
    if rate is None:
        return ""
    return f"{rate:,.0f}" if rate >= 999.95 else f"{rate:.1f}"


def ms_text(ms: float | None) -> str:
    """A duration measured in milliseconds: ``2 ms``, ``14.2 s``."""
    if ms is None:
        return ""
    return f"{ms:.0f} ms" if ms < 9_999.5 else f"{ms / 1000:.1f} s"


def context_text(tokens: int | None) -> str:
    """A context length: ``4096``, ``128k``."""
    if tokens is None:
        return ""
    return f"{tokens // 1024}k" if tokens >= 10_240 else str(tokens)


def bar_text(share: float, width: int, *, ascii_only: bool = False) -> str:
    """A gauge of ``width`` columns for a share in 0…1."""
    full, empty = ("#", "-") if ascii_only else ("█", "░")
    filled = round(min(max(share, 0.0), 1.0) * width)
    return full * filled + empty * (width - filled)
