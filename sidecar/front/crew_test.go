package front

import (
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// Each connection gets the result of its own handshake, even if it takes it late.
func TestCrewResultsAreOnesOwn(t *testing.T) {
	config := serverConfig(t)
	synctest.Test(t, func(t *testing.T) {
		var c crew
		defer c.end()
		left, gone := net.Pipe()
		require.NoError(t, gone.Close())
		w := c.call()
		w.work <- &secureConn{Conn: tls.Server(left, config)}
		synctest.Wait() // that handshake has failed, and nobody has been told

		server, client := net.Pipe()
		shaken := make(chan error, 1)
		go func() {
			shaken <- tls.Client(client, &tls.Config{InsecureSkipVerify: true, SessionTicketsDisabled: true}).Handshake()
		}()
		quiet := config.Clone()
		quiet.SessionTicketsDisabled = true // nobody would read them
		require.NoError(t, c.shake(&secureConn{Conn: tls.Server(server, quiet)}))
		require.NoError(t, <-shaken)
		require.Error(t, <-w.done)
		synctest.Wait()
	})
}
