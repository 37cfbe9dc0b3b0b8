#!/bin/bash
# The whole, once more, as the first boot will meet it: pins, programs, libraries, owners.
set -euo pipefail
source "$(dirname "$0")/lib/manifest.sh"

while read -r package version; do
    expect_version "$package" "$version" >/dev/null
done < <(pins)

for program in postgres initdb pg_ctl pg_controldata pg_basebackup pg_receivewal psql pgbouncer; do
    command -v "$program" >/dev/null || { echo "$program is not in PATH=$PATH" >&2; exit 1; }
done

unresolved=$(find /usr/lib/postgresql/18/lib -name '*.so' -exec ldd {} + 2>/dev/null | grep 'not found' || true)
if [[ -n $unresolved ]]; then
    echo "libraries that will not load: $unresolved" >&2
    exit 1
fi

# Somebody else's key in every image would be worse than none.
keys=$(find /etc/ssl/private /etc/postgresql /var/lib/postgresql -type f -name '*.key')
if [[ -n $keys ]]; then
    echo "private keys in the image: $keys" >&2
    exit 1
fi

# What this image is made of, transitive dependencies included: those float with the suite,
# so two images of the same pins can be compared by this list.
dpkg-query --show --showformat='${Package} ${Version}\n' >/etc/beyond/packages.txt
echo "verified $(wc -l </etc/beyond/packages.txt) packages"
