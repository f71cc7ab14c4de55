"""The page of formats says what the code reads."""

from tools.formats_page import PAGE

from videozoo.tasks.formats import markdown


def test_the_page_is_made_from_the_tables():
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run: python tools/formats_page.py"
