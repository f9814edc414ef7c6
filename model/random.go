package model

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"minisgl/tensor"
)

// randomFill makes weights as a model has them before training: normal with standard deviation 0.02, and ones in norms.
type randomFill struct {
	seed  uint64
	dtype tensor.DType
	// normal holds equally likely values: at place i the normal distribution's quantile (i + ½)/4096, in bits of dtype.
	normal [4096]uint32
}

func newRandomFill(seed uint64, dtype tensor.DType) *randomFill {
	const deviation = 0.02
	r := &randomFill{seed: seed, dtype: dtype}
	var element [4]byte
	for i := range r.normal {
		probability := (float64(i) + 0.5) / float64(len(r.normal))
		value := deviation * math.Sqrt2 * math.Erfinv(2*probability-1)
		putFloats(element[:], dtype, []float32{float32(value)})
		r.normal[i] = binary.LittleEndian.Uint32(element[:])
	}
	return r
}

// randomType is the type of random weights: the wanted one, else the config's, else bfloat16.
func randomType(wanted, config tensor.DType) tensor.DType {
	for _, d := range []tensor.DType{wanted, config} {
		if d == tensor.F32 || d == tensor.F16 {
			return d
		}
		if d == tensor.BF16 {
			break
		}
	}
	return tensor.BF16
}

// fill makes the tensor of a name. Its values depend on seed, name and position only.
func (w *weights) fill(name string, shape []int) *tensor.Tensor {
	t := w.allocate(name, w.random.dtype, shape)
	switch {
	case t == nil:
	case strings.HasSuffix(name, "norm.weight"):
		putFloats(t.Data, t.DType, slices.Repeat([]float32{1}, t.Cols()))
	default:
		hash := fnv.New64a()
		hash.Write([]byte(name))
		w.random.fill(t.Data, w.random.seed^hash.Sum64())
	}
	return t
}

func (r *randomFill) fill(data []byte, seed uint64) {
	const chunk = 1 << 18
	inParallel((len(data)+chunk-1)/chunk, func(i int) {
		part := data[i*chunk : min((i+1)*chunk, len(data))]
		state := mix(seed + uint64(i))
		if r.dtype.BlockBytes() == 4 {
			r.fill32(part, state)
		} else {
			r.fill16(part, state)
		}
	})
}

// fill16 draws elements of two bytes.
func (r *randomFill) fill16(dst []byte, state uint64) {
	pick := func(bits uint64) uint64 { return uint64(r.normal[bits%4096]) }
	for ; len(dst) >= 8; dst = dst[8:] {
		state += splitmix
		bits := mix(state)
		binary.LittleEndian.PutUint64(dst, pick(bits)|pick(bits>>16)<<16|pick(bits>>32)<<32|pick(bits>>48)<<48)
	}
	for bits := mix(state + splitmix); len(dst) >= 2; dst, bits = dst[2:], bits>>16 {
		binary.LittleEndian.PutUint16(dst, uint16(pick(bits)))
	}
}

// fill32 draws elements of four bytes.
func (r *randomFill) fill32(dst []byte, state uint64) {
	for ; len(dst) >= 4; dst = dst[4:] {
		state += splitmix
		binary.LittleEndian.PutUint32(dst, r.normal[mix(state)%4096])
	}
}

// splitmix and mix are the generator SplitMix64 (Steele, Lea and Flood 2014).
const splitmix = 0x9e3779b97f4a7c15

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// inParallel calls work(0) to work(n-1) from as many goroutines as there are processors.
func inParallel(n int, work func(i int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	group.Wait()
}
