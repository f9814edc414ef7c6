//go:build cuda

package driver_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"minisgl/device_cuda/driver"
)

// stub and old are libraries made of testdata/stub.c, driver and NVRTC in one: old lacks cuLaunchKernelEx.
var stub, old string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		folder, err := os.MkdirTemp("", "driver-test")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		stub, old = filepath.Join(folder, "stub.so"), filepath.Join(folder, "old.so")
		for library, define := range map[string]string{stub: "-DWHOLE", old: "-DWITHOUT_LAUNCH"} {
			if out, err := exec.Command("cc", "-shared", "-fPIC", "-O1", define, "-o", library, "testdata/stub.c").CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "cc: %v\n%s", err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// stubbed returns options for the stub, with a cache of the test's own.
func stubbed(t testing.TB) driver.Options {
	return driver.Options{CUDA: stub, NVRTC: stub, Cache: t.TempDir()}
}

func open(t testing.TB, o driver.Options) *driver.Card {
	t.Helper()
	card, err := driver.Open(0, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { card.Close() })
	return card
}

// addParams is the argument of the stub's kernels: add adds Value to each of Count numbers.
type addParams struct {
	To           driver.Ptr
	Value, Count uint32
}

// launches makes launches of the stub's kernels, by name; add adds 1 to each of count numbers at p.
func launches(t testing.TB, card *driver.Card, p driver.Ptr, count int, kernels ...string) []driver.Launch {
	t.Helper()
	module, err := card.Compile("kernels.cu", "the kernels", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var result []driver.Launch
	for _, kernel := range kernels {
		f, err := module.Function(kernel)
		if err != nil {
			t.Fatal(err)
		}
		result = append(result, driver.Launch{
			Function: f, Grid: [3]int{1, 1, 1}, Block: 32, Dependent: true,
			Params: driver.Bytes(&addParams{To: p, Value: 1, Count: uint32(count)}),
		})
	}
	return result
}

func plan(t testing.TB, card *driver.Card, l []driver.Launch, graph bool) *driver.Plan {
	t.Helper()
	p, err := card.NewPlan(l, graph)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func alloc(t testing.TB, card *driver.Card, bytes int64) driver.Ptr {
	t.Helper()
	p, err := card.Alloc(bytes)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func pinned(t testing.TB, card *driver.Card, bytes int) driver.Pinned {
	t.Helper()
	p, err := card.AllocPinned(bytes)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}
