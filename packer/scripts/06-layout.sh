#!/bin/bash
# The folders and the base configuration of the rootfs (B-002, F-002). What stands here
# belongs to the image and is replaced with it; all that belongs to the database is on the
# volume, which is empty now and mounted over /var/lib/postgresql by PID 1.
set -euo pipefail

readonly CONF=/etc/postgresql/18/main
readonly PGDATA=/var/lib/postgresql/18/main

install --directory --mode=0755 --owner=postgres --group=postgres \
    /var/lib/postgresql "$CONF" /etc/pgbouncer
install --directory --mode=2775 --owner=postgres --group=postgres /run/postgresql
install --directory --mode=0755 \
    /etc/beyond /etc/postgresql/18/hooks/{pre-start,post-start,pre-stop,pre-fork}.d

# Debian's default, and at its end what places the files. The later line wins: conf.d over all that
# comes before it, and over conf.d only what PID 1 says while the volume is nearly full. That file
# lies on tmpfs, since a measure against a full volume must need no room on it and must not outlive
# the machine's boot. pg_hba.conf and pg_ident.conf are rendered at each boot.
{
    cat /usr/share/postgresql/18/postgresql.conf.sample
    cat <<CONF

#------------------------------------------------------------------------------
# Where this image keeps things. Settings go to conf.d/99-user.conf on the volume.
#------------------------------------------------------------------------------
data_directory = '$PGDATA'
hba_file = '$CONF/pg_hba.conf'
ident_file = '$CONF/pg_ident.conf'
include_dir = '$PGDATA/conf.d'
include_if_exists = '/run/beyond-pg/disk.conf'
CONF
} >"$CONF/postgresql.conf"
chmod 0644 "$CONF/postgresql.conf"
chown postgres:postgres "$CONF/postgresql.conf"

# Read by the server itself, since a misplaced quote shows only there: an empty conf.d stands
# in for the volume, and is gone before the layer is written.
trap 'rm -rf /var/lib/postgresql/18' EXIT
install --directory --mode=0700 --owner=postgres --group=postgres "$PGDATA"
runuser -u postgres -- /usr/lib/postgresql/18/bin/initdb --pgdata="$PGDATA" --auth=trust --no-sync >/dev/null
runuser -u postgres -- mkdir "$PGDATA/conf.d"
shown=$(runuser -u postgres -- /usr/lib/postgresql/18/bin/postgres \
    -C data_directory -c config_file="$CONF/postgresql.conf")
if [[ $shown != "$PGDATA" ]]; then
    echo "$CONF/postgresql.conf places the data in $shown" >&2
    exit 1
fi
echo "configuration read from $CONF"
