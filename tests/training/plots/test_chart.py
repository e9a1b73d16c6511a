"""Charts inside pages: the page's colours and font, tooltips, and nothing that a name could add."""

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from earful.training.plots.chart import COLORS, inline_svg, logarithmic, new_chart
from earful.training.reports import html_page

HOSTILE = """<x> & 'y' "#1f6f8b" id="axes_1" font-family: a;"""


def chart(label: str = "curve") -> Figure:
    """A falling curve with a gap, and its legend."""
    figure, axes = new_chart(inches=(4, 3))
    axes.plot([1, 2, 3, 4], [0.9, math.nan, 0.5, 0.1], marker="o", label=label)
    axes.set(xlabel="a<b", ylabel="loss")
    axes.legend(frameon=False)
    return figure


def elements(svg: str) -> list[ElementTree.Element]:
    names = '<svg xmlns:xlink="http://www.w3.org/1999/xlink"'
    return list(ElementTree.fromstring(str(svg).replace("<svg", names, 1)).iter())  # noqa: S314 - our own


def test_same_chart_gives_the_same_text() -> None:
    assert inline_svg(chart(), "loss") == inline_svg(chart(), "loss")


def test_curve_has_its_points_colour_and_tooltip() -> None:
    found = elements(inline_svg(chart(), "loss"))
    [group] = [element for element in found if element.find("title") is not None]
    assert [element.text for element in group.iter("title")] == ["curve"]
    curve = next(group.iter("path"))
    assert "stroke: var(--c0)" in curve.get("style", "")
    points = re.findall(r"([ML]) ([\d.]+) ([\d.]+)", curve.get("d", ""))
    assert [command for command, *_ in points] == ["M", "M", "L"]  # the gap stays one
    x, y = ([float(point[n]) for point in points] for n in (1, 2))
    assert x == sorted(x)
    assert y == sorted(y)  # SVG y grows downwards
    assert len(list(group.iter("use"))) == 3


def test_nothing_of_the_page_is_styled_or_named_twice() -> None:
    first, second = (inline_svg(chart(), name) for name in ("loss", "accuracy"))
    for text in (first, second):
        assert not re.search("<style|<metadata|font-family|#[0-9a-f]{6}", text)
    ids = [{e.get("id") for e in elements(text)} - {None} for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = re.findall(r'(?:href="|url\()#(\w+)', first)
    assert ids[0] == set(used)


def test_the_page_has_each_colour_for_light_and_for_dark() -> None:
    css = Path(html_page.__file__).with_name("templates") / "page.css"
    found = re.findall(r"--c(\d): (#[0-9a-f]{6});", css.read_text("utf-8"))
    light, dark = dict(found[: len(COLORS)]), dict(found[len(COLORS) :])
    assert light == {str(n): color for n, color in enumerate(COLORS)}
    assert dark.keys() == light.keys()


def test_names_are_text_whatever_is_in_them() -> None:
    found = elements(inline_svg(chart(HOSTILE), HOSTILE))
    assert found[0].get("aria-label") == HOSTILE
    texts = [element.text for element in found if element.tag in ("text", "title")]
    assert texts.count(HOSTILE) == 2  # the tooltip, and the legend
    assert "a<b" in texts


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.9), (2.0, 2.3), (1e-4, 0.5), (1e-9, 1e3)])
def test_logarithmic_axis_has_several_round_ticks(low: float, high: float) -> None:
    figure, axes = new_chart()
    axes.plot([1, 2], [low, high])
    logarithmic(axes, low, high)
    figure.draw_without_rendering()
    bottom, top = axes.get_ylim()
    shown = [
        float(tick.label1.get_text().replace("\N{MINUS SIGN}", "-"))
        for tick in (*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks())
        if tick.label1.get_text() and bottom <= tick.get_loc() <= top
    ]
    assert 2 <= len(shown) <= 16
    assert all(float(f"{value:.2g}") == value for value in shown if value < 1)
