//go:build !linux

package main

import "time"

// hugeBuffer is plain memory.
func hugeBuffer(n int) ([]byte, error) { return make([]byte, n), nil }

// readClock cannot tell here who uses the machine, so that every measurement counts as quiet.
func readClock() clock { return clock{at: time.Now()} }
