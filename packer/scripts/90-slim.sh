#!/bin/bash
# What only the build needed. In the same layer as what it removes, or nothing gets smaller.
set -euo pipefail

apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/lib/dpkg/*-old \
    /var/log/apt /var/log/*.log /tmp/* /var/tmp/*

if [[ -n $(ls -A /var/lib/apt/lists) ]]; then
    echo "/var/lib/apt/lists is not empty" >&2
    exit 1
fi
echo "slimmed to $(du --summarize --human-readable --one-file-system / | cut -f1)"
