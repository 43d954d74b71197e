"""A child process with its output in a file; ended with the test, and by the kernel if the test dies."""

import os
import signal
import subprocess

from .loopback import wait_until

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


class Process:
    def __init__(self, name, argv, directory, env=None, root=False):
        self.name = name
        self.output_path = directory / f"{name}.out"
        self.error_path = directory / f"{name}.err"
        self._output = open(self.output_path, "wb")
        self._error = open(self.error_path, "wb")
        prefix = AS_ROOT if root else []
        self.popen = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *prefix, *map(str, argv)], cwd=directory,
            env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=self._output,
            stderr=self._error, start_new_session=True)

    @property
    def pid(self):
        return self.popen.pid

    def output(self):
        return self.output_path.read_text("utf-8", "replace")

    def errors(self):
        return self.error_path.read_text("utf-8", "replace")

    def running(self):
        return self.popen.poll() is None

    def ready(self, condition, seconds=30.0):
        """Waits for condition(); a process that ends before it is an AssertionError with its output."""
        def check():
            assert self.running(), f"{self.name} ended with {self.popen.returncode}:\n{self.output()}{self.errors()}"
            return condition()
        wait_until(check, lambda: f"{self.name} ready:\n{self.output()}{self.errors()}", seconds)
        return self

    def send(self, number):
        self.popen.send_signal(number)

    def wait(self, seconds=30.0):
        return self.popen.wait(seconds)

    def stop(self, number=signal.SIGTERM, seconds=30.0):
        """Asks the process to end and returns its exit code; kills it, and fails, when it will not."""
        if self.running():
            self.send(number)
        try:
            code = self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {seconds} s of signal {number}:\n"
                                 f"{self.output()[-4000:]}{self.errors()[-4000:]}") from None
        self._output.close()
        self._error.close()
        return code

    def kill(self):
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()


def run(*argv, stdin=None, check=True, seconds=60, env=None, cwd=None):
    """A command to its end: CompletedProcess with text in stdout and stderr together."""
    done = subprocess.run([str(word) for word in argv], input=stdin, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds, env={**os.environ, **(env or {})}, cwd=cwd,
                          check=False, errors="replace")
    assert not check or done.returncode == 0, f"{argv[0]} ended with {done.returncode}:\n{done.stdout}"
    return done
