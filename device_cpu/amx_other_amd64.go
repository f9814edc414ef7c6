//go:build !linux && !noasm

package cpu

// amxPermitted reports whether this process may use AMX's tiles: we know how to ask on Linux only.
func amxPermitted() bool { return false }
