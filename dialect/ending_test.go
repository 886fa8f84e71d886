package dialect

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// finishes writes a stream to the Finish of a route, in pieces of this size (0: whole).
func finishes(route, stream string, size int) bool {
	f := Of(route).Ending.Watch()
	for len(stream) > 0 {
		n := min(len(stream), max(size, 1))
		if size == 0 {
			n = len(stream)
		}
		f.Write([]byte(stream[:n]))
		stream = stream[n:]
	}
	return !f.Missing()
}

var endings = []struct {
	name, route, stream string
	whole               bool
}{
	{"OpenAI", "/v1/chat/completions", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n", true},
	{"OpenAI, a blank after the colon", "/v1/completions", "data: {\"finish_reason\" :\t\"length\"}\n\n", true},
	{"OpenAI, the line alone", "/v1/completions", "data: {}\n\ndata: [DONE]\n\n", true},
	{"OpenAI, the line without a blank, as the first", "/v1/completions", "data:[DONE]", true},
	{"OpenAI, the line after CR LF", "/v1/audio/speech", "data: {}\r\n\r\ndata: [DONE]\r\n\r\n", true},
	{"OpenAI, unfinished", "/v1/chat/completions", "data: {\"finish_reason\":null}\n\ndata: {\"finish_reason\": \"\"}\n\n", false},
	{"OpenAI, the words of a model", "/v1/chat/completions", "data: {\"content\":\"\\\"finish_reason\\\":\\\"stop\\\" data: [DONE]\"}\n\n", false},
	{"OpenAI, the name as a value", "/v1/chat/completions", "data: {\"content\":\"finish_reason\",\"x\":\"y\"}\n\n", false},
	{"OpenAI, half a line", "/v1/chat/completions", "data: [DON", false},
	{"OpenAI, an indented line", "/v1/chat/completions", " data: [DONE]\n", false},
	{"nothing at all", "/v1/chat/completions", "", false},
	{"TGI", "/generate_stream", "data:{\"generated_text\":null}\n\ndata:{\"token\":{},\"generated_text\":\"" + strings.Repeat("long ", 9000) + "\",\"details\":null}\n\n", true},
	{"TGI, empty", "/generate_stream", "data:{\"generated_text\":\"\"}\n\n", true},
	{"TGI, unfinished", "/generate_stream", "data:{\"token\":{\"text\":\"generated_text\"},\"generated_text\":null}\n\n", false},
	{"TGI, an error", "/generate_stream", "data:{\"error\":\"CUDA\",\"error_type\":\"generation\"}\n\n", false},
	{"SGLang", "/generate", "data: {\"text\":\"a\"}\n\ndata: [DONE]\n\n", true},
	{"Ollama", "/api/chat", "{\"done\":false}\n{\"message\":{},\"done\":true,\"eval_count\":1}\n", true},
	{"Ollama, unfinished", "/api/generate", "{\"response\":\"\\\"done\\\":true\",\"done\":false}\n", false},
	{"Anthropic", "/v1/messages", "event: message_delta\ndata: {\"type\":\"message_delta\"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", true},
	{"Anthropic, unfinished", "/v1/messages", "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"message_stop\"}}\n\n", false},
	{"Responses", "/v1/responses", "data: {\"type\":\"response.created\"}\n\ndata: {\"type\":\"response.completed\"}\n\n", true},
	{"Responses, at its limit", "/v1/responses", "data: {\"type\":\"response.incomplete\"}\n\n", true},
	{"Responses, unfinished", "/v1/responses", "data: {\"type\":\"response.output_text.delta\"}\n\ndata: {\"type\":\"response.completed", false},
}

// The ending is found however the stream is divided into pieces.
func TestFinish(t *testing.T) {
	for _, tt := range endings {
		for _, size := range []int{0, 1, 2, 3, 5, 7, 13, 16, 17, 100, 16 << 10} {
			require.Equal(t, tt.whole, finishes(tt.route, tt.stream, size), "%s, in pieces of %d", tt.name, size)
		}
	}
	none := Of("/nowhere").Ending.Watch()
	none.Write([]byte("x"))
	require.False(t, none.Missing(), "where no ending is known none is missing")
}

// longestMember and longestValue fit every ending.
func TestEndingsFit(t *testing.T) {
	for _, e := range []*Ending{endOpenAI, endGenerate, endOllama, endMessages, endResponses} {
		require.LessOrEqual(t, len(e.member), longestMember)
		for _, v := range e.values {
			require.LessOrEqual(t, len(v), longestValue)
		}
	}
}

// Text from the model, whatever it is, is neither taken for an ending nor hides one.
func TestFinishIsNotMisledByText(t *testing.T) {
	words := []string{`"finish_reason"`, `"generated_text"`, `"done"`, `"type"`, ":", `"`, "\n", "data: [DONE]", "true", `"message_stop"`, `"response.completed"`, `\`, "stop", " "}
	last := map[string]string{
		"/v1/completions": `{"finish_reason":"stop"}`, "/generate_stream": `{"generated_text":"x"}`, "/api/chat": `{"done":true}`,
		"/v1/messages": `{"type":"message_stop"}`, "/v1/responses": `{"type":"response.completed"}`,
	}
	rapid.Check(t, func(t *rapid.T) {
		route := rapid.SampledFrom([]string{"/v1/completions", "/generate_stream", "/api/chat", "/v1/messages", "/v1/responses"}).Draw(t, "route")
		size := rapid.IntRange(1, 60).Draw(t, "size")
		stream := ""
		for range rapid.IntRange(0, 4).Draw(t, "events") {
			text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 0, 8).Draw(t, "words"), "")
			event, err := json.Marshal(map[string]any{"text": text, "choices": []any{map[string]any{"delta": text}}})
			require.NoError(t, err)
			stream += "data: " + string(event) + "\n\n"
		}
		require.False(t, finishes(route, stream, size), "%q", stream)
		require.True(t, finishes(route, stream+"data: "+last[route]+"\n\n", size), "%q", stream)
	})
}

// Any stream gets the same verdict however it is divided, and nothing panics.
func FuzzFinish(f *testing.F) {
	routes := []string{"/v1/completions", "/generate", "/api/chat", "/v1/messages", "/v1/responses"}
	for i := range routes {
		for _, tt := range endings {
			if Of(tt.route).Ending == Of(routes[i]).Ending && len(tt.stream) < 200 {
				f.Add(uint8(i), uint8(3), tt.stream)
			}
		}
	}
	f.Fuzz(func(t *testing.T, route, size uint8, stream string) {
		r := routes[int(route)%len(routes)]
		whole := finishes(r, stream, 0)
		require.Equal(t, whole, finishes(r, stream, 1))
		require.Equal(t, whole, finishes(r, stream, int(size)))
	})
}

func BenchmarkFinish(b *testing.B) {
	token := []byte(`data: {"id":"cmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}` + "\n\n")
	f := endOpenAI.Watch()
	b.ReportAllocs()
	for b.Loop() {
		f.Write(token)
	}
}
