"""The tree's own C++ sources, for the house rules."""

import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("smtp", "policy", "metrics", "proxy", "tests")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def sources(*folders):
    for folder in folders or FOLDERS:
        for path in sorted((TOP / folder).rglob("*")):
            if path.suffix in (".cc", ".h", ".inc"):
                yield path


def includes(path):
    """The includes of a file as (is_ours, name)."""
    return [(quote == '"', name) for quote, name in INCLUDE.findall(path.read_text())]


def relative(path):
    return str(path.relative_to(TOP))
