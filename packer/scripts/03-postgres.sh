#!/bin/bash
# PostgreSQL itself, at its pinned version, without a cluster of Debian's making.
set -euo pipefail
source "$(dirname "$0")/lib/manifest.sh"

# No documentation, no translations: nobody reads them in a machine. Debian's slim base sets
# the same excludes; the bootstrapped one gets them here, before the large packages arrive.
cat >/etc/dpkg/dpkg.cfg.d/80beyond <<'CONF'
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/i18n/*
CONF

# Nothing is started by an installation: PID 1 is the only one that starts things here.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d

# Read by postgresql-18's postinst: the first boot makes the cluster, on the volume.
mkdir -p /etc/postgresql-common
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf

# libc6 and libicu78 by name, so that their pins hold (see extensions.toml).
# systemd-standalone-tmpfiles satisfies what would otherwise bring the whole of systemd in.
# postgresql-18-jit is only recommended and left out: LLVM is 136 MB, and queries short enough
# to go through a transaction pooler are slowed by compiling more often than helped.
install_pinned libc6 ca-certificates systemd-standalone-tmpfiles libicu78 \
    postgresql-common postgresql-client-18 postgresql-18

# ssl-cert made a key pair; one that ships in an image is everybody's.
rm -f /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem
find /etc/ssl/certs -xtype l -delete

/usr/lib/postgresql/18/bin/postgres --version
if [[ -e /var/lib/postgresql/18/main ]]; then
    echo "the package created a cluster in /var/lib/postgresql/18/main" >&2
    exit 1
fi
