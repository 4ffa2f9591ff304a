"""How pictures look: one palette for light and dark, one way from a figure to inline SVG."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PALETTE: Final = {
    "ink": ("#1d2430", "#e6e9ef"),
    "muted": ("#5b6472", "#9aa4b2"),
    "rule": ("#dfe3e8", "#323a46"),
    "panel": ("#fdfefe", "#171c24"),
    "prior": ("#8c939c", "#a0a8b4"),
    "posterior": ("#0072b2", "#56b4e9"),
    "truth": ("#d55e00", "#f0883e"),
    "read": ("#56b4e8", "#8fd0f5"),
    "model": ("#0072b1", "#3d8fd1"),
    "compute": ("#e69f00", "#f0b429"),
    "write": ("#009e73", "#2fbf95"),
    "other": ("#b8bec6", "#566070"),
}
"""Name -> (light, dark). Hues after Okabe and Ito (2008): told apart by colour-blind readers too.

Light colours are all different: in a finished SVG they are found again and become CSS variables, so
that a picture follows the reader's light or dark page.
"""

LIGHT: Final = {name: light for name, (light, _) in PALETTE.items()}
_NAME_OF: Final = {light: name for name, light in LIGHT.items()}

_SETTINGS: Final[dict[Any, Any]] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.parse_math": False,  # a dollar sign in a well's name is a dollar sign
    "text.color": LIGHT["ink"],
    "axes.edgecolor": LIGHT["muted"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.facecolor": "none",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.6,
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "ytick.minor.size": 0.0,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's own font
}
REFERENCE: Final[Mapping[str, Any]] = {
    "color": LIGHT["ink"],
    "linewidth": 0.9,
    "linestyle": (0, (5, 3)),
}
"""How a line is drawn that marks where one wants to be."""
_NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_FONT: Final = "'DejaVu Sans', sans-serif"
_IMAGE_DPI: Final = 200


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished picture and the words above it."""

    title: str
    note: str
    svg: Markup


@contextmanager
def drawing() -> Iterator[None]:
    """Draw within: the same bytes whatever the reader's own matplotlib settings are."""
    with mpl.rc_context(), warnings.catch_warnings():
        # The browser draws the text: glyphs that matplotlib's own font lacks are no loss.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of that size in inches, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def to_svg(figure: Figure, name: str, alt: str) -> Markup:
    """Return a figure as an inline SVG element.

    Parameters
    ----------
    name
        A word of its own for each picture of a page: ids are made of it.
    alt
        What a reader who cannot see the picture is told.

    Notes
    -----
    Laws: the same figure gives the same bytes; ids of different names never meet; no address of the
    network is left in it.
    """
    buffer = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA, dpi=_IMAGE_DPI)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    body = re.sub(
        r"<defs>\s*<style.*?</style>\s*</defs>", "", text[text.index(">") + 1 :], count=1, flags=re.DOTALL
    )
    body = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r"\b(fill|stroke): (#[0-9a-f]{6})", _as_variable, body)
    body = body.replace(_FONT, "var(--sans)")
    width, height = figure.get_size_inches() * 72
    head = (
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {width:g} {height:g}" '
        f'style="max-width:{width * 1.5:.0f}px">'
    )
    return Markup(head + body)  # noqa: S704 - matplotlib escapes what it writes; the rest is escaped above


def _as_variable(found: re.Match[str]) -> str:
    name = _NAME_OF.get(found[2])
    return f"{found[1]}: var(--{name})" if name else found[0]
