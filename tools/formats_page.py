"""Write the page of formats, `docs/formats.md`: `python tools/formats_page.py`.

The page is made from the tables of formats in the code, as `videozoo formats` is.
"""

from pathlib import Path

from videozoo.tasks.formats import markdown

PAGE = Path(__file__).parents[1] / "docs" / "formats.md"

if __name__ == "__main__":
    _ = PAGE.write_text(markdown(), encoding="utf-8")
