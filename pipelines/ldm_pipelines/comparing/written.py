"""The files that show a comparison: sheets, table and page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ldm_core.cli.choices import check_folder, make_folder
from ldm_core.contracts.files import in_full
from ldm_core.errors import LdmError
from ldm_core.media.sheet import check_fits, check_sheet, save_sheet
from ldm_pipelines.comparing.comparison import Comparison
from ldm_pipelines.comparing.page import check_page, save_page
from ldm_pipelines.comparing.tables import check_table, save_table


@dataclass(frozen=True)
class Files:
    """Where they are to be.

    Attributes:
        sheet: of the first page; the others have a number behind its name.
        overwrite: replace what has these names.
        pages: how many sheets there are.
        least: width and height that each of them has at least.
    """

    sheet: Path | None
    table: Path | None
    page: Path | None
    overwrite: bool
    pages: int
    least: tuple[int, int] = (0, 0)

    @property
    def sheets(self) -> list[Path]:
        """The names of all sheets."""
        if self.sheet is None:
            return []
        rest = range(2, self.pages + 1)
        name = self.sheet
        return [name, *(name.with_name(f"{name.stem}-{n}{name.suffix}") for n in rest)]

    def check(self, again: bool = False) -> None:
        """See that they can be written, before anything is computed.

        Args:
            again: what has these names may be theirs, which `write` sees to.
        Raises:
            LdmError: a name says no format, is another's, or is given twice.
        """
        others = [path for path in (self.table, self.page) if path is not None]
        places = [in_full(path) for path in (*self.sheets, *others)]
        for at, place in enumerate(places):
            if place in places[:at]:
                raise LdmError(f"two files would have the name '{place}'.")
        over = self.overwrite or again
        for path in self.sheets:
            check_sheet(path, overwrite=over)
            check_fits(path, self.least)
        if self.table is not None:
            check_table(self.table, overwrite=over)
        if self.page is not None:
            check_page(self.page, overwrite=over)
        for path in (*self.sheets[:1], *others):
            check_folder(path.parent)

    def write(self, compared: Comparison) -> Iterator[Path]:
        """Write them, and yield each that is there.

        Raises:
            LdmError: a name is that of a file of other bytes, which is not to be overwritten.
        """
        if self.sheet is not None:
            make_folder(self.sheet.parent)
            for path, sheet in zip(self.sheets, compared.sheets(), strict=True):
                save_sheet(sheet, path, overwrite=self.overwrite)
                yield path
        if self.table is not None:
            make_folder(self.table.parent)
            save_table(compared, self.table, overwrite=self.overwrite)
            yield self.table
        if self.page is not None:
            make_folder(self.page.parent)
            save_page(compared, self.page, overwrite=self.overwrite)
            yield self.page
