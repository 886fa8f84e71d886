package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
)

// alignment is what tensors start at a multiple of, in bytes.
const alignment = 32

func aligned(n int) int { return (n + alignment - 1) / alignment * alignment }

// An encoder writes little-endian values and keeps the first error.
type encoder struct {
	w   *bufio.Writer
	n   int
	err error
}

func (e *encoder) raw(b []byte) {
	if e.err == nil {
		_, e.err = e.w.Write(b)
		e.n += len(b)
	}
}

// value writes a number.
func (e *encoder) value(v any) {
	var b [8]byte
	switch v := v.(type) {
	case uint32:
		binary.LittleEndian.PutUint32(b[:], v)
		e.raw(b[:4])
	case int32:
		binary.LittleEndian.PutUint32(b[:], uint32(v))
		e.raw(b[:4])
	case float32:
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		e.raw(b[:4])
	case uint64:
		binary.LittleEndian.PutUint64(b[:], v)
		e.raw(b[:])
	default:
		e.err = fmt.Errorf("no number: %T", v)
	}
}

func (e *encoder) string(s string) {
	e.value(uint64(len(s)))
	e.raw([]byte(s))
}

// The metadata types that are written here.
const (
	typeUint32  uint32 = 4
	typeInt32   uint32 = 5
	typeFloat32 uint32 = 6
	typeBool    uint32 = 7
	typeString  uint32 = 8
	typeArray   uint32 = 9
)

// typed writes a metadata value preceded by its type.
func (e *encoder) typed(v any) {
	switch v := v.(type) {
	case uint32:
		e.value(typeUint32)
		e.value(v)
	case float32:
		e.value(typeFloat32)
		e.value(v)
	case bool:
		e.value(typeBool)
		e.raw([]byte{map[bool]byte{true: 1}[v]})
	case string:
		e.value(typeString)
		e.string(v)
	case []string:
		e.array(typeString, len(v))
		for _, s := range v {
			e.string(s)
		}
	case []int32:
		e.array(typeInt32, len(v))
		for _, i := range v {
			e.value(i)
		}
	case []float32:
		e.array(typeFloat32, len(v))
		for _, f := range v {
			e.value(f)
		}
	default:
		e.err = fmt.Errorf("no type of metadata: %T", v)
	}
}

func (e *encoder) array(kind uint32, n int) {
	e.value(typeArray)
	e.value(kind)
	e.value(uint64(n))
}

func (e *encoder) pad() { e.raw(make([]byte, aligned(e.n)-e.n)) }
