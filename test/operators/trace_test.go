package operators

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/usher-sidecar/usher/test/rig"
)

// A receiver receives spans as an OTLP collector does.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*otlp.Span
	names []string // service.name of each export
	raw   strings.Builder
	hang  chan struct{} // closed: an export that hangs may go on; nil: none hangs
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.hang != nil {
			select {
			case <-r.hang:
			case <-req.Context().Done():
			}
			return
		}
		body, err := io.ReadAll(req.Body)
		var export otlp.TracesData // the same on the wire as ExportTraceServiceRequest
		if err != nil || req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(body, &export) != nil {
			t.Errorf("not an export: %s %s", req.URL, req.Header)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.raw.Write(body)
		for _, resource := range export.ResourceSpans {
			for _, a := range resource.Resource.Attributes {
				if a.Key == "service.name" {
					r.names = append(r.names, a.Value.GetStringValue())
				}
			}
			for _, scope := range resource.ScopeSpans {
				r.spans = append(r.spans, scope.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

// find returns the span of a trace with a name, or nil.
func (r *receiver) find(trace, name string) *otlp.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if hex.EncodeToString(s.TraceId) == trace && s.Name == name {
			return s
		}
	}
	return nil
}

// IDs of traces, and of the parent of all of them.
const (
	traceGood    = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceHeld    = "4bf92f3577b34da6a3ce929d0e0e4737"
	traceRefused = "4bf92f3577b34da6a3ce929d0e0e4738"
	traceSilent  = "4bf92f3577b34da6a3ce929d0e0e4739"
	traceBroken  = "4bf92f3577b34da6a3ce929d0e0e473a"
	traceParent  = "00f067aa0ba902b7"
)

// What no span may say.
const (
	tracedPrompt = "PROMPT-5cb2a7"
	tracedKey    = "APIKEY-91f3d0"
)

// Spans show where the time went, the model server continues them, and all have been
// sent when the process ends.
func TestTrace(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Want") == "garbage" {
			c, _, _ := w.(http.Hijacker).Hijack()
			_ = c.Close()
			return
		}
		_, _ = io.WriteString(w, "ok")
	})
	r := newReceiver(t)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{
		"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL, "OTEL_SERVICE_NAME": "worker-7", "USHER_REORDER_HOLD": "40ms",
	})).Ready()
	send := func(trace, flags string, tk rig.Ticket, more ...string) rig.Answer {
		h := http.Header{"Traceparent": {"00-" + trace + "-" + traceParent + "-" + flags}, "Tracestate": {"vendor=1"}, "Authorization": {"Bearer " + tracedKey}}
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return u.Do("POST", "/generate?api_key="+tracedKey, tk.Flat(`"inputs":"`+tracedPrompt+`"`), h)
	}
	require.Equal(t, 200, send(traceGood, "01", s.Numbered(1)).Status)
	require.Equal(t, 200, send(traceHeld, "01", s.Numbered(3)).Status)
	require.Equal(t, 200, send(traceSilent, "00", s.Numbered(4)).Status)
	require.Equal(t, 401, send(traceRefused, "01", s.Numbered(5).With("cost", "1")).Status)
	require.Equal(t, 502, send(traceBroken, "01", s.Numbered(6), "X-Want", "garbage").Status)
	require.Equal(t, 200, u.Post("/generate", s.Numbered(7).Flat("")).Status, "each request must have a trace of its own")
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 0, u.Wait())

	root := r.find(traceGood, "POST /generate")
	require.NotNil(t, root)
	require.Equal(t, traceParent, hex.EncodeToString(root.ParentSpanId))
	require.Equal(t, otlp.Span_SPAN_KIND_SERVER, root.Kind)
	admit, proxy := r.find(traceGood, "admit"), r.find(traceGood, "proxy")
	require.Equal(t, root.SpanId, admit.ParentSpanId)
	require.Equal(t, root.SpanId, proxy.ParentSpanId)
	require.Equal(t, otlp.Span_SPAN_KIND_CLIENT, proxy.Kind)
	require.Equal(t, "first byte", proxy.Events[0].Name)
	require.Equal(t, root.StartTimeUnixNano, admit.StartTimeUnixNano)
	require.Equal(t, admit.EndTimeUnixNano, proxy.StartTimeUnixNano)
	require.Equal(t, root.EndTimeUnixNano, proxy.EndTimeUnixNano)
	for _, name := range []string{"parse", "verify"} {
		require.Equal(t, admit.SpanId, r.find(traceGood, name).ParentSpanId)
	}
	require.Nil(t, r.find(traceGood, "hold"))
	require.Nil(t, r.find(traceGood, "queue"))

	hold := r.find(traceHeld, "hold")
	require.NotNil(t, hold)
	require.GreaterOrEqual(t, time.Duration(hold.EndTimeUnixNano-hold.StartTimeUnixNano), 40*time.Millisecond)
	require.GreaterOrEqual(t, hold.StartTimeUnixNano, r.find(traceHeld, "verify").EndTimeUnixNano)

	refused := r.find(traceRefused, "POST /generate")
	require.Equal(t, otlp.Status_STATUS_CODE_UNSET, refused.GetStatus().GetCode(), "a refusal is the client's fault and must not mark the span as an error")
	require.Contains(t, refused.String(), "bad_signature")
	require.Nil(t, r.find(traceRefused, "proxy"))
	require.Equal(t, otlp.Status_STATUS_CODE_ERROR, r.find(traceBroken, "proxy").GetStatus().GetCode())
	require.Nil(t, r.find(traceSilent, "POST /generate"), "an unsampled trace must have no spans")

	arrivals := m.Arrivals()
	require.Equal(t, "00-"+traceGood+"-"+hex.EncodeToString(proxy.SpanId)+"-01", arrivals[0].Header.Get("Traceparent"))
	require.Equal(t, "vendor=1", arrivals[0].Header.Get("Tracestate"))
	require.Equal(t, []string{"00-" + traceSilent + "-" + traceParent + "-00"}, arrivals[2].Header["Traceparent"], "the caller's traceparent must pass unchanged")
	own := strings.Split(arrivals[len(arrivals)-1].Header.Get("Traceparent"), "-")
	require.Len(t, own, 4)
	require.Empty(t, r.find(own[1], "POST /generate").ParentSpanId)
	require.Contains(t, u.WaitLine(`"reqnum":7,`), `"trace_id":"`+own[1]+`"`)

	require.Equal(t, []string{"worker-7"}, slices.Compact(r.names))
	require.NotContains(t, r.raw.String(), tracedPrompt)
	require.NotContains(t, r.raw.String(), tracedKey)
}

