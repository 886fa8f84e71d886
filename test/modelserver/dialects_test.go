package modelserver_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/modelserver"
)

// A body without a JSON content type, as curl -d and fetch send it by default, is
// refused, as vLLM and Text Generation Inference do.
func TestContentType(t *testing.T) {
	s := start(t, modelserver.Options{})
	for path, tt := range map[string]struct {
		body string
		want int
	}{
		"/generate":            {`{"inputs":"a"}`, 415},
		"/generate_stream":     {`{"inputs":"a"}`, 415},
		"/v1/completions":      {`{"prompt":"a"}`, 400},
		"/v1/chat/completions": {`{"messages":[{"content":"a"}]}`, 400},
		"/v1/messages":         {`{"max_tokens":1,"messages":[{"content":"a"}]}`, 415},
		"/api/chat":            {`{"messages":[{"content":"a"}]}`, 200},
	} {
		for _, kind := range []string{"", "application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "application/json; charset=utf-8"} {
			req, err := http.NewRequest("POST", s.URL()+path, strings.NewReader(tt.body))
			require.NoError(t, err)
			if kind != "" {
				req.Header.Set("Content-Type", kind)
			}
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			want := tt.want
			if strings.HasPrefix(kind, "application/json") {
				want = 200
			}
			require.Equal(t, want, resp.StatusCode, "%s %q", path, kind)
		}
	}
}

func TestOtherDialects(t *testing.T) {
	s := start(t, modelserver.Options{})
	text := modelserver.Text("why", 3)
	for _, tt := range []struct{ path, body, kind, whole string }{
		{"/api/chat", `{"messages":[{"content":"why"}],"options":{"num_predict":3},"stream":false}`, "application/json", encode(t, text)},
		{"/api/chat", `{"messages":[{"content":"why"}],"options":{"num_predict":3}}`, "application/x-ndjson", `"done":true,"done_reason":"stop","eval_count":3`},
		{"/api/generate", `{"prompt":"why","options":{"num_predict":3},"stream":false}`, "application/json", `"response":` + encode(t, text)},
		{"/api/generate", `{"prompt":"why","options":{"num_predict":3}}`, "application/x-ndjson", `"response":"","done":true`},
		{"/completion", `{"prompt":"why","n_predict":3}`, "application/json", `"content":` + encode(t, text)},
		{"/completions", `{"prompt":"why","n_predict":3,"stream":true}`, "text/event-stream", `"stop_type":"limit"`},
		{"/completion", `{"prompt":"why","n_predict":-1}`, "application/json", `"stop_type":"eos"`},
		{"/generate", `{"text":"why","sampling_params":{"max_new_tokens":3}}`, "application/json", `"text":` + encode(t, text)},
		{"/generate", `{"input_ids":[1,2],"sampling_params":{"max_new_tokens":3},"stream":true}`, "text/event-stream", "\n\ndata: [DONE]\n\n"},
		{"/generate", `{"text":"why","sampling_params":{"max_new_tokens":3},"stream":true}`, "text/event-stream", `"type":"length"`},
		{"/v1/responses", `{"input":"why","max_output_tokens":3}`, "application/json", `"text":` + encode(t, text)},
		{"/v1/responses", `{"input":"why","max_output_tokens":3,"stream":true}`, "text/event-stream", "event: response.incomplete\n"},
		{"/v1/responses", `{"input":"why","stream":true}`, "text/event-stream", "event: response.completed\n"},
		{"/v1/messages", `{"messages":[{"content":"why"}],"max_tokens":3}`, "application/json", encode(t, text)},
		{"/v1/messages", `{"messages":[{"content":"why"}],"max_tokens":3,"stream":true}`, "text/event-stream", "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"},
	} {
		resp, body := post(t, s, tt.path, tt.body)
		require.Equal(t, 200, resp.StatusCode, tt)
		require.Equal(t, tt.kind, resp.Header.Get("Content-Type"), tt)
		require.Contains(t, body, tt.whole)
	}
	for path, body := range map[string]string{"/api/chat": `{"messages":[]}`, "/v1/messages": `{"messages":[{"content":"why"}]}`,
		"/api/generate": `{"options":{"num_predict":0}}`, "/completion": `{"n_predict":1}`, "/v1/responses": `{"input":"a","max_output_tokens":0}`} {
		resp, _ := post(t, s, path, body)
		require.Equal(t, 400, resp.StatusCode, path)
	}
}
