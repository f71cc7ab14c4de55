"""Write the map of files in CONTRIBUTING.md: `python tools/file_map.py`.

The line of a file is the first line of its docstring, so the map says what the files say.
"""

import ast
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "videozoo"
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- map of files: python tools/file_map.py -->\n", "<!-- end of the map -->\n"


def file_map() -> str:
    """The map: one block per folder, one line per file that is not empty."""
    blocks: list[str] = []
    for folder, files in groupby(_files(), key=lambda file: file.parent):
        lines = [(file.name, _about(file)) for file in files]
        width = max(len(name) for name, _ in lines)
        text = "\n".join(f"{name:<{width}}  {about}".rstrip() for name, about in lines)
        blocks.append(f"`{folder.relative_to(ROOT / 'src')}/`\n\n```\n{text}\n```\n")
    return "\n".join(blocks)


def updated(page: str) -> str:
    """The page with the map between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{file_map()}\n{END}{after}"


def _files() -> Iterator[Path]:
    """All files with code, folder by folder."""
    files = [file for file in SOURCE.rglob("*.py") if file.read_text(encoding="utf-8").strip()]
    yield from sorted(files, key=lambda file: (file.parent, file.name))


def _about(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


if __name__ == "__main__":
    _ = PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
