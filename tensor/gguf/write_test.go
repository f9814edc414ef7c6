package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"minisgl/tensor"
)

// sources are a file's tensors in an order, to be written again.
func (f *File) sources(names ...string) (all []Source) {
	for _, name := range names {
		t := f.Tensors[name]
		all = append(all, Source{Name: name, DType: t.DType, Shape: t.Shape, Write: func(w io.Writer) error {
			_, err := w.Write(t.Data)
			return err
		}})
	}
	return all
}

// The gguf package of PyPI wrote values.gguf, with its keys in another order.
func TestWriteAgreesWithThePythonPackage(t *testing.T) {
	want, err := os.ReadFile("testdata/values.gguf")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(want)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := Write(&got, f.Metadata, f.sources("f32", "f16", "cube", "vector", "bf16", "q8_0", "q4_0")); err != nil {
		t.Fatal(err)
	}
	size := 64 // of the header: what lies before the first tensor
	for &want[size] != &f.Tensors["f32"].Data[0] {
		size += 64
	}
	if got.Len() != len(want) || !bytes.Equal(got.Bytes()[size:], want[size:]) {
		t.Errorf("%d bytes are written, want %d, of which those from %d on are the same", got.Len(), len(want), size)
	}
	back, err := Parse(got.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back.Metadata, f.Metadata) || !reflect.DeepEqual(back.Tensors, f.Tensors) {
		t.Errorf("read back as %v\n%v, want %v\n%v", back.Metadata, back.Tensors, f.Metadata, f.Tensors)
	}
}

func TestWriteRefuses(t *testing.T) {
	const name = "blk.0.attn_q.weight"
	one := func(dtype tensor.DType, shape ...int) []Source {
		return []Source{{Name: name, DType: dtype, Shape: shape, Write: func(w io.Writer) error { _, err := w.Write(make([]byte, 64)); return err }}}
	}
	full := errors.New("no space left")
	for what, c := range map[string]struct {
		metadata Metadata
		tensors  []Source
		want     string
	}{
		"int":            {Metadata{"k": 1}, nil, `key "k": GGUF has no type for Go's int`},
		"list of lists":  {Metadata{"k": [][]int32{{1}}}, nil, `key "k": GGUF has no type for Go's [][]int32`},
		"nothing":        {Metadata{"k": nil}, nil, `key "k": GGUF has no type for Go's <nil>`},
		"key":            {Metadata{"": true}, nil, `key "": a key has 1 to`},
		"alignment":      {Metadata{"general.alignment": uint32(12)}, nil, "general.alignment is 12"},
		"type":           {nil, one(tensor.U8, 64), `tensor "` + name + `": GGUF has no type U8`},
		"blocks":         {nil, one(tensor.Q8_0, 2, 33), "multiple of 32"},
		"dimensions":     {nil, one(tensor.F32, 1, 1, 1, 4, 4), "5 dimensions"},
		"same name":      {nil, append(one(tensor.F32, 16), one(tensor.F32, 16)...), "occurs twice"},
		"too large":      {nil, one(tensor.I8, math.MaxInt), "the file would be too large"},
		"too few bytes":  {nil, one(tensor.F32, 4, 8), "64 bytes were written, F32 [4 8] takes 128"},
		"too many bytes": {nil, one(tensor.F32, 8), "64 bytes were written, F32 [8] takes 32"},
		"name":           {nil, []Source{{Name: strings.Repeat("n", 64), DType: tensor.F32}}, "a name has 1 to 63 bytes"},
		"source":         {nil, []Source{{Name: name, DType: tensor.F32, Write: func(io.Writer) error { return full }}}, `tensor "` + name + `": no space left`},
	} {
		err := Write(io.Discard, c.metadata, c.tensors)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", what, err, c.want)
		}
	}
	for room := range 200 {
		err := Write(&limited{room, full}, Metadata{"k": "text"}, one(tensor.F32, 16))
		if !errors.Is(err, full) && room < 160 {
			t.Errorf("room for %d bytes: error %v", room, err)
		}
	}
}

// limited takes a number of bytes.
type limited struct {
	room int
	err  error
}

func (l *limited) Write(data []byte) (int, error) {
	n := min(len(data), l.room)
	l.room -= n
	if n < len(data) {
		return n, l.err
	}
	return n, nil
}

// Whatever can be read is written so that the same is read again.
func FuzzWrite(f *testing.F) {
	whole, err := os.ReadFile("testdata/values.gguf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(start(3, 2, 1).put("k", uint32(kindArray), uint32(kindString), uint64(2), "", "x").tensor("t", 8, 0, 32, 1).tensor("u", 30, 64).body(96).Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		names := slices.Sorted(maps.Keys(file.Tensors))
		var written bytes.Buffer
		if err := Write(&written, file.Metadata, file.sources(names...)); err != nil {
			if !strings.Contains(err.Error(), "a name has 1 to") && !strings.Contains(err.Error(), "a key has 1 to") {
				t.Fatal(err)
			}
			return
		}
		back, err := Parse(written.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := shown(back), shown(file); got != want {
			t.Fatalf("read back as\n%s, want\n%s", got, want)
		}
	})
}

// shown is everything that a file says, as text: NaN is equal to NaN there.
func shown(f *File) string {
	text := fmt.Sprintf("%#v\n", map[string]any(f.Metadata))
	for _, name := range slices.Sorted(maps.Keys(f.Tensors)) {
		text += fmt.Sprintf("%v %x\n", f.Tensors[name], f.Tensors[name].Data)
	}
	return text
}
