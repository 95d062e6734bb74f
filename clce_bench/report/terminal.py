"""Tables for a terminal: they fit by leaving out columns, never by cutting words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import fill

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

PROSE_WIDTH = 24
"""The least width of a column of prose, if it has that much to say."""


@dataclass(frozen=True)
class TextTable:
    """A table of text, for :mod:`rich`, that knows which of its columns a narrow terminal can do without.

    Attributes:
        columns: titles.
        rows: a text per column.
        spare: columns that may be left out, the least important first. One that has the same value in all rows goes
            before the others, since a line below the table says it all.
        prose: columns whose text may take several lines.
        title: above the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    spare: Sequence[str] = ()
    prose: Sequence[str] = ()
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yields the table, and below it what was left out."""
        width = options.max_width
        kept, same, absent = self._fit(width)
        if self._width(kept) > width:
            yield from self._records(width)
            return
        table = Table(title=self.title or None)
        titles = {place: self.columns[place] for place in kept}
        narrow = sum(max(self._least(place), cell_len(name)) + 3 for place, name in titles.items()) >= width
        for place, name in titles.items():
            header = fill(name, self._least(place)) if narrow else name
            table.add_column(header, no_wrap=name not in self.prose, min_width=self._least(place))
        for row in self.rows:
            table.add_row(*(Text(row[place]) for place in kept))
        yield table
        if same:
            listed = ", ".join(f"{self.columns[place]} {self.rows[0][place]}" for place in same)
            yield Text(fill(f"In all rows: {listed}.", width))
        if absent:
            listed = ", ".join(self.columns[place] for place in absent)
            yield Text(fill(f"Left out to fit: {listed}. A wider terminal shows all, or COLUMNS=200.", width))

    def _fit(self, width: int) -> tuple[list[int], list[int], list[int]]:
        """Chooses the columns that are kept, those told once, and those left out."""
        spare = [self.columns.index(name) for name in self.spare if name in self.columns]
        uniform = [place for place in spare if len({row[place] for row in self.rows}) == 1 < len(self.rows)]
        kept, gone = list(range(len(self.columns))), []
        for place in [*uniform, *(place for place in spare if place not in uniform)]:
            if self._width(kept) <= width:
                break
            kept.remove(place)
            gone.append(place)
        return kept, [place for place in gone if place in uniform], [place for place in gone if place not in uniform]

    def _width(self, places: Sequence[int]) -> int:
        return sum(self._least(place) + 3 for place in places) + 1

    def _least(self, place: int) -> int:
        """Returns the width at which the words of a column stay whole, and without prose its lines."""
        name, texts = self.columns[place], [row[place] for row in self.rows]
        lines = max(map(cell_len, texts), default=0)
        if name not in self.prose:
            return max([lines, *map(cell_len, name.split())])
        words = max(cell_len(word) for text in [name, *texts] for word in text.split())
        return max(words, min(PROSE_WIDTH, lines))

    def _records(self, width: int) -> Iterator[Text]:
        """Yields rows one below the other, for where even the least columns are too wide."""
        yield Text(self.title)
        for row in self.rows:
            first, *others = zip(self.columns, row, strict=True)
            text = ", ".join(f"{name}: {value}" for name, value in others if value)
            yield Text(first[1], no_wrap=True, overflow="ignore")
            yield Text(fill(text, width, initial_indent="  ", subsequent_indent="  "))
