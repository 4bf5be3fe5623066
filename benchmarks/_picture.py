"""Draws ratios as bars, in SVG. Its colours are legible on white and on black, whichever a reader's page has."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ._timing import Timed

_WIDTH, _MARGIN = 760, 8
_LABELS, _VALUES = 140, 132  # to the left of the bars, and to the right of the longest one
_BAR, _STEP, _GAP = 11, 14, 16
_TEXT, _FAINT = "#7b8290", "#8b92a0"
_STYLE = f"""
  text {{ font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: {_TEXT} }}
  .title {{ font-size: 15px; font-weight: 600 }} .case {{ font-weight: 600 }}
  .value {{ font-size: 10.5px }} .small {{ font-size: 10.5px; fill: {_FAINT} }}
""".rstrip()


@dataclass(frozen=True)
class Series:
    """One contender's bars."""

    key: str
    title: str
    colour: str


def picture(
    title: str, series: Sequence[Series], cases: dict[str, dict[str, Timed]], base: str, caption: Sequence[str]
) -> str:
    """The text of an SVG: a group of bars for each case, a bar for each contender; `base` names what 1.00 is."""
    shown = [one for one in series if all(one.key in times for times in cases.values())]
    longest = max(1.0, *(times[one.key].ratio for times in cases.values() for one in shown))
    scale = (_WIDTH - _MARGIN - _LABELS - _VALUES) / longest
    left = _MARGIN + _LABELS
    parts = [_text(_MARGIN, 20, title, "title")]
    parts += _legend(shown, 42)
    y = 66
    for name, times in cases.items():
        parts.append(_text(left - 10, y + len(shown) * _STEP / 2 + 3, name, "case", anchor="end"))
        for one in shown:
            timed = times[one.key]
            width = timed.ratio * scale
            parts.append(f'<rect x="{left}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2" fill="{one.colour}"/>')
            value = f"\u00d7 {timed.ratio:.2f}  ({timed.nanoseconds / 1000:,.0f} \u00b5s)"
            parts.append(_text(left + width + 6, y + _BAR - 1.5, value, "value"))
            y += _STEP
        y += _GAP
    lines = [f"\u00d7 1.00 is {base}.", *caption]
    for line in [part for whole in lines for part in textwrap.wrap(whole, 128)]:
        parts.append(_text(_MARGIN, y + 8, line, "small"))
        y += 15
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 6}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{_STYLE}\n</style>", *parts, "</svg>", ""])


def _legend(series: Sequence[Series], y: int) -> list[str]:
    parts, x = [], float(_MARGIN)
    for one in series:
        parts.append(f'<rect x="{x:.1f}" y="{y - 9}" width="11" height="11" rx="2" fill="{one.colour}"/>')
        parts.append(_text(x + 16, y, one.title))
        x += 32 + 7 * len(one.title)
    return parts


def _text(x: float, y: float, text: str, kind: str = "", *, anchor: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    anchor = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}{anchor}>{escape(text)}</text>'


def write_picture(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    print(f"\nDrawn: {path}")
