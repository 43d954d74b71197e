"""Includes point one way, and every third-party library has one door (docs/architecture.md)."""

import pytest

import tree

# Folder -> the folders it may include. smtp <- policy <- proxy/session <- proxy/net <- proxy (main);
# metrics may be counted from anywhere and knows nobody.
MAY_INCLUDE = {
    "smtp": {"smtp"},
    "metrics": {"metrics"},
    "policy": {"smtp", "policy", "metrics"},
    "proxy/session": {"smtp", "policy", "metrics", "proxy/session"},
    "proxy/dns": {"proxy/dns"},
    "proxy/auth": {"smtp", "policy", "metrics", "proxy/dns", "proxy/auth"},
    "proxy/state": {"smtp", "policy", "metrics", "proxy/state"},
    "proxy/sink": {"smtp", "proxy/sink"},
    "proxy/config": {"smtp", "policy", "metrics", "proxy/auth", "proxy/config"},
    "proxy/net": {"smtp", "policy", "metrics", "proxy/dns", "proxy/session", "proxy/auth", "proxy/state",
                  "proxy/config", "proxy/net"},
    "proxy": {"smtp", "policy", "metrics", "proxy/session", "proxy/auth", "proxy/state", "proxy/sink",
              "proxy/config", "proxy/net", "proxy"},
}

# Settings and requests are plain data that the pure session is handed: these headers, nothing else of theirs.
# The door to libuv is a header alone.
PLAIN_DATA = {"proxy/session": {"proxy/config/config.h", "proxy/auth/service.h", "proxy/auth/settings.h"},
              "proxy/sink": {"proxy/net/uv_calls.h"}}

# Prefix of a third-party header -> the folders that may include it.
DOORS = {
    "uv.h": {"proxy/net", "proxy/sink"},
    "openssl/": {"proxy/net", "proxy/auth"},
    "toml++/": {"proxy/config"},
    "llhttp": {"metrics"},
    "prometheus/": {"metrics"},
    "ldap.h": {"proxy/auth"},
    "lber.h": {"proxy/auth"},
    "crypt.h": {"proxy/auth"},
    "sqlite3.h": {"proxy/state"},
    "idn2.h": {"policy"},
    "libpsl.h": {"proxy/config"},
    "uni": {"policy"},  # libunistring: unistr.h, uninorm.h, unicase.h, …
    "CLI/": {"proxy"},
    "systemd/": {"proxy/net"},
}
STANDARD = {"unistd.h"}


def folder_of(path):
    return str(path.parent.relative_to(tree.TOP))


def ours():
    return [pytest.param(path, id=tree.relative(path)) for path in tree.sources("smtp", "policy", "metrics", "proxy")]


@pytest.mark.parametrize("path", ours())
def test_includes_point_one_way(path):
    allowed = MAY_INCLUDE[folder_of(path)]
    for is_ours, name in tree.includes(path):
        if is_ours:
            folder = name.rpartition("/")[0] or folder_of(path)
            handed = name in PLAIN_DATA.get(folder_of(path), set())
            assert folder in allowed or handed, f"{tree.relative(path)} includes {name}"


@pytest.mark.parametrize("path", ours())
def test_each_library_has_one_door(path):
    for is_ours, name in tree.includes(path):
        if is_ours or name in STANDARD:
            continue
        for prefix, folders in DOORS.items():
            if name.startswith(prefix):
                assert folder_of(path) in folders, f"{tree.relative(path)} includes <{name}>"


def test_the_language_of_smtp_uses_the_standard_library_only():
    for path in tree.sources("smtp"):
        for is_ours, name in tree.includes(path):
            standard = name.isidentifier() or name.endswith("intrin.h")
            assert is_ours or standard, f"{tree.relative(path)} includes <{name}>"
