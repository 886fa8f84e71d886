package contract

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// An answer with X-Usher-Refusal means that the ticket is still good, unless the code
// is upstream_broken or upstream_timeout; one without means it is spent. This holds
// however a request ends, before or after a part of it was sent to the model server.
func TestAnswersTellTheTicketsState(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	respond := func(w http.ResponseWriter, r *http.Request) {
		switch do := r.Header.Get("Do"); do {
		case "break":
			panic(http.ErrAbortHandler)
		case "silence":
			<-r.Context().Done()
		case "":
		default:
			status, err := strconv.Atoi(do)
			require.NoError(t, err)
			w.WriteHeader(status)
		}
	}
	// Requests that run into a time-out go to servers of their own, at the same time.
	m, slow := rig.NewModel(t, respond), rig.NewModel(t, respond)
	settings := rig.Settings(m, s).With(rig.Env{
		"USHER_ROUTES": "/upload/*,/generate,/v1/completions", "USHER_COST_POLICY": "enforce",
		"USHER_MAX_BODY_BYTES": "100000",
	})
	u := rig.Start(t, settings).Ready()
	hasty := rig.Start(t, settings.With(rig.Env{"USHER_UPSTREAM_URL": slow.URL, "USHER_READ_TIMEOUT": "2s", "USHER_UPSTREAM_TIMEOUT": "2s"})).Ready()
	unreachable := rig.Start(t, settings.With(rig.Env{"USHER_UPSTREAM_URL": "http://127.0.0.1:1"}))
	loading := rig.Start(t, settings.With(rig.Env{"USHER_UPSTREAM_URL": "http://127.0.0.1:1", "USHER_BENCHMARK": "100"}))

	const chunked = "Transfer-Encoding: chunked"
	declared := func(n int) string { return fmt.Sprintf("Content-Length: %d", n) }
	large := strings.Repeat("4000\r\n"+strings.Repeat("x", 1<<14)+"\r\n", 8)
	var timeouts sync.WaitGroup
	defer timeouts.Wait()
	for _, tt := range []struct {
		u             *rig.Usher
		path, framing string
		body          string
		inBody        bool // the ticket stands in it, and the body is its beginning
		status        int
		code, header  string
		final         bool
	}{
		// Nothing was sent.
		{u, "/upload/x", declared(100001), "", false, 413, "body_too_large", "body_too_large", false},
		{u, "/v1/completions", chunked, large, false, 413, "body_too_large", "body_too_large", false},
		{u, "/v1/completions", chunked, "5\r\nabcdeX", false, 400, "bad_request", "bad_request", false},
		{hasty, "/v1/completions", declared(9), "abc", false, 408, "bad_request", "bad_request", false},
		{u, "/v1/completions", declared(3), "abc", false, 400, "invalid_json", "invalid_json", false},
		{u, "/v1/completions", declared(18), `{"max_tokens":1.5}`, false, 422, "invalid_ticket", "invalid_ticket", false},
		{u, "/v1/completions", declared(18), `{"max_tokens":9999`, false, 400, "invalid_json", "invalid_json", false},
		{u, "/v1/completions", declared(19), `{"max_tokens":9999}`, false, 403, "cost_exceeded", "cost_exceeded", true},
		{u, "/generate", chunked, large, true, 413, "body_too_large", "body_too_large", false},
		{u, "/generate", chunked, "zz\r\n", true, 400, "bad_request", "bad_request", false},
		{hasty, "/generate", chunked, "1\r\n ", true, 408, "bad_request", "bad_request", false},
		{u, "/upload/x", chunked, "5\r\nabcdeX", false, 400, "bad_request", "bad_request", false},
		{u, "/upload/x", chunked, "zz\r\n", false, 400, "bad_request", "bad_request", false},
		{u, "/nothing", declared(0), "", false, 404, "route_unknown", "route_unknown", false},
		{unreachable, "/upload/x", declared(3), "abc", false, 502, "upstream_unreachable", "upstream_unreachable", false},
		{loading, "/upload/x", declared(3), "abc", false, 503, "loading", "loading", false},

		// Part of it was sent, or all.
		{u, "/upload/x", chunked, large, false, 413, "body_too_large", "", true},
		{u, "/upload/x", chunked, "5\r\nabcdeX", false, 400, "bad_request", "", true},
		{u, "/upload/x", chunked, "zz\r\n", false, 400, "bad_request", "", true},
		{hasty, "/upload/x", declared(9), "abc", false, 408, "bad_request", "", true},
		{hasty, "/upload/x", chunked, "5\r\nabcde\r\n", false, 408, "bad_request", "", true},
		{u, "/upload/x", "Do: break\r\n" + declared(3), "abc", false, 502, "upstream_broken", "upstream_broken", true},
		{u, "/generate", "Do: break\r\n" + chunked, "1\r\n \r\n", true, 502, "upstream_broken", "upstream_broken", true},
		{hasty, "/upload/x", "Do: silence\r\n" + declared(3), "abc", false, 504, "upstream_timeout", "upstream_timeout", true},
		{u, "/upload/x", "Do: 413\r\n" + declared(3), "abc", false, 413, "", "", false},
		{u, "/upload/x", "Do: 429\r\n" + declared(3), "abc", false, 429, "", "", true},
		{u, "/generate", "Do: 503\r\n" + chunked, "1\r\n \r\n", true, 503, "", "", true},
	} {
		name := fmt.Sprintf("%s %s %.20q %d", tt.path, tt.framing, tt.body, tt.status)
		model := m
		if tt.u == hasty {
			model = slow
		}
		check := func(t *testing.T) {
			ticket := s.Ticket()
			w := rig.Dial(t, tt.u.Public)
			if tt.inBody {
				whole := string(ticket.Flat(""))
				w.Send("POST " + tt.path + " HTTP/1.1\r\nHost: a\r\n" + tt.framing + "\r\n\r\n")
				w.Send(fmt.Sprintf("%x\r\n%s\r\n", len(whole), whole))
				if strings.HasSuffix(tt.body, " \r\n") {
					w.Send(tt.body + "0\r\n\r\n")
				} else {
					w.Send(tt.body)
				}
			} else {
				head := strings.Replace(rig.UploadHead(ticket, tt.framing), "/upload/x", tt.path, 1)
				if tt.header == "" { // what is wrong comes late
					began := model.Began.Load()
					w.Send(head)
					require.Eventually(t, func() bool { return model.Began.Load() > began }, rig.Patience, time.Millisecond, name)
					head = ""
				}
				w.Send(head + tt.body)
			}
			resp, err := http.ReadResponse(w.In, nil)
			require.NoError(t, err, name)
			told, err := io.ReadAll(resp.Body)
			require.NoError(t, err, name)
			got := rig.Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(told)}
			require.Equal(t, tt.status, got.Status, "%s: %s", name, told)
			require.Equal(t, tt.code, got.Code(), name)
			header := got.Header.Get("X-Usher-Refusal")
			require.Equal(t, tt.header, header, name)
			require.Equal(t, tt.final, got.Header.Get("X-Should-Retry") == "false", name)

			good := header != "" && header != "upstream_broken" && header != "upstream_timeout"
			again := tt.u.Do("POST", "/upload/x", nil, inHead(ticket))
			require.Equal(t, good, again.Code() != "reqnum_replayed", "%s: %s", name, again.Body)
			require.True(t, !good || again.Status == 200 || tt.u != u && tt.u != hasty, "%s: %s", name, again.Body)
		}
		if tt.u == hasty {
			rig.SideBySide(t, &timeouts, name, check)
		} else {
			check(t)
		}
	}
}
