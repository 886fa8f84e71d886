package gguf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/engine/gguf"
)

func TestWrite(t *testing.T) {
	var one, again, three bytes.Buffer
	require.NoError(t, gguf.Write(&one, 1))
	require.NoError(t, gguf.Write(&again, 1))
	require.NoError(t, gguf.Write(&three, 3))
	require.True(t, bytes.Equal(one.Bytes(), again.Bytes()), "not the same bytes")

	head := one.Bytes()
	require.Equal(t, "GGUF", string(head[:4]))
	require.Equal(t, uint32(3), binary.LittleEndian.Uint32(head[4:]), "version")
	require.Equal(t, uint64(3+9), binary.LittleEndian.Uint64(head[8:]), "tensors")
	require.Zero(t, one.Len()%32, "the last tensor is padded")

	// Four matrices of 64×64, three of 64×128 and two norms, of 32-bit floats, and
	// nine more entries in the list of tensors.
	layer := 4 * (4*64*64 + 3*64*128 + 2*64)
	grown := three.Len() - one.Len() - 2*layer
	require.Positive(t, grown)
	require.Less(t, grown, 2*9*64)

	require.Error(t, gguf.Write(&one, 0))
	require.ErrorIs(t, gguf.Write(full{}, 1), errFull)
}

var errFull = errors.New("no space is left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
