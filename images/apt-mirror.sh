# shellcheck shell=sh
# Sourced before apt-get in a step of a build: takes Debian's packages from the mirror whose address is the secret
# apt_mirror, and where APT_SNAPSHOT has a time, as they were then. It and everything made of it lie in memory, so that
# the image still names Debian's own servers.
mirror=
if [ -s /run/secrets/apt_mirror ]; then mirror=$(cat /run/secrets/apt_mirror); fi
if [ -n "${APT_SNAPSHOT:-}" ]; then mirror=${mirror:-http://snapshot.debian.org/archive/debian}; fi
if [ -n "$mirror" ]; then
    dated=${APT_SNAPSHOT:+/$APT_SNAPSHOT}
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        if [ -e "$file" ]; then
            # Security updates lie beside the rest, at …/debian-security.
            sed --regexp-extended "s|https?://deb.debian.org/debian(-security)?|${mirror%/}\\1$dated|" "$file" \
                >"/run/apt/${file##*/}"
        fi
    done
    printf '%s "%s";\n' Dir::Etc::SourceList /dev/null Dir::Etc::SourceParts /run/apt/ \
        Dir::Cache::pkgcache '' Dir::Cache::srcpkgcache '' >/run/apt/apt.conf
    # The lists of a past day have expired.
    if [ -n "$dated" ]; then printf 'Acquire::Check-Valid-Until "false";\n' >>/run/apt/apt.conf; fi
    if [ -s /run/secrets/ca ]; then
        printf 'Acquire::https::CAInfo "/run/secrets/ca";\n' >>/run/apt/apt.conf
    fi
    export APT_CONFIG=/run/apt/apt.conf
fi
