#!/bin/sh
# need.sh PROGRAM...: sees that programs are there (what is no program is named by its path). As root on Debian it installs the packages of those that are missing;
# otherwise it prints one line that says what to install, and ends with 1. Silent when nothing is missing.
PATH=$PATH:/usr/sbin:/sbin

missing_of() {
    for program in "$@"; do
        # Debian has Python's way of making an environment in a package of its own, without a program.
        [ "$program" = python3-venv ] && python3 -c 'import ensurepip, venv' 2> /dev/null && continue
        command -v "$program" > /dev/null 2>&1 || [ -e "$program" ] || printf ' %s' "$program"
    done
}

packages_of() {
    for program in "$@"; do
        case $program in
        cc) printf ' gcc libc6-dev' ;;
        c++) printf ' g++' ;;
        java) printf ' default-jre-headless' ;;
        */zookeeper.jar) printf ' libzookeeper-java' ;;
        setpriv | setsid | unshare) printf ' util-linux' ;;
        script) printf ' bsdutils' ;;
        ip | tc) printf ' iproute2' ;;
        # Named like their packages: rsync, dash, bash, cron, shellcheck, strace, ...
        *) printf ' %s' "$program" ;;
        esac
    done
}

missing=$(missing_of "$@")
[ -n "$missing" ] || exit 0

case " $missing " in
*" cargo "*)
    # Debian's is too old for this project.
    echo "missing: cargo; install Rust 1.88 or newer, see https://rustup.rs" >&2
    exit 1
    ;;
esac

# shellcheck disable=SC2086 # a list of words
packages=$(packages_of $missing)
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null 2>&1; then
    echo "missing:$missing; install (as Debian calls them):$packages" >&2
    exit 1
fi

echo "installing$packages" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
if ! { apt-get -qq update && apt-get -qq install -y --no-install-recommends $packages; } > /dev/null; then
    echo "could not install$packages; install them by hand, then run again" >&2
    exit 1
fi

# shellcheck disable=SC2086 # a list of words
missing=$(missing_of $missing)
if [ -n "$missing" ]; then
    echo "still missing:$missing, although$packages were installed" >&2
    exit 1
fi
