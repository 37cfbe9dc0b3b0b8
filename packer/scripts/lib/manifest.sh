# Sourced by the scripts beside it: the one place that reads extensions.toml during a build.
#
# The Rust side reads the file with a TOML parser; the base image has none, and installing one
# to read a list of names would outweigh most of what it installs. This awk understands the
# shapes that the file uses (one key a line, basic strings) and a test in fake-substrate
# compares its answer with the parser's.

manifest=${MANIFEST:-/etc/beyond/extensions.toml}

# entries: the keys that matter here, as "table number key value" lines. The number tells one
# [[extension]] from the next; the order of keys in it is free.
entries() {
    awk '
        /^[ \t]*#/            { next }
        /^\[\[extension\]\]/  { table = "extension"; number++; next }
        /^\[/                 { table = $0; gsub(/[][ \t]/, "", table); next }
        {
            equals = index($0, "=")
            key = substr($0, 1, equals - 1)
            gsub(/[ \t"]/, "", key)
            split(substr($0, equals + 1), quoted, "\"")
        }
        equals && table == "packages" { print table, 0, key, quoted[2] }
        equals && table == "extension" && key ~ /^(name|package|version)$/ {
            print table, number, key, quoted[2]
        }
    ' "$manifest"
}

# pins: every pinned package, one "name version" a line.
pins() {
    entries | awk '
        $1 == "packages"  { print $3, $4 }
        $3 == "package"   { package[$2] = $4 }
        $3 == "version"   { version[$2] = $4 }
        $1 == "extension" { last = $2 }
        END { for (n = 1; n <= last; n++) if (n in package) print package[n], version[n] }
    '
}

# extension_packages: the packages of the [[extension]] tables, one a line.
extension_packages() {
    entries | awk '$1 == "extension" && $3 == "package" { print $4 }'
}

# extension_names: what CREATE EXTENSION will be asked for, one a line.
extension_names() {
    entries | awk '$1 == "extension" && $3 == "name" { print $4 }'
}

# install_pinned NAME…: installs exactly the pinned versions. A name without a pin is refused,
# so nothing a script names can float.
install_pinned() {
    local name version wanted=()
    for name in "$@"; do
        version=$(pins | awk -v name="$name" '$1 == name { print $2 }')
        if [[ -z $version ]]; then
            echo "no pin for $name in extensions.toml" >&2
            echo "HINT: add it under [packages], or as package and version of an [[extension]]" >&2
            return 1
        fi
        wanted+=("$name=$version")
    done
    # A pin below what the base already carries is a downgrade, and said to be wanted here.
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        --allow-downgrades -o Dpkg::Use-Pty=0 "${wanted[@]}" >/dev/null
    for name in "${wanted[@]}"; do
        expect_version "${name%%=*}" "${name#*=}"
    done
}

# expect_version NAME VERSION: fails unless exactly this version is installed.
expect_version() {
    local found
    found=$(dpkg-query --show --showformat='${Version}' "$1")
    if [[ $found != "$2" ]]; then
        echo "$1 is installed as $found, extensions.toml pins $2" >&2
        return 1
    fi
    echo "installed $1 $2"
}
