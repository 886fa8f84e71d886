package envelope

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/crypto"
)

func parseCost(literal string) (crypto.Cost, error) { return crypto.ParseCost([]byte(literal)) }

func TestAudience(t *testing.T) {
	a, err := NewAudience([]string{"E", "F,1"}, []string{"http://203.0.113.7:3000", "https://Worker.example.net/base", "http://[2001:db8::7]"})
	require.NoError(t, err)
	check := func(endpoint, url string) error {
		return a.Check(&Ticket{Message: crypto.Message{Endpoint: endpoint, URL: url}})
	}
	for _, url := range []string{
		"http://203.0.113.7:3000", "http://203.0.113.7:3000/", "HTTP://203.0.113.7:3000", "https://worker.EXAMPLE.net/base", "https://worker.example.net:443/base/",
		"http://[2001:db8::7]:80", "http://[2001:DB8:0::0:7]/",
	} {
		require.NoError(t, check("E", url), url)
		require.NoError(t, check("F,1", url), url)
	}
	for _, url := range []string{
		"", "x", "http://203.0.113.7", "http://203.0.113.7:3001", "https://203.0.113.7:3000", "http://203.0.113.7:3000//", "http://203.0.113.7:3000/x",
		"http://203.0.113.7:3000/?a", "http://203.0.113.7:3000/#a", "http://user@203.0.113.7:3000", "http://203.0.113.7:3000.evil.example", "http://203.0.113.70:3000",
		"https://worker.example.net/Base", "https://worker.example.net", "http:203.0.113.7:3000", "//203.0.113.7:3000", "http://203.0.113.7:03000", " http://203.0.113.7:3000",
	} {
		require.ErrorIs(t, check("E", url), ErrURLMismatch, url)
	}
	for _, endpoint := range []string{"", "e", "E ", "F", "F,1,2"} {
		require.ErrorIs(t, check(endpoint, "http://203.0.113.7:3000"), ErrEndpointMismatch, endpoint)
	}
	open, err := NewAudience([]string{"E"}, nil)
	require.NoError(t, err)
	require.NoError(t, open.Check(&Ticket{Message: crypto.Message{Endpoint: "E", URL: "anything"}}))
	_, err = NewAudience([]string{"E"}, []string{"not an address"})
	require.Error(t, err)
}
