"""Loss and gradient of objectives as pictures: `svg`, `thumbnail` and `alt` for a page, `plot` for a paper."""

from poz.plotting.compare import Comparison, Named, approaching, compare
from poz.plotting.figure import plot
from poz.plotting.inline import svg, thumbnail
from poz.plotting.lines import Line, curve, lines
from poz.plotting.words import alt

__all__ = ["Comparison", "Line", "Named", "alt", "approaching", "compare", "curve", "lines", "plot", "svg", "thumbnail"]
