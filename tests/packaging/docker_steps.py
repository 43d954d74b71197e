"""Carries out the Dockerfile without a container engine: each stage is a copy of a debootstrap tree, COPY
copies, RUN runs in a chroot, and at the end the entry point is started as the image's user with a
configuration of its own, looked at by the HEALTHCHECK's command and ended with its STOPSIGNAL.

Not proven by this: the official base image (debootstrap's minbase stands in for debian:12-slim), layers and
their caching, the engine's own isolation, volumes and published ports.

    docker_steps.py SOURCE BASE WORK
"""

import json
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def instructions(text):
    """(instruction, rest) of each, with continued lines joined."""
    text = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    for line in text.splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


class Stage:
    def __init__(self, root, base):
        self.root = root
        self.directory = "/"
        self.user = "root"
        self.health = self.entry = self.command = None
        self.stop_signal = signal.SIGTERM
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", base, root], check=True)
        sources = pathlib.Path("/etc/apt/sources.list.d")
        (root / "etc/apt/sources.list").unlink(missing_ok=True)
        for file in sources.glob("*.sources"):
            shutil.copy(file, root / "etc/apt/sources.list.d")
        for file in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{file}", root / "etc" / file)

    def argv(self, words, user=None):
        """A command inside the stage, with /proc and /dev."""
        script = ('mount --make-rprivate / && mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && '
                  'exec chroot "$0" "$@"')
        enter = ["/usr/bin/env", "-i", _PATH, "HOME=/", "TERM=dumb", "sh", "-c", f'cd {self.directory} && exec "$@"', "sh"]
        drop = []
        if user and user != "root":
            drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
        return ["unshare", "--mount", "sh", "-c", script, str(self.root), *enter, *drop, *words]

    def run(self, command):
        print(f"RUN {command}", flush=True)
        subprocess.run(self.argv(["sh", "-c", command]), check=True)

    def copy(self, froms, to):
        inside = self.root / (pathlib.PurePosixPath(self.directory) / to).relative_to("/")
        for source in froms:
            if source.is_dir():
                shutil.copytree(source, inside, dirs_exist_ok=True,
                                ignore=shutil.ignore_patterns("build", ".git", "__pycache__", ".cache"))
            else:
                if to.endswith("/"):
                    inside.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, inside)


def carry_out(source, base, work):
    stages = {}
    stage = None
    for word, rest in instructions((source / "Dockerfile").read_text()):
        if word == "FROM":
            image, *name = re.split(r" +[Aa][Ss] +", rest)
            assert image == "debian:12-slim", image
            stage = Stage(work / f"stage{len(stages)}", base)
            stages[name[0] if name else str(len(stages))] = stage
        elif word == "WORKDIR":
            stage.directory = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            words = shlex.split(rest)
            top = source
            if words[0].startswith("--from="):
                top = stages[words.pop(0).removeprefix("--from=")].root
            *froms, to = words
            found = [path for pattern in froms for path in ([top] if pattern == "." else top.glob(pattern.lstrip("/")))]
            assert found, f"nothing to copy: {froms}"
            stage.copy(found, to)
        elif word == "RUN":
            stage.run(rest)
        elif word == "USER":
            stage.user = rest
        elif word == "HEALTHCHECK":
            stage.health = json.loads(rest.partition("CMD ")[2])
        elif word == "ENTRYPOINT":
            stage.entry = json.loads(rest)
        elif word == "CMD":
            stage.command = json.loads(rest)
        elif word == "STOPSIGNAL":
            stage.stop_signal = getattr(signal, rest)
        else:
            assert word in ("VOLUME", "EXPOSE"), word
    return stage


_CONFIG = """
hostname = "localhost"
local_domains = ["example.com"]
[tls]
certificate = "/etc/portcullis/tls/cert.pem"
private_key = "/etc/portcullis/tls/key.pem"
[[listener]]
name = "mx"
address = "127.0.0.1:25250"
auth = "off"
[[upstream]]
name = "none"
servers = ["127.0.0.1:1"]
[state]
path = "/var/lib/portcullis/state.sqlite"
[metrics]
address = "127.0.0.1:9925"
"""


def start_and_look(stage):
    assert stage.user != "root"
    etc = stage.root / "etc/portcullis"
    (etc / "portcullis.toml").write_text(_CONFIG)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", etc / "tls/key.pem",
                    "-out", etc / "tls/cert.pem"], check=True, capture_output=True)
    stage.run("chown -R root:portcullis /etc/portcullis && chmod -R g+rX,o= /etc/portcullis")
    assert subprocess.run(stage.argv(stage.health, stage.user), capture_output=True, check=False).returncode != 0
    process = subprocess.Popen(stage.argv([*stage.entry, *stage.command], stage.user))
    try:
        for _ in range(50):
            time.sleep(0.2)
            assert process.poll() is None, f"ended with {process.returncode}"
            if subprocess.run(stage.argv(stage.health, stage.user), capture_output=True, check=False).returncode == 0:
                break
        else:
            raise AssertionError("never healthy")
        owner = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        assert not re.search(r"^Uid:\s+0", owner, re.MULTILINE), "runs as root"
    finally:
        process.send_signal(stage.stop_signal)
    assert process.wait(60) == 0, process.returncode
    print("docker steps: healthy as a user without rights, ended with 0")


if __name__ == "__main__":
    start_and_look(carry_out(*(pathlib.Path(p).resolve() for p in sys.argv[1:4])))
