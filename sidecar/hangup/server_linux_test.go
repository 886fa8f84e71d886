package hangup

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// secured is a listener of TLS connections.
type secured struct {
	net.Listener
	config *tls.Config
}

func (s secured) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(c, s.config), nil
}

// TestAHandlerOfFasthttpNoticesThatItsClientLeft: the handler is told of the hang-up
// while it is busy with the third request of a connection.
func TestAHandlerOfFasthttpNoticesThatItsClientLeft(t *testing.T) {
	for name, config := range map[string]*tls.Config{"tcp": nil, "tls": certificate(t)} {
		t.Run(name, func(t *testing.T) {
			ln := listen(t, Options{})
			busy, cancelled := make(chan struct{}), make(chan struct{})
			server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
				c, call := From(ctx.Conn()), newRecorder()
				c.Watch(call)
				defer c.Unwatch()
				if string(ctx.Path()) == "/slow" {
					close(busy)
					<-call.told
					close(cancelled)
				}
			}}
			served := make(chan error)
			var outer net.Listener = ln
			if config != nil {
				outer = secured{ln, config}
			}
			go func() { served <- server.Serve(outer) }()

			plain := dial(t, ln)
			var client net.Conn = plain
			if config != nil {
				client = tls.Client(plain, config)
			}
			for range 2 {
				_, err := io.WriteString(client, "GET /quick HTTP/1.1\r\nHost: worker\r\n\r\n")
				require.NoError(t, err)
				_, err = client.Read(make([]byte, 1024))
				require.NoError(t, err)
			}
			_, err := io.WriteString(client, "GET /slow HTTP/1.1\r\nHost: worker\r\n\r\n")
			require.NoError(t, err)
			<-busy
			_ = plain.Close()
			<-cancelled
			require.NoError(t, server.Shutdown())
			require.NoError(t, <-served)
		})
	}
}
