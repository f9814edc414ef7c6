//go:build cuda

// Package cuda is the CUDA device: it runs a device.Program on one NVIDIA card. Importing it registers the driver "cuda"; specs are
// "cuda", "cuda:1" (a card's number) and "cuda+float32" (all arithmetic in float32: slower, for comparing devices).
//
// Reading order: device.go opens a card, load.go brings the weights there, plan.go turns a program's operations into kernel
// launches, step.go packs a step for upload, runner.go submits it and reads the results. Package kernels holds the kernels, package driver
// speaks to CUDA.
package cuda
