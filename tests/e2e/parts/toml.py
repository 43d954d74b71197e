"""Writes a configuration: dict -> TOML. Dicts are tables, lists of dicts are arrays of tables."""

import json
import pathlib


def dump(tree, prefix=""):
    lines, tables = [], []
    for key, value in tree.items():
        if isinstance(value, dict):
            tables.append((f"[{prefix}{key}]", value, f"{prefix}{key}."))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tables += [(f"[[{prefix}{key}]]", entry, f"{prefix}{key}.") for entry in value]
        else:
            lines.append(f"{key} = {_value(value)}")
    for heading, table, inner in tables:
        lines += ["", heading, dump(table, inner)]
    return "\n".join(lines)


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, (str, pathlib.Path)):
        return json.dumps(str(value))
    raise TypeError(type(value))
