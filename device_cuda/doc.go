//go:build cuda

// Package cuda is the CUDA device.
package cuda
