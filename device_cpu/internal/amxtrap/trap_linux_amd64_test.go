//go:build amxtrap

package amxtrap

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"

	"minisgl/tensor"
)

func TestMain(m *testing.M) {
	if !cpuid.CPU.Supports(cpuid.AVX512F) {
		os.Stdout.WriteString("skipped: this processor has no AVX512F, which the emulation needs\n")
		return
	}
	if err := Install(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// Prefixes of a VEX instruction.
const none, p66, pF3, pF2 = 0, 1, 2, 3

// Places of the code's arguments: RDI has the tiles' shapes, RSI memory of 1 KB a tile, and RDX 64.
var (
	loadConfig  = []byte{0xc4, 0xe2, 0x78, 0x49, 0x07} // ldtilecfg [rdi]
	storeConfig = []byte{0xc4, 0xe2, 0x79, 0x49, 0x07} // sttilecfg [rdi]
	release     = []byte{0xc4, 0xe2, 0x78, 0x49, 0xc0} // tilerelease
	ret         = []byte{0xc3}
)

func zero(tile byte) []byte { return []byte{0xc4, 0xe2, 0x7b, 0x49, 0xc0 | tile<<3} }

// move is tileloadd, tileloaddt1 or tilestored of [rsi + rdx + 1024·tile].
func move(prefix, tile byte) []byte {
	code := []byte{0xc4, 0xe2, 0x78 | prefix, 0x4b, 0x84 | tile<<3, 0x16}
	return binary.LittleEndian.AppendUint32(code, 1024*uint32(tile))
}

func load(tile byte) []byte  { return move(pF2, tile) }
func store(tile byte) []byte { return move(pF3, tile) }

func dot(prefix, opcode, sums, left, right byte) []byte {
	return []byte{0xc4, 0xe2, (^right & 15 << 3) | prefix, opcode, 0xc0 | sums<<3 | left}
}

func dotBF16(sums, left, right byte) []byte { return dot(pF3, 0x5c, sums, left, right) }

// A shape is a tile's rows and bytes of a row.
type shape struct{ rows, bytes byte }

func config(shapes ...shape) *[64]byte {
	c := &[64]byte{1}
	for i, s := range shapes {
		c[16+2*i], c[48+i] = s.bytes, s.rows
	}
	return c
}

// execute runs instructions between LDTILECFG and TILERELEASE.
func execute(t *testing.T, config *[64]byte, memory []byte, instructions ...[]byte) {
	t.Helper()
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(page)
	copy(page, slices.Concat(loadConfig, slices.Concat(instructions...), release, ret))
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		t.Fatal(err)
	}
	run(page, unsafe.Pointer(config), unsafe.Pointer(&memory[0]), 64)
}

// VPDPWSSD adds two products of signed numbers to each sum, whatever overflows.
func TestAddProducts(t *testing.T) {
	if cpuid.CPU.Supports(cpuid.AVXVNNI) {
		t.Log("this processor has the instruction itself")
	}
	r := rand.New(rand.NewPCG(5, 2))
	const sums, left, right = 0, 8, 16 // places in memory
	memory := make([]int32, 24)
	for i := range memory {
		memory[i] = int32(r.Uint32())
	}
	lowest := int32(-1 << 15)
	memory[left], memory[right] = lowest<<16|lowest&0xffff, lowest<<16|lowest&0xffff
	var want [8]int32
	for i := range want {
		a, b := memory[left+i], memory[right+i]
		want[i] = memory[sums+i] + int32(int16(a))*int32(int16(b)) + (a>>16)*(b>>16)
	}
	execute(t, config(), unsafe.Slice((*byte)(unsafe.Pointer(&memory[0])), 4*len(memory)),
		[]byte{0xc5, 0x7e, 0x6f, 0x0e},                   // vmovdqu ymm9, [rsi]
		[]byte{0xc5, 0xfe, 0x6f, 0x56, 0x20},             // vmovdqu ymm2, [rsi + 32]
		[]byte{0xc5, 0x7e, 0x6f, 0x5e, 0x40},             // vmovdqu ymm11, [rsi + 64]
		[]byte{0xc4, 0x42, 0x6d, 0x52, 0xcb},             // vpdpwssd ymm9, ymm2, ymm11
		[]byte{0xc5, 0x7e, 0x7f, 0x0e, 0xc5, 0xf8, 0x77}, // vmovdqu [rsi], ymm9; vzeroupper
	)
	if got := [8]int32(memory[sums:]); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// The sums of bfloat16 pairs: the terms of one row and one output, what the sum is before, and what it becomes.
func TestDotBF16(t *testing.T) {
	huge, tiny := float32(1<<24), float32(math.Ldexp(1, -100))
	for _, c := range []struct {
		name        string
		sum         float32
		left, right []float32
		want        float32
	}{
		{"plain", 0.5, []float32{1, 2, 3, 4}, []float32{10, 20, 30, 40}, 300.5},
		{"even and odd inputs are added before the sum", -huge, []float32{huge, 1}, []float32{1, 1}, 0},
		{"inputs ascend", 0, []float32{huge, 0, 1, 0, -huge, 0}, []float32{1, 1, 1, 1, 1, 1}, 0},
		{"even and odd inputs have sums of their own", 0, []float32{huge, 1, 0, 1, -huge, 0}, []float32{1, 1, 1, 1, 1, 1}, 2},
		{"a product is not rounded", -huge, []float32{4097, 0}, []float32{4097, 0}, float32(bf16(4097)*bf16(4097)) - huge},
		{"ties go to even", huge, []float32{1, 0}, []float32{1, 0}, huge},
		{"and upwards where that is even", huge + 2, []float32{1, 0}, []float32{1, 0}, huge + 4},
		{"a denormal input is 0", 0, []float32{float32(math.Ldexp(1, -130)), 0}, []float32{huge, 0}, 0},
		{"a denormal result is 0", 0, []float32{tiny, 0}, []float32{tiny * huge * huge, 0}, 0},
		{"a denormal sum is 0", float32(math.Ldexp(1, -130)), []float32{0, 0}, []float32{0, 0}, 0},
		{"infinity stays", float32(math.Inf(1)), []float32{1, 1}, []float32{1, 1}, float32(math.Inf(1))},
	} {
		t.Run(c.name, func(t *testing.T) {
			memory := make([]byte, 3*1024)
			put := func(at int, v float32) { binary.LittleEndian.PutUint32(memory[at:], math.Float32bits(v)) }
			half := func(at int, v float32) { binary.LittleEndian.PutUint16(memory[at:], tensor.Float32ToBF16(v)) }
			put(0, c.sum)
			for k := range c.left {
				half(1024+2*k, c.left[k])
				half(2048+k/2*64+k%2*2, c.right[k])
			}
			pairs := byte(len(c.left) / 2)
			execute(t, config(shape{1, 4}, shape{1, 4 * pairs}, shape{pairs, 4}), memory, load(0), load(1), load(2), dotBF16(0, 1, 2), store(0))
			if got := math.Float32frombits(binary.LittleEndian.Uint32(memory)); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func bf16(v float32) float32 { return tensor.BF16ToFloat32(tensor.Float32ToBF16(v)) }

// Products of bytes, with and without sign, in tiles of several sizes; what lies outside the sums' size stays.
func TestDotBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 1))
	extend := func(b byte, signed bool) int32 {
		if signed {
			return int32(int8(b))
		}
		return int32(b)
	}
	for _, c := range []struct {
		name                    string
		prefix                  byte
		leftSigned, rightSigned bool
	}{{"TDPBSSD", pF2, true, true}, {"TDPBSUD", pF3, true, false}, {"TDPBUSD", p66, false, true}, {"TDPBUUD", none, false, false}} {
		for _, size := range []struct{ rows, columns, depth int }{{16, 16, 16}, {1, 1, 1}, {5, 16, 8}, {16, 3, 16}, {7, 9, 11}} {
			memory := make([]byte, 3*1024)
			for i := range memory {
				memory[i] = byte(r.Uint32())
			}
			want := slices.Clone(memory)
			for row := range size.rows {
				for j := range size.columns {
					sum := binary.LittleEndian.Uint32(memory[row*64+4*j:])
					for k := range size.depth {
						for i := range 4 {
							sum += uint32(extend(memory[1024+row*64+4*k+i], c.leftSigned) * extend(memory[2048+k*64+4*j+i], c.rightSigned))
						}
					}
					binary.LittleEndian.PutUint32(want[row*64+4*j:], sum)
				}
			}
			shapes := config(shape{byte(size.rows), byte(4 * size.columns)}, shape{byte(size.rows), byte(4 * size.depth)},
				shape{byte(size.depth), byte(4 * size.columns)})
			execute(t, shapes, memory, load(0), move(p66, 1), load(2), dot(c.prefix, 0x5e, 0, 1, 2), store(0))
			if !slices.Equal(memory, want) {
				t.Errorf("%s, %v: differs", c.name, size)
			}
		}
	}
}

func TestZeroAndShapes(t *testing.T) {
	memory := slices.Repeat([]byte{7}, 1024)
	shapes := config(shape{2, 8})
	execute(t, shapes, memory, load(0), zero(0), store(0), storeConfig)
	want := slices.Repeat([]byte{7}, 1024)
	clear(want[:8])
	clear(want[64:72])
	if !slices.Equal(memory, want) || *shapes != *config(shape{2, 8}) {
		t.Errorf("two rows of 8 bytes: % x, shape % x", memory[:128], *shapes)
	}
}

// What the processor refuses ends the process, as it would there.
func TestRefusals(t *testing.T) {
	full := shape{16, 64}
	reserved := config(full)
	reserved[5] = 1
	palette := config(full)
	palette[0] = 2
	for _, c := range []struct {
		name   string
		config *[64]byte
		code   []byte
	}{
		{"not refused", config(full), zero(0)},
		{"a palette that does not exist", palette, zero(0)},
		{"a reserved byte", reserved, zero(0)},
		{"17 rows", config(shape{17, 64}), zero(0)},
		{"65 bytes a row", config(shape{16, 65}), zero(0)},
		{"rows without bytes", config(shape{16, 0}), zero(0)},
		{"a tile that is not configured", config(full), zero(1)},
		{"tiles released before", config(full), slices.Concat(release, load(0))},
		{"a tile twice", config(full, full, full), dotBF16(0, 1, 1)},
		{"rows differ", config(shape{15, 64}, full, full), dotBF16(0, 1, 2)},
		{"depths differ", config(full, full, shape{15, 64}), dot(pF2, 0x5e, 0, 1, 2)},
		{"columns differ", config(full, full, shape{16, 60}), dot(pF2, 0x5e, 0, 1, 2)},
		{"no AMX", config(full), []byte{0x0f, 0x0b}},
		{"a float16 product, which AMX-BF16 does not have", config(full, full, full), dot(pF2, 0x5c, 0, 1, 2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if os.Getenv("AMXTRAP_REFUSAL") == c.name {
				execute(t, c.config, make([]byte, 3*1024), c.code)
				return
			}
			if os.Getenv("AMXTRAP_REFUSAL") != "" {
				return
			}
			process := exec.Command(os.Args[0], "-test.run", "^TestRefusals$")
			process.Env = append(os.Environ(), "AMXTRAP_REFUSAL="+c.name, "GOTRACEBACK=none")
			output, err := process.CombinedOutput()
			refused := err != nil && strings.Contains(string(output), "SIGILL")
			if refused == (c.name == "not refused") {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}
