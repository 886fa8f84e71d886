package modelserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/leak"
	"github.com/usher-sidecar/usher/test/modelserver"
)

func TestMain(m *testing.M) { leak.Main(m) }

func start(t *testing.T, o modelserver.Options) *modelserver.Server {
	t.Helper()
	s := modelserver.New(o)
	require.NoError(t, s.Start())
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		s.Close()
	})
	return s
}

func post(t *testing.T, s *modelserver.Server, path, body string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Post(s.URL()+path, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(text)
}

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

func TestGenerate(t *testing.T) {
	s := start(t, modelserver.Options{})
	resp, body := post(t, s, "/generate", `{"inputs":"why","parameters":{"max_new_tokens":7}}`)
	require.Equal(t, 200, resp.StatusCode)
	require.JSONEq(t, `{"generated_text":`+encode(t, modelserver.Text("why", 7))+`}`, body)
	require.NotEqual(t, modelserver.Text("why", 7), modelserver.Text("how", 7))

	resp, _ = post(t, s, "/generate", `{"parameters":{}}`)
	require.Equal(t, 422, resp.StatusCode)
	resp, _ = post(t, s, "/nothing", `{}`)
	require.Equal(t, 404, resp.StatusCode)
}

func TestGenerateStream(t *testing.T) {
	s := start(t, modelserver.Options{TimeToFirstToken: time.Millisecond, PerToken: time.Millisecond, Jitter: 1})
	resp, body := post(t, s, "/generate_stream", `{"inputs":"why","parameters":{"max_new_tokens":3,"details":true}}`)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	events := strings.Split(strings.TrimSuffix(body, "\n\n"), "\n\n")
	require.Len(t, events, 3)
	var text string
	for i, event := range events {
		data, ok := strings.CutPrefix(event, "data:")
		require.True(t, ok)
		var frame struct {
			Token struct {
				ID      int
				Text    string
				Logprob float64
			}
			GeneratedText *string `json:"generated_text"`
		}
		require.NoError(t, json.Unmarshal([]byte(data), &frame))
		text += frame.Token.Text
		require.Negative(t, frame.Token.Logprob)
		require.Equal(t, i == 2, frame.GeneratedText != nil)
		if i == 2 {
			require.Equal(t, text, *frame.GeneratedText)
		}
	}
	require.Equal(t, modelserver.Text("why", 3), text)
}

func TestOpenAI(t *testing.T) {
	s := start(t, modelserver.Options{DefaultMaxTokens: 4})
	_, body := post(t, s, "/v1/completions", `{"model":"m","prompt":"a b","n":2}`)
	var whole struct {
		Object  string
		Choices []struct {
			Text         string
			FinishReason string `json:"finish_reason"`
		}
		Usage map[string]int
	}
	require.NoError(t, json.Unmarshal([]byte(body), &whole))
	require.Equal(t, "text_completion", whole.Object)
	require.Len(t, whole.Choices, 2)
	require.Equal(t, modelserver.Text("a b", 4), whole.Choices[0].Text)
	require.Equal(t, modelserver.Text("a b#1", 4), whole.Choices[1].Text)
	require.Equal(t, "stop", whole.Choices[0].FinishReason)
	require.Equal(t, map[string]int{"prompt_tokens": 2, "completion_tokens": 8, "total_tokens": 10}, whole.Usage)

	_, body = post(t, s, "/v1/chat/completions", `{"messages":[{"role":"user","content":"hi"}],
		"max_completion_tokens":2,"stream":true,"stream_options":{"include_usage":true}}`)
	events := strings.Split(strings.TrimSuffix(body, "\n\n"), "\n\n")
	require.Len(t, events, 4)
	require.Equal(t, "data: [DONE]", events[3])
	require.Contains(t, events[0], `"delta":{"role":"assistant","content":`)
	require.Contains(t, events[0], `"object":"chat.completion.chunk"`)
	require.Contains(t, events[1], `"finish_reason":"length"`)
	require.Contains(t, events[2], `"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}`)

	_, body = post(t, s, "/v1/chat/completions", `{"messages":[{"role":"user","content":"hi"}]}`)
	require.Contains(t, body, `"message":{"role":"assistant","content":`+encode(t, modelserver.Text("hi", 4)))
	resp, _ := post(t, s, "/v1/chat/completions", `{"messages":[]}`)
	require.Equal(t, 400, resp.StatusCode)
}

func TestHealth(t *testing.T) {
	s := start(t, modelserver.Options{Network: "unix", Address: t.TempDir() + "/model"})
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", strings.TrimPrefix(s.URL(), "unix:"))
	}}}
	defer client.CloseIdleConnections()
	for _, healthy := range []bool{true, false, true} {
		s.SetHealthy(healthy)
		resp, err := client.Get("http://model/health")
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, healthy, resp.StatusCode == 200)
	}
	require.Equal(t, 3, s.Probes())
	require.Zero(t, s.Count())
}

