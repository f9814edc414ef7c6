//go:build cuda

package kernels
