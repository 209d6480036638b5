"""Tables of text, for printing and for a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Table", "as_html", "as_text"]


@dataclass(frozen=True)
class Table:
    """A title, a header and rows of text.

    Parameters
    ----------
    title
        What the table shows; may be empty.
    header
        Names of the columns.
    rows
        One text for each column.
    right
        Columns that are aligned to the right, counted from 0: those with numbers.

    Examples
    --------
    >>> from openmm_nn.tables import Table
    >>> print(Table("energies", ("term", "kJ/mol"), [("EE", "-1.5"), ("RE", "12.25")], right=(1,)))
    energies
    term  kJ/mol
    ----  ------
    EE      -1.5
    RE     12.25
    """

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    right: tuple[int, ...] = ()

    def __str__(self) -> str:
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        written = [
            "  ".join(
                cell.rjust(width) if column in self.right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        rule = "  ".join("-" * width for width in widths)
        return "\n".join([*([self.title] if self.title else []), written[0], rule, *written[1:]])


Block = str | Table


def as_text(blocks: Sequence[Block]) -> str:
    """Join paragraphs and tables, with an empty line between them; empty ones are left out."""
    return "\n\n".join(str(block) for block in blocks if block)


def as_html(blocks: Sequence[Block]) -> str:
    """Write paragraphs and tables as HTML, for ``_repr_html_``, which notebooks call.

    Examples
    --------
    >>> from openmm_nn.tables import as_html
    >>> as_html(["a < b"])
    '<p>a &lt; b</p>'
    """
    return "\n".join(_html(block) for block in blocks if block)


def _html(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{html.escape(block)}</p>"
    aligned = dict.fromkeys(block.right, ' style="text-align: right"')

    def line(cells: Sequence[str], tag: str) -> str:
        inner = "".join(
            f"<{tag}{aligned.get(column, '')}>{html.escape(cell)}</{tag}>" for column, cell in enumerate(cells)
        )
        return f"<tr>{inner}</tr>"

    caption = f"<caption>{html.escape(block.title)}</caption>" if block.title else ""
    body = "".join(line(row, "td") for row in block.rows)
    return f"<table>{caption}<thead>{line(block.header, 'th')}</thead><tbody>{body}</tbody></table>"
