#!/bin/bash
# PgBouncer. Below 1.26.1 a client that has not logged in can spin it for ever or become
# another SCRAM user (CVE-2026-107349, CVE-2026-107350), hence the floor beside the pin.
set -euo pipefail
source "$(dirname "$0")/lib/manifest.sh"

install_pinned pgbouncer

# The boot renders both; Debian's would only be read by mistake.
rm -f /etc/pgbouncer/pgbouncer.ini /etc/pgbouncer/userlist.txt /etc/default/pgbouncer

version=$(pgbouncer --version | awk 'NR == 1 { print $2 }')
if dpkg --compare-versions "$version" lt 1.26.1; then
    echo "PgBouncer $version is below 1.26.1" >&2
    exit 1
fi
pgbouncer --version
