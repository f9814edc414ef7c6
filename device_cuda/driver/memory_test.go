//go:build cuda

package driver_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"minisgl/device_cuda/driver"
)

func TestCopies(t *testing.T) {
	card := open(t, stubbed(t))
	for _, n := range []int{1, 64 << 10, 64<<10 + 1, 4 << 20, 4<<20 + 1, 37<<20 + 5} { // below, at and beyond staging buffers
		source := make([]byte, n)
		random := rand.NewChaCha8([32]byte{byte(n)})
		random.Read(source)
		p := alloc(t, card, int64(n))
		if err := card.Upload(p, source); err != nil {
			t.Fatal(err)
		}
		copied := make([]byte, n)
		if err := card.Download(copied, p); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(copied, source) {
			t.Errorf("%d bytes came back changed", n)
		}
		if err := card.Free(p); err != nil {
			t.Error(err)
		}
	}
}

func TestFill(t *testing.T) {
	card := open(t, stubbed(t))
	p := alloc(t, card, 8)
	got := make([]byte, 8)
	if err := errors.Join(card.Fill(p, 1, 8), card.Fill(p.Offset(2), 7, 3), card.Download(got, p)); err != nil {
		t.Fatal(err)
	}
	if want := []byte{1, 1, 7, 7, 7, 1, 1, 1}; !bytes.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestOutOfMemory(t *testing.T) {
	t.Setenv("STUB_MEMORY", "1048576")
	card := open(t, stubbed(t))
	p := alloc(t, card, 1<<19)
	_, err := card.Alloc(1 << 20)
	wantError(t, err, "1.0 MiB asked for", "512 KiB of 1.0 MiB are free")
	if !errors.Is(err, driver.ErrMemory) || errors.Is(err, driver.ErrLost) {
		t.Errorf("%v must be ErrMemory and not ErrLost", err)
	}
	if err := card.Free(p); err != nil {
		t.Errorf("the card does not go on: %v", err)
	}
	alloc(t, card, 1<<20)
}

func TestWrongFrees(t *testing.T) {
	card := open(t, stubbed(t))
	p := alloc(t, card, 16)
	if err := card.Free(p); err != nil {
		t.Fatal(err)
	}
	wantError(t, card.Free(p), "not allocated")
	wantError(t, card.FreePinned(driver.Pinned{Bytes: make([]byte, 1)}), "not allocated")
	_, err := card.Alloc(-1)
	wantError(t, err, "-1 bytes")
	if p, err := card.Alloc(0); p != 0 || err != nil {
		t.Errorf("no bytes: %v, %v", p, err)
	}
}

func TestCheckModePoisonsMemoryAndFindsLeaks(t *testing.T) {
	o := stubbed(t)
	o.Check = true
	card := open(t, o)
	p := alloc(t, card, 3)
	got := make([]byte, 3)
	if err := card.Download(got, p); err != nil || !bytes.Equal(got, []byte{255, 255, 255}) {
		t.Errorf("new memory is %v, %v", got, err)
	}
	pinned(t, card, 1024)
	wantError(t, card.Close(), "2 pieces of memory, 1.0 KiB")
}

func TestUseAfterClose(t *testing.T) {
	card := open(t, stubbed(t))
	p := plan(t, card, launches(t, card, 0, 0, "add"), true)
	src := pinned(t, card, 16)
	if err := card.Close(); err != nil {
		t.Fatal(err)
	}
	_, allocError := card.Alloc(1)
	_, compileError := card.Compile("kernels.cu", "", nil, nil)
	for what, err := range map[string]error{
		"alloc": allocError, "compile": compileError, "upload": card.Upload(0, []byte{1}),
		"submit": card.Submit(p, 0, src, 16).Wait(), "plan": p.Close(),
	} {
		if err == nil {
			t.Errorf("%s works after Close", what)
		}
	}
	if err := card.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	card.Info()
}
