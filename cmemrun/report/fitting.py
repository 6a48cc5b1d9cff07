"""What fits into a picture: text that a typeface can show, and labels that stay apart."""

from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["Font", "spread"]


class Font:
    """What the typeface can show, and how wide that is."""

    def __init__(self) -> None:
        from matplotlib.font_manager import FontProperties, findfont, get_font

        self._faces = [
            get_font(findfont(FontProperties(weight=weight))) for weight in ("normal", "bold")
        ]

    def fitted(
        self, text: str, width: float, size: float, *, end: str = "", weight: str = "normal"
    ) -> str:
        """A text with its end, its beginning shortened until both fit into a width in points."""
        text, end = self._shown(text), self._shown(end)
        if self.width(text + end, size, weight) <= width:
            return text + end
        fits = bisect_right(
            range(len(text)),
            width,
            key=lambda count: self.width(f"{text[:count]}…{end}", size, weight),
        )
        return f"{text[: max(0, fits - 1)]}…{end}"

    def _shown(self, text: str) -> str:
        """A text whose characters all have a glyph; for others their number is shown."""
        return "".join(
            char
            if all(face.get_char_index(ord(char)) for face in self._faces)
            else char.encode("unicode_escape").decode("ascii")
            for char in text
        )

    def width(self, text: str, size: float, weight: str = "normal") -> float:
        """How wide a text is, in points."""
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import text_to_path

        font = FontProperties(size=size, weight=weight)
        return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def spread(heights: Sequence[float], apart: float) -> list[float]:
    """Rising heights, moved as little as leaves them ``apart`` from each other."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        # A group is centred where its members would be; where two touch they are one.
        while len(groups) > 1 and _low(groups[-1], apart) - _high(groups[-2], apart) < apart:
            last = groups.pop()
            groups[-1] += last
    return [_low(group, apart) + index * apart for group in groups for index in range(len(group))]


def _low(group: Sequence[float], apart: float) -> float:
    return sum(group) / len(group) - (len(group) - 1) * apart / 2


def _high(group: Sequence[float], apart: float) -> float:
    return _low(group, apart) + (len(group) - 1) * apart
