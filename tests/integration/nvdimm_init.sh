#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The first process of region_nvdimm.sh's guest. Its NVDIMM becomes /dev/pmem0 with an ext4 on it
# that is mounted with DAX, the first time anew; then the program of the kernel's command line runs.
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /proc /sys /dev /mnt
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in libnvdimm nd_btt nfit nd_pmem; do
	insmod /modules/$module.ko || echo "FAILED: insmod $module"
done

await() {
	left=100
	until [ -e "$1" ]; do
		left=$((left - 1))
		[ $left -gt 0 ] || { echo "FAILED: no $1"; poweroff -f; }
		usleep 50000
	done
}

nd=/sys/bus/nd
verb=$(sed 's/.*records=\([a-z]*\).*/\1/' /proc/cmdline)
await /dev/pmem0
if [ "$verb" = format ]; then
	# A namespace for direct access; `ndctl create-namespace --mode fsdax` does the same.
	echo namespace0.0 > $nd/drivers/nd_pmem/unbind
	echo 2097152 > $nd/devices/pfn0.0/align
	echo pmem > $nd/devices/pfn0.0/mode
	cat /proc/sys/kernel/random/uuid > $nd/devices/pfn0.0/uuid
	echo namespace0.0 > $nd/devices/pfn0.0/namespace
	echo pfn0.0 > $nd/drivers/nd_pmem/bind
	await /dev/pmem0
	mkfs.ext4 -q -b 4096 /dev/pmem0 || echo "FAILED: mkfs.ext4"
	verb=write
fi
mount -t ext4 -o dax /dev/pmem0 /mnt || echo "FAILED: mount"
nvdimm_guest "$verb" /mnt/records
umount /mnt
echo "ended"
poweroff -f
