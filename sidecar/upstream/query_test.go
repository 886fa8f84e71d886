package upstream

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAppendQuery(t *testing.T) {
	tests := []struct{ query, want string }{
		{"", ""},
		{"a=1", "a=1"},
		{"api_key=secret", ""},
		{"api_key", ""},
		{"api_key=", ""},
		{"api_key=a&api_key=b", ""},
		{"a=1&api_key=secret", "a=1"},
		{"api_key=secret&a=1", "a=1"},
		{"a=1&api_key=secret&b=2", "a=1&b=2"},
		{"a=1&api_key=x&b=2&api_key=y&c", "a=1&b=2&c"},
		{"%61pi_key=x&a", "a"},
		{"api%5fkey=x", ""},
		{"api%5Fkey=x", ""},
		{"%61%70%69%5f%6b%65%79=%78", ""},
		{"api+key=x", "api+key=x"},         // a space
		{"api_key+=x", "api_key+=x"},       // a name with a space
		{"api_keys=x", "api_keys=x"},       //
		{"xapi_key=x", "xapi_key=x"},       //
		{"api_ke", "api_ke"},               //
		{"API_KEY=x", "API_KEY=x"},         // names are exact
		{"api%5=x&b", "api%5=x&b"},         // no escape
		{"api%zzkey=x", "api%zzkey=x"},     // no escape
		{"a=api_key=x", "a=api_key=x"},     // a value
		{"api%255fkey=x", "api%255fkey=x"}, // decoded once
		{"a=%61&&b=+", "a=%61&&b=+"},
		{"&a&", "&a&"},
		{"a&&api_key=x", "a&"},
		{"&api_key=x", ""},
		{"api_key=x&", ""},
		{"a&api_key=x&", "a&"},
		{"a=1;api_key=x", "a=1"},
		{"api_key=x;a=1&b;c", "a=1&b;c"},
		{"a&api_key;", "a;"},
		{"a;api_key=x&b", "a&b"}, // to servers that split at & only, b is a parameter
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			query := []byte(tt.query)
			want := "/x"
			if tt.want != "" {
				want += "?" + tt.want
			}
			require.Equal(t, want, string(AppendQuery([]byte("/x"), query)))
			require.Equal(t, tt.query, string(query), "the query itself must not change")
		})
	}
}

// FuzzAppendQuery compares with the standard library: split, decode, leave out, join.
func FuzzAppendQuery(f *testing.F) {
	for _, seed := range []string{
		"", "api_key=1", "a=1&api_key=2&b=3", "%61pi_key", "api%5fkey&x", "&&api_key&&", "api_key%", "%61%70%69%5f%6b%65%79=", "a=api_key", "api_key;a=1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		separators := regexp.MustCompile("[&;]").FindAllString(query, -1)
		parts, want := regexp.MustCompile("[&;]").Split(query, -1), ""
		for i, part := range parts {
			name, _, _ := strings.Cut(part, "=")
			decoded, err := url.QueryUnescape(name)
			switch {
			case err == nil && decoded == "api_key":
			case want == "":
				want = "?" + part
			default:
				want += separators[i-1] + part
			}
		}
		if want == "?" {
			want = ""
		}
		require.Equal(t, want, string(AppendQuery(nil, []byte(query))))
	})
}
