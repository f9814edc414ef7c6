//go:build noasm || !amd64

package cpu

var nativeVariants []variant

func pause() {}
