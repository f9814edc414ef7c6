package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Metadata holds a file's keys. A value has the Go type of its GGUF type: uint8 to uint64, int8 to int64, float32, float64,
// bool and string; arrays are slices of these: []string, []int32.
type Metadata map[string]any

// Int returns an integer of any width; ok is false if the key is missing or no integer that fits.
func (m Metadata) Int(key string) (value int, ok bool) {
	switch v := m[key].(type) {
	case uint8:
		return int(v), true
	case int8:
		return int(v), true
	case uint16:
		return int(v), true
	case int16:
		return int(v), true
	case uint32:
		return int(v), uint64(v) <= math.MaxInt
	case int32:
		return int(v), true
	case uint64:
		return int(v), v <= math.MaxInt
	case int64:
		return int(v), int64(int(v)) == v
	}
	return 0, false
}

// Float returns a float of either width, or an integer as one.
func (m Metadata) Float(key string) (value float64, ok bool) {
	switch v := m[key].(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	n, ok := m.Int(key)
	return float64(n), ok
}

// Text returns a string.
func (m Metadata) Text(key string) (value string, ok bool) {
	value, ok = m[key].(string)
	return value, ok
}

func (m Metadata) alignment() (int, error) {
	const key = "general.alignment"
	if m[key] == nil {
		return defaultAlignment, nil
	}
	n, ok := m.Int(key)
	if !ok || n <= 0 || n%8 != 0 || n > 1<<20 {
		return 0, fmt.Errorf("%s is %v; it must be a multiple of 8 and at most %d", key, m[key], 1<<20)
	}
	return n, nil
}

// reader reads little-endian values one after the other. The first error sticks, and everything after it reads as zero.
type reader struct {
	data []byte
	pos  int
	err  error
}

var errShort = errors.New("the file ends within its header")

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) left() int { return len(r.data) - r.pos }

func (r *reader) bytes(n int) []byte {
	if r.err == nil && n > r.left() {
		r.fail(errShort)
	}
	if r.err != nil {
		return nil
	}
	r.pos += n
	return r.data[r.pos-n : r.pos]
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// string copies, so that it outlives the mapped file.
func (r *reader) string(longest int) string {
	n := r.uint64()
	if r.err == nil && n > uint64(r.left()) {
		r.fail(errShort)
	}
	if r.err == nil && n > uint64(longest) {
		r.fail(fmt.Errorf("a name of %d bytes is longer than the %d allowed", n, longest))
	}
	if r.err != nil {
		return ""
	}
	return string(r.bytes(int(n)))
}

func (r *reader) keyValue(into Metadata) {
	key := r.string(maxName)
	if _, ok := into[key]; ok && r.err == nil {
		r.fail(fmt.Errorf("key %q occurs twice", key))
	}
	kind := r.uint32()
	if r.err != nil {
		return
	}
	var value any
	if kind == kindArray {
		value = r.array()
	} else {
		value = r.scalar(kind)
	}
	if r.err != nil {
		r.err = fmt.Errorf("key %q: %w", key, r.err)
		return
	}
	into[key] = value
}

// The numbers of enum gguf_type.
const (
	kindUint8 = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

func (r *reader) scalar(kind uint32) any {
	switch kind {
	case kindUint8:
		return first(numbers[uint8](r, 1))
	case kindInt8:
		return first(numbers[int8](r, 1))
	case kindUint16:
		return first(numbers[uint16](r, 1))
	case kindInt16:
		return first(numbers[int16](r, 1))
	case kindUint32:
		return first(numbers[uint32](r, 1))
	case kindInt32:
		return first(numbers[int32](r, 1))
	case kindFloat32:
		return first(numbers[float32](r, 1))
	case kindBool:
		return first(r.bools(1))
	case kindString:
		return r.string(math.MaxInt)
	case kindUint64:
		return first(numbers[uint64](r, 1))
	case kindInt64:
		return first(numbers[int64](r, 1))
	case kindFloat64:
		return first(numbers[float64](r, 1))
	}
	r.fail(fmt.Errorf("value type %d is unknown", kind))
	return nil
}

func (r *reader) array() any {
	kind, n := r.uint32(), r.uint64()
	if r.err != nil {
		return nil
	}
	switch kind {
	case kindUint8:
		return numbers[uint8](r, n)
	case kindInt8:
		return numbers[int8](r, n)
	case kindUint16:
		return numbers[uint16](r, n)
	case kindInt16:
		return numbers[int16](r, n)
	case kindUint32:
		return numbers[uint32](r, n)
	case kindInt32:
		return numbers[int32](r, n)
	case kindFloat32:
		return numbers[float32](r, n)
	case kindBool:
		return r.bools(n)
	case kindString:
		return r.strings(n)
	case kindArray:
		r.fail(errors.New("arrays of arrays are not supported"))
		return nil
	case kindUint64:
		return numbers[uint64](r, n)
	case kindInt64:
		return numbers[int64](r, n)
	case kindFloat64:
		return numbers[float64](r, n)
	}
	r.fail(fmt.Errorf("element type %d is unknown", kind))
	return nil
}

func first[T any](values []T) T {
	if len(values) == 0 {
		var zero T
		return zero
	}
	return values[0]
}

func numbers[T uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64 | float32 | float64](r *reader, n uint64) []T {
	var zero T
	size := uint64(binary.Size(zero))
	if n > uint64(r.left())/size {
		r.fail(errShort)
		return nil
	}
	values := make([]T, n)
	if _, err := binary.Decode(r.bytes(int(n*size)), binary.LittleEndian, values); err != nil {
		r.fail(err)
	}
	return values
}

func (r *reader) bools(n uint64) []bool {
	if n > uint64(r.left()) {
		r.fail(errShort)
		return nil
	}
	values := make([]bool, n)
	for i, b := range r.bytes(int(n)) {
		values[i] = b != 0
	}
	return values
}

func (r *reader) strings(n uint64) []string {
	const least = 8
	if n > uint64(r.left())/least {
		r.fail(errShort)
		return nil
	}
	values := make([]string, n)
	for i := range values {
		values[i] = r.string(math.MaxInt)
		if r.err != nil {
			return nil
		}
	}
	return values
}
