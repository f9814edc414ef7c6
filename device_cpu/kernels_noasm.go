//go:build noasm || !(amd64 || arm64)

package cpu

var nativeVariants []variant

func pause() {}
