"""Medians, ratios, and the table in docs/performance.md."""

import statistics

BEGIN, END = "<!-- begin: written by tests/bench/run -->", "<!-- end -->"
OURS, BEFORE = "portcullis", "before"


def median(found, name):
    return statistics.median(entry["value"] for entry in found[name])


def ratio(found):
    """Ours by the best peer's of the same round; the median over the rounds. None without a peer."""
    others = [name for name in found if name not in (OURS, BEFORE)]
    if not others:
        return None
    ratios = [ours["value"] / min(found[name][i]["value"] for name in others)
              for i, ours in enumerate(found[OURS])]
    return statistics.median(ratios)


def rate(found, name):
    """Messages a second, and the latency of one as the load generator saw it (ms)."""
    loads = [entry["load"] for entry in found[name] if "load" in entry]
    if not loads:
        return ""
    each_second = statistics.median(load["messages_acknowledged"] / load["seconds"] for load in loads)
    middle = statistics.median(load["message_ms"]["p50"] for load in loads)
    late = statistics.median(load["message_ms"]["p99"] for load in loads)
    return f"{each_second:,.0f}/s, {middle:.2f}/{late:.2f} ms"


def figure(value):
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def line(work, found):
    parts = [f"{name} {figure(median(found, name))} ({rate(found, name)})" for name in found]
    against = ratio(found)
    verdict = "" if against is None else f"  ratio {against:.2f} (goal {work.goal:.2f})"
    return f"{work.key:14} [{work.unit}] " + "; ".join(parts).replace(" ()", "") + verdict


def table(works, results):
    names = []
    for found in results.values():
        names += [name for name in found if name not in names]
    rows = ["| work | figure | " + " | ".join(names) + " | ratio | goal |",
            "|---|---|" + "---|" * (len(names) + 2)]
    for work in works:
        found = results[work.key]
        cells = [figure(median(found, name)) if name in found else "–" for name in names]
        against = ratio(found)
        rows.append(f"| {work.title} | {work.unit} | " + " | ".join(cells) +
                    f" | {'–' if against is None else f'**{against:.2f}**'} | {work.goal:.2f} |")
    return "\n".join(rows)


def write_table(path, works, results):
    text = path.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{table(works, results)}\n{END}{after}")
