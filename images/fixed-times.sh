# shellcheck shell=sh
# Sourced at the head of a step of a build, whose last word is then fix_times: whenever it is built, and however often,
# the step leaves the same layer. SOURCE_DATE_EPOCH is the time that all files get.
export PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
# This file system is made just before the stubs of the step's mounts: what changed since, changed in this step.
began=$(stat --format=%.9Y /dev/pts)

# Logs, and the cache in which ldconfig notes when each library was changed, are emptied. Removing what a lower layer has
# would leave a mark with the time of now. Mount points belong to no layer, and can't be changed.
fix_times() {
    find /var/log /var/cache/ldconfig -xdev -type f -newerct "@$began" -exec truncate --size=0 {} + 2>/dev/null || true
    find / -xdev -newerct "@$began" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} + 2>/dev/null || true
}

# For packages that replace some of the base's. Each that pip removes would leave a mark with the time of now; of a folder
# that is this layer's own, nothing stays.
take_over_packages() {
    if ! grep --quiet --extended-regexp '^(pip|setuptools|wheel)==' /locks/*; then return; fi
    folder=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    cp --archive "$folder" /tmp/packages
    rm -r "$folder"
    mv /tmp/packages "$folder"
}

# Byte code, by one process in one order: pip's own differs from run to run. It notes the time of its source, which is
# fixed by then. Some packages have files for other versions of Python, which this one can't compile. No cell needs pip;
# of Python's own library there is what NumPy asks for, since all of it would take longer than many a framework.
compile_python() {
    fix_times
    folder=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    env --unset=SOURCE_DATE_EPOCH python -m compileall -qq -x /pip/ "$folder" || true
    env --unset=SOURCE_DATE_EPOCH PYTHONDONTWRITEBYTECODE= python -c 'import numpy' 2>/dev/null || true
    fix_times
}
