package trace

import (
	"compress/gzip"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// A collector accepts exports over real connections and decodes them.
type collector struct {
	*httptest.Server
	answer func(w http.ResponseWriter) // nil: 200

	mu      sync.Mutex
	headers []http.Header
	paths   []string
	exports []*tracepb.TracesData
}

func newCollector(t *testing.T, secure bool) *collector {
	c := &collector{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(body); err != nil {
				t.Errorf("no gzip: %v", err)
				return
			}
		}
		text, err := io.ReadAll(body)
		export := new(tracepb.TracesData)
		if err != nil || proto.Unmarshal(text, export) != nil {
			t.Errorf("no export: %v", err)
		}
		c.mu.Lock()
		c.headers, c.paths, c.exports = append(c.headers, r.Header), append(c.paths, r.RequestURI), append(c.exports, export)
		c.mu.Unlock()
		if c.answer != nil {
			c.answer(w)
		}
	})
	if secure {
		c.Server = httptest.NewTLSServer(handler)
	} else {
		c.Server = httptest.NewServer(handler)
	}
	t.Cleanup(c.Close)
	return c
}

// plain returns the values of attributes as Go values.
func plain(list []*commonpb.KeyValue) map[string]any {
	values := map[string]any{}
	for _, a := range list {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			values[a.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			values[a.Key] = v.IntValue
		case *commonpb.AnyValue_DoubleValue:
			values[a.Key] = v.DoubleValue
		case *commonpb.AnyValue_BoolValue:
			values[a.Key] = v.BoolValue
		}
	}
	return values
}

const parentTrace = "4bf92f3577b34da6a3ce929d0e0e4736"

// traceOne traces one request from Begin to Ended, and closes the tracer.
func traceOne(t *testing.T) (start time.Time, reported []error) {
	var mu sync.Mutex
	tracer, err := New(t.Context(), "1.2.3", func(err error) {
		mu.Lock()
		defer mu.Unlock()
		reported = append(reported, err)
	})
	require.NoError(t, err)
	start = time.Now()
	r := tracer.Begin(start, "POST /generate", "00-"+parentTrace+"-00f067aa0ba902b7-01", "vendor=1")
	require.NotNil(t, r)
	a := &account.Request{Span: r, Route: "/generate", ID: "id-1", Client: "10.0.0.9", Status: 502, Outcome: account.UpstreamBroken, BytesIn: 7, BytesOut: 9}
	a.Ticket.Reqnum, a.Ticket.Cost = 42, 1.5
	a.Times.Start, a.Times.VerifyAt, a.Times.Verify, a.Times.Queue = start, start.Add(time.Millisecond), time.Millisecond, time.Millisecond
	a.Times.Sent, a.Times.FirstByte, a.Times.End = start.Add(9*time.Millisecond), 12*time.Millisecond, start.Add(20*time.Millisecond)
	r.Send(a.Times.Sent)
	tracer.Ended(a)
	require.NoError(t, tracer.Close())
	mu.Lock()
	defer mu.Unlock()
	return start, reported
}

