"""Bodies that hold a file as text, as apps and gateways send it: refused with what to send."""

import re

from earful.service.core.errors import RequestError

# Enough to tell them by; no recording starts so.
TEXT_HEAD_BYTES = 64
_BASE64 = re.compile(rb"[A-Za-z0-9+/\r\n]{40,}={0,2}\s*")


def refuse_text(head: bytes) -> None:
    """Refuse a body of which the first bytes are JSON, a data URL or base64.

    Raises:
        RequestError: ``unsupported_format``.
    """
    if kind := _kind(head.lstrip()):
        raise RequestError(
            "unsupported_format",
            f"the body is {kind}, not a file; send the bytes of the file "
            "(curl --data-binary @a.wav) or a form (curl -F file=@a.wav)",
        )


def _kind(head: bytes) -> str:
    if head[:1] in (b"{", b"[", b'"'):
        return "JSON"
    if head[:5].lower() == b"data:":
        return "a data URL"
    return "base64" if _BASE64.fullmatch(head[:TEXT_HEAD_BYTES]) else ""
