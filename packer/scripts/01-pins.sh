#!/bin/bash
# Every pin of extensions.toml exists in the suite. Runs first and installs nothing: a pin that
# has aged out is known within seconds and named together with what could replace it (K-003).
set -euo pipefail
source "$(dirname "$0")/lib/manifest.sh"

# A suite frozen for a while has a Release file past its Valid-Until; the signature still holds.
echo 'Acquire::Check-Valid-Until "false";' >/etc/apt/apt.conf.d/80beyond
apt-get update -qq -o APT::Update::Error-Mode=any

missing=0
while read -r package version; do
    carried=$(apt-cache madison "$package" | awk -F'|' '{ gsub(/ /, "", $2); print $2 }')
    if ! grep --quiet --line-regexp --fixed-strings -- "$version" <<<"$carried"; then
        echo "pin is gone: $package $version (exists: ${carried:-none under this name})" >&2
        missing=$((missing + 1))
    fi
done < <(pins)

if ((missing > 0)); then
    echo "HINT: cargo run -p fake-substrate -- image pins --update   writes what exists into extensions.toml" >&2
    exit 1
fi
echo "checked $(pins | wc -l) pins"
