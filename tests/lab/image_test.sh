#!/usr/bin/env bash
# How guest-image.sh gets its kernel, with a Debian archive that is not one: apt-cache says much
# more than is wanted (whoever stops reading kills it), the archive is asked once, a kept kernel is
# enough, and every failure is told. Needs neither root nor a network.
set -euo pipefail
lab=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
work=$(mktemp -d /tmp/us-lab-image.XXXXXX)
trap 'rm -rf "$work"' EXIT
export FAKE=$work/fake UNDERSTUDY_LAB_CACHE=$work/cache
unset UNDERSTUDY_LAB_ARCHIVE
mkdir -p "$FAKE/bin"

fail() {
    echo "FAILED: $*" >&2
    cat "$work/said" "$FAKE/calls" >&2 || true
    exit 1
}

# ---- an archive: what it answers stands in $FAKE/version, and is nothing when it is silent ----

cat >"$FAKE/bin/apt-cache" <<'F'
#!/bin/sh
echo "apt-cache $1" >>"$FAKE/calls"
[ -s "$FAKE/version" ] || { echo "E: No packages found" >&2 && exit 100; }
case $1 in
    depends) printf 'linux-image-cloud-amd64\n  Depends: linux-image-1-cloud-amd64\n' ;;
    show) printf 'Package: linux-image-1-cloud-amd64\nVersion: %s\n' "$(cat "$FAKE/version")" ;;
esac
i=0
while [ $i -lt 20000 ]; do # far more than a pipe holds
    echo "  Depends: linux-image-wrong" && echo "Version: wrong" || exit 1
    i=$((i + 1))
done
F
cat >"$FAKE/bin/apt-get" <<'F'
#!/bin/sh
echo "apt-get $*" >>"$FAKE/calls"
case $* in
    *download*) cp "$FAKE/kernel.deb" "linux-image-1-cloud-amd64_1_amd64.deb" ;;
    *update*) [ -s "$FAKE/version" ] ;;
esac
F
chmod +x "$FAKE/bin"/*
PATH=$FAKE/bin:$PATH

make_package() { # make_package FILE…: a package of these files
    local file
    rm -rf "$FAKE/tree"
    mkdir -p "$FAKE/tree/DEBIAN"
    printf 'Package: linux-image-1-cloud-amd64\nVersion: 1\nArchitecture: amd64\n%s\n' \
        "Maintainer: nobody <nobody@localhost>"$'\n'"Description: of a test" \
        >"$FAKE/tree/DEBIAN/control"
    for file; do
        mkdir -p "$(dirname "$FAKE/tree/$file")"
        echo "$file" >"$FAKE/tree/$file"
    done
    dpkg-deb --root-owner-group --build "$FAKE/tree" "$FAKE/kernel.deb" >/dev/null
}
make_package boot/vmlinuz-1 lib/modules/1/virtio_blk.ko lib/modules/1/other.ko

answers() { echo "$1" >"$FAKE/version"; }
silent() { : >"$FAKE/version"; }
downloads() { grep -c download "$FAKE/calls" || true; }

# make [VARIABLE=…]: sets $image and $result; what went to stderr is in $work/said
make() {
    result=0
    : >"$FAKE/calls"
    image=$(env "$@" "$lab/guest-image.sh" 2>"$work/said") || result=$?
}
made() { [ "$result" = 0 ] && [ -s "$image/vmlinuz" ] && [ -s "$image/initrd" ]; }
says() { grep -qF -- "$1" "$work/said"; }

# ---- no kernel is kept ----

silent
make
{ [ "$result" = 1 ] && [ -z "$image" ]; } || fail "an image without a kernel: $result $image"
says "No packages found" || fail "why is not told"
says "Give this machine access to a Debian 12 archive" || fail "what to do is not told"
[ "$(grep -c depends "$FAKE/calls")" -le 2 ] || fail "asked again and again"

make UNDERSTUDY_LAB_ARCHIVE=never
{ [ "$result" = 1 ] && says "never" && [ ! -s "$FAKE/calls" ]; } || fail "asked although forbidden"
make UNDERSTUDY_LAB_ARCHIVE=perhaps
{ [ "$result" = 1 ] && says "perhaps"; } || fail "a wrong word was taken"

answers 6.1-1
make_package usr/share/doc/nothing
make
{ [ "$result" = 1 ] && says "holds no boot/vmlinuz"; } || fail "a package without a kernel: $result"
make_package boot/vmlinuz-1 lib/modules/1/virtio_blk.ko lib/modules/1/other.ko

# Two at once: both have it, the archive was asked by one.
: >"$FAKE/calls"
"$lab/guest-image.sh" >"$work/one" 2>"$work/said" &
"$lab/guest-image.sh" >"$work/two" || fail "the second of two"
wait $! || fail "the first of two"
cmp "$work/one" "$work/two" || fail "two images"
[ "$(downloads)" = 1 ] || fail "downloaded $(downloads) times"
image=$(cat "$work/one") result=0
made || fail "no image in $image"
[[ $image == *6.1-1-* ]] || fail "not the version that the archive has: $image"
zcat "$image/initrd" | cpio -t >"$work/packed" 2>/dev/null
grep -q '^lib/virtio_blk.ko$' "$work/packed" || fail "a module is missing"
! grep -q 'other' "$work/packed" || fail "a module that nobody wants"

# ---- a kernel is kept ----

first=$image
answers 6.1-2
make
{ made && [ "$image" = "$first" ] && [ ! -s "$FAKE/calls" ]; } || fail "asked although one is kept"
silent
make UNDERSTUDY_LAB_ARCHIVE=ask
{ made && [ "$image" = "$first" ]; } || fail "no image while the archive is silent"
says "going on with the kernel that is kept" || fail "not told that the archive is silent"
answers 6.1-2
make UNDERSTUDY_LAB_ARCHIVE=ask
{ made && [[ $image == *6.1-2-* ]] && [ ! -s "$work/said" ]; } || fail "no newer one: $image"
make UNDERSTUDY_LAB_ARCHIVE=ask
{ made && [ "$(downloads)" = 0 ]; } || fail "downloaded what is kept"
make
{ made && [[ $image == *6.1-2-* ]]; } || fail "the older one: $image"

touch -d '70 days ago' "$first" "$work/cache/kernel-6.1-1-"*
make
{ made && [ ! -e "$first" ]; } || fail "what nobody has used for long is still there"
[ -z "$(find "$work/cache" -name '.new.*')" ] || fail "left half: $(ls -A "$work/cache")"

# ---- where it is kept, and the other recipes ----

make -u UNDERSTUDY_LAB_CACHE XDG_CACHE_HOME="$work/home"
{ made && [[ $image == "$work/home/understudy/lab/"* ]]; } || fail "not in the user's cache: $image"
printf '#!/bin/sh\nexit 1\n' >"$FAKE/bin/gcc"
chmod +x "$FAKE/bin/gcc"
! "$lab/quick-guest.sh" 2>"$work/said" || fail "a quick guest without a compiler"
says "./dev setup" || fail "quick-guest.sh does not tell what to do"
! "$lab/domain-xml.sh" --name x --image "" 2>"$work/said" || fail "a definition without an image"
says "guest-image.sh" || fail "domain-xml.sh does not tell what is missing"
[ -z "$(find "$work/cache" -name '.new.*')" ] || fail "left half: $(ls -A "$work/cache")"
echo ok
