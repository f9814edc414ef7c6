package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Go's assembler knows neither AMX nor the conversion to bfloat16. So the bodies of these kernels are written in the syntax of
// the GNU assembler, which turns them into bytes; their arguments are loaded in Go's syntax, which vet checks.

// writeAMX writes the kernels that multiply with AMX.
func writeAMX(f *file) {
	writeTileShapes(f)
	for _, k := range amxKernels {
		k.write(f)
	}
	for _, halves := range []int{1, 2} {
		writeSplit(f, halves)
	}
}

const (
	tileBytes   = 1024           // 16 rows of 64 bytes
	weightBytes = 2 * tileBytes  // a panel's weights for one step of 32 inputs
	stepColumns = 2              // tiles of weights in a step
	shapeBytes  = 64             // what LDTILECFG reads
	maxAMXRows  = 2 * amxTileRow // rows that share a step's weights
	amxTileRow  = 16
)

// An amxKernel multiplies blocks of rows by some steps of a panel. The sums stay in tiles 0 to 3, weights are in 4 and 5,
// activations in 6 and 7.
type amxKernel struct {
	name     string
	rowTiles int // 1: at most 16 rows; 2: at most 32
	halves   int // bfloat16 numbers that make up an activation
	prefetch string
}

var amxKernels = []amxKernel{
	{"amxNarrow1", 1, 1, "prefetcht0"},
	{"amxNarrow2", 1, 2, "prefetcht0"},
	{"amxWide1", 2, 1, "prefetcht0"},
	{"amxWide2", 2, 2, "prefetcht0"},
	{"amxNarrow2t1", 1, 2, "prefetcht1"},
	{"amxWide1t1", 2, 1, "prefetcht1"},
	{"amxWide2t1", 2, 2, "prefetcht1"},
}

// writeTileShapes writes what LDTILECFG needs for 1 to 32 rows. Intel's manual, volume 1, section 18.2, has the format: the
// palette at 0, bytes of a row at 16 (16 bits for each tile), rows at 48 (8 bits).
func writeTileShapes(f *file) {
	f.line("")
	for rows := 1; rows <= maxAMXRows; rows++ {
		var shape [shapeBytes]byte
		shape[0] = 1
		first, second := rows, rows
		if rows > amxTileRow {
			first, second = amxTileRow, rows-amxTileRow
		}
		for tile, n := range []int{first, first, second, second, amxTileRow, amxTileRow, first, second} {
			binary.LittleEndian.PutUint16(shape[16+2*tile:], 64)
			shape[48+tile] = byte(n)
		}
		for at := 0; at < shapeBytes; at += 8 {
			f.line("DATA amxShapes<>+%d(SB)/8, $0x%016x", (rows-1)*shapeBytes+at, binary.LittleEndian.Uint64(shape[at:]))
		}
	}
	f.line("GLOBL amxShapes<>(SB), RODATA|NOPTR, $%d", maxAMXRows*shapeBytes)
}

// write writes the function; the twin is amxGeneric.
func (k amxKernel) write(f *file) {
	f.text(k.name, 136)
	f.op("MOVQ c_base+0(FP), DI")
	f.op("MOVQ ldc+24(FP), R9")
	f.op("SHLQ $2, R9")
	f.op("MOVQ x_base+32(FP), SI")
	f.op("MOVQ ldx+56(FP), R11")
	f.op("SHLQ $1, R11")
	f.op("MOVQ w_base+64(FP), BX")
	f.op("MOVQ steps+88(FP), DX")
	f.op("MOVQ rows+96(FP), CX")
	f.op("MOVQ blocks+104(FP), R13")
	f.op("MOVQ add+112(FP), R14")
	f.op("MOVQ ahead+120(FP), R10")
	f.op("ADDQ BX, R10")
	f.op("MOVQ lines+128(FP), R15")
	f.op("LEAQ amxShapes<>-%d(SB), AX", shapeBytes)
	f.op("SHLQ $6, CX")
	f.op("ADDQ CX, AX")
	f.blob(k.body())
	f.op("RET")
}

// sums calls do with each tile of sums and its address; RAX is its second block of rows.
func (k amxKernel) sums(do func(tile int, address string)) {
	for row, base := range []string{"rdi", "rax"}[:k.rowTiles] {
		for column := range stepColumns {
			do(row*stepColumns+column, fmt.Sprintf("[%s + r9*1 + %d]", base, 64*column))
		}
	}
}

