"""Line charts as SVG; colours come from the page's CSS, so light and dark mode both work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

# In SVG user units, about one pixel each on the page.
_WIDTH, _HEIGHT = 320, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 18, 10, 34
# Line colours in run.html; further lines repeat them.
COLORS = 8


@dataclass(frozen=True)
class ChartLine:
    """A curve through ``points`` (x, y), in order."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False
    dots: bool = False


@dataclass(frozen=True)
class ChartAxes:
    """Axes of a chart. Percent axes take fractions; ``mark`` is the x of a vertical line."""

    title: str
    x: str
    percent: bool = False
    log: bool = False
    y_range: tuple[float, float] | None = None
    x_range: tuple[float, float] | None = None
    x_percent: bool = False
    mark: float | None = None
    mark_name: str = ""


def draw_chart(axes: ChartAxes, lines: Sequence[ChartLine]) -> Markup:
    """A chart as HTML figure with legend; empty without drawable points."""
    drawable = [
        ChartLine(
            line.name, [p for p in line.points if _drawable(p[1], axes.log)], line.dashed, line.dots
        )
        for line in lines
    ]
    points = [point for line in drawable for point in line.points]
    if not points:
        return Markup("")
    scale = _Scale(axes, points)
    parts = [*_draw_grid(axes, scale), *_draw_mark(axes, scale)]
    for n, line in enumerate(drawable):
        parts += _draw_curve(line, n % COLORS, scale)
    label = escape(f"{axes.title} over {axes.x}")
    svg = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )
    legend = "".join(
        f'<span><i class="c{n % COLORS}"></i>{escape(line.name)}</span>'
        for n, line in enumerate(drawable)
        if line.points and line.name
    )
    legend += f'<span><i class="mark"></i>{escape(axes.mark_name)}</span>' if axes.mark_name else ""
    return Markup(  # noqa: S704 - all text in it is escaped above
        f"<figure><figcaption>{escape(axes.title)}</figcaption>{svg}"
        f'<div class="keys">{legend}</div></figure>'
    )


def _drawable(y: float, log: bool) -> bool:
    return math.isfinite(y) and (y > 0 or not log)


class _Scale:
    """Maps values to SVG coordinates."""

    def __init__(self, axes: ChartAxes, points: Sequence[tuple[float, float]]) -> None:
        self.log = axes.log
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        self.x_low, self.x_high = axes.x_range or (min(xs), max(xs))
        low, high = axes.y_range or (min(ys), max(ys))
        if axes.log:
            low, high = math.log10(low), math.log10(high)
        padding = 0.0 if axes.y_range else 0.05 * (high - low) or 0.05 * abs(high) or 0.5
        self.y_low, self.y_high = low - padding, high + padding
        if self.x_high == self.x_low:
            self.x_low, self.x_high = self.x_low - 1, self.x_high + 1

    def x(self, value: float) -> float:
        share = (value - self.x_low) / (self.x_high - self.x_low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        position = math.log10(value) if self.log else value
        share = (position - self.y_low) / (self.y_high - self.y_low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def y_ticks(self) -> list[float]:
        if not self.log:
            return ticks(self.y_low, self.y_high)
        decades = [10.0**n for n in range(math.ceil(self.y_low), math.floor(self.y_high) + 1)]
        if len(decades) > 6:
            return decades[:: math.ceil(len(decades) / 6)]
        if len(decades) < 3:
            n = range(math.floor(self.y_low), math.ceil(self.y_high) + 1)
            all_ticks = [m * 10.0**k for k in n for m in (1, 2, 5)]
            return [t for t in all_ticks if self.y_low <= math.log10(t) <= self.y_high]
        return decades


def ticks(low: float, high: float, max_ticks: int = 6) -> list[float]:
    """Tick values from low to high, in steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / max_ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def _draw_grid(axes: ChartAxes, scale: _Scale) -> list[str]:
    left, right, bottom = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for value in scale.y_ticks():
        y = scale.y(value)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        text = _format_number(value, axes.percent)
        parts.append(f'<text x="{left - 5}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>')
    for value in ticks(scale.x_low, scale.x_high):
        if axes.x == "epoch" and value != round(value):
            continue
        text = _format_number(value, axes.x_percent)
        parts.append(
            f'<text x="{scale.x(value):.1f}" y="{bottom + 14}" text-anchor="middle">{text}</text>'
        )
    middle = (left + right) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(axes.x)}</text>'
    )
    return [*parts, f'<path class="axis" d="M{left} {bottom}H{right}"/>']


def _draw_mark(axes: ChartAxes, scale: _Scale) -> list[str]:
    if axes.mark is None:
        return []
    x = scale.x(axes.mark)
    return [f'<path class="mark" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>']


def _draw_curve(line: ChartLine, color: int, scale: _Scale) -> list[str]:
    coordinates = [(scale.x(x), scale.y(y)) for x, y in line.points]
    if not coordinates:
        return []
    title = f"<title>{escape(line.name)}</title>"
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in coordinates)
    dashed = " dashed" if line.dashed else ""
    parts = [f'<path class="line c{color}{dashed}" d="M{path}">{title}</path>']
    if line.dots or len(coordinates) == 1:
        parts += [
            f'<circle class="dot c{color}" cx="{x:.1f}" cy="{y:.1f}" r="3">{title}</circle>'
            for x, y in coordinates
        ]
    return parts


def _format_number(value: float, percent: bool) -> str:
    return f"{100 * value:g} %" if percent else f"{value:g}"
