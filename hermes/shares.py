"""Shares of a disk: `5%`, or a size (`20G`)."""

from hermes.units import parse_size_bytes


def parse_share(text: str) -> str:
    """A setting, as it was written. Raises ValueError."""
    percent = text.removesuffix("%").strip()
    if not text.endswith("%"):
        parse_size_bytes(text)
    elif not percent.isdigit() or int(percent) > 90:
        raise ValueError("must be a share from 0% to 90%, or a size as 20G")
    return text.replace(" ", "")


def share_bytes(text: str, total_bytes: int) -> int:
    """What such a setting means on a disk."""
    if text.endswith("%"):
        return total_bytes * int(text.removesuffix("%")) // 100
    return parse_size_bytes(text)
