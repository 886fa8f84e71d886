package main

import (
	"bytes"
	"errors"
	"math"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// usher verify uses the same limits as usher serve.
func TestVerifyFitsTheMemory(t *testing.T) {
	before := debug.SetMemoryLimit(32 << 20)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	t.Setenv("GOMEMLIMIT", "32MiB")
	var out, faults bytes.Buffer
	verify([]string{"USHER_ENDPOINT=e", "USHER_WORKER_URL=http://a:1", "USHER_PUBLIC_KEY_URL=https://a.example/key"}, strings.NewReader("{}"), &out, &faults)
	require.Empty(t, faults.String())
	require.Regexp(t, `USHER_MAX_BODY_BYTES\s+6291456\b`, out.String())
}

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	const none = math.MaxInt64
	for name, tt := range map[string]struct {
		cgroup      uint64 // 0: there is none
		set         int64  // GOMEMLIMIT; 0: it is not set
		limit, heap int64
	}{
		"nothing is known":                      {0, 0, 0, none},
		"a container":                           {999_999_999, 0, 999_999_999, 666_666_666},
		"a container, and less is wanted":       {1_000_000_000, 123_456_789, 123_456_789, 123_456_789},
		"a container, and more is wanted of Go": {1_000_000_000, 2_000_000_000, 1_000_000_000, 2_000_000_000},
		"a container, and Go is not to heed it": {1_000_000_000, none, 1_000_000_000, none},
		"no container, and a limit is wanted":   {0, 123_456_789, 123_456_789, 123_456_789},
		"a limit that is none":                  {math.MaxUint64, 0, 0, none},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOMEMLIMIT", "")
			debug.SetMemoryLimit(none) // as the runtime does it at its start
			if tt.set > 0 {
				t.Setenv("GOMEMLIMIT", strconv.FormatInt(tt.set, 10))
				debug.SetMemoryLimit(tt.set)
			}
			m := limitMemory(func() (uint64, error) {
				if tt.cgroup == 0 {
					return 0, errors.New("no cgroup")
				}
				return tt.cgroup, nil
			})
			require.Equal(t, tt.limit, m.limit)
			require.Equal(t, tt.heap, m.heap)
			require.Equal(t, tt.heap, debug.SetMemoryLimit(-1))
		})
	}
}
