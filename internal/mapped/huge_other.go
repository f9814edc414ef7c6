//go:build unix && !linux

package mapped

func wantHugePages([]byte) {}
