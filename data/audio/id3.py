"""The ID3v2 tag that some writers put before the audio (ID3v2.4 section 3.1)."""

_HEADER_BYTES = 10
# Tags before the audio. Players write one, editors append a second; libsndfile skips any number,
# and two million of them in 40 MB take half a minute.
_MAX_TAGS = 16


def has_too_many_tags(head: bytes) -> bool:
    """Whether a file that starts with ``head`` is one tag after another."""
    for _ in range(_MAX_TAGS):
        rest = after_id3_tag(head)
        if len(rest) == len(head):
            return False
        head = rest
    return head[:3] == b"ID3"


def after_id3_tag(blob: bytes) -> bytes:
    """``blob`` from the end of its ID3v2 tag on; ``blob`` itself without one.

    A tag that is longer than ``blob`` leaves nothing.
    """
    if blob[:3] != b"ID3" or len(blob) < _HEADER_BYTES:
        return blob
    # The length has seven bits per byte.
    size = sum(
        (byte & 0x7F) << shift for byte, shift in zip(blob[6:10], (21, 14, 7, 0), strict=True)
    )
    return blob[_HEADER_BYTES + size :]
