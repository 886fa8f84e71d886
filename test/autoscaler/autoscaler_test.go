package autoscaler_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/leak"
	"github.com/usher-sidecar/usher/test/rsakey"
)

func TestMain(m *testing.M) { leak.Main(m) }

// The messages are those that Python's json.dumps printed.
func TestMessages(t *testing.T) {
	text, err := os.ReadFile("testdata/signed-route.json")
	require.NoError(t, err)
	var file struct {
		Vectors []struct {
			Name    string
			Fields  []string `json:"signed_fields"`
			Message string
			Valid   bool
		}
	}
	require.NoError(t, json.Unmarshal(text, &file))
	seen := 0
	for _, v := range file.Vectors {
		if !v.Valid {
			continue
		}
		seen++
		decoder := json.NewDecoder(strings.NewReader(v.Message))
		decoder.UseNumber()
		var said struct {
			Cost       json.Number
			Endpoint   string
			Reqnum     *int64
			RequestIdx json.Number `json:"request_idx"`
			URL        string
		}
		require.NoError(t, decoder.Decode(&said))
		claims := autoscaler.Claims{
			Cost: said.Cost.String(), Endpoint: said.Endpoint, Reqnum: -1,
			RequestIdx: said.RequestIdx.String(), URL: said.URL, Fields: v.Fields,
		}
		if said.Reqnum != nil {
			claims.Reqnum = *said.Reqnum
		}
		if strings.ContainsAny(claims.Cost, ".e") {
			cost, err := said.Cost.Float64()
			require.NoError(t, err)
			claims.Cost = autoscaler.Float(cost)
		}
		require.Equal(t, v.Message, claims.Message(), v.Name)
		if slices.IsSorted(v.Fields) && len(v.Fields) > 1 {
			claims.Fields = nil
			require.Equal(t, v.Message, claims.Message(), v.Name)
		}
	}
	require.Greater(t, seen, 40)
}

// verify checks a ticket with only the standard library.
func verify(t *testing.T, key *autoscaler.Key, ticket autoscaler.Ticket) bool {
	t.Helper()
	block, _ := pem.Decode([]byte(key.PEM()))
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	signature, err := base64.StdEncoding.DecodeString(ticket.Signature)
	require.NoError(t, err)
	if public, ok := public.(ed25519.PublicKey); ok {
		return ed25519.Verify(public, []byte(ticket.Message()), signature)
	}
	sum := sha256.Sum256([]byte(ticket.Message()))
	return rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), crypto.SHA256, sum[:], signature) == nil
}

func TestTickets(t *testing.T) {
	rsaKey := rsaKey(t)
	edKey, err := autoscaler.NewEd25519Key()
	require.NoError(t, err)
	for _, key := range []*autoscaler.Key{rsaKey, edKey} {
		ticket := key.Sign(autoscaler.Claims{Cost: autoscaler.Float(256), Endpoint: "é", Reqnum: 7, URL: "http://w"})
		require.True(t, verify(t, key, ticket))
		require.Equal(t, `{"cost": 256.0, "endpoint": "\u00e9", "reqnum": 7, "url": "http://w", "signature": "`+ticket.Signature+`"}`, ticket.JSON())
		require.Equal(t, `{"cost": 256.0, "endpoint": "\u00e9", "reqnum": 7, "url": "http://w", "signature": "`+ticket.Signature+`", "inputs":"x"}`, ticket.Flat(`"inputs":"x"`))
		require.Equal(t, `{"auth_data": `+ticket.JSON()+`, "payload": {}}`, ticket.Nested(`{}`))
		ticket.Reqnum = 8
		require.False(t, verify(t, key, ticket), "tampered")
	}
}

func rsaKey(t *testing.T) *autoscaler.Key {
	t.Helper()
	key, err := autoscaler.NewKey(rsakey.New(t))
	require.NoError(t, err)
	return key
}

// group starts n workers and an autoscaler for them.
func group(t *testing.T, n int, o autoscaler.Options) (*autoscaler.Autoscaler, []*atomic.Bool) {
	t.Helper()
	o.Endpoint, o.HealthCache, o.Key = "toys", time.Nanosecond, rsaKey(t)
	var health []*atomic.Bool
	for range n {
		healthy := new(atomic.Bool)
		healthy.Store(true)
		health = append(health, healthy)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/health" || !healthy.Load() {
				w.WriteHeader(503)
			}
		}))
		t.Cleanup(server.Close)
		o.Workers = append(o.Workers, server.URL)
	}
	a, err := autoscaler.Start(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		a.Close()
	})
	return a, health
}

