# shellcheck shell=sh
# Sourced before apt-get in a step of a build: takes Debian's packages from the mirror whose address is the secret
# apt_mirror. It and everything made of it lie in memory, so that the image still names Debian's own servers.
if [ -s /run/secrets/apt_mirror ]; then
    mirror=$(cat /run/secrets/apt_mirror)
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        if [ -e "$file" ]; then
            # Security updates lie beside the rest, at …/debian-security.
            sed "s|https*://deb.debian.org/debian|${mirror%/}|" "$file" >"/run/apt/${file##*/}"
        fi
    done
    printf '%s "%s";\n' Dir::Etc::SourceList /dev/null Dir::Etc::SourceParts /run/apt/ \
        Dir::Cache::pkgcache '' Dir::Cache::srcpkgcache '' >/run/apt/apt.conf
    if [ -s /run/secrets/ca ]; then
        printf 'Acquire::https::CAInfo "/run/secrets/ca";\n' >>/run/apt/apt.conf
    fi
    export APT_CONFIG=/run/apt/apt.conf
fi
