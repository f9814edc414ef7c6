package cpu

import (
	"runtime"

	"github.com/klauspost/cpuid/v2"
)

// features asks the processor for each of the features that a path needs.
func features(ids ...cpuid.FeatureID) []feature {
	var list []feature
	for _, id := range ids {
		list = append(list, feature{id.String(), cpuid.CPU.Supports(id)})
	}
	return list
}

// defaultThreads is the number of cores that this process may use: a second thread on a core gains nothing, since one
// saturates its arithmetic, and two its memory.
func defaultThreads() int {
	threads := runtime.GOMAXPROCS(0)
	if perCore := cpuid.CPU.ThreadsPerCore; perCore > 1 && threads == runtime.NumCPU() {
		threads = max(threads/perCore, 1)
	}
	return threads
}
