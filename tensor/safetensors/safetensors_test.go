package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"minisgl/tensor"
)

// content is a file with the given header and n bytes of data.
func content(header string, n int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), make([]byte, n)...)
}

const pair = `{"__metadata__":{"format":"pt"},
	"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},
	"a":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}  `

func TestParse(t *testing.T) {
	data := content(pair, 16)
	copy(data[len(data)-4:], []byte{0, 0, 0x80, 0x3f})
	set, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	a, b := set.Tensors["a"], set.Tensors["b"]
	if len(set.Tensors) != 2 || a.DType != tensor.F32 || len(a.Shape) != 0 || a.Float32()[0] != 1 {
		t.Errorf("a is %v", a)
	}
	if b.DType != tensor.BF16 || !slices.Equal(b.Shape, []int{2, 3}) || len(b.Data) != 12 {
		t.Errorf("b is %v", b)
	}
	if &a.Data[0] != &data[len(data)-4] {
		t.Error("the data was copied")
	}
	if set.Metadata["format"] != "pt" {
		t.Errorf("metadata %v", set.Metadata)
	}
}

type badFile struct {
	data []byte
	want string // in the error
}

func badFiles() map[string]badFile {
	entry := func(dtype, shape, offsets string) string {
		return fmt.Sprintf(`{"t":{"dtype":%q,"shape":%s,"data_offsets":%s}}`, dtype, shape, offsets)
	}
	two := func(first, second string) string {
		return fmt.Sprintf(`{"t":{"dtype":"U8","shape":[8],"data_offsets":%s},"u":{"dtype":"U8","shape":[8],"data_offsets":%s}}`, first, second)
	}
	return map[string]badFile{
		"empty":                {nil, "0 bytes are too few"},
		"header beyond file":   {content("{}", 0)[:9], "header of 2 bytes in a file of 9"},
		"huge header":          {binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "longer than the 104857600 allowed"},
		"no JSON":              {content("GGUF", 0), "header: invalid character"},
		"no object":            {content("[]", 0), "expected an object"},
		"cut object":           {content(`{"t":`, 0), "header: "},
		"open object":          {content(`{`, 0), "header: "},
		"rubbish behind":       {content(`{} {}`, 0), "bytes after the object"},
		"deep nesting":         {content(`{"t":`+strings.Repeat("[", 1<<20), 0), `tensor "t"`},
		"same name":            {content(`{"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0), `"t" occurs twice`},
		"metadata not strings": {content(`{"__metadata__":{"a":1}}`, 0), "__metadata__"},
		"entry no object":      {content(`{"t":1}`, 0), `tensor "t"`},
		"unknown type":         {content(entry("F8_E4M3", "[1]", "[0,1]"), 1), `tensor "t": element type "F8_E4M3" is not supported; supported: BF16, BOOL, F16`},
		"quantised type":       {content(entry("Q8_0", "[32]", "[0,34]"), 34), `element type "Q8_0" is not supported`},
		"no shape":             {content(`{"t":{"dtype":"U8","data_offsets":[0,1]}}`, 1), `tensor "t": no shape`},
		"negative dimension":   {content(entry("U8", "[-1]", "[0,1]"), 1), "negative dimension"},
		"fractional dimension": {content(entry("U8", "[1.5]", "[0,1]"), 1), `tensor "t"`},
		"huge dimension":       {content(entry("U8", "[99999999999999999999]", "[0,1]"), 1), `tensor "t"`},
		"overflowing shape":    {content(entry("F32", "[4611686018427387904,4]", "[0,0]"), 0), "overflows"},
		"overflowing bytes":    {content(entry("F32", "[4611686018427387904]", "[0,0]"), 0), "overflows"},
		"many dimensions":      {content(entry("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1), "9 dimensions"},
		"no offsets":           {content(`{"t":{"dtype":"U8","shape":[1]}}`, 1), `tensor "t": data_offsets []`},
		"one offset":           {content(entry("U8", "[1]", "[0]"), 1), "data_offsets [0]"},
		"negative offset":      {content(entry("U8", "[1]", "[-1,0]"), 1), "data_offsets [-1 0]"},
		"offsets backwards":    {content(entry("U8", "[1]", "[1,0]"), 1), "data_offsets [1 0]"},
		"too few bytes":        {content(entry("F32", "[2]", "[0,4]"), 4), `tensor "t": F32 [2] needs 8 bytes, got 4`},
		"data cut short":       {content(entry("F32", "[2]", "[0,8]"), 7), `tensor "t": data_offsets [0, 8] in 7 bytes`},
		"data left over":       {content(entry("F32", "[2]", "[0,8]"), 9), "1 bytes behind the last tensor"},
		"overlap":              {content(two("[0,8]", "[4,12]"), 12), `tensor "u": data_offsets [4, 12] overlap`},
		"same place":           {content(two("[0,8]", "[0,8]"), 8), `tensor "u": data_offsets [0, 8] overlap`},
		"hole":                 {content(two("[0,8]", "[9,17]"), 17), "leave a hole behind 8"},
	}
}

func TestBadFiles(t *testing.T) {
	for name, c := range badFiles() {
		t.Run(name, func(t *testing.T) {
			set, err := Parse(c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("set %v, error %v, want %q", set, err, c.want)
			}
		})
	}
}

func TestManyTensors(t *testing.T) {
	var header strings.Builder
	const n = 100_000
	for i := range n {
		fmt.Fprintf(&header, `%c"layer.%d.weight":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}`, "{,"[min(i, 1)], i, i, i+1)
	}
	header.WriteByte('}')
	set, err := Parse(content(header.String(), n))
	if err != nil || len(set.Tensors) != n {
		t.Fatalf("%v, want %d tensors", err, n)
	}
}

func TestWrite(t *testing.T) {
	tensors := []*tensor.Tensor{
		{Name: "z", DType: tensor.BF16, Shape: []int{2, 2}, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{Name: "a<&>", DType: tensor.I64, Shape: []int{}, Data: []byte{8, 7, 6, 5, 4, 3, 2, 1}},
		{Name: "empty", DType: tensor.F32, Shape: []int{0, 4}, Data: nil},
	}
	var out bytes.Buffer
	if err := Write(&out, tensors, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	set, err := Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range tensors {
		got := set.Tensors[want.Name]
		if got == nil || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%v came back as %v", want, got)
		}
	}
	if !reflect.DeepEqual(set.Metadata, map[string]string{"format": "pt"}) {
		t.Errorf("metadata %v", set.Metadata)
	}
	for _, bad := range [][]*tensor.Tensor{
		{{Name: "q", DType: tensor.Q8_0, Shape: []int{32}, Data: make([]byte, 34)}},
		{{Name: "short", DType: tensor.F32, Shape: []int{2}, Data: make([]byte, 4)}},
		{tensors[0], tensors[0]},
	} {
		if err := Write(&out, bad, nil); err == nil || !strings.Contains(err.Error(), bad[0].Name) {
			t.Errorf("%v: error %v", bad, err)
		}
	}
}

func TestOpenCloses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, content(pair, 16), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Tensors["b"].Float32(); len(got) != 6 {
		t.Errorf("b is %v", got)
	}
	for range 2 {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	}
	if set.Tensors["b"].Data != nil {
		t.Error("a tensor has data after Close")
	}
	if _, err := Open(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Open(filepath.Dir(path)); err == nil {
		t.Error("a folder opens as a file")
	}
}

func TestOpenFolder(t *testing.T) {
	one := `{"%s":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`
	shardA, shardB := content(fmt.Sprintf(one, "a"), 4), content(fmt.Sprintf(one, "b"), 4)
	index := func(entries string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(`{"metadata":{"total_size":8},"weight_map":` + entries + `}`)}
	}
	folder := func(index *fstest.MapFile) fstest.MapFS {
		return fstest.MapFS{IndexFile: index, "1.safetensors": {Data: shardA}, "2.safetensors": {Data: shardB}, "sub/1.safetensors": {Data: shardA},
			"cut.safetensors": {Data: shardA[:len(shardA)-1]}}
	}
	for name, c := range map[string]struct {
		fsys fstest.MapFS
		want string // the tensors, or part of an error
	}{
		"one file":         {fstest.MapFS{SingleFile: {Data: shardA}}, "a"},
		"shards":           {folder(index(`{"a":"1.safetensors","b":"2.safetensors"}`)), "a b"},
		"some tensors":     {folder(index(`{"b":"2.safetensors"}`)), "b"},
		"nothing":          {fstest.MapFS{}, "neither model.safetensors nor model.safetensors.index.json"},
		"no JSON":          {folder(&fstest.MapFile{Data: []byte("{")}), IndexFile + ": unexpected end"},
		"no weight_map":    {folder(&fstest.MapFile{Data: []byte("{}")}), IndexFile + ": weight_map is missing"},
		"map of numbers":   {folder(index(`{"a":1}`)), IndexFile},
		"missing shard":    {folder(index(`{"a":"3.safetensors"}`)), `tensor "a": open 3.safetensors`},
		"wrong shard":      {folder(index(`{"a":"2.safetensors"}`)), `tensor "a" is not in "2.safetensors"`},
		"cut shard":        {folder(index(`{"a":"cut.safetensors"}`)), `tensor "a": cut.safetensors: tensor "a": data_offsets [0, 4] in 3 bytes`},
		"folder above":     {folder(index(`{"a":"../1.safetensors"}`)), `tensor "a": "../1.safetensors" is not the name of a file`},
		"folder below":     {folder(index(`{"a":"sub/1.safetensors"}`)), `tensor "a": "sub/1.safetensors" is not the name of a file`},
		"absolute":         {folder(index(`{"a":"/1.safetensors"}`)), "is not the name of a file"},
		"windows":          {folder(index(`{"a":"..\\1.safetensors"}`)), "is not the name of a file"},
		"the folder":       {folder(index(`{"a":"."}`)), "is not the name of a file"},
		"no name":          {folder(index(`{"a":""}`)), "is not the name of a file"},
		"the folder above": {folder(index(`{"a":".."}`)), "is not the name of a file"},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := OpenFolder(c.fsys)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				return
			}
			var names []string
			for name := range set.Tensors {
				names = append(names, name)
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("tensors %q, want %q", got, c.want)
			}
		})
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
	f.Add(content(pair, 16))
	f.Add(content(`{"t":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"u":{"dtype":"I8","shape":[0],"data_offsets":[4,4]}}`, 4))
	for _, bad := range badFiles() {
		f.Add(bad.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var set *Set
		var err error
		if n := allocated(func() { set, err = Parse(data) }); n > uint64(64*len(data)+1<<16) {
			t.Fatalf("%d bytes allocated for %d", n, len(data))
		}
		if err != nil {
			return
		}
		total := 0
		var tensors []*tensor.Tensor
		for _, v := range set.Tensors {
			total += len(v.Data)
			tensors = append(tensors, v)
		}
		if total > len(data) {
			t.Fatalf("%d bytes of tensors in a file of %d", total, len(data))
		}
		var out bytes.Buffer
		if err := Write(&out, tensors, set.Metadata); err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(out.Bytes()); err != nil {
			t.Fatal(err)
		}
	})
}
