"""The work for a message grows with its size, not with the square of it: counted in instructions."""

import os
import re
import subprocess

import pytest

PROGRAM = os.environ.get("GROWTH_BIN", "")
SUBJECTS = {"recipients": 250, "rates": 150, "rules": 150, "fields": 400, "received": 400, "results": 400,
            "authors": 200, "visible": 200, "parts": 1000}


def instructions(subject, count):
    done = subprocess.run(["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", PROGRAM,
                           subject, str(count)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return int(re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)[1].replace(",", ""))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_work_grows_linearly(subject):
    n = SUBJECTS[subject]
    once, twice, four_times = (instructions(subject, n * factor) for factor in (1, 2, 4))
    print(f"{subject}: {(four_times - twice) / (2 * n):.0f} instructions each")
    # Twice as much more; four times where it grows with the square. Tables that grow cost a little more.
    assert four_times - twice < 2.5 * (twice - once), (once, twice, four_times)
