package upstream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A Cancel ends the connecting by which a dead connection is replaced: the client's place
// is not held until the connect times out. The error says that nothing was sent, so that
// the ticket stays good.
func TestCancelWhileReplacing(t *testing.T) {
	m := listen(t, "tcp", func(p *peer) { _ = p.gone() })
	c := connect(t, m, nil)
	cn := acquire(t, c)
	c.o.Address = deaf(t)
	c.dialer.Timeout = time.Minute
	replaced := make(chan error, 1)
	go func() { replaced <- cn.replace() }()
	require.Eventually(t, func() bool { return cn.redial.Load() != nil }, 10*time.Second, time.Millisecond)
	cn.Cancel()
	select {
	case err := <-replaced:
		require.ErrorIs(t, err, ErrCanceled)
		require.ErrorIs(t, cn.explain(err), ErrUnreachable)
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on connecting")
	}
	cn.Release()
}
