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
	for halves := 1; halves <= 2; halves++ {
		writeNarrow(f, halves)
		writeWide(f, halves)
		writeSplit(f, halves)
	}
}

const (
	tileBytes   = 1024          // 16 rows of 64 bytes
	weightBytes = 2 * tileBytes // a panel's weights for one step of 32 inputs
	shapeBytes  = 64            // what LDTILECFG reads
	tileRows    = 16
	wideRows    = 2 * tileRows // that share a step's weights
)

// An assembly is the body of a function in the syntax of the GNU assembler.
type assembly struct{ strings.Builder }

func (a *assembly) op(format string, args ...any) { fmt.Fprintf(a, format+"\n", args...) }

// writeTileShapes writes what LDTILECFG needs for 1 to 32 rows.
func writeTileShapes(f *file) {
	f.line("")
	for rows := 1; rows <= wideRows; rows++ {
		first, second := rows, rows
		if rows > tileRows {
			first, second = tileRows, rows-tileRows
		}
		var tiles []tileShape
		for _, n := range []int{first, first, second, second, tileRows, tileRows, first, second} {
			tiles = append(tiles, tileShape{n, 64})
		}
		writeShape(f, "amxShapes", rows-1, tiles)
	}
	f.line("GLOBL amxShapes<>(SB), RODATA|NOPTR, $%d", wideRows*shapeBytes)
}

type tileShape struct{ rows, bytes int }

// writeShape writes the entry of a table for LDTILECFG. Intel's manual, volume 1, section 18.2, has the format: the palette at
// 0, bytes of a row at 16 (16 bits for each tile), rows at 48 (8 bits).
func writeShape(f *file, table string, index int, tiles []tileShape) {
	shape := [shapeBytes]byte{1}
	for i, t := range tiles {
		binary.LittleEndian.PutUint16(shape[16+2*i:], uint16(t.bytes))
		shape[48+i] = byte(t.rows)
	}
	for at := 0; at < shapeBytes; at += 8 {
		f.line("DATA %s<>+%d(SB)/8, $0x%016x", table, index*shapeBytes+at, binary.LittleEndian.Uint64(shape[at:]))
	}
}

// Tiles 0 to 3 hold sums, 4 and 5 weights, 6 and 7 activations. R8 is the distance of rows in the latter.

// writeNarrow writes the function for at most 16 rows and one panel or two, which hides how long a sum waits for the one before
// and reads memory in two streams; the twin is narrowGeneric.
func writeNarrow(f *file, halves int) {
	f.text(fmt.Sprintf("amxNarrow%d", halves), 136)
	f.op("MOVQ c_base+0(FP), DI")
	f.op("MOVQ ldc+24(FP), R9")
	f.op("SHLQ $2, R9")
	f.op("MOVQ nextC+32(FP), R12")
	f.op("LEAQ (DI)(R12*4), R12")
	f.op("MOVQ x_base+40(FP), SI")
	f.op("MOVQ w_base+64(FP), BX")
	f.op("MOVQ nextW+88(FP), R11")
	f.op("LEAQ (BX)(R11*2), R11")
	f.op("MOVQ steps+96(FP), DX")
	f.op("MOVQ rows+104(FP), CX")
	f.op("MOVQ panels+112(FP), R13")
	f.op("MOVQ add+120(FP), R14")
	f.op("MOVQ ahead+128(FP), R10")
	loadShape(f)
	var a assembly
	a.op("ldtilecfg [rax]")
	a.op("mov r8d, 64")
	for tile := range 4 {
		a.op("tilezero tmm%d", tile)
	}
	panels := []struct{ sums, weights string }{{"rdi", "rbx"}, {"r12", "r11"}}
	second := func(panel int, label string) {
		if panel == 1 {
			a.op("cmp r13, 2")
			a.op("jne %s", label)
		}
	}
	a.op("test r14, r14")
	a.op("jz step")
	for i, p := range panels {
		second(i, "step")
		for column := range 2 {
			a.op("tileloadd tmm%d, [%s + r9*1 + %d]", 2*i+column, p.sums, 64*column)
		}
	}
	a.op("step:")
	for half := range halves {
		a.op("tileloadd tmm%d, [rsi + r8*1 + %d]", 6+half, half*tileBytes)
	}
	for i, p := range panels {
		second(i, "next")
		for at := 0; at < weightBytes; at += 64 {
			a.op("prefetcht0 [%s + r10*1 + %d]", p.weights, at)
		}
		for column := range 2 {
			a.op("tileloadd tmm%d, [%s + r8*1 + %d]", 4+column, p.weights, column*tileBytes)
		}
		for half := range halves {
			for column := range 2 {
				a.op("tdpbf16ps tmm%d, tmm%d, tmm%d", 2*i+column, 6+half, 4+column)
			}
		}
	}
	a.op("add r11, %d", weightBytes)
	a.op("next:")
	a.op("add rbx, %d", weightBytes)
	a.op("add rsi, %d", halves*tileBytes)
	a.op("dec rdx")
	a.op("jnz step")
	for i, p := range panels {
		second(i, "end")
		for column := range 2 {
			a.op("tilestored [%s + r9*1 + %d], tmm%d", p.sums, 64*column, 2*i+column)
		}
	}
	a.op("end:")
	a.op("tilerelease")
	f.blob(&a)
	f.op("RET")
}

