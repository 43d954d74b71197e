"""The program under test: writes its configuration, starts it, reads its journal and metrics, and holds it
to a clean end: exit code 0 after SIGTERM, and nothing from a sanitizer."""

import json
import os
import pathlib
import re
import signal
import urllib.error
import urllib.request

from . import toml
from .loopback import ADDRESS, free_port, wait_until
from .process import Process, run

_SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|DEADLYSIGNAL")
_SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ENVIRONMENT = {
    "ASAN_OPTIONS": "exitcode=99:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": f"exitcode=99:second_deadlock_stack=1:suppressions={pathlib.Path(__file__).parents[1] / 'tsan.supp'}",
}

ALICE = "alice@example.com"
PASSWORD = "wonderland"


def listeners():
    """The three listeners of the quick start, on free ports."""
    return [
        {"name": "mx", "address": f"{ADDRESS}:{free_port()}", "tls": "starttls", "auth": "optional"},
        {"name": "submission", "address": f"{ADDRESS}:{free_port()}", "tls": "starttls", "auth": "required"},
        {"name": "submissions", "address": f"{ADDRESS}:{free_port()}", "tls": "implicit", "auth": "required"},
    ]


def settings(directory, pair, upstream_port, **changes):
    """A whole configuration as a dict. `changes` replace top-level keys; a dict is merged into its table."""
    tree = {
        "hostname": "mx.example.com",
        "local_domains": ["example.com"],
        "drain": "5s",
        "tls": {"certificate": pair.certificate, "private_key": pair.private_key},
        "listener": listeners(),
        "upstream": [{"name": "legacy", "servers": [f"{ADDRESS}:{upstream_port}"], "tls": "off",
                      "probe_interval": "1s"}],
        "auth": {"backends": ["file"], "file": {"path": directory / "users"}},
        "journal": {"sink": "file", "path": directory / "journal.jsonl", "level": "debug"},
        "metrics": {"address": f"{ADDRESS}:{free_port()}"},
        "state": {"path": directory / "state.sqlite"},
    }
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            tree[key] = {**tree[key], **value}
        else:
            tree[key] = value
    return tree


class Gateway:
    def __init__(self, program, directory, tree, users=((ALICE, PASSWORD),), ready=True, wrapper=(), environment=None):
        """tree: as from settings(). users: (login, password) of the user file. wrapper: a command to run it under."""
        self.program, self.directory, self.tree = program, directory, tree
        self.config = directory / "portcullis.toml"
        self.write_config()
        for login, password in users:
            self.add_user(login, password)
        self.metrics_url = f"http://{tree['metrics']['address']}"
        self.process = Process("portcullis", [*wrapper, program, "serve", "--config", self.config], directory,
                               env={**_ENVIRONMENT, **(environment or {})})
        self._stopped = False
        self._wrapped = bool(wrapper)
        if ready:
            self.process.ready(self.is_ready)

    def send(self, number):
        """A signal to the program, not to what it is run under."""
        child = run("pgrep", "-P", self.process.pid, check=False).stdout if self._wrapped else ""
        os.kill(int(child or self.process.pid), number)  # some wrappers become the program (prlimit)

    # --- configuration

    def write_config(self):
        self.config.write_text(toml.dump(self.tree) + "\n")
        self.config.chmod(0o600)

    def add_user(self, login, password, *more):
        run(self.program, "passwd", "add", login, "--file", self.tree["auth"]["file"]["path"], "--stdin", *more,
            stdin=password + "\n", env=_ENVIRONMENT)

    def port(self, listener):
        """The port of a listener by name."""
        (address,) = [entry["address"] for entry in self.tree["listener"] if entry["name"] == listener]
        address = address[0] if isinstance(address, (list, tuple)) else address
        return int(address.rpartition(":")[2])

    def reload(self, result="success"):
        """Writes the configuration anew and sends SIGHUP; waits until the reload is counted."""
        before = self.metric("portcullis_config_reloads_total", result=result)
        self.write_config()
        self.send(signal.SIGHUP)
        wait_until(lambda: self.metric("portcullis_config_reloads_total", result=result) > before,
                   f"a reload counted as {result}")

    # --- what operators see

    def http(self, path):
        """(status, text) of a GET to the metrics listener."""
        try:
            with urllib.request.urlopen(self.metrics_url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self):
        try:
            return self.http("/readyz")[0] == 200
        except OSError:
            return False

    def samples(self):
        """All samples as (name, labels, value)."""
        status, text = self.http("/metrics")
        assert status == 200
        found = []
        for line in text.splitlines():
            match = _SAMPLE.match(line)
            assert match or line.startswith("#"), f"not an exposition line: {line}"
            if match:
                found.append((match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])))
        return found

    def metric(self, name, **labels):
        """Sum of the samples of a name with these labels; AssertionError when there is none."""
        values = [value for n, own, value in self.samples() if n == name and labels.items() <= own.items()]
        assert values, f"no sample {name} {labels}"
        return sum(values)

    def journal(self, **fields):
        """The journal's lines as dicts, those with these fields."""
        path = self.tree["journal"].get("path")
        text = path.read_text() if path and path.exists() else self.process.errors()
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n") and line[0] == "{"]
        return [line for line in lines if fields.items() <= line.items()]

    def wait_for_journal(self, count=1, seconds=10.0, **fields):
        """Waits until `count` lines have these fields, and returns them."""
        return wait_until(lambda: len(found := self.journal(**fields)) >= count and found,
                          lambda: f"{count} lines with {fields} in:\n" + "\n".join(map(str, self.journal())), seconds)

    # --- the end

    def stop(self, code=0):
        """SIGTERM; the process must end with `code` and no sanitizer may have found anything."""
        if self._stopped:
            return
        self._stopped = True
        if self._wrapped and self.process.running():
            self.send(signal.SIGTERM)
            self.process.wait()
        ended = self.process.stop()
        errors = self.process.errors()
        assert not _SANITIZER.search(errors), errors
        assert ended == code, f"portcullis ended with {ended}:\n{errors}"


def check(program, config, *more):
    """`portcullis check`: CompletedProcess."""
    return run(program, "check", "--config", config, *more, check=False,
               env={key: os.environ.get(key, value) for key, value in _ENVIRONMENT.items()})
