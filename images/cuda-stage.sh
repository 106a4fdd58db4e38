#!/bin/sh
# Run in a stage of a build: gets CUDA's libraries from NVIDIA and puts those that are named into /, by their names.
#
#   cuda-stage.sh apt PACKAGE=VERSION… -- LIBRARY…     of the archives in ARCHIVES, signed with the KEYS
#   cuda-stage.sh files SHA256=URL… -- LIBRARY…        installers and archives of cuDNN
#
# ARCHIVES are addresses, KEYS are FILE=FINGERPRINT, both between spaces. /SHA256SUMS tells what was downloaded.
set -eu
kind=$1
shift
mkdir -p /fetched /unpacked
cd /fetched
fetch() { curl --fail --silent --show-error --location --retry 3 --remote-name "$1"; }

fetch_packages() { # apt refuses what the signed list of an archive does not vouch for
    for key in $KEYS; do
        fetch "${ARCHIVES%% *}/${key%%=*}" || continue # an archive has the keys of its time
        gpg --batch --quiet --no-autostart --homedir /root --import "${key%%=*}"
        gpg --batch --no-autostart --homedir /root --with-colons --fingerprint | grep -q "^fpr:::::::::${key#*=}:" || {
            echo "${key%%=*} is not the key with the fingerprint ${key#*=}" >&2
            exit 1
        }
        gpg --batch --no-autostart --homedir /root --export "${key#*=}" >>/trusted.gpg
        rm "${key%%=*}"
    done
    for archive in $ARCHIVES; do echo "deb [signed-by=/trusted.gpg] $archive /" >>/nvidia.list; done
    set -- -o Dir::Etc::SourceList=/nvidia.list -o Dir::Etc::SourceParts=/dev/null "$@"
    apt-get -o Dir::Etc::SourceList=/nvidia.list -o Dir::Etc::SourceParts=/dev/null update
    apt-get "$@"
}

wanted=
while [ "$1" != -- ]; do
    wanted="$wanted $1"
    shift
done
shift
if [ "$kind" = apt ]; then
    # shellcheck disable=SC2086  # words on purpose
    fetch_packages download $wanted
    for package in *.deb; do dpkg-deb --extract "$package" /unpacked; done
else
    for file in $wanted; do
        fetch "${file#*=}"
        name=${file##*/}
        echo "${file%%=*}  $name" | sha256sum --check --strict
        case $name in
        *.tgz) tar --extract --gzip --no-same-owner --directory=/unpacked --file="$name" ;;
        *) # an installer of installers, of which that of the toolkit begins with cuda-linux
            sh "$name" --noexec --keep --target /unpacked/parts
            find /unpacked/parts -name "cuda-linux*" -exec sh {} --noexec --keep --target /unpacked/toolkit \;
            ;;
        esac
    done
fi
sha256sum ./* | tee /SHA256SUMS
for library; do
    found=$(find /unpacked -name "$library" ! -path '*/stubs/*' | head -n 1)
    [ -n "$found" ] || {
        echo "what was downloaded has no $library" >&2
        exit 1
    }
    cp --dereference "$found" "/$library"
done
