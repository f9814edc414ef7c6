//go:build !noasm

package cpu

import "golang.org/x/sys/unix"

// amxPermitted asks the kernel to let this process use AMX's tiles, and reports whether it does (arch_prctl(2),
// ARCH_REQ_XCOMP_PERM; Linux 5.16 and later).
func amxPermitted() bool {
	const requestPermission, tileData = 0x1023, 18
	_, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
}
