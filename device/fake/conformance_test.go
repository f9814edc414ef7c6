package fake_test

import (
	"testing"

	"minisgl/device"
	"minisgl/device/devicetest"
	"minisgl/device/fake"
)

func TestConformance(t *testing.T) {
	for name, mode := range map[string]fake.Mode{"at submit": fake.AtSubmit, "at wait": fake.AtWait, "concurrent": fake.Concurrent} {
		t.Run(name, func(t *testing.T) {
			devicetest.Run(t, func(testing.TB) device.Device { return fake.New(fake.Options{Run: mode}) }, devicetest.Options{NoModel: true})
		})
	}
}
