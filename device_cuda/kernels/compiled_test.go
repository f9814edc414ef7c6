//go:build cuda

package kernels

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/emulator"
)

// openCard opens a real card if there is one, else an emulated one, once for all tests of the package.
var openCard = sync.OnceValues(func() (*driver.Card, error) { return driver.Open(0, driver.Options{}) })

func testCard(t testing.TB) *driver.Card {
	t.Helper()
	card, err := openCard()
	if err == nil {
		return card
	}
	if card, err = emulatedCard(emulator.Libraries(t)); err != nil {
		t.Fatal(err)
	}
	return card
}

var emulatedCard = func() func(cuda, nvrtc string) (*driver.Card, error) {
	var once sync.Once
	var card *driver.Card
	var err error
	return func(cuda, nvrtc string) (*driver.Card, error) {
		once.Do(func() { card, err = driver.Open(0, driver.Options{CUDA: cuda, NVRTC: nvrtc}) })
		return card, err
	}
}()

var compiledSets sync.Map // by shape and modules: what compiled returned before

// compiled returns the kernels of some modules for a shape, or of all.
func compiled(t testing.TB, shape Shape, modules ...string) *Set {
	t.Helper()
	key := struct {
		Shape
		modules string
	}{shape, strings.Join(modules, " ")}
	if set, ok := compiledSets.Load(key); ok {
		return set.(*Set)
	}
	sources := Sources()
	if len(modules) > 0 {
		sources = slices.DeleteFunc(sources, func(s Source) bool { return !slices.Contains(modules, s.Name) })
	}
	set, err := compile(testCard(t), shape, sources, nil)
	if err != nil {
		t.Fatal(err)
	}
	compiledSets.Store(key, set)
	return set
}

// An onCard holds what a test puts on the card, until the test ends.
type onCard struct {
	testing.TB
	*Set
}

func (b onCard) alloc(bytes int) driver.Ptr {
	b.Helper()
	p, err := b.card.Alloc(int64(max(bytes, 1)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = b.card.Free(p) })
	return p
}

func (b onCard) run(launches ...driver.Launch) {
	b.Helper()
	if err := b.card.Run(launches); err != nil {
		b.Fatal(err)
	}
}

// put uploads values to memory of their own.
func put[T any](b onCard, values []T) driver.Ptr {
	b.Helper()
	p := b.alloc(len(values) * int(unsafe.Sizeof(*new(T))))
	putAt(b, p, values)
	return p
}

func putAt[T any](b onCard, p driver.Ptr, values []T) {
	b.Helper()
	if len(values) == 0 {
		return
	}
	if err := b.card.Upload(p, asBytes(values)); err != nil {
		b.Fatal(err)
	}
}

func get[T any](b onCard, p driver.Ptr, n int) []T {
	b.Helper()
	values := make([]T, n)
	if err := b.card.Download(asBytes(values), p); err != nil {
		b.Fatal(err)
	}
	return values
}

func asBytes[T any](values []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*int(unsafe.Sizeof(*new(T))))
}
