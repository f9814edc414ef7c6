//go:build cuda && !linux

package emulator

import "testing"

// Libraries skips the test: emulated cards need Linux.
func Libraries(t testing.TB) (cuda, nvrtc string) {
	t.Helper()
	t.Skip("emulated cards need Linux")
	return "", ""
}

// OldDriver skips the test.
func OldDriver(t testing.TB) string {
	t.Helper()
	Libraries(t)
	return ""
}
