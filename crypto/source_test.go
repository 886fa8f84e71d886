package crypto

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rsakey"
)

// Over a real socket: a redirect is followed only to an allowed address, and a very long
// answer is not read to its end.
func TestFetch(t *testing.T) {
	private, _ := testKey(t)
	text := pkix(t, &private.PublicKey)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			_, _ = io.WriteString(w, text)
		case "/moved":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/away":
			http.Redirect(w, r, "http://203.0.113.9/key", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for path, good := range map[string]bool{"/good": true, "/moved": true, "/away": false, "/loop": false, "/endless": false, "/none": false} {
		got, err := URLs([]string{server.URL + path}, nil, nil).fetch(t.Context())
		require.Equal(t, good, err == nil, "%s: %v", path, err)
		if good {
			require.Equal(t, text, string(got))
		} else {
			require.ErrorIs(t, err, ErrSource)
			require.ErrorContains(t, err, path)
		}
	}
}

// An address that serves another key than the pinned one does not keep the next one from
// being tried.
func TestPinnedKeyAtTheSecondAddress(t *testing.T) {
	private, key := testKey(t)
	other := rsakey.New(t)
	pin := key.Fingerprint()
	source := URLs([]string{"http://a.example/", "http://b.example/"}, &pin, transport(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "a.example" {
			return respond(200, pkix(t, &other.PublicKey))
		}
		return respond(200, pkix(t, &private.PublicKey))
	}))
	got, err := source.fetch(t.Context())
	require.NoError(t, err)
	require.Equal(t, pkix(t, &private.PublicKey), string(got))
	source.(*urls).addresses = source.(*urls).addresses[:1]
	_, err = source.fetch(t.Context())
	require.ErrorIs(t, err, ErrPinMismatch)
}

func TestAllowedKeyURL(t *testing.T) {
	for address, want := range map[string][2]bool{ // without a pin, with one
		"https://autoscaler.example.com/pubkey/": {true, true},
		"http://autoscaler.example.com/pubkey/":  {false, true},
		"http://localhost:8080/pubkey/":          {true, true},
		"http://LOCALHOST/":                      {true, true},
		"http://127.9.9.9/":                      {true, true},
		"http://[::1]:1/":                        {true, true},
		"http://[::ffff:127.0.0.1]/":             {true, true},
		"http://localhost.example.com/":          {false, true},
		"http://127.0.0.1.example.com/":          {false, true},
		"http://0.0.0.0/":                        {false, true},
		"http://localhost@example.com/":          {false, true},
		"ftp://localhost/":                       {false, false},
		"/pubkey/":                               {false, false},
		"":                                       {false, false},
		"http://":                                {false, false},
		"http://local host/":                     {false, false},
	} {
		require.Equal(t, want[0], AllowedKeyURL(address, false) == nil, address)
		require.Equal(t, want[1], AllowedKeyURL(address, true) == nil, address)
	}
}
