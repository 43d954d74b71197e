"""How the released program is hardened: a probe built with the release preset's flags has everything that
hardening.sh asks for, and hardening.sh sees each thing that is taken away."""

import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent
TOP = HERE.parents[1]
# What a compiler is told to leave out one thing, and the word hardening.sh then says.
TAKEN_AWAY = [
    (["-no-pie", "-fno-pie"], "PIE"),
    (["-Wl,-z,norelro"], "RELRO"),
    (["-Wl,-z,lazy"], "BIND_NOW"),
    (["-Wl,-z,execstack"], "stack without execution"),
    (["-fno-stack-protector"], "stack protector"),
    (["-U_FORTIFY_SOURCE"], "FORTIFY_SOURCE"),
    (["-Wl,-rpath,/usr/lib/android:"], "empty or relative"),
    (["-Wl,-rpath,lib"], "empty or relative"),
    (["-fcf-protection=none"], "CET"),
    (["-fno-stack-clash-protection"], "stack clash"),
]
HARDENED = ["-O2", "-fPIE", "-pie", "-Wl,-z,relro,-z,now", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=3",
            "-fcf-protection=full", "-fstack-clash-protection"]


def missing(program):
    done = subprocess.run([HERE / "hardening.sh", program], capture_output=True, text=True, check=False)
    assert not done.stderr
    assert (done.returncode == 0) == (done.stdout == "")
    return done.stdout


def test_the_release_preset_hardens(tmp_path):
    configure = ["cmake", "--preset", "release", "-B", tmp_path, "-DPORTCULLIS_BENCH=OFF"]
    subprocess.run(configure, cwd=TOP, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path, "--target", "hardening_probe"], check=True, capture_output=True)
    assert missing(tmp_path / "tests/hardening_probe") == ""


@pytest.mark.parametrize(("flags", "said"), TAKEN_AWAY, ids=[" ".join(flags) for flags, _ in TAKEN_AWAY])
def test_what_is_missing_is_seen(tmp_path, flags, said):
    program = tmp_path / "program"
    subprocess.run(["c++", *HARDENED, *flags, HERE / "hardening_probe.cc", "-o", program], check=True)
    lines = missing(program).splitlines()
    assert len(lines) == 1 and said in lines[0]
