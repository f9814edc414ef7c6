package cpu

import "golang.org/x/sys/unix"

func adviseHugePages([]byte) {}

// machineMemory returns the machine's memory; what of it is available is not told simply, so three quarters are taken for it.
func machineMemory() (total, available int64) {
	bytes, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0, 0
	}
	return int64(bytes), int64(bytes) / 4 * 3
}
