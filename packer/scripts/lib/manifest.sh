# Sourced by the scripts beside it: the one place that reads extensions.toml during a build.
#
# The Rust side reads the file with a TOML parser; the base image has none, and installing one
# to read a list of names would outweigh most of what it installs. This awk understands the
# shapes that the file uses (one key a line, basic strings) and a test in fake-substrate
# compares its answer with the parser's.

manifest=${MANIFEST:-/etc/beyond/extensions.toml}

# pins: every pinned package, one "name version" a line.
pins() {
    awk '
        function unquoted(text) { gsub(/^[ \t]*"?|"?[ \t]*$/, "", text); return text }
        /^[ \t]*#/          { next }
        /^\[\[extension\]\]/ { table = "extension"; package = ""; next }
        /^\[/                { table = $0; gsub(/[][ \t]/, "", table); next }
        !/=/                 { next }
        {
            key = unquoted(substr($0, 1, index($0, "=") - 1))
            value = unquoted(substr($0, index($0, "=") + 1))
        }
        table == "packages"                                     { print key, value }
        table == "extension" && key == "package"                { package = value }
        table == "extension" && key == "version" && package != "" { print package, value }
    ' "$manifest"
}

# extension_packages: the packages of the [[extension]] tables, one a line.
extension_packages() {
    awk -F'"' '
        /^\[\[extension\]\]/ { here = 1; next }
        /^\[/                { here = 0 }
        here && /^package[ \t]*=/ { print $2 }
    ' "$manifest"
}

# extension_names: what CREATE EXTENSION will be asked for, one a line.
extension_names() {
    awk -F'"' '
        /^\[\[extension\]\]/ { here = 1; next }
        /^\[/                { here = 0 }
        here && /^name[ \t]*=/ { print $2 }
    ' "$manifest"
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