func (k amxKernel) body() string {
	var s strings.Builder
	op := func(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }
	secondRows := func() {
		op("mov rax, r9")
		op("shl rax, 4")
		op("add rax, rdi")
	}
	op("ldtilecfg [rax]")
	op("mov r8d, 64")
	op("block:")
	op("lea r12, [rsi + r11]")
	op("test r14, r14")
	op("jz zero")
	secondRows()
	k.sums(func(tile int, address string) { op("tileloadd tmm%d, %s", tile, address) })
	op("jmp start")
	op("zero:")
	k.sums(func(tile int, _ string) { op("tilezero tmm%d", tile) })
	op("start:")
	op("mov rcx, rdx")
	op("step:")
	for column := range stepColumns {
		op("tileloadd tmm%d, [rbx + r8*1 + %d]", 4+column, column*tileBytes)
	}
	for half := range k.halves {
		for row, base := range []string{"rsi", "r12"}[:k.rowTiles] {
			op("tileloadd tmm%d, [%s + r8*1 + %d]", 6+row, base, half*tileBytes)
		}
		for row := range k.rowTiles {
			for column := range stepColumns {
				op("tdpbf16ps tmm%d, tmm%d, tmm%d", row*stepColumns+column, 6+row, 4+column)
			}
		}
	}
	op("mov rax, r15")
	op("test rax, rax")
	op("jz next")
	op("ahead:")
	for line := range 4 {
		op("%s [r10 + %d]", k.prefetch, 64*line)
	}
	op("add r10, 256")
	op("sub rax, 4")
	op("jnz ahead")
	op("next:")
	op("add rbx, %d", weightBytes)
	op("add rsi, %d", k.halves*tileBytes)
	if k.rowTiles == 2 {
		op("add r12, %d", k.halves*tileBytes)
	}
	op("dec rcx")
	op("jnz step")
	secondRows()
	k.sums(func(tile int, address string) { op("tilestored %s, tmm%d", address, tile) })
	// The next block of rows meets the same weights.
	op("imul rax, rdx, %d", weightBytes)
	op("sub rbx, rax")
	op("imul rax, rdx, %d", k.halves*tileBytes)
	op("sub rsi, rax")
	op("lea rsi, [rsi + r11*%d]", k.rowTiles)
	op("mov rax, r9")
	op("shl rax, %d", 3+k.rowTiles)
	op("add rdi, rax")
	op("dec r13")
	op("jnz block")
	op("tilerelease")
	return s.String()
}

// writeSplit writes the function that turns activations into tiles of bfloat16; the twin is splitGeneric.
func writeSplit(f *file, halves int) {
	f.text(fmt.Sprintf("amxSplit%d", halves), 80)
	f.op("MOVQ t_base+0(FP), DI")
	f.op("MOVQ x_base+24(FP), SI")
	f.op("MOVQ ldx+48(FP), R9")
	f.op("SHLQ $2, R9")
	f.op("MOVQ steps+56(FP), DX")
	f.op("MOVQ last+64(FP), AX")
	f.op("MOVQ rows+72(FP), R8")
	var s strings.Builder
	op := func(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }
	// Mask k1, k2: which of the last step's inputs are there.
	op("kxnorw k3, k3, k3")
	op("kmovd k1, eax")
	op("shr eax, 16")
	op("kmovd k2, eax")
	op("row:")
	op("mov r10, rdi")
	op("mov r11, rsi")
	op("mov rcx, rdx")
	op("step:")
	op("kmovw k4, k3")
	op("kmovw k5, k3")
	op("cmp rcx, 1")
	op("jne load")
	op("kmovw k4, k1")
	op("kmovw k5, k2")
	op("load:")
	op("vmovups zmm0{k4}{z}, [r11]")
	op("vmovups zmm1{k5}{z}, [r11 + 64]")
	op("vcvtne2ps2bf16 zmm2, zmm1, zmm0")
	op("vmovdqu32 [r10], zmm2")
	if halves == 2 {
		op("vextracti64x4 ymm4, zmm2, 1")
		op("vpmovzxwd zmm3, ymm2")
		op("vpmovzxwd zmm4, ymm4")
		op("vpslld zmm3, zmm3, 16")
		op("vpslld zmm4, zmm4, 16")
		op("vsubps zmm0, zmm0, zmm3")
		op("vsubps zmm1, zmm1, zmm4")
		op("vcvtne2ps2bf16 zmm2, zmm1, zmm0")
		op("vmovdqu32 [r10 + %d], zmm2", tileBytes)
	}
	op("add r11, 128")
	op("add r10, %d", halves*tileBytes)
	op("dec rcx")
	op("jnz step")
	op("add rdi, 64")
	op("add rsi, r9")
	op("dec r8")
	op("jnz row")
	op("vzeroupper")
	f.blob(s.String())
	f.op("RET")
}

// blob assembles a body in GNU (Intel) syntax and writes its bytes.
func (f *file) blob(body string) {
	dir, err := os.MkdirTemp("", "gen")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	object, binaryFile := filepath.Join(dir, "o"), filepath.Join(dir, "b")
	as := exec.Command("as", "--64", "-o", object, "-")
	as.Stdin = strings.NewReader(".intel_syntax noprefix\n.text\n" + body)
	for _, c := range []*exec.Cmd{as, exec.Command("objcopy", "-O", "binary", "-j", ".text", object, binaryFile)} {
		if text, err := c.CombinedOutput(); err != nil {
			log.Fatalf("%s: %v\n%s", c, err, text)
		}
	}
	code, err := os.ReadFile(binaryFile)
	if err != nil {
		log.Fatal(err)
	}
	for len(code) > 0 {
		n := min(len(code), 8)
		var line bytes.Buffer
		for i, b := range code[:n] {
			if i > 0 {
				line.WriteString("; ")
			}
			fmt.Fprintf(&line, "BYTE $0x%02x", b)
		}
		f.op("%s", line.String())
		code = code[n:]
	}
}
