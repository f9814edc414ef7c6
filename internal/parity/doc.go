// Package parity runs one workload on two sides, each in a process of its own, and tells where their tokens part: the command
// minisgl token-parity. A side is a device with modifiers (see ParseSide), so that two devices can be compared, two kernel
// paths of one, or one device with and without prefix cache, chunked prompts, overlap.
//
// When tokens differ, Trace replays the step on both devices and on the float64 reference, and names the first operation whose
// error stands out.
package parity