func TestExport(t *testing.T) {
	for name, zipped := range map[string]bool{"plain": false, "gzip": true} {
		t.Run(name, func(t *testing.T) {
			c := newCollector(t, false)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL+"/base/")
			t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-general=1")
			t.Setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-key = a%20b%2C , X-Two=2")
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
			if zipped {
				t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
			}
			start, reported := traceOne(t)
			require.Empty(t, reported)
			require.Len(t, c.exports, 1)
			require.Equal(t, "/base/v1/traces", c.paths[0])
			h := c.headers[0]
			require.Equal(t, "application/x-protobuf", h.Get("Content-Type"))
			require.Equal(t, zipped, h.Get("Content-Encoding") == "gzip")
			require.Equal(t, "usher/1.2.3", h.Get("User-Agent"))
			require.Equal(t, [3]string{"a b,", "2", ""}, [3]string{h.Get("X-Key"), h.Get("X-Two"), h.Get("X-General")})

			require.Len(t, c.exports[0].ResourceSpans, 1)
			resource := c.exports[0].ResourceSpans[0]
			who := plain(resource.Resource.Attributes)
			require.Equal(t, "usher", who["service.name"])
			require.Equal(t, "1.2.3", who["service.version"])
			require.Equal(t, "test", who["deployment.environment.name"])
			require.Equal(t, "go", who["telemetry.sdk.language"])
			require.Len(t, resource.ScopeSpans, 1)
			require.Equal(t, "github.com/usher-sidecar/usher", resource.ScopeSpans[0].Scope.Name)
			require.Equal(t, "1.2.3", resource.ScopeSpans[0].Scope.Version)

			spans := map[string]*tracepb.Span{}
			for _, s := range resource.ScopeSpans[0].Spans {
				require.Equal(t, parentTrace, hex.EncodeToString(s.TraceId))
				spans[s.Name] = s
			}
			require.Len(t, spans, 6)
			root, proxy := spans["POST /generate"], spans["proxy"]
			require.Equal(t, "00f067aa0ba902b7", hex.EncodeToString(root.ParentSpanId))
			require.Equal(t, root.SpanId, proxy.ParentSpanId)
			require.Equal(t, "vendor=1", root.TraceState)
			require.Equal(t, uint32(0x301), root.Flags, "sampled, and its parent is remote")
			require.Equal(t, uint32(0x101), proxy.Flags, "sampled, and its parent is not")
			require.Equal(t, tracepb.Span_SPAN_KIND_SERVER, root.Kind)
			require.Equal(t, tracepb.Span_SPAN_KIND_CLIENT, proxy.Kind)
			require.Equal(t, tracepb.Span_SPAN_KIND_INTERNAL, spans["verify"].Kind)
			require.EqualValues(t, start.UnixNano(), root.StartTimeUnixNano)
			require.EqualValues(t, start.Add(20*time.Millisecond).UnixNano(), root.EndTimeUnixNano)
			require.Equal(t, "first byte", proxy.Events[0].Name)
			require.EqualValues(t, start.Add(12*time.Millisecond).UnixNano(), proxy.Events[0].TimeUnixNano)
			require.Equal(t, tracepb.Status_STATUS_CODE_ERROR, root.Status.Code)
			require.Equal(t, account.UpstreamBroken.String(), root.Status.Message)
			require.Equal(t, tracepb.Status_STATUS_CODE_UNSET, spans["verify"].Status.Code)
			require.Equal(t, map[string]any{
				"http.route": "/generate", "http.response.status_code": int64(502), "client.address": "10.0.0.9",
				"http.request.body.size": int64(7), "http.response.body.size": int64(9), "usher.request_id": "id-1",
				"usher.outcome": account.UpstreamBroken.String(), "usher.reqnum": int64(42), "usher.cost": 1.5,
				"error.type": account.UpstreamBroken.String(),
			}, plain(root.Attributes))
		})
	}
}

// What a collector says about spans that it rejected is reported.
func TestReported(t *testing.T) {
	partial := protowire.AppendTag(nil, 1, protowire.VarintType)
	partial = protowire.AppendVarint(partial, 3)
	partial = protowire.AppendTag(partial, 2, protowire.BytesType)
	partial = protowire.AppendString(partial, "too \xffold")
	partial = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
	status := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "no such tenant")
	for name, test := range map[string]struct {
		code        int
		contentType string
		body, want  string
	}{
		"taken":                  {200, "application/x-protobuf", "", ""},
		"taken, and it says so":  {202, "text/plain", "thanks", ""},
		"taken in part":          {200, "application/x-protobuf", string(partial), "collector rejected 3 spans: too old"},
		"refused in text":        {400, "text/plain", " what is this?\n", "collector answered 400 Bad Request: what is this?"},
		"refused in protobuf":    {403, "application/x-protobuf", string(status), "collector answered 403 Forbidden: no such tenant"},
		"refused without a word": {404, "", "", "collector answered 404 Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCollector(t, false)
			c.answer = func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", test.contentType)
				w.WriteHeader(test.code)
				_, _ = io.WriteString(w, test.body)
			}
			t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", c.URL)
			_, reported := traceOne(t)
			require.Equal(t, []string{"/"}, c.paths)
			if test.want == "" {
				require.Empty(t, reported)
				return
			}
			require.Len(t, reported, 1)
			require.Equal(t, test.want, reported[0].Error())
		})
	}
}

// A collector's certificate is checked against the configured file.
func TestCertificate(t *testing.T) {
	c := newCollector(t, true)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}), 0o600))
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	_, reported := traceOne(t)
	require.Len(t, reported, 1)
	require.Contains(t, reported[0].Error(), "certificate")
	require.Empty(t, c.exports)

	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", file)
	_, reported = traceOne(t)
	require.Empty(t, reported)
	require.Len(t, c.exports, 1)
}
