package upstream

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A feed stands in for a connection: it delivers pieces, pauses before each, and records
// the deadlines that are set.
type feed struct {
	net.Conn
	pieces [][]byte
	pause  time.Duration
	read   []time.Time // when each read began,
	until  []time.Time // and the deadline at that time
	last   time.Time
	sets   int
}

func (f *feed) SetReadDeadline(t time.Time) error { f.last, f.sets = t, f.sets+1; return nil }
func (f *feed) Close() error                      { return nil }

func (f *feed) Read(p []byte) (int, error) {
	f.read, f.until = append(f.read, time.Now()), append(f.until, f.last)
	time.Sleep(f.pause)
	if len(f.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.pieces[0])
	if f.pieces[0] = f.pieces[0][n:]; len(f.pieces[0]) == 0 {
		f.pieces = f.pieces[1:]
	}
	return n, nil
}

// fed makes a Conn that reads the given pieces.
func fed(pieces ...[]byte) (*Conn, *feed) {
	f := &feed{pieces: pieces}
	return use(f), f
}

// use makes a client with one connection, in use.
func use(nc net.Conn) *Conn {
	c, err := New(Options{Network: "tcp", Address: "x", Host: "x"})
	if err != nil {
		panic(err)
	}
	c.Close()
	l, err := newLine(nc, &c.buffers)
	if err != nil {
		panic(err)
	}
	cn := newConn(c, l, false)
	cn.response.begin(cn)
	return cn
}

// split cuts data into pieces of the sizes in cuts, over and over.
func split(data, cuts []byte) (pieces [][]byte) {
	for i := 0; len(data) > 0; i++ {
		n := len(data)
		if len(cuts) > 0 {
			n = min(n, 1+int(cuts[i%len(cuts)]))
		}
		pieces = append(pieces, data[:n:n])
		data = data[n:]
	}
	return pieces
}

// The idle time-out bounds silence, not the stream; it is never cut short, and its timer
// is not set for each piece.
func TestIdleTimeoutRolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pieces := [][]byte{[]byte("HTTP/1.1 200 OK\r\n\r\n")}
		for range 1000 {
			pieces = append(pieces, []byte("token"))
		}
		cn, f := fed(pieces...)
		f.pause = 20 * time.Second / 10
		idle := cn.client.o.IdleTimeout
		require.NoError(t, cn.response.readHead())
		f.read, f.until = nil, nil
		_, err := readAll(&cn.response)
		require.NoError(t, err)
		cn.response.Close()
		require.Len(t, f.read, 1001)
		for i := range f.read {
			left := f.until[i].Sub(f.read[i])
			require.GreaterOrEqual(t, left, idle)
			require.LessOrEqual(t, left, idle+idle/8)
		}
		require.Less(t, f.sets, 100)
	})
}

// However chunks are made, arrive and are read, the data is what was sent.
func TestChunksOfAnyShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chunks := rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 1, 300)).Draw(t, "chunks")
		extension := rapid.SampledFrom([]string{"", ";a", ";a=\"b c\"", " "})
		var wire bytes.Buffer
		wire.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for _, c := range chunks {
			fmt.Fprintf(&wire, "%x%s\r\n%s\r\n", len(c), extension.Draw(t, "extension"), c)
		}
		wire.WriteString("0\r\n" + rapid.SampledFrom([]string{"", "A: 1\r\n", "A: 1\r\nB:\r\n"}).Draw(t, "trailers") + "\r\n")
		cuts := rapid.SliceOfN(rapid.Byte(), 1, 8).Draw(t, "cuts")
		cn, _ := fed(split(wire.Bytes(), cuts)...)
		require.NoError(t, cn.response.readHead())
		var got []byte
		for {
			if rapid.Bool().Draw(t, "wait") {
				require.NoError(t, cn.response.Wait())
				require.True(t, cn.response.Ready())
			}
			p := make([]byte, rapid.IntRange(1, 400).Draw(t, "size"))
			n, err := cn.response.Read(p)
			got = append(got, p[:n]...)
			if err != nil {
				require.Equal(t, io.EOF, err)
				break
			}
			require.Positive(t, n)
		}
		require.Equal(t, string(bytes.Join(chunks, nil)), string(got))
	})
}

