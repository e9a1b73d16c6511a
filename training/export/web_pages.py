"""The page's own files for a static site, taken from those of the server's page."""

import re
from pathlib import Path, PurePosixPath

import earful.service

WEB = Path(earful.service.__file__).parent / "web"
ON_DEVICE = WEB / "on_device"
# What runs in the browser begins in these; the rest is what they import or start.
_PAGE, _WORKER = "on_device/app.js", "on_device/worker.js"
_ASSETS = ("style.css", "icon.svg")
_SAMPLES = "samples"
# `import ... from "./x.js"`, `new URL("./x.js", import.meta.url)`.
_REFERENCE = re.compile(r"""(?:from|URL\()\s*"(\.[^"]*\.js)\"""")
_TEMPLATES = re.compile(
    r"  <template id=.*</template>\n(?:  <p id=\"timeline-keys\".*\n)", re.DOTALL
)
_PLACE, _PRELOADS = "  <!-- templates -->\n", "  <!-- preloads -->\n"


def page_html() -> bytes:
    """The site's index.html, with the templates of the server's page.

    It names all modules of the page, which a browser then asks for at once and not one by one.
    """
    page = (ON_DEVICE / "index.html").read_text("utf-8")
    templates = _TEMPLATES.search((WEB / "index.html").read_text("utf-8"))
    if templates is None or _PLACE not in page or _PRELOADS not in page:
        raise ValueError("a page has lost its templates, or the place for them")
    links = [
        f'  <link rel="modulepreload" href="web/{name}">\n' for name in sorted(_modules(_PAGE))
    ]
    return page.replace(_PLACE, templates[0]).replace(_PRELOADS, "".join(links)).encode()


def page_files() -> dict[str, bytes]:
    """Contents by path in the site: modules, style and samples, below ``web/``."""
    samples = [path.relative_to(WEB).as_posix() for path in (WEB / _SAMPLES).iterdir()]
    names = sorted({*_modules(_PAGE, _WORKER), *_ASSETS, *samples})
    return {f"web/{name}": (WEB / name).read_bytes() for name in names}


def _modules(*entries: str) -> set[str]:
    """These modules and those that they need, and no others: what talks to a server stays there."""
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        references = _REFERENCE.findall((WEB / name).read_text("utf-8"))
        waiting += [_resolve(name, reference) for reference in references]
    return found


def _resolve(name: str, reference: str) -> str:
    """The path below the folder of what a module refers to."""
    parts: list[str] = []
    for part in (PurePosixPath(name).parent / reference).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