// loadShape points AX at the tiles' shape for CX rows.
func loadShape(f *file) {
	f.op("LEAQ amxShapes<>-%d(SB), AX", shapeBytes)
	f.op("SHLQ $6, CX")
	f.op("ADDQ CX, AX")
}

// writeWide writes the function for blocks of 17 to 32 rows; the twin is wideGeneric.
func writeWide(f *file, halves int) {
	f.text(fmt.Sprintf("amxWide%d", halves), 136)
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
	loadShape(f)
	var a assembly
	sums := func(op string) {
		a.op("mov rax, r9")
		a.op("shl rax, 4")
		a.op("add rax, rdi")
		for row, base := range []string{"rdi", "rax"} {
			for column := range 2 {
				a.op(op, 2*row+column, fmt.Sprintf("[%s + r9*1 + %d]", base, 64*column))
			}
		}
	}
	a.op("ldtilecfg [rax]")
	a.op("mov r8d, 64")
	a.op("block:")
	a.op("lea r12, [rsi + r11]")
	for tile := range 4 {
		a.op("tilezero tmm%d", tile)
	}
	a.op("test r14, r14")
	a.op("jz start")
	sums("tileloadd tmm%d, %s")
	a.op("start:")
	a.op("mov rcx, rdx")
	a.op("step:")
	for column := range 2 {
		a.op("tileloadd tmm%d, [rbx + r8*1 + %d]", 4+column, column*tileBytes)
	}
	for half := range halves {
		for row, base := range []string{"rsi", "r12"} {
			a.op("tileloadd tmm%d, [%s + r8*1 + %d]", 6+row, base, half*tileBytes)
		}
		for row := range 2 {
			for column := range 2 {
				a.op("tdpbf16ps tmm%d, tmm%d, tmm%d", 2*row+column, 6+row, 4+column)
			}
		}
	}
	a.op("mov rax, r15")
	a.op("test rax, rax")
	a.op("jz next")
	a.op("ahead:")
	for line := range 4 {
		a.op("prefetcht1 [r10 + %d]", 64*line)
	}
	a.op("add r10, 256")
	a.op("sub rax, 4")
	a.op("jnz ahead")
	a.op("next:")
	a.op("add rbx, %d", weightBytes)
	a.op("add rsi, %d", halves*tileBytes)
	a.op("add r12, %d", halves*tileBytes)
	a.op("dec rcx")
	a.op("jnz step")
	sums("tilestored %[2]s, tmm%[1]d")
	// The next block of rows meets the same weights.
	a.op("imul rax, rdx, %d", weightBytes)
	a.op("sub rbx, rax")
	a.op("imul rax, rdx, %d", halves*tileBytes)
	a.op("sub rsi, rax")
	a.op("lea rsi, [rsi + r11*2]")
	a.op("mov rax, r9")
	a.op("shl rax, 5")
	a.op("add rdi, rax")
	a.op("dec r13")
	a.op("jnz block")
	a.op("tilerelease")
	f.blob(&a)
	f.op("RET")
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
	var a assembly
	// Mask k1, k2: which of the last step's inputs are there.
	a.op("kxnorw k3, k3, k3")
	a.op("kmovd k1, eax")
	a.op("shr eax, 16")
	a.op("kmovd k2, eax")
	a.op("row:")
	a.op("mov r10, rdi")
	a.op("mov r11, rsi")
	a.op("mov rcx, rdx")
	a.op("step:")
	a.op("kmovw k4, k3")
	a.op("kmovw k5, k3")
	a.op("cmp rcx, 1")
	a.op("jne load")
	a.op("kmovw k4, k1")
	a.op("kmovw k5, k2")
	a.op("load:")
	a.op("vmovups zmm0{k4}{z}, [r11]")
	a.op("vmovups zmm1{k5}{z}, [r11 + 64]")
	a.op("vcvtne2ps2bf16 zmm2, zmm1, zmm0")
	a.op("vmovdqu32 [r10], zmm2")
	if halves == 2 {
		a.op("vextracti64x4 ymm4, zmm2, 1")
		a.op("vpmovzxwd zmm3, ymm2")
		a.op("vpmovzxwd zmm4, ymm4")
		a.op("vpslld zmm3, zmm3, 16")
		a.op("vpslld zmm4, zmm4, 16")
		a.op("vsubps zmm0, zmm0, zmm3")
		a.op("vsubps zmm1, zmm1, zmm4")
		a.op("vcvtne2ps2bf16 zmm2, zmm1, zmm0")
		a.op("vmovdqu32 [r10 + %d], zmm2", tileBytes)
	}
	a.op("add r11, 128")
	a.op("add r10, %d", halves*tileBytes)
	a.op("dec rcx")
	a.op("jnz step")
	a.op("add rdi, 64")
	a.op("add rsi, r9")
	a.op("dec r8")
	a.op("jnz row")
	a.op("vzeroupper")
	f.blob(&a)
	f.op("RET")
}

// gnu writes instructions in GNU (Intel) syntax into a function in Go's.
func (f *file) gnu(write func(a *assembly)) {
	var a assembly
	write(&a)
	f.blob(&a)
}

// blob assembles a body in GNU (Intel) syntax and writes its bytes.
func (f *file) blob(a *assembly) {
	dir, err := os.MkdirTemp("", "gen")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	object, binaryFile := filepath.Join(dir, "o"), filepath.Join(dir, "b")
	as := exec.Command("as", "--64", "-o", object, "-")
	as.Stdin = strings.NewReader(".intel_syntax noprefix\n.text\n" + a.String())
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
