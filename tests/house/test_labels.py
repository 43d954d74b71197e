"""Every value of a label can occur: some code path names it. A value that no code produces makes alerts and boards
that ask for it silent for ever."""

import re

import tree

LABELS = tree.TOP / "metrics/labels.h"
# Label enums that are made of another enum by its number: the enumerators of that one are looked for instead.
MADE_OF = {
    "Verb": "Verb", "ReplyVerb": "Verb", "Mechanism": "Mechanism", "AuthResult": "Result", "Backend": "BackendKind",
    "Stage": "Stage", "Mode": "Mode", "SpoofCheck": "SpoofCheck", "RateUnit": "RateUnit", "Sink": "Sink",
    "Action": "Action",
}
# Made by arithmetic: ProxyVersion from the header's version, CodeClass from the first digit of a reply.
COMPUTED = {"ProxyVersion", "CodeClass"}
# Values that a later version counts; alerts may ask for them already.
RESERVED = {("StoreOp", "load")}
OTHER_NAMES = {("Verb", "other"): "unknown", ("ReplyVerb", "other"): "unknown", ("Sink", "stderr_"): "stderr_"}


def enums():
    """(enum, enumerator) of metrics/labels.h."""
    text = re.sub(r"//[^\n]*", "", LABELS.read_text())
    for name, body in re.findall(r"enum class (\w+) : std::uint8_t \{([^}]*)\};", text):
        if name != "Dim":
            yield from ((name, value) for value in re.findall(r"\w+", body))


def code():
    return "\n".join(p.read_text() for p in tree.sources("smtp", "policy", "metrics", "proxy")
                     if p != LABELS and not tree.relative(p).startswith("tests/"))


def test_every_label_value_is_produced():
    text = code()
    # Enumerators stand behind their enum's name, or behind `using enum`.
    named = set(re.findall(r"\b(\w+)(?=::(\w+)\b)", text))
    never = []
    for enum, value in enums():
        if enum in COMPUTED or (enum, value) in RESERVED:
            continue
        source = MADE_OF.get(enum)
        wanted = OTHER_NAMES.get((enum, value), value)
        if (enum, value) in named or (source and (source, wanted) in named):
            continue
        never.append(f"{enum}::{value}")
    assert not never, f"no code produces {never}: remove the values, or make them occur"


def test_the_lists_of_codes_are_codes():
    """Reply codes are looked up by number: each is one that RFC 5321, 3207, 3463, 4954 or 7504 names."""
    (codes,) = re.findall(r"PORTCULLIS_LABEL\(ReplyCode, reply_code,\s*\{([^}]*)\}", LABELS.read_text())
    values = re.findall(r'"(\w+)"', codes)
    assert values[-1] == "other" and values[:-1] == sorted(values[:-1])
    # 2yz and 3yz are only sent by ourselves.
    text = code()
    for value in values[:-1]:
        if value[0] in "23":
            assert re.search(rf"\b{value}\b", text), f"no code sends {value}"
