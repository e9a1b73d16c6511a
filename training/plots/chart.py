"""A chart, and how it is kept: as a PNG file, or as SVG or PNG inside an HTML page."""

import base64
import io
import re
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter

from earful.data.atomic_write import staged_file
from earful.training.plots.long_text import TITLE_CHARACTERS, quiet_drawing, wrap

# In page.css these have a light and a dark shade each; further curves repeat them.
COLORS = ("#1f6f8b", "#d1495b", "#b07d12", "#3f7d4e", "#7a5195", "#c05a1e", "#4d6a9a", "#7d7461")
MARK_COLOR, GRID_COLOR = "#777777", "#e7e7e7"
# What matplotlib draws axes, their text, marks and grids with.
_PAGE_COLORS = {
    **{color: f"var(--c{n})" for n, color in enumerate(COLORS)},
    "#000000": "var(--soft)",
    MARK_COLOR: "var(--soft)",
    GRID_COLOR: "var(--line)",
}
_FILE_DPI = 120
# Numbers of groups, the same in each chart of a page (ids that are referred to are hashes), the
# fonts of this machine, and what changes nothing that can be seen.
_NOT_FOR_PAGES = re.compile(
    r' id="[\w.]+_\d{1,4}"| font-family: [^;]*;| transform="rotate\(-0 [^"]*"'
    r"|; stroke-linecap: square|; stroke-linejoin: miter"
)


def new_chart(title: str = "", inches: tuple[float, float] = (7, 4.5)) -> tuple[Figure, Any]:
    """A figure with one pair of axes and their grid; a long title is wrapped."""
    figure = Figure(figsize=inches, layout="constrained")
    axes: Any = figure.subplots()
    axes.set_prop_cycle(color=COLORS)
    axes.set_title(wrap(title, TITLE_CHARACTERS), parse_math=False)
    axes.grid(color=GRID_COLOR)
    return figure, axes


def percent(*axes: Any) -> None:
    """Label shares on these x or y axes in percent."""
    for axis in axes:
        axis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))


def over_epochs(axes: Any) -> None:
    """Label the x axis with whole epochs."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def logarithmic(axes: Any, low: float, high: float) -> None:
    """Make the y axis logarithmic, with ticks at powers of ten, or closer over few of them."""
    axes.set_yscale("log")
    if high < 1000 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter("")
    axes.yaxis.set_major_formatter("{x:g}")


def save_figure(figure: Figure, path: Path, *, grow: bool = False) -> None:
    """Write a figure as PNG, atomically; with ``grow`` as large as what is drawn in it."""
    bbox_inches = "tight" if grow else None
    with staged_file(path) as staging, quiet_drawing():
        figure.savefig(staging, format="png", dpi=_FILE_DPI, bbox_inches=bbox_inches)


def png_uri(figure: Figure) -> str:
    """A figure as PNG in a data URI, in its own resolution."""
    buffer = io.BytesIO()
    with quiet_drawing():
        figure.savefig(buffer, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def inline_svg(figure: Figure, name: str) -> Markup:
    """A figure as SVG in a page, whose page.css has the colours and the font.

    The same figure gives the same text. Curves have their labels as tooltips.
    """
    labels = _mark_curves(figure)
    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), quiet_drawing():
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    # Besides the drawing a style of all elements on the page, which its policy refuses.
    _, _, body = buffer.getvalue().partition("</style>\n </defs>")
    width, height = 72 * figure.get_size_inches()
    body = re.sub("<[^>]*>", lambda found: _page_tag(found[0], labels), body)
    return Markup(  # noqa: S704 - matplotlib escapes text, and the names are escaped here
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(name)}">'
        + re.sub(r"\n *", "", body)
    )


def _mark_curves(figure: Figure) -> dict[str, str]:
    """Give the curves that have a label an id; the labels by their tags."""
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    labels = {}
    for n, line in enumerate(lines):
        label = str(line.get_label())
        if not label.startswith("_"):
            line.set_gid(f"curve-{n}")
            labels[f'<g id="curve-{n}">'] = label
    return labels


def _page_tag(tag: str, labels: dict[str, str]) -> str:
    """A tag of matplotlib's as it is on a page, a curve's with its tooltip."""
    if tag in labels:
        return f"<g><title>{escape(labels[tag])}</title>"
    tag = _NOT_FOR_PAGES.sub("", tag)
    tag = re.sub(r"\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), tag)
    return re.sub("#[0-9a-f]{6}", lambda found: _PAGE_COLORS.get(found[0], found[0]), tag)
