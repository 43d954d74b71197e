#!/usr/bin/env bash
# Tells whether a released program was compiled and linked with everything that makes a memory error harder to
# use. Reads it as it was built, with its symbols. Says each thing that is missing, and ends with 1 if any is.
# `./dev package` asks it of the program before it makes the package.
#
#   tests/packaging/hardening.sh PROGRAM
set -euo pipefail
program=${1:?which program}
export LC_ALL=C
missing=0

# need WHAT TEXT PATTERN: a line of the text matches.
need() { grep -qE -- "$3" <<<"$2" || { printf '%s: no %s\n' "$program" "$1"; missing=1; }; }
# never WHAT TEXT PATTERN: no line of it does.
never() { if grep -qE -- "$3" <<<"$2"; then printf '%s: %s\n' "$program" "$1"; missing=1; fi; }

headers=$(readelf -W --file-header --program-headers "$program")
dynamic=$(readelf -W --dynamic "$program")
symbols=$(readelf -W --dyn-syms "$program")

need "position independence (PIE)" "$dynamic" 'FLAGS_1.* PIE'
need "relocations made read-only (RELRO)" "$headers" 'GNU_RELRO'
need "immediate binding (BIND_NOW)" "$dynamic" 'FLAGS.*(BIND_NOW| NOW)'
need "stack without execution" "$headers" 'GNU_STACK.* RW '
need "stack protector" "$symbols" '__stack_chk_fail'
need "checked library functions (FORTIFY_SOURCE)" "$symbols" '__(mem|str|v?sn?printf|v?fprintf)[a-z]*_chk'
never "library path with an empty or relative entry" "$dynamic" 'R(UN)?PATH.*\[(|:.*|[^/].*|.*:|.*::.*|.*:[^/].*)\]'
never "code that can be written" "$headers" 'LOAD.* (RWE|WE) '
if [[ $headers == *X86-64* ]]; then
  # In main(), as the C library's own start is marked in any case.
  need "branch targets marked (CET)" "$(objdump --disassemble=main "$program")" '[[:space:]]endbr64'
  # A frame larger than a page is touched page by page.
  need "probed large stack frames (stack clash)" "$(objdump -d "$program" | grep 'sub .*,%rsp')" '0x1000,%rsp'
fi
exit "$missing"
