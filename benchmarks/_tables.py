"""Prints what was measured, in columns."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The first column is the contender's and stands left, the others stand right."""
    lines = [["", *columns], *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    print(f"\n{title}")
    for first, *others in lines:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        print("  " + "   ".join(cells).rstrip(), flush=True)


def with_ratio(value: float, ratio: float, digits: int = 0) -> str:
    """A value, and how many times its base it is."""
    return f"{value:.{digits}f} {f'x{ratio:.2f}':>6}"
