package gguf

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"minisgl/tensor"
)

// testdata/make.py writes values.gguf with the gguf package of PyPI.
func TestValues(t *testing.T) {
	f, err := Open("testdata/values.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := Metadata{
		"general.architecture": "qwen2",
		"general.alignment":    uint32(64),
		"value.uint8":          uint8(200),
		"value.int8":           int8(-100),
		"value.uint16":         uint16(60000),
		"value.int16":          int16(-30000),
		"value.uint32":         uint32(4000000000),
		"value.int32":          int32(-2000000000),
		"value.uint64":         uint64(1 << 63),
		"value.int64":          int64(-1 << 62),
		"value.float32":        float32(0.25),
		"value.float64":        1e300,
		"value.bool":           true,
		"value.string":         "Grüße\nan 世界",
		"list.string":          []string{"a", "", "Ġthe", "世界"},
		"list.int32":           []int32{1, -2, 3},
		"list.float32":         []float32{0.5, -1.5},
		"list.bool":            []bool{true, false},
		"list.uint8":           []uint8{1, 255},
		"list.uint32":          []uint32{1, 4000000000},
		"list.uint64":          []uint64{1, 1 << 63},
		"list.float64":         []float64{1e300},
	}
	for key, value := range want {
		if !reflect.DeepEqual(f.Metadata[key], value) {
			t.Errorf("%s is %T(%v), want %T(%v)", key, f.Metadata[key], f.Metadata[key], value, value)
		}
	}
	if len(f.Metadata) != len(want) {
		t.Errorf("%d keys, want %d", len(f.Metadata), len(want))
	}
	rows := make([]float32, 6*32)
	for i := range rows {
		rows[i] = float32(i)/8 - 10
	}
	for _, c := range []struct {
		name   string
		dtype  tensor.DType
		shape  []int
		within float32
	}{
		{"f32", tensor.F32, []int{6, 32}, 0},
		{"f16", tensor.F16, []int{6, 32}, 0},
		{"bf16", tensor.BF16, []int{6, 32}, 0},
		{"q8_0", tensor.Q8_0, []int{6, 32}, 0.06},
		{"q4_0", tensor.Q4_0, []int{6, 32}, 1},
		{"cube", tensor.F32, []int{2, 3, 32}, 0},
		{"vector", tensor.F32, []int{32}, 0},
	} {
		got := f.Tensors[c.name]
		if got == nil || got.DType != c.dtype || !slices.Equal(got.Shape, c.shape) {
			t.Errorf("tensor %s is %v, want %s %v", c.name, got, c.dtype, c.shape)
			continue
		}
		if c.dtype.Quantised() && !bytes.Equal(tensor.Quantise(c.dtype, rows), got.Data) {
			t.Errorf("%s is quantised to %x, want %x", c.name, tensor.Quantise(c.dtype, rows), got.Data)
		}
		for i, v := range got.Float32() {
			if d := v - rows[i]; d > c.within || d < -c.within {
				t.Errorf("%s: element %d is %v, want %v ± %v", c.name, i, v, rows[i], c.within)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if f.Tensors["f32"].Data != nil {
		t.Error("a tensor has data after Close")
	}
}

// A file is built field by field, so that tests can lie in any of them.
type file struct{ bytes.Buffer }

func (f *file) put(values ...any) *file {
	for _, v := range values {
		if s, ok := v.(string); ok {
			f.put(uint64(len(s)))
			f.WriteString(s)
			continue
		}
		binary.Write(f, binary.LittleEndian, v)
	}
	return f
}

func start(version uint32, tensors, keys uint64) *file {
	f := &file{}
	f.WriteString("GGUF")
	return f.put(version, tensors, keys)
}

func (f *file) tensor(name string, kind uint32, offset uint64, dims ...uint64) *file {
	return f.put(name, uint32(len(dims)), dims, kind, offset)
}

// body aligns to 32 and adds n bytes of data.
func (f *file) body(n int) *file {
	f.Write(make([]byte, align(f.Len(), 32)-f.Len()+n))
	return f
}

func TestVersion2(t *testing.T) {
	f, err := Parse(start(2, 1, 1).put("k", uint32(kindUint32), uint32(7)).tensor("t", 0, 0, 4, 2).body(32).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := f.Metadata.Int("k"); f.Version != 2 || n != 7 || !slices.Equal(f.Tensors["t"].Shape, []int{2, 4}) {
		t.Errorf("version %d, k %d, %v", f.Version, n, f.Tensors["t"])
	}
}

type badFile struct {
	file *file
	want string // in the error
}

func badFiles() map[string]badFile {
	const huge = 1 << 62
	return map[string]badFile{
		"empty":               {&file{}, "not a GGUF file"},
		"only magic":          {start(3, 0, 0).cut(4), "ends within its header"},
		"counts cut short":    {start(3, 1<<60, 0).cut(17), "ends within its header"},
		"version 1":           {start(1, 0, 0), "version 1 is not supported; supported: 2, 3"},
		"big endian":          {start(3<<24, 0, 0), "big-endian"},
		"many tensors":        {start(3, huge, 0), "4611686018427387904 tensors cannot be"},
		"many keys":           {start(3, 0, huge), "4611686018427387904 keys"},
		"100,000 tensors":     {start(3, 100000, 0), "cannot be in a file of 24 bytes"},
		"huge key":            {start(3, 0, 1).put(uint64(huge)).body(9), "ends within its header"},
		"long key":            {start(3, 0, 1).put(strings.Repeat("k", 70000)).body(9), "longer than the 65536 allowed"},
		"unknown value":       {start(3, 0, 1).put("k", uint32(99), uint64(0)), `key "k": value type 99`},
		"unknown element":     {start(3, 0, 1).put("k", uint32(kindArray), uint32(99), uint64(0)), `key "k": element type 99`},
		"array of arrays":     {start(3, 0, 1).put("k", uint32(kindArray), uint32(kindArray), uint64(1)), "arrays of arrays"},
		"huge array":          {start(3, 0, 1).put("k", uint32(kindArray), uint32(kindInt32), uint64(huge)), `key "k": the file ends`},
		"huge bools":          {start(3, 0, 1).put("k", uint32(kindArray), uint32(kindBool), uint64(huge)), `key "k": the file ends`},
		"huge strings":        {start(3, 0, 1).put("k", uint32(kindArray), uint32(kindString), uint64(huge)), `key "k": the file ends`},
		"overflowing array":   {start(3, 0, 1).put("k", uint32(kindArray), uint32(kindUint64), uint64(1<<61+1)), `key "k": the file ends`},
		"string cut short":    {start(3, 0, 1).put("k", uint32(kindString), uint64(100), uint32(0)), `key "k": the file ends`},
		"same key":            {start(3, 0, 2).put("k", uint32(kindBool), true, "k", uint32(kindBool), true).body(9), `key "k" occurs twice`},
		"alignment 0":         {start(3, 0, 1).put("general.alignment", uint32(kindUint32), uint32(0)), "general.alignment is 0"},
		"alignment text":      {start(3, 0, 1).put("general.alignment", uint32(kindString), "32"), "general.alignment is 32"},
		"five dimensions":     {start(3, 1, 0).tensor("t", 0, 0, 1, 1, 1, 1, 1).body(4), `tensor "t": 5 dimensions`},
		"huge dimension":      {start(3, 1, 0).tensor("t", 0, 0, 1<<63).body(4), `tensor "t": dimension 9223372036854775808`},
		"overflowing shape":   {start(3, 1, 0).tensor("t", 0, 0, 1<<40, 1<<40).body(4), "overflows"},
		"ragged blocks":       {start(3, 1, 0).tensor("t", 8, 0, 33).body(64), "multiple of 32"},
		"IQ2_XXS":             {start(3, 1, 0).tensor("t", 16, 0, 256).body(66), `tensor "t": IQ2_XXS is not supported; supported: F32, F16, Q4_0`},
		"type 1000":           {start(3, 1, 0).tensor("t", 1000, 0, 256).body(66), `tensor "t": type 1000 is not supported`},
		"data cut short":      {start(3, 1, 0).tensor("t", 0, 0, 8).body(31), `tensor "t": 32 bytes at offset 0 of 31 bytes`},
		"no data":             {start(3, 1, 0).tensor("t", 0, 0, 8), "cut short or lies"},
		"offset past the end": {start(3, 1, 0).tensor("t", 0, 1<<40, 8).body(32), "cut short or lies"},
		"offset overflows":    {start(3, 1, 0).tensor("t", 0, 1<<64-32, 8).body(32), "cut short or lies"},
		"offset not aligned":  {start(3, 1, 0).tensor("t", 0, 8, 8).body(64), "no multiple of the alignment 32"},
		"overlap":             {start(3, 2, 0).tensor("t", 0, 0, 16).tensor("u", 0, 32, 8).body(64), `tensor "u": offset 32 lies in the tensor before`},
		"same tensor":         {start(3, 2, 0).tensor("t", 0, 0, 8).tensor("t", 0, 32, 8).body(64), `tensor "t" occurs twice`},
		"fewer tensors":       {start(3, 2, 0).tensor("t", 0, 0, 8), "2 tensors cannot be"},
	}
}

func TestBadFiles(t *testing.T) {
	for name, c := range badFiles() {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.file.Bytes())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func (f *file) cut(to int) *file {
	f.Truncate(to)
	return f
}

func TestEveryTruncationIsAnError(t *testing.T) {
	whole, err := os.ReadFile("testdata/values.gguf")
	if err != nil {
		t.Fatal(err)
	}
	const padding = 64 // at most, behind the last tensor
	for n := range len(whole) - padding {
		if _, err := Parse(whole[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are accepted", n, len(whole))
		}
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	script := filepath.Join("testdata", "make.py")
	if _, err := Open(script); err == nil || !strings.HasPrefix(err.Error(), script+": not a GGUF file") {
		t.Errorf("error %v", err)
	}
	if _, err := Open("testdata/missing.gguf"); !os.IsNotExist(err) {
		t.Errorf("error %v", err)
	}
}

// allocated is what a call leaves the garbage collector to do, in bytes.
func allocated(call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzParse(f *testing.F) {
	whole, err := os.ReadFile("testdata/values.gguf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(start(2, 1, 1).put("k", uint32(kindArray), uint32(kindString), uint64(1), "x").tensor("t", 8, 0, 32).body(34).Bytes())
	for _, bad := range badFiles() {
		f.Add(bad.file.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var file *File
		var err error
		if n := allocated(func() { file, err = Parse(data) }); n > uint64(64*len(data)+1<<16) {
			t.Fatalf("%d bytes allocated for %d", n, len(data))
		}
		if err != nil {
			return
		}
		for _, v := range file.Tensors {
			if size, err := v.DType.Size(v.Shape); err != nil || size != int64(len(v.Data)) {
				t.Fatalf("%v with %d bytes: %v", v, len(v.Data), err)
			}
		}
	})
}
