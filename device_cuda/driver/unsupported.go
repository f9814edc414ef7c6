//go:build cuda && !(linux && cgo)

package driver

// This line does not compile, and says why.
var _ = "the tag cuda needs Linux and cgo: a C compiler, and CGO_ENABLED=1" + 1
