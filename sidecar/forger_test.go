package sidecar

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/replay"
)

func TestForgeriesInARowMakeTheConnectionWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &exchange{conn: &conn{}}
		waits := func() time.Duration {
			start := time.Now()
			require.NoError(t, x.coolOff())
			return time.Since(start)
		}
		note := func(err error) { x.conn.forger.note(err, time.Now()) }
		require.Zero(t, waits())
		for i, want := range []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond,
			400 * time.Millisecond, 800 * time.Millisecond, time.Second, time.Second} {
			note(crypto.ErrBadSignature)
			require.Equal(t, want, waits(), i)
		}
		note(replay.ErrReplayed)
		note(crypto.ErrNoKey)
		require.Zero(t, waits(), "only forgeries count")
		for range 100 {
			note(crypto.ErrBadSignature)
		}
		time.Sleep(700 * time.Millisecond)
		require.Equal(t, 300*time.Millisecond, waits(), "what has passed counts")
		note(nil)
		require.Zero(t, waits())
		note(crypto.ErrBadSignature)
		require.Zero(t, waits(), "a good ticket makes it start again")
	})
}

func TestTheWaitOfAForgerEndsWithItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &exchange{conn: &conn{}}
		x.conn.forger.note(crypto.ErrBadSignature, time.Now())
		x.conn.forger.note(crypto.ErrBadSignature, time.Now())
		start := time.Now()
		go x.cancel(errClientGone)
		require.ErrorIs(t, x.coolOff(), errClientGone)
		require.Zero(t, time.Since(start))
	})
}
