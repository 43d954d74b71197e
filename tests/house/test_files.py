"""A file has one reason and stays readable; texts say nothing about the machine they were written on."""

import re
import subprocess

import tree

LINES_MAX = 600
FOREIGN = re.compile(r"(^|[^\w.])/(home|root|work)/\w")


def tracked():
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=tree.TOP, check=True,
                           capture_output=True, text=True).stdout.split("\n")
    return [tree.TOP / name for name in names if name and (tree.TOP / name).is_file()]


def test_no_file_is_too_long():
    long = {tree.relative(p): n for p in tree.sources() if (n := len(p.read_text().splitlines())) > LINES_MAX}
    assert not long


def test_no_path_of_some_machine():
    """A path of one developer's machine works nowhere else."""
    for path in tracked():
        if path.is_relative_to(tree.TOP / "tests" / "fuzz" / "corpus") or path.name == "test_files.py":
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            assert not FOREIGN.search(line), f"{tree.relative(path)}:{number}: {line}"


def test_headers_are_guarded_and_say_what_they_are():
    for path in tree.sources():
        if path.suffix == ".h":
            text = path.read_text()
            assert text.startswith("//"), f"{tree.relative(path)} has no header comment"
            assert "#pragma once" in text, f"{tree.relative(path)} has no #pragma once"


def test_every_parser_of_outside_bytes_has_seeds():
    declared = re.findall(r"^\s*add_fuzz\((\w+)", (tree.TOP / "tests/fuzz/targets.cmake").read_text(), re.MULTILINE)
    for name in declared:
        seeds = list((tree.TOP / "tests/fuzz/corpus" / name).glob("*"))
        assert len(seeds) >= 5, f"fuzz target {name} has {len(seeds)} seeds"
        assert (tree.TOP / f"tests/fuzz/{name}_fuzz.cc").exists()


# Calls of libuv that return nothing, or nothing that could be an error.
HARMLESS = {"uv_close", "uv_run", "uv_stop", "uv_ref", "uv_unref", "uv_update_time", "uv_freeaddrinfo"}
DROPPED = re.compile(r"(?:[;{})]|\belse)\s*(uv_\w+)\s*\(")
COMMENT = re.compile(r"//[^\n]*")


def test_no_result_of_libuv_is_dropped():
    """A call that can fail goes through proxy/net/uv_calls.h, or its result is used where it is called."""
    for path in tree.sources("proxy"):
        code = COMMENT.sub("", path.read_text())
        dropped = [name for name in DROPPED.findall(code) if name not in HARMLESS]
        assert not dropped, f"{tree.relative(path)} drops what {dropped} return"


def test_libuv_accepts_nothing():
    """uv_listen's own accept loop never returns when another loop has taken its spare descriptor (acceptor.h)."""
    for path in tree.sources("proxy/net"):
        code = COMMENT.sub("", path.read_text())
        assert "uv_listen(" not in code and "uv_accept(" not in code, tree.relative(path)