// If nothing is recorded, the caller's headers pass untouched.
func TestTraceOff(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	for name, set := range map[string]rig.Env{
		"no endpoint":    {"OTEL_SERVICE_NAME": "x"},
		"sampled out":    {"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL, "OTEL_TRACES_SAMPLER": "always_off"},
		"disabled":       {"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL, "OTEL_SDK_DISABLED": "true"},
		"another export": {"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL, "OTEL_TRACES_EXPORTER": "none"},
	} {
		t.Run(name, func(t *testing.T) {
			s := rig.NewSigner(t)
			m := rig.NewModel(t, nil)
			u := rig.Start(t, rig.Settings(m, s).With(set)).Ready()
			sent := "00-" + traceGood + "-" + traceParent + "-01"
			require.Equal(t, 200, u.Do("POST", "/generate", s.Ticket().Flat(""), http.Header{"Traceparent": {sent}}).Status)
			require.Equal(t, 200, u.Post("/generate", s.Ticket().Flat("")).Status)
			u.Signal(syscall.SIGTERM)
			require.Equal(t, 0, u.Wait())
			require.Equal(t, []string{sent}, m.Arrivals()[0].Header["Traceparent"])
			require.Empty(t, m.Arrivals()[1].Header["Traceparent"], "Usher must not add a traceparent")
			require.Empty(t, r.spans)
		})
	}
}

// A collector that hangs does not delay requests, nor the end for long.
func TestTraceCollectorHangs(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	r.hang = make(chan struct{})
	defer close(r.hang)
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": r.URL + "/v1/traces", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
	})).Ready()
	u.WaitLine("OTEL_EXPORTER_OTLP_PROTOCOL is grpc")
	for range 10 {
		require.Equal(t, 200, u.Post("/generate", s.Ticket().Flat("")).Status)
	}
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 0, u.Wait())
	u.WaitLine("spans were not sent")
}
