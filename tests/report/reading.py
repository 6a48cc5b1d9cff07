"""Pictures and pages, as their readers take them."""

from html.parser import HTMLParser

from matplotlib.figure import Figure

__all__ = ["Strict", "words"]

VOID = {"meta", "img", "source"}


def words(drawn: Figure) -> list[str]:
    """All the text in a picture, ticks and legends included."""
    found = [text.get_text() for text in drawn.texts]
    for legend in drawn.legends:
        found += [text.get_text() for text in legend.get_texts()]
    for axes in drawn.axes:
        found += [text.get_text() for text in axes.texts]
        found += [label.get_text() for label in axes.get_yticklabels()]
        found.append(axes.get_xlabel())
    return found


class Strict(HTMLParser):
    """Elements in order, and what is wrong with them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)
