package streams

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A stream that ends cleanly but without its API's final event is noted in the log and
// in the metrics and forwarded as it came. Complete streams, and answers that are no
// stream or cannot be read, are not noted.
func TestUnfinishedStreamsAreNoted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		id, route, contentType, stream string
		header                         [2]string
		unfinished                     bool
	}{
		{id: "u-chat", route: "/v1/chat/completions", contentType: "text/event-stream", stream: "data: {\"choices\":[]}\n\n", unfinished: true},
		{id: "w-chat", route: "/v1/chat/completions", contentType: "text/event-stream", stream: "data: {\"choices\":[]}\n\ndata: [DONE]\n\n"},
		{id: "u-tgi", route: "/generate_stream", contentType: "text/event-stream; charset=utf-8", stream: "data:{\"generated_text\":null}\n\n", unfinished: true},
		{id: "w-tgi", route: "/generate_stream", contentType: "text/event-stream", stream: "data:{\"generated_text\":\"x\"}\n\n"},
		{id: "u-ollama", route: "/api/chat", contentType: "application/x-ndjson", stream: "{\"done\":false}\n", unfinished: true},
		{id: "w-ollama", route: "/api/chat", contentType: "application/x-ndjson", stream: "{\"done\":true}\n"},
		{id: "u-declared", route: "/v1/completions", contentType: "text/event-stream", stream: "data: {}\n\n", header: [2]string{"Content-Length", "10"}, unfinished: true},
		{id: "w-json", route: "/v1/completions", contentType: "application/json", stream: "{}"},
		{id: "w-packed", route: "/v1/completions", contentType: "text/event-stream", stream: "\x1f\x8b", header: [2]string{"Content-Encoding", "gzip"}},
		{id: "w-error", route: "/v1/completions", contentType: "text/event-stream", stream: "data: {}\n\n", header: [2]string{"X-Status", "400"}},
		{id: "w-unknown", route: "/mine", contentType: "text/event-stream", stream: "data: {}\n\n"},
	}
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		for _, tt := range tests {
			if tt.id != r.Header.Get("X-Request-Id") {
				continue
			}
			w.Header().Set("Content-Type", tt.contentType)
			if tt.header[0] == "X-Status" {
				w.WriteHeader(400)
			} else if tt.header[0] != "" {
				w.Header().Set(tt.header[0], tt.header[1])
			}
			for i := range tt.stream { // in pieces, as they come
				_, _ = io.WriteString(w, tt.stream[i:i+1])
				if i%7 == 0 && tt.header[0] == "" {
					_ = http.NewResponseController(w).Flush()
				}
			}
		}
	})
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_ROUTES": "/generate_stream,/v1/completions,/v1/chat/completions,/api/chat,/mine"})).Ready()
	want := 0.0
	for _, tt := range tests {
		got := u.Do("POST", tt.route, s.Ticket().Flat(""), http.Header{"X-Request-Id": {tt.id}, "Accept-Encoding": {"identity"}})
		require.Equal(t, tt.stream, got.Body, tt.id)
		line := u.WaitLine(tt.id)
		if tt.unfinished {
			want++
			require.Contains(t, line, `"unfinished":true`)
			require.Contains(t, line, `"outcome":"ok"`)
		} else {
			require.NotContains(t, line, "unfinished")
		}
	}
	require.Equal(t, want, u.Metric("usher_unfinished_streams_total"))
}