// FuzzResponse compares with net/http: if both accept a response, they agree on status,
// fields and body. It makes no difference how the bytes are cut into reads.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		hello,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.0 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: a\r\n\r\nbody",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204\r\nConnection: close, x\r\nX: 1\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 1\n\nab",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: \t y \r\n z\r\n\r\n",
		"HTTP/1.0 200 \n0 :\n\n0",
		"HTTP/1.1 200 OK\r\nx-a : 1\r\nX-A: 2\r\nx-b  : 3\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length : 1\r\nConnection : x-b\r\nX-B : 1\r\n\r\nab",
	} {
		f.Add([]byte(seed), []byte{})
		f.Add([]byte(seed), []byte{0, 3, 7})
	}
	f.Fuzz(func(t *testing.T, wire, cuts []byte) {
		whole, wholeErr := take(wire, nil)
		cut, cutErr := take(wire, cuts)
		require.Equal(t, whole, cut)
		require.Equal(t, fmt.Sprint(wholeErr), fmt.Sprint(cutErr))
		if wholeErr != nil {
			require.ErrorIs(t, wholeErr, ErrBroken)
			return
		}
		theirs, err := takeByNetHTTP(wire)
		if err != nil || theirs == nil {
			return
		}
		if whole.named {
			theirs.named, theirs.fields = true, whole.fields // net/http forgets what Connection named
		}
		require.Equal(t, theirs, whole)
	})
}

// taken is what was read from a response.
type taken struct {
	status int
	fields http.Header
	body   string
	named  bool // Connection names other fields
}

func take(wire, cuts []byte) (*taken, error) {
	cn, _ := fed(split(append([]byte(nil), wire...), cuts)...)
	defer cn.Release()
	cn.used = true
	r := &cn.response
	if err := r.readHead(); err != nil {
		return nil, cn.explain(err)
	}
	got := &taken{status: r.status, fields: http.Header{}, named: len(r.named()) > 0}
	for line := range strings.Lines(string(r.AppendHeader(nil, nil))) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\r\n"), ":")
		got.fields.Add(name, strings.Trim(value, " \t"))
	}
	var err error
	got.body, err = readAll(r)
	return got, err
}

func takeByNetHTTP(wire []byte) (*taken, error) {
	br := bufio.NewReader(bytes.NewReader(wire))
	req := &http.Request{Method: http.MethodPost}
	resp, err := http.ReadResponse(br, req)
	for err == nil && resp.StatusCode < 200 && resp.StatusCode != 101 {
		resp, err = http.ReadResponse(br, req)
	}
	if err != nil {
		return nil, err
	}
	if resp.ProtoMajor != 1 || resp.ProtoMinor == 0 && len(resp.TransferEncoding) == 0 && strings.Contains(strings.ToLower(string(wire)), "transfer-encoding") {
		return nil, nil // net/http takes chunks in HTTP/1.0 for data
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	fields := http.Header{}
	for name, values := range resp.Header {
		// net/http keeps a blank before the colon in the name.
		bare := http.CanonicalHeaderKey(strings.TrimRight(name, " "))
		framing := bare == "Content-Length" || bare == "Transfer-Encoding"
		switch {
		case framing && bare != name, len(fields[bare]) > 0:
			return nil, nil // net/http does not frame by such a field; the order of several is lost
		case !framing && !isHopByHop([]byte(bare)):
			fields[bare] = append(fields[bare], values...)
		}
	}
	if len(fields["Pragma"]) > 0 {
		return nil, nil // net/http adds Cache-Control
	}
	return &taken{status: resp.StatusCode, fields: fields, body: string(body)}, nil
}
