package reference_test

import (
	"testing"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/device/reference"
)

func TestConformance(t *testing.T) {
	devicetest.Run(t, func(testing.TB) device.Device { return reference.New(2) }, devicetest.Options{Tolerance: 1e-15})
}
