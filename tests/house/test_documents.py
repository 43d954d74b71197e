"""Documents tell the truth: every file they name exists, every metric and every command is described, and
every configuration that is shown to people loads."""

import os
import pathlib
import re
import subprocess

import pytest

import tree

DOCUMENTS = [tree.TOP / "README.md", tree.TOP / "SECURITY.md", *sorted((tree.TOP / "docs").rglob("*.md"))]
NAMED_FILE = re.compile(r"`((?:docs|etc|systemd|tests|smtp|policy|metrics|proxy|\.ci)/[\w./-]+\.\w+)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=tree.relative)
def test_named_files_exist(document):
    for name in NAMED_FILE.findall(document.read_text()):
        if "NAME" in name:  # stands for any
            continue
        assert (tree.TOP / name).exists(), f"{tree.relative(document)} names {name}"


def test_every_metric_is_documented():
    names = re.findall(r'"(portcullis_\w+|process_\w+)"', (tree.TOP / "metrics/catalogue.inc").read_text())
    text = (tree.TOP / "docs/metrics.md").read_text()
    assert len(names) > 20
    missing = [name for name in names if not re.search(rf"{name}\b", text)]
    assert not missing


def test_every_command_of_dev_has_a_line_of_help():
    text = (tree.TOP / "dev").read_text()
    commands = re.findall(r"^cmd_(\w+)\(\)", text, re.MULTILINE)
    shown = subprocess.run([tree.TOP / "dev", "help"], check=True, capture_output=True, text=True).stdout
    assert {"run", "test", "build", "bench", "fuzz", "soak", "lint", "format", "help"} <= set(commands)
    for command in commands:
        assert re.search(rf"^  {command}\b.* {{2}}\S", shown, re.MULTILINE), f"./dev help does not explain {command}"


def whole_configurations():
    """(where, text) of every configuration that somebody may copy as it is."""
    for path in [tree.TOP / "etc/portcullis.toml", *sorted((tree.TOP / "etc/examples").glob("*.toml"))]:
        yield tree.relative(path), path.read_text()
    for document in DOCUMENTS:
        for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)):
            if re.search(r"^hostname *=", block, re.MULTILINE):
                yield f"{tree.relative(document)}#{number}", block


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A self-signed certificate with its key, good for whatever a configuration wants of a PEM file."""
    file = tmp_path_factory.mktemp("pem") / "both.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", "/CN=mx.example.com", "-addext", "subjectAltName=DNS:mx.example.com", "-keyout", file,
                    "-out", f"{file}.crt"], check=True, capture_output=True)
    return file.read_text() + pathlib.Path(f"{file}.crt").read_text()


@pytest.mark.parametrize("where, text", [pytest.param(*c, id=c[0]) for c in whole_configurations()])
def test_configurations_load(where, text, tmp_path, pem):
    """As `portcullis check` sees them, with the files they name put into a directory of the test's own."""
    for name in sorted(set(re.findall(r'"(/(?:etc/portcullis|var/lib/portcullis|var/log/portcullis|run)/[^"]*)"', text))):
        file = tmp_path / name[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".pem":
            file.write_text(pem)
        elif "password" in file.name:
            file.write_text("a secret\n")
        elif "var/" not in name:
            file.write_text("")
        if file.exists():
            file.chmod(0o600)
        text = text.replace(f'"{name}"', f'"{file}"')
    config = tmp_path / "portcullis.toml"
    config.write_text(text)
    config.chmod(0o600)
    done = subprocess.run([os.environ["PORTCULLIS_BIN"], "check", "--config", config], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, f"{where}:\n{done.stdout}{done.stderr}"
