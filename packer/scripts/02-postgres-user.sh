#!/bin/bash
# The user postgres, with the same number in every image that will ever be built.
#
# A volume outlives the image that filled it and stores owners as numbers. Debian's packages
# would take the next free number, which depends on what was installed before them; an image
# swap would then boot on a PGDATA owned by somebody else. So the number is fixed before the
# first package asks for the user.
set -euo pipefail

readonly ID=999

getent group postgres >/dev/null || groupadd --gid "$ID" postgres
getent passwd postgres >/dev/null || useradd --uid "$ID" --gid postgres --no-create-home \
    --home-dir /var/lib/postgresql --shell /bin/bash --comment "PostgreSQL administrator" postgres

owner=$(id --user postgres):$(id --group postgres)
if [[ $owner != "$ID:$ID" ]]; then
    echo "postgres is $owner, every volume expects $ID:$ID: the base image created it first" >&2
    exit 1
fi
echo "postgres is $owner"
