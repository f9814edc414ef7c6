package cpu

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

var globalMemoryStatusEx = windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")

// machineMemory returns the machine's physical memory and what of it is available (MEMORYSTATUSEX of sysinfoapi.h).
func machineMemory() (total, available int64) {
	var status struct {
		length, load                                                                                      uint32
		totalPhys, availPhys, totalPageFile, availPageFile, totalVirtual, availVirtual, availExtendedVirt uint64
	}
	status.length = uint32(unsafe.Sizeof(status))
	if ok, _, _ := globalMemoryStatusEx.Call(uintptr(unsafe.Pointer(&status))); ok == 0 {
		return 0, 0
	}
	return int64(status.totalPhys), int64(status.availPhys)
}