func TestRecords(t *testing.T) {
	s := start(t, modelserver.Options{Keep: 2, Tap: true})
	const wire = "POST /generate?a=%20 HTTP/1.1\r\nhost: model\r\nx-request-id: one\r\nContent-Length: 14\r\n\r\n{ \"inputs\":1e2"
	c, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, wire)
	require.NoError(t, err)
	_, err = http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)

	_, err = s.Await(t.Context(), func(all []modelserver.Request) bool { return !all[0].Finished.IsZero() })
	require.NoError(t, err)
	r, ok := s.Find("one")
	require.True(t, ok)
	require.Equal(t, "/generate?a=%20", r.Target)
	require.Equal(t, "model", r.Host)
	require.Equal(t, `{ "inputs":1e2`, string(r.Body))
	require.Equal(t, 1, r.Connection)
	require.Zero(t, r.CancelledAt)
	require.Equal(t, wire, string(s.Received(1)))
	require.Nil(t, s.Received(2))

	post(t, s, "/generate", `{"inputs":"2"}`)
	post(t, s, "/generate", `{"inputs":"3"}`)
	require.Len(t, s.Requests(), 2)
	require.Equal(t, 2, s.Requests()[1].Number)
	require.Equal(t, 3, s.Count())
	_, highWater := s.InFlight()
	require.Equal(t, 1, highWater)
}

func TestCancellationIsRecorded(t *testing.T) {
	hooks := map[string]modelserver.Hook{
		"waiting":    modelserver.Stall(),
		"taken over": modelserver.Script(modelserver.Send("HTTP/1.1 200 OK\r\n"), modelserver.Hold()),
		"streaming":  nil,
	}
	for name, hook := range hooks {
		t.Run(name, func(t *testing.T) {
			s := start(t, modelserver.Options{Handler: hook, PerToken: time.Hour})
			ctx, leave := context.WithCancel(t.Context())
			request, err := http.NewRequestWithContext(ctx, "POST", s.URL()+"/generate_stream", strings.NewReader(`{"inputs":"x"}`))
			require.NoError(t, err)
			request.Header.Set("Content-Type", "application/json")
			left := make(chan struct{})
			go func() {
				defer close(left)
				resp, err := http.DefaultClient.Do(request)
				if err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}()
			_, err = s.Await(t.Context(), func(all []modelserver.Request) bool {
				return len(all) == 1 && !all[0].Received.IsZero()
			})
			require.NoError(t, err)
			leave()
			<-left
			all, err := s.Await(t.Context(), func(all []modelserver.Request) bool { return !all[0].Finished.IsZero() })
			require.NoError(t, err)
			require.NotZero(t, all[0].CancelledAt)
		})
	}
}

func TestMisbehaviour(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, test := range map[string]struct {
		hook modelserver.Hook
		want error
	}{
		"reset before the head": {modelserver.Script(modelserver.Reset()), syscall.ECONNRESET},
		"reset mid-stream":      {modelserver.Script(modelserver.Send(head+"5\r\nhel"), modelserver.Pause(time.Millisecond), modelserver.Reset()), syscall.ECONNRESET},
		"truncated":             {modelserver.Script(modelserver.Send(head + "5\r\nhel")), io.ErrUnexpectedEOF},
		"dripping":              {modelserver.Script(modelserver.Drip(head+"2\r\nhi\r\n0\r\n\r\n", time.Microsecond)), nil},
		"odd status":            {modelserver.Status(500, "no"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, modelserver.Options{Handler: modelserver.For("/generate", modelserver.First(1, test.hook))})
			get := func() error {
				resp, err := http.Post(s.URL()+"/generate", "", strings.NewReader(`{"inputs":"x"}`))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				_, err = io.ReadAll(resp.Body)
				return err
			}
			if err := get(); test.want != nil {
				require.ErrorIs(t, err, test.want)
			} else {
				require.NoError(t, err)
			}
			require.NoError(t, get(), "only the first")
			s.SetHandler(modelserver.Status(503, ""))
			resp, _ := post(t, s, "/generate", `{}`)
			require.Equal(t, 503, resp.StatusCode)
		})
	}
}

func TestKillAndStartAgain(t *testing.T) {
	s := start(t, modelserver.Options{Handler: modelserver.Stall()})
	c, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "POST /generate HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\n{}")
	require.NoError(t, err)
	_, err = s.Await(t.Context(), func(all []modelserver.Request) bool { return len(all) == 1 && len(all[0].Body) == 2 })
	require.NoError(t, err)
	url := s.URL()
	s.Kill()
	_, err = io.ReadAll(c)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Zero(t, s.Requests()[0].CancelledAt, "the client did not leave")
	_, err = net.Dial("tcp", s.Addr().String())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	require.NoError(t, s.Start())
	require.Equal(t, url, s.URL())
	s.SetHandler(nil)
	resp, _ := post(t, s, "/generate", `{"inputs":"x"}`)
	require.Equal(t, 200, resp.StatusCode)
}
