package crypto

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// pythonTable is the output of testdata/python.py: bits and bytes in hex, and the text
// that Python's json module makes of them.
func pythonTable(t testing.TB) (floats, strings [][2]string) {
	t.Helper()
	raw, err := os.ReadFile("testdata/python.json")
	require.NoError(t, err)
	var table struct{ Floats, Strings [][2]string }
	require.NoError(t, json.Unmarshal(raw, &table))
	require.Greater(t, len(table.Floats), 4000)
	require.Greater(t, len(table.Strings), 400)
	return table.Floats, table.Strings
}

func TestPythonRepr(t *testing.T) {
	floats, _ := pythonTable(t)
	for _, row := range floats {
		bits, err := strconv.ParseUint(row[0], 16, 64)
		require.NoError(t, err)
		require.Equal(t, row[1], string(appendRepr(nil, math.Float64frombits(bits))), row[0])
	}
}

func TestPythonStrings(t *testing.T) {
	_, strings := pythonTable(t)
	for _, row := range strings {
		s, err := hex.DecodeString(row[0])
		require.NoError(t, err)
		require.Equal(t, row[1], string(appendString(nil, string(s))), row[0])
	}
}

func TestMessage(t *testing.T) {
	cost, err := ParseCost([]byte("256.0"))
	require.NoError(t, err)
	m := &Message{Cost: cost, Endpoint: "Llama-2-70b-chat", Reqnum: 14395, RequestIdx: "7", URL: "http://203.0.113.7:41234"}
	schema, err := ParseSchema("cost,endpoint,reqnum,url,request_idx")
	require.NoError(t, err)
	require.Equal(t, `{
    "cost": 256.0,
    "endpoint": "Llama-2-70b-chat",
    "reqnum": 14395,
    "url": "http://203.0.113.7:41234",
    "request_idx": 7
}`, string(appendMessage(nil, &indented, schema.alternatives[0], m, "256.0")))
}

// FuzzRepr compares with Python's rules at any float; the seeds are the table.
func FuzzRepr(f *testing.F) {
	floats, _ := pythonTable(f)
	want := make(map[uint64]string, len(floats))
	for _, row := range floats {
		bits, err := strconv.ParseUint(row[0], 16, 64)
		require.NoError(f, err)
		want[bits] = row[1]
		f.Add(bits)
	}
	f.Fuzz(func(t *testing.T, bits uint64) {
		v := math.Float64frombits(bits)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return
		}
		got := string(appendRepr(nil, v))
		if python, ok := want[bits]; ok {
			require.Equal(t, python, got)
		}
		back, err := strconv.ParseFloat(got, 64)
		require.NoError(t, err)
		require.Equal(t, bits, math.Float64bits(back), "it reads back as itself")
		require.Regexp(t, `^-?(\d+\.\d+|\d(\.\d+)?e[+-]\d{2,3})$`, got)
		exponential := v != 0 && (math.Abs(v) < 1e-4 || math.Abs(v) >= 1e16)
		require.Equal(t, exponential, isInteger(got) || containsE(got))
	})
}

func containsE(s string) bool {
	for _, c := range s {
		if c == 'e' {
			return true
		}
	}
	return false
}

// FuzzString: the result is ASCII, and any JSON reader gets the text back.
func FuzzString(f *testing.F) {
	_, strings := pythonTable(f)
	for _, row := range strings {
		s, err := hex.DecodeString(row[0])
		require.NoError(f, err)
		f.Add(string(s))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		got := appendString(nil, s)
		for _, c := range got {
			require.True(t, c >= ' ' && c < 0x7f)
		}
		var back string
		require.NoError(t, json.Unmarshal(got, &back))
		require.Equal(t, s, back)
	})
}
