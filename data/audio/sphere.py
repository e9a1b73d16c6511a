"""The header of NIST SPHERE, the format of TIMIT and of many corpora of the LDC.

A text of ``name -type value`` lines in the first 1,024 bytes (or more, by its second line).
Source: NIST, "SPeech HEader REsources" 2.6 (1995).
"""

import re

SPHERE_MAGIC = b"NIST_1A\n"
_SIZE = re.compile(rb"NIST_1A\n *(\d{1,7})\n")
_FIELD = re.compile(rb"^(\w+) -(?:i|r|s\d+) (.+)$", re.MULTILINE)


def sphere_declared_bytes(head: bytes) -> int:
    """The length of the file by its header; 0 if it says none."""
    size, fields = _SIZE.match(head), _fields(head)
    counts = [fields.get(name, b"") for name in _COUNTED]
    if size is None or not all(count.isdigit() and len(count) < 19 for count in counts):
        return 0
    samples, channels, width = (int(count) for count in counts)
    return int(size[1]) + samples * channels * width


def sphere_compression(head: bytes) -> str:
    """The compression of the samples: ``shorten``, ``wavpack``, ...; empty without one."""
    _, _, compression = _fields(head).get(b"sample_coding", b"").partition(b",embedded-")
    return compression.split(b"-")[0].decode("ascii", "replace")


_COUNTED = (b"sample_count", b"channel_count", b"sample_n_bytes")


def _fields(head: bytes) -> dict[bytes, bytes]:
    if not head.startswith(SPHERE_MAGIC):
        return {}
    return dict(_FIELD.findall(head.partition(b"\nend_head")[0]))
