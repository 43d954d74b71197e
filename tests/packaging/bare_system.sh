#!/usr/bin/env bash
# Proves the set-up on a bare Debian 12: a debootstrap tree with git and a C library and no compiler, make,
# python or curl. Needs root, debootstrap and the network of this machine's own apt sources.
#
#   tests/packaging/bare_system.sh build    clone, ./dev build
#   tests/packaging/bare_system.sh run      clone, ./dev run, the printed commands, Ctrl-C
#   tests/packaging/bare_system.sh test     clone, ./dev test
#   tests/packaging/bare_system.sh deb      the .deb of ./dev package: install, look, remove, purge
#   tests/packaging/bare_system.sh docker   the RUN lines of the Dockerfile, stage by stage
#
# BARE_BASE keeps the pristine tree between runs (default build/bare/base).
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
base=${BARE_BASE:-$top/build/bare/base}
what=${1:?which proof: build, run, test, deb or docker}
tree=$top/build/bare/$what

say() { printf '%s\n' "bare_system: $*" >&2; }

# The mirror and the keys that this machine itself uses.
mirror() { sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)*\([^ ]*\) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null | head -n 1; }

make_base() {
  [[ -x $base/usr/bin/git ]] && return
  say "debootstrap into $base"
  mkdir -p "$base"
  debootstrap --variant=minbase --include=git bookworm "$base" "$(mirror)" >"$base.log" 2>&1 || { tail "$base.log"; exit 1; }
}

# A fresh copy of the base as $tree.
fresh() {
  rm -rf "${tree:?}"
  mkdir -p "$(dirname "$tree")"
  cp -a "$base" "$tree"
  rm -f "$tree"/etc/apt/sources.list
  cp /etc/apt/sources.list.d/*.sources "$tree/etc/apt/sources.list.d/" 2>/dev/null || cp /etc/apt/sources.list "$tree/etc/apt/"
  cp -L /etc/resolv.conf /etc/hosts "$tree/etc/"
  for tool in make cc python3 curl cmake; do
    [[ ! -e $tree/usr/bin/$tool ]] || { say "not bare: $tool is there"; exit 1; }
  done
}

# Runs a script inside a tree, with mounts and processes of its own: it sees none of this machine's, and
# what it leaves running ends with it.
inside() {
  # shellcheck disable=SC2016
  unshare --mount --pid --fork --kill-child bash -c '
    set -e
    mount --make-rprivate /
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    exec chroot "$1" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
      TERM=dumb bash -euo pipefail -c "$2"' inside "$1" "$2"
}

clone() { git clone --quiet --no-local "$top" "$tree/src"; }

prove_build() {
  clone
  inside "$tree" 'cd /src && ./dev build && build/release/portcullis --version'
  say "a second time, with nothing to install:"
  inside "$tree" 'cd /src && time ./dev build'
}

prove_run() {
  clone
  inside "$tree" "$(<"$top/tests/packaging/quick_start.sh")"
}

prove_test() {
  clone
  inside "$tree" 'cd /src && time ./dev test'
}

prove_deb() {
  local -a packages=("$top"/build/release/*.deb)
  cp "${packages[0]}" "$tree/tmp/portcullis.deb"
  # shellcheck disable=SC2016
  inside "$tree" '
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends /tmp/portcullis.deb
    portcullis --version
    getent passwd portcullis
    ls -ld /etc/portcullis /etc/portcullis/portcullis.toml
    test "$(stat -c %U:%G:%a /etc/portcullis/portcullis.toml)" = root:portcullis:640
    test -L /etc/systemd/system/multi-user.target.wants/portcullis.service || ! command -v deb-systemd-helper
    for file in /lib/systemd/system/portcullis.{service,socket} /usr/share/doc/portcullis/copyright \
      /usr/share/man/man8/portcullis.8.gz /usr/share/man/man5/portcullis.toml.5.gz; do test -s "$file"; done
    zcat /usr/share/doc/portcullis/changelog.gz | head -n 1 | grep -F "portcullis ($(dpkg-query -W -f "\${Version}" portcullis))"
    grep -x "ExecStart=/usr/sbin/portcullis serve --config /etc/portcullis/portcullis.toml" \
      /lib/systemd/system/portcullis.service
    test "$(dpkg-query -W -f "\${Conffiles}" portcullis | grep -c /)" = 1
    # It runs as its user and reads its configuration, which wants a certificate of the admin first.
    code=0
    setpriv --reuid=portcullis --regid=portcullis --clear-groups portcullis check || code=$?
    test "$code" = 78
    # An account that root makes can be read by the service.
    echo "a secret" | portcullis passwd add alice@example.com --file /etc/portcullis/users --stdin
    echo "a secret" | setpriv --reuid=portcullis --regid=portcullis --clear-groups \
      portcullis passwd verify alice@example.com --file /etc/portcullis/users --stdin
    rm /etc/portcullis/users
    test -z "$(ldd /usr/sbin/portcullis | grep "not found")"
    echo "# mine" >>/etc/portcullis/portcullis.toml
    dpkg -i /tmp/portcullis.deb
    tail -n 1 /etc/portcullis/portcullis.toml | grep -q mine
    dpkg --remove portcullis
    test ! -e /usr/sbin/portcullis
    test -e /etc/portcullis/portcullis.toml
    dpkg --purge portcullis
    test ! -e /etc/portcullis && test ! -e /var/lib/portcullis
    test ! -e /etc/systemd/system/multi-user.target.wants/portcullis.service
    echo "deb: ok"'
}

make_base
fresh
case $what in
  build | run | test | deb) "prove_$what" ;;
  docker) /usr/bin/python3 "$top/tests/packaging/docker_steps.py" "$top" "$base" "$tree" ;;
  *) say "no such proof: $what"; exit 64 ;;
esac
say "$what: proven"
