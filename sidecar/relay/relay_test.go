package relay

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// A script is an answer that is available at once, and the error it ends with.
type script struct {
	left []byte
	end  error
}

func (s *script) Ready() bool { return true }
func (s *script) Wait() error { return nil }
func (s *script) Look() bool  { return true }
func (s *script) Read(p []byte) (int, error) {
	n := copy(p, s.left)
	s.left = s.left[n:]
	if len(s.left) == 0 {
		return n, s.end
	}
	return n, nil
}

// A reader is a client that keeps the answer, and how its connection ended.
type reader struct {
	bytes.Buffer
	cut, reset bool
}

func (r *reader) TryWrite(p []byte) (int, error) { return r.Write(p) }

func (r *reader) Reset() { r.reset = true }
func (r *reader) Cut()   { r.cut = true }
func (r *reader) WriteParts(_ []byte, parts [][]byte) error {
	for _, p := range parts {
		r.Write(p)
	}
	return nil
}

func relayTo(client *reader, source *script, framing Framing) *Relay {
	return &Relay{
		Client: client, Source: source, Framing: framing, Account: &account.Request{Times: account.Times{Start: time.Now()}},
		Meter: new(account.Book), OnPiece: func(time.Time) {},
	}
}

// The body is framed as the head says, and a clean end is written only if the body ended.
func TestRelay(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		framing Framing
		end     error
		want    string
	}{
		"chunks":           {ByChunks, io.EOF, "head\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		"chunks, broken":   {ByChunks, broken, "head\r\n\r\n3\r\nabc\r\n"},
		"length":           {ByLength, io.EOF, "head\r\n\r\nabc"},
		"close":            {ByClose, io.EOF, "head\r\n\r\nabc"},
		"by close, broken": {ByClose, broken, "head\r\n\r\nabc"},
	} {
		t.Run(name, func(t *testing.T) {
			client := new(reader)
			r := relayTo(client, &script{[]byte("abc"), tt.end}, tt.framing)
			source, werr := r.Run([]byte("head\r\n\r\n"))
			require.NoError(t, werr)
			require.Equal(t, tt.want, client.String())
			if tt.end == io.EOF {
				require.NoError(t, source)
				return
			}
			require.Equal(t, tt.end, source)
			r.Break([]byte("data: why\n\n"))
			require.Equal(t, tt.want, client.String(), "no stream, no event")
			require.Equal(t, tt.framing == ByClose, client.reset)
			require.Equal(t, tt.framing != ByClose, client.cut)
			r.Record()
			require.EqualValues(t, 3, r.Account.BytesOut)
			require.Equal(t, 1, r.Account.Answer.Pieces)
		})
	}
}

// The event that Break appends stands on its own, whatever was left open before it.
func TestBreakOfAStream(t *testing.T) {
	client := new(reader)
	r := relayTo(client, &script{[]byte("data: ha"), errors.New("broken")}, ByChunks)
	r.Stream = dialect.Events
	_, _ = r.Run(nil)
	r.Break([]byte("data: why\n\n"))
	require.Equal(t, "8\r\ndata: ha\r\nd\r\n\n\ndata: why\n\n\r\n", client.String())
	require.True(t, client.cut)
}

// If the model server always ends its streams with an Ending, a stream without one is
// broken like any other: the client gets what came, but no end. Otherwise the stream is
// whole.
func TestStrictStreams(t *testing.T) {
	broken := errors.New("no final event")
	for name, tt := range map[string]struct {
		stream string
		strict error
		want   error
	}{
		"unfinished": {"data: {}\n\n", broken, broken},
		"finished":   {"data: {}\n\ndata: [DONE]\n\n", broken, nil},
		"not strict": {"data: {}\n\n", nil, nil},
		"empty":      {"", broken, broken},
	} {
		t.Run(name, func(t *testing.T) {
			client := new(reader)
			r := relayTo(client, &script{[]byte(tt.stream), io.EOF}, ByChunks)
			r.Strict, r.Finish = tt.strict, dialect.Of("/v1/completions").Ending.Watch()
			source, werr := r.Run([]byte("head\r\n\r\n"))
			require.NoError(t, werr)
			require.Equal(t, tt.want, source)
			require.Equal(t, tt.want == nil, bytes.HasSuffix(client.Bytes(), []byte("0\r\n\r\n")), "%q", client.String())
		})
	}
}