func route(t *testing.T, a *autoscaler.Autoscaler, body string) (status int, answer string) {
	t.Helper()
	resp, err := http.Post(a.URL()+"/route/", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

const order = `{"endpoint":"toys","api_key":"toy-key","cost":256}`

func TestRouteNumbersEachWorkersRequestsAndTakesTurns(t *testing.T) {
	a, _ := group(t, 2, autoscaler.Options{FirstReqnum: 100})
	numbers := map[string][]int64{}
	for range 6 {
		status, text := route(t, a, order)
		require.Equal(t, 200, status)
		require.Contains(t, text, `"cost": 256.0,`)
		var ticket struct {
			URL, Endpoint, Signature string
			Reqnum                   int64
		}
		require.NoError(t, json.Unmarshal([]byte(text), &ticket))
		numbers[ticket.URL] = append(numbers[ticket.URL], ticket.Reqnum)
		require.True(t, verify(t, a.Key(), autoscaler.Ticket{
			Claims:    autoscaler.Claims{Cost: "256.0", Endpoint: "toys", Reqnum: ticket.Reqnum, URL: ticket.URL},
			Signature: ticket.Signature,
		}))
	}
	require.Len(t, numbers, 2)
	for _, of := range numbers {
		require.Equal(t, []int64{100, 101, 102}, of)
	}
	require.EqualValues(t, 103, a.Ticket(0, 1).Reqnum)
}

func TestRouteChoosesOnlyReadyWorkers(t *testing.T) {
	a, health := group(t, 2, autoscaler.Options{Workers: []string{"http://127.0.0.1:1"}})
	health[0].Store(false)
	first := a.Ticket(2, 1)
	for range 3 {
		_, text := route(t, a, order)
		require.Contains(t, text, first.URL)
	}
	health[1].Store(false)
	status, text := route(t, a, order)
	require.Equal(t, 200, status)
	require.Equal(t, `{"endpoint": "toys", "status": {"ready": 0, "unhealthy": 2, "unreachable": 1}}`, text)
}

func TestRouteRefuses(t *testing.T) {
	a, _ := group(t, 1, autoscaler.Options{})
	for body, want := range map[string]int{
		`{"endpoint":"toys","api_key":"wrong","cost":1}`:    401,
		`{"endpoint":"other","api_key":"toy-key","cost":1}`: 404,
		`{"endpoint":"toys","api_key":"toy-key"}`:           400,
		`{"endpoint":"toys","api_key":"toy-key","cost":-1}`: 400,
		`no`: 400,
	} {
		status, text := route(t, a, body)
		require.Equal(t, want, status, body)
		require.True(t, json.Valid([]byte(text)))
	}
}

func TestNewerAutoscalersKeepTheRequestIdx(t *testing.T) {
	a, health := group(t, 1, autoscaler.Options{RequestIdx: true, IntCost: true})
	health[0].Store(false)
	_, text := route(t, a, order)
	require.Contains(t, text, `"request_idx": 1}`)
	health[0].Store(true)
	_, text = route(t, a, `{"endpoint":"toys","api_key":"toy-key","cost":256,"request_idx":1}`)
	require.Contains(t, text, `{"cost": 256, "endpoint": "toys", "reqnum": 0, "request_idx": 1, "url": `)
	ticket := a.Ticket(0, 0.5)
	require.Equal(t, "2", ticket.RequestIdx)
	require.Contains(t, ticket.Message(), "\"request_idx\": 2,\n")
	require.True(t, verify(t, a.Key(), ticket))
}

func TestPublicKeyAndRotation(t *testing.T) {
	a, _ := group(t, 1, autoscaler.Options{})
	published := func() string {
		resp, err := http.Get(a.URL() + "/pubkey/")
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(text)
	}
	old := a.Key()
	require.Equal(t, old.PEM(), published())
	ticket := a.Ticket(0, 1)
	require.NoError(t, a.Rotate(nil))
	require.Equal(t, a.Key().PEM(), published())
	require.True(t, verify(t, old, ticket))
	require.False(t, verify(t, a.Key(), ticket))
	require.True(t, verify(t, a.Key(), a.Ticket(0, 1)))

	next := rsaKey(t)
	inForce := a.Key()
	a.Publish(next)
	require.Equal(t, next.PEM(), published(), "published before it signs")
	require.True(t, verify(t, inForce, a.Ticket(0, 1)))
	require.NoError(t, a.Rotate(next))
	require.Equal(t, next.PEM(), published())
	require.True(t, verify(t, next, a.Ticket(0, 1)))
}

func TestNewServesNobodyButMakesTickets(t *testing.T) {
	_, err := autoscaler.New(autoscaler.Options{Endpoint: "toys"})
	require.Error(t, err)
	a, err := autoscaler.New(autoscaler.Options{
		Endpoint: "toys", Workers: []string{"http://w"}, Fields: []string{"url", "cost"},
	})
	require.NoError(t, err)
	defer a.Close()
	ticket := a.Ticket(0, 3)
	require.Equal(t, "{\n    \"url\": \"http://w\",\n    \"cost\": 3.0\n}", ticket.Message())
	require.True(t, verify(t, a.Key(), ticket))
}
