package relay

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/usher-sidecar/usher/dialect"
)

// A trickle is an answer that comes in pieces: a Look that finds nothing left takes the
// next one. A nil piece is a Look that finds nothing.
type trickle struct {
	pieces [][]byte
	here   []byte
	end    error
	looked func() // called by each Look; may be nil
}

func (s *trickle) Ready() bool { return len(s.here) > 0 || len(s.pieces) == 0 }
func (s *trickle) Wait() error {
	for !s.Look() {
	}
	return nil
}

func (s *trickle) Look() bool {
	if s.looked != nil {
		s.looked()
	}
	if len(s.here) == 0 && len(s.pieces) > 0 {
		s.here, s.pieces = s.pieces[0], s.pieces[1:]
	}
	return s.Ready()
}

func (s *trickle) Read(p []byte) (int, error) {
	n := copy(p, s.here)
	s.here = s.here[n:]
	if len(s.here) == 0 && len(s.pieces) == 0 {
		return n, s.end
	}
	return n, nil
}

// A narrow client takes at most as many bytes as the next of takes at each try; once
// takes is empty, everything.
type narrow struct {
	reader
	takes []int
	fails error // once takes is empty; nil: never
}

func (c *narrow) TryWrite(p []byte) (int, error) {
	if len(c.takes) == 0 {
		if c.fails != nil {
			return 0, c.fails
		}
		return c.Write(p)
	}
	n := min(c.takes[0], len(p))
	c.takes = c.takes[1:]
	return c.Write(p[:n])
}

// Whatever pieces arrive, and however little the client takes at a time, it gets what Run
// would have given it, except that the chunks may be cut differently. Nothing is read
// while the client takes nothing, and the end and a break are reported alike.
func TestAdvanceIsRun(t *testing.T) {
	broken, gone := errors.New("broken"), errors.New("gone")
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 40_000), 0, 12).Draw(t, "pieces")
		end := rapid.SampledFrom([]error{io.EOF, broken}).Draw(t, "end")
		framing := rapid.SampledFrom([]Framing{ByLength, ByChunks, ByClose}).Draw(t, "framing")
		takes := rapid.SliceOf(rapid.IntRange(0, 5000)).Draw(t, "takes")
		fails := rapid.SampledFrom([]error{nil, nil, gone}).Draw(t, "fails")
		strict := rapid.Bool().Draw(t, "strict")
		begin := func(c Client) *Relay {
			r := relayTo(new(reader), nil, framing)
			r.Client, r.Stream = c, dialect.Events
			r.Source = &trickle{pieces: pieces, end: end}
			if strict {
				r.Strict, r.Finish = broken, dialect.Of("/v1/completions").Ending.Watch()
			}
			return r
		}
		plain := new(reader)
		run := begin(plain)
		wantSource, _ := run.Run(nil)

		client := &narrow{takes: takes, fails: fails}
		r := begin(client)
		r.Source.(*trickle).looked = func() {
			require.Empty(t, r.rest, "nothing is read while the client takes nothing")
		}
		for rounds := 0; ; rounds++ {
			require.Less(t, rounds, 100_000, "it never ends")
			state := r.Advance(client, time.Now())
			require.Equal(t, state == Full, state != Ended && state != Busy && len(r.rest) > 0)
			if state == Ended {
				break
			}
			require.False(t, r.done && len(r.rest) == 0, "an answer that was written has ended")
		}
		gotSource, gotClient := r.Result()
		run.Record()
		r.Record()
		require.GreaterOrEqual(t, run.Account.BytesOut, r.Account.BytesOut)
		if gotClient != nil {
			require.Equal(t, gone, gotClient)
			require.True(t, bytes.HasPrefix(body(t, plain.Bytes(), framing), body(t, client.Bytes(), framing)))
			return
		}
		require.NoError(t, r.Flush())
		require.Equal(t, wantSource, gotSource)
		require.Equal(t, body(t, plain.Bytes(), framing), body(t, client.Bytes(), framing))
		require.Equal(t, ends(plain.Bytes()), ends(client.Bytes()), "the last chunk")
		if wantSource == nil {
			return
		}
		run.Break([]byte("data: why\n\n"))
		r.Break([]byte("data: why\n\n"))
		require.Equal(t, body(t, plain.Bytes(), framing), body(t, client.Bytes(), framing), "what a break appends")
	})
}

func ends(stream []byte) bool { return bytes.HasSuffix(stream, lastChunk[2:]) }

// body removes the chunk framing, as far as it goes.
func body(t *rapid.T, stream []byte, framing Framing) (all []byte) {
	if framing != ByChunks {
		return stream
	}
	for len(stream) > 0 {
		line, rest, ok := bytes.Cut(stream, crlf)
		if !ok {
			return all
		}
		size := 0
		for _, c := range line {
			size = size<<4 | bytes.IndexByte([]byte("0123456789abcdef"), c)
		}
		if size == 0 {
			require.LessOrEqual(t, len(rest), 2, "nothing comes after the end")
			return all
		}
		all = append(all, rest[:min(size, len(rest))]...)
		stream = rest[min(size+2, len(rest)):]
	}
	return all
}

// If the model server breaks off while the client is full, the event follows what the
// client has yet to take, in a chunk of its own.
func TestBreakBehindAFullClient(t *testing.T) {
	client := &narrow{takes: []int{2}}
	r := relayTo(new(reader), nil, ByChunks)
	r.Client, r.Stream = client, dialect.Events
	r.Source = &trickle{pieces: [][]byte{[]byte("data: half")}, end: errors.New("broken")}
	require.Equal(t, Ended, r.Advance(client, time.Now()))
	source, werr := r.Result()
	require.NoError(t, werr)
	require.EqualError(t, source, "broken")
	require.Equal(t, "a\r", client.String())
	require.NoError(t, r.Flush())
	r.Break([]byte("data: why\n\n"))
	require.Equal(t, "a\r\ndata: half\r\nd\r\n\n\ndata: why\n\n\r\n", client.String())
	require.True(t, client.cut)
}

// Fail does not break an answer that was read to its end, even if the client has yet to
// take the last of it.
func TestFailAfterTheEnd(t *testing.T) {
	client := &narrow{takes: []int{1, 0}}
	r := relayTo(new(reader), nil, ByChunks)
	r.Client, r.Source = client, &trickle{pieces: [][]byte{[]byte("abc")}, end: io.EOF}
	require.Equal(t, Full, r.Advance(client, time.Now()))
	r.Fail(errors.New("cancelled"))
	source, werr := r.Result()
	require.NoError(t, source)
	require.NoError(t, werr)
	require.Equal(t, "3\r\nabc\r\n0\r\n\r\n", client.String())
}

// A stream that never pauses lets the others have their turn.
func TestAdvanceIsBounded(t *testing.T) {
	r := relayTo(new(reader), nil, ByChunks)
	r.Source = &trickle{pieces: [][]byte{make([]byte, 1<<20)}, end: io.EOF}
	client := new(narrow)
	r.Client = client
	require.Equal(t, Busy, r.Advance(client, time.Now()))
	require.LessOrEqual(t, client.Len(), atOnce*(17<<10))
	for r.Advance(client, time.Now()) == Busy {
	}
	r.Record()
	require.Equal(t, 1<<20, int(r.Account.BytesOut))
}
