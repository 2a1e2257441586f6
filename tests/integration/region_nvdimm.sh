#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A stock Debian guest whose NVDIMM is a region: what it wrote with MAP_SYNC is there after a power
# failure of the host.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"

here=$(cd "$(dirname "$0")" && pwd)
cache=$BUILD_ROOT/guest-kernel
for program in qemu-system-x86_64 busybox cpio mke2fs; do
	command -v $program > /dev/null || skip "$program is missing"
done

# The kernel's package, fetched and unpacked once a build folder.
name_kernel() {
	KERNEL=$(apt-cache depends linux-image-cloud-amd64 2> /dev/null |
		sed -n 's/.*Depends: linux-image-\([0-9].*-cloud-amd64\).*/\1/p')
	[ -n "$KERNEL" ]
}

has_kernel() {
	set -- "$cache"/unpacked/boot/vmlinuz-*
	[ -e "$1" ] && KERNEL=${1##*/vmlinuz-}
}

fetch_kernel() {
	name_kernel || { apt-get update -q > "$WORK/apt" 2>&1 && name_kernel; } || return 1
	mkdir -p "$cache"
	chmod 755 "$cache"
	(cd "$cache" && apt-get download -q "linux-image-$KERNEL" > "$WORK/apt" 2>&1) ||
		{ apt-get update -q > "$WORK/apt" 2>&1 && name_kernel &&
			(cd "$cache" && apt-get download -q "linux-image-$KERNEL" > "$WORK/apt" 2>&1); } ||
		return 1
	rm -rf "$cache/part"
	dpkg -x "$cache"/linux-image-*.deb "$cache/part"
	rm -f "$cache"/linux-image-*.deb
	mv "$cache/part" "$cache/unpacked"
}

has_kernel || fetch_kernel && has_kernel ||
	skip "Debian's package linux-image-cloud-amd64 cannot be had: $(tail -n 1 "$WORK/apt")"

# copy PROGRAM...: with the libraries that it is linked with.
copy() {
	for program; do
		cp "$program" "$WORK/root/bin/"
		ldd "$program" 2> /dev/null | grep -o '/[^ ]*' | while read -r library; do
			mkdir -p "$WORK/root$(dirname "$library")"
			cp -L "$library" "$WORK/root$library"
		done
	done
}

make_initramfs() {
	mkdir -p "$WORK/root/bin" "$WORK/root/modules"
	copy "$(command -v busybox)" "$(command -v mke2fs)" "$TEST_PROGRAMS/integration/nvdimm_guest"
	mv "$WORK/root/bin/mke2fs" "$WORK/root/bin/mkfs.ext4" # busybox has another mke2fs
	for module in libnvdimm nd_btt nfit nd_pmem; do
		cp "$(find "$cache/unpacked" -name $module.ko)" "$WORK/root/modules/"
	done
	cp "$here/nvdimm_init.sh" "$WORK/root/init"
	chmod 755 "$WORK/root/init"
	ln -s busybox "$WORK/root/bin/sh"
	(cd "$WORK/root" && find . | cpio -o -H newc --quiet) > "$WORK/initramfs"
}

# boot VERB: sets QEMU and SERIAL, where its console goes.
boot() {
	SERIAL=$WORK/serial.$1
	: > "$SERIAL"
	qemu-system-x86_64 -accel tcg -machine q35,nvdimm=on,nvdimm-persistence=cpu \
		-m 256M,slots=4,maxmem=2G -nodefaults -display none -no-reboot -serial "file:$SERIAL" \
		-object "memory-backend-file,id=region,mem-path=$REGIONS/guest,size=128M,share=on" \
		-device nvdimm,memdev=region \
		-kernel "$cache/unpacked/boot/vmlinuz-$KERNEL" -initrd "$WORK/initramfs" \
		-append "console=ttyS0 panic=-1 quiet records=$1" 2> "$WORK/qemu" &
	QEMU=$!
	STARTED="$STARTED $QEMU"
}

# The number in the last whole line of the guest's that begins with the word.
last() {
	tr -d '\r' < "$SERIAL" | sed -n '$!p' | sed -n "s/^$1 \([0-9]*\)$/\1/p" | tail -n 1
}

has_acknowledged() {
	! grep -q FAILED "$SERIAL" || fail "the guest: $(cat "$SERIAL")"
	! is_gone "$QEMU" || fail "QEMU has ended: $(cat "$WORK/qemu" "$SERIAL")"
	[ "$(last acknowledged || true)0" -gt "${1}0" ]
}

guest_ended() {
	grep -q ended "$SERIAL" || is_gone "$QEMU"
}

make_initramfs
start_agent --no-ups
create guest 128M
boot format
wait_for 60 has_acknowledged 200 || fail "the guest does not write: $(tail -n 5 "$SERIAL")"

# After a save that was asked for the guest goes on.
save || fail "the save failed: $(cat "$WORK/save.err")"
wait_for 10 has_acknowledged "$(last acknowledged)" || fail "the guest does not go on after a save"

# The power fails: QEMU is stopped, and nothing is acknowledged after the save.
cut_power
grep -q '^State:[[:space:]]*T' "/proc/$QEMU/status" || fail "QEMU runs on after the save"
acknowledged=$(last acknowledged)
kill -KILL "$QEMU"
lose_power
[ ! -e "$REGIONS/guest" ] || fail "the memory is not lost"

# The guest boots again, and finds it all: the namespace, the file system, the records.
start_agent --no-ups
await 20 guest state live
boot check
wait_for 60 guest_ended || fail "the guest hangs: $(tail -n 5 "$SERIAL")"
! grep -q FAILED "$SERIAL" || fail "the guest: $(cat "$SERIAL")"
found=$(last found)
[ "${found:-0}" -ge "$acknowledged" ] || fail "$acknowledged records were acknowledged, $found are there"
echo "$acknowledged acknowledged, $found found"
wait_for 10 is_gone "$QEMU" || fail "QEMU does not end"
stop_agent
