package security

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// What must never appear in the log, metrics, pages or refusals.
const (
	secretPrompt = "PROMPT-5cb2a7"
	secretAPIKey = "APIKEY-91f3d0"
	secretOwn    = "OWNKEY-77e1c4" // for the model server
	secretModel  = "ANSWER-b80d26" // what the model said
)

// After a run with every kind of answer, good, refused and broken, everything Usher
// has said is searched for prompts, signatures and keys.
func TestNoSecretsLeak(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "console"} {
		t.Run(format, func(t *testing.T) { nothingSecretIsSaid(t, format) })
	}
}

func nothingSecretIsSaid(t *testing.T, format string) {
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("X-Want") {
		case "503":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, secretModel)
		case "break":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: "+secretModel+"\n\n")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "garbage":
			c, _, _ := w.(http.Hijacker).Hijack()
			_, _ = io.WriteString(c, secretModel+" is no status line\r\n\r\n")
			_ = c.Close()
		default:
			_, _ = io.WriteString(w, secretModel)
		}
	})
	a := rig.NewScaler(t, func(w http.ResponseWriter, _ *http.Request) { // it says what it was told
		c, _, _ := w.(http.Hijacker).Hijack()
		_, _ = io.WriteString(c, rig.MasterToken+" is no status line\r\n\r\n")
		_ = c.Close()
	})
	set := rig.Reporting(m, s, a.URL).With(rig.Env{
		"USHER_LOG_LEVEL": "debug", "USHER_LOG_FORMAT": format, "USHER_UPSTREAM_AUTHORIZATION": "Bearer " + secretOwn,
		"USHER_COST_POLICY": "enforce", "USHER_MAX_BODY_BYTES": "65536",
	})
	u := rig.Launch(t, set)
	findAddresses(u)
	u.Ready()

	header := func(more ...string) http.Header {
		h := http.Header{"Authorization": {"Bearer " + secretAPIKey}, "Cookie": {"key=" + secretAPIKey}}
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return h
	}
	prompt := `"inputs":"` + secretPrompt + `","parameters":{"max_new_tokens":10}`
	var said strings.Builder // usher's own words to clients
	var signatures []string
	request := func(want int, path string, tk rig.Ticket, h http.Header) {
		t.Helper()
		signatures = append(signatures, strings.Trim(tk["signature"], `"`))
		got := u.Do("POST", path+"?api_key="+secretAPIKey, tk.Flat(prompt), h)
		require.Equal(t, want, got.Status, got.Body)
		if code := got.Header.Get("X-Usher-Refusal"); code != "" {
			fmt.Fprintln(&said, got.Header, got.Body)
		}
	}
	used := s.Ticket()
	request(200, "/generate", used, header())
	request(409, "/generate", used, header())
	request(200, "/v1/completions", s.Ticket(), header("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	request(503, "/generate", s.Ticket(), header("X-Want", "503"))
	request(502, "/generate", s.Ticket(), header("X-Want", "garbage"))
	request(404, "/"+secretPrompt, s.Ticket(), header())
	request(415, "/generate", s.Ticket(), header("Content-Encoding", "gzip"))
	request(401, "/generate", s.Ticket().With("cost", "1"), header())
	request(401, "/generate", s.Ticket().With("signature", rig.Quote("not base64 "+secretAPIKey)), header())
	request(403, "/generate", s.Ticket().With("url", rig.Quote("http://elsewhere")), header())
	request(403, "/generate", s.Ticket().With("endpoint", rig.Quote("another")), header())
	request(422, "/generate", s.Ticket().With("reqnum", rig.Quote(secretPrompt)), header())
	for _, body := range []string{
		`{"inputs":"` + secretPrompt + `"`, secretPrompt, `{"` + secretPrompt + `":1,"` + secretPrompt + `":2}`,
		`{"auth_data":"` + secretPrompt + `","payload":{}}`, `{"auth_data":{},"payload":"` + secretPrompt + `"}`,
		`{"inputs":"` + strings.Repeat(secretPrompt, 6000) + `"}`,
	} {
		got := u.Do("POST", "/generate?api_key="+secretAPIKey, []byte(body), header())
		require.GreaterOrEqual(t, got.Status, 400)
		fmt.Fprintln(&said, got.Header, got.Body)
	}
	said.WriteString(u.Raw("POST /"+secretPrompt+" HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nAuthorization: "+secretAPIKey+"\r\n\r\n", rig.Patience))
	said.WriteString(u.Raw(secretPrompt+" "+secretAPIKey+"\r\n\r\n", rig.Patience))
	resp := u.Open(t.Context(), "/generate_stream?api_key="+secretAPIKey, s.Ticket().Flat(prompt))
	_ = resp.Body.Close()
	broken, err := http.NewRequestWithContext(context.Background(), "POST", "http://"+u.Public+"/generate_stream", strings.NewReader(string(s.Ticket().Flat(prompt))))
	require.NoError(t, err)
	broken.Header = header("X-Want", "break")
	got, err := http.DefaultClient.Do(broken)
	require.NoError(t, err)
	_, err = io.ReadAll(got.Body)
	require.Error(t, err)

	for _, path := range []string{"/", "/status.json", "/metrics", "/readyz", "/livez"} {
		status, page := u.Get(path)
		require.Equal(t, 200, status, path)
		said.WriteString(page)
	}
	u.WaitLine("the autoscaler does not accept reports")
	a.Behave(nil)
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 0, u.Wait())
	require.NotEmpty(t, a.Reports())
	all := said.String() + strings.Join(u.Log(), "\n")
	require.Greater(t, len(all), 10_000)
	for _, secret := range append(signatures, secretPrompt, secretAPIKey, secretOwn, secretModel, rig.MasterToken) {
		if i := strings.Index(all, secret); i >= 0 {
			require.Fail(t, "said: "+secret, "…%s…", all[max(0, i-200):min(len(all), i+200)])
		}
	}
}

// findAddresses reads the addresses from the log, in either format.
func findAddresses(u *rig.Usher) {
	u.T.Helper()
	line := u.WaitLine("listening")
	var said struct{ Public, Admin string }
	if json.Unmarshal([]byte(line), &said) == nil {
		u.Public, u.Admin = said.Public, said.Admin
		return
	}
	for word := range strings.FieldsSeq(line) {
		if address, ok := strings.CutPrefix(word, "public="); ok {
			u.Public = address
		}
		if address, ok := strings.CutPrefix(word, "admin="); ok {
			u.Admin = address
		}
	}
}
