"""A real Prometheus that scrapes one target."""

import json
import urllib.parse
import urllib.request

from .loopback import ADDRESS, free_port, wait_until
from .process import Process, run


class Prometheus:
    def __init__(self, directory, target):
        """target: "host:port" whose /metrics is scraped every second."""
        directory.mkdir(parents=True)
        self.port = free_port()
        config = directory / "prometheus.yml"
        config.write_text("global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
                          f"scrape_configs:\n- job_name: gateway\n  static_configs: [{{targets: ['{target}']}}]\n")
        self.process = Process("prometheus", [
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address={ADDRESS}:{self.port}"], directory)
        self.process.ready(self._is_ready, 60)

    def query(self, expression):
        """The instant vector of an expression: [({label: value}, number)]."""
        url = f"http://{ADDRESS}:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(url, timeout=10) as answer:
            rows = json.load(answer)["data"]["result"]
        return [(row["metric"], float(row["value"][1])) for row in rows]

    def wait_for(self, expression, condition=bool, seconds=30.0):
        """Waits until condition(sum of the expression's values) holds; returns the rows."""
        def check():
            rows = self.query(expression)
            return rows if condition(sum(value for _, value in rows)) else None
        return wait_until(check, lambda: f"{expression}: {self.query(expression)}", seconds, 0.3)

    def stop(self):
        self.process.stop()

    def _is_ready(self):
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}:{self.port}/-/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


def promtool_check(text):
    """What `promtool check metrics` finds wrong with an exposition; "" when nothing."""
    done = run("promtool", "check", "metrics", stdin=text, check=False)
    return done.stdout if done.returncode else ""
