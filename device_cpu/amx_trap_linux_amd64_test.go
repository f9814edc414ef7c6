//go:build amxtrap && !noasm

package cpu

import (
	"github.com/klauspost/cpuid/v2"

	"minisgl/device_cpu/internal/amxtrap"
)

// With the build tag amxtrap tests run the assembly of paths amx and avxvnni on processors without AMX or AVX-VNNI, whose
// instructions are then emulated. For amx they must have AVX512_BF16, which has the rounding.
func init() {
	for i := range variants {
		v := &variants[i]
		switch {
		case v.name == "avxvnni" && !cpuid.CPU.Supports(cpuid.AVXVNNI):
			v.features = features(avx2Features...)
		case v.name == "amx" && !cpuid.CPU.Supports(cpuid.AMXTILE):
			// They are not faster than anything when they are emulated.
			amxQuantised.tiles = &byteTiles{amxBytes.round, amxBytes.dot, func() int { return 2 }}
			v.features = features(append(avx512Features, cpuid.AVX512VNNI, cpuid.AVX512BF16)...)
		default:
			continue
		}
		v.features = append(v.features, feature{"EMULATED", true})
		if err := amxtrap.Install(); err != nil {
			panic(err)
		}
	}
}
