"""HTML reports as pages that a browser lets do nothing but show themselves.

Names of files, labels and speakers come from strangers. The templates escape them; the content
security policy of each page is the second line: it allows the page's own style and script by their
hash, embedded pictures and audio, and no request to any server.
"""

import base64
import hashlib
from typing import Any

from jinja2 import Environment, PackageLoader, Template

from earful.training.plots.long_text import middle_ellipsis

_COLUMN_CHARACTERS = 20


def render_page(template_name: str, *, linked_audio: bool = False, **values: Any) -> str:
    """Render a template that extends ``layout.html``, with its content security policy.

    ``linked_audio`` lets the page play files beside it as well as embedded audio.
    """
    template = _templates().get_template(template_name)
    style, script = (_render_block(template, name, values) for name in ("style", "script"))
    policy = _content_security_policy(style, script, linked_audio=linked_audio)
    return template.render(**values, policy=policy)


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("earful.training.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": clock_time, "figure": short_figure, "short": _short_label}
    return environment


def _render_block(template: Template, name: str, values: dict[str, Any]) -> str:
    block = template.blocks.get(name)
    return "" if block is None else "".join(block(template.new_context(values)))


def _content_security_policy(style: str, script: str, *, linked_audio: bool) -> str:
    """The policy of a page; colours and lengths of table cells are style attributes."""
    audio = "data: file: 'self'" if linked_audio else "data:"
    return (
        f"default-src 'none'; script-src {_hash_source(script)}; "
        f"style-src {_hash_source(style)}; style-src-attr 'unsafe-inline'; img-src data:; "
        f"media-src {audio}; base-uri 'none'; form-action 'none'"
    )


def _hash_source(text: str) -> str:
    if not text:
        return "'none'"
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def clock_time(seconds: float) -> str:
    """Seconds as ``4.50 s``, ``2:04.5`` or ``1:02:03``."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{int(minutes)}:{rest:04.1f}"
    return f"{int(minutes // 60)}:{int(minutes % 60):02}:{int(rest):02}"


def short_figure(value: float) -> str:
    """A figure of two digits or more: ``0.42``, ``4.2``, ``42``, ``1,234``."""
    if value >= 10 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _short_label(label: str) -> str:
    """A label for the head of a column; its whole name is the title of the cell."""
    return middle_ellipsis(label, _COLUMN_CHARACTERS)
