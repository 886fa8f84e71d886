package trace

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The variables are read, and the more specific of two names wins.
func TestDestination(t *testing.T) {
	for name, test := range map[string]struct {
		vars    map[string]string
		url     string
		header  http.Header
		gzip    bool
		timeout time.Duration
	}{
		"nothing": {nil, "https://localhost:4318/v1/traces", http.Header{}, false, 10 * time.Second},
		"all, in general": {map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": " http://c:4318/ ", "OTEL_EXPORTER_OTLP_HEADERS": "a=b", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
			"OTEL_EXPORTER_OTLP_TIMEOUT": "500", "OTEL_EXPORTER_OTLP_CERTIFICATE": " ",
		}, "http://c:4318/v1/traces", http.Header{"A": {"b"}}, true, 500 * time.Millisecond},
		"all, twice": {map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": "http://no", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/ingest?key=1",
			"OTEL_EXPORTER_OTLP_HEADERS": "a=b", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "c=d%3De",
			"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "none",
			"OTEL_EXPORTER_OTLP_TIMEOUT": "x", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "1",
		}, "https://c/ingest?key=1", http.Header{"C": {"d=e"}}, false, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range test.vars {
				t.Setenv(k, v)
			}
			d, err := readDestination()
			require.NoError(t, err)
			require.Equal(t, test.url, d.url.String())
			require.Equal(t, test.header, d.header)
			require.Equal(t, test.gzip, d.gzip)
			require.Equal(t, test.timeout, d.timeout)
			require.Nil(t, d.tls)
		})
	}
}

// Every wrong variable is named, and no secret is shown.
func TestWrongDestination(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for name, value := range map[string]string{
		"ENDPOINT": "unix:///run/otel", "TRACES_HEADERS": "authorization=secret,x", "COMPRESSION": "zstd",
		"TRACES_TIMEOUT": "10s", "CERTIFICATE": empty, "CLIENT_CERTIFICATE": empty,
	} {
		t.Setenv(general+name, value)
	}
	_, err := readDestination()
	require.Error(t, err)
	require.Equal(t, []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT: not an http:// or https:// address",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS: pair 2 is not name=value",
		`OTEL_EXPORTER_OTLP_COMPRESSION: "zstd" is neither gzip nor none`,
		`OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "10s" is not a number of milliseconds`,
		"OTEL_EXPORTER_OTLP_CERTIFICATE: " + empty + " holds no certificate",
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: its CLIENT_KEY is not set",
	}, strings.Split(err.Error(), "\n"))
	_, err = New(t.Context(), "", func(error) {})
	require.ErrorContains(t, err, "OTEL_EXPORTER_OTLP_ENDPOINT")
}

// answers is a collector's side: its answers to successive attempts, of which the last
// is repeated. It records when the attempts came.
type answers struct {
	list []func() (*http.Response, error)
	at   []time.Duration // since the first
	from time.Time
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if len(a.at) == 0 {
		a.from = time.Now()
	}
	a.at = append(a.at, time.Since(a.from))
	_, _ = io.Copy(io.Discard, r.Body)
	next := a.list[0]
	if len(a.list) > 1 {
		a.list = a.list[1:]
	}
	return next()
}

func status(code int, retryAfter string) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		h := http.Header{}
		if retryAfter != "" {
			h.Set("Retry-After", retryAfter)
		}
		return &http.Response{StatusCode: code, Status: http.StatusText(code), Header: h, Body: io.NopCloser(strings.NewReader(""))}, nil
	}
}

func fails(err error) func() (*http.Response, error) {
	return func() (*http.Response, error) { return nil, err }
}

var oneSpan = tracetest.SpanStubs{{Name: "x"}}.Snapshots()

// export exports spans and returns the result and the times of the attempts.
func export(ctx context.Context, spans []sdk.ReadOnlySpan, list ...func() (*http.Response, error)) ([]time.Duration, error) {
	a := &answers{list: list}
	e := &exporter{to: destination{url: &url.URL{Scheme: "http", Host: "c"}, header: http.Header{}}, client: http.Client{Transport: a}}
	err := e.ExportSpans(ctx, spans)
	return a.at, err
}

func TestRetry(t *testing.T) {
	good := status(200, "")
	for _, code := range []int{429, 502, 503, 504} {
		synctest.Test(t, func(t *testing.T) {
			at, err := export(t.Context(), oneSpan, status(code, ""), status(code, "20"), good)
			require.NoError(t, err)
			require.Len(t, at, 3)
			require.GreaterOrEqual(t, at[1], firstPause/2)
			require.LessOrEqual(t, at[1], firstPause*3/2)
			require.Equal(t, at[1]+20*time.Second, at[2], "as long as it said")
		})
	}
	synctest.Test(t, func(t *testing.T) {
		at, err := export(t.Context(), oneSpan, status(503, time.Now().Add(40*time.Second).UTC().Format(http.TimeFormat)), good)
		require.NoError(t, err)
		require.InDelta(t, 40, at[1].Seconds(), 1, "a date")
		at, err = export(t.Context(), oneSpan, fails(syscall.ECONNRESET), fails(io.EOF), fails(os.ErrDeadlineExceeded), good)
		require.NoError(t, err)
		require.Len(t, at, 4)
	})
	for name, answer := range map[string]func() (*http.Response, error){
		"400": status(400, "1"), "500": status(500, ""), "413": status(413, ""), "refused": fails(syscall.ECONNREFUSED), "more than a minute": status(503, "61"),
	} {
		synctest.Test(t, func(t *testing.T) {
			at, err := export(t.Context(), oneSpan, answer, good)
			require.Error(t, err, name)
			require.Len(t, at, 1, name)
		})
	}
}

// It gives up after a minute, and at once when its context ends.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, err := export(t.Context(), oneSpan, status(503, ""))
		require.ErrorContains(t, err, "Service Unavailable")
		require.LessOrEqual(t, at[len(at)-1], retryFor)
		require.Greater(t, len(at), 3)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		at, err = export(ctx, oneSpan, status(503, ""))
		require.Error(t, err)
		require.Len(t, at, 1)
		require.Equal(t, time.Second, time.Since(began))

		at, err = export(t.Context(), nil, fails(errors.New("nobody asked")))
		require.NoError(t, err)
		require.Empty(t, at)
	})
}

// FuzzField compares with the generated code: if that accepts a message, both find the
// same fields.
func FuzzField(f *testing.F) {
	f.Add(protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "why"))
	f.Add([]byte{0x12, 0x01, 'a', 0x18, 0x02, 0x12, 0x00})
	f.Add([]byte{0x13, 0x18, 0x80})
	f.Fuzz(func(t *testing.T, text []byte) {
		message, code := field(text, 2, protowire.BytesType), field(text, 3, protowire.VarintType)
		var s tracepb.Status
		if proto.Unmarshal(text, &s) != nil {
			return
		}
		require.Equal(t, s.Message, string(message.bytes))
		require.Equal(t, s.Code, tracepb.Status_StatusCode(int32(code.number)))
	})
}
