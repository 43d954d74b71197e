"""What we accept as an author field, other readers read the same way.

Texts put together at random from the pieces that spoofed author fields are made of go to our parser
(the program named on the command line) and to readers of very different strictness. Where we accept a
text, no reader may find an author that we did not; that is the promise of docs/header-strictness.md.
"""

import email
import email.policy
import email.utils
import random
import re
import subprocess
import sys
from email.header import decode_header, make_header

TEXTS = 30000
PIECES = [
    "a@b.ex", "admin@victim.ex", "<admin@victim.ex>", "<me@attack.ex>", '"a@b.ex"', '"Doe, J"', "(comment)", "Joe", "x",
    "<", ">", " ", " ", "\t", ",", ";", ":", ".", "@", '"', "'", "\\", "(", ")", "[", "]", "!", "%", "=?", "?=",
    "=?utf-8?Q?J=C3=B6?=", "=?utf-8?q?a=40b.ex?=", "=?utf-8?B?PGFkbWluQHZpY3RpbS5leD4=?=",
]


def random_text():
    text = "".join(random.choice(PIECES) for _ in range(random.randint(1, 7)))
    return text + random.choice(["", "<me@attack.ex>", " <me@attack.ex>"])


def lenient(text):
    return [address for _, address in email.utils.getaddresses([text])]


def strict(text):
    message = email.message_from_string(f"From: {text}\n\n", policy=email.policy.default)
    return [address.addr_spec for address in message["From"].addresses]


def decoding_first(text):
    return lenient(str(make_header(decode_header(text))))


def angle_brackets_only(text):
    return re.findall(r"<([^<>\s]*@[^<>\s]*)>", text)


def main():
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 20261121
    random.seed(seed)
    texts = [random_text() for _ in range(TEXTS)]
    answer = subprocess.run([sys.argv[1]], input="\0".join(texts).encode(), capture_output=True, check=True)
    ours = answer.stdout.decode().split("\0")[:-1]
    assert len(ours) == TEXTS
    accepted = 0
    for text, read in zip(texts, ours):
        if read.startswith("!"):
            continue
        accepted += 1
        authors = set(read.split(","))
        for reader in (lenient, strict, decoding_first, angle_brackets_only):
            try:
                theirs = reader(text)
            except Exception:  # a reader that gives up finds no author
                continue
            strangers = {address.replace('"', "") for address in theirs} - authors - {"", "<>"}
            assert not strangers, f"{text!r}: we read {authors}, {reader.__name__} also {strangers} (seed {seed})"
    assert accepted > TEXTS // 50, "hardly any text was accepted: the test proves nothing"
    print(f"{accepted} of {TEXTS} texts accepted, no reader disagrees")


if __name__ == "__main__":
    main()
