# shellcheck shell=sh
# Sourced at the head of a step of a build: takes the proxies from secrets, for programs that want large or small letters.
if [ -s /run/secrets/http_proxy ]; then
    http_proxy=$(cat /run/secrets/http_proxy)
    export http_proxy HTTP_PROXY="$http_proxy"
fi
if [ -s /run/secrets/https_proxy ]; then
    https_proxy=$(cat /run/secrets/https_proxy)
    export https_proxy HTTPS_PROXY="$https_proxy"
fi
if [ -s /run/secrets/no_proxy ]; then
    no_proxy=$(cat /run/secrets/no_proxy)
    export no_proxy NO_PROXY="$no_proxy"
fi
