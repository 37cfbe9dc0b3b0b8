#!/bin/bash
# The extensions of the manifest. PostGIS is in every image (J-003), and brings GDAL with it;
# pg_partman brings Python, for maintenance scripts that run outside the server.
set -euo pipefail
source "$(dirname "$0")/lib/manifest.sh"

mapfile -t packages < <(extension_packages)
# Versioned apart from the library whose SQL it holds, and not pinned by that dependency.
install_pinned postgresql-18-postgis-3-scripts "${packages[@]}"

# Installed is what has a control file: a library's name need not be the extension's
# (postgis-3.so), and pgvector calls itself vector.
missing=0
for name in $(extension_names); do
    if [[ ! -e /usr/share/postgresql/18/extension/$name.control ]]; then
        echo "no $name.control in /usr/share/postgresql/18/extension" >&2
        missing=1
    fi
done
exit "$missing"
