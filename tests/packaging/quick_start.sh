# shellcheck shell=bash
# The README's quick start as a newcomer does it, inside the bare system: ./dev run, the commands it prints,
# Ctrl-C. Not a script of its own: bare_system.sh runs it in its tree.
set -euo pipefail
cd /src
# On a terminal of its own (script), so that Ctrl-C is a real one: a key that is pressed. With exec, as a shell in
# between would get it too.
mkfifo /tmp/keys
exec 9<>/tmp/keys
env --default-signal=INT script -qefc 'exec ./dev run' /tmp/run.typed <&9 >/tmp/run.screen 2>&1 &
run=$!
for ((i = 0; i < 1200; i++)); do
  grep -qs '^Ctrl-C' /tmp/run.typed && break
  kill -0 "$run" || { cat /tmp/run.typed; exit 1; }
  sleep 1
done
tr -d '\r' </tmp/run.typed >/tmp/run.out
sed -n '/^Portcullis is running/,$p' /tmp/run.out

# Exactly what was printed: the indented commands between the headings.
commands() { sed -n "/^  $1/,/^  [a-z]/p" /tmp/run.out | grep '^    ' | sed 's/^    //'; }
printf '%s\n' '--- curl'
bash -euo pipefail -c "$(commands 'send a mail')"
printf '%s\n' '--- swaks'
bash -euo pipefail -c "$(commands 'or over STARTTLS')"
printf '%s\n' '--- forged'
if bash -c "$(commands 'see a forged')"; then echo "the forged sender was accepted"; exit 1; fi
printf '%s\n' '--- metrics, mail, journal'
curl -s http://127.0.0.1:9925/metrics | grep 'portcullis_messages_total.*accepted.* [12]$'
test "$(find build/run/mail/new -type f | wc -l)" = 2
grep -c '"result":"accepted"' build/run/journal.jsonl
printf '\003' >&9
code=0
wait "$run" || code=$?
tail -n 3 /tmp/run.typed
test "$code" = 0
if grep -lx portcullis /proc/[0-9]*/comm 2>/dev/null; then echo "something is still running"; exit 1; fi
echo "quick start: ok"
