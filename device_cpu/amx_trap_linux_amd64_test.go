//go:build amxtrap && !noasm

package cpu

import (
	"github.com/klauspost/cpuid/v2"

	"minisgl/device_cpu/internal/amxtrap"
)

// With the build tag amxtrap tests run the assembly of path amx on processors without AMX, whose instructions are then
// emulated. AVX512_BF16, which has the rounding, they must have.
func init() {
	if cpuid.CPU.Supports(cpuid.AMXTILE) {
		return
	}
	if err := amxtrap.Install(); err != nil {
		panic(err)
	}
	for i := range variants {
		if v := &variants[i]; v.name == "amx" {
			// They are not faster than anything when they are emulated.
			amxQuantised.tiles = &byteTiles{amxBytes.round, amxBytes.dot, func() int { return 2 }}
			v.features = append(features(append(avx512Features, cpuid.AVX512VNNI, cpuid.AVX512BF16)...), feature{"AMXEMULATED", true})
		}
	}
}
