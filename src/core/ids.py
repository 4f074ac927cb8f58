"""Task ids: UUID version 7 (RFC 9562), so that ids sort by creation and a list needs no index of its own."""

import re

_PATTERN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def task_id(now_ms: int, entropy: bytes) -> str:
    """Build an id from the creation time (milliseconds) and 10 random bytes."""
    assert len(entropy) == 10
    stamp = (now_ms & ((1 << 48) - 1)) << 80
    random = int.from_bytes(entropy)
    low = (0b10 << 62) | (random & ((1 << 62) - 1))
    high = 0x7000 | (random >> 64 & 0xFFF)
    digits = f"{stamp | high << 64 | low:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_task_id(text: str) -> bool:
    """Whether the text is an id that `task_id` can have made."""
    return _PATTERN.fullmatch(text) is not None
