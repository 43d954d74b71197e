"""Fixtures of the end-to-end tests. PORTCULLIS_BIN names the program under test."""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from parts.certificates import Authority  # noqa: E402


@pytest.fixture(scope="session")
def program():
    """The portcullis binary."""
    path = os.environ.get("PORTCULLIS_BIN", "")
    assert path and os.access(path, os.X_OK), f"PORTCULLIS_BIN names no program: {path!r}"
    return path


@pytest.fixture(scope="session")
def session_directory():
    """A short path that servers running as other users can enter."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="e2e-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def authority(session_directory):
    return Authority(session_directory / "ca")


@pytest.fixture(scope="session")
def pair(authority):
    """Certificate and key of mx.example.com and of this run's loopback address."""
    return authority.server("mx.example.com", "localhost")


@pytest.fixture
def directory(session_directory, request):
    """A directory of this test."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)[5:29]
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=session_directory))
    path.chmod(0o755)
    return path


class Parts:
    """parts.use(x): x.stop() at the end, in reverse order, even after a failure."""

    def __init__(self, stack):
        self._stack = stack

    def use(self, part):
        self._stack.callback(part.stop)
        return part


@pytest.fixture
def parts():
    with contextlib.ExitStack() as stack:
        yield Parts(stack)


@pytest.fixture(scope="module")
def module_parts():
    """As parts, for what a whole file shares."""
    with contextlib.ExitStack() as stack:
        yield Parts(stack)


@pytest.fixture(scope="module")
def module_directory(session_directory):
    path = pathlib.Path(tempfile.mkdtemp(prefix="module-", dir=session_directory))
    path.chmod(0o755)
    return path
